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
	t->has_cells = keys & ~(1u << GROUP_STACK);
}

static void release_places(struct places *p)
{
	free(p->dense);
	hashmap_release(&p->sparse);
	*p = (struct places){0};
}

void totals_release(struct totals *t)
{
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		release_places(&t->tallies[i].places);
		free(t->tallies[i].groups);
		free(t->tallies[i].changed);
	}
	free(t->stacks);
	release_places(&t->stack_places);
	free(t->cells);
	hashmap_release(&t->cell_places);
	memset(t, 0, sizeof(*t));
}

void totals_clear(struct totals *t)
{
	memset(&t->sums, 0, sizeof(t->sums));
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		struct tally *y = &t->tallies[i];

		if (y->n > y->n_before)
			y->n_before = y->n;
		y->n = y->n_changed = 0;
	}
	free(t->stacks);
	t->stacks = NULL;
	t->n_stacks = t->cap_stacks = 0;
	release_places(&t->stack_places);
	t->n_cells = 0;
	hashmap_clear(&t->cell_places);
	t->peaks = t->settled_peaks = t->live_bytes = t->live_blocks = 0;
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

/* 0, or how many bits it has. */
static uint32_t size_bits(uint64_t size)
{
	return size ? 64 - (uint32_t)__builtin_clzll(size) : 0;
}

/* The group of a stack, most of which are there already. */
static inline struct group *stack_group(struct totals *t, struct stack_id stack)
{
	const struct tally *y = &t->tallies[GROUP_STACK];

	if (stack.v < y->places.cap) {
		uint32_t place = y->places.dense[stack.v];

		/* one may be from before totals_clear() */
		if (place && place <= y->n && y->groups[place - 1].key == stack.v)
			return &y->groups[place - 1];
	}
	return totals_group(t, GROUP_STACK, stack.v);
}

struct group *totals_group(struct totals *t, enum group_key kind, uint64_t key)
{
	struct tally *y = &t->tallies[kind];
	uint32_t *place = place_of(&y->places, kind == GROUP_SIZE ? size_bits(key) : key);

	/* a place may be from before totals_clear() */
	if (!*place || *place > y->n || y->groups[*place - 1].key != key) {
		ARRAY_GROW(y->groups, y->cap, y->n);
		y->groups[y->n++] = (struct group){.key = key};
		*place = (uint32_t)y->n;
	}
	return &y->groups[*place - 1];
}

struct group *totals_add_group(struct totals *t, enum group_key kind, uint64_t key)
{
	struct tally *y = &t->tallies[kind];

	if (y->n >= y->n_before || y->groups[y->n].key != key)
		return totals_group(t, kind, key);
	y->groups[y->n] = (struct group){.key = key};
	return &y->groups[y->n++];
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
void totals_note_share(const struct totals *t, struct group *g)
{
	if (g->peaks_seen == t->peaks)
		return;
	g->peaks_seen = t->peaks;
	g->totals.peak_blocks = g->totals.live_blocks;
	g->totals.peak_bytes = g->totals.live_bytes;
}

static void note_change(struct totals *t, size_t kind, struct group *g)
{
	struct tally *y = &t->tallies[kind];

	totals_note_share(t, g);
	if (g->round == t->round)
		return;
	g->round = t->round;
	ARRAY_GROW(y->changed, y->cap_changed, y->n_changed);
	y->changed[y->n_changed++] = (uint32_t)(g - y->groups);
}

/* ---- cells --------------------------------------------------------------------------- */

static uint64_t cell_key(const struct replay_block *b)
{
	return (uint64_t)b->thread.v << 16 | (uint64_t)b->family << 8 | size_bits(b->size);
}

static uint64_t key_of_cell(enum group_key kind, const struct totals_cell *c)
{
	uint32_t bits = c->key & 255;

	switch (kind) {
	case GROUP_THREAD:
		return c->key >> 16;
	case GROUP_SIZE:
		return bits ? 1ull << (bits - 1) : 0;
	case GROUP_FAMILY:
		return c->key >> 8 & 255;
	case GROUP_STACK:
	case GROUP_KEYS:
		break;
	}
	return 0;
}

/* Its groups come up with it: they are in the order of their first blocks. */
static uint32_t add_cell(struct totals *t, uint64_t key)
{
	uint32_t number = (uint32_t)t->n_cells++;

	ARRAY_GROW(t->cells, t->cap_cells, number);
	t->cells[number] = (struct totals_cell){.key = key};
	for (int k = GROUP_STACK + 1; k < GROUP_KEYS; k++)
		if (t->tallies[k].is_wanted)
			totals_group(t, (enum group_key)k,
				     key_of_cell((enum group_key)k, &t->cells[number]));
	return number;
}

static struct totals_cell *find_cell(struct totals *t, const struct replay_block *b)
{
	uint64_t key = cell_key(b);
	uint32_t *recent = &t->recent[(key ^ key >> 11) % CELLS_RECENT], *place;

	if (*recent < t->n_cells && t->cells[*recent].key == key)
		return &t->cells[*recent];
	place = hashmap_put(&t->cell_places, key);
	if (*place == HASHMAP_NONE)
		*place = add_cell(t, key);
	*recent = *place;
	return &t->cells[*place];
}

/* The cell is about to change, as a group: totals_note_share(). */
static inline struct totals_cell *cell_of(struct totals *t, const struct replay_block *b)
{
	struct totals_cell *c = find_cell(t, b);

	if (c->peaks_seen != t->peaks) {
		c->peaks_seen = t->peaks;
		c->totals.peak_blocks = c->totals.live_blocks;
		c->totals.peak_bytes = c->totals.live_bytes;
	}
	return c;
}

static void settle_tally(struct totals *t, enum group_key kind)
{
	bool is_new_peak = t->peaks != t->settled_peaks;
	struct tally *y = &t->tallies[kind];

	/* what a group had live is as it was then: what changed is in the cells */
	for (size_t i = 0; i < y->n; i++)
		totals_note_share(t, &y->groups[i]);
	for (size_t i = 0; i < t->n_cells; i++) {
		const struct totals_cell *c = &t->cells[i];
		struct group *g = totals_group(t, kind, key_of_cell(kind, c));
		struct heap_totals add = c->totals;

		/* a new one, too, of which no call is: a piece may have come and gone */
		if (memcmp(&add, &(struct heap_totals){0}, sizeof(add)) || (t->round && !g->round))
			note_change(t, kind, g);

		if (c->peaks_seen != t->peaks) {
			add.peak_blocks = add.live_blocks;
			add.peak_bytes = add.live_bytes;
		}
		if (!is_new_peak)
			add.peak_blocks = add.peak_bytes = 0;
		heap_totals_add(&g->totals, &add);
	}
}

void totals_settle(struct totals *t)
{
	for (int k = GROUP_STACK + 1; k < GROUP_KEYS; k++)
		if (t->tallies[k].is_wanted)
			settle_tally(t, (enum group_key)k);
	for (size_t i = 0; i < t->n_cells; i++) {
		t->cells[i].totals = (struct heap_totals){0};
		t->cells[i].peaks_seen = t->peaks;
	}
	t->settled_peaks = t->peaks;
}

void totals_note_shares(struct totals *t)
{
	totals_settle(t);
	for (size_t k = 0; k < GROUP_KEYS; k++)
		for (size_t i = 0; i < t->tallies[k].n; i++)
			totals_note_share(t, &t->tallies[k].groups[i]);
}

void totals_note_changes(struct totals *t)
{
	totals_settle(t);
	t->round++;
	for (size_t k = 0; k < GROUP_KEYS; k++)
		t->tallies[k].n_changed = 0;
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

static inline void end_in(struct heap_totals *to, const struct replay_step *step)
{
	to->live_blocks--;
	to->live_bytes -= step->old.size;
	to->temporary_allocs += step->was_temporary;
}

static void count_end(struct totals *t, const struct event *e, const struct replay_step *step)
{
	if (t->tallies[GROUP_STACK].is_wanted) {
		struct group *g = stack_group(t, step->old.stack);

		note_change(t, GROUP_STACK, g);
		end_in(&g->totals, step);
	}
	if (t->has_cells)
		end_in(&cell_of(t, &step->old)->totals, step);
	t->live_blocks--;
	t->live_bytes -= step->old.size;
	if (!event_ends_uncalled(e))
		t->sums.free_calls++;
	t->sums.totals.temporary_allocs += step->was_temporary;
}

static inline void make_in(struct heap_totals *to, uint64_t size, bool is_called)
{
	to->live_blocks++;
	to->live_bytes += size;
	to->alloc_calls += is_called;
	to->allocated_bytes += is_called ? size : 0;
}

static void count_made(struct totals *t, const struct event *e, const struct replay_block *b)
{
	/* a piece was counted with its whole, a block from before with none */
	bool is_called = event_is_alloc_call(e);

	if (t->tallies[GROUP_STACK].is_wanted) {
		struct group *g = stack_group(t, b->stack);

		note_change(t, GROUP_STACK, g);
		make_in(&g->totals, b->size, is_called);
	} else {
		totals_count_stack(t, b->stack, is_called);
	}
	if (t->has_cells)
		make_in(&cell_of(t, b)->totals, b->size, is_called);
	t->live_blocks++;
	t->live_bytes += b->size;
	t->sums.totals.alloc_calls += is_called;
	t->sums.totals.allocated_bytes += is_called ? b->size : 0;
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
		count_made(t, e, step->made);
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

			if (g->totals.live_blocks)
				note_change(t, k, g);
			g->totals.live_blocks = g->totals.live_bytes = 0;
		}
	t->live_bytes = t->live_blocks = 0;
}

/* ---- what came of it ----------------------------------------------------------------- */

static void find_ages(struct totals *t, enum group_key key, const struct replay *heap,
		      struct analysis *a)
{
	struct replay_block b;
	size_t at = 0;

	for (size_t i = 0; i < t->tallies[key].n; i++)
		t->tallies[key].groups[i].oldest_ns = t->tallies[key].groups[i].newest_ns = 0;
	while (replay_next_live(heap, &at, &b)) {
		struct group *g;

		if (!counts(t, &b))
			continue;
		g = totals_group(t, key, key_of(key, &b));
		if (!g->oldest_ns || b.t_ns < g->oldest_ns)
			g->oldest_ns = b.t_ns;
		if (b.t_ns > g->newest_ns)
			g->newest_ns = b.t_ns;
		/* of one from before nobody knows what was requested */
		if (b.usable == USABLE_UNKNOWN || b.thread.v == THREAD_OF_BEFORE)
			continue;
		a->usable_bytes += b.usable;
		a->usable_requested_bytes += b.size;
	}
}

void totals_visit_live(const struct totals *t, const struct replay *heap, totals_visitor *visit,
		       void *arg)
{
	struct replay_block b;
	size_t at = 0;

	while (replay_next_live(heap, &at, &b))
		if (counts(t, &b))
			visit(arg, &b);
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

	totals_settle(t);
	*ret = t->sums;
	ret->totals.live_blocks = t->live_blocks;
	ret->totals.live_bytes = t->live_bytes;
	for (size_t i = 0; i < y->n; i++)
		totals_note_share(t, &y->groups[i]);
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
