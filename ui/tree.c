/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/format.h"
#include "common/xalloc.h"

/* A node that has nearly all of its caller is open until the user says otherwise. */
#define MAIN_ROAD 0.95
#define DEPTH_SHOWN_MAX 1000
/* "All" is so many functions, the first ones; more nobody reads. */
#define OPEN_ALL_MAX 20000

static uint64_t measure(const struct page *p, uint32_t node)
{
	return *(const uint64_t *)((const char *)&p->tree->nodes[node].totals +
				   page_total_offset(p));
}

static bool is_open(const struct page *p, uint32_t node)
{
	uint32_t said = hashmap_get(&p->open, p->tree->nodes[node].path);
	uint32_t parent = p->tree->nodes[node].parent;

	if (said != HASHMAP_NONE)
		return said;
	return (double)measure(p, node) >= MAIN_ROAD * (double)measure(p, parent) &&
	       measure(p, node) > 0;
}

struct making {
	struct ui *u;
	struct page *p;
};

static char *node_text(const struct catalog *c, const struct call_node *n)
{
	return n->frame.v ? place_name(c, catalog_frame(c, n->frame)) : xstrdup("[no stack]");
}

/* The children of @parent, and theirs where they are open. */
static void put_children(const struct making *m, uint32_t parent, int depth)
{
	const struct catalog *c = history_catalog(m->u->history);
	struct call_tree *t = m->p->tree;

	call_tree_open(t, parent);
	for (uint32_t i = t->nodes[parent].first_child; i; i = t->nodes[i].next_sibling) {
		const struct call_node *n = &t->nodes[i];
		const struct catalog_frame *f = catalog_frame(c, n->frame);
		const char *module = catalog_module_path(c, f->module);
		struct table_row *r;
		bool open;

		open = n->has_children && depth < DEPTH_SHOWN_MAX && is_open(m->p, i);
		r = table_add(&m->p->table, node_text(c, n));
		r->key = n->path;
		r->item = i;
		r->depth = (uint16_t)depth;
		r->has_children = n->has_children;
		r->is_open = open;
		r->detail = f->function && module ? xstrdup(path_base(module)) : NULL;
		r->style = own_skips(&m->u->own, n->frame) ? STYLE_DIM : STYLE_TEXT;
		page_put_heap_values(r, &n->totals);
		if (open)
			put_children(m, i, depth + 1);
	}
}

void tree_load(struct ui *u, struct page *p, const char *title)
{
	struct counted_tree *t = &u->trees[p->bottom_up];
	uint64_t version = history_version(u->history) + 1;

	if (t->catalog_version != u->own_version + 1) {
		call_tree_release(&t->tree);
		call_tree_init(&t->tree, history_catalog(u->history), &u->own, p->bottom_up);
		t->catalog_version = u->own_version + 1;
		t->version = 0;
	}
	if (t->version != version) {
		history_analysis(u->history, GROUP_STACK, false, &t->analysis);
		call_tree_count(&t->tree, &t->analysis);
		t->version = version;
	}
	if (t->tree.sort_offset != page_total_offset(p))
		call_tree_sort(&t->tree, page_total_offset(p));
	p->tree = &t->tree;
	page_use_heap_columns(u, &p->table, &t->analysis.totals, title);
}

bool tree_is_stale(const struct page *p)
{
	return (p->view == VIEW_TREE || p->view == VIEW_FLAME) && p->tree &&
	       (p->tree->generation != p->generation ||
		p->tree->sort_offset != page_total_offset(p));
}

void trees_release(struct ui *u)
{
	for (size_t i = 0; i < COUNT_OF(u->trees); i++) {
		call_tree_release(&u->trees[i].tree);
		u->trees[i] = (struct counted_tree){0};
	}
}

void tree_make(struct ui *u, struct page *p)
{
	struct making m = {u, p};

	tree_load(u, p, p->bottom_up ? "CALLED BY (i: top down)" : "CALLS (i: bottom up)");
	p->generation = p->tree->generation;
	p->table.keeps_order = true;
	p->table.text_columns = 38;
	put_children(&m, 0, 0);
}

static const struct table_row *row_here(struct page *p)
{
	return table_at_cursor(&p->table, &p->state);
}

bool tree_set_open(struct page *p, int open)
{
	const struct table_row *r = row_here(p);

	if (!r || !r->has_children)
		return false;
	if (open == r->is_open)
		return false;
	*hashmap_put(&p->open, r->key) = !r->is_open;
	p->state.cursor_key = r->key;
	p->state.has_key = true;
	p->version = 0;
	return true;
}

void tree_open_all(struct page *p, bool open)
{
	struct call_tree *t = p->tree;
	uint32_t n = 0;

	for (uint32_t i = 1; i < t->n; i++) {
		if (!call_tree_count_node(t, i))
			continue;
		if (open && n < OPEN_ALL_MAX)
			call_tree_open(t, i); /* there may be more of them then */
		if (t->nodes[i].has_children)
			*hashmap_put(&p->open, t->nodes[i].path) = open && n < OPEN_ALL_MAX;
		n++;
	}
	p->version = 0;
}

void tree_to_parent(struct page *p)
{
	const struct table_row *r = row_here(p);

	for (size_t i = p->state.cursor; r && i-- > 0;)
		if (p->table.rows[p->state.shown[i]].depth < r->depth) {
			table_move_to(&p->table, &p->state, i);
			break;
		}
}

void tree_invert(struct page *p)
{
	p->bottom_up = !p->bottom_up;
	hashmap_release(&p->open);
	p->state.has_key = false;
	p->state.cursor = p->state.top = 0;
	p->version = 0;
}
