/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

#define CTRL(letter) ((letter) & 31)

static bool is_flame(const struct ui *u)
{
	return ui_page(u)->view == VIEW_FLAME;
}

static bool is_tree(const struct ui *u)
{
	return ui_page(u)->view == VIEW_TREE;
}

static bool is_tree_or_flame(const struct ui *u)
{
	return is_tree(u) || is_flame(u);
}

static bool is_map(const struct ui *u)
{
	return ui_page(u)->view == VIEW_MAP;
}

static bool is_frag(const struct ui *u)
{
	return ui_page(u)->view == VIEW_FRAG;
}

static bool has_rows(const struct ui *u)
{
	return !is_flame(u) && !is_map(u);
}

static bool has_recorder(const struct ui *u)
{
	return u->options.command != NULL;
}

static bool has_scopes(const struct ui *u)
{
	enum view_kind v = ui_page(u)->view;

	return v != VIEW_HELP && v != VIEW_SOURCE && v != VIEW_PAGES && !is_map(u) &&
	       !is_tree_or_flame(u);
}

/* ---- rows --------------------------------------------------------------------------- */

static int page_rows(const struct page *p)
{
	return p->box.rows > 2 ? p->box.rows - 2 : 1;
}

static void move(struct ui *u, int by)
{
	table_move(&ui_page(u)->table, &ui_page(u)->state, by);
}

static void move_pages(struct ui *u, int by)
{
	move(u, by * page_rows(ui_page(u)));
}

static void move_to_first(struct ui *u, int arg)
{
	(void)arg;
	table_move_to(&ui_page(u)->table, &ui_page(u)->state, 0);
}

static void move_to_last(struct ui *u, int arg)
{
	(void)arg;
	table_move_to(&ui_page(u)->table, &ui_page(u)->state, SIZE_MAX);
}

/* ---- pages -------------------------------------------------------------------------- */

static void go_to_view(struct ui *u, int view)
{
	while (u->n_pages > 1) {
		page_release(u->pages[--u->n_pages]);
		free(u->pages[u->n_pages]);
	}
	u->pages[0] = &u->roots[view];
}

static void go_to_next_view(struct ui *u, int by)
{
	int at = (int)u->pages[0]->view + by;

	go_to_view(u, (at + ROOT_VIEWS) % ROOT_VIEWS);
}

static void go_back(struct ui *u, int arg)
{
	struct page *p = ui_page(u);

	if (p->state.filter[0] || p->state.search[0]) {
		p->state.filter[0] = p->state.search[0] = '\0';
		page_arrange(p);
	} else if (u->n_pages > 1) {
		page_release(p);
		free(p);
		u->n_pages--;
	} else if (arg) { /* q; Esc does not end it */
		u->is_over = true;
	}
}

static void quit(struct ui *u, int arg)
{
	(void)arg;
	u->is_over = true;
}

static void go_into(struct ui *u, int arg)
{
	struct page *p = ui_page(u);
	const struct table_row *row = table_at_cursor(&p->table, &p->state);
	struct scope scope;
	enum view_kind view;

	(void)arg;
	if (p->view == VIEW_TREE) {
		tree_set_open(p, -1);
	} else if (row && page_drill(u, p, row, &view, &scope)) {
		ui_push(u, view, &scope);
		scope_release(&scope);
	}
}

static void go_to_scope(struct ui *u, int view)
{
	struct page *p = ui_page(u);
	const struct table_row *row = table_at_cursor(&p->table, &p->state);
	struct scope scope;

	if (!row || !page_scope_of_row(u, p, row, &scope))
		return;
	ui_push(u, (enum view_kind)view, &scope);
	scope_release(&scope);
}

static void show_map(struct ui *u, int arg)
{
	(void)arg;
	if (is_frag(u))
		ui_push(u, VIEW_MAP, NULL);
}

static void help(struct ui *u, int arg)
{
	(void)arg;
	if (ui_page(u)->view != VIEW_HELP)
		ui_push(u, VIEW_HELP, NULL);
}

/* ---- trees -------------------------------------------------------------------------- */

static void open_node(struct ui *u, int open)
{
	struct page *p = ui_page(u);

	if (is_tree(u)) {
		if (!tree_set_open(p, open) && !open)
			tree_to_parent(p);
	} else if (open) {
		go_into(u, 0);
	}
}

static void open_all(struct ui *u, int open)
{
	if (is_tree(u))
		tree_open_all(ui_page(u), open);
}

static void invert(struct ui *u, int arg)
{
	(void)arg;
	if (is_tree_or_flame(u))
		tree_invert(ui_page(u));
}

/* ---- order, search ------------------------------------------------------------------ */

/* A share is not one of its own. */
static bool is_measure(const struct table *t, int column)
{
	return t->columns[column].kind != COLUMN_SHARE && table_has_column(t, column);
}

static void sort_by_next(struct ui *u, int by)
{
	struct page *p = ui_page(u);
	int n = (int)p->table.n_columns, at = p->state.sort + by;

	if (!n)
		return;
	while (at >= 0 && at < n && !is_measure(&p->table, at))
		at += by;
	/* the name comes after the last column, and has no meaning in a tree */
	if (at >= n)
		at = is_tree_or_flame(u) || p->table.is_ordered ? 0 : TABLE_SORT_TEXT;
	else if (at < TABLE_SORT_TEXT || (at < 0 && (is_tree_or_flame(u) || p->table.is_ordered)))
		at = n - 1;
	while (at >= 0 && at < n - 1 && !is_measure(&p->table, at))
		at++;
	p->state.sort = at;
	page_arrange(p);
}

static void reverse(struct ui *u, int arg)
{
	struct page *p = ui_page(u);

	(void)arg;
	if (is_tree_or_flame(u) || p->table.is_ordered)
		return;
	p->state.reverse = !p->state.reverse;
	page_arrange(p);
}

static void ask(struct ui *u, int kind)
{
	struct page *p = ui_page(u);

	prompt_begin(u, (enum prompt_kind)kind,
		     kind == PROMPT_FILTER ? p->state.filter : "");
}

static void search_next(struct ui *u, int backwards)
{
	struct page *p = ui_page(u);

	if (!p->state.search[0])
		ask(u, PROMPT_SEARCH);
	else if (is_flame(u) ? !flame_search(u, p, backwards)
			     : !table_search(&p->table, &p->state, backwards, false))
		ui_say(u, true, "'%s' is not there", p->state.search);
}

static void export(struct ui *u, int arg)
{
	(void)arg;
	prompt_begin(u, PROMPT_EXPORT, "heaptrail.csv");
}

/* ---- time --------------------------------------------------------------------------- */

static void move_time(struct ui *u, int by)
{
	timeline_move(u, by);
}

static void to_peak(struct ui *u, int arg)
{
	(void)arg;
	timeline_to_peak(u);
}

/* The view stops, not the recording. */
static void pause(struct ui *u, int arg)
{
	(void)arg;
	if (!u->options.command)
		return;
	u->is_paused = !u->is_paused;
	history_hold(u->history, u->is_paused);
	ui_say(u, false, u->is_paused
				 ? "paused: what is shown stands still, the recording goes on"
				 : "it is followed again");
}

static void to_next_mark(struct ui *u, int arg)
{
	(void)arg;
	timeline_to_next_mark(u);
}

static void follow(struct ui *u, int arg)
{
	(void)arg;
	if (u->is_paused)
		pause(u, 0);
	timeline_follow(u);
}

static void mark(struct ui *u, int arg)
{
	(void)arg;
	timeline_mark(u);
}

/* ---- the recorder ------------------------------------------------------------------- */

static void command(struct ui *u, int command)
{
	const char *said;

	if (!u->options.command)
		return;
	u->is_over = command == UI_ATTACH;
	if (command == UI_SAVE) {
		prompt_begin(u, PROMPT_SAVE, "heaptrail.trail");
		return;
	}
	said = u->options.command(u->options.arg, (enum ui_command)command, NULL);
	if (said)
		ui_say(u, false, "%s", said);
}

/* The first keys of what is on the bar at the bottom are the ones shown there. */
const struct key keys[] = {
	{{INPUT_F1, '?'}, "this help", "Help", NULL, help, 0},
	{{'1'}, "overview", NULL, NULL, go_to_view, VIEW_OVERVIEW},
	{{'2'}, "files", NULL, NULL, go_to_view, VIEW_FILES},
	{{'3'}, "functions", NULL, NULL, go_to_view, VIEW_FUNCTIONS},
	{{'4'}, "call tree", NULL, NULL, go_to_view, VIEW_TREE},
	{{'5'}, "flame graph", NULL, NULL, go_to_view, VIEW_FLAME},
	{{'6'}, "leaks: unfreed blocks by call stack", NULL, NULL, go_to_view, VIEW_LEAKS},
	{{'7'}, "sizes", NULL, NULL, go_to_view, VIEW_SIZES},
	{{'8'}, "threads", NULL, NULL, go_to_view, VIEW_THREADS},
	{{'9'}, "fragmentation: where resident memory goes, and who pins it", NULL, NULL,
	 go_to_view, VIEW_FRAG},
	{{'M'}, "the heap by address (fragmentation)", NULL, is_frag, show_map, 0},
	{{'0'}, "growth: what grows without end, up to this moment", NULL, NULL, go_to_view,
	 VIEW_GROWTH},
	{{INPUT_F2, INPUT_TAB}, "the next view", "View", NULL, go_to_next_view, 1},
	{{INPUT_BACK_TAB}, "the view before", NULL, NULL, go_to_next_view, -1},
	{{INPUT_ENTER}, "into the row: lines, source, call stack; zoom", NULL, NULL, go_into, 0},
	{{INPUT_ESCAPE, INPUT_BACKSPACE}, "back; first of all without search and filter", NULL,
	 NULL, go_back, 0},
	{{'q'}, "back; from a view: quit", NULL, NULL, go_back, 1},
	{{INPUT_UP, 'k'}, "up", NULL, NULL, move, -1},
	{{INPUT_DOWN, 'j'}, "down", NULL, NULL, move, 1},
	{{INPUT_PAGE_UP, CTRL('B')}, "a page up", NULL, has_rows, move_pages, -1},
	{{INPUT_PAGE_DOWN, CTRL('F')}, "a page down", NULL, has_rows, move_pages, 1},
	{{INPUT_WHEEL_UP}, "three rows up", NULL, has_rows, move, -3},
	{{INPUT_WHEEL_DOWN}, "three rows down", NULL, has_rows, move, 3},
	{{INPUT_HOME, 'g'}, "to the first row", NULL, has_rows, move_to_first, 0},
	{{INPUT_END, 'G'}, "to the last row", NULL, has_rows, move_to_last, 0},
	{{INPUT_F3, '/'}, "search", "Search", NULL, ask, PROMPT_SEARCH},
	{{'n'}, "the next that was searched for", NULL, NULL, search_next, 0},
	{{'N'}, "the one before", NULL, NULL, search_next, 1},
	{{INPUT_F4, '\\'}, "filter: only rows with a text", "Filter", has_rows, ask,
	 PROMPT_FILTER},
	{{INPUT_F5, 't'}, "call tree", "Tree", NULL, go_to_view, VIEW_TREE},
	{{INPUT_F6, '>'}, "sort by the next column", "Sort", NULL, sort_by_next, 1},
	{{'<'}, "sort by the column before", NULL, NULL, sort_by_next, -1},
	{{'r'}, "the other way round", NULL, has_rows, reverse, 0},
	{{'b'}, "live blocks of the row", NULL, has_scopes, go_to_scope, VIEW_BLOCKS},
	{{'c'}, "call stacks of the row", NULL, has_scopes, go_to_scope, VIEW_STACKS},
	{{' '}, "open or close (tree)", NULL, is_tree, open_node, -1},
	{{INPUT_RIGHT, 'l'}, "open (tree); into the row", NULL, NULL, open_node, 1},
	{{INPUT_LEFT, 'h'}, "close, or to the caller (tree)", NULL, is_tree_or_flame, open_node, 0},
	{{'+', '*'}, "open all (tree)", NULL, is_tree, open_all, 1},
	{{'-'}, "close all (tree)", NULL, is_tree, open_all, 0},
	{{'i'}, "turn round: who calls, or who is called (tree, flame)", NULL, is_tree_or_flame,
	 invert, 0},
	{{'L'}, "the next layer: all views are of its blocks", NULL, layers_are_several,
	 layers_show_next, 1},
	{{INPUT_F7, '['}, "back in time", "Time-", NULL, move_time, -1},
	{{INPUT_F8, ']'}, "on in time", "Time+", NULL, move_time, 1},
	{{'{'}, "far back in time", NULL, NULL, move_time, -10},
	{{'}'}, "far on in time", NULL, NULL, move_time, 10},
	{{'P'}, "to the moment of the peak", NULL, NULL, to_peak, 0},
	{{'W'}, "to the next moment that record --when has marked", NULL, timeline_has_marks,
	 to_next_mark, 0},
	{{'f'}, "to the end, and follow it", NULL, NULL, follow, 0},
	{{'m'}, "only blocks allocated from this moment on; again: all", NULL, NULL, mark, 0},
	{{INPUT_F9, 'e'}, "export what is shown: as .csv, else as text", "Export", NULL, export, 0},
	{{'p'}, "pause: the view stands still, the recording goes on", NULL, has_recorder, pause,
	 0},
	{{'a'}, "attach to another process", NULL, has_recorder, command, UI_ATTACH},
	{{'d'}, "detach from the process", NULL, has_recorder, command, UI_DETACH},
	{{'S'}, "a snapshot of what is resident, for fragmentation", NULL, has_recorder, command,
	 UI_SNAPSHOT},
	{{'w'}, "save what was recorded so far", NULL, has_recorder, command, UI_SAVE},
	{{INPUT_F10, 'Q', CTRL('C')}, "quit", "Quit", NULL, quit, 0},
};

const size_t n_keys = COUNT_OF(keys);

/* ---- input -------------------------------------------------------------------------- */

static void click_row(struct ui *u, const struct input *in)
{
	struct page *p = ui_page(u);
	int column;
	size_t place;

	if (table_place_at(&p->state, p->box, in->row, &place)) {
		bool again = place == p->state.cursor;

		table_move_to(&p->table, &p->state, place);
		if (in->is_double || (again && p->view == VIEW_TREE))
			go_into(u, 0);
	} else if (in->row == p->box.row && table_column_at(&p->table, p->box, in->col, &column)) {
		if (p->table.is_ordered || (column < 0 && is_tree(u)))
			return;
		if (column >= 0 && p->table.columns[column].kind == COLUMN_SHARE)
			return;
		if (p->state.sort == column)
			p->state.reverse = !p->state.reverse;
		p->state.sort = column;
		page_arrange(p);
	}
}

static void click(struct ui *u, const struct input *in)
{
	const struct box *t = &u->time_box;

	if (in->row == 2 && ui_view_at(u, in->col) >= 0)
		go_to_view(u, ui_view_at(u, in->col));
	else if (in->row == u->rows - 1 && ui_key_at(u, in->col))
		ui_key_at(u, in->col)->act(u, ui_key_at(u, in->col)->arg);
	else if (in->row >= t->row && in->row < t->row + t->rows && in->col >= t->col &&
		 in->col < t->col + t->cols)
		timeline_click(u, in->col);
	else if (has_rows(u))
		click_row(u, in);
}

void keys_input(struct ui *u, const struct input *in)
{
	if (is_flame(u) && flame_input(ui_page(u), in))
		return;
	if (is_map(u) && heap_map_input(u, ui_page(u), in))
		return;
	if (in->key == INPUT_MOUSE) {
		click(u, in);
		return;
	}
	for (size_t i = 0; i < n_keys; i++)
		for (size_t k = 0; k < COUNT_OF(keys[i].keys); k++)
			if (in->key && keys[i].keys[k] == in->key) {
				keys[i].act(u, keys[i].arg);
				return;
			}
}
