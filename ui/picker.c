/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/picker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "ui/script.h"
#include "ui/table.h"

#define CTRL(letter) ((letter) & 31)
#define LIST_EVERY_NS 2000000000ull
#define HEAD_ROWS 2
#define FOOT_ROWS 2

enum { COLUMN_PID, COLUMN_USER, COLUMN_RSS, COLUMN_ALLOCATOR, COLUMNS };

/* The words of a column, each once; the first of the alphabet last, as tables sort. */
struct words {
	char **items;
	size_t n, cap;
};

struct picker {
	struct picker_options options;
	struct column columns[COLUMNS];
	struct table table;
	struct table_state state;
	struct words users, allocators;
	struct picker_row *rows; /* as they were given; strings owned */
	size_t n_rows, cap_rows;
	struct box box;
	int screen_rows;
	bool is_asking, is_filter; /* for a filter or what to search */
	char before[TABLE_TEXT_MAX];
	char message[512];
	bool is_over;
	int pid;
};

/* ---- the table ---------------------------------------------------------------------- */

static int backwards(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

static void words_add(struct words *w, const char *word)
{
	for (size_t i = 0; i < w->n; i++)
		if (!strcmp(w->items[i], word))
			return;
	ARRAY_GROW(w->items, w->cap, w->n);
	w->items[w->n++] = xstrdup(word);
}

static uint64_t words_find(const struct words *w, const char *word)
{
	for (size_t i = 0; i < w->n; i++)
		if (!strcmp(w->items[i], word))
			return i;
	return TABLE_NO_VALUE;
}

static void words_release(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->items[i]);
	free(w->items);
	*w = (struct words){0};
}

static void forget(struct picker *p)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		free((char *)p->rows[i].user);
		free((char *)p->rows[i].allocator);
		free((char *)p->rows[i].command);
	}
	p->n_rows = 0;
	table_release(&p->table);
	words_release(&p->users);
	words_release(&p->allocators);
}

void picker_add(struct picker *p, const struct picker_row *row)
{
	struct picker_row *r;

	ARRAY_GROW(p->rows, p->cap_rows, p->n_rows);
	r = &p->rows[p->n_rows++];
	*r = *row;
	r->user = xstrdup(row->user);
	r->allocator = xstrdup(row->allocator);
	r->command = xstrdup(row->command);
	words_add(&p->users, row->user);
	words_add(&p->allocators, row->allocator);
}

static void fill(struct picker *p)
{
	struct table *t = &p->table;

	if (p->users.n)
		qsort(p->users.items, p->users.n, sizeof(char *), backwards);
	if (p->allocators.n)
		qsort(p->allocators.items, p->allocators.n, sizeof(char *), backwards);
	p->columns[COLUMN_PID] = (struct column){"PID", COLUMN_NUMBER, 8, 0, NULL};
	p->columns[COLUMN_USER] =
		(struct column){"USER", COLUMN_WORD, 10, 2, (const char *const *)p->users.items};
	p->columns[COLUMN_RSS] = (struct column){"RSS", COLUMN_BYTES, 9, 1, NULL};
	p->columns[COLUMN_ALLOCATOR] = (struct column){
		"ALLOCATOR", COLUMN_WORD, 14, 3, (const char *const *)p->allocators.items};
	t->columns = p->columns;
	t->n_columns = COLUMNS;
	t->text_title = "COMMAND";
	t->text_columns = 16;
	t->empty = "no process is to be seen";
	for (size_t i = 0; i < p->n_rows; i++) {
		const struct picker_row *from = &p->rows[i];
		struct table_row *r = table_add(t, xstrdup(from->command));

		r->values[COLUMN_PID] = (uint64_t)from->pid;
		r->values[COLUMN_RSS] = from->rss_bytes;
		r->values[COLUMN_USER] = words_find(&p->users, from->user);
		r->values[COLUMN_ALLOCATOR] = words_find(&p->allocators, from->allocator);
		r->key = (uint64_t)from->pid;
		r->style = from->is_useless ? STYLE_DIM : STYLE_TEXT;
	}
	table_arrange(t, &p->state);
}

static void list(struct picker *p)
{
	forget(p);
	p->options.list(p->options.arg, p);
	fill(p);
}

struct picker *picker_new(const struct picker_options *o)
{
	struct picker *p = xcalloc(1, sizeof(*p));

	p->options = *o;
	p->state.sort = COLUMN_RSS;
	if (o->error)
		snprintf(p->message, sizeof(p->message), "%s", o->error);
	list(p);
	return p;
}

void picker_free(struct picker *p)
{
	if (!p)
		return;
	forget(p);
	table_state_release(&p->state);
	free(p->rows);
	free(p);
}

bool picker_is_over(const struct picker *p, int *ret_pid)
{
	*ret_pid = p->pid;
	return p->is_over;
}

/* ---- the line one types in ---------------------------------------------------------- */

static char *asked_text(struct picker *p)
{
	return p->is_filter ? p->state.filter : p->state.search;
}

static void ask(struct picker *p, int is_filter)
{
	p->is_asking = true;
	p->is_filter = is_filter;
	snprintf(p->before, sizeof(p->before), "%s", asked_text(p));
	if (!is_filter)
		p->state.search[0] = '\0';
}

static void preview(struct picker *p)
{
	if (p->is_filter)
		table_arrange(&p->table, &p->state);
	else
		table_search(&p->table, &p->state, false, true);
}

static void type(struct picker *p, int key)
{
	char *text = asked_text(p);
	size_t n = strlen(text);

	switch (key) {
	case INPUT_ENTER:
		p->is_asking = false;
		if (!p->is_filter && p->state.search[0] &&
		    !table_search(&p->table, &p->state, false, true))
			snprintf(p->message, sizeof(p->message), "'%s' is not there",
				 p->state.search);
		return;
	case INPUT_ESCAPE:
	case CTRL('C'):
		p->is_asking = false;
		memcpy(text, p->before, sizeof(p->before));
		break;
	case INPUT_BACKSPACE:
	case INPUT_DELETE:
		if (n)
			text[n - 1] = '\0';
		break;
	case CTRL('U'):
		text[0] = '\0';
		break;
	default:
		if (key < ' ' || key >= 127 || n + 1 >= TABLE_TEXT_MAX)
			return;
		text[n] = (char)key;
		text[n + 1] = '\0';
		break;
	}
	preview(p);
}

/* ---- keys --------------------------------------------------------------------------- */

static void move(struct picker *p, int by)
{
	table_move(&p->table, &p->state, by);
}

static void move_pages(struct picker *p, int by)
{
	move(p, by * (p->box.rows > 3 ? p->box.rows - 2 : 1));
}

static void move_to(struct picker *p, int last)
{
	table_move_to(&p->table, &p->state, last ? SIZE_MAX : 0);
}

static void sort(struct picker *p, int by)
{
	int at = p->state.sort + by;

	p->state.sort = at >= COLUMNS ? TABLE_SORT_TEXT : at < TABLE_SORT_TEXT ? COLUMNS - 1 : at;
	table_arrange(&p->table, &p->state);
}

static void reverse(struct picker *p, int arg)
{
	(void)arg;
	p->state.reverse = !p->state.reverse;
	table_arrange(&p->table, &p->state);
}

static void search_next(struct picker *p, int is_backwards)
{
	if (!p->state.search[0])
		ask(p, false);
	else if (!table_search(&p->table, &p->state, is_backwards, false))
		snprintf(p->message, sizeof(p->message), "'%s' is not there", p->state.search);
}

static void choose(struct picker *p, int arg)
{
	const struct table_row *row = table_at_cursor(&p->table, &p->state);

	(void)arg;
	if (!row)
		return;
	p->pid = (int)row->key;
	p->is_over = true;
}

static void back(struct picker *p, int arg)
{
	(void)arg;
	if (p->state.filter[0] || p->state.search[0]) {
		p->state.filter[0] = p->state.search[0] = '\0';
		table_arrange(&p->table, &p->state);
	} else {
		p->is_over = true;
	}
}

static void quit(struct picker *p, int arg)
{
	(void)arg;
	p->is_over = true;
}

static void list_again(struct picker *p, int arg)
{
	(void)arg;
	list(p);
}

static const struct picker_key {
	int keys[3];
	const char *label; /* on the bar at the bottom, or NULL */
	void (*act)(struct picker *p, int arg);
	int arg;
} keys[] = {
	{{INPUT_ENTER}, "Attach", choose, 0},
	{{INPUT_UP, 'k'}, NULL, move, -1},
	{{INPUT_DOWN, 'j'}, NULL, move, 1},
	{{INPUT_PAGE_UP, CTRL('B')}, NULL, move_pages, -1},
	{{INPUT_PAGE_DOWN, CTRL('F')}, NULL, move_pages, 1},
	{{INPUT_WHEEL_UP}, NULL, move, -3},
	{{INPUT_WHEEL_DOWN}, NULL, move, 3},
	{{INPUT_HOME, 'g'}, NULL, move_to, 0},
	{{INPUT_END, 'G'}, NULL, move_to, 1},
	{{INPUT_F3, '/'}, "Search", ask, false},
	{{'n'}, NULL, search_next, false},
	{{'N'}, NULL, search_next, true},
	{{INPUT_F4, '\\'}, "Filter", ask, true},
	{{INPUT_F5, CTRL('L')}, "List anew", list_again, 0},
	{{INPUT_F6, '>'}, "Sort", sort, 1},
	{{'<'}, NULL, sort, -1},
	{{'r'}, NULL, reverse, 0},
	{{INPUT_ESCAPE, INPUT_BACKSPACE}, NULL, back, 0},
	{{INPUT_F10, 'q', 'Q'}, "Quit", quit, 0},
	{{CTRL('C')}, NULL, quit, 0},
};

static int bar_width(const struct picker_key *k)
{
	char name[16];

	return canvas_columns(input_name(name, k->keys[0])) + canvas_columns(k->label) + 1;
}

static void click_bar(struct picker *p, int col)
{
	int at = 0;

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		if (!keys[i].label)
			continue;
		if (col >= at && col < at + bar_width(&keys[i])) {
			keys[i].act(p, keys[i].arg);
			return;
		}
		at += bar_width(&keys[i]);
	}
}

static void click(struct picker *p, const struct input *in)
{
	size_t place;
	int column;

	if (in->row == p->screen_rows - 1) {
		click_bar(p, in->col);
	} else if (table_place_at(&p->state, p->box, in->row, &place)) {
		table_move_to(&p->table, &p->state, place);
		if (in->is_double)
			choose(p, 0);
	} else if (in->row == p->box.row && table_column_at(&p->table, p->box, in->col, &column)) {
		if (p->state.sort == column)
			p->state.reverse = !p->state.reverse;
		p->state.sort = column;
		table_arrange(&p->table, &p->state);
	}
}

void picker_input(struct picker *p, const struct input *in)
{
	if (in->key == INPUT_EOF)
		p->is_over = true;
	if (in->key == INPUT_EOF || in->key == INPUT_RESIZE || in->key == INPUT_NONE)
		return;
	p->message[0] = '\0';
	if (in->key == INPUT_MOUSE) {
		click(p, in);
		return;
	}
	if (p->is_asking) {
		type(p, in->key);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		for (size_t k = 0; k < COUNT_OF(keys[i].keys); k++)
			if (in->key && keys[i].keys[k] == in->key) {
				keys[i].act(p, keys[i].arg);
				return;
			}
}

/* ---- drawing ------------------------------------------------------------------------ */

static void draw_status(struct picker *p, struct canvas *c, int *ret_row, int *ret_col)
{
	int row = c->rows - 2, col = 1;
	char text[TABLE_TEXT_MAX + 80];

	if (p->is_asking) {
		col += canvas_put(c, row, col, p->is_filter ? "Filter: " : "Search: ",
				  STYLE_ACCENT);
		col += canvas_put(c, row, col, asked_text(p), STYLE_TEXT);
		*ret_row = row;
		*ret_col = col < c->cols ? col : c->cols - 1;
		return;
	}
	if (p->message[0]) {
		canvas_text(c, row, 1, c->cols - 2, p->message, STYLE_BAD, ALIGN_LEFT, CUT_END);
		return;
	}
	snprintf(text, sizeof(text), "%zu of %zu%s%s", p->state.n_shown ? p->state.cursor + 1 : 0,
		 p->state.n_shown, p->state.filter[0] ? "  filter: " : "", p->state.filter);
	canvas_text(c, row, 1, c->cols - 2, text, STYLE_DIM, ALIGN_LEFT, CUT_END);
}

static void draw_bar(struct canvas *c)
{
	int row = c->rows - 1, col = 0;

	for (size_t i = 0; i < COUNT_OF(keys) && col < c->cols; i++) {
		char name[16];

		if (!keys[i].label)
			continue;
		col += canvas_put(c, row, col, input_name(name, keys[i].keys[0]), STYLE_KEY);
		col += canvas_put(c, row, col, keys[i].label, STYLE_KEY_TEXT);
		col += canvas_put(c, row, col, " ", STYLE_TEXT);
	}
}

void picker_draw(struct picker *p, struct canvas *c, int *ret_row, int *ret_col)
{
	int rows = c->rows - HEAD_ROWS - FOOT_ROWS;

	*ret_row = *ret_col = -1;
	p->screen_rows = c->rows;
	p->box = (struct box){HEAD_ROWS, 1, rows > 0 ? rows : 0, c->cols - 2};
	canvas_clear(c);
	canvas_text(c, 0, 14, c->cols - 15, p->options.title, STYLE_STRONG, ALIGN_LEFT, CUT_END);
	canvas_put(c, 0, 1, "heaptrail", STYLE_ACCENT);
	if (rows > 0)
		table_draw(&p->table, &p->state, c, p->box);
	draw_status(p, c, ret_row, ret_col);
	draw_bar(c);
}

/* ---- running ------------------------------------------------------------------------ */

int picker_run(struct picker *p, const struct screen_options *o, int *ret_pid, struct err *err)
{
	uint64_t next_list_ns = clock_now_ns() + LIST_EVERY_NS;
	struct canvas c;
	int row, col, r = screen_open(o, err);

	if (r)
		return r;
	screen_size(&row, &col);
	canvas_init(&c, row, col, p->options.ascii || screen_is_ascii());
	while (!picker_is_over(p, ret_pid)) {
		uint64_t now = clock_now_ns();
		struct input in;

		if (now >= next_list_ns) {
			list(p);
			now = clock_now_ns();
			next_list_ns = now + LIST_EVERY_NS;
		}
		picker_draw(p, &c, &row, &col);
		screen_show(&c);
		screen_cursor(row, col);
		in = screen_input((int)((next_list_ns - now) / 1000000) + 1, -1);
		if (in.key == INPUT_RESIZE)
			canvas_resize(&c, in.row, in.col);
		picker_input(p, &in);
	}
	screen_close();
	canvas_release(&c);
	return 0;
}

static void draw(void *arg, struct canvas *c)
{
	int row, col;

	picker_draw(arg, c, &row, &col);
}

static void take_input(void *arg, const struct input *in)
{
	picker_input(arg, in);
}

static bool is_over(void *arg)
{
	int pid;

	return picker_is_over(arg, &pid);
}

int picker_run_script(struct picker *p, const char *script, int rows, int cols, bool styles,
		      struct err *err)
{
	const struct script_target s = {p, draw, take_input, is_over};

	return script_run(&s, p->options.ascii, script, rows, cols, styles, err);
}
