/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/xalloc.h"

/* Thread ids are dense, and most have events: a larger one is damage. */
#define THREAD_GAP_MAX 65536

/* GCC takes calls of a function that does nothing but prefetch for calls of nothing. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

void replay_release(struct replay *r)
{
	slots_release(&r->slots);
	for (size_t i = 1; i < r->n_segments; i++)
		munmap(r->segments[i], HUGE_PAGE_BYTES);
	if (r->n_segments)
		free(r->segments[0]);
	free(r->segments);
	free(r->wide);
	free(r->last_made);
	free(r->recent);
	memset(r, 0, sizeof(*r));
}

static void *copy_array(const void *from, size_t bytes)
{
	void *to = xmalloc(bytes + 1);

	if (bytes)
		memcpy(to, from, bytes);
	return to;
}

/* All but the first are mappings of their own, see replay_release(). */
static struct replay_cell *new_segment(size_t number)
{
	/* to put huge pages together may take the kernel longer than the copy */
	return number ? xmap_now(HUGE_PAGE_BYTES) : xmalloc(HUGE_PAGE_BYTES);
}

void replay_room_make(struct replay_room *room, size_t slots, size_t freed)
{
	room->n_segments = slots / REPLAY_SEGMENT + 1;
	room->segments = xcalloc(room->n_segments, sizeof(*room->segments));
	for (size_t i = 0; i < room->n_segments; i++)
		room->segments[i] = new_segment(i);
	room->cap_freed = freed;
	room->freed = xmalloc(freed * sizeof(*room->freed) + 1);
	memset(room->segments[0], 0, HUGE_PAGE_BYTES);
	memset(room->freed, 0, freed * sizeof(*room->freed));
}

void replay_room_release(struct replay_room *room)
{
	for (size_t i = 1; i < room->n_segments; i++)
		if (room->segments[i])
			munmap(room->segments[i], HUGE_PAGE_BYTES);
	if (room->n_segments)
		free(room->segments[0]);
	free(room->segments);
	free(room->freed);
	*room = (struct replay_room){0};
}

static struct replay_cell *take_segment(struct replay_room *room, size_t number)
{
	struct replay_cell *ret = number < room->n_segments ? room->segments[number] : NULL;

	if (!ret)
		return new_segment(number);
	room->segments[number] = NULL;
	return ret;
}

void replay_copy(struct replay *to, const struct replay *r, struct replay_room *room)
{
	size_t last = r->n_threads * (r->layers.n + 1u) * sizeof(*r->last_made);
	size_t left = r->slots.next, freed = r->slots.n_freed * sizeof(*r->slots.freed);
	struct replay_room none = {0};

	room = room ? room : &none;
	*to = *r;
	to->recent = NULL;
	to->segments = xcalloc(r->n_segments + 1, sizeof(*to->segments));
	for (size_t i = 0; i < r->n_segments; i++) {
		size_t n = left < REPLAY_SEGMENT ? left : REPLAY_SEGMENT;

		to->segments[i] = take_segment(room, i);
		memcpy(to->segments[i], r->segments[i], n * sizeof(struct replay_cell));
		left -= n;
	}
	to->wide = copy_array(r->wide, r->n_wide * sizeof(*r->wide));
	to->last_made = copy_array(r->last_made, last);
	if (r->slots.n_freed > room->cap_freed) {
		to->slots.freed = copy_array(r->slots.freed, freed);
		return;
	}
	to->slots.freed = room->freed;
	room->freed = NULL;
	room->cap_freed = 0;
	if (freed)
		memcpy(to->slots.freed, r->slots.freed, freed);
}

/* Where it is kept what @thread's last event in the layer of @family made. */
static uint32_t *last_made(struct replay *r, uint32_t thread, uint8_t family)
{
	return &r->last_made[(size_t)thread * (r->layers.n + 1u) +
			     replay_layer_of(&r->layers, family)];
}

void replay_begin_space(struct replay *r, struct space_id space)
{
	for (uint32_t i = 0; i < r->slots.next; i++)
		replay_at(r, i)->is_live = false;
	if (r->n_threads)
		memset(r->last_made, 0,
		       r->n_threads * (r->layers.n + 1u) * sizeof(*r->last_made));
	slots_reset(&r->slots);
	r->n_wide = r->free_wide = 0;
	r->space = space;
	r->live_bytes = r->live_blocks = 0;
}

static __attribute__((noinline, cold)) int contradiction(const struct replay *r, const char *what,
							  struct err *err)
{
	err_set(err, ERR_RECORDING, 0,
		"event %" PRIu64 " of the recording contradicts those before it: %s", r->ordinal,
		what);
	return -EBADMSG;
}

/* ---- slots --------------------------------------------------------------------------- */

/* One that may be new. */
static struct replay_cell *room_at(struct replay *r, uint32_t slot)
{
	while (slot / REPLAY_SEGMENT >= r->n_segments) {
		ARRAY_GROW(r->segments, r->cap_segments, r->n_segments);
		/* which block is next nobody can foresee; the first are few */
		r->segments[r->n_segments] =
			r->n_segments ? xmap_huge(HUGE_PAGE_BYTES)
				      : xcalloc(REPLAY_SEGMENT, sizeof(struct replay_cell));
		r->n_segments++;
	}
	return replay_at(r, slot);
}

static bool needs_width(const struct replay_block *b)
{
	return b->size > UINT32_MAX || b->thread.v >> REPLAY_THREAD_BITS ||
	       (b->usable >= UINT32_MAX && b->usable != USABLE_UNKNOWN);
}

static __attribute__((noinline)) uint32_t widen(struct replay *r, const struct replay_block *b)
{
	uint32_t place = r->free_wide - 1;

	if (r->free_wide) {
		r->free_wide = r->wide[place].next_free;
	} else {
		place = (uint32_t)r->n_wide;
		ARRAY_GROW(r->wide, r->cap_wide, r->n_wide);
		r->n_wide++;
	}
	r->wide[place] = (struct replay_wide){b->size, b->usable, b->thread, 0};
	return place;
}

static ALWAYS_INLINE void put(struct replay *r, struct replay_cell *c,
			      const struct replay_block *b)
{
	*c = (struct replay_cell){
		.t_ns = b->t_ns,
		.address = b->address,
		.size = (uint32_t)b->size,
		.usable = (uint32_t)b->usable,
		.stack = b->stack,
		.thread = b->thread.v & ((1u << REPLAY_THREAD_BITS) - 1),
		.family = b->family,
		.is_live = true,
	};
	if (needs_width(b)) {
		c->is_wide = true;
		c->size = widen(r, b);
	}
	r->live_bytes += b->size;
	r->live_blocks++;
}

static ALWAYS_INLINE void clear(struct replay *r, struct replay_cell *c)
{
	c->is_live = false;
	if (c->is_wide) {
		r->wide[c->size].next_free = r->free_wide;
		r->free_wide = c->size + 1;
	}
}

/* ---- events -------------------------------------------------------------------------- */

static ALWAYS_INLINE void make_block(struct replay *r, const struct event *e, uint32_t slot,
				     struct replay_step *ret)
{
	ret->block = (struct replay_block){
		.t_ns = e->t_ns,
		.address = e->address,
		.size = e->size,
		.usable = e->usable,
		.stack = e->stack,
		.thread = e->thread,
		.family = e->family,
	};
	put(r, room_at(r, slot), &ret->block);
	ret->made = &ret->block;
	ret->slot = slot;
	r->recent[r->ordinal % CHUNK_EVENTS_MAX] = slot;
}

/* A piece is as old as the mapping that it was a part of. */
static __attribute__((noinline, cold)) void make_piece(struct replay *r, const struct event *e,
						       uint32_t slot, struct replay_step *ret)
{
	struct event whole = *e;

	whole.usable = USABLE_UNKNOWN;
	if (e->usable < e->t_ns)
		whole.t_ns = e->usable;
	make_block(r, &whole, slot, ret);
}

static ALWAYS_INLINE int end_block(struct replay *r, const struct event *e, uint32_t slot,
				   struct replay_step *ret, struct err *err)
{
	struct replay_cell *c;

	if (slot >= r->slots.next || !(c = replay_at(r, slot))->is_live)
		return contradiction(r, "it frees a block that is not live", err);
	ret->ended = true;
	ret->slot = slot;
	ret->old = replay_block_in(r, slot);
	/* had another block come into the slot since, it would be of another thread */
	ret->was_temporary = ret->old.thread.v == e->thread.v &&
			     *last_made(r, e->thread.v, ret->old.family) == slot + 1 &&
			     !event_ends_uncalled(e);
	r->live_bytes -= ret->old.size;
	r->live_blocks--;
	clear(r, c);
	return 0;
}

static __attribute__((noinline)) int know_thread(struct replay *r, uint32_t thread,
						  struct err *err)
{
	if (thread > r->ordinal + THREAD_GAP_MAX)
		return contradiction(r, "impossible thread", err);
	ARRAY_GROW(r->last_made, r->cap_threads, (size_t)(thread + 1) * (r->layers.n + 1u) - 1);
	r->n_threads = thread + 1;
	return 0;
}

static ALWAYS_INLINE int feed(struct replay *r, const struct event *e, struct replay_step *ret,
			      struct err *err)
{
	uint32_t slot = e->slot;
	int result;

	ret->made = NULL;
	ret->ended = ret->was_temporary = false;
	r->ordinal++;
	if (e->thread.v >= r->n_threads && (result = know_thread(r, e->thread.v, err)))
		return result;
	if (e->kind == EVENT_ALLOC) {
		slot = slots_take(&r->slots);
		make_block(r, e, slot, ret);
	} else if (e->kind == EVENT_PIECE) {
		slot = slots_take(&r->slots);
		make_piece(r, e, slot, ret);
	} else if (event_frees(e)) {
		if (e->distance)
			slot = r->recent[(r->ordinal - e->distance) % CHUNK_EVENTS_MAX];
		result = end_block(r, e, slot, ret, err);
		if (result)
			return result;
		if (e->kind == EVENT_REALLOC)
			make_block(r, e, slot, ret);
		else
			slots_give(&r->slots, slot);
	}
	/* a free that was lost, or is the allocator's own, is no event of the program's */
	if (e->kind != EVENT_FREE ||
	    (e->free_class != FREE_IMPLIED && e->free_class != FREE_INTERNAL))
		*last_made(r, e->thread.v, e->family) = ret->made ? slot + 1 : 0;
	return 0;
}

static void begin_feeding(struct replay *r)
{
	if (!r->recent)
		r->recent = xcalloc(CHUNK_EVENTS_MAX, sizeof(*r->recent));
}

int replay_feed(struct replay *r, const struct event *e, struct replay_step *ret, struct err *err)
{
	begin_feeding(r);
	return feed(r, e, ret, err);
}

/* So many events ahead: about as long as memory takes. */
#define AHEAD 16

/* The block that event @e, which is yet to come as number @ordinal, will end. */
static ALWAYS_INLINE void expect_block(const struct replay *r, const struct event *e,
				       uint64_t ordinal)
{
	uint32_t slot = e->slot;

	if (!event_frees(e))
		return;
	if (e->distance)
		slot = e->distance > AHEAD ? r->recent[(ordinal - e->distance) % CHUNK_EVENTS_MAX]
					   : 0;
	if (slot < r->slots.next)
		__builtin_prefetch(replay_at(r, slot), 1);
}

/* Allocs take the slots freed last: those soon to be taken lie deeper. */
static ALWAYS_INLINE void expect_room(const struct replay *r)
{
	const struct slots *s = &r->slots;

	if (s->n_freed > AHEAD / 2)
		__builtin_prefetch(replay_at(r, s->freed[s->n_freed - 1 - AHEAD / 2]), 1);
}

int replay_feed_all(struct replay *r, const struct event *events, size_t n, replay_each *each,
		    void *arg, struct err *err)
{
	struct replay_step step;

	begin_feeding(r);
	for (size_t i = 0; i < n; i++) {
		int result;

		if (i + AHEAD < n)
			expect_block(r, &events[i + AHEAD], r->ordinal + 1 + AHEAD);
		if (events[i].kind == EVENT_ALLOC)
			expect_room(r);
		result = feed(r, &events[i], &step, err);
		if (result)
			return result;
		each(arg, &events[i], &step);
	}
	return 0;
}

bool replay_put(struct replay *r, uint32_t slot, const struct replay_block *b)
{
	struct replay_cell *c = room_at(r, slot);

	if (c->is_live)
		return false;
	put(r, c, b);
	if (slot >= r->slots.next)
		r->slots.next = slot + 1;
	return true;
}

bool replay_restored(struct replay *r, const uint32_t *freed, size_t n)
{
	uint64_t all = r->live_blocks + n;

	if (all > UINT32_MAX)
		return false;
	if (all) /* slots beyond the last live one are free, too */
		room_at(r, (uint32_t)all - 1);
	for (size_t i = 0; i < n; i++) {
		struct replay_cell *c;

		if (freed[i] >= all || (c = replay_at(r, freed[i]))->is_live)
			return false;
		c->is_live = true; /* until all are there: none may come twice */
		slots_give(&r->slots, freed[i]);
	}
	for (size_t i = 0; i < n; i++)
		replay_at(r, freed[i])->is_live = false;
	if (r->slots.next > all)
		return false;
	r->slots.next = (uint32_t)all;
	return true;
}

void replay_put_last(struct replay *r, struct thread_id thread, uint8_t layer, uint32_t slot)
{
	size_t layers = r->layers.n + 1u;

	ARRAY_GROW(r->last_made, r->cap_threads, (thread.v + 1) * layers - 1);
	if (thread.v >= r->n_threads)
		r->n_threads = thread.v + 1;
	r->last_made[thread.v * layers + layer] = slot + 1;
}

bool replay_next_live(const struct replay *r, size_t *at, struct replay_block *ret)
{
	while (*at < r->slots.next) {
		uint32_t slot = (uint32_t)(*at)++;

		if (!replay_at(r, slot)->is_live)
			continue;
		*ret = replay_block_in(r, slot);
		return true;
	}
	return false;
}
