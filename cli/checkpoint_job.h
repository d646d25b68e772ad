/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_CHECKPOINT_JOB_H
#define CLI_CHECKPOINT_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "store/checkpoint_pack.h"
#include "store/replay.h"

/*
 * A checkpoint of very many blocks: it is packed by a thread, from a copy of the heap, while
 * recording goes on.  The recorder stands still for the copy alone: the thread has got the memory
 * for it before, and gives it back.
 */
struct checkpoint_job;

/* Of a heap about as large as @heap is by now.  NULL: there is no thread. */
struct checkpoint_job *checkpoint_job_start(const struct replay *heap);
/* Is it ready for the copy? */
bool checkpoint_job_has_room(const struct checkpoint_job *j);
/* It is ready: of the state after chunk @chunk, whose last event is of @t_ns. */
void checkpoint_job_copy(struct checkpoint_job *j, const struct replay *heap, uint64_t chunk,
			 uint64_t t_ns);
/* One without a copy ends by itself, without one. */
void checkpoint_job_leave(struct checkpoint_job *j);
bool checkpoint_job_is_done(const struct checkpoint_job *j);
/* Waits for it, of which there is a copy.  What it has packed is the job's, until it is freed. */
struct checkpoint_packer *checkpoint_job_wait(struct checkpoint_job *j);
/* Waits for it; of one without a copy nothing is packed. */
void checkpoint_job_free(struct checkpoint_job *j);

#endif
