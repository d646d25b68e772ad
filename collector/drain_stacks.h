/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_STACKS_H
#define COLLECTOR_DRAIN_STACKS_H

#include <stdint.h>

#include "collector/drain.h"

/* The stacks of a drain's events. */
void drain_note_stack(struct drain *d, const struct ring_stack *r);
void drain_forget_old_stacks(struct drain *d);
struct stack_id drain_caller_stack(struct drain *d, const struct ring_head *h, uint64_t caller,
				   enum stack_end end);
/* @id: of a RING_STACK, or why there is none. */
struct stack_id drain_alloc_stack(struct drain *d, const struct ring_head *h, uint64_t id,
				  uint64_t caller);

#endif
