/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/ui.h"

#include <inttypes.h>
#include <stdarg.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/command_line.h"
#include "analyzer/rows.h"
#include "analyzer/dropped.h"
#include "analyzer/small.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "ui/page.h"

#define HEAD_ROWS 3
#define FOOT_ROWS 2
#define TIME_ROWS 3
#define ROWS_FOR_TIME 16 /* on lower screens the rows are worth more */

struct page *ui_page(const struct ui *u)
{
	return u->pages[u->n_pages - 1];
}

void ui_say(struct ui *u, bool is_bad, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(u->message, sizeof(u->message), fmt, ap);
	va_end(ap);
	u->message_is_bad = is_bad;
	u->is_changed = true;
}

/* ---- life --------------------------------------------------------------------------- */

static void make_own(struct ui *u)
{
	const struct catalog *c = history_catalog(u->history);

	if (u->own.catalog && u->own_version == history_catalog_version(u->history))
		return;
	trees_release(u);
	growth_shown_free(u->growth);
	u->growth = NULL;
	own_release(&u->own);
	own_init(&u->own, c, u->options.skip, u->options.n_skip);
	stack_texts_free(u->texts);
	u->texts = xcalloc(1, sizeof(*u->texts));
	u->own_version = history_catalog_version(u->history);
	own_stack_identity(&u->own, (struct stack_id){0}); /* all of them, while it is as it is */
}

int ui_new(const struct ui_options *o, struct ui **ret, struct err *err)
{
	struct ui *u = xcalloc(1, sizeof(*u));
	int r = history_open_after(o->path, o->earlier, &u->history, err);

	if (r) {
		free(u);
		return r;
	}
	u->options = *o;
	for (int i = 0; i < ROOT_VIEWS; i++)
		page_init(&u->roots[i], (enum view_kind)i, NULL, false);
	u->pages[u->n_pages++] = &u->roots[VIEW_OVERVIEW];
	u->is_changed = true;
	make_own(u);
	settings_load(u);
	r = o->layer ? layers_show_name(u, o->layer, err) : 0;
	if (r)
		ui_free(u);
	else
		*ret = u;
	return r;
}

void ui_free(struct ui *u)
{
	if (!u)
		return;
	layers_show(u, 0); /* the order that is kept is the heap's */
	settings_save(u);
	while (u->n_pages > 1) {
		page_release(u->pages[--u->n_pages]);
		free(u->pages[u->n_pages]);
	}
	for (int i = 0; i < ROOT_VIEWS; i++)
		page_release(&u->roots[i]);
	trees_release(u);
	frag_release(u);
	growth_shown_free(u->growth);
	own_release(&u->own);
	stack_texts_free(u->texts);
	history_close(u->history);
	free(u);
}

void ui_push(struct ui *u, enum view_kind view, const struct scope *scope)
{
	struct page *p;

	if (u->n_pages == PAGES_MAX)
		return;
	p = xcalloc(1, sizeof(*p));
	page_init(p, view, scope, history_is_counted(u->history));
	u->pages[u->n_pages++] = p;
}

bool ui_read(struct ui *u, uint64_t max_ns)
{
	uint64_t before = history_version(u->history);
	bool was_failed = u->read_failed;
	int r;

	if (u->options.poll)
		u->options.poll(u->options.arg);
	history_want_blocks(u->history, views[ui_page(u)->view].needs_blocks);
	history_want_growth(u->history, views[ui_page(u)->view].needs_growth);
	r = history_read(u->history, max_ns, &u->read_err);

	u->read_failed = r < 0;
	if (u->options.complete)
		u->lacks_names = u->options.complete(u->options.complete_arg, u->history,
						     r == 1 ? 0 : max_ns);
	if (before != history_version(u->history) || was_failed != u->read_failed)
		u->is_changed = true;
	make_own(u);
	return r == 1;
}

bool ui_prepare(struct ui *u, uint64_t max_ns)
{
	uint64_t before = history_version(u->history);
	bool more = history_prepare(u->history, max_ns);

	if (before != history_version(u->history))
		u->is_changed = true;
	return more;
}

bool ui_is_live(const struct ui *u)
{
	return history_is_open_ended(u->history) || u->lacks_names || u->options.poll;
}

bool ui_is_over(const struct ui *u)
{
	return u->is_over;
}

void ui_resume(struct ui *u)
{
	u->is_over = false;
	u->is_changed = true;
}

void ui_tell(struct ui *u, bool is_bad, const char *text)
{
	ui_say(u, is_bad, "%s", text);
}

bool ui_is_ascii(const struct ui *u)
{
	return u->options.ascii;
}

bool ui_is_changed(const struct ui *u)
{
	return u->is_changed;
}

void ui_input(struct ui *u, const struct input *in)
{
	u->is_changed = true;
	if (in->key == INPUT_EOF) {
		u->is_over = true;
		return;
	}
	if (in->key == INPUT_RESIZE) {
		u->rows = in->row;
		u->cols = in->col;
		return;
	}
	if (in->key == INPUT_NONE)
		return;
	u->message[0] = '\0';
	page_make(u, ui_page(u));
	if (u->prompt)
		prompt_input(u, in);
	else
		keys_input(u, in);
}

/* ---- the head ----------------------------------------------------------------------- */

static void draw_title(struct ui *u, struct canvas *c)
{
	const struct catalog *k = history_catalog(u->history);
	bool live = history_is_open_ended(u->history);
	const char *state = u->options.state
				    ? u->options.state(u->options.arg, u->history, &live)
				    : live ? "not closed" : "complete";
	char *command = command_line(k, true), pid[32];
	char from[FORMAT_MAX], when[FORMAT_MAX], now[FORMAT_MAX];
	uint64_t start = history_start_ns(u->history), since = history_since_ns(u->history);
	char right[160];
	int width, used;

	if (u->is_paused)
		state = "paused";
	format_duration(when, history_now_ns(u->history) - start);
	format_duration(now, history_end_ns(u->history) - start);
	format_duration(from, since > start ? since - start : 0);
	snprintf(right, sizeof(right), "%s %s  %s%s%s%s%s", live ? "●" : "·", state,
		 since ? from : "", since ? " to " : "", when,
		 u->has_cursor ? " of " : "", u->has_cursor ? now : "");
	width = canvas_columns(right);
	used = c->cols < 60 ? 1 : canvas_put(c, 0, 1, "heaptrail", STYLE_ACCENT) + 3;
	snprintf(pid, sizeof(pid), "pid %" PRId64, catalog_number(k, "pid", 0));
	if (c->cols - width - used - 2 > 12)
		canvas_text(c, 0, used, c->cols - width - used - 2, command, STYLE_STRONG,
			    ALIGN_LEFT, CUT_END);
	if (catalog_number(k, "pid", 0) && c->cols - width - used - canvas_columns(command) > 20)
		canvas_put(c, 0, used + canvas_columns(command) + 2, pid, STYLE_DIM);
	canvas_text(c, 0, c->cols - width - 1, width, right, live ? STYLE_ACCENT : STYLE_DIM,
		    ALIGN_RIGHT, CUT_START);
	free(command);
}

/* Label and value, and two blanks; what has no room is left out, with all after it. */
static int put_number(struct canvas *c, int col, const char *label, const char *value,
		      enum style style)
{
	if (col + canvas_columns(label) + canvas_columns(value) > c->cols)
		return c->cols + 1;
	col += canvas_put(c, 1, col, label, STYLE_DIM);
	col += canvas_put(c, 1, col, value, style);
	return col + 2;
}

static void put_live(const struct heap_totals *t, bool counted, char *text, size_t size)
{
	char a[FORMAT_MAX], b[FORMAT_MAX];

	if (counted)
		snprintf(text, size, "%s of %s acquired", format_count(a, t->live_blocks),
			 format_count(b, t->alloc_calls));
	else
		snprintf(text, size, "%s in %s block%s", format_bytes(a, t->live_bytes),
			 format_count(b, t->live_blocks), t->live_blocks == 1 ? "" : "s");
}

static void draw_numbers(struct ui *u, struct canvas *c)
{
	bool counted = history_is_counted(u->history), has_bytes;
	char a[FORMAT_MAX], text[4 * FORMAT_MAX];
	struct analysis all;
	struct small small;
	uint64_t lost = lost_events(history_catalog(u->history)), rss = timeline_rss_at(u);
	int col = 1;

	history_analysis(u->history, GROUP_THREAD, false, &all);
	has_bytes = !counted || all.totals.allocated_bytes;
	if (history_progress(u->history) < 1) {
		snprintf(text, sizeof(text), "%.0f %%", 100 * history_progress(u->history));
		col = put_number(c, col, "reading ", text, STYLE_ACCENT);
	}
	if (layers_are_several(u))
		col = put_number(c, col, "Layer ", layers_name(u), STYLE_ACCENT);
	put_live(&all.totals, counted, text, sizeof(text));
	col = put_number(c, col, "Live ", text, STYLE_STRONG);
	if (has_bytes)
		col = put_number(c, col, "Peak ", format_bytes(a, all.totals.peak_bytes),
				 STYLE_TEXT);
	if (lost)
		col = put_number(c, col, "Lost ", format_count(a, lost), STYLE_BAD);
	if (!history_layer(u->history) && small_read(history_catalog(u->history), &small))
		col = put_number(c, col, "Small ", format_bytes(a, small.live_bytes), STYLE_TEXT);
	if (has_bytes)
		col = put_number(c, col, "Allocated ", format_bytes(a, all.totals.allocated_bytes),
				 STYLE_TEXT);
	if (!counted)
		col = put_number(c, col, "Calls ", format_count(a, all.totals.alloc_calls),
				 STYLE_TEXT);
	if (rss)
		col = put_number(c, col, "RSS ", format_bytes(a, rss), STYLE_TEXT);
	if (!lost)
		put_number(c, col, "Lost ", "0", STYLE_DIM);
}

/* Of a name, if the others have at most @most: that of the view that is shown is whole. */
static int name_columns(const struct ui *u, int view, int most)
{
	int columns = (int)strlen(views[view].name);

	return columns > most && u->pages[0] != &u->roots[view] ? most : columns;
}

/* Columns of all names, with @gap blanks between them. */
static int all_views_width(const struct ui *u, int most, int gap)
{
	int all = 0;

	for (int i = 0; i < ROOT_VIEWS; i++)
		all += name_columns(u, i, most) + 2 + gap;
	return all;
}

#define NAME_COLUMNS_MIN 4 /* what is shorter says nothing */

/*
 * On narrow screens there is one blank between them, then long names are cut, or there is but
 * that of the view that is shown.
 */
static int view_width(const struct ui *u, int view)
{
	if (all_views_width(u, INT_MAX, 2) < u->cols)
		return name_columns(u, view, INT_MAX) + 4;
	if (all_views_width(u, INT_MAX, 1) < u->cols)
		return name_columns(u, view, INT_MAX) + 3;
	for (int most = 16; most >= NAME_COLUMNS_MIN; most--)
		if (all_views_width(u, most, 1) < u->cols)
			return name_columns(u, view, most) + 3;
	return u->pages[0] == &u->roots[view] ? name_columns(u, view, INT_MAX) + 3 : 2;
}

int ui_view_at(const struct ui *u, int col)
{
	int at = 1;

	for (int i = 0; i < ROOT_VIEWS; i++) {
		if (col >= at && col < at + view_width(u, i) - 1)
			return i;
		at += view_width(u, i);
	}
	return -1;
}

static void draw_views(struct ui *u, struct canvas *c)
{
	int col = 1;

	for (int i = 0; i < ROOT_VIEWS; i++) {
		int width = view_width(u, i);
		bool is_shown = u->pages[0] == &u->roots[i];
		char text[32];

		snprintf(text, sizeof(text), width > 2 ? "%d %.*s" : "%d", (i + 1) % 10,
			 width - 3, views[i].name);
		canvas_text(c, 2, col, width - 1, text, is_shown ? STYLE_ACCENT : STYLE_DIM,
			    ALIGN_LEFT, CUT_END);
		if (is_shown)
			canvas_select(c, 2, col, canvas_columns(text) < width
							 ? canvas_columns(text) : width - 1);
		col += width;
	}
}

/* ---- the foot ----------------------------------------------------------------------- */

static const struct key *bar_key(size_t n)
{
	for (size_t i = 0; i < n_keys; i++)
		if (keys[i].label && !n--)
			return &keys[i];
	return NULL;
}

static int bar_width(const struct key *k)
{
	char name[16];

	return canvas_columns(input_name(name, k->keys[0])) + canvas_columns(k->label) + 1;
}

const struct key *ui_key_at(const struct ui *u, int col)
{
	const struct key *k;
	int at = 0;

	(void)u;
	for (size_t i = 0; (k = bar_key(i)); i++) {
		if (col >= at && col < at + bar_width(k))
			return k;
		at += bar_width(k);
	}
	return NULL;
}

static void draw_bar(struct ui *u, struct canvas *c, int row)
{
	const struct key *k;
	int col = 0;

	for (size_t i = 0; (k = bar_key(i)) && col < c->cols; i++) {
		bool useful = !k->is_useful || k->is_useful(u);
		char name[16];

		col += canvas_put(c, row, col, input_name(name, k->keys[0]), STYLE_KEY);
		col += canvas_put(c, row, col, k->label, useful ? STYLE_KEY_TEXT : STYLE_DIM);
		col += canvas_put(c, row, col, " ", STYLE_TEXT);
	}
}

static void draw_status(struct ui *u, struct canvas *c, int row, int *ret_col)
{
	struct page *p = ui_page(u);
	char text[512], at[FORMAT_MAX], n[FORMAT_MAX];
	int col = 1;

	if (u->prompt) {
		col += canvas_put(c, row, col, prompt_label(u->prompt), STYLE_ACCENT);
		col += canvas_put(c, row, col, u->text, STYLE_TEXT);
		*ret_col = col < c->cols ? col : c->cols - 1;
		return;
	}
	if (u->read_failed || u->message[0]) {
		snprintf(text, sizeof(text), "%s", u->read_failed ? u->read_err.what : u->message);
		canvas_text(c, row, 1, c->cols - 2, text,
			    u->read_failed || u->message_is_bad ? STYLE_BAD : STYLE_ACCENT,
			    ALIGN_LEFT, CUT_MIDDLE);
		return;
	}
	if (p->state.n_shown && p->view != VIEW_FLAME && p->view != VIEW_MAP)
		snprintf(text, sizeof(text), "%s of %s%s%s%s%s",
			 format_count(at, p->state.cursor + 1), format_count(n, p->state.n_shown),
			 p->state.filter[0] ? "  filter: " : "", p->state.filter,
			 p->state.search[0] ? "  search: " : "", p->state.search);
	else
		snprintf(text, sizeof(text), "%s%s%s", p->state.filter[0] ? "filter: " : "",
			 p->state.filter, p->state.search);
	canvas_text(c, row, 1, c->cols - 2, text, STYLE_DIM, ALIGN_LEFT, CUT_END);
}

/* ---- the page ----------------------------------------------------------------------- */

/* What is shown, and of what. */
static void draw_page_title(struct ui *u, struct page *p, struct canvas *c, int row)
{
	char *of = scope_text(u, &p->scope), *text;

	text = p->scope.kind == SCOPE_ALL ? xstrdup(views[p->view].title)
					  : xasprintf("%s: %s", views[p->view].title, of);
	canvas_text(c, row, 1, c->cols - 2, text, STYLE_STRONG, ALIGN_LEFT, CUT_MIDDLE);
	free(text);
	free(of);
}

/* That blocks were counted only; false where none were. */
static bool draw_small(const struct ui *u, struct canvas *c, int row)
{
	struct small small;
	char *text;

	if (history_layer(u->history) || !small_read(history_catalog(u->history), &small))
		return false;
	text = small_text(&small);
	canvas_text(c, row, 1, c->cols - 2, text, STYLE_TEXT, ALIGN_LEFT, CUT_END);
	free(text);
	return true;
}

/* That events were dropped; false where none were. */
static bool draw_dropped(const struct ui *u, struct canvas *c, int row)
{
	struct dropped dropped;
	char *text = layers_note(u);

	if (!text && !dropped_read(history_catalog(u->history), &dropped))
		return false;
	if (!text)
		text = dropped_text(&dropped);
	canvas_text(c, row, 1, c->cols - 2, text, STYLE_TEXT, ALIGN_LEFT, CUT_END);
	free(text);
	return true;
}

static void draw_page(struct ui *u, struct page *p, struct canvas *c, struct box b)
{
	if (views[p->view].title) {
		draw_page_title(u, p, c, b.row);
		b.row++;
		b.rows--;
	}
	if (p->note) {
		canvas_text(c, b.row, 1, c->cols - 2, p->note, STYLE_BAD, ALIGN_LEFT, CUT_MIDDLE);
		b.row++;
		b.rows--;
	}
	if (p->view == VIEW_OVERVIEW && draw_small(u, c, b.row)) {
		b.row++;
		b.rows--;
	}
	if (p->view == VIEW_OVERVIEW && draw_dropped(u, c, b.row)) {
		b.row++;
		b.rows--;
	}
	if (p->view == VIEW_OVERVIEW) {
		int rows = b.rows >= 12 ? b.rows / 2 : b.rows >= 8 ? 4 : 0;

		timeline_draw_large(u, c, (struct box){b.row, 1, rows, b.cols - 2});
		b.row += rows;
		b.rows -= rows;
	}
	if (p->view == VIEW_FRAG) {
		int rows = frag_draw_head(u, c, (struct box){b.row, 1, b.rows, b.cols - 2});

		b.row += rows;
		b.rows -= rows;
	}
	p->box = (struct box){b.row, b.col + 1, b.rows, b.cols - 2};
	if (p->view == VIEW_FLAME)
		flame_draw(u, p, c, p->box);
	else if (p->view == VIEW_MAP)
		heap_map_draw(u, p, c, p->box);
	else
		table_draw(&p->table, &p->state, c, p->box);
}

void ui_draw(struct ui *u, struct canvas *c, int *ret_row, int *ret_col)
{
	struct page *p = ui_page(u);
	int time = c->rows >= ROWS_FOR_TIME && p->view != VIEW_OVERVIEW ? TIME_ROWS : 0;
	int rows = c->rows - HEAD_ROWS - FOOT_ROWS - time;

	u->rows = c->rows;
	u->cols = c->cols;
	u->time_box = (struct box){0};
	canvas_clear(c);
	timeline_keep_up(u);
	page_make(u, p);
	draw_title(u, c);
	draw_numbers(u, c);
	draw_views(u, c);
	if (rows > 0)
		draw_page(u, p, c, (struct box){HEAD_ROWS, 0, rows, c->cols});
	if (time)
		timeline_draw(u, c, (struct box){c->rows - FOOT_ROWS - time, 1, time, c->cols - 2});
	*ret_row = *ret_col = -1;
	draw_status(u, c, c->rows - 2, ret_col);
	if (*ret_col >= 0)
		*ret_row = c->rows - 2;
	draw_bar(u, c, c->rows - 1);
	u->is_changed = false;
}
