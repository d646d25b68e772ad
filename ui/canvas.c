/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/canvas.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "common/buffer.h"
#include "common/xalloc.h"
#include "ui/glyph.h"

/*
 * A wide character is two cells, its text in the left one and "" in the right one.
 * Whatever changes one half takes care of the other, so that no cell is ever half a
 * character.  What is behind the end of a cell's text is 0: cells compare with memcmp().
 */

static const struct cell blank_cell = {.text = " "};

void canvas_init(struct canvas *c, int rows, int cols, bool ascii)
{
	*c = (struct canvas){.ascii = ascii};
	canvas_resize(c, rows, cols);
}

void canvas_release(struct canvas *c)
{
	if (!c)
		return;
	free(c->cells);
	*c = (struct canvas){0};
}

void canvas_resize(struct canvas *c, int rows, int cols)
{
	free(c->cells);
	c->rows = rows > 0 ? rows : 0;
	c->cols = cols > 0 ? cols : 0;
	c->cells = xcalloc((size_t)c->rows * (size_t)c->cols, sizeof(*c->cells));
	canvas_clear(c);
}

void canvas_clear(struct canvas *c)
{
	size_t n = (size_t)c->rows * (size_t)c->cols;

	for (size_t i = 0; i < n; i++)
		c->cells[i] = blank_cell;
}

static struct cell *row_cells(const struct canvas *c, int row)
{
	return row >= 0 && row < c->rows ? c->cells + (size_t)row * (size_t)c->cols : NULL;
}

/* Columns @*ret_from to @*ret_to of the canvas are what is seen of @width ones from @col on. */
static void clip(const struct canvas *c, int col, int width, int *ret_from, int *ret_to)
{
	long to = (long)col + (width > 0 ? width : 0);

	*ret_from = col > 0 ? col : 0;
	*ret_to = (int)(to < c->cols ? to : c->cols);
}

static bool is_right_half(const struct cell *cell)
{
	return !cell->text[0];
}

/* The cells [from, to) are about to be written: what hangs over their ends becomes blank. */
static void separate(const struct canvas *c, struct cell *cells, int from, int to)
{
	if (is_right_half(&cells[from]))
		memcpy(cells[from - 1].text, blank_cell.text, CELL_BYTES);
	if (to < c->cols && is_right_half(&cells[to]))
		memcpy(cells[to].text, blank_cell.text, CELL_BYTES);
}

static void set_cell(struct cell *cell, const char *text, enum style style)
{
	*cell = (struct cell){.style = (uint8_t)style};
	memcpy(cell->text, text, strnlen(text, CELL_BYTES - 1));
}

/* @g at a column that may be outside; what is half outside of [0, @limit) becomes blank. */
static void put_glyph(struct canvas *c, int row, int col, int limit, const struct glyph *g,
		      enum style style)
{
	struct cell *cells = row_cells(c, row);
	int from, to;

	if (limit > c->cols)
		limit = c->cols;
	from = col > 0 ? col : 0;
	to = col + g->columns < limit ? col + g->columns : limit;
	if (!cells || from >= to)
		return;
	separate(c, cells, from, to);
	if (to - from < g->columns) {
		set_cell(&cells[from], " ", style);
		return;
	}
	set_cell(&cells[from], g->text, style);
	if (g->columns == 2) /* in ASCII that is "??" */
		set_cell(&cells[from + 1], c->ascii ? g->text : "", style);
}

static void put_blanks(struct canvas *c, int row, int col, int width, enum style style)
{
	struct cell *cells = row_cells(c, row);
	int from, to;

	clip(c, col, width, &from, &to);
	if (!cells || from >= to)
		return;
	separate(c, cells, from, to);
	for (int i = from; i < to; i++)
		set_cell(&cells[i], " ", style);
}

/* ---- text --------------------------------------------------------------------------- */

int canvas_columns(const char *text)
{
	struct glyph g;
	int n = 0;

	while (*text) {
		text = glyph_next(text, false, &g);
		n += g.columns;
	}
	return n;
}

/* The longest beginning of at most @width columns, which are added to *@columns; where it ends. */
static const char *take(const char *text, int width, int *columns)
{
	struct glyph g;
	int n = 0;

	while (*text) {
		const char *next = glyph_next(text, false, &g);

		if (n + g.columns > width)
			break;
		n += g.columns;
		text = next;
	}
	*columns += n;
	return text;
}

/* The longest end of at most @width columns of a text of @total ones; where it begins. */
static const char *take_end(const char *text, int total, int width, int *columns)
{
	struct glyph g;

	while (*text && total > width) {
		text = glyph_next(text, false, &g);
		total -= g.columns;
	}
	*columns += total;
	return text;
}

/* Up to @end; returns the column behind it. */
static int put_range(struct canvas *c, int row, int col, const char *text, const char *end,
		     enum style style)
{
	struct glyph g;

	while (text < end && col < c->cols) {
		text = glyph_next(text, c->ascii, &g);
		put_glyph(c, row, col, c->cols, &g, style);
		col += g.columns;
	}
	return col;
}

void canvas_text(struct canvas *c, int row, int col, int width, const char *text, enum style style,
		 enum align align, enum cut cut)
{
	const char *head_end, *tail, *end = text + strlen(text);
	int total = canvas_columns(text), columns, at;

	if (width <= 0)
		return;
	if (total <= width) {
		head_end = tail = end;
		columns = total;
	} else {
		int left = width - 1; /* of the mark */
		int head = cut == CUT_END ? left : cut == CUT_START ? 0 : (left + 1) / 2;

		columns = 1;
		head_end = take(text, head, &columns);
		tail = cut == CUT_END ? end : take_end(text, total, width - columns, &columns);
	}
	put_blanks(c, row, col, width, style);
	at = align == ALIGN_LEFT ? col : col + width - columns;
	at = put_range(c, row, at, text, head_end, style);
	if (total > width) {
		struct glyph mark;

		glyph_next("…", c->ascii, &mark);
		put_glyph(c, row, at, c->cols, &mark, style);
		put_range(c, row, at + 1, tail, end, style);
	}
}

int canvas_put(struct canvas *c, int row, int col, const char *text, enum style style)
{
	int end = put_range(c, row, col, text, text + strlen(text), style);

	if (end > c->cols)
		end = c->cols > col ? c->cols : col;
	return end - col;
}

void canvas_fill(struct canvas *c, int row, int col, int width, const char *character,
		 enum style style)
{
	struct glyph g;
	int from, to;

	glyph_next(character, c->ascii, &g);
	if (!g.columns)
		return;
	clip(c, col, width, &from, &to);
	for (int i = from; i < to; i += g.columns)
		put_glyph(c, row, i, to, &g, style);
}

/* ---- what is there already ---------------------------------------------------------- */

/* Of @width columns the cells whose characters begin in them: halves stay together. */
static struct cell *whole_cells(const struct canvas *c, int row, int col, int width, int *ret_n)
{
	struct cell *cells = row_cells(c, row);
	int from, to;

	clip(c, col, width, &from, &to);
	*ret_n = 0;
	if (!cells || from >= to)
		return NULL;
	if (is_right_half(&cells[from]))
		from++;
	if (to < c->cols && is_right_half(&cells[to]))
		to++;
	*ret_n = to - from;
	return cells + from;
}

void canvas_set_style(struct canvas *c, int row, int col, int width, enum style style)
{
	int n;
	struct cell *cells = whole_cells(c, row, col, width, &n);

	for (int i = 0; i < n; i++)
		cells[i].style = (uint8_t)style;
}

void canvas_select(struct canvas *c, int row, int col, int width)
{
	int n;
	struct cell *cells = whole_cells(c, row, col, width, &n);

	for (int i = 0; i < n; i++)
		cells[i].selected = true;
}

/* The cells that @what takes, if it stands at their beginning; else 0. */
static int match(const struct canvas *c, const struct cell *cells, int n, const char *what)
{
	struct glyph g;
	int at = 0;

	while (*what) {
		what = glyph_next(what, c->ascii, &g);
		if (!g.columns)
			break;
		if (at + g.columns > n || !glyph_is_same(cells[at].text, g.text))
			return 0;
		if (g.columns == 2 && !is_right_half(&cells[at + 1]) &&
		    !(c->ascii && glyph_is_same(cells[at + 1].text, g.text)))
			return 0;
		at += g.columns;
	}
	return at;
}

void canvas_mark(struct canvas *c, int row, int col, int width, const char *what)
{
	int n, len;
	struct cell *cells = whole_cells(c, row, col, width, &n);

	for (int i = 0; i < n; i += len ? len : 1) {
		len = match(c, cells + i, n - i, what);
		for (int k = i; k < i + len; k++)
			cells[k].style = STYLE_MATCH;
	}
}

/* ---- bars and curves ---------------------------------------------------------------- */

/* @share of @whole steps: what is more than nothing is seen. */
static int steps_of(double share, int whole)
{
	if (!(share > 0) || whole <= 0)
		return 0;
	if (share >= 1)
		return whole;
	return share * whole < 1 ? 1 : (int)(share * whole + 0.5);
}

static void put_character(struct canvas *c, int row, int col, const char *text, enum style style)
{
	struct glyph g;

	glyph_next(text, false, &g); /* it is ASCII already where it must be */
	put_glyph(c, row, col, c->cols, &g, style);
}

void canvas_bar(struct canvas *c, int row, int col, int width, double share, enum style style)
{
	static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
	int a_cell = c->ascii ? 1 : 8, from, to;
	int steps = steps_of(share, width > 0 ? width * a_cell : 0);

	clip(c, col, width, &from, &to);
	for (int i = from; i < to; i++) {
		int left = steps - (i - col) * a_cell;

		left = left < 0 ? 0 : left > a_cell ? a_cell : left;
		put_character(c, row, i, c->ascii ? left ? "#" : " " : eighths[left], style);
	}
}

/* The dots of a cell: @left and @right of its four rows are filled, from the bottom. */
static void put_dots(struct canvas *c, int row, int col, int left, int right, enum style style)
{
	static const unsigned char left_dots[] = {0, 0x40, 0x44, 0x46, 0x47};
	static const unsigned char right_dots[] = {0, 0x80, 0xa0, 0xb0, 0xb8};
	static const char *const ascii[] = {" ", ".", ":", ":", "#"};
	unsigned int dots = left_dots[left] | right_dots[right];
	char text[4] = {(char)0xe2, (char)(0xa0 | dots >> 6), (char)(0x80 | (dots & 0x3f)), '\0'};

	if (c->ascii)
		put_character(c, row, col, ascii[left > right ? left : right], style);
	else
		put_character(c, row, col, dots ? text : " ", style);
}

static int in_cell(int level, int cells_below)
{
	level -= cells_below * 4;
	return level < 0 ? 0 : level > 4 ? 4 : level;
}

void canvas_curve(struct canvas *c, int row, int col, int width, int height, const double *values,
		  double max, enum style style)
{
	int from, to;

	clip(c, col, width, &from, &to);
	for (int i = from; i < to && height > 0; i++) {
		const double *v = values + 2 * (size_t)(i - col);
		/* 0 / 0 would be no number */
		int left = steps_of(v[0] > 0 ? v[0] / (max > 0 ? max : INFINITY) : 0, height * 4);
		int right = steps_of(v[1] > 0 ? v[1] / (max > 0 ? max : INFINITY) : 0, height * 4);

		if (v[0] > 0 && !left)
			left = 1;
		if (v[1] > 0 && !right)
			right = 1;
		for (int k = 0; k < height; k++)
			put_dots(c, row + height - 1 - k, i, in_cell(left, k), in_cell(right, k),
				 style);
	}
}

/* ---- as text ------------------------------------------------------------------------ */

char *canvas_dump(const struct canvas *c)
{
	struct buffer b = {0};

	for (int row = 0; row < c->rows; row++) {
		const struct cell *cells = row_cells(c, row);
		int n = c->cols;

		while (n && !strcmp(cells[n - 1].text, " "))
			n--;
		for (int i = 0; i < n; i++)
			buffer_append(&b, cells[i].text, strlen(cells[i].text));
		buffer_append(&b, "\n", 1);
	}
	buffer_append(&b, "", 1);
	return (char *)b.data;
}

char *canvas_dump_styles(const struct canvas *c)
{
	static const char letters[STYLES] = {
		[STYLE_TEXT] = '.',   [STYLE_DIM] = 'd',       [STYLE_STRONG] = 's',
		[STYLE_ACCENT] = 'a', [STYLE_HEAD] = 'h',      [STYLE_HEAD_SORT] = 'o',
		[STYLE_BAD] = 'b',    [STYLE_MATCH] = 'm',     [STYLE_KEY] = 'k',
		[STYLE_KEY_TEXT] = 'e', [STYLE_HEAT_0] = 'w',  [STYLE_HEAT_1] = 'x',
		[STYLE_HEAT_2] = 'y', [STYLE_HEAT_3] = 'z',
	};
	struct buffer b = {0};

	for (int row = 0; row < c->rows; row++) {
		const struct cell *cells = row_cells(c, row);
		int n = c->cols;

		while (n && cells[n - 1].style == STYLE_TEXT && !cells[n - 1].selected)
			n--;
		for (int i = 0; i < n; i++) {
			char letter = letters[cells[i].style];

			if (cells[i].selected) /* "." has no upper case */
				letter = letter == '.' ? 'T' : (char)toupper(letter);
			buffer_append(&b, &letter, 1);
		}
		buffer_append(&b, "\n", 1);
	}
	buffer_append(&b, "", 1);
	return (char *)b.data;
}
