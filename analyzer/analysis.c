/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "store/loss.h"

/*
 * One pass over the events: what it needs and what it makes.
 *
 * A group's share of the peak is what it had live at that very moment.  It is
 * noted when the group first changes afterwards: until then it is what is live.
 */

/* Where a key's counts are, + 1; 0: nowhere yet. */
struct places {
	uint32_t *dense; /* [key] */
	size_t cap;
	struct hashmap sparse; /* of keys that are too large for an index */
};

/* The groups of one key, by what their blocks have in common. */
struct tally {
	struct places places;
	struct group *groups;
	size_t n, cap;
	bool is_wanted;
};

struct analysis_pass {
	uint64_t since_ns;
	struct analysis sums; /* all but its groups and stacks */
	struct tally tallies[GROUP_KEYS];
	struct stack_calls *stacks; /* where stacks are no groups */
	size_t n_stacks, cap_stacks;
	struct places stack_places;
	uint64_t peaks; /* how often the heap was as large as never before */
	uint64_t live_bytes, live_blocks; /* of the blocks that count */
	struct replay replay;
};

/* Ids are dense: a larger one is damage, or a hole. */
#define DENSE_KEYS (1u << 22)

uint64_t size_class(uint64_t size)
{
	return size ? 1ull << (63 - __builtin_clzll(size)) : 0;
}

uint64_t lost_events(const struct catalog *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < LOSSES; i++)
		if (loss_kinds[i].misses_events)
			n += catalog_loss(c, loss_kinds[i].name);
	return n;
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

static void release_places(struct places *p)
{
	free(p->dense);
	hashmap_release(&p->sparse);
}

static struct group *group_of(struct analysis_pass *p, enum group_key kind,
			      const struct replay_block *b)
{
	struct tally *t = &p->tallies[kind];
	uint64_t key = key_of(kind, b);
	bool by_bits = kind == GROUP_SIZE && key;
	uint32_t *place =
		place_of(&t->places, by_bits ? 64 - (uint64_t)__builtin_clzll(key) : key);

	if (!*place) {
		ARRAY_GROW(t->groups, t->cap, t->n);
		t->groups[t->n++].key = key;
		*place = (uint32_t)t->n;
	}
	return &t->groups[*place - 1];
}

/* The group is about to change: was there a peak since it last did? */
static void note_share(const struct analysis_pass *p, struct group *g)
{
	if (g->peaks_seen == p->peaks)
		return;
	g->peaks_seen = p->peaks;
	g->totals.peak_blocks = g->totals.live_blocks;
	g->totals.peak_bytes = g->totals.live_bytes;
}

static void count_stack(struct analysis_pass *p, struct stack_id stack)
{
	uint32_t *place = place_of(&p->stack_places, stack.v);

	if (!*place) {
		ARRAY_GROW(p->stacks, p->cap_stacks, p->n_stacks);
		p->stacks[p->n_stacks++] = (struct stack_calls){stack, 0};
		*place = (uint32_t)p->n_stacks;
	}
	p->stacks[*place - 1].alloc_calls++;
}

static bool counts(const struct analysis_pass *p, const struct replay_block *b)
{
	return b->t_ns >= p->since_ns;
}

static void count_end(struct analysis_pass *p, const struct replay_step *step)
{
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		struct group *g;

		if (!p->tallies[i].is_wanted)
			continue;
		g = group_of(p, (enum group_key)i, &step->old);
		note_share(p, g);
		g->totals.live_blocks--;
		g->totals.live_bytes -= step->old.size;
		g->totals.temporary_allocs += step->was_temporary;
	}
	p->live_blocks--;
	p->live_bytes -= step->old.size;
	p->sums.free_calls++;
	p->sums.totals.temporary_allocs += step->was_temporary;
}

static void count_made(struct analysis_pass *p, const struct replay_block *b)
{
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		struct group *g;

		if (!p->tallies[i].is_wanted)
			continue;
		g = group_of(p, (enum group_key)i, b);
		note_share(p, g);
		g->totals.live_blocks++;
		g->totals.live_bytes += b->size;
		g->totals.alloc_calls++;
		g->totals.allocated_bytes += b->size;
	}
	p->live_blocks++;
	p->live_bytes += b->size;
	p->sums.totals.alloc_calls++;
	p->sums.totals.allocated_bytes += b->size;
	if (!p->tallies[GROUP_STACK].is_wanted)
		count_stack(p, b->stack);
}

static void count_step(struct analysis_pass *p, const struct event *e,
		       const struct replay_step *step)
{
	struct analysis *a = &p->sums;

	if (step->ended && counts(p, &step->old))
		count_end(p, step);
	if (e->t_ns < p->since_ns)
		return;
	a->events++;
	a->last_ns = e->t_ns;
	if (e->kind == EVENT_FREE)
		a->frees[e->free_class]++;
	if (step->made)
		count_made(p, step->made);
	/* of equal peaks the last */
	if (p->live_bytes >= a->totals.peak_bytes) {
		a->totals.peak_bytes = p->live_bytes;
		a->totals.peak_blocks = p->live_blocks;
		a->peak_time_ns = e->t_ns;
		p->peaks++;
	}
}

/* The blocks of the space before went with it. */
static void begin_space(struct analysis_pass *p, struct space_id space)
{
	p->sums.ended_by_exec_blocks += p->live_blocks;
	p->sums.ended_by_exec_bytes += p->live_bytes;
	for (size_t k = 0; k < GROUP_KEYS; k++)
		for (size_t i = 0; i < p->tallies[k].n; i++) {
			struct group *g = &p->tallies[k].groups[i];

			note_share(p, g);
			g->totals.live_blocks = g->totals.live_bytes = 0;
		}
	p->live_bytes = p->live_blocks = 0;
	replay_begin_space(&p->replay, space);
}

struct analysis_pass *analysis_pass_new(unsigned int keys, uint64_t since_ns)
{
	struct analysis_pass *p = xcalloc(1, sizeof(*p));

	p->since_ns = since_ns;
	for (size_t i = 0; i < GROUP_KEYS; i++)
		p->tallies[i].is_wanted = keys >> i & 1;
	return p;
}

void analysis_pass_free(struct analysis_pass *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < GROUP_KEYS; i++) {
		release_places(&p->tallies[i].places);
		free(p->tallies[i].groups);
	}
	free(p->stacks);
	release_places(&p->stack_places);
	replay_release(&p->replay);
	free(p);
}

int analysis_pass_feed(struct analysis_pass *p, struct space_id space, const struct event *events,
		       size_t n, struct err *err)
{
	struct replay_step step;

	if (n && !p->sums.first_ns)
		p->sums.first_ns = events[0].t_ns;
	if (space.v != p->replay.space.v)
		begin_space(p, space);
	for (size_t i = 0; i < n; i++) {
		int r = replay_feed(&p->replay, &events[i], &step, err);

		if (r)
			return r;
		count_step(p, &events[i], &step);
	}
	return 0;
}

static void find_ages(struct analysis_pass *p, enum group_key key, struct analysis *a)
{
	const struct replay_block *b;
	size_t at = 0;

	for (size_t i = 0; i < p->tallies[key].n; i++)
		p->tallies[key].groups[i].oldest_ns = p->tallies[key].groups[i].newest_ns = 0;
	while ((b = replay_next_live(&p->replay, &at))) {
		struct group *g;

		if (!counts(p, b))
			continue;
		g = group_of(p, key, b);
		if (!g->oldest_ns || b->t_ns < g->oldest_ns)
			g->oldest_ns = b->t_ns;
		if (b->t_ns > g->newest_ns)
			g->newest_ns = b->t_ns;
		if (b->usable != USABLE_UNKNOWN)
			a->usable_bytes += b->usable;
	}
}

/* Where stacks are groups these have counted already. */
static void stacks_of_groups(struct analysis_pass *p)
{
	const struct tally *t = &p->tallies[GROUP_STACK];

	p->n_stacks = 0;
	for (size_t i = 0; i < t->n; i++) {
		ARRAY_GROW(p->stacks, p->cap_stacks, p->n_stacks);
		p->stacks[p->n_stacks++] =
			(struct stack_calls){{(uint32_t)t->groups[i].key},
					     t->groups[i].totals.alloc_calls};
	}
}

void analysis_pass_get(struct analysis_pass *p, enum group_key key, bool ages,
		       struct analysis *ret)
{
	struct tally *t = &p->tallies[key];

	*ret = p->sums;
	ret->totals.live_blocks = p->live_blocks;
	ret->totals.live_bytes = p->live_bytes;
	for (size_t i = 0; i < t->n; i++)
		note_share(p, &t->groups[i]);
	if (ages)
		find_ages(p, key, ret);
	if (key == GROUP_STACK)
		stacks_of_groups(p);
	ret->groups = t->groups;
	ret->n_groups = t->n;
	ret->stacks = p->stacks;
	ret->n_stacks = p->n_stacks;
}

const struct replay *analysis_pass_replay(const struct analysis_pass *p)
{
	return &p->replay;
}

/* ---- a whole recording ---------------------------------------------------------------- */

static int feed_all(struct analysis_pass *p, struct store_reader *reader,
		    analysis_progress *progress, struct err *err)
{
	struct event *events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*events));
	struct chunk_info info = {0};
	int r;

	while ((r = store_reader_next_chunk(reader, info.id, &info, events, err)) == 1) {
		r = analysis_pass_feed(p, info.space, events, info.events, err);
		if (r)
			break;
		if (progress)
			progress(p->sums.events);
	}
	free(events);
	return r;
}

int analysis_make(struct store_reader *reader, enum group_key key, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	struct analysis_pass *p = analysis_pass_new(1u << key, 0);
	int r = feed_all(p, reader, progress, err);

	memset(ret, 0, sizeof(*ret));
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		if (last.v > p->replay.space.v) /* a program that never allocated */
			begin_space(p, last);
		analysis_pass_get(p, key, true, ret);
		p->tallies[key].groups = NULL; /* they are its own now */
		p->stacks = NULL;
		p->tallies[key].n = 0;
	}
	analysis_pass_free(p);
	return r;
}

void analysis_release(struct analysis *a)
{
	free(a->groups);
	free(a->stacks);
	memset(a, 0, sizeof(*a));
}
