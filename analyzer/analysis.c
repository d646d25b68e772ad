/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

/*
 * One pass over the events: what it needs and what it makes.
 *
 * A group's share of the peak is what it had live at that very moment.  It is
 * noted when the group first changes afterwards: until then it is what is live.
 */
struct pass {
	struct store_reader *reader;
	struct analysis *a;
	enum group_key key;
	analysis_progress *progress;
	uint64_t peaks; /* how often the heap was as large as never before */
	struct hashmap index; /* key -> place in a->groups */
	struct hashmap index_stacks; /* stack -> place in a->stacks; unused with GROUP_STACK */
	struct replay replay;
};

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

static uint64_t key_of(const struct pass *p, const struct replay_block *b)
{
	switch (p->key) {
	case GROUP_STACK:
		return b->stack.v;
	case GROUP_THREAD:
		return b->thread.v;
	case GROUP_SIZE:
		return size_class(b->size);
	case GROUP_FAMILY:
		return b->family;
	}
	return 0;
}

static struct group *group_of(struct pass *p, const struct replay_block *b)
{
	uint64_t key = key_of(p, b);
	uint32_t *place = hashmap_put(&p->index, key);
	struct analysis *a = p->a;

	if (*place == HASHMAP_NONE) {
		*place = (uint32_t)a->n_groups;
		ARRAY_GROW(a->groups, a->cap_groups, a->n_groups);
		a->groups[a->n_groups++].key = key;
	}
	return &a->groups[*place];
}

/* The group is about to change: was there a peak since it last did? */
static void note_share(const struct pass *p, struct group *g)
{
	if (g->peaks_seen == p->peaks)
		return;
	g->peaks_seen = p->peaks;
	g->totals.peak_blocks = g->totals.live_blocks;
	g->totals.peak_bytes = g->totals.live_bytes;
}

static void put_stack(struct analysis *a, struct stack_id stack, uint64_t alloc_calls)
{
	ARRAY_GROW(a->stacks, a->cap_stacks, a->n_stacks);
	a->stacks[a->n_stacks++] = (struct stack_calls){stack, alloc_calls};
}

static void count_stack(struct pass *p, struct stack_id stack)
{
	uint32_t *place = hashmap_put(&p->index_stacks, stack.v);

	if (*place == HASHMAP_NONE) {
		*place = (uint32_t)p->a->n_stacks;
		put_stack(p->a, stack, 0);
	}
	p->a->stacks[*place].alloc_calls++;
}

/* With GROUP_STACK the groups have counted already. */
static void stacks_of_groups(struct analysis *a)
{
	for (size_t i = 0; i < a->n_groups; i++)
		put_stack(a, (struct stack_id){(uint32_t)a->groups[i].key},
			  a->groups[i].totals.alloc_calls);
}

static void count_end(struct pass *p, const struct replay_step *step)
{
	struct group *g = group_of(p, &step->old);

	note_share(p, g);
	g->totals.live_blocks--;
	g->totals.live_bytes -= step->old.size;
	p->a->free_calls++;
	p->a->totals.temporary_allocs += step->was_temporary;
	g->totals.temporary_allocs += step->was_temporary;
}

static void count_made(struct pass *p, const struct replay_block *b)
{
	struct group *g = group_of(p, b);

	note_share(p, g);
	g->totals.live_blocks++;
	g->totals.live_bytes += b->size;
	p->a->totals.alloc_calls++;
	p->a->totals.allocated_bytes += b->size;
	g->totals.alloc_calls++;
	g->totals.allocated_bytes += b->size;
	if (p->key != GROUP_STACK)
		count_stack(p, b->stack);
}

static void count_step(struct pass *p, const struct event *e, const struct replay_step *step)
{
	struct analysis *a = p->a;

	a->events++;
	a->last_ns = e->t_ns;
	if (e->kind == EVENT_FREE)
		a->frees[e->free_class]++;
	if (step->ended)
		count_end(p, step);
	if (step->made)
		count_made(p, step->made);
	/* of equal peaks the last */
	if (p->replay.live_bytes >= a->totals.peak_bytes) {
		a->totals.peak_bytes = p->replay.live_bytes;
		a->totals.peak_blocks = p->replay.live_blocks;
		a->peak_time_ns = e->t_ns;
		p->peaks++;
	}
}

/* The blocks of the space before went with it. */
static void begin_space(struct pass *p, struct space_id space)
{
	p->a->ended_by_exec_blocks += p->replay.live_blocks;
	p->a->ended_by_exec_bytes += p->replay.live_bytes;
	for (size_t i = 0; i < p->a->n_groups; i++) {
		struct group *g = &p->a->groups[i];

		note_share(p, g);
		g->totals.live_blocks = g->totals.live_bytes = 0;
	}
	replay_begin_space(&p->replay, space);
}

static int replay_all(struct pass *p, struct err *err)
{
	struct event *events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*events));
	struct chunk_info info = {0};
	struct replay_step step;
	int r;

	while ((r = store_reader_next_chunk(p->reader, info.id, &info, events, err)) == 1) {
		r = 0;
		if (!p->a->events)
			p->a->first_ns = info.first_ns;
		if (info.space.v != p->replay.space.v)
			begin_space(p, info.space);
		for (uint32_t i = 0; i < info.events && !r; i++) {
			r = replay_feed(&p->replay, &events[i], &step, err);
			if (!r)
				count_step(p, &events[i], &step);
		}
		if (r)
			break;
		if (p->progress)
			p->progress(p->a->events);
	}
	free(events);
	return r;
}

static void count_live(struct pass *p)
{
	struct analysis *a = p->a;
	const struct replay_block *b;
	size_t at = 0;

	a->totals.live_blocks = p->replay.live_blocks;
	a->totals.live_bytes = p->replay.live_bytes;
	for (size_t i = 0; i < a->n_groups; i++)
		note_share(p, &a->groups[i]);
	while ((b = replay_next_live(&p->replay, &at))) {
		struct group *g = group_of(p, b);

		if (!g->oldest_ns || b->t_ns < g->oldest_ns)
			g->oldest_ns = b->t_ns;
		if (b->t_ns > g->newest_ns)
			g->newest_ns = b->t_ns;
		if (b->usable != USABLE_UNKNOWN)
			a->usable_bytes += b->usable;
	}
}

int analysis_make(struct store_reader *reader, enum group_key key, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	struct pass p = {.reader = reader, .a = ret, .key = key, .progress = progress};
	int r;

	memset(ret, 0, sizeof(*ret));
	r = replay_all(&p, err);
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		if (last.v > p.replay.space.v) /* a program that never allocated */
			begin_space(&p, last);
		count_live(&p);
		if (key == GROUP_STACK)
			stacks_of_groups(ret);
	}
	replay_release(&p.replay);
	hashmap_release(&p.index);
	hashmap_release(&p.index_stacks);
	if (r)
		analysis_release(ret);
	return r;
}

void analysis_release(struct analysis *a)
{
	free(a->groups);
	free(a->stacks);
	memset(a, 0, sizeof(*a));
}
