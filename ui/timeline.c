/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/marks.h"
#include "common/format.h"
#include "common/xalloc.h"

#define LABEL_COLUMNS 10

/* A moment's place among @n, and back. */
static int place_of(const struct ui *u, uint64_t t_ns, int n)
{
	uint64_t start = history_start_ns(u->history), end = history_end_ns(u->history);
	double at;

	if (t_ns <= start || end <= start)
		return 0;
	at = (double)(t_ns - start) / (double)(end - start) * n;
	return at >= n ? n - 1 : (int)at;
}

/* The end of that place's time. */
static uint64_t moment_of(const struct ui *u, int place, int n)
{
	uint64_t start = history_start_ns(u->history), end = history_end_ns(u->history);

	return start + (uint64_t)((double)(end - start) * (place + 1) / n);
}

enum curve { CURVE_LIVE, CURVE_RATE, CURVE_RSS };

/* What the bucket has of it; a rate in bytes, or of countable things, a second. */
static double bucket_value(const struct ui *u, const struct timeline *t, size_t i, enum curve curve)
{
	const struct timeline_bucket *b = &t->buckets[i];

	if (curve == CURVE_LIVE)
		return (double)b->max_live_bytes;
	return (double)(history_is_counted(u->history) ? b->allocs : b->allocated_bytes) /
	       ((double)t->width_ns / 1e9);
}

/* A moment falls into many buckets, or a bucket into many places: the largest counts. */
static void curve_of_buckets(const struct ui *u, enum curve curve, double *values, int n)
{
	const struct timeline timeline = history_timeline(u->history), *t = &timeline;
	uint64_t start = history_start_ns(u->history);

	for (int i = 0; i < n && t->width_ns && t->n; i++) {
		uint64_t from = i ? moment_of(u, i - 1, n) : start, to = moment_of(u, i, n);
		size_t first, last;

		if (to <= t->start_ns)
			continue;
		first = from > t->start_ns ? (from - t->start_ns) / t->width_ns : 0;
		last = (to - t->start_ns) / t->width_ns;
		if (first >= t->n) { /* nothing happened since the last event */
			values[i] = curve == CURVE_LIVE
					    ? (double)t->buckets[t->n - 1].live_bytes
					    : 0;
			continue;
		}
		for (size_t k = first; k <= last && k < t->n; k++)
			if (bucket_value(u, t, k, curve) > values[i])
				values[i] = bucket_value(u, t, k, curve);
	}
}

static void curve_of_rss(const struct ui *u, double *values, int n)
{
	const struct timeline timeline = history_timeline(u->history), *t = &timeline;
	size_t at = 0;

	for (int i = 0; i < n && t->n_rss; i++) {
		uint64_t to = moment_of(u, i, n);

		while (at + 1 < t->n_rss && t->rss[at + 1].t_ns <= to)
			at++;
		if (t->rss[at].t_ns <= to)
			values[i] = (double)t->rss[at].bytes;
	}
}

uint64_t timeline_rss_at(const struct ui *u)
{
	const struct timeline timeline = history_timeline(u->history), *t = &timeline;
	uint64_t now = history_now_ns(u->history);
	size_t at = t->n_rss;

	while (at && t->rss[at - 1].t_ns > now)
		at--;
	return at ? t->rss[at - 1].bytes : 0;
}

/* To be freed; with its largest. */
static double *make_curve(const struct ui *u, enum curve curve, int n, double *ret_max)
{
	double *values = xcalloc((size_t)n + 1, sizeof(*values));

	if (curve == CURVE_RSS)
		curve_of_rss(u, values, n);
	else
		curve_of_buckets(u, curve, values, n);
	*ret_max = 0;
	for (int i = 0; i < n; i++)
		if (values[i] > *ret_max)
			*ret_max = values[i];
	return values;
}

/* The range, and the moment that is shown. */
static void mark_time(const struct ui *u, struct canvas *c, struct box b)
{
	int cursor = u->has_cursor ? place_of(u, u->cursor_ns, b.cols) : b.cols - 1;
	int gone = place_of(u, history_first_ns(u->history), b.cols);

	for (int row = 0; row < b.rows; row++)
		canvas_set_style(c, b.row + row, b.col, gone, STYLE_DIM);

	if (u->has_mark) {
		int mark = place_of(u, u->mark_ns, b.cols);

		for (int row = 0; row < b.rows; row++) {
			canvas_set_style(c, b.row + row, b.col, mark, STYLE_DIM);
			canvas_set_style(c, b.row + row, b.col + cursor + 1, b.cols - cursor - 1,
					 STYLE_DIM);
		}
	}
	for (int row = 0; row < b.rows && u->has_cursor; row++)
		canvas_select(c, b.row + row, b.col + cursor, 1);
}

/* Above the curve, where something was marked by the recorder. */
static void draw_marks(const struct ui *u, struct canvas *c, struct box b)
{
	uint64_t end = history_end_ns(u->history);
	struct mark m;
	size_t at = 0;

	while (marks_next(history_catalog(u->history), &at, &m))
		if (m.t_ns <= end)
			canvas_text(c, b.row, b.col + place_of(u, m.t_ns, b.cols), 1, "▼",
				    STYLE_STRONG, ALIGN_LEFT, CUT_END);
}

static void draw_scale(const struct ui *u, struct canvas *c, struct box b)
{
	uint64_t start = history_start_ns(u->history), end = history_end_ns(u->history);
	char text[FORMAT_MAX + 8], t[FORMAT_MAX];

	canvas_text(c, b.row, b.col, b.cols, "0 s", STYLE_DIM, ALIGN_LEFT, CUT_END);
	format_duration(t, end - start);
	canvas_text(c, b.row, b.col + b.cols - 12, 12, t, STYLE_DIM, ALIGN_RIGHT, CUT_END);
	if (!u->has_cursor)
		return;
	snprintf(text, sizeof(text), "%s", format_duration(t, u->cursor_ns - start));
	{
		int width = canvas_columns(text);
		int at = place_of(u, u->cursor_ns, b.cols) - width / 2;

		if (at + width > b.cols)
			at = b.cols - width;
		canvas_text(c, b.row, b.col + (at > 0 ? at : 0), width, text, STYLE_ACCENT,
			    ALIGN_LEFT, CUT_END);
	}
}

static void draw_curve(struct ui *u, struct canvas *c, struct box b, enum curve curve,
		       enum style style, double *ret_max)
{
	double *values = make_curve(u, curve, 2 * b.cols, ret_max);
	/* the curve above is not to be touched */
	double air = curve == CURVE_LIVE ? 1 : 1 + 0.25 / b.rows;

	canvas_curve(c, b.row, b.col, b.cols, b.rows, values, *ret_max * air, style);
	free(values);
}

void timeline_draw(struct ui *u, struct canvas *c, struct box box)
{
	struct box curve = box;
	double max;

	if (box.rows < 2 || box.cols < 10)
		return;
	curve.rows--;
	draw_curve(u, c, curve, CURVE_LIVE, STYLE_ACCENT, &max);
	draw_marks(u, c, curve);
	mark_time(u, c, curve);
	draw_scale(u, c, (struct box){box.row + box.rows - 1, box.col, 1, box.cols});
	u->time_box = box;
}

static void draw_band(struct ui *u, struct canvas *c, struct box b, enum curve curve,
		      const char *name, enum style style)
{
	struct box inner = {b.row, b.col + LABEL_COLUMNS + 1, b.rows,
			    b.cols - LABEL_COLUMNS - 1};
	char text[FORMAT_MAX + 4], bytes[FORMAT_MAX];
	double max;

	if (b.rows < 1 || inner.cols < 10)
		return;
	draw_curve(u, c, inner, curve, style, &max);
	if (curve == CURVE_LIVE)
		draw_marks(u, c, inner);
	mark_time(u, c, inner);
	if (curve != CURVE_RSS && history_is_counted(u->history))
		format_count(bytes, (uint64_t)max);
	else
		format_bytes(bytes, (uint64_t)max);
	snprintf(text, sizeof(text), "%s%s", bytes, curve == CURVE_RATE ? "/s" : "");
	canvas_text(c, b.row, b.col, LABEL_COLUMNS, b.rows > 1 ? text : name, STYLE_TEXT,
		    ALIGN_RIGHT, CUT_END);
	if (b.rows > 1)
		canvas_text(c, b.row + b.rows - 1, b.col, LABEL_COLUMNS, name, STYLE_DIM,
			    ALIGN_RIGHT, CUT_END);
}

void timeline_draw_large(struct ui *u, struct canvas *c, struct box box)
{
	bool has_rss = history_timeline(u->history).n_rss > 1;
	int rows = box.rows - 1, rate = rows >= 6 ? rows / 4 : rows >= 4 ? 1 : 0;
	int rss = has_rss ? rate : 0, live = rows - rate - rss;

	if (rows < 1)
		return;
	draw_band(u, c, (struct box){box.row, box.col, live, box.cols}, CURVE_LIVE, "live",
		  STYLE_ACCENT);
	draw_band(u, c, (struct box){box.row + live, box.col, rss, box.cols}, CURVE_RSS, "RSS",
		  STYLE_DIM);
	draw_band(u, c, (struct box){box.row + live + rss, box.col, rate, box.cols}, CURVE_RATE,
		  history_is_counted(u->history) ? "acquired" : "allocated", STYLE_DIM);
	u->time_box = (struct box){box.row, box.col + LABEL_COLUMNS + 1, box.rows,
				   box.cols - LABEL_COLUMNS - 1};
	draw_scale(u, c,
		   (struct box){box.row + box.rows - 1, u->time_box.col, 1, u->time_box.cols});
}

/* ---- moving about in it ------------------------------------------------------------- */

/* Events before the first moment were dropped. */
static void stay_behind_first(struct ui *u)
{
	uint64_t first = history_first_ns(u->history);

	if (u->has_cursor && u->cursor_ns < first)
		u->cursor_ns = first;
	if (u->has_mark && u->mark_ns < first)
		u->mark_ns = first;
}

void timeline_keep_up(struct ui *u)
{
	if (u->has_cursor && u->cursor_ns < history_now_ns(u->history))
		u->cursor_ns = history_now_ns(u->history);
	if (u->has_mark && u->mark_ns < history_since_ns(u->history))
		u->mark_ns = history_since_ns(u->history);
}

void timeline_show(struct ui *u)
{
	uint64_t since;

	stay_behind_first(u);
	since = u->has_mark ? u->mark_ns : 0;
	if (u->has_cursor || u->has_mark)
		history_show(u->history, since, u->has_cursor ? u->cursor_ns : UINT64_MAX);
	else
		history_show_end(u->history);
	u->is_changed = true;
}

static int columns_of(const struct ui *u)
{
	return u->time_box.cols > 0 ? u->time_box.cols : u->cols > 0 ? u->cols : 80;
}

void timeline_move(struct ui *u, int columns)
{
	int n = columns_of(u);
	int at = (u->has_cursor ? place_of(u, u->cursor_ns - 1, n) : n - 1) + columns;

	if (at >= n - 1 && columns > 0) {
		u->has_cursor = false;
	} else {
		u->has_cursor = true;
		u->cursor_ns = moment_of(u, at < 0 ? 0 : at, n);
		if (u->has_mark && u->mark_ns > u->cursor_ns)
			u->has_mark = false;
	}
	timeline_show(u);
}

void timeline_click(struct ui *u, int col)
{
	int n = columns_of(u), at = col - u->time_box.col;

	u->has_cursor = at < n - 1;
	u->cursor_ns = moment_of(u, at < 0 ? 0 : at, n);
	if (u->has_mark && u->has_cursor && u->mark_ns > u->cursor_ns)
		u->has_mark = false;
	timeline_show(u);
}

void timeline_to_peak(struct ui *u)
{
	struct analysis a;

	u->has_mark = u->has_cursor = false;
	history_show_end(u->history);
	history_analysis(u->history, GROUP_THREAD, false, &a);
	if (!a.totals.peak_bytes) {
		ui_say(u, true, "there is no peak yet");
		return;
	}
	if (a.peak_time_ns < history_first_ns(u->history)) {
		ui_say(u, true, "the events around the peak are not in this recording any more");
		return;
	}
	u->has_cursor = true;
	u->cursor_ns = a.peak_time_ns;
	timeline_show(u);
}

bool timeline_has_marks(const struct ui *u)
{
	struct mark m;
	size_t at = 0;

	return marks_next(history_catalog(u->history), &at, &m);
}

/* What goes on from a mark that is the last goes to the first. */
void timeline_to_next_mark(struct ui *u)
{
	uint64_t first = history_first_ns(u->history), end = history_end_ns(u->history);
	struct mark m, next = {0}, earliest = {0};
	size_t at = 0;

	while (marks_next(history_catalog(u->history), &at, &m)) {
		if (m.t_ns < first || m.t_ns > end)
			continue;
		if (!earliest.text || m.t_ns < earliest.t_ns)
			earliest = m;
		if (u->has_cursor && m.t_ns > u->cursor_ns && (!next.text || m.t_ns < next.t_ns))
			next = m;
	}
	if (!next.text)
		next = earliest;
	if (!next.text) {
		ui_say(u, true, "there are no marks: see heaptrail record --when");
		return;
	}
	u->has_cursor = true;
	u->cursor_ns = next.t_ns;
	if (u->has_mark && u->mark_ns > u->cursor_ns)
		u->has_mark = false;
	ui_say(u, false, "%s", next.text);
	timeline_show(u);
}

void timeline_follow(struct ui *u)
{
	u->has_cursor = u->has_mark = false;
	timeline_show(u);
}

void timeline_mark(struct ui *u)
{
	if (u->has_mark) {
		u->has_mark = false;
		ui_say(u, false, "all blocks, whenever they were allocated");
	} else {
		u->has_mark = true;
		u->mark_ns = u->has_cursor ? u->cursor_ns : history_end_ns(u->history);
		ui_say(u, false, "blocks allocated from here on: move on to see them; m ends it");
	}
	timeline_show(u);
}
