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
 * recording goes on.  To copy a block takes a tenth of the time that it takes to pack it.
 */
struct checkpoint_job;

/* Of the state after chunk @chunk, whose last event is of @t_ns.  NULL: there is no thread. */
struct checkpoint_job *checkpoint_job_start(const struct replay *heap, uint64_t chunk,
					    uint64_t t_ns);
bool checkpoint_job_is_done(const struct checkpoint_job *j);
/* Waits for it.  What it has packed is the job's, until it is freed. */
struct checkpoint_packer *checkpoint_job_wait(struct checkpoint_job *j);
void checkpoint_job_free(struct checkpoint_job *j);

#endif
