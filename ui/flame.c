/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/format.h"
#include "common/xalloc.h"

/*
 * An icicle: the outermost function at the top, what it calls below it, as wide as its
 * share of what is zoomed to.  What is narrower than a column is not drawn.
 */

static uint64_t measure(const struct page *p, uint32_t node)
{
	return *(const uint64_t *)((const char *)&p->tree->nodes[node].totals +
				   page_total_offset(p));
}

/* The node with that path, which was @known before; 0 where there is none now. */
static uint32_t find_path(const struct page *p, uint64_t path, uint32_t *known)
{
	struct call_tree *t = p->tree;

	if (!path)
		return 0;
	if (p->generation != t->generation)
		*known = 0;
	for (uint32_t i = 1; i < t->n && !*known; i++)
		if (t->nodes[i].path == path)
			*known = i;
	return *known && call_tree_count_node(t, *known) ? *known : 0;
}

/* What nearly all goes through, from the root on, only takes room. */
#define MAIN_ROAD 0.95

static uint32_t end_of_main_road(struct page *p)
{
	uint32_t node = 0, next;

	while (call_tree_open(p->tree, node), (next = p->tree->nodes[node].first_child) &&
	       (double)measure(p, next) >= MAIN_ROAD * (double)measure(p, node) &&
	       p->tree->nodes[next].has_children && measure(p, next))
		node = next;
	return node;
}

void flame_make(struct ui *u, struct page *p)
{
	tree_load(u, p, "");
	p->zoom = p->is_zoomed ? find_path(p, p->zoom_path, &p->zoom_node) : 0;
	p->selected = find_path(p, p->selected_path, &p->selected_node);
	p->generation = p->tree->generation;
	if (!p->is_zoomed)
		p->zoom = end_of_main_road(p);
	if (!p->selected_path || !p->selected)
		p->selected = p->zoom;
}

static char *node_name(const struct ui *u, const struct page *p, uint32_t node)
{
	const struct catalog *c = history_catalog(u->history);
	struct frame_id frame = p->tree->nodes[node].frame;

	if (!node)
		return xstrdup("all");
	return frame.v ? place_name(c, catalog_frame(c, frame)) : xstrdup("[no stack]");
}

/* Of one module one heat: what belongs together looks alike. */
static enum style style_of(const struct ui *u, const struct page *p, uint32_t node)
{
	struct frame_id frame = p->tree->nodes[node].frame;

	if (!node)
		return STYLE_HEAT_0;
	if (own_skips(&u->own, frame))
		return STYLE_HEAT_0;
	return STYLE_HEAT_1 + (p->tree->nodes[node].depth & 1) + (p->selected == node);
}

struct drawing {
	struct ui *u;
	struct page *p;
	struct canvas *c;
	struct box box;
};

static void draw_node(const struct drawing *d, uint32_t node, double from, double to, int depth)
{
	int left = (int)(from + 0.5), right = (int)(to + 0.5), row = d->box.row + depth;
	struct call_tree *t = d->p->tree;
	uint64_t whole = measure(d->p, node);
	double share = to - from;
	char *name;

	if (right <= left || depth >= d->box.rows)
		return;
	name = node_name(d->u, d->p, node);
	canvas_fill(d->c, row, d->box.col + left, right - left, " ", style_of(d->u, d->p, node));
	if (right - left > 2)
		canvas_text(d->c, row, d->box.col + left, right - left - 1, name,
			    style_of(d->u, d->p, node), ALIGN_LEFT, CUT_END);
	if (d->p->state.search[0] && text_has(name, d->p->state.search))
		canvas_set_style(d->c, row, d->box.col + left, right - left, STYLE_MATCH);
	/* its right edge tells it from the next */
	if (right - left > 1)
		canvas_fill(d->c, row, d->box.col + right - 1, 1, "│", STYLE_HEAT_0);
	if (node == d->p->selected)
		canvas_select(d->c, row, d->box.col + left, right - left);
	free(name);
	if (depth + 1 < d->box.rows)
		call_tree_open(t, node);
	for (uint32_t i = t->nodes[node].first_child; i && whole; i = t->nodes[i].next_sibling) {
		double width = share * ((double)measure(d->p, i) / (double)whole);

		draw_node(d, i, from, from + width, depth + 1);
		from += width;
	}
}

static void draw_selected(struct ui *u, struct page *p, struct canvas *c, struct box b)
{
	char bytes[FORMAT_MAX], share[FORMAT_MAX], calls[FORMAT_MAX], numbers[160];
	const struct column *k = &p->table.columns[p->state.sort < 0 ? 0 : p->state.sort];
	const struct call_node *n = &p->tree->nodes[p->selected];
	char *name = node_name(u, p, p->selected);
	int width;

	format_percent(share, measure(p, p->selected), measure(p, 0));
	if (k->kind == COLUMN_COUNT)
		format_count(bytes, measure(p, p->selected));
	else
		format_bytes(bytes, measure(p, p->selected));
	snprintf(numbers, sizeof(numbers), "%s %s  %s  %s calls", bytes, k->title, share,
		 format_count(calls, n->totals.alloc_calls));
	width = canvas_columns(numbers);
	canvas_text(c, b.row, b.col, b.cols - width - 2, name, STYLE_STRONG, ALIGN_LEFT, CUT_END);
	canvas_text(c, b.row, b.col + b.cols - width, width, numbers, STYLE_TEXT, ALIGN_RIGHT,
		    CUT_START);
	free(name);
}

void flame_draw(struct ui *u, struct page *p, struct canvas *c, struct box box)
{
	struct drawing d = {u, p, c, box};

	if (box.rows < 2)
		return;
	draw_selected(u, p, c, box);
	d.box.row++;
	d.box.rows--;
	if (!measure(p, p->zoom)) {
		canvas_text(c, box.row + 2, box.col + 2, box.cols - 4, "nothing to show here yet",
			    STYLE_DIM, ALIGN_LEFT, CUT_END);
		return;
	}
	draw_node(&d, p->zoom, 0, box.cols, 0);
}

/* ---- moving about ------------------------------------------------------------------- */

static void select_node(struct page *p, uint32_t node)
{
	p->selected = node;
	call_tree_count_node(p->tree, node);
	p->selected_node = node;
	p->selected_path = node ? p->tree->nodes[node].path : 0;
}

static void zoom_to(struct page *p, uint32_t node)
{
	p->zoom = node;
	p->is_zoomed = true;
	call_tree_count_node(p->tree, node);
	p->zoom_node = node;
	p->zoom_path = node ? p->tree->nodes[node].path : 0;
}

/* The sibling before @node; 0: it is the first. */
static uint32_t before(const struct call_tree *t, uint32_t node)
{
	uint32_t last = 0;

	for (uint32_t i = t->nodes[t->nodes[node].parent].first_child; i && i != node;
	     i = t->nodes[i].next_sibling)
		last = i;
	return last;
}

static uint32_t neighbour(struct page *p, int key)
{
	struct call_tree *t = p->tree;
	const struct call_node *n;
	uint32_t next = p->selected;

	call_tree_open(t, t->nodes[p->selected].parent);
	call_tree_open(t, p->selected);
	n = &t->nodes[p->selected];
	if (key == INPUT_DOWN)
		next = n->first_child;
	else if (key == INPUT_UP)
		next = p->selected == p->zoom ? p->selected : n->parent;
	else if (p->selected != p->zoom)
		next = key == INPUT_RIGHT ? n->next_sibling : before(t, p->selected);
	/* what has nothing of what is shown cannot be seen */
	return (next || key == INPUT_UP) && measure(p, next) ? next : p->selected;
}

/* Which node is drawn there? */
static bool node_at(const struct page *p, struct box box, int row, int col, uint32_t *ret)
{
	double from = 0, to = box.cols;
	uint32_t node = p->zoom; /* what was drawn has been opened */
	int depth = row - box.row - 1;

	if (depth < 0 || row >= box.row + box.rows)
		return false;
	for (; depth; depth--) {
		uint64_t whole = measure(p, node);
		uint32_t i = p->tree->nodes[node].first_child;
		double width = 0, share = to - from;

		for (; i && whole; i = p->tree->nodes[i].next_sibling) {
			width = share * ((double)measure(p, i) / (double)whole);
			if (col - box.col < (int)(from + width + 0.5))
				break;
			from += width;
		}
		if (!i || !whole)
			return false;
		to = from + width;
		node = i;
	}
	*ret = node;
	return true;
}

bool flame_input(struct page *p, const struct input *in)
{
	uint32_t node;

	switch (in->key) {
	case INPUT_UP:
	case INPUT_DOWN:
	case INPUT_LEFT:
	case INPUT_RIGHT:
		select_node(p, neighbour(p, in->key));
		return true;
	case INPUT_ENTER:
		zoom_to(p, p->selected);
		return true;
	case INPUT_ESCAPE:
	case INPUT_BACKSPACE:
		if (!p->zoom)
			return false;
		select_node(p, p->zoom);
		zoom_to(p, in->key == INPUT_ESCAPE ? 0 : p->tree->nodes[p->zoom].parent);
		return true;
	case INPUT_MOUSE:
		if (!node_at(p, p->box, in->row, in->col, &node))
			return false;
		select_node(p, node);
		if (in->is_double)
			zoom_to(p, node);
		return true;
	default:
		return false;
	}
}

/* Does the node say what is searched for?  @said: [function] 0: not asked yet. */
static bool is_found(const struct ui *u, const struct page *p, uint32_t node, uint8_t *said)
{
	enum { NO = 1, YES };
	uint8_t *is = &said[p->tree->nodes[node].frame.v];
	char *name;

	if (node && !*is) {
		name = node_name(u, p, node);
		*is = text_has(name, p->state.search) ? YES : NO;
		free(name);
	}
	return node && *is == YES && call_tree_count_node(p->tree, node) && measure(p, node);
}

/* The next with what is searched for; 0: none. */
static uint32_t find_next(const struct ui *u, const struct page *p, bool backwards)
{
	uint8_t *said = xcalloc(history_catalog(u->history)->n_frames + 1, 1);
	uint32_t n = (uint32_t)p->tree->n, found = 0;

	for (uint32_t i = 1; i < n && !found; i++) {
		uint32_t at = (backwards ? p->selected + n - i : p->selected + i) % n;

		if (is_found(u, p, at, said))
			found = at;
	}
	free(said);
	return found;
}

bool flame_search(struct ui *u, struct page *p, bool backwards)
{
	uint32_t found = find_next(u, p, backwards);

	if (!found)
		return false;
	select_node(p, found);
	/* outside of what is zoomed to it would not be seen */
	for (uint32_t up = found; up != p->zoom; up = p->tree->nodes[up].parent)
		if (!up) {
			zoom_to(p, 0);
			break;
		}
	return true;
}
