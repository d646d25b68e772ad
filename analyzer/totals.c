/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/totals.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* Ids are dense: a larger one is damage, or a hole. */
#define DENSE_KEYS (1u << 22)

uint64_t size_class(uint64_t size)
{
	return size ? 1ull << (63 - __builtin_clzll(size)) : 0;
}

void heap_totals_add(struct heap_totals *to, const struct heap_totals *from)
{
	to->alloc_calls += from->alloc_calls;
	to->allocated_bytes += from->allocated_bytes;
	to->live_blocks += from->live_blocks;
	to->live_bytes += from->live_bytes;
	to->peak_blocks += from->peak_blocks;
	to->peak_bytes += from->peak_bytes;
	to->temporary_allocs += from->temporary_allocs;
}

void analysis_release(struct analysis *a)
{
	free(a->groups);
	free(a->stacks);
	memset(a, 0, sizeof(*a));
}

void totals_init(struct totals *t, unsigned int keys, uint64_t since_ns)
{
	memset(t, 0, sizeof(*t));
	t->since_ns = since_ns;
	t->families = UINT64_MAX;
	for (size_t i = 0; i < GROUP_KEYS; i++)
		t->tallies[i].is_wanted = keys >> i & 1;
}

static void release_places(struct places *p)
{
	free(p->dense);
	hashmap_release(&p->sparse);
}

void totals_release(struct totals *t)
{
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		release_places(&t->tallies[i].places);
		free(t->tallies[i].groups);
	}
	free(t->stacks);
	release_places(&t->stack_places);
	memset(t, 0, sizeof(*t));
}

/* ---- groups -------------------------------------------------------------------------- */

static uint64_t key_of(enum group_key key, const struct replay_block *b)
{
	switch (key) {
	case GROUP_STACK:
		return b->stack.v;
	case GROUP_THREAD:
		return b->thread.v;
	case GROUP_SIZE:
		return size_class(b->size);
	case GROUP_FAMILY:
		return b->family;
	case GROUP_KEYS:
		break;
	}
	return 0;
}

/* Valid until the next call. */
static uint32_t *place_of(struct places *p, uint64_t key)
{
	uint32_t *place;

	if (key < DENSE_KEYS) {
		ARRAY_GROW(p->dense, p->cap, key);
		return &p->dense[key];
	}
	place = hashmap_put(&p->sparse, key);
	if (*place == HASHMAP_NONE)
		*place = 0;
	return place;
}

struct group *totals_group(struct totals *t, enum group_key kind, uint64_t key)
{
	struct tally *y = &t->tallies[kind];
	bool by_bits = kind == GROUP_SIZE && key;
	uint32_t *place =
		place_of(&y->places, by_bits ? 64 - (uint64_t)__builtin_clzll(key) : key);

	if (!*place) {
		ARRAY_GROW(y->groups, y->cap, y->n);
		y->groups[y->n++].key = key;
		*place = (uint32_t)y->n;
	}
	return &y->groups[*place - 1];
}

void totals_count_stack(struct totals *t, struct stack_id stack, uint64_t calls)
{
	uint32_t *place = place_of(&t->stack_places, stack.v);

	if (!*place) {
		ARRAY_GROW(t->stacks, t->cap_stacks, t->n_stacks);
		t->stacks[t->n_stacks++] = (struct stack_calls){stack, 0};
		*place = (uint32_t)t->n_stacks;
	}
	t->stacks[*place - 1].alloc_calls += calls;
}

/* The group is about to change: was there a peak since it last did? */
static void note_share(const struct totals *t, struct group *g)
{
	if (g->peaks_seen == t->peaks)
		return;
	g->peaks_seen = t->peaks;
	g->totals.peak_blocks = g->totals.live_blocks;
	g->totals.peak_bytes = g->totals.live_bytes;
}

void totals_note_shares(struct totals *t)
{
	for (size_t k = 0; k < GROUP_KEYS; k++)
		for (size_t i = 0; i < t->tallies[k].n; i++)
			note_share(t, &t->tallies[k].groups[i]);
}

/* ---- counting ------------------------------------------------------------------------ */

static bool is_of_family(const struct totals *t, uint8_t family)
{
	return t->families >> family % 64 & 1;
}

static bool counts(const struct totals *t, const struct replay_block *b)
{
	return b->t_ns >= t->since_ns && is_of_family(t, b->family) &&
	       (!t->only_stacks ||
		(b->stack.v < t->n_only_stacks && t->only_stacks[b->stack.v]));
}

static void count_end(struct totals *t, const struct event *e, const struct replay_step *step)
{
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		struct group *g;

		if (!t->tallies[i].is_wanted)
			continue;
		g = totals_group(t, (enum group_key)i, key_of((enum group_key)i, &step->old));
		note_share(t, g);
		g->totals.live_blocks--;
		g->totals.live_bytes -= step->old.size;
		g->totals.temporary_allocs += step->was_temporary;
	}
	t->live_blocks--;
	t->live_bytes -= step->old.size;
	if (e->kind != EVENT_FREE || e->free_class != FREE_WITH_POOL)
		t->sums.free_calls++;
	t->sums.totals.temporary_allocs += step->was_temporary;
}

static void count_made(struct totals *t, const struct replay_block *b)
{
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		struct group *g;

		if (!t->tallies[i].is_wanted)
			continue;
		g = totals_group(t, (enum group_key)i, key_of((enum group_key)i, b));
		note_share(t, g);
		g->totals.live_blocks++;
		g->totals.live_bytes += b->size;
		g->totals.alloc_calls++;
		g->totals.allocated_bytes += b->size;
	}
	t->live_blocks++;
	t->live_bytes += b->size;
	t->sums.totals.alloc_calls++;
	t->sums.totals.allocated_bytes += b->size;
	if (!t->tallies[GROUP_STACK].is_wanted)
		totals_count_stack(t, b->stack, 1);
}

void totals_count(struct totals *t, const struct event *e, const struct replay_step *step)
{
	struct analysis *a = &t->sums;

	if (!a->first_ns)
		a->first_ns = e->t_ns;
	if (step->ended && counts(t, &step->old))
		count_end(t, e, step);
	if (e->t_ns < t->since_ns)
		return;
	a->events++;
	a->last_ns = e->t_ns;
	if (!is_of_family(t, e->family))
		return;
	if (e->kind == EVENT_FREE)
		a->frees[e->free_class]++;
	if (step->made && counts(t, step->made))
		count_made(t, step->made);
	/* of equal peaks the last */
	if (t->live_bytes >= a->totals.peak_bytes) {
		a->totals.peak_bytes = t->live_bytes;
		a->totals.peak_blocks = t->live_blocks;
		a->peak_time_ns = e->t_ns;
		a->peak_event = a->events;
		t->peaks++;
	}
}

void totals_begin_space(struct totals *t)
{
	t->sums.ended_by_exec_blocks += t->live_blocks;
	t->sums.ended_by_exec_bytes += t->live_bytes;
	totals_note_shares(t);
	for (size_t k = 0; k < GROUP_KEYS; k++)
		for (size_t i = 0; i < t->tallies[k].n; i++) {
			struct group *g = &t->tallies[k].groups[i];

			g->totals.live_blocks = g->totals.live_bytes = 0;
		}
	t->live_bytes = t->live_blocks = 0;
}

/* ---- what came of it ----------------------------------------------------------------- */

static void find_ages(struct totals *t, enum group_key key, const struct replay *heap,
		      struct analysis *a)
{
	const struct replay_block *b;
	size_t at = 0;

	for (size_t i = 0; i < t->tallies[key].n; i++)
		t->tallies[key].groups[i].oldest_ns = t->tallies[key].groups[i].newest_ns = 0;
	while ((b = replay_next_live(heap, &at))) {
		struct group *g;

		if (!counts(t, b))
			continue;
		g = totals_group(t, key, key_of(key, b));
		if (!g->oldest_ns || b->t_ns < g->oldest_ns)
			g->oldest_ns = b->t_ns;
		if (b->t_ns > g->newest_ns)
			g->newest_ns = b->t_ns;
		if (b->usable != USABLE_UNKNOWN)
			a->usable_bytes += b->usable;
	}
}

/* Where stacks are groups these have counted already. */
static void stacks_of_groups(struct totals *t)
{
	const struct tally *y = &t->tallies[GROUP_STACK];

	t->n_stacks = 0;
	for (size_t i = 0; i < y->n; i++) {
		ARRAY_GROW(t->stacks, t->cap_stacks, t->n_stacks);
		t->stacks[t->n_stacks++] =
			(struct stack_calls){{(uint32_t)y->groups[i].key},
					     y->groups[i].totals.alloc_calls};
	}
}

void totals_get(struct totals *t, enum group_key key, const struct replay *heap,
		struct analysis *ret)
{
	struct tally *y = &t->tallies[key];

	*ret = t->sums;
	ret->totals.live_blocks = t->live_blocks;
	ret->totals.live_bytes = t->live_bytes;
	for (size_t i = 0; i < y->n; i++)
		note_share(t, &y->groups[i]);
	if (heap)
		find_ages(t, key, heap, ret);
	if (key == GROUP_STACK)
		stacks_of_groups(t);
	ret->groups = y->groups;
	ret->n_groups = y->n;
	ret->stacks = t->stacks;
	ret->n_stacks = t->n_stacks;
}

void totals_give_away(struct totals *t, enum group_key key)
{
	t->tallies[key].groups = NULL;
	t->tallies[key].n = t->tallies[key].cap = 0;
	t->stacks = NULL;
	t->n_stacks = t->cap_stacks = 0;
}
