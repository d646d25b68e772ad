/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_WINDOWS_H
#define ANALYZER_GROWTH_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/totals.h"
#include "store/record.h"

/*
 * What each stack had live over time, in windows of equal width, noted event by event
 * (growth_scan.h): what was live at each window's end, and the floor, which is
 * of blocks that were there all through it.  A leak raises both; blocks that come and go are not
 * in the floor, however many there are.
 *
 * Windows double in width where time outgrows them, or memory: there are never more than
 * GROWTH_WINDOWS, and a stack takes a few bytes for each in which it did anything.
 */
#define GROWTH_WINDOWS 256
#define GROWTH_LIFETIMES 40
#define GROWTH_BYTES ((size_t)128 << 20) /* for growth_windows_new() */

struct growth_windows;

/* @max_bytes: about as much memory as the windows of all stacks take. */
struct growth_windows *growth_windows_new(size_t max_bytes);
void growth_windows_free(struct growth_windows *g);
/*
 * From @start_ns on, anew: @t is what was before, with groups by stack, and says what counts.
 * @end_ns: when it will end, 0: nobody knows.
 */
void growth_windows_begin(struct growth_windows *g, const struct totals *t, uint64_t start_ns,
			  uint64_t end_ns);
/* The blocks of the space before went with it. */
void growth_windows_begin_space(struct growth_windows *g);
/* Nothing happened from the last event until @t_ns. */
void growth_windows_advance(struct growth_windows *g, uint64_t t_ns);

/* Some of them, taken together @per by @per: these are the windows that are looked at. */
struct growth_span {
	size_t first, per, n;		/* @n windows from number @first on, each of @per */
	uint64_t start_ns, width_ns;	/* of the first; of each */
};

/*
 * Of those between the moments @from_ns and @until_ns at most @max, as wide as that makes
 * them; none where there are not that many yet.
 */
struct growth_span growth_windows_span(const struct growth_windows *g, uint64_t from_ns,
				       uint64_t until_ns, size_t max);

/* Stacks are numbered as they came up. */
size_t growth_windows_stacks(const struct growth_windows *g);
struct stack_id growth_windows_stack(const struct growth_windows *g, size_t i);
/* Adds what stack number @i had to @floors and @ends, of @span->n windows each. */
void growth_windows_add(const struct growth_windows *g, size_t i, const struct growth_span *span,
			double *floors, double *ends);

/* How long blocks lived that ended, of some stacks. */
struct growth_lifetimes {
	uint64_t blocks; /* that were allocated */
	uint64_t bytes;
	uint64_t counts[GROWTH_LIFETIMES]; /* of those that ended, by powers of two of ns */
};

void growth_windows_add_lifetimes(const struct growth_windows *g, size_t i,
				  struct growth_lifetimes *to);
/* Nineteen in twenty of those that ended did not live longer; 0: none ended. */
uint64_t growth_usual_ns(const struct growth_lifetimes *l);

/* Of memory. */
size_t growth_windows_bytes(const struct growth_windows *g);

#endif
