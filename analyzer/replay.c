/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* Thread ids are dense, and most have events: a larger one is damage. */
#define THREAD_GAP_MAX 65536

void replay_release(struct replay *r)
{
	slots_release(&r->slots);
	free(r->blocks);
	free(r->last_alloc);
	memset(r, 0, sizeof(*r));
}

void replay_begin_space(struct replay *r, struct space_id space)
{
	for (uint32_t i = 0; i < r->slots.next; i++)
		r->blocks[i].ordinal = 0;
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

static void make_block(struct replay *r, const struct event *e, uint32_t slot,
		       struct replay_step *ret)
{
	struct replay_block *b;

	ARRAY_GROW(r->blocks, r->cap_blocks, slot);
	b = &r->blocks[slot];
	*b = (struct replay_block){
		.ordinal = r->ordinal,
		.t_ns = e->t_ns,
		.address = e->address,
		.size = e->size,
		.usable = e->usable,
		.stack = e->stack,
		.thread = e->thread,
		.family = e->family,
	};
	ret->made = b;
	r->live_bytes += b->size;
	r->live_blocks++;
}

static int end_block(struct replay *r, const struct event *e, struct replay_step *ret,
		     struct err *err)
{
	struct replay_block *b;

	if (e->slot >= r->slots.next || !r->blocks[e->slot].ordinal)
		return contradiction(r, "it frees a block that is not live", err);
	b = &r->blocks[e->slot];
	ret->ended = true;
	ret->old = *b;
	ret->was_temporary = b->thread.v == e->thread.v && r->last_alloc[e->thread.v] == b->ordinal;
	r->live_bytes -= b->size;
	r->live_blocks--;
	b->ordinal = 0;
	return 0;
}

int replay_feed(struct replay *r, const struct event *e, struct replay_step *ret, struct err *err)
{
	int result = 0;

	ret->made = NULL;
	ret->ended = ret->was_temporary = false;
	r->ordinal++;
	if (e->thread.v >= r->n_threads) {
		if (e->thread.v > r->ordinal + THREAD_GAP_MAX)
			return contradiction(r, "impossible thread", err);
		ARRAY_GROW(r->last_alloc, r->cap_threads, e->thread.v);
		r->n_threads = e->thread.v + 1;
	}
	if (e->kind == EVENT_ALLOC) {
		make_block(r, e, slots_take(&r->slots), ret);
	} else if (event_frees(e)) {
		result = end_block(r, e, ret, err);
		if (result)
			return result;
		if (e->kind == EVENT_REALLOC)
			make_block(r, e, e->slot, ret);
		else
			slots_give(&r->slots, e->slot);
	}
	/* a free that was lost, or is the allocator's own, is no event of the program's */
	if (e->kind != EVENT_FREE ||
	    (e->free_class != FREE_IMPLIED && e->free_class != FREE_INTERNAL))
		r->last_alloc[e->thread.v] = ret->made ? r->ordinal : 0;
	return 0;
}

const struct replay_block *replay_next_live(const struct replay *r, size_t *at)
{
	while (*at < r->slots.next) {
		const struct replay_block *b = &r->blocks[(*at)++];

		if (b->ordinal)
			return b;
	}
	return NULL;
}
