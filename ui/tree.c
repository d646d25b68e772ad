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

static uint64_t path_step(const struct ui *u, uint64_t path, struct frame_id frame)
{
	const struct catalog_frame *f = catalog_frame(history_catalog(u->history), frame);
	uint64_t name = f->function ? hash_bytes(f->function, strlen(f->function)) : f->offset;

	return hash_u64(path * 31 + (name ^ hash_u64(f->module.v)));
}

uint64_t tree_path(const struct ui *u, const struct call_tree *t, uint32_t node)
{
	uint32_t way[DEPTH_SHOWN_MAX];
	uint64_t path = 1;
	size_t n = 0;

	for (; node && n < DEPTH_SHOWN_MAX; node = t->nodes[node].parent)
		way[n++] = node;
	while (n--)
		path = path_step(u, path, t->nodes[way[n]].frame);
	return path;
}

static uint64_t measure(const struct page *p, uint32_t node)
{
	return *(const uint64_t *)((const char *)&p->tree.nodes[node].totals +
				   page_total_offset(p));
}

static bool is_open(const struct page *p, uint32_t node, uint64_t path)
{
	uint32_t said = hashmap_get(&p->open, path);
	uint32_t parent = p->tree.nodes[node].parent;

	if (said != HASHMAP_NONE)
		return said;
	return (double)measure(p, node) >= MAIN_ROAD * (double)measure(p, parent) &&
	       measure(p, node) > 0;
}

uint64_t *tree_paths(const struct ui *u, const struct call_tree *t)
{
	uint64_t *paths = xcalloc(t->n + 1, sizeof(*paths));

	paths[0] = 1;
	for (uint32_t i = 1; i < t->n; i++) /* who called comes first */
		paths[i] = path_step(u, paths[t->nodes[i].parent], t->nodes[i].frame);
	return paths;
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
static void put_children(const struct making *m, uint32_t parent, uint64_t parent_path, int depth)
{
	const struct catalog *c = history_catalog(m->u->history);
	struct call_tree *t = &m->p->tree;

	call_tree_open(t, parent);
	for (uint32_t i = t->nodes[parent].first_child; i; i = t->nodes[i].next_sibling) {
		const struct call_node *n = &t->nodes[i];
		const struct catalog_frame *f = catalog_frame(c, n->frame);
		const char *module = catalog_module_path(c, f->module);
		uint64_t path = path_step(m->u, parent_path, n->frame);
		struct table_row *r;
		bool open;

		open = n->has_children && depth < DEPTH_SHOWN_MAX && is_open(m->p, i, path);
		r = table_add(&m->p->table, node_text(c, n));
		r->key = path;
		r->item = i;
		r->depth = (uint16_t)depth;
		r->has_children = n->has_children;
		r->is_open = open;
		r->detail = f->function && module ? xstrdup(path_base(module)) : NULL;
		r->style = own_skips(&m->u->own, n->frame) ? STYLE_DIM : STYLE_TEXT;
		page_put_heap_values(r, &n->totals);
		if (open)
			put_children(m, i, path, depth + 1);
	}
}

bool tree_load(struct ui *u, struct page *p, const char *title)
{
	uint64_t version = history_version(u->history) + 1;
	bool is_new = p->tree_version != version;

	if (is_new) {
		call_tree_release(&p->tree);
		history_analysis(u->history, GROUP_STACK, false, &p->analysis);
		call_tree_make(&p->tree, history_catalog(u->history), &p->analysis, &u->own,
			       p->bottom_up, page_total_offset(p));
		p->tree_version = version;
	} else if (p->tree.sort_offset != page_total_offset(p)) {
		call_tree_sort(&p->tree, page_total_offset(p));
	}
	page_use_heap_columns(&p->table, &p->analysis.totals, title);
	return is_new;
}

void tree_make(struct ui *u, struct page *p)
{
	struct making m = {u, p};

	tree_load(u, p, p->bottom_up ? "CALLED BY (i: top down)" : "CALLS (i: bottom up)");
	p->table.keeps_order = true;
	p->table.text_columns = 38;
	put_children(&m, 0, 1, 0);
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

void tree_open_all(struct ui *u, struct page *p, bool open)
{
	uint64_t *paths;

	for (uint32_t i = 1; open && i < p->tree.n && i < OPEN_ALL_MAX; i++)
		call_tree_open(&p->tree, i);
	paths = tree_paths(u, &p->tree);
	for (uint32_t i = 1; i < p->tree.n; i++)
		if (p->tree.nodes[i].has_children)
			*hashmap_put(&p->open, paths[i]) = open && i < OPEN_ALL_MAX;
	free(paths);
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
	p->tree_version = 0;
	hashmap_release(&p->open);
	p->state.has_key = false;
	p->state.cursor = p->state.top = 0;
	p->version = 0;
}
