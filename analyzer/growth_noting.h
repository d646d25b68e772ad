/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_NOTING_H
#define ANALYZER_GROWTH_NOTING_H

/*
 * How windows are noted, event by event: for growth_windows.c and growth_scan.c, of whose work it
 * is the innermost part.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/growth_windows.h"
#include "common/buffer.h"
#include "common/hash.h"
#include "common/xalloc.h"

/* What each event changes: half a line of the cache. */
struct growth_now {
	uint64_t live, young; /* of these were allocated in the open window */
	uint64_t bytes;	      /* allocated */
	uint32_t blocks;
	uint32_t lifetimes : 31; /* its place among those + 1; 0: none of its blocks ended */
	uint32_t is_touched : 1; /* in the open window */
};
_Static_assert(sizeof(struct growth_now) == 32, "most events change two");

struct growth_code;

struct growth_ended {
	uint64_t counts[GROWTH_LIFETIMES];
};

struct growth_windows {
	size_t max_bytes, bytes; /* of code */
	uint64_t start_ns, width_ns;
	size_t n; /* windows that have ended */
	uint64_t open_ns; /* when the open one began */
	struct growth_code *stacks;
	struct growth_now *now;
	size_t n_stacks, cap_stacks, cap_now;
	struct growth_ended *lifetimes;
	size_t n_lifetimes, cap_lifetimes;
	uint32_t *dense; /* [stack id] its number + 1, or 0 */
	size_t cap_dense;
	struct hashmap sparse; /* of ids that are too large for that */
	uint32_t *touched;     /* those that were in the open window */
	size_t n_touched, cap_touched;
};

uint32_t growth_noting_add(struct growth_windows *g, struct stack_id stack);

/* The number of the stack, which comes up if need be. */
static inline uint32_t growth_noting_number(struct growth_windows *g, struct stack_id stack)
{
	if (stack.v < g->cap_dense && g->dense[stack.v])
		return g->dense[stack.v] - 1;
	return growth_noting_add(g, stack);
}

/* It has to be written when the open window ends. */
static inline struct growth_now *growth_noting_touch(struct growth_windows *g, uint32_t number)
{
	struct growth_now *s = &g->now[number];

	if (s->is_touched)
		return s;
	s->is_touched = true;
	s->young = 0;
	ARRAY_GROW(g->touched, g->cap_touched, g->n_touched);
	g->touched[g->n_touched++] = number;
	return s;
}

/* @more and @less of what is there are of blocks that were allocated in the open window. */
static inline void growth_noting_set_young(struct growth_now *s, uint64_t more, uint64_t less)
{
	s->young += more;
	s->young -= less < s->young ? less : s->young;
	s->young = s->live < s->young ? s->live : s->young;
}

static inline unsigned int growth_noting_class(uint64_t ns)
{
	unsigned int bits = ns ? 63 - (unsigned int)__builtin_clzll(ns) : 0;

	/* from 1 us on; the last takes all that is longer than a week or so */
	bits = bits < 10 ? 0 : bits - 10;
	return bits < GROWTH_LIFETIMES ? bits : GROWTH_LIFETIMES - 1;
}

static inline void growth_noting_count_lifetime(struct growth_windows *g, struct growth_now *s,
						uint64_t ns)
{
	if (!s->lifetimes) {
		ARRAY_GROW(g->lifetimes, g->cap_lifetimes, g->n_lifetimes);
		s->lifetimes = (uint32_t)++g->n_lifetimes & (UINT32_MAX >> 1);
	}
	g->lifetimes[s->lifetimes - 1].counts[growth_noting_class(ns)]++;
}

/* A block of that stack has ended at @t_ns; @lives_on: it is only made larger, or smaller. */
static inline void growth_noting_end(struct growth_windows *g, uint32_t number, uint64_t size,
				     uint64_t made_ns, uint64_t t_ns, bool lives_on)
{
	struct growth_now *s = growth_noting_touch(g, number);

	s->live -= size < s->live ? size : s->live;
	growth_noting_set_young(s, 0, made_ns >= g->open_ns ? size : 0);
	if (!lives_on)
		growth_noting_count_lifetime(g, s, t_ns > made_ns ? t_ns - made_ns : 0);
}

/* One was made; @old_size, of the block that it was before, is as old as @old_ns; 0: none. */
static inline void growth_noting_make(struct growth_windows *g, uint32_t number, uint64_t size,
				      uint64_t old_size, uint64_t old_ns)
{
	struct growth_now *s = growth_noting_touch(g, number);
	uint64_t kept = 0;

	s->live += size;
	s->blocks += s->blocks < UINT32_MAX; /* of so many none counts any more */
	s->bytes += size;
	/* a block that only becomes larger is as old as it was */
	if (old_ns < g->open_ns)
		kept = old_size < size ? old_size : size;
	growth_noting_set_young(s, size - kept, 0);
}

/* Nothing happened until @t_ns. */
static inline void growth_noting_advance(struct growth_windows *g, uint64_t t_ns)
{
	if (t_ns > g->open_ns && t_ns - g->open_ns >= g->width_ns)
		growth_windows_advance(g, t_ns);
}

#endif
