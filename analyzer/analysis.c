/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

/* One pass over the events: what it needs and what it makes. */
struct pass {
	struct store_reader *reader;
	struct analysis *a;
	enum group_key key;
	analysis_progress *progress;
	uint64_t events_read; /* in all passes */
	struct hashmap index; /* key -> place in a->groups */
	struct replay replay;
	uint64_t peak_ordinal;
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

static void count_step(struct pass *p, const struct event *e, const struct replay_step *step)
{
	struct analysis *a = p->a;

	a->events++;
	a->last_ns = e->t_ns;
	if (e->kind == EVENT_FREE)
		a->frees[e->free_class]++;
	if (step->ended) {
		a->free_calls++;
		if (step->was_temporary) {
			a->totals.temporary_allocs++;
			group_of(p, &step->old)->totals.temporary_allocs++;
		}
	}
	if (step->made) {
		struct group *g = group_of(p, step->made);

		a->totals.alloc_calls++;
		a->totals.allocated_bytes += step->made->size;
		g->totals.alloc_calls++;
		g->totals.allocated_bytes += step->made->size;
	}
	/* of equal peaks the last */
	if (p->replay.live_bytes >= a->totals.peak_bytes) {
		a->totals.peak_bytes = p->replay.live_bytes;
		a->totals.peak_blocks = p->replay.live_blocks;
		a->peak_time_ns = e->t_ns;
		p->peak_ordinal = p->replay.ordinal;
	}
}

/* The blocks of the space before went with it. */
static void begin_space(struct pass *p, struct space_id space, bool count)
{
	if (count) {
		p->a->ended_by_exec_blocks += p->replay.live_blocks;
		p->a->ended_by_exec_bytes += p->replay.live_bytes;
	}
	replay_begin_space(&p->replay, space);
}

/* Replays up to and with event @until (0: all); @count: into the analysis. */
static int run(struct pass *p, bool count, uint64_t until, struct err *err)
{
	struct event *events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*events));
	struct chunk_info info = {0};
	struct replay_step step;
	int r = 0;

	while (!r && (!until || p->replay.ordinal < until)) {
		r = store_reader_next_chunk(p->reader, info.id, &info, events, err);
		if (r != 1)
			break;
		r = 0;
		if (count && !p->a->events)
			p->a->first_ns = info.first_ns;
		if (info.space.v != p->replay.space.v)
			begin_space(p, info.space, count);
		for (uint32_t i = 0; i < info.events && !r; i++) {
			r = replay_feed(&p->replay, &events[i], &step, err);
			if (!r && count)
				count_step(p, &events[i], &step);
			if (until && p->replay.ordinal == until)
				break;
		}
		p->events_read += info.events;
		if (p->progress)
			p->progress(p->events_read);
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
	while ((b = replay_next_live(&p->replay, &at))) {
		struct group *g = group_of(p, b);

		g->totals.live_blocks++;
		g->totals.live_bytes += b->size;
		if (!g->oldest_ns || b->t_ns < g->oldest_ns)
			g->oldest_ns = b->t_ns;
		if (b->t_ns > g->newest_ns)
			g->newest_ns = b->t_ns;
		if (b->usable != USABLE_UNKNOWN)
			a->usable_bytes += b->usable;
	}
}

static void count_peak(struct pass *p)
{
	const struct replay_block *b;
	size_t at = 0;

	while ((b = replay_next_live(&p->replay, &at))) {
		struct group *g = group_of(p, b);

		g->totals.peak_blocks++;
		g->totals.peak_bytes += b->size;
	}
}

int analysis_make(struct store_reader *reader, enum group_key key, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	struct pass p = {.reader = reader, .a = ret, .key = key, .progress = progress};
	int r;

	memset(ret, 0, sizeof(*ret));
	r = run(&p, true, 0, err);
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		if (last.v > p.replay.space.v) /* a program that never allocated */
			begin_space(&p, last, true);
		count_live(&p);
		/* the peak's shares: once more, up to that moment */
		replay_release(&p.replay);
		if (p.peak_ordinal)
			r = run(&p, false, p.peak_ordinal, err);
		if (!r)
			count_peak(&p);
	}
	replay_release(&p.replay);
	hashmap_release(&p.index);
	if (r)
		analysis_release(ret);
	return r;
}

void analysis_release(struct analysis *a)
{
	free(a->groups);
	memset(a, 0, sizeof(*a));
}
