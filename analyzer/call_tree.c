/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/call_tree.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/stacks.h"
#include "common/hash.h"
#include "common/xalloc.h"

struct making {
	struct call_tree *tree;
	struct hashmap children; /* parent and function -> node */
	uint32_t *functions;	 /* [frame] the first frame of the same function */
};

static uint32_t child_of(struct making *m, uint32_t parent, struct frame_id frame)
{
	uint32_t *place = hashmap_put(&m->children, (uint64_t)parent << 32 | m->functions[frame.v]);
	struct call_tree *t = m->tree;
	struct call_node *n;

	if (*place != HASHMAP_NONE)
		return *place;
	*place = (uint32_t)t->n;
	ARRAY_GROW(t->nodes, t->cap, t->n);
	n = &t->nodes[t->n++];
	*n = (struct call_node){.frame = frame,
				.parent = parent,
				.next_sibling = t->nodes[parent].first_child,
				.depth = t->nodes[parent].depth + 1};
	t->nodes[parent].first_child = *place;
	return *place;
}

static uint32_t enter(struct making *m, uint32_t at, struct frame_id frame, const struct group *g)
{
	at = child_of(m, at, frame);
	heap_totals_add(&m->tree->nodes[at].totals, &g->totals);
	return at;
}

void call_tree_make(struct call_tree *ret, const struct catalog *c, const struct analysis *a,
		    const struct own *own, bool bottom_up)
{
	struct making m = {.tree = ret, .functions = stacks_classify_functions(c)};
	struct stack_walk w;

	memset(ret, 0, sizeof(*ret));
	ARRAY_GROW(ret->nodes, ret->cap, 0);
	ret->n = 1;
	for (size_t i = 0; i < a->n_groups; i++) {
		const struct group *g = &a->groups[i];
		uint32_t at = 0;

		stacks_walk(c, (struct stack_id){(uint32_t)g->key}, &w);
		heap_totals_add(&ret->nodes[0].totals, &g->totals);
		if (!w.n)
			enter(&m, 0, (struct frame_id){0}, g);
		else if (bottom_up)
			for (size_t k = own_frame(own, &w); k < w.n; k++)
				at = enter(&m, at, w.frames[k], g);
		else
			for (size_t k = w.n; k-- > 0;)
				at = enter(&m, at, w.frames[k], g);
	}
	hashmap_release(&m.children);
	free(m.functions);
}

struct order {
	const struct call_tree *tree;
	size_t offset;
};

static uint64_t total(const struct order *o, uint32_t node)
{
	return *(const uint64_t *)((const char *)&o->tree->nodes[node].totals + o->offset);
}

static int by_total(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct order *o = arg;

	if (total(o, x) != total(o, y))
		return total(o, x) < total(o, y) ? 1 : -1;
	return x < y ? -1 : x > y;
}

static void sort_children(struct call_tree *t, uint32_t parent, struct order *o, uint32_t **list,
			  size_t *cap)
{
	size_t n = 0;
	uint32_t *link = &t->nodes[parent].first_child;

	for (uint32_t i = *link; i; i = t->nodes[i].next_sibling) {
		ARRAY_GROW(*list, *cap, n);
		(*list)[n++] = i;
	}
	if (n < 2)
		return;
	qsort_r(*list, n, sizeof(**list), by_total, o);
	for (size_t i = 0; i < n; i++) {
		*link = (*list)[i];
		link = &t->nodes[*link].next_sibling;
	}
	*link = 0;
}

void call_tree_sort(struct call_tree *t, size_t total_offset)
{
	struct order o = {t, total_offset};
	uint32_t *list = NULL;
	size_t cap = 0;

	for (uint32_t i = 0; i < t->n; i++)
		sort_children(t, i, &o, &list, &cap);
	free(list);
}

void call_tree_release(struct call_tree *t)
{
	free(t->nodes);
	memset(t, 0, sizeof(*t));
}
