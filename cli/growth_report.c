/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/growth_report.h"

#include <inttypes.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>

#include "cli/layer_report.h"
#include "cli/stack_view.h"
#include "common/format.h"
#include "common/sparkline.h"
#include "common/xalloc.h"

#define CURVE_COLUMNS 24
#define SECONDS_PER_HOUR 3600

/* ---- finding ---------------------------------------------------------------------------- */

static void find_suppressed(struct growth_found *f, const struct view *v,
			    struct suppressions *suppressions)
{
	struct growth_sites *s = &f->sites;

	f->suppressed = xcalloc(s->n_growing + 1, sizeof(*f->suppressed));
	for (size_t i = 0; i < s->n_growing; i++) {
		struct growth_site *site = &s->growing[i];
		struct stack_walk w;

		stacks_walk(&v->catalog, site->stack, &w);
		f->suppressed[i] = suppressions_match(suppressions, &v->catalog, &w,
						      BLOCK_NOT_LOOKED_AT);
		if (f->suppressed[i]) {
			f->n_suppressed++;
			continue;
		}
		f->sum.slope += growth_per_second(&s->span, site->growth.slope);
		f->sum.low += growth_per_second(&s->span, site->growth.low);
		f->sum.high += growth_per_second(&s->span, site->growth.high);
	}
}

void growth_find(struct growth_found *ret, const struct view *v, const struct own *own,
		 struct growth_windows *windows, const struct leak_blocks *blocks,
		 struct suppressions *suppressions, uint64_t warmup_ns, enum rows_by by,
		 size_t max_others)
{
	uint64_t start = view_start_ns(v), end = leak_report_end_ns(v);
	struct growth_span span;

	*ret = (struct growth_found){.until_ns = end, .is_counted = layer_report_is_counted(v)};
	ret->from_ns = v->window.since_ns > start ? v->window.since_ns : start;
	ret->from_ns += warmup_ns;
	growth_windows_advance(windows, end);
	span = growth_windows_span(windows, ret->from_ns, end, GROWTH_WINDOWS_MAX);
	if (ret->is_counted)
		span.n = 0; /* it is of bytes */
	if (by == ROWS_BY_STACK) {
		growth_sites_make(&ret->sites, windows, &span, own, max_others);
	} else {
		rows_make(&ret->rows, &v->catalog, &v->analysis, own, by, false);
		growth_sites_make_rows(&ret->sites, windows, &span, &ret->rows, &v->analysis,
				       max_others);
	}
	for (size_t i = 0; i < blocks->n; i++) {
		const struct leak_block *b = &blocks->items[i];

		growth_sites_count_live(&ret->sites, b->stack, end > b->t_ns ? end - b->t_ns : 0,
					b->size);
	}
	find_suppressed(ret, v, suppressions);
}

void growth_found_release(struct growth_found *f)
{
	growth_sites_release(&f->sites);
	rows_release(&f->rows);
	free(f->suppressed);
	memset(f, 0, sizeof(*f));
}

bool growth_is_told(const struct growth_found *f)
{
	return !f->is_counted && f->sites.span.n >= GROWTH_WINDOWS_MIN;
}

/* ---- what a site is called ---------------------------------------------------------------- */

/* The frame by which it goes: the own one, or the last that its stacks share. */
static size_t named_frame(const struct own *own, const struct growth_site *s,
			  const struct stack_walk *w)
{
	size_t at = own_frame(own, w);

	return s->n_stacks > 1 && s->depth && at >= s->depth ? s->depth - 1 : at;
}

char *growth_site_name(const struct catalog *c, const struct own *own,
		       const struct growth_site *s)
{
	const struct catalog_frame *f;
	struct stack_walk w;
	char *name, *where, *text;

	if (s->row)
		return xstrdup(s->row->name);
	stacks_walk(c, s->stack, &w);
	if (!w.n)
		return xasprintf("[%s]", stacks_end_text(w.end));
	f = catalog_frame(c, w.frames[named_frame(own, s, &w)]);
	name = place_name(c, f);
	where = place_where(c, f);
	text = where ? xasprintf("%s (%s)", name, where) : xstrdup(name);
	free(name);
	free(where);
	return text;
}

/* ---- text --------------------------------------------------------------------------------- */

#define RATE_MAX (FORMAT_MAX + 4)

/* "1.20 MiB/h" of bytes a second. */
static const char *rate_text(char buf[RATE_MAX], const struct leak_report *r, double per_second)
{
	double per_hour = per_second * SECONDS_PER_HOUR;
	size_t n = 0;

	if (per_hour < 0)
		buf[n++] = '-';
	per_hour = per_hour < 0 ? -per_hour : per_hour;
	view_bytes(buf + n, per_hour < 0x1p63 ? (uint64_t)(per_hour + 0.5) : UINT64_MAX,
		   r->options->bytes);
	memcpy(buf + strlen(buf), "/h", sizeof("/h"));
	return buf;
}

static const char *sure_text(char *buf, double confidence)
{
	if (confidence > 0.999)
		snprintf(buf, FORMAT_MAX, ">99.9 %%");
	else
		snprintf(buf, FORMAT_MAX, "%.1f %%", 100 * confidence);
	return buf;
}

static void print_curve(const struct growth_sites *s, const struct growth_site *site)
{
	char curve[SPARKLINE_MAX];
	bool ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;

	fputs(sparkline(curve, site->ends, s->span.n, CURVE_COLUMNS, ascii), stdout);
}

/* "steady, 1.10 MiB/h to 1.30 MiB/h; 312 of 400 live blocks are older than 1 ms": why. */
static void print_reasons(const struct leak_report *r, const struct growth_site *s)
{
	const struct growth_sites *all = &r->growth->sites;
	char a[RATE_MAX], b[RATE_MAX], c[FORMAT_MAX];

	printf("    %s", growth_shape_text(s->growth.shape));
	if (s->growth.shape == GROWTH_LATE)
		printf(", from about %s on",
		       format_duration(a, view_since_start(r->view,
							   all->span.start_ns +
								   s->growth.since *
									   all->span.width_ns)));
	printf("; %s to %s;\n",
	       rate_text(a, r, growth_per_second(&all->span, s->growth.low)),
	       rate_text(b, r, growth_per_second(&all->span, s->growth.high)));
	if (s->usual_ns)
		printf("    %s of %s live blocks are older than %s, as 19 in 20 of those freed "
		       "never were\n", format_count(a, s->outlived_blocks),
		       format_count(b, s->live_blocks), format_duration(c, s->usual_ns));
	else
		printf("    none of its %s blocks was freed\n",
		       format_count(a, s->lifetimes.blocks));
}

static bool has_frames(const struct leak_report *r)
{
	return r->options->by == ROWS_BY_STACK && stacks_have_frames(&r->view->stacks);
}

/* Whose stacks these are, and those frames that all share. */
static bool print_frames(const struct leak_report *r, const struct growth_site *s)
{
	struct stack_view_options o = {r->options->frames, r->options->wide};
	char n[FORMAT_MAX];

	if (!has_frames(r))
		return false;
	if (s->n_stacks > 1)
		printf("    in %s call stacks, such as\n", format_count(n, s->n_stacks));
	return stack_view_print(r->view, s->stack, &o);
}

static bool print_site(const struct leak_report *r, const struct growth_site *s)
{
	const struct growth_sites *all = &r->growth->sites;
	char a[RATE_MAX], b[FORMAT_MAX], c[FORMAT_MAX];
	char *name = growth_site_name(&r->view->catalog, r->own, s);
	int width = output_width() - 38 - CURVE_COLUMNS - 2;

	printf("%14s %8s %12s  ",
	       rate_text(a, r, growth_per_second(&all->span, s->growth.slope)),
	       sure_text(b, s->growth.confidence),
	       view_bytes(c, s->live_bytes, r->options->bytes));
	print_curve(all, s);
	fputs("  ", stdout);
	print_cut(name, r->options->wide ? 0 : width < 16 ? 16 : width);
	putchar('\n');
	free(name);
	print_reasons(r, s);
	return print_frames(r, s);
}

static void print_growing(const struct leak_report *r)
{
	const struct growth_found *g = r->growth;
	size_t n = 0, all = g->sites.n_growing - g->n_suppressed;
	size_t most = r->options->rows ? r->options->rows : SIZE_MAX;
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";
	bool left_out = false;
	char count[FORMAT_MAX];

	if (!all)
		return;
	printf("\n%s%14s %8s %12s  %-*s  %s%s\n", on, "GROWTH", "SURE", "LIVE", CURVE_COLUMNS,
	       "LIVE OVER TIME", "ALLOCATED BY", off);
	for (size_t i = 0; i < g->sites.n_growing && n < most; i++) {
		if (g->suppressed[i])
			continue;
		if (n++)
			putchar('\n');
		left_out |= print_site(r, &g->sites.growing[i]);
	}
	if (n < all)
		printf("\n  and %s more (--rows 0 shows all)\n", format_count(count, all - n));
	if (left_out)
		stack_view_print_hint();
}

static void print_others(const struct leak_report *r)
{
	const struct growth_sites *s = &r->growth->sites;
	size_t n = s->n_others < GROWTH_OTHERS_SHOWN ? s->n_others : GROWTH_OTHERS_SHOWN;
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";
	int width = output_width() - 30 - CURVE_COLUMNS - 2;
	char a[FORMAT_MAX];

	if (!n || !growth_is_told(r->growth))
		return;
	printf("\n%s%14s %-12s  %-*s  %s%s\n", on, "NOT GROWING", "SHAPE", CURVE_COLUMNS,
	       "LIVE OVER TIME", "ALLOCATED BY", off);
	for (size_t i = 0; i < n; i++) {
		const struct growth_site *x = &s->others[i];
		char *name = growth_site_name(&r->view->catalog, r->own, x);

		printf("%14s %-12s  ",
		       view_bytes(a, (uint64_t)x->ends[s->span.n - 1], r->options->bytes),
		       growth_shape_text(x->growth.shape));
		print_curve(s, x);
		fputs("  ", stdout);
		print_cut(name, r->options->wide ? 0 : width < 16 ? 16 : width);
		putchar('\n');
		free(name);
	}
	if (n < s->n_others_all)
		printf("  and %s more\n", format_count(a, s->n_others_all - n));
}

/* What was there before the recording is not in it: what takes its place looks as if it grew. */
static void print_unknown_frees(const struct leak_report *r)
{
	const struct growth_sites *s = &r->growth->sites;
	uint64_t unknown = r->view->analysis.frees[FREE_UNKNOWN], blocks = 0;
	char a[FORMAT_MAX];

	for (size_t i = 0; i < s->n_growing; i++)
		blocks += s->growing[i].live_blocks;
	if (unknown && unknown >= blocks / 2 && blocks)
		printf("NOTE: %s blocks from before the recording were freed meanwhile: what takes "
		       "their\nplace looks as if it grew, until it is as old as they were. "
		       "Record longer.\n", format_count(a, unknown));
}

static void print_head(const struct leak_report *r)
{
	const struct growth_found *g = r->growth;
	const struct growth_span *span = &g->sites.span;
	size_t n = g->sites.n_growing - g->n_suppressed;
	char a[RATE_MAX], b[FORMAT_MAX], c[FORMAT_MAX];

	if (g->is_counted)
		printf("Growth cannot be told: it is of bytes, and this layer of countable "
		       "things\n");
	else if (!growth_is_told(g))
		printf("Growth cannot be told: %s is too short for it\n",
		       format_duration(a, g->until_ns > g->from_ns ? g->until_ns - g->from_ns
								   : 0));
	else if (!n)
		printf("Nothing grows\n");
	else
		printf("Growing by %s in %s place%s\n", rate_text(a, r, g->sum.slope),
		       format_count(b, n), n == 1 ? "" : "s");
	if (growth_is_told(g))
		printf("  Looked at   %s to %s, in %zu windows of %s\n",
		       format_duration(a, view_since_start(r->view, span->start_ns)),
		       format_duration(b, view_since_start(r->view,
							   span->start_ns +
								   span->n * span->width_ns)),
		       span->n, format_duration(c, span->width_ns));
	if (g->n_suppressed)
		printf("  Suppressed  %s that grow, too\n", format_count(a, g->n_suppressed));
	stack_view_print_health(r->view);
	view_print_small(r->view, "");
	view_print_dropped(r->view, "");
	view_print_state_warnings(r->view);
	view_print_no_allocator(r->view, "WARNING: ");
	if (view_lost_events(r->view))
		printf("WARNING: %s events were lost: blocks whose ends are among them look as if "
		       "they stayed\n", format_count(a, view_lost_events(r->view)));
	print_unknown_frees(r);
}

void growth_report_print(const struct leak_report *r)
{
	print_head(r);
	print_growing(r);
	print_others(r);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void json_series(struct json *j, const char *key, const double *values, size_t n)
{
	json_begin_array(j, key);
	for (size_t i = 0; i < n; i++)
		json_u64(j, NULL, (uint64_t)values[i]);
	json_end_array(j);
}

static void json_growth(const struct leak_report *r, const struct growth_site *s, struct json *j)
{
	const struct growth_span *span = &r->growth->sites.span;
	double rate = growth_per_second(span, s->growth.slope);

	json_begin_object(j, "growth");
	json_string(j, "shape", growth_shape_name(s->growth.shape));
	json_bool(j, "growing", s->growth.is_growing);
	json_double(j, "bytes_per_hour", rate * SECONDS_PER_HOUR);
	json_double(j, "low_bytes_per_s", growth_per_second(span, s->growth.low));
	json_double(j, "high_bytes_per_s", growth_per_second(span, s->growth.high));
	json_double(j, "confidence", s->growth.confidence);
	json_u64(j, "since_ns", view_since_start(r->view, span->start_ns +
							  s->growth.since * span->width_ns));
	json_u64(j, "alloc_calls", s->lifetimes.blocks);
	if (s->usual_ns)
		json_u64(j, "usual_lifetime_ns", s->usual_ns);
	else
		json_string(j, "usual_lifetime_ns", NULL);
	json_u64(j, "outlived_blocks", s->outlived_blocks);
	json_double(j, "outlived_share", s->live_blocks ? (double)s->outlived_blocks /
								 (double)s->live_blocks : 0);
	json_u64(j, "stacks", s->n_stacks);
	json_u64(j, "shared_frames", s->depth);
	json_series(j, "live_bytes", s->ends, span->n);
	json_series(j, "floor_bytes", s->floors, span->n);
	json_end_object(j);
}

static void json_place(const struct leak_report *r, const struct growth_site *s, struct json *j)
{
	const struct view *v = r->view;
	const struct catalog_frame *f;
	struct stack_walk w;

	if (s->row) {
		json_string(j, "name", s->row->name);
		json_string(j, "function", s->row->function);
		json_string(j, "file", s->row->file);
		json_u64(j, "line", s->row->line);
		json_string(j, "module", catalog_module_path(&v->catalog, s->row->module));
		return;
	}
	stacks_walk(&v->catalog, s->stack, &w);
	f = catalog_frame(&v->catalog, w.n ? w.frames[named_frame(r->own, s, &w)]
					   : (struct frame_id){0});
	json_u64(j, "stack", s->stack.v);
	json_string(j, "function", f->function);
	json_string(j, "file", f->file);
	json_u64(j, "line", f->line);
	stack_view_json_truncated(v, s->stack, j);
	stack_view_json_frames(v, s->stack, j);
}

static void json_site(const struct leak_report *r, const struct growth_site *s,
		      const struct suppression *by, struct json *j)
{
	json_begin_object(j, NULL);
	json_u64(j, "bytes", s->live_bytes);
	json_u64(j, "blocks", s->live_blocks);
	json_double(j, "growth_bytes_per_s",
		    growth_per_second(&r->growth->sites.span, s->growth.slope));
	json_string(j, "suppressed_by", by ? by->name : NULL);
	json_growth(r, s, j);
	json_place(r, s, j);
	json_end_object(j);
}

int growth_report_json(const struct leak_report *r, FILE *out, struct err *err)
{
	const struct growth_found *g = r->growth;
	const struct growth_sites *s = &g->sites;
	const struct view *v = r->view;
	struct json j = {.out = out};

	(void)err;
	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-leaks/1");
	view_json_recording(v, &j);
	json_string(&j, "word", view_leak_word(v));
	json_string(&j, "layer", v->layer);
	json_string(&j, "by", rows_by_text(r->options->by));
	json_u64(&j, "total_bytes", v->analysis.totals.live_bytes);
	json_u64(&j, "total_blocks", v->analysis.totals.live_blocks);
	json_u64(&j, "lost_events", view_lost_events(v));
	json_u64(&j, "unknown_frees", v->analysis.frees[FREE_UNKNOWN]);
	json_begin_object(&j, "growth");
	json_bool(&j, "told", growth_is_told(g));
	json_u64(&j, "from_ns", view_since_start(v, s->span.start_ns));
	json_u64(&j, "windows", s->span.n);
	json_u64(&j, "window_ns", s->span.width_ns);
	json_u64(&j, "growing", s->n_growing - g->n_suppressed);
	json_double(&j, "bytes_per_s", g->sum.slope);
	json_double(&j, "bytes_per_hour", g->sum.slope * SECONDS_PER_HOUR);
	json_end_object(&j);
	json_begin_array(&j, "leaks");
	for (size_t i = 0; i < s->n_growing; i++)
		json_site(r, &s->growing[i], g->suppressed[i], &j);
	for (size_t i = 0; i < s->n_others; i++)
		json_site(r, &s->others[i], NULL, &j);
	json_end_array(&j);
	json_end_object(&j);
	return 0;
}
