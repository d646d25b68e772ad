/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_CALL_TREE_H
#define ANALYZER_CALL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/own.h"
#include "common/hash.h"
#include "store/reader.h"

/*
 * Who called whom, merged by function: from the outermost inwards, or from the own
 * functions (own.h) to those that called them.  A node's totals are those of all stacks
 * that go through it; the root's are the recording's.
 *
 * From the outermost inwards the nodes remain from moment to moment: what is counted anew are
 * their totals, and who has none is not shown.  From the own functions outwards there are so
 * many branches that they are only made where someone looks: call_tree_open().
 */
struct call_node {
	struct frame_id frame; /* the first of the function; {0}: the root, or no stack */
	uint32_t parent, first_child, next_sibling; /* places in nodes; 0: none */
	uint32_t depth;				    /* the root's is 0 */
	bool has_children; /* though they may not have been made yet */
	struct heap_totals totals; /* once its parent has been opened */
	uint64_t path; /* what it is known by in any tree of the recording */
	/* the tree's own: */
	uint32_t order;			    /* the tree's when the children were sorted */
	uint32_t first_of_all, next_of_all; /* children, also those that are not shown */
	uint32_t first_way, n_ways;	    /* that lead on from here, while they are not made */
};

struct call_tree {
	struct call_node *nodes; /* [0] is the root; who called comes before */
	size_t n, cap;
	uint64_t generation; /* of any tree; with another one the nodes have other places */
	size_t sort_offset;
	/* its own: */
	const struct catalog *catalog;
	const struct own *own;
	const struct analysis *analysis;
	bool is_bottom_up;
	uint32_t *functions;  /* [frame] the first of the same function */
	uint64_t *identities; /* [function] 0: not known yet */
	uint32_t order; /* how often another order was asked for */
	size_t n_stacks;
	struct hashmap children; /* node and function -> node */
	uint32_t *node_of;	 /* [stack] 0: nobody has asked yet */
	uint32_t *way;
	size_t cap_way;
	struct call_place {
		uint32_t first, end;
	} *places; /* [node] in a walk that comes to those further in next */
	size_t n_placed;
	uint32_t *ranks;	  /* [place] of those before so many have any totals … */
	struct heap_totals *sums; /* … [so many] which are these together */
	struct call_way {
		uint32_t group;	       /* place in the analysis */
		struct stack_id stack; /* whose function is next … */
		struct frame_id frame; /* … this one */
	} *ways, *begins; /* [stack] where ways begin, with group 1 if it is known */
	size_t n_ways, cap_ways;
};

/* @c and @own stay as they are as long as the tree is counted and opened. */
void call_tree_init(struct call_tree *t, const struct catalog *c, const struct own *own,
		    bool bottom_up);
/*
 * Takes the totals of @a, which must be grouped by stack, and stays as it is as long as the
 * tree is opened further.  A stack that does not reach the outermost function hangs at the
 * root with what there is of it; one without frames is a child of frame {0}.
 */
void call_tree_count(struct call_tree *t, const struct analysis *a);
/*
 * Siblings come by one of the totals from now on (an offset in struct heap_totals), the largest
 * first, once their parent has been opened: few of them are ever looked at.
 */
void call_tree_sort(struct call_tree *t, size_t total_offset);
/* Makes the node's children, if they are not there, and sorts them; nodes may move in memory. */
void call_tree_open(struct call_tree *t, uint32_t node);
/*
 * Has it any of what was counted?  Its totals are there then, and whether it has children, also
 * where its parent has not been opened.
 */
bool call_tree_count_node(struct call_tree *t, uint32_t node);
void call_tree_release(struct call_tree *t);

#endif
