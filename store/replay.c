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

void replay_release(struct replay *r)
{
	slots_release(&r->slots);
	for (size_t i = 1; i < r->n_segments; i++)
		munmap(r->segments[i], HUGE_PAGE_BYTES);
	if (r->n_segments)
		free(r->segments[0]);
	free(r->segments);
	free(r->last_made);
	free(r->recent);
	memset(r, 0, sizeof(*r));
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
	r->space = space;
	r->live_bytes = r->live_blocks = 0;
}

static int contradiction(const struct replay *r, const char *what, struct err *err)
{
	err_set(err, ERR_RECORDING, 0,
		"event %" PRIu64 " of the recording contradicts those before it: %s", r->ordinal,
		what);
	return -EBADMSG;
}

/* The block in @slot, which may be new. */
static struct replay_block *room_at(struct replay *r, uint32_t slot)
{
	while (slot / REPLAY_SEGMENT >= r->n_segments) {
		ARRAY_GROW(r->segments, r->cap_segments, r->n_segments);
		/* which block is next nobody can foresee; the first are few */
		r->segments[r->n_segments] =
			r->n_segments ? xmap_huge(HUGE_PAGE_BYTES)
				      : xcalloc(REPLAY_SEGMENT, sizeof(struct replay_block));
		r->n_segments++;
	}
	return replay_at(r, slot);
}

static void make_block(struct replay *r, const struct event *e, uint32_t slot,
		       struct replay_step *ret)
{
	struct replay_block *b = room_at(r, slot);

	*b = (struct replay_block){
		.t_ns = e->t_ns,
		.address = e->address,
		.size = e->size,
		.usable = e->usable,
		.stack = e->stack,
		.thread = e->thread,
		.family = e->family,
		.is_live = true,
	};
	ret->made = b;
	ret->slot = slot;
	r->live_bytes += b->size;
	r->live_blocks++;
	r->recent[r->ordinal % CHUNK_EVENTS_MAX] = slot;
}

static int end_block(struct replay *r, const struct event *e, uint32_t slot,
		     struct replay_step *ret, struct err *err)
{
	struct replay_block *b;

	if (slot >= r->slots.next || !replay_at(r, slot)->is_live)
		return contradiction(r, "it frees a block that is not live", err);
	b = replay_at(r, slot);
	ret->ended = true;
	ret->slot = slot;
	ret->old = *b;
	/* had another block come into the slot since, it would be of another thread */
	ret->was_temporary = b->thread.v == e->thread.v &&
			     *last_made(r, e->thread.v, b->family) == slot + 1 &&
			     !replay_ends_with_pool(e);
	r->live_bytes -= b->size;
	r->live_blocks--;
	b->is_live = false;
	return 0;
}

static int know_thread(struct replay *r, uint32_t thread, struct err *err)
{
	if (thread < r->n_threads)
		return 0;
	if (thread > r->ordinal + THREAD_GAP_MAX)
		return contradiction(r, "impossible thread", err);
	ARRAY_GROW(r->last_made, r->cap_threads, (size_t)(thread + 1) * (r->layers.n + 1u) - 1);
	r->n_threads = thread + 1;
	return 0;
}

int replay_feed(struct replay *r, const struct event *e, struct replay_step *ret, struct err *err)
{
	uint32_t slot = e->slot;
	int result;

	ret->made = NULL;
	ret->ended = ret->was_temporary = false;
	r->ordinal++;
	if (!r->recent)
		r->recent = xcalloc(CHUNK_EVENTS_MAX, sizeof(*r->recent));
	result = know_thread(r, e->thread.v, err);
	if (result)
		return result;
	if (e->kind == EVENT_ALLOC) {
		slot = slots_take(&r->slots);
		make_block(r, e, slot, ret);
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

/* So many events ahead: about as long as memory takes. */
#define AHEAD 16

/* GCC takes calls of a function that does nothing but this for calls of nothing. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* It may lie in two lines of the cache. */
static ALWAYS_INLINE void bring(const struct replay_block *b)
{
	__builtin_prefetch(b, 1);
	__builtin_prefetch((const char *)(b + 1) - 1, 1);
}

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
		bring(replay_at(r, slot));
}

/* Allocs take the slots freed last: those soon to be taken lie deeper. */
static ALWAYS_INLINE void expect_room(const struct replay *r)
{
	const struct slots *s = &r->slots;

	if (s->n_freed > AHEAD / 2)
		bring(replay_at(r, s->freed[s->n_freed - 1 - AHEAD / 2]));
}

int replay_feed_all(struct replay *r, const struct event *events, size_t n, replay_each *each,
		    void *arg, struct err *err)
{
	struct replay_step step;

	if (!r->recent)
		r->recent = xcalloc(CHUNK_EVENTS_MAX, sizeof(*r->recent));
	for (size_t i = 0; i < n; i++) {
		int result;

		if (i + AHEAD < n)
			expect_block(r, &events[i + AHEAD], r->ordinal + 1 + AHEAD);
		if (events[i].kind == EVENT_ALLOC)
			expect_room(r);
		result = replay_feed(r, &events[i], &step, err);
		if (result)
			return result;
		each(arg, &events[i], &step);
	}
	return 0;
}

bool replay_put(struct replay *r, uint32_t slot, const struct replay_block *b)
{
	if (room_at(r, slot)->is_live)
		return false;
	*replay_at(r, slot) = *b;
	replay_at(r, slot)->is_live = true;
	if (slot >= r->slots.next)
		r->slots.next = slot + 1;
	r->live_bytes += b->size;
	r->live_blocks++;
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
		struct replay_block *b;

		if (freed[i] >= all || (b = replay_at(r, freed[i]))->is_live)
			return false;
		b->is_live = true; /* until all are there: none may come twice */
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

const struct replay_block *replay_next_live(const struct replay *r, size_t *at)
{
	while (*at < r->slots.next) {
		const struct replay_block *b = replay_at(r, (uint32_t)(*at)++);

		if (b->is_live)
			return b;
	}
	return NULL;
}
