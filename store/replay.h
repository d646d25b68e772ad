/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_REPLAY_H
#define STORE_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/xalloc.h"
#include "store/record.h"
#include "store/slots.h"

/*
 * The heap, rebuilt event by event: which blocks are live, how many bytes.  The
 * recorder does so as it makes the events, a reader from what was recorded.
 * Memory is one struct replay_block a slot, that is, for the most blocks ever
 * live at once.  Zero-initialised is empty.
 */
struct replay_block {
	uint64_t t_ns, address, size, usable;
	struct stack_id stack;
	struct thread_id thread;
	uint8_t family;
	bool is_live; /* if not, the slot is free */
} __attribute__((packed, aligned(4))); /* there are as many as blocks */

/* Blocks; they stay where they are when more come.  As many as a huge page has room for. */
#define REPLAY_SEGMENT ((uint32_t)(HUGE_PAGE_BYTES / sizeof(struct replay_block)))

struct replay {
	struct space_id space;
	struct slots slots;
	struct replay_block **segments;
	size_t n_segments, cap_segments;
	uint32_t *last_made; /* [thread]: slot + 1 of the block its last event made, or 0 */
	size_t n_threads, cap_threads;
	uint32_t *recent; /* [number of the event modulo CHUNK_EVENTS_MAX]: its slot */
	uint64_t ordinal; /* events so far */
	uint64_t live_bytes, live_blocks;
};

/* What an event did. */
struct replay_step {
	const struct replay_block *made; /* NULL: none; valid until the next feed */
	bool ended;			 /* a block ended: … */
	struct replay_block old;	 /* … this one */
	bool was_temporary;		 /* freed by the very next heap event of its thread */
	uint32_t slot;			 /* of either */
};

void replay_release(struct replay *r);
/* Another address space: no block is live. */
void replay_begin_space(struct replay *r, struct space_id space);
/*
 * The next event; where it has a distance, its slot does not matter.  -EBADMSG with @err
 * where it contradicts those before.
 */
int replay_feed(struct replay *r, const struct event *e, struct replay_step *ret, struct err *err);
/*
 * As it was at some moment: after replay_begin_space() puts a live block into @slot, which
 * must be below 2^31.  When all are there, replay_restored() puts the free slots, @n of them,
 * as they were to be taken, the next one last.  False where these cannot be.
 */
bool replay_put(struct replay *r, uint32_t slot, const struct replay_block *b);
bool replay_restored(struct replay *r, const uint32_t *freed, size_t n);
/* The last event of @thread made the block in @slot. */
void replay_put_last(struct replay *r, struct thread_id thread, uint32_t slot);
/*
 * The same of @n events in a row: @each is called after each of them.  Faster than one by
 * one: blocks are brought into the cache ahead.
 */
typedef void replay_each(void *arg, const struct event *e, const struct replay_step *step);
int replay_feed_all(struct replay *r, const struct event *events, size_t n, replay_each *each,
		    void *arg, struct err *err);
/* The live blocks: *@at begins with 0; NULL after the last. */
const struct replay_block *replay_next_live(const struct replay *r, size_t *at);

/* @slot: one that was used already. */
static inline struct replay_block *replay_at(const struct replay *r, uint32_t slot)
{
	return &r->segments[slot / REPLAY_SEGMENT][slot % REPLAY_SEGMENT];
}

#endif
