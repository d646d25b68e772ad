/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_REPLAY_H
#define ANALYZER_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "store/record.h"
#include "store/slots.h"

/*
 * The heap, rebuilt event by event: which blocks are live, how many bytes.
 * Memory is one struct replay_block a slot, that is, for the most blocks ever
 * live at once.
 */
struct replay_block {
	uint64_t ordinal; /* of the event that made it, from 1; 0: the slot is free */
	uint64_t t_ns, address, size, usable;
	struct stack_id stack;
	struct thread_id thread;
	uint8_t family;
} __attribute__((packed, aligned(4))); /* there are as many as blocks */

struct replay {
	struct space_id space;
	struct slots slots;
	struct replay_block *blocks; /* [slot] */
	size_t cap_blocks;
	uint64_t *last_alloc; /* [thread]: ordinal of its last event if that made a block, else 0 */
	size_t n_threads, cap_threads;
	uint64_t ordinal; /* events so far */
	uint64_t live_bytes, live_blocks;
};

/* What an event did. */
struct replay_step {
	const struct replay_block *made; /* NULL: none; valid until the next feed */
	bool ended;			 /* a block ended: … */
	struct replay_block old;	 /* … this one */
	bool was_temporary;		 /* freed by the very next heap event of its thread */
};

void replay_release(struct replay *r);
/* Another address space: no block is live. */
void replay_begin_space(struct replay *r, struct space_id space);
/* -EBADMSG with @err where the event contradicts those before it. */
int replay_feed(struct replay *r, const struct event *e, struct replay_step *ret, struct err *err);
/* The live blocks: *@at begins with 0; NULL after the last. */
const struct replay_block *replay_next_live(const struct replay *r, size_t *at);

#endif
