/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_SITES_H
#define ANALYZER_GROWTH_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/growth.h"
#include "analyzer/growth_windows.h"
#include "analyzer/own.h"
#include "analyzer/rows.h"
#include "common/hash.h"
#include "store/catalog.h"

/*
 * What grows: call stacks, and callers behind a function that they share.  Stacks that begin with
 * the same frames, from the innermost on, are looked at together too: many that leak a
 * little each are found so, and one caller of a busy wrapper that leaks is told from the others.
 */
struct growth_site {
	struct stack_id stack; /* one of them */
	size_t depth;	       /* of its frames so many are those of all; with one stack all */
	size_t n_stacks, first; /* first: while they are made */
	struct growth growth;
	double *floors, *ends; /* [window] */
	struct growth_lifetimes lifetimes;
	uint64_t usual_ns; /* how long blocks live that end, see growth_usual_ns(); 0: none did */
	uint64_t live_blocks, live_bytes;    /* by growth_sites_count_live() */
	uint64_t outlived_blocks; /* of these: older than that */
	const struct row *row;	  /* of growth_sites_make_rows() */
};

struct growth_sites {
	struct growth_span span;
	struct growth_site *growing; /* the steepest first */
	size_t n_growing, cap_growing;
	struct growth_site *others; /* those with the most bytes at the end */
	size_t n_others, n_others_all; /* … of so many that had any */
	struct hashmap of_stacks; /* stack id -> the number of its site among both */
};

/*
 * @windows over @span.  @max_others: so many of those that do not grow are judged, too.
 */
void growth_sites_make(struct growth_sites *ret, const struct growth_windows *windows,
		       const struct growth_span *span, const struct own *own, size_t max_others);
/*
 * The same of rows, made of groups by stack: @a's.  They must outlive it, and not be sorted
 * before.
 */
void growth_sites_make_rows(struct growth_sites *ret, const struct growth_windows *windows,
			    const struct growth_span *span, const struct rows *rows,
			    const struct analysis *a, size_t max_others);
void growth_sites_release(struct growth_sites *s);
/* A block that is live, and was allocated so long ago. */
void growth_sites_count_live(struct growth_sites *s, struct stack_id stack, uint64_t age_ns,
			     uint64_t size);

/* Of windows so many bytes are how many in a second? */
double growth_per_second(const struct growth_span *span, double per_window);
/* All that grows, bytes a second. */
struct growth_sum {
	double slope, low, high;
};
struct growth_sum growth_sites_sum(const struct growth_sites *s);

#endif
