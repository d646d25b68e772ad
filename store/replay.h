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

/*
 * Layers of allocators do not see each other: what is "the last event" is so within one.  They
 * are numbered as their first families are; 0 is the heap's.  Zero-initialised: there is no other.
 */
struct replay_layers {
	uint8_t of_family[64]; /* [id modulo 64] */
	uint8_t n;	       /* besides the heap's */
};

static inline uint8_t replay_layer_of(const struct replay_layers *l, uint8_t family)
{
	return l->of_family[family % 64];
}

/* Blocks; they stay where they are when more come.  As many as a huge page has room for. */
#define REPLAY_SEGMENT ((uint32_t)(HUGE_PAGE_BYTES / sizeof(struct replay_block)))

struct replay {
	struct space_id space;
	struct slots slots;
	struct replay_block **segments;
	size_t n_segments, cap_segments;
	/* [thread and layer]: slot + 1 of the block that its last event in the layer made, or 0 */
	uint32_t *last_made;
	size_t n_threads, cap_threads;
	struct replay_layers layers; /* to be set before the first event */
	uint32_t *recent; /* [number of the event modulo CHUNK_EVENTS_MAX]: its slot */
	uint64_t ordinal; /* events so far */
	uint64_t live_bytes, live_blocks;
};

/* What an event did. */
struct replay_step {
	const struct replay_block *made; /* NULL: none; valid until the next feed */
	bool ended;			 /* a block ended: … */
	struct replay_block old;	 /* … this one */
	bool was_temporary; /* freed by the very next event of its thread in its layer */
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
/* The last event of @thread in @layer, which is there, made the block in @slot. */
void replay_put_last(struct replay *r, struct thread_id thread, uint8_t layer, uint32_t slot);
/* The slot + 1 of the block that it made; 0: none. */
static inline uint32_t replay_last(const struct replay *r, uint32_t thread, uint8_t layer)
{
	return r->last_made[(size_t)thread * (r->layers.n + 1u) + layer];
}
/*
 * The same of @n events in a row: @each is called after each of them.  Faster than one by
 * one: blocks are brought into the cache ahead.
 */
typedef void replay_each(void *arg, const struct event *e, const struct replay_step *step);
int replay_feed_all(struct replay *r, const struct event *events, size_t n, replay_each *each,
		    void *arg, struct err *err);
/* Its block went with its pool: nobody freed it. */
static inline bool replay_ends_with_pool(const struct event *e)
{
	return e->kind == EVENT_FREE && e->free_class == FREE_WITH_POOL;
}

/* The live blocks: *@at begins with 0; NULL after the last. */
const struct replay_block *replay_next_live(const struct replay *r, size_t *at);

/* @slot: one that was used already. */
static inline struct replay_block *replay_at(const struct replay *r, uint32_t slot)
{
	return &r->segments[slot / REPLAY_SEGMENT][slot % REPLAY_SEGMENT];
}

#endif
