/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/call_tree.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/stacks.h"
#include "common/hash.h"
#include "common/xalloc.h"

static uint64_t generations; /* so far, of all trees */

/* What a function is known by, whatever number its frame has. */
static uint64_t identity_of(struct call_tree *t, struct frame_id function)
{
	const struct catalog_frame *f = catalog_frame(t->catalog, function);
	uint64_t *known = &t->identities[function.v];

	if (!*known)
		*known = (f->function ? hash_bytes(f->function, strlen(f->function)) : f->offset) ^
			 hash_u64(f->module.v);
	return *known;
}

static uint32_t add_node(struct call_tree *t, uint32_t parent, struct frame_id function)
{
	uint32_t at = (uint32_t)t->n;
	struct call_node *n;

	ARRAY_GROW(t->nodes, t->cap, t->n);
	t->n++;
	n = &t->nodes[at];
	*n = (struct call_node){.frame = function, .parent = parent, .path = 1};
	if (!at)
		return at;
	n->depth = t->nodes[parent].depth + 1;
	n->path = hash_u64(t->nodes[parent].path * 31 + identity_of(t, function));
	n->next_of_all = t->nodes[parent].first_of_all;
	t->nodes[parent].first_of_all = at;
	return at;
}

/* The child of @parent for the function of @frame. */
static uint32_t child_of(struct call_tree *t, struct hashmap *children, uint32_t parent,
			 struct frame_id frame)
{
	struct frame_id function = {t->functions[frame.v]};
	uint32_t *place = hashmap_put(children, (uint64_t)parent << 32 | function.v);

	if (*place == HASHMAP_NONE)
		*place = add_node(t, parent, function);
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

#define ON_THE_WAY UINT32_MAX
#define NO_STACK 1 /* the node of what has none */

/* The functions at a place, the outermost first. */
static uint32_t descend(struct call_tree *t, uint32_t at, struct frame_id frame)
{
	struct frame_id outer = catalog_frame(t->catalog, frame)->outer;

	if (outer.v)
		at = descend(t, at, outer);
	return child_of(t, &t->children, at, frame);
}

/* Where it hangs, with all that called it; 0: it is not there. */
static uint32_t node_of(struct call_tree *t, struct stack_id id)
{
	const struct catalog_stack *stacks = t->catalog->stacks;
	uint32_t at = id.v, node = 0;
	size_t n = 0;

	/* what has no caller, or a damaged one, hangs at the root */
	while (at && at < t->n_stacks && stacks[at].frame.v &&
	       stacks[at].frame.v < t->catalog->n_frames && !t->node_of[at]) {
		t->node_of[at] = ON_THE_WAY;
		ARRAY_GROW(t->way, t->cap_way, n);
		t->way[n++] = at;
		at = stacks[at].parent.v;
	}
	if (at < t->n_stacks && t->node_of[at] != ON_THE_WAY)
		node = t->node_of[at];
	while (n--) {
		node = descend(t, node, stacks[t->way[n]].frame);
		t->node_of[t->way[n]] = node;
	}
	return node;
}

/* Which nodes are further in than each: those with places from its own on to its end. */
static void place_nodes(struct call_tree *t)
{
	uint32_t *sizes = xcalloc(t->n, sizeof(*sizes)), *next = xcalloc(t->n, sizeof(*next));

	for (size_t i = t->n; i-- > 0;)
		sizes[t->nodes[i].parent] += i ? ++sizes[i] : 1;
	free(t->places);
	t->places = xcalloc(t->n, sizeof(*t->places));
	for (size_t i = 0; i < t->n; i++) {
		uint32_t *from = &next[t->nodes[i].parent];

		t->places[i].first = *from;
		t->places[i].end = *from + sizes[i];
		if (i)
			*from += sizes[i];
		next[i] = t->places[i].first + 1;
	}
	t->n_placed = t->n;
	free(t->ranks);
	t->ranks = xcalloc(t->n + 1, sizeof(*t->ranks));
	free(sizes);
	free(next);
}

/*
 * Sums in the order of places: whatever a node has of the moment is the difference of two of
 * them, and few nodes are ever looked at.
 */
static void count_top_down(struct call_tree *t)
{
	size_t n = t->analysis->n_groups;
	uint32_t *at = xcalloc(n + 1, sizeof(*at)), used = 0;

	for (size_t i = 0; i < n; i++) {
		at[i] = node_of(t, stack_of(t, i));
		at[i] = at[i] ? at[i] : NO_STACK;
	}
	if (t->n_placed != t->n)
		place_nodes(t);
	memset(t->ranks, 0, (t->n + 1) * sizeof(*t->ranks));
	for (size_t i = 0; i < n; i++) {
		at[i] = t->places[at[i]].first;
		t->ranks[at[i]] = 1;
	}
	for (size_t i = 0; i <= t->n; i++) {
		uint32_t is_used = t->ranks[i];

		t->ranks[i] = used;
		used += is_used;
	}
	free(t->sums);
	t->sums = xcalloc((size_t)used + 1, sizeof(*t->sums));
	for (size_t i = 0; i < n; i++)
		heap_totals_add(&t->sums[t->ranks[at[i]] + 1], totals_of(t, i));
	for (size_t i = 0; i < used; i++)
		heap_totals_add(&t->sums[i + 1], &t->sums[i]);
	free(at);
}

static struct heap_totals difference(const struct heap_totals *a, const struct heap_totals *b)
{
	return (struct heap_totals){.alloc_calls = a->alloc_calls - b->alloc_calls,
				    .allocated_bytes = a->allocated_bytes - b->allocated_bytes,
				    .live_blocks = a->live_blocks - b->live_blocks,
				    .live_bytes = a->live_bytes - b->live_bytes,
				    .peak_blocks = a->peak_blocks - b->peak_blocks,
				    .peak_bytes = a->peak_bytes - b->peak_bytes,
				    .temporary_allocs = a->temporary_allocs - b->temporary_allocs};
}

bool call_tree_count_node(struct call_tree *t, uint32_t node)
{
	struct call_node *n = &t->nodes[node];
	const uint32_t *ranks = t->ranks;
	uint32_t first, end;

	if (t->is_bottom_up)
		return true; /* it was made with its totals */
	first = t->places[node].first;
	end = t->places[node].end;
	n->totals = difference(&t->sums[ranks[end]], &t->sums[ranks[first]]);
	n->has_children = ranks[end] != ranks[first + 1];
	return ranks[end] != ranks[first];
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
static struct call_way find_way(const struct call_tree *t, struct stack_id stack)
{
	struct call_way w = {.stack = stack};
	struct frame_id wanted = own_of_stack(t->own, w.stack);

	w.frame = wanted.v ? catalog_stack(t->catalog, w.stack)->frame : wanted;
	for (int i = 0; w.frame.v != wanted.v && i < STACK_FRAMES_MAX; i++)
		if (!step_out(t->catalog, &w))
			break;
	return w;
}

static struct call_way begin_way(struct call_tree *t, uint32_t group)
{
	struct stack_id stack = stack_of(t, group);
	struct call_way w;

	if (stack.v < t->n_stacks && t->begins[stack.v].group) {
		w = t->begins[stack.v];
	} else {
		w = find_way(t, stack);
		w.group = 1; /* it is known */
		if (stack.v < t->n_stacks)
			t->begins[stack.v] = w;
	}
	w.group = group;
	return w;
}

static void put_way(struct call_tree *t, struct call_way w)
{
	ARRAY_GROW(t->ways, t->cap_ways, t->n_ways);
	t->ways[t->n_ways++] = w;
}

/* What leads on from @child, of one of those that came to it. */
static void lead_on(struct call_tree *t, uint32_t child, struct call_way way)
{
	struct call_node *n = &t->nodes[child];

	/* a circle of stacks must not lead on for ever */
	if (!way.frame.v || n->depth >= STACK_FRAMES_MAX || !step_out(t->catalog, &way))
		return;
	put_way(t, way);
	n->n_ways++;
	n->has_children = true;
}

/* The children are those whose ways come to them next; what leads on is put behind all. */
static void branch(struct call_tree *t, uint32_t node, const struct call_way *ways, size_t n)
{
	uint32_t *child = xcalloc(n + 1, sizeof(*child)), *list = xcalloc(n + 1, sizeof(*list));
	uint32_t first = (uint32_t)t->n, *ends;
	struct hashmap children = {0};

	for (size_t i = 0; i < n; i++) {
		child[i] = child_of(t, &children, node, ways[i].frame);
		heap_totals_add(&t->nodes[child[i]].totals, totals_of(t, ways[i].group));
	}
	/* those of each child together, in their order */
	ends = xcalloc(t->n - first + 1, sizeof(*ends));
	for (size_t i = 0; i < n; i++)
		ends[child[i] - first + 1]++;
	for (size_t i = 1; i <= t->n - first; i++)
		ends[i] += ends[i - 1];
	for (size_t i = 0; i < n; i++)
		list[ends[child[i] - first]++] = (uint32_t)i;
	for (size_t i = 0; i < n; i++) {
		struct call_node *to = &t->nodes[child[list[i]]];

		if (!to->n_ways)
			to->first_way = (uint32_t)t->n_ways;
		lead_on(t, child[list[i]], ways[list[i]]);
	}
	hashmap_release(&children);
	free(child);
	free(list);
	free(ends);
}

static void count_bottom_up(struct call_tree *t)
{
	size_t n = t->analysis->n_groups;
	struct call_way *ways = xcalloc(n + 1, sizeof(*ways));

	t->n = t->n_ways = 0;
	t->generation = ++generations;
	add_node(t, 0, (struct frame_id){0});
	t->nodes[0].has_children = n > 0;
	for (size_t i = 0; i < n; i++) {
		ways[i] = begin_way(t, (uint32_t)i);
		heap_totals_add(&t->nodes[0].totals, totals_of(t, i));
	}
	branch(t, 0, ways, n);
	free(ways);
}

/* ---- order -------------------------------------------------------------------------- */

static uint64_t total(const struct call_tree *t, uint32_t node)
{
	return *(const uint64_t *)((const char *)&t->nodes[node].totals + t->sort_offset);
}

/* Of equal ones in the order of their functions, what has no stack last. */
static int by_total(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct call_tree *t = arg;

	if (total(t, x) != total(t, y))
		return total(t, x) < total(t, y) ? 1 : -1;
	x = t->nodes[x].frame.v - 1;
	y = t->nodes[y].frame.v - 1;
	return x < y ? -1 : x > y;
}

static void sort_children(struct call_tree *t, uint32_t parent)
{
	uint32_t *link = &t->nodes[parent].first_child, *list = NULL;
	size_t n = 0, cap = 0;

	if (t->nodes[parent].order == t->order)
		return;
	t->nodes[parent].order = t->order;
	for (uint32_t i = t->nodes[parent].first_of_all; i; i = t->nodes[i].next_of_all) {
		if (!call_tree_count_node(t, i))
			continue;
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

void call_tree_init(struct call_tree *t, const struct catalog *c, const struct own *own,
		    bool bottom_up)
{
	size_t n = c->n_stacks + 1;

	*t = (struct call_tree){.catalog = c,
				.own = own,
				.functions = stacks_classify_functions(c),
				.identities = xcalloc(c->n_frames + 1, sizeof(*t->identities)),
				.n_stacks = c->n_stacks,
				.is_bottom_up = bottom_up,
				.generation = ++generations};
	if (bottom_up)
		t->begins = xcalloc(n, sizeof(*t->begins));
	else
		t->node_of = xcalloc(n, sizeof(*t->node_of));
	add_node(t, 0, (struct frame_id){0});
	if (!bottom_up)
		add_node(t, 0, (struct frame_id){0}); /* NO_STACK */
}

void call_tree_count(struct call_tree *t, const struct analysis *a)
{
	t->analysis = a;
	if (t->is_bottom_up) {
		count_bottom_up(t);
	} else {
		count_top_down(t);
		call_tree_count_node(t, 0);
	}
	t->order++;
}

static void make_children(struct call_tree *t, uint32_t node)
{
	struct call_node *n = &t->nodes[node];
	size_t n_ways = n->n_ways;
	struct call_way *ways;

	if (!n_ways)
		return;
	n->n_ways = 0;
	ways = xcalloc(n_ways, sizeof(*ways));
	memcpy(ways, t->ways + n->first_way, n_ways * sizeof(*ways));
	branch(t, node, ways, n_ways);
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
	free(t->places);
	free(t->ranks);
	free(t->sums);
	free(t->functions);
	free(t->identities);
	free(t->node_of);
	free(t->way);
	free(t->begins);
	free(t->ways);
	hashmap_release(&t->children);
	memset(t, 0, sizeof(*t));
}
