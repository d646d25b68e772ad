/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/table.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"

#define TEXT_COLUMNS 28

void table_release(struct table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->rows[i].text);
		free(t->rows[i].detail);
	}
	free(t->rows);
	memset(t, 0, sizeof(*t));
}

void table_expect(struct table *t, size_t n)
{
	if (n)
		ARRAY_GROW(t->rows, t->cap, n - 1);
}

struct table_row *table_add(struct table *t, char *text)
{
	struct table_row *r;

	ARRAY_GROW(t->rows, t->cap, t->n);
	r = &t->rows[t->n++];
	memset(r, 0, sizeof(*r));
	for (size_t i = 0; i < TABLE_COLUMNS_MAX; i++)
		r->values[i] = TABLE_NO_VALUE;
	r->text = text;
	return r;
}

void table_state_release(struct table_state *s)
{
	free(s->shown);
	s->shown = NULL;
	s->n_shown = s->cap_shown = 0;
}

bool text_has(const char *text, const char *what)
{
	return !*what || strcasestr(text, what);
}

static const char *text_of(const struct table *t, struct table_row *r)
{
	if (!r->text)
		r->text = t->make_text(t->text_arg, r);
	return r->text;
}

/* The word in that column, or NULL. */
static const char *word_of(const struct table *t, const struct table_row *r, size_t column)
{
	const struct column *k = &t->columns[column];

	return k->kind == COLUMN_WORD && r->values[column] != TABLE_NO_VALUE
		       ? k->words[r->values[column]]
		       : NULL;
}

static bool row_has(const struct table *t, struct table_row *r, const char *what)
{
	if (!*what)
		return true;
	for (size_t i = 0; i < t->n_columns; i++)
		if (word_of(t, r, i) && text_has(word_of(t, r, i), what))
			return true;
	return text_has(text_of(t, r), what) || (r->detail && text_has(r->detail, what));
}

/* ---- the order ---------------------------------------------------------------------- */

struct order {
	const struct table *table;
	const struct table_state *state;
};

static int compare_values(uint64_t x, uint64_t y)
{
	/* what has none comes last */
	if (x == TABLE_NO_VALUE || y == TABLE_NO_VALUE)
		return (x == TABLE_NO_VALUE) - (y == TABLE_NO_VALUE);
	return x < y ? 1 : x > y ? -1 : 0;
}

static int by_order(const void *a, const void *b, void *arg)
{
	const struct order *o = arg;
	struct table_row *x = &o->table->rows[*(const uint32_t *)a];
	struct table_row *y = &o->table->rows[*(const uint32_t *)b];
	int r = 0;

	if (o->state->sort >= 0)
		r = compare_values(x->values[o->state->sort], y->values[o->state->sort]);
	else
		r = strcmp(text_of(o->table, x), text_of(o->table, y));
	if (o->state->reverse)
		r = -r;
	if (!r)
		r = strcmp(text_of(o->table, x), text_of(o->table, y));
	return r ? r : x < y ? -1 : x > y;
}

/* A row by a number, of which the smallest comes first. */
struct numbered {
	uint64_t number;
	uint32_t row;
};

/* Digit by digit: those with equal numbers stay in their order.  @other: as much room. */
static void sort_numbered(struct numbered *list, struct numbered *other, size_t n)
{
	struct numbered *from = list, *to = other, *last;
	uint64_t differ = 0;
	bool is_sorted = true;

	for (size_t i = 1; i < n; i++) {
		differ |= list[i].number ^ list[0].number;
		is_sorted = is_sorted && list[i - 1].number <= list[i].number;
	}
	for (unsigned int shift = 0; shift < 64 && !is_sorted; shift += 8) {
		size_t ends[256] = {0}, before = 0;

		if (!(differ >> shift & 0xff))
			continue;
		for (size_t i = 0; i < n; i++)
			ends[from[i].number >> shift & 0xff]++;
		for (size_t i = 0; i < COUNT_OF(ends); i++) {
			size_t here = ends[i];

			ends[i] = before;
			before += here;
		}
		for (size_t i = 0; i < n; i++)
			to[ends[from[i].number >> shift & 0xff]++] = from[i];
		last = from;
		from = to;
		to = last;
	}
	if (from != list)
		memcpy(list, from, n * sizeof(*list));
}

/* Without a look at any name. */
static void sort_by_values(const struct table *t, struct table_state *s)
{
	struct numbered *list = xmalloc(2 * s->n_shown * sizeof(*list));

	for (size_t i = 0; i < s->n_shown; i++)
		list[i] = (struct numbered){t->rows[s->shown[i]].key, s->shown[i]};
	sort_numbered(list, list + s->n_shown, s->n_shown);
	for (size_t i = 0; i < s->n_shown; i++) {
		uint64_t value = t->rows[list[i].row].values[s->sort];

		/* the largest first, what has none last */
		value = value == TABLE_NO_VALUE ? UINT64_MAX : ~value - 1;
		list[i].number = s->reverse ? ~value : value;
	}
	sort_numbered(list, list + s->n_shown, s->n_shown);
	for (size_t i = 0; i < s->n_shown; i++)
		s->shown[i] = list[i].row;
	free(list);
}

static void sort_rows(const struct table *t, struct table_state *s)
{
	struct order o = {t, s};

	if (t->make_text && s->sort >= 0)
		sort_by_values(t, s);
	else
		qsort_r(s->shown, s->n_shown, sizeof(*s->shown), by_order, &o);
}

void table_arrange(struct table *t, struct table_state *s)
{
	size_t line = s->cursor >= s->top ? s->cursor - s->top : 0;

	s->n_shown = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (!row_has(t, &t->rows[i], s->filter))
			continue;
		ARRAY_GROW(s->shown, s->cap_shown, s->n_shown);
		s->shown[s->n_shown++] = (uint32_t)i;
	}
	if (!t->is_ordered && !t->keeps_order && s->n_shown)
		sort_rows(t, s);
	if (s->cursor >= s->n_shown)
		s->cursor = s->n_shown ? s->n_shown - 1 : 0;
	if (!s->has_key)
		return;
	for (size_t i = 0; i < s->n_shown; i++)
		if (t->rows[s->shown[i]].key == s->cursor_key) {
			/* it stays at the same line, if it can */
			s->top = i > line ? i - line : 0;
			s->cursor = i;
			return;
		}
	s->has_key = false;
}

const struct table_row *table_at_cursor(const struct table *t, const struct table_state *s)
{
	return s->cursor < s->n_shown ? &t->rows[s->shown[s->cursor]] : NULL;
}

void table_move_to(const struct table *t, struct table_state *s, size_t place)
{
	s->cursor = place < s->n_shown ? place : s->n_shown ? s->n_shown - 1 : 0;
	/* at the top one wants to see what comes up */
	s->has_key = s->cursor > 0;
	if (s->has_key)
		s->cursor_key = t->rows[s->shown[s->cursor]].key;
}

void table_move(const struct table *t, struct table_state *s, long by)
{
	if (by < 0 && s->cursor < (size_t)-by)
		table_move_to(t, s, 0);
	else
		table_move_to(t, s, s->cursor + (size_t)by);
}

bool table_search(const struct table *t, struct table_state *s, bool backwards, bool here)
{
	for (size_t i = here ? 0 : 1; i <= s->n_shown && s->search[0] && s->n_shown; i++) {
		size_t at = (backwards ? s->cursor + s->n_shown - i % s->n_shown : s->cursor + i) %
			    s->n_shown;
		struct table_row *r = &t->rows[s->shown[at]];

		if (!row_has(t, r, s->search))
			continue;
		table_move_to(t, s, at);
		return true;
	}
	return false;
}

/* ---- drawing ------------------------------------------------------------------------ */

/* Which columns there is room for, and where the name begins. */
bool table_has_column(const struct table *t, int column)
{
	return !(t->hidden >> column & 1);
}

struct layout {
	bool is_shown[TABLE_COLUMNS_MAX];
	int text_col;
};

static struct layout lay_out(const struct table *t, int cols)
{
	struct layout l = {{false}, 1};
	int wanted = t->text_columns ? t->text_columns : TEXT_COLUMNS;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!table_has_column(t, (int)i))
			continue;
		l.is_shown[i] = true;
		l.text_col += t->columns[i].width + 1;
	}
	while (cols - l.text_col < wanted) {
		int worst = -1;

		for (size_t i = 0; i < t->n_columns; i++)
			if (l.is_shown[i] && t->columns[i].rank &&
			    (worst < 0 || t->columns[i].rank > t->columns[worst].rank))
				worst = (int)i;
		if (worst < 0)
			break;
		l.is_shown[worst] = false;
		l.text_col -= t->columns[worst].width + 1;
	}
	return l;
}

/* The column whose shares are shown; -1: none has any. */
static int share_of(const struct table *t, const struct table_state *s)
{
	if (s->sort >= 0 && t->totals[s->sort])
		return s->sort;
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->totals[i])
			return (int)i;
	return -1;
}

static void draw_share(const struct table *t, const struct table_row *r, int of, struct canvas *c,
		       int row, int col, int width)
{
	uint64_t value = of < 0 ? TABLE_NO_VALUE : r->values[of];
	char text[FORMAT_MAX];
	double share;
	int bar = width - 6;

	if (value == TABLE_NO_VALUE)
		return;
	share = (double)value / (double)t->totals[of];
	if (share > 1)
		share = 1;
	snprintf(text, sizeof(text), "%5.1f", 100 * share);
	canvas_text(c, row, col, 5, text, STYLE_TEXT, ALIGN_RIGHT, CUT_END);
	if (bar > 0)
		canvas_bar(c, row, col + 6, bar, share, STYLE_ACCENT);
}

static const char *value_text(char *buf, enum column_kind kind, uint64_t value)
{
	switch (kind) {
	case COLUMN_BYTES:
		return format_bytes(buf, value);
	case COLUMN_COUNT:
		return format_count(buf, value);
	case COLUMN_TIME:
		return format_duration(buf, value);
	case COLUMN_NUMBER:
		snprintf(buf, FORMAT_MAX, "%" PRIu64, value);
		break;
	case COLUMN_ADDRESS:
		snprintf(buf, FORMAT_MAX, "0x%" PRIx64, value);
		break;
	case COLUMN_SHARE:
	case COLUMN_WORD:
		break;
	}
	return buf;
}

static void draw_heads(const struct table *t, const struct table_state *s, const struct layout *l,
		       struct canvas *c, struct box b)
{
	int col = b.col, text_col = b.col + l->text_col;

	canvas_fill(c, b.row, b.col, b.cols, " ", STYLE_HEAD);
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct column *k = &t->columns[i];
		bool sorted = !t->is_ordered && s->sort == (int)i;
		char title[32];

		if (!l->is_shown[i])
			continue;
		snprintf(title, sizeof(title), "%s%s", k->title,
			 sorted ? s->reverse ? "▲" : "▼" : "");
		canvas_text(c, b.row, col, k->width, title, sorted ? STYLE_HEAD_SORT : STYLE_HEAD,
			    k->kind == COLUMN_SHARE || k->kind == COLUMN_WORD ? ALIGN_LEFT
									      : ALIGN_RIGHT,
			    CUT_END);
		col += k->width + 1;
	}
	if (!t->is_ordered && s->sort == TABLE_SORT_TEXT) {
		text_col += canvas_put(c, b.row, text_col, t->text_title, STYLE_HEAD_SORT);
		canvas_put(c, b.row, text_col, s->reverse ? "▼" : "▲", STYLE_HEAD_SORT);
	} else {
		canvas_text(c, b.row, text_col, b.cols - l->text_col, t->text_title, STYLE_HEAD,
			    ALIGN_LEFT, CUT_END);
	}
}

static void draw_name(const struct table *t, struct table_row *r, struct canvas *c, int row,
		      int col, int width)
{
	const char *text = text_of(t, r);
	int indent = r->depth * 2, used, detail;

	if (r->depth || r->has_children) {
		if (indent > width / 2) /* deep down the name matters more */
			indent = width / 2;
		canvas_put(c, row, col + indent,
			   r->has_children ? r->is_open ? "▾ " : "▸ " : "  ", STYLE_DIM);
		indent += 2;
	}
	col += indent;
	width -= indent;
	if (width <= 0)
		return;
	used = canvas_columns(text);
	if (used > width)
		used = width;
	canvas_text(c, row, col, used, text, (enum style)r->style, ALIGN_LEFT, CUT_END);
	detail = r->detail ? canvas_columns(r->detail) : 0;
	if (detail && width - used - 2 >= (detail < 10 ? detail : 10))
		canvas_text(c, row, col + used + 2, width - used - 2, r->detail, STYLE_DIM,
			    ALIGN_LEFT, CUT_MIDDLE);
}

static void draw_row(const struct table *t, struct table_row *r, int share,
		     const struct layout *l, struct canvas *c, struct box b, int row)
{
	char buf[FORMAT_MAX];
	int col = b.col;

	for (size_t i = 0; i < t->n_columns; i++) {
		const struct column *k = &t->columns[i];
		uint64_t v = r->values[i];

		if (!l->is_shown[i])
			continue;
		if (k->kind == COLUMN_SHARE)
			draw_share(t, r, share, c, row, col, k->width);
		else if (word_of(t, r, i))
			canvas_text(c, row, col, k->width, word_of(t, r, i), STYLE_TEXT,
				    ALIGN_LEFT, CUT_END);
		else if (v != TABLE_NO_VALUE)
			canvas_text(c, row, col, k->width, value_text(buf, k->kind, v),
				    v ? STYLE_TEXT : STYLE_DIM, ALIGN_RIGHT, CUT_START);
		col += k->width + 1;
	}
	draw_name(t, r, c, row, b.col + l->text_col, b.cols - l->text_col);
}

void table_draw(const struct table *t, struct table_state *s, struct canvas *c, struct box b)
{
	struct layout l = lay_out(t, b.cols);
	size_t lines = b.rows > 1 ? (size_t)b.rows - 1 : 0;

	if (!lines)
		return;
	draw_heads(t, s, &l, c, b);
	if (s->cursor < s->top)
		s->top = s->cursor;
	if (s->cursor >= s->top + lines)
		s->top = s->cursor + 1 - lines;
	if (s->n_shown <= lines)
		s->top = 0;
	else if (s->top > s->n_shown - lines)
		s->top = s->n_shown - lines;
	for (size_t i = 0; i < lines && s->top + i < s->n_shown; i++) {
		int row = b.row + 1 + (int)i;

		draw_row(t, &t->rows[s->shown[s->top + i]], share_of(t, s), &l, c, b, row);
		if (s->search[0])
			canvas_mark(c, row, b.col + l.text_col, b.cols - l.text_col, s->search);
		if (s->top + i == s->cursor)
			canvas_select(c, row, b.col, b.cols);
	}
	if (!s->n_shown)
		canvas_text(c, b.row + 2, b.col + 2, b.cols - 4,
			    t->n ? "nothing here matches the filter" : t->empty ? t->empty : "",
			    STYLE_DIM, ALIGN_LEFT, CUT_END);
}

bool table_place_at(const struct table_state *s, struct box b, int row, size_t *ret_place)
{
	size_t place;

	if (row <= b.row || row >= b.row + b.rows)
		return false;
	place = s->top + (size_t)(row - b.row - 1);
	if (place >= s->n_shown)
		return false;
	*ret_place = place;
	return true;
}

bool table_column_at(const struct table *t, struct box b, int col, int *ret_column)
{
	struct layout l = lay_out(t, b.cols);
	int at = b.col;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!l.is_shown[i])
			continue;
		if (col >= at && col <= at + t->columns[i].width) {
			*ret_column = (int)i;
			return true;
		}
		at += t->columns[i].width + 1;
	}
	*ret_column = TABLE_SORT_TEXT;
	return col >= b.col + l.text_col;
}

/* ---- CSV ---------------------------------------------------------------------------- */

static void put_field(struct buffer *b, const char *text)
{
	bool quote = text[strcspn(text, "\",\r\n")] != '\0';

	if (quote)
		buffer_append(b, "\"", 1);
	for (; *text; text++) {
		if (*text == '"')
			buffer_append(b, "\"", 1);
		buffer_append(b, text, 1);
	}
	if (quote)
		buffer_append(b, "\"", 1);
}

static void put_csv_row(const struct table *t, struct table_row *r, struct buffer *b)
{
	char number[32];

	for (size_t i = 0; i < t->n_columns; i++) {
		uint64_t v = r ? r->values[i] : 0;

		if (t->columns[i].kind == COLUMN_SHARE || !table_has_column(t, (int)i))
			continue;
		snprintf(number, sizeof(number),
			 t->columns[i].kind == COLUMN_ADDRESS ? "0x%" PRIx64 : "%" PRIu64, v);
		if (!r)
			put_field(b, t->columns[i].title);
		else if (v != TABLE_NO_VALUE)
			put_field(b, word_of(t, r, i) ? word_of(t, r, i) : number);
		buffer_append(b, ",", 1);
	}
	put_field(b, r ? text_of(t, r) : t->text_title);
	buffer_append(b, ",", 1);
	put_field(b, r ? r->detail ? r->detail : "" : "DETAIL");
	buffer_append(b, "\r\n", 2);
}

char *table_csv(const struct table *t, const struct table_state *s)
{
	struct buffer b = {0};

	put_csv_row(t, NULL, &b);
	for (size_t i = 0; i < s->n_shown; i++)
		put_csv_row(t, &t->rows[s->shown[i]], &b);
	buffer_append(&b, "", 1);
	return (char *)b.data;
}
