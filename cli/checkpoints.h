/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_CHECKPOINTS_H
#define CLI_CHECKPOINTS_H

#include "analyzer/totals.h"
#include "cli/bound.h"
#include "cli/checkpoint_job.h"
#include "collector/drain.h"

/*
 * Sums up what is being recorded, and writes checkpoints now and then: no more than are a
 * part of the recording's size, see checkpoints.c.
 */
struct checkpoints {
	struct totals totals;
	struct space_id space;
	uint64_t last_chunk, last_bytes; /* of the checkpoint before */
	uint64_t last_entries;		 /* blocks and groups that were in it */
	struct bound bound;		 /* of the recording; to be set before it begins */
	/* of more live blocks one would keep the ring waiting: it is made meanwhile */
	uint64_t blocks_at_once;
	struct checkpoint_job *job; /* it is being made; NULL: none is */
	bool job_is_unwanted; /* it came too late: it is let end */
	bool job_has_copy; /* these are of its moment: */
	struct checkpoint_info job_info;
	struct dropped_events job_before;
	uint64_t job_chunk_bytes; /* of all chunks */
	struct buffer job_totals;
	uint64_t job_entries;
	uint64_t most_entries; /* so many made one too large */
};

void checkpoints_init(struct checkpoints *c);
void checkpoints_release(struct checkpoints *c);
/* For the recorder. */
struct drain_observer checkpoints_observer(struct checkpoints *c);

#endif
