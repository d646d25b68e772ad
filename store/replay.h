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
 * Memory is one struct replay_cell a slot, that is, for the most blocks ever
 * live at once.  Zero-initialised is empty.
 */
struct replay_block {
	uint64_t t_ns, address, size, usable;
	struct stack_id stack;
	struct thread_id thread;
	uint8_t family;
};

/*
 * A slot, with its block as it is kept: half a line of the cache, since which block is next
 * nobody can foresee.  What has no room here, which is rare, lies in replay->wide.
 */
#define REPLAY_THREAD_BITS 22
struct replay_cell {
	uint64_t t_ns, address;
	uint32_t size;	 /* is_wide: the place in replay->wide */
	uint32_t usable; /* UINT32_MAX: USABLE_UNKNOWN */
	struct stack_id stack;
	uint32_t thread : REPLAY_THREAD_BITS, family : 8;
	uint32_t is_live : 1; /* if not, the slot is free */
	uint32_t is_wide : 1;
};
_Static_assert(sizeof(struct replay_cell) == 32, "a slot takes half a line of the cache");

struct replay_wide {
	uint64_t size, usable;
	struct thread_id thread;
	uint32_t next_free; /* where it is not in use: place + 1 of another such, or 0 */
};

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

/* Slots; they stay where they are when more come.  As many as a huge page has room for. */
#define REPLAY_SEGMENT ((uint32_t)(HUGE_PAGE_BYTES / sizeof(struct replay_cell)))

struct replay {
	struct space_id space;
	struct slots slots;
	struct replay_cell **segments;
	size_t n_segments, cap_segments;
	struct replay_wide *wide;
	size_t n_wide, cap_wide;
	uint32_t free_wide; /* place + 1 of one that is not in use, or 0 */
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
	const struct replay_block *made; /* NULL: none; valid as long as the step */
	bool ended;			 /* a block ended: … */
	bool was_temporary; /* freed by the very next event of its thread in its layer */
	uint32_t slot;			 /* of either */
	struct replay_block old;	 /* … this one */
	struct replay_block block;	 /* for @made to point to */
};

void replay_release(struct replay *r);
/*
 * Room for a copy of a heap, whose pages are there already: to get them takes the kernel several
 * times as long as the copy itself.
 */
struct replay_room {
	struct replay_cell **segments;
	size_t n_segments;
	uint32_t *freed;
	size_t cap_freed;
};

/* For so many slots, @freed of them free.  @room: empty. */
void replay_room_make(struct replay_room *room, size_t slots, size_t freed);
void replay_room_release(struct replay_room *room);
/*
 * @to: empty.  It is as @r, but cannot be fed: for a look at it while @r goes on.  It takes what it
 * can of @room (NULL: there is none).
 */
void replay_copy(struct replay *to, const struct replay *r, struct replay_room *room);
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
/* The live blocks: *@at begins with 0, and is their slot + 1; false after the last. */
bool replay_next_live(const struct replay *r, size_t *at, struct replay_block *ret);

/*
 * Has it a mapping of its own?  So glibc makes large ones: then the block ends where the mapping
 * does, at a page's end, while any other ends 8 bytes behind a multiple of 16.
 */
static inline bool replay_is_mapped(const struct replay_block *b)
{
	return b->family == FAMILY_LIBC && b->usable != USABLE_UNKNOWN &&
	       (b->address + b->usable) % 4096 == 0;
}

/* @slot: one that was used already. */
static inline struct replay_cell *replay_at(const struct replay *r, uint32_t slot)
{
	return &r->segments[slot / REPLAY_SEGMENT][slot % REPLAY_SEGMENT];
}

/* The block in @slot, which is live. */
static inline struct replay_block replay_block_in(const struct replay *r, uint32_t slot)
{
	const struct replay_cell *c = replay_at(r, slot);
	const struct replay_wide *w = c->is_wide ? &r->wide[c->size] : NULL;

	return (struct replay_block){
		.t_ns = c->t_ns,
		.address = c->address,
		.size = w ? w->size : c->size,
		.usable = w			    ? w->usable
			  : c->usable == UINT32_MAX ? USABLE_UNKNOWN
						    : c->usable,
		.stack = c->stack,
		.thread = {w ? w->thread.v : c->thread},
		.family = (uint8_t)c->family,
	};
}

#endif
