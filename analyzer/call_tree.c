/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/call_tree.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/stacks.h"
#include "common/hash.h"
#include "common/xalloc.h"

static uint32_t add_node(struct call_tree *t, uint32_t parent, struct frame_id frame)
{
	uint32_t at = (uint32_t)t->n;

	ARRAY_GROW(t->nodes, t->cap, t->n);
	t->n++;
	t->nodes[at] = (struct call_node){.frame = frame, .parent = parent};
	if (!at)
		return at;
	t->nodes[at].depth = t->nodes[parent].depth + 1;
	t->nodes[at].next_sibling = t->nodes[parent].first_child;
	t->nodes[parent].first_child = at;
	t->nodes[parent].has_children = true;
	return at;
}

/* The child of @parent for the function of @frame. */
static uint32_t child_of(struct call_tree *t, struct hashmap *children, uint32_t parent,
			 struct frame_id frame)
{
	uint32_t *place = hashmap_put(children, (uint64_t)parent << 32 | t->functions[frame.v]);

	if (*place == HASHMAP_NONE)
		*place = add_node(t, parent, frame);
	return *place;
}

static const struct heap_totals *totals_of(const struct call_tree *t, size_t group)
{
	return &t->analysis->groups[group].totals;
}

static struct stack_id stack_of(const struct call_tree *t, size_t group)
{
	return (struct stack_id){(uint32_t)t->analysis->groups[group].key};
}

/* ---- top down: the recording's tree of stacks, with equal functions merged ------------- */

struct descending {
	struct call_tree *tree;
	struct hashmap children;
	bool *is_used;	   /* [stack] blocks were allocated there, or further in */
	uint32_t *node_of; /* [stack] */
};

/* The functions at a place, the outermost first. */
static uint32_t descend(struct descending *d, uint32_t at, struct frame_id frame)
{
	struct frame_id outer = catalog_frame(d->tree->catalog, frame)->outer;

	if (outer.v)
		at = descend(d, at, outer);
	return child_of(d->tree, &d->children, at, frame);
}

static void visit(void *arg, struct stack_id id, struct stack_id parent, bool is_cut)
{
	struct descending *d = arg;

	(void)is_cut;
	if (d->is_used[id.v])
		d->node_of[id.v] = descend(d, d->node_of[parent.v],
					   catalog_stack(d->tree->catalog, id)->frame);
}

static void mark_used(struct descending *d)
{
	const struct call_tree *t = d->tree;

	for (size_t i = 0; i < t->analysis->n_groups; i++) {
		struct stack_id at = stack_of(t, i);

		while (at.v && at.v < t->catalog->n_stacks && !d->is_used[at.v]) {
			d->is_used[at.v] = true;
			at = t->catalog->stacks[at.v].parent;
		}
	}
}

static void make_top_down(struct call_tree *t)
{
	size_t n = t->catalog->n_stacks + 1;
	struct descending d = {.tree = t,
			       .is_used = xcalloc(n, sizeof(*d.is_used)),
			       .node_of = xcalloc(n, sizeof(*d.node_of))};

	mark_used(&d);
	stacks_visit(t->catalog, visit, &d);
	for (size_t i = 0; i < t->analysis->n_groups; i++) {
		struct stack_id id = stack_of(t, i);
		uint32_t at = id.v < t->catalog->n_stacks ? d.node_of[id.v] : 0;

		if (!at)
			at = child_of(t, &d.children, 0, (struct frame_id){0});
		heap_totals_add(&t->nodes[at].totals, totals_of(t, i));
	}
	for (size_t i = t->n; i-- > 1;)
		heap_totals_add(&t->nodes[t->nodes[i].parent].totals, &t->nodes[i].totals);
	for (size_t i = 0; i < t->n; i++)
		t->nodes[i].is_made = true;
	hashmap_release(&d.children);
	free(d.is_used);
	free(d.node_of);
}

/* ---- bottom up: each stack on its own way outwards ------------------------------------ */

/* To the function that called; false: there is none. */
static bool step_out(const struct catalog *c, struct call_way *w)
{
	struct frame_id outer = catalog_frame(c, w->frame)->outer;
	const struct catalog_stack *s;

	if (outer.v) {
		w->frame = outer;
		return true;
	}
	w->stack = catalog_stack(c, w->stack)->parent;
	s = catalog_stack(c, w->stack);
	w->frame = s->frame;
	return w->stack.v && s->frame.v && s->frame.v < c->n_frames;
}

/* To the own function; where it has no frames, frame {0}. */
static struct call_way begin_way(const struct call_tree *t, const struct own *own, uint32_t group)
{
	struct call_way w = {.group = group, .stack = stack_of(t, group)};
	struct frame_id wanted = own_of_stack(own, w.stack);

	w.frame = wanted.v ? catalog_stack(t->catalog, w.stack)->frame : wanted;
	for (int i = 0; w.frame.v != wanted.v && i < STACK_FRAMES_MAX; i++)
		if (!step_out(t->catalog, &w))
			break;
	return w;
}

static void put_way(struct call_tree *t, struct call_way w)
{
	ARRAY_GROW(t->ways, t->cap_ways, t->n_ways);
	t->ways[t->n_ways++] = w;
}

struct branching {
	uint32_t child;
	struct call_way way;
};

static int by_child(const void *a, const void *b)
{
	const struct branching *x = a, *y = b;

	if (x->child != y->child)
		return x->child < y->child ? -1 : 1;
	return x->way.group < y->way.group ? -1 : x->way.group > y->way.group;
}

/* The children are those whose ways come to them next; what leads on is put behind all. */
static void branch(struct call_tree *t, uint32_t node, const struct call_way *ways, size_t n)
{
	struct branching *list = xcalloc(n + 1, sizeof(*list));
	struct hashmap children = {0};

	for (size_t i = 0; i < n; i++) {
		list[i] = (struct branching){child_of(t, &children, node, ways[i].frame), ways[i]};
		heap_totals_add(&t->nodes[list[i].child].totals, totals_of(t, ways[i].group));
	}
	qsort(list, n, sizeof(*list), by_child);
	for (size_t i = 0; i < n; i++) {
		struct call_node *child = &t->nodes[list[i].child];
		struct call_way next = list[i].way;

		if (!child->n_ways)
			child->first_way = (uint32_t)t->n_ways;
		/* a circle of stacks must not lead on for ever */
		if (!next.frame.v || child->depth >= STACK_FRAMES_MAX ||
		    !step_out(t->catalog, &next))
			continue;
		put_way(t, next);
		child->n_ways++;
		child->has_children = true;
	}
	hashmap_release(&children);
	free(list);
}

static void make_bottom_up(struct call_tree *t, const struct own *own)
{
	size_t n = t->analysis->n_groups;
	struct call_way *ways = xcalloc(n + 1, sizeof(*ways));

	for (size_t i = 0; i < n; i++) {
		ways[i] = begin_way(t, own, (uint32_t)i);
		heap_totals_add(&t->nodes[0].totals, totals_of(t, i));
	}
	branch(t, 0, ways, n);
	t->nodes[0].is_made = true;
	free(ways);
}

/* ---- order -------------------------------------------------------------------------- */

static uint64_t total(const struct call_tree *t, uint32_t node)
{
	return *(const uint64_t *)((const char *)&t->nodes[node].totals + t->sort_offset);
}

static int by_total(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct call_tree *t = arg;

	if (total(t, x) != total(t, y))
		return total(t, x) < total(t, y) ? 1 : -1;
	return x < y ? -1 : x > y;
}

static void sort_children(struct call_tree *t, uint32_t parent)
{
	uint32_t *link = &t->nodes[parent].first_child, *list = NULL;
	size_t n = 0, cap = 0;

	if (t->nodes[parent].order == t->order)
		return;
	t->nodes[parent].order = t->order;
	for (uint32_t i = *link; i; i = t->nodes[i].next_sibling) {
		ARRAY_GROW(list, cap, n);
		list[n++] = i;
	}
	if (n > 1)
		qsort_r(list, n, sizeof(*list), by_total, t);
	for (size_t i = 0; i < n; i++) {
		*link = list[i];
		link = &t->nodes[*link].next_sibling;
	}
	*link = 0;
	free(list);
}

void call_tree_sort(struct call_tree *t, size_t total_offset)
{
	t->sort_offset = total_offset;
	t->order++;
}

/* ---- the whole ---------------------------------------------------------------------- */

void call_tree_make(struct call_tree *ret, const struct catalog *c, const struct analysis *a,
		    const struct own *own, bool bottom_up, size_t total_offset)
{
	*ret = (struct call_tree){
		.catalog = c, .analysis = a, .functions = stacks_classify_functions(c)};
	add_node(ret, 0, (struct frame_id){0});
	if (bottom_up)
		make_bottom_up(ret, own);
	else
		make_top_down(ret);
	call_tree_sort(ret, total_offset);
}

static void make_children(struct call_tree *t, uint32_t node)
{
	struct call_node *n = &t->nodes[node];
	struct call_way *ways;

	if (n->is_made || !n->n_ways)
		return;
	n->is_made = true;
	ways = xcalloc(n->n_ways, sizeof(*ways));
	memcpy(ways, t->ways + n->first_way, n->n_ways * sizeof(*ways));
	branch(t, node, ways, n->n_ways);
	free(ways);
}

void call_tree_open(struct call_tree *t, uint32_t node)
{
	make_children(t, node);
	sort_children(t, node);
}

void call_tree_release(struct call_tree *t)
{
	free(t->nodes);
	free(t->functions);
	free(t->ways);
	memset(t, 0, sizeof(*t));
}
