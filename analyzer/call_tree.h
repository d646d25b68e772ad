/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_CALL_TREE_H
#define ANALYZER_CALL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/own.h"
#include "store/reader.h"

/*
 * Who called whom, merged by function: from the outermost inwards, or from the own
 * functions (own.h) to those that called them.  A node's totals are those of all stacks
 * that go through it; the root's are the recording's.
 *
 * From the own functions outwards there are so many branches that they are only made
 * where someone looks: call_tree_open().
 */
struct call_node {
	struct frame_id frame; /* one of those merged here; {0}: the root, or no stack */
	uint32_t parent, first_child, next_sibling; /* places in nodes; 0: none */
	uint32_t depth;				    /* the root's is 0 */
	struct heap_totals totals;
	bool has_children; /* though they may not have been made yet */
	bool is_made;	   /* its children are there */
	uint32_t order;	   /* the tree's when they were sorted */
	uint32_t first_way, n_ways; /* that lead on from here, while they are not */
};

struct call_tree {
	struct call_node *nodes; /* [0] is the root; who called comes before */
	size_t n, cap;
	/* its own: */
	const struct catalog *catalog;
	const struct analysis *analysis;
	uint32_t *functions; /* [frame] the first of the same function */
	struct call_way {
		uint32_t group;	       /* place in the analysis */
		struct stack_id stack; /* whose function is next … */
		struct frame_id frame; /* … this one */
	} *ways;
	size_t n_ways, cap_ways;
	size_t sort_offset;
	uint32_t order; /* how often another order was asked for */
};

/*
 * @a must be grouped by stack, and @c and @a stay as they are as long as the tree is
 * opened further.  A stack that does not reach the outermost function hangs at the root
 * with what there is of it; one without frames is a child of frame {0}.  Siblings come
 * by one of the totals (an offset in struct heap_totals), the largest first, once their
 * parent has been opened: few of them are ever looked at.
 */
void call_tree_make(struct call_tree *ret, const struct catalog *c, const struct analysis *a,
		    const struct own *own, bool bottom_up, size_t total_offset);
/* Makes the node's children, if they are not there, and sorts them; nodes may move in memory. */
void call_tree_open(struct call_tree *t, uint32_t node);
/* From now on by another of the totals. */
void call_tree_sort(struct call_tree *t, size_t total_offset);
void call_tree_release(struct call_tree *t);

#endif
