/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/growth_windows.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/growth_noting.h"
#include "common/buffer.h"
#include "common/hash.h"
#include "common/xalloc.h"

/*
 * A stack's windows are bytes: for each in which it did anything by how many it is behind the
 * one before, by how much what is live at its end is more than at the end of that, and by how
 * much the floor is below the lower of both.  In all others it stayed as it was.
 *
 * The open window has the number n; it is written when it ends.
 */
#define FIRST_WIDTH_NS (1ull << 20)
#define DENSE_STACKS (1u << 22)

struct growth_code {
	struct stack_id stack;
	uint64_t coded; /* what was live at the end of window number @last */
	size_t last;	/* the one that was written last, + 1 */
	struct buffer code;
};

struct growth_windows *growth_windows_new(size_t max_bytes)
{
	struct growth_windows *g = xcalloc(1, sizeof(*g));

	g->max_bytes = max_bytes;
	return g;
}

static void clear(struct growth_windows *g)
{
	for (size_t i = 0; i < g->n_stacks; i++)
		buffer_release(&g->stacks[i].code);
	free(g->stacks);
	free(g->now);
	free(g->lifetimes);
	free(g->dense);
	free(g->touched);
	hashmap_release(&g->sparse);
	*g = (struct growth_windows){.max_bytes = g->max_bytes};
}

void growth_windows_free(struct growth_windows *g)
{
	if (!g)
		return;
	clear(g);
	free(g);
}

uint32_t growth_noting_add(struct growth_windows *g, struct stack_id stack)
{
	uint32_t *place;

	if (stack.v < DENSE_STACKS) {
		ARRAY_GROW(g->dense, g->cap_dense, stack.v);
		place = &g->dense[stack.v];
	} else {
		place = hashmap_put(&g->sparse, stack.v);
		if (*place != HASHMAP_NONE)
			return *place - 1;
	}
	ARRAY_GROW(g->stacks, g->cap_stacks, g->n_stacks);
	ARRAY_GROW(g->now, g->cap_now, g->n_stacks);
	g->stacks[g->n_stacks] = (struct growth_code){.stack = stack};
	*place = (uint32_t)++g->n_stacks;
	return *place - 1;
}

/* ---- the code of a stack --------------------------------------------------------------- */

static void put_window(struct buffer *to, size_t *last, size_t window, uint64_t *coded,
		       uint64_t floor, uint64_t end)
{
	uint64_t lower = end < *coded ? end : *coded;

	buffer_append_varint(to, window - *last);
	buffer_append_varint(to, zigzag((int64_t)(end - *coded)));
	buffer_append_varint(to, lower - (floor < lower ? floor : lower));
	*last = window + 1;
	*coded = end;
}

/* Window after window of those in which the stack did anything; the code is our own. */
struct reading {
	struct cursor code;
	size_t last; /* the one before + 1 */
	size_t window;
	uint64_t before, floor, end;
};

static struct reading read_stack(const struct growth_code *s)
{
	return (struct reading){
		.code = {.p = s->code.data, .end = s->code.data + s->code.len}};
}

static bool next_window(struct reading *r)
{
	uint64_t lower;

	if (r->code.p == r->code.end)
		return false;
	r->window = r->last + cursor_varint(&r->code);
	r->last = r->window + 1;
	r->before = r->end;
	r->end += (uint64_t)unzigzag(cursor_varint(&r->code));
	lower = r->end < r->before ? r->end : r->before;
	r->floor = lower - cursor_varint(&r->code);
	return true;
}

/* Two windows become one. */
static void halve_stack(struct growth_windows *g, struct growth_code *s)
{
	struct reading r = read_stack(s);
	struct buffer to = {0};
	size_t last = 0, window = SIZE_MAX;
	uint64_t coded = 0, floor = 0, end = 0;

	while (next_window(&r)) {
		if (r.window / 2 == window) {
			floor = r.floor < floor ? r.floor : floor;
		} else {
			if (window != SIZE_MAX)
				put_window(&to, &last, window, &coded, floor, end);
			window = r.window / 2;
			/* it was untouched in the first half where this is the second */
			floor = r.floor;
		}
		end = r.end;
	}
	if (window != SIZE_MAX)
		put_window(&to, &last, window, &coded, floor, end);
	g->bytes -= s->code.len;
	g->bytes += to.len;
	buffer_release(&s->code);
	s->code = to;
	s->last = last;
}

/* @g->n is even. */
static void halve(struct growth_windows *g)
{
	for (size_t i = 0; i < g->n_stacks; i++)
		if (g->stacks[i].code.len)
			halve_stack(g, &g->stacks[i]);
	g->n /= 2;
	g->width_ns *= 2;
}

/* ---- noting ----------------------------------------------------------------------------- */

static void end_window(struct growth_windows *g)
{
	for (size_t i = 0; i < g->n_touched; i++) {
		struct growth_code *s = &g->stacks[g->touched[i]];
		struct growth_now *now = &g->now[g->touched[i]];
		size_t before = s->code.len;

		if (now->live != s->coded || now->young)
			put_window(&s->code, &s->last, g->n, &s->coded, now->live - now->young,
				   now->live);
		g->bytes += s->code.len - before;
		now->is_touched = false;
	}
	g->n_touched = 0;
	g->n++;
	if (g->n == GROWTH_WINDOWS ||
	    (g->bytes > g->max_bytes && g->n % 2 == 0 && g->n > GROWTH_WINDOWS / 8))
		halve(g);
	g->open_ns = g->start_ns + g->n * g->width_ns;
}

void growth_windows_advance(struct growth_windows *g, uint64_t t_ns)
{
	while (t_ns > g->open_ns && t_ns - g->open_ns >= g->width_ns)
		end_window(g);
}

void growth_windows_begin(struct growth_windows *g, const struct totals *t, uint64_t start_ns,
			  uint64_t end_ns)
{
	const struct tally *y = &t->tallies[GROUP_STACK];

	clear(g);
	g->start_ns = g->open_ns = start_ns;
	g->width_ns = end_ns > start_ns ? (end_ns - start_ns) / (GROWTH_WINDOWS - 1) + 1
					: FIRST_WIDTH_NS;
	for (size_t i = 0; i < y->n; i++) {
		const struct heap_totals *h = &y->groups[i].totals;
		struct stack_id stack = {(uint32_t)y->groups[i].key};
		struct growth_now *s = growth_noting_touch(g, growth_noting_number(g, stack));

		s->live = h->live_bytes;
		s->blocks = h->alloc_calls < UINT32_MAX ? (uint32_t)h->alloc_calls : UINT32_MAX;
		s->bytes = h->allocated_bytes;
	}
}

void growth_windows_begin_space(struct growth_windows *g)
{
	for (size_t i = 0; i < g->n_stacks; i++) {
		struct growth_now *s = &g->now[i];

		if (!s->live)
			continue;
		growth_noting_touch(g, (uint32_t)i);
		s->live = s->young = 0;
	}
}

/* ---- looking ---------------------------------------------------------------------------- */

struct growth_span growth_windows_span(const struct growth_windows *g, uint64_t from_ns,
				       uint64_t until_ns, size_t max)
{
	size_t first = 0, end = 0;
	struct growth_span s = {.per = 1};

	if (!g->width_ns)
		return s;
	if (from_ns > g->start_ns)
		first = (size_t)((from_ns - g->start_ns + g->width_ns - 1) / g->width_ns);
	if (until_ns > g->start_ns)
		end = (until_ns - g->start_ns) / g->width_ns < g->n
			      ? (size_t)((until_ns - g->start_ns) / g->width_ns)
			      : g->n;
	if (end > first) {
		s.per = (end - first + max - 1) / max;
		s.n = (end - first) / s.per;
		first = end - s.n * s.per; /* what is left over is the start's */
	}
	s.first = first;
	s.start_ns = g->start_ns + first * g->width_ns;
	s.width_ns = s.per * g->width_ns;
	return s;
}

size_t growth_windows_stacks(const struct growth_windows *g)
{
	return g->n_stacks;
}

struct stack_id growth_windows_stack(const struct growth_windows *g, size_t i)
{
	return g->stacks[i].stack;
}

/* From window @from on it had so much, up to @to. */
static void add_quiet(const struct growth_span *span, size_t from, size_t to, double live,
		      double *floors, double *ends)
{
	for (size_t i = from; live && i < to && i < span->n; i++) {
		floors[i] += live;
		ends[i] += live;
	}
}

void growth_windows_add(const struct growth_windows *g, size_t i, const struct growth_span *span,
			double *floors, double *ends)
{
	struct reading r = read_stack(&g->stacks[i]);
	double floor = 0, live = 0;
	size_t at = 0; /* the window that @floor is of */
	bool is_open = false;

	while (next_window(&r)) {
		size_t window = r.window < span->first ? 0 : (r.window - span->first) / span->per;

		if (r.window < span->first) {
			live = (double)r.end;
			continue;
		}
		if (window >= span->n)
			break;
		if (is_open && window != at) {
			floors[at] += floor;
			ends[at] += live;
			add_quiet(span, at + 1, window, live, floors, ends);
		} else if (!is_open) {
			add_quiet(span, 0, window, live, floors, ends);
		}
		/* before it did anything there it had what it had before */
		if (!is_open || window != at)
			floor = live < (double)r.floor ? live : (double)r.floor;
		else if ((double)r.floor < floor)
			floor = (double)r.floor;
		is_open = true;
		at = window;
		live = (double)r.end;
	}
	if (is_open) {
		floors[at] += floor;
		ends[at] += live;
	}
	add_quiet(span, is_open ? at + 1 : 0, span->n, live, floors, ends);
}

void growth_windows_add_lifetimes(const struct growth_windows *g, size_t i,
				  struct growth_lifetimes *to)
{
	const struct growth_now *s = &g->now[i];

	to->blocks += s->blocks;
	to->bytes += s->bytes;
	for (size_t k = 0; s->lifetimes && k < GROWTH_LIFETIMES; k++)
		to->counts[k] += g->lifetimes[s->lifetimes - 1].counts[k];
}

uint64_t growth_usual_ns(const struct growth_lifetimes *l)
{
	uint64_t all = 0, sum = 0;
	size_t i = 0;

	for (size_t k = 0; k < GROWTH_LIFETIMES; k++)
		all += l->counts[k];
	if (!all)
		return 0;
	while (i + 1 < GROWTH_LIFETIMES && (sum += l->counts[i]) * 20 < all * 19)
		i++;
	return 2ull << (i + 10);
}

size_t growth_windows_bytes(const struct growth_windows *g)
{
	return g->bytes;
}
