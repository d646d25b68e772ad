/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/gates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/small.h"
#include "cli/command.h"
#include "cli/growth_report.h"
#include "cli/suppression_files.h"
#include "cli/wrong_free_report.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/loss.h"

#define SITES_SHOWN 3
#define SECONDS_PER_HOUR 3600.0L

int gates_add(struct gates *g, const char *text)
{
	struct gate gate;
	struct err err;

	if (gate_parse(text, &gate, &err) < 0)
		return print_error(&err);
	ARRAY_GROW(g->items, g->cap, g->n);
	g->items[g->n++] = gate;
	return 0;
}

void gates_release(struct gates *g)
{
	free(g->items);
	memset(g, 0, sizeof(*g));
}

/* ---- the numbers, and how far they can be off ----------------------------------------- */

struct doubts {
	uint64_t lost;	  /* events, of whatever kind */
	long double ends; /* that may be missing: at most so many blocks are not live any more */
	bool is_open;	  /* any number of events may be missing */
	struct small small;
	bool has_small;
	/* blocks that count as possibly lost, but may be of any kind, and their bytes */
	long double doubtful_blocks, doubtful_bytes;
};

static struct doubts find_doubts(const struct view *v)
{
	const struct catalog *c = &v->catalog;
	struct doubts d = {.lost = view_lost_events(v)};

	/* whose calls are not recorded at all */
	d.is_open = !view_is_complete(v) || catalog_text(c, "other_allocator") ||
		    catalog_text(c, "not_probed") || catalog_text(c, "no_allocator") ||
		    catalog_loss(c, loss_kinds[LOSS_MAIN_THREAD_GONE].name);
	d.ends = (long double)(d.lost - catalog_loss(c, loss_kinds[LOSS_ALLOCS].name));
	d.has_small = small_read(c, &d.small);
	d.doubtful_blocks = fmaxl(0, catalog_number(c, REACHABILITY_DOUBTFUL_BLOCKS_KEY, 0));
	d.doubtful_bytes = fmaxl(0, catalog_number(c, REACHABILITY_DOUBTFUL_BYTES_KEY, 0));
	return d;
}

/* Why some wrong frees may not have been told; NULL: all were. */
static const char *why_untold(const struct view *v, enum gate_metric metric)
{
	const struct catalog *c = &v->catalog;
	bool is_told = metric != GATE_MISMATCHED;

	if (metric != GATE_MISMATCHED && metric != GATE_DOUBLE_FREES)
		return NULL;
	for (size_t i = 0; i < c->n_losses; i++)
		is_told |= !strcmp(c->losses[i].kind, loss_kinds[LOSS_MISMATCHED_FREES].name);
	if (!is_told)
		return "the recorder did not look for mismatched frees";
	if (catalog_loss(c, loss_kinds[LOSS_IMPLIED_FREES].name) ||
	    catalog_loss(c, loss_kinds[LOSS_UNFINISHED_REALLOCS].name))
		return "some frees were not seen: after the first of these, wrong ones may not be "
		       "told";
	return NULL;
}

/* @less, @more: at most so much is wrong with it. */
static struct gate_range around(uint64_t value, long double less, long double more)
{
	long double x = (long double)value;

	return (struct gate_range){x > less ? x - less : 0, x, x + more};
}

/* What is live: frees may be missing, or allocs. */
static void set_live(struct gate_values *to, const struct doubts *d, uint64_t blocks,
		     uint64_t bytes, uint64_t max_size)
{
	long double ends = d->is_open ? INFINITY : d->ends, less = 0;

	if (ends > 0)
		less = max_size ? ends * (long double)max_size : 0;
	to->count = around(blocks, ends, d->is_open ? INFINITY : (long double)d->lost);
	to->bytes = around(bytes, less, d->is_open || d->lost ? INFINITY : 0);
	if (d->has_small) {
		to->count.high += (long double)d->small.live_blocks;
		to->bytes.high += (long double)d->small.live_bytes;
	}
}

static void set_leaked(struct gate_values *to, const struct doubts *d, const struct view *v,
		       const struct leaks *l, uint64_t max_size)
{
	set_live(to, d, l->blocks - l->suppressed_blocks, l->bytes - l->suppressed_bytes,
		 max_size);
	if (view_exited(v) && !view_is_past(v))
		return;
	to->count.low = to->bytes.low = 0;
	to->count.high = to->bytes.high = INFINITY;
}

/* Of the metrics that are of one kind; else none. */
static enum block_kind kind_of(enum gate_metric metric)
{
	static const enum block_kind kinds[GATE_METRICS] = {
		[GATE_DEFINITE] = BLOCK_DEFINITE, [GATE_INDIRECT] = BLOCK_INDIRECT,
		[GATE_POSSIBLE] = BLOCK_POSSIBLE, [GATE_REACHABLE] = BLOCK_REACHABLE,
	};

	return kinds[metric];
}

/* Blocks that nobody looked at may be of any kind; and what looks reachable may be lost. */
static void set_kind(struct gate_values *to, const struct doubts *d, enum block_kind kind,
		     const struct leaks *l, const struct leak_blocks *blocks)
{
	const struct block_kinds *k = &blocks->kinds;
	bool may_be_lost = k->is_there && k->record.flags & REACHABILITY_CAUTIOUS;

	set_live(to, d, l->kinds[kind].blocks, l->kinds[kind].bytes, blocks->max_size);
	to->count.high += (long double)l->kinds[BLOCK_NOT_LOOKED_AT].blocks;
	to->bytes.high += (long double)l->kinds[BLOCK_NOT_LOOKED_AT].bytes;
	if (kind == BLOCK_POSSIBLE) {
		to->count.low = fmaxl(0, to->count.low - d->doubtful_blocks);
		to->bytes.low = fmaxl(0, to->bytes.low - d->doubtful_bytes);
	} else {
		to->count.high += d->doubtful_blocks;
		to->bytes.high += d->doubtful_bytes;
	}
	if (may_be_lost && kind == BLOCK_REACHABLE) {
		to->count.low = to->bytes.low = 0;
	} else if (may_be_lost) {
		to->count.high += (long double)l->kinds[BLOCK_REACHABLE].blocks;
		to->bytes.high += (long double)l->kinds[BLOCK_REACHABLE].bytes;
	}
}

/* What a condition is judged by. */
struct judging {
	const struct view *view;
	const struct own *own;
	const struct leaks *leaks;
	const struct leak_blocks *blocks; /* that @leaks are made of */
	const struct growth_found *growth; /* NULL: nobody asks */
};

/* In an hour.  Blocks are as large as those that are live there. */
static void set_growth(struct gate_values *to, const struct doubts *d,
		       const struct growth_found *growth)
{
	long double bytes = 0, blocks = 0;

	for (size_t i = 0; i < growth->sites.n_growing; i++) {
		const struct growth_site *s = &growth->sites.growing[i];
		double slope = growth_per_second(&growth->sites.span, s->growth.slope);

		if (growth->suppressed[i])
			continue;
		bytes += slope;
		blocks += s->live_bytes ? slope * (double)s->live_blocks / (double)s->live_bytes
					: 0;
	}
	to->hours = 1 / SECONDS_PER_HOUR;
	to->bytes = (struct gate_range){bytes, bytes, bytes};
	to->count = (struct gate_range){blocks, blocks, blocks};
	if (!growth_is_told(growth) || d->is_open || d->lost)
		to->bytes.low = to->count.low = 0;
	if (!growth_is_told(growth) || d->is_open || d->lost || d->has_small)
		to->bytes.high = to->count.high = INFINITY;
}

static struct gate_values values_of(enum gate_metric metric, const struct judging *j)
{
	const struct view *v = j->view;
	const struct analysis *a = &v->analysis;
	const struct heap_totals *t = &a->totals;
	struct doubts d = find_doubts(v);
	long double any = d.is_open || d.lost ? INFINITY : 0, lost = (long double)d.lost;
	long double small = d.has_small ? (long double)d.small.alloc_calls : 0;
	struct gate_values to = {.whole = around(a->free_calls, 0, any)};

	switch (metric) {
	case GATE_LEAKED:
	case GATE_LIVE:
		to.whole = around(t->allocated_bytes, 0, any);
		to.whole_is_bytes = true;
		if (metric == GATE_LEAKED)
			set_leaked(&to, &d, v, j->leaks, j->blocks->max_size);
		else
			set_live(&to, &d, t->live_blocks, t->live_bytes, j->blocks->max_size);
		break;
	case GATE_DEFINITE:
	case GATE_INDIRECT:
	case GATE_POSSIBLE:
	case GATE_REACHABLE:
		to.whole = around(t->allocated_bytes, 0, any);
		to.whole_is_bytes = true;
		set_kind(&to, &d, kind_of(metric), j->leaks, j->blocks);
		break;
	case GATE_GROWTH:
		set_growth(&to, &d, j->growth);
		break;
	case GATE_PEAK:
		/* frees that are missing make it larger, by blocks whose sizes are not known */
		to.count = around(t->peak_blocks, d.is_open || d.ends > 0 ? INFINITY : 0,
				  d.has_small ? INFINITY : any);
		to.bytes = around(t->peak_bytes, d.is_open || d.ends > 0 ? INFINITY : 0,
				  d.has_small ? INFINITY : any);
		break;
	case GATE_TEMPORARY:
		to.whole = around(t->alloc_calls, 0, any);
		to.count = around(t->temporary_allocs, lost, any);
		break;
	case GATE_ALLOCS:
		to.count = around(t->alloc_calls, 0, any + small);
		to.bytes = around(t->allocated_bytes, 0,
				  d.has_small ? any + (long double)d.small.allocated_bytes : any);
		break;
	case GATE_MISMATCHED:
		to.count = around(wrong_free_report_mismatched(v), lost,
				  why_untold(v, metric) ? INFINITY : any);
		break;
	case GATE_DOUBLE_FREES:
		to.count = around(a->frees[FREE_DOUBLE], lost,
				  why_untold(v, metric) ? INFINITY : any);
		break;
	case GATE_LOST:
	case GATE_METRICS:
		to.whole = around(a->events + d.lost, 0, 0);
		to.count = around(d.lost, 0, 0);
		break;
	}
	return to;
}

/* Why a number is not exact; NULL: it is. */
static char *describe_doubts(const struct judging *j, enum gate_metric metric)
{
	const struct view *v = j->view;
	struct doubts d = find_doubts(v);
	char n[FORMAT_MAX];

	if (kind_of(metric) && !j->blocks->kinds.is_there)
		return xstrdup("nobody looked at what points to the blocks (--reachable)");
	if (metric == GATE_GROWTH && !growth_is_told(j->growth))
		return xstrdup("the recording is too short to tell what grows");
	if (metric == GATE_LEAKED && view_is_past(v))
		return xstrdup("what is live before the end may still be freed");
	if (metric == GATE_LEAKED && !view_exited(v))
		return xstrdup("the exit of the process was not seen");
	if (metric != GATE_LOST && d.lost)
		return xasprintf("%s events were lost", format_count(n, d.lost));
	if (metric != GATE_LOST && !view_is_complete(v))
		return xasprintf("the recording is not complete: %s",
				 view_state_name(view_state(v)));
	if (metric != GATE_LOST && d.is_open)
		return xstrdup("not all calls were recorded");
	if (why_untold(v, metric))
		return xstrdup(why_untold(v, metric));
	if (metric != GATE_LOST && d.has_small)
		return xstrdup("blocks below --min-size were only counted");
	if (kind_of(metric) && j->blocks->kinds.record.flags & REACHABILITY_CAUTIOUS)
		return xstrdup("blocks that were not seen may point to others");
	if (kind_of(metric) && d.doubtful_blocks > 0)
		return xstrdup("it is not known whether memory that points to some blocks is the "
			       "program's: record --mmap tells, but for glibc's malloc");
	if (kind_of(metric) && j->leaks->kinds[BLOCK_NOT_LOOKED_AT].blocks)
		return xstrdup("some blocks came after the look at them");
	return NULL;
}

/* ---- what is said --------------------------------------------------------------------- */

static uint64_t whole_number(long double x)
{
	return x >= 0x1p64L ? UINT64_MAX : (uint64_t)x;
}

char *gates_describe_value(const struct gate *g, long double x)
{
	const char *name = gate_metric_name(g->metric);
	char a[FORMAT_MAX], b[FORMAT_MAX];

	switch (g->unit) {
	case GATE_COUNT:
		return xasprintf("%s is %s", name, format_count(a, whole_number(x)));
	case GATE_BYTES:
		return xasprintf("%s is %s (%s bytes)", name, format_bytes(a, whole_number(x)),
				 format_count(b, whole_number(x)));
	case GATE_PERCENT:
		return xasprintf("%s is %.4Lg %%", name, x);
	case GATE_COUNT_PER_HOUR:
		if (x < 10)
			return xasprintf("%s is %.3Lg/h", name, x);
		return xasprintf("%s is %s/h", name, format_count(a, whole_number(x)));
	case GATE_BYTES_PER_HOUR:
		break;
	}
	if (x < 10)
		return xasprintf("%s is %.3Lg bytes/h", name, x);
	return xasprintf("%s is %s/h", name, format_bytes(a, whole_number(x)));
}

static void say_site(const struct row *r, bool is_bytes, uint64_t value)
{
	char number[FORMAT_MAX], name[200];

	format_safe(name, sizeof(name), r->name);
	fprintf(stderr, "%15s  %.80s", is_bytes ? format_bytes(number, value)
					    : format_count(number, value), name);
	if (r->file && r->line && !strchr(name, ':'))
		fprintf(stderr, " (%.80s:%u)", path_base(r->file), r->line);
	fputc('\n', stderr);
}

static void say_leaks(const struct leaks *l, enum block_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_shown && n < SITES_SHOWN; i++) {
		if (kind && l->items[i].kind != kind)
			continue;
		say_site(l->items[i].row, true, l->items[i].row->totals.live_bytes);
		n++;
	}
}

/* What grows fastest. */
static void say_growing(const struct judging *j)
{
	const struct growth_found *f = j->growth;
	size_t n = 0;

	for (size_t i = 0; i < f->sites.n_growing && n < SITES_SHOWN; i++) {
		const struct growth_site *s = &f->sites.growing[i];
		double rate = growth_per_second(&f->sites.span, s->growth.slope);
		char *name, number[FORMAT_MAX], safe[160];

		if (f->suppressed[i])
			continue;
		name = growth_site_name(&j->view->catalog, j->own, s);
		fprintf(stderr, "%13s/h  %s\n",
			format_bytes(number, whole_number(rate * SECONDS_PER_HOUR)),
			format_safe(safe, sizeof(safe), name));
		free(name);
		n++;
	}
	fprintf(stderr, "hint: heaptrail leaks --growth shows how they grow\n");
}

/* Where the number comes from.  What was lost is of no site. */
static void say_sites(const struct gate *g, const struct judging *j)
{
	const struct view *v = j->view;
	const struct leaks *l = j->leaks;
	static const char *const columns[GATE_METRICS] = {
		[GATE_LIVE] = "live", [GATE_PEAK] = "peak",
		[GATE_TEMPORARY] = "temporary", [GATE_ALLOCS] = "calls",
	};
	bool is_calls = g->metric == GATE_TEMPORARY ||
			(g->metric == GATE_ALLOCS && g->unit == GATE_COUNT);
	struct rows rows;

	if (g->metric == GATE_LEAKED || kind_of(g->metric))
		say_leaks(l, kind_of(g->metric));
	if (g->metric == GATE_MISMATCHED || g->metric == GATE_DOUBLE_FREES)
		fprintf(stderr, "hint: heaptrail report --wrong-frees shows their stacks\n");
	if (g->metric == GATE_GROWTH)
		say_growing(j);
	if (!columns[g->metric])
		return;
	rows_make(&rows, &v->catalog, &v->analysis, j->own, ROWS_BY_LINE, false);
	rows_sort(&rows, g->metric == GATE_ALLOCS && !is_calls ? "allocated"
							       : columns[g->metric]);
	for (size_t i = 0; i < rows.n && i < SITES_SHOWN; i++) {
		const struct heap_totals *t = &rows.rows[i].totals;
		uint64_t value = g->metric == GATE_PEAK	     ? t->peak_bytes
				 : g->metric == GATE_TEMPORARY ? t->temporary_allocs
				 : g->metric != GATE_ALLOCS	? t->live_bytes
				 : is_calls			? t->alloc_calls
								: t->allocated_bytes;

		if (value)
			say_site(&rows.rows[i], !is_calls, value);
	}
	rows_release(&rows);
}

static bool judge(const struct gate *g, const struct judging *j)
{
	struct gate_values values = values_of(g->metric, j);
	struct gate_range r = gate_range(g, &values);
	enum gate_verdict verdict = gate_judge(g, &r);
	char *why, *value;

	if (verdict == GATE_HOLDS)
		return false;
	value = gates_describe_value(g, r.value);
	why = describe_doubts(j, g->metric);
	if (verdict == GATE_UNDECIDED) {
		say("warning: cannot tell whether '%s': %s, but %s", g->text, value,
		    why ? why : "the recording does not say");
	} else {
		say("failed: '%s': %s", g->text, value);
		if (why)
			say("note: that is not exact: %s; the condition is met all the same", why);
		say_sites(g, j);
	}
	free(why);
	free(value);
	return verdict == GATE_VIOLATED;
}

bool gates_judge(const struct gates *g, const struct view *v, const struct own *own,
		 const struct leaks *leaks, const struct leak_blocks *blocks,
		 const struct growth_found *growth)
{
	struct judging j = {v, own, leaks, blocks, growth};
	bool failed = false;

	for (size_t i = 0; i < g->n; i++)
		failed |= judge(&g->items[i], &j);
	return failed;
}

bool gates_need_growth(const struct gates *g)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->items[i].metric == GATE_GROWTH)
			return true;
	return false;
}

int gates_judge_recording(const struct gates *g, struct suppressions *suppressions,
			  const char *path, const struct when *when, bool *ret_failed)
{
	static const struct leak_filter all = {.until_ns = UINT64_MAX};
	struct growth_found growth = {.from_ns = 0};
	struct growth_windows *windows = NULL;
	struct leak_blocks blocks = {0};
	struct leaks leaks;
	struct view v;
	struct own own;
	struct err err;

	if (!g->n)
		return 0;
	if (gates_need_growth(g))
		windows = growth_windows_new(GROWTH_BYTES);
	if (view_open_growth(&v, path, when, &blocks, windows, &err) < 0) {
		leak_blocks_release(&blocks);
		growth_windows_free(windows);
		return print_error(&err);
	}
	view_complete_names(&v);
	own_init(&own, &v.catalog, NULL, 0);
	if (windows)
		growth_find(&growth, &v, &own, windows, &blocks, suppressions, 0, ROWS_BY_STACK,
			    0);
	leaks_make(&leaks, &v.catalog, &own, &blocks, &all, suppressions, ROWS_BY_LINE);
	*ret_failed = gates_judge(g, &v, &own, &leaks, &blocks, &growth);
	suppression_files_say_unused(suppressions);
	growth_found_release(&growth);
	growth_windows_free(windows);
	leaks_release(&leaks);
	own_release(&own);
	leak_blocks_release(&blocks);
	view_close(&v);
	return 0;
}
