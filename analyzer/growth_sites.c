/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/growth_sites.h"

#include <stdlib.h>
#include <string.h>

#include "common/sort.h"
#include "common/xalloc.h"

/*
 * The stacks in the order of their frames, innermost first: those that begin alike are next to
 * each other, and how many frames neighbours share says where a tree of them branches.  It is
 * gone through from the leaves: what grows below a node explains that the node does, or not.
 */
#define SCATTERED_MAX 0.34 /* of a node's growth, by one below it that does not grow for sure */
#define REST_MAX 4 /* what else it allocated, by how much that grew: it is all the same */

struct series {
	double floors[GROWTH_WINDOWS_MAX], ends[GROWTH_WINDOWS_MAX];
};

#define USUAL_LIVES_MIN 8  /* so long, in lives of its blocks, a place must have grown */

struct making {
	const struct growth_windows *windows;
	const struct own *own;
	struct growth_sites *sites;
	struct leaf {
		size_t number;	/* of the windows' stacks */
		uint32_t depth; /* frames */
		uint32_t own_depth; /* as many as it takes to the own one, that one too */
		uint32_t shared; /* with the leaf before */
		uint64_t bytes;
		bool is_covered; /* by a site that grows */
		struct stack_steps steps; /* while they are put in order: behind those that are */
	} *leaves;
	size_t n;
};

/* ---- the order ---------------------------------------------------------------------------- */

/* How many frames each stack of the catalog has. */
struct depths {
	const struct catalog *catalog;
	uint32_t *of_stacks;
};

static void count_frames(void *arg, struct stack_id id, struct stack_id parent, bool is_cut)
{
	struct depths *d = arg;
	struct frame_id f = catalog_stack(d->catalog, id)->frame;
	uint32_t n = is_cut ? 0 : d->of_stacks[parent.v];

	for (; f.v && n < STACK_FRAMES_MAX; n++)
		f = catalog_frame(d->catalog, f)->outer;
	d->of_stacks[id.v] = n;
}

static struct depths count_all_frames(const struct catalog *c)
{
	struct depths d = {c, xcalloc(c->n_stacks + 1, sizeof(*d.of_stacks))};

	stacks_visit(c, count_frames, &d);
	return d;
}

static void measure(const struct making *m, const struct depths *d, struct leaf *l)
{
	struct stack_id stack = growth_windows_stack(m->windows, l->number);
	struct stack_steps w = {.catalog = m->own->catalog, .stack = stack};
	struct growth_lifetimes lifetimes = {0};
	struct frame_id f;

	l->steps = w;
	l->depth = stack.v < m->own->catalog->n_stacks ? d->of_stacks[stack.v] : 0;
	for (uint32_t n = 1; !l->own_depth && (f = stacks_step(&w)).v; n++)
		if (own_skips(m->own, f) == SKIP_NONE)
			l->own_depth = n;
	growth_windows_add_lifetimes(m->windows, l->number, &lifetimes);
	l->bytes = lifetimes.bytes;
}

/*
 * Puts leaves in order of which the first @depth frames are the same: an item has the number of
 * its leaf in the lower half, and in the upper one what the frame reads like that decides.
 */
static void order_from(const struct making *m, uint64_t *items, size_t n, uint32_t depth)
{
	bool differ = false;
	size_t end;

	for (; n > 1 && !differ; depth += !differ) {
		uint32_t ended = 0;

		for (size_t i = 0; i < n; i++) {
			struct leaf *l = &m->leaves[(uint32_t)items[i]];
			struct frame_id f = stacks_step(&l->steps);

			ended += !f.v;
			l->shared = depth; /* with the one before, if this is as far as it goes */
			items[i] = (uint64_t)(f.v ? m->own->classes[f.v] + 1 : 0) << 32 |
				   (uint32_t)items[i];
			differ |= items[i] >> 32 != items[0] >> 32;
		}
		if (ended == n) {
			sort_u64(items, n);
			return;
		}
	}
	if (n <= 1)
		return;
	sort_u64(items, n);
	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && items[end] >> 32 == items[i] >> 32;)
			end++;
		if (items[i] >> 32)
			order_from(m, items + i, end - i, depth + 1);
		/* whoever is first now differs from those before by this frame */
		m->leaves[(uint32_t)items[i]].shared = depth;
	}
}

static void put_in_order(struct making *m)
{
	struct depths depths = count_all_frames(m->own->catalog);
	struct leaf *leaves;
	uint64_t *items;

	m->n = growth_windows_stacks(m->windows);
	items = xcalloc(m->n + 1, sizeof(*items));
	leaves = xcalloc(m->n + 1, sizeof(*leaves));
	m->leaves = xcalloc(m->n + 1, sizeof(*m->leaves));
	for (size_t i = 0; i < m->n; i++) {
		items[i] = i;
		m->leaves[i].number = i;
		measure(m, &depths, &m->leaves[i]);
	}
	order_from(m, items, m->n, 0);
	for (size_t i = 0; i < m->n; i++)
		leaves[i] = m->leaves[(uint32_t)items[i]];
	free(m->leaves);
	m->leaves = leaves;
	free(depths.of_stacks);
	free(items);
}

/* ---- sites -------------------------------------------------------------------------------- */

static void init_site(struct growth_site *s, const struct series *x, size_t n)
{
	s->floors = xmalloc((n + 1) * sizeof(*s->floors));
	s->ends = xmalloc((n + 1) * sizeof(*s->ends));
	memcpy(s->floors, x->floors, n * sizeof(*s->floors));
	memcpy(s->ends, x->ends, n * sizeof(*s->ends));
}

static void release_site(struct growth_site *s)
{
	free(s->floors);
	free(s->ends);
}

static void remember(struct growth_sites *s, struct stack_id stack, size_t site)
{
	*hashmap_put(&s->of_stacks, stack.v) = (uint32_t)site;
}

/* One of the stacks from @lo to @hi, which share @depth frames. */
static struct growth_site site_of(struct making *m, size_t lo, size_t hi, size_t depth,
				  const struct growth *g, const struct series *x)
{
	struct growth_site s = {.stack = growth_windows_stack(m->windows, m->leaves[lo].number),
				.depth = depth,
				.n_stacks = hi - lo,
				.first = lo,
				.growth = *g};

	init_site(&s, x, m->sites->span.n);
	for (size_t i = lo; i < hi; i++)
		growth_windows_add_lifetimes(m->windows, m->leaves[i].number, &s.lifetimes);
	s.usual_ns = growth_usual_ns(&s.lifetimes);
	return s;
}

/* It takes the place of those from number @first on. */
static void put_growing(struct making *m, size_t first, size_t lo, size_t hi, size_t depth,
			const struct growth *g, const struct series *x)
{
	struct growth_sites *s = m->sites;

	while (s->n_growing > first)
		release_site(&s->growing[--s->n_growing]);
	ARRAY_GROW(s->growing, s->cap_growing, s->n_growing);
	s->growing[s->n_growing++] = site_of(m, lo, hi, depth, g, x);
	for (size_t i = lo; i < hi; i++)
		m->leaves[i].is_covered = true;
}

/*
 * What its blocks usually live for is no small part of the time that was looked at: a queue, or a
 * cache that replaces what is in it.  That it grew meanwhile says nothing.
 */
static bool lives_long(const struct growth_lifetimes *l, const struct growth_span *span,
		       const struct growth *g)
{
	double grew_ns = (double)(span->n - g->since) * (double)span->width_ns;

	return (double)growth_usual_ns(l) * USUAL_LIVES_MIN > grew_ns;
}

/* Whether the leaves from @lo to @hi, of which *@x is the sum, grow. */
static bool grows(const struct making *m, size_t lo, size_t hi, const struct series *x,
		  struct growth *ret)
{
	const struct growth_span *span = &m->sites->span;
	struct growth_lifetimes l = {0};

	growth_judge(x->floors, x->ends, span->n, GROWTH_ONLY, ret);
	if (!ret->is_growing)
		return false;
	for (size_t i = lo; i < hi; i++)
		growth_windows_add_lifetimes(m->windows, m->leaves[i].number, &l);
	return !lives_long(&l, span, ret);
}

/* ---- the tree ----------------------------------------------------------------------------- */

/* What is known of a node below. */
struct below {
	size_t n;	     /* that have anything */
	double largest;	     /* growth of one that does not grow for sure */
};

static double rise_of(const struct series *x, size_t n)
{
	return n ? x->floors[n - 1] - x->floors[0] : 0;
}

static bool is_any(const struct series *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (x->ends[i] > 0)
			return true;
	return false;
}

/* Sites from number @first on were found below; is the node a better name for what grows? */
static bool is_better(const struct making *m, size_t first, size_t lo, size_t hi, size_t depth,
		      const struct growth *g, const struct below *b, double rise)
{
	const struct growth_sites *s = m->sites;
	bool is_own = depth >= m->leaves[lo].own_depth, is_alike = depth == m->leaves[lo].depth;
	double explained = 0, grown = 0, all = 0;

	if (first == s->n_growing)
		return b->largest <= SCATTERED_MAX * rise;
	for (size_t i = first; i < s->n_growing; i++) {
		explained += s->growing[i].growth.slope;
		grown += (double)s->growing[i].lifetimes.bytes;
	}
	for (size_t i = lo; i < hi; i++)
		all += (double)m->leaves[i].bytes;
	if (is_alike && depth == m->leaves[hi - 1].depth)
		return true;
	if (!is_own || s->n_growing - first < 2)
		return false;
	return all - grown <= REST_MAX * (g->slope - explained) * (double)s->span.n;
}

static void go_through(struct making *m, size_t lo, size_t hi, size_t depth, struct series *ret);

/* The nodes below one, next to each other: they branch after @depth frames. */
static void go_below(struct making *m, size_t lo, size_t hi, size_t depth, struct series *ret,
		     struct below *b)
{
	size_t n = m->sites->span.n;

	for (size_t i = lo; i < hi;) {
		size_t end = i + 1, before = m->sites->n_growing;
		struct series x = {0};

		while (end < hi && m->leaves[end].shared > depth)
			end++;
		go_through(m, i, end, depth, &x);
		b->n += is_any(&x, n);
		if (m->sites->n_growing == before && rise_of(&x, n) > b->largest)
			b->largest = rise_of(&x, n);
		for (size_t k = 0; k < n; k++) {
			ret->floors[k] += x.floors[k];
			ret->ends[k] += x.ends[k];
		}
		i = end;
	}
}

/* The node of the leaves from @lo to @hi: *@ret is what they had, and it is zero. */
static void go_through(struct making *m, size_t lo, size_t hi, size_t depth, struct series *ret)
{
	size_t first = m->sites->n_growing, n = m->sites->span.n;
	struct below b = {0};
	struct growth g;

	if (hi - lo == 1) {
		growth_windows_add(m->windows, m->leaves[lo].number, &m->sites->span, ret->floors,
				   ret->ends);
		if (grows(m, lo, hi, ret, &g))
			put_growing(m, first, lo, hi, m->leaves[lo].depth, &g, ret);
		return;
	}
	depth = SIZE_MAX;
	for (size_t i = lo + 1; i < hi; i++)
		depth = m->leaves[i].shared < depth ? m->leaves[i].shared : depth;
	go_below(m, lo, hi, depth, ret, &b);
	/* of all there is nothing to say, and of but one below it has been said */
	if (!depth || b.n < 2)
		return;
	if (grows(m, lo, hi, ret, &g) &&
	    is_better(m, first, lo, hi, depth, &g, &b, rise_of(ret, n)))
		put_growing(m, first, lo, hi, depth, &g, ret);
}

/* ---- the others --------------------------------------------------------------------------- */

/* It looks so, but that says nothing. */
static void set_unclear(struct growth *g)
{
	g->is_growing = false;
	g->shape = GROWTH_UNCLEAR;
}

/* Something that does not grow, by what it had at the end. */
struct other {
	double end;
	size_t lo, hi;
};

static int by_end(const void *a, const void *b)
{
	const struct other *x = a, *y = b;

	if (x->end < y->end || x->end > y->end)
		return x->end < y->end ? 1 : -1;
	return (x->lo > y->lo) - (x->lo < y->lo);
}

static void add_leaves(const struct making *m, size_t lo, size_t hi, struct series *x)
{
	for (size_t i = lo; i < hi; i++)
		growth_windows_add(m->windows, m->leaves[i].number, &m->sites->span, x->floors,
				   x->ends);
}

/* Stacks that read the same together. */
static struct other *list_others(const struct making *m, size_t *ret_n)
{
	struct other *list = xcalloc(m->n + 1, sizeof(*list));
	size_t n = m->sites->span.n;

	*ret_n = 0;
	for (size_t lo = 0, hi; n && lo < m->n; lo = hi) {
		struct series x = {0};

		for (hi = lo + 1; hi < m->n && m->leaves[hi].shared == m->leaves[hi].depth &&
				  m->leaves[hi].depth == m->leaves[lo].depth;
		     hi++)
			;
		if (m->leaves[lo].is_covered)
			continue;
		add_leaves(m, lo, hi, &x);
		if (is_any(&x, n))
			list[(*ret_n)++] = (struct other){x.ends[n - 1], lo, hi};
	}
	if (*ret_n)
		qsort(list, *ret_n, sizeof(*list), by_end);
	return list;
}

static void put_others(struct making *m, size_t max)
{
	struct growth_sites *s = m->sites;
	struct other *list = list_others(m, &s->n_others_all);

	s->n_others = s->n_others_all < max ? s->n_others_all : max;
	s->others = xcalloc(s->n_others + 1, sizeof(*s->others));
	for (size_t i = 0; i < s->n_others; i++) {
		struct series x = {0};
		struct growth g;

		add_leaves(m, list[i].lo, list[i].hi, &x);
		growth_judge(x.floors, x.ends, s->span.n, GROWTH_SHAPE, &g);
		if (g.is_growing)
			set_unclear(&g);
		s->others[i] = site_of(m, list[i].lo, list[i].hi, m->leaves[list[i].lo].depth, &g,
				       &x);
		for (size_t k = list[i].lo; k < list[i].hi; k++)
			remember(s, growth_windows_stack(m->windows, m->leaves[k].number),
				 s->n_growing + i);
	}
	free(list);
}

/* ---- all ---------------------------------------------------------------------------------- */

static int by_slope(const void *a, const void *b)
{
	const struct growth_site *x = a, *y = b;

	if (x->growth.slope < y->growth.slope || x->growth.slope > y->growth.slope)
		return x->growth.slope < y->growth.slope ? 1 : -1;
	return (x->stack.v > y->stack.v) - (x->stack.v < y->stack.v);
}

static void sort_growing(struct growth_sites *s)
{
	if (s->n_growing)
		qsort(s->growing, s->n_growing, sizeof(*s->growing), by_slope);
}

static void remember_growing(struct making *m)
{
	struct growth_sites *s = m->sites;

	for (size_t i = 0; i < s->n_growing; i++)
		for (size_t k = 0; k < s->growing[i].n_stacks; k++) {
			size_t leaf = s->growing[i].first + k;

			remember(s, growth_windows_stack(m->windows, m->leaves[leaf].number), i);
		}
}

void growth_sites_make(struct growth_sites *ret, const struct growth_windows *windows,
		       const struct growth_span *span, const struct own *own, size_t max_others)
{
	struct making m = {.windows = windows, .own = own, .sites = ret};
	struct series all = {0};

	*ret = (struct growth_sites){.span = *span};
	put_in_order(&m);
	if (m.n)
		go_through(&m, 0, m.n, 0, &all);
	sort_growing(ret);
	remember_growing(&m);
	put_others(&m, max_others);
	free(m.leaves);
}

/* Sums by row, and how much each allocated; to be freed. */
static struct series *sum_rows(const struct growth_windows *windows,
			       const struct growth_span *span, const struct rows *rows,
			       const struct analysis *a, struct growth_site *sites)
{
	struct series *sums = xcalloc(rows->n + 1, sizeof(*sums));
	struct hashmap of_stacks = {0};

	for (size_t i = 0; i < a->n_groups; i++)
		*hashmap_put(&of_stacks, a->groups[i].key) = rows->of_groups[i];
	for (size_t i = 0; i < growth_windows_stacks(windows); i++) {
		struct stack_id stack = growth_windows_stack(windows, i);
		uint32_t row = hashmap_get(&of_stacks, stack.v);

		if (row == HASHMAP_NONE)
			continue;
		growth_windows_add(windows, i, span, sums[row].floors, sums[row].ends);
		growth_windows_add_lifetimes(windows, i, &sites[row].lifetimes);
		sites[row].stack = sites[row].n_stacks++ ? sites[row].stack : stack;
	}
	hashmap_release(&of_stacks);
	return sums;
}

static int by_last(const void *a, const void *b, void *n)
{
	const struct growth_site *x = a, *y = b;
	size_t last = *(size_t *)n - 1;

	if (x->ends[last] < y->ends[last] || x->ends[last] > y->ends[last])
		return x->ends[last] < y->ends[last] ? 1 : -1;
	return (x->stack.v > y->stack.v) - (x->stack.v < y->stack.v);
}

static void remember_rows(struct growth_sites *s, const struct rows *rows,
			  const struct analysis *a)
{
	uint32_t *of_rows = xcalloc(rows->n + 1, sizeof(*of_rows));

	for (size_t i = 0; i < s->n_growing; i++)
		of_rows[s->growing[i].row - rows->rows] = (uint32_t)i + 1;
	for (size_t i = 0; i < s->n_others; i++)
		of_rows[s->others[i].row - rows->rows] = (uint32_t)(s->n_growing + i) + 1;
	for (size_t i = 0; i < a->n_groups; i++)
		if (of_rows[rows->of_groups[i]])
			remember(s, (struct stack_id){(uint32_t)a->groups[i].key},
				 of_rows[rows->of_groups[i]] - 1);
	free(of_rows);
}

void growth_sites_make_rows(struct growth_sites *ret, const struct growth_windows *windows,
			    const struct growth_span *span, const struct rows *rows,
			    const struct analysis *a, size_t max_others)
{
	struct growth_site *sites = xcalloc(rows->n + 1, sizeof(*sites));
	struct series *sums = sum_rows(windows, span, rows, a, sites);
	size_t n = span->n;

	*ret = (struct growth_sites){.span = *span,
				     .others = xcalloc(rows->n + 1, sizeof(*ret->others))};
	for (size_t i = 0; i < rows->n; i++) {
		struct growth_site *s = &sites[i];

		if (!is_any(&sums[i], n))
			continue;
		growth_judge(sums[i].floors, sums[i].ends, n, GROWTH_ONLY, &s->growth);
		if (s->growth.is_growing && lives_long(&s->lifetimes, span, &s->growth))
			set_unclear(&s->growth);
		init_site(s, &sums[i], n);
		s->usual_ns = growth_usual_ns(&s->lifetimes);
		s->row = &rows->rows[i];
		if (s->growth.is_growing) {
			ARRAY_GROW(ret->growing, ret->cap_growing, ret->n_growing);
			ret->growing[ret->n_growing++] = *s;
		} else {
			ret->others[ret->n_others_all++] = *s;
		}
	}
	sort_growing(ret);
	if (ret->n_others_all)
		qsort_r(ret->others, ret->n_others_all, sizeof(*ret->others), by_last, &n);
	ret->n_others = ret->n_others_all < max_others ? ret->n_others_all : max_others;
	for (size_t i = ret->n_others; i < ret->n_others_all; i++)
		release_site(&ret->others[i]);
	for (size_t i = 0; i < ret->n_others; i++) {
		struct growth_site *s = &ret->others[i];

		growth_judge(s->floors, s->ends, n, GROWTH_SHAPE, &s->growth);
		if (s->growth.is_growing)
			set_unclear(&s->growth);
	}
	remember_rows(ret, rows, a);
	free(sums);
	free(sites);
}

void growth_sites_release(struct growth_sites *s)
{
	for (size_t i = 0; i < s->n_growing; i++)
		release_site(&s->growing[i]);
	for (size_t i = 0; i < s->n_others; i++)
		release_site(&s->others[i]);
	free(s->growing);
	free(s->others);
	hashmap_release(&s->of_stacks);
	*s = (struct growth_sites){.n_growing = 0};
}

void growth_sites_count_live(struct growth_sites *s, struct stack_id stack, uint64_t age_ns,
			     uint64_t size)
{
	uint32_t number = hashmap_get(&s->of_stacks, stack.v);
	struct growth_site *to;

	if (number == HASHMAP_NONE)
		return;
	to = number < s->n_growing ? &s->growing[number] : &s->others[number - s->n_growing];
	to->live_blocks++;
	to->live_bytes += size;
	to->outlived_blocks += age_ns > to->usual_ns;
}

double growth_per_second(const struct growth_span *span, double per_window)
{
	return span->width_ns ? per_window * 1e9 / (double)span->width_ns : 0;
}

struct growth_sum growth_sites_sum(const struct growth_sites *s)
{
	struct growth_sum sum = {0};

	for (size_t i = 0; i < s->n_growing; i++) {
		sum.slope += growth_per_second(&s->span, s->growing[i].growth.slope);
		sum.low += growth_per_second(&s->span, s->growing[i].growth.low);
		sum.high += growth_per_second(&s->span, s->growing[i].growth.high);
	}
	return sum;
}
