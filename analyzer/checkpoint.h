/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_CHECKPOINT_H
#define ANALYZER_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/totals.h"
#include "common/buffer.h"
#include "store/replay.h"

/*
 * The state of totals and heap as bytes, so that reading a recording can begin there;
 * heaptrail-recording(5) says what they mean.  What is restored is untrusted: false where it
 * is no state, or one that no @most_events events can lead to; what was restored by then is
 * to be thrown away.
 */
void checkpoint_save_totals(struct totals *t, struct buffer *out);
/* @t: newly initialised, for all times; of groups only those of its keys are taken. */
bool checkpoint_restore_totals(struct totals *t, uint64_t most_events, const void *data,
			       size_t len);

/*
 * Hands its bytes to @put, some at a time; returns how many these are.  Needs about 30 bytes a live
 * block.
 */
typedef void checkpoint_put(void *arg, const void *data, size_t len);
uint64_t checkpoint_save_heap(const struct replay *heap, checkpoint_put *put, void *arg);
/* @heap: empty. */
bool checkpoint_restore_heap(struct replay *heap, uint64_t most_events, const void *data,
			     size_t len);

#endif
