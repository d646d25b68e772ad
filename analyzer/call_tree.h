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
 */
struct call_node {
	struct frame_id frame; /* one of those merged here; {0}: the root */
	uint32_t parent, first_child, next_sibling; /* places in nodes; 0: none */
	uint32_t depth;				    /* the root's is 0 */
	struct heap_totals totals;
};

struct call_tree {
	struct call_node *nodes; /* [0] is the root */
	size_t n, cap;
};

/*
 * @a must be grouped by stack.  A stack that does not reach the outermost function
 * hangs at the root with what there is of it; one without frames is a child of frame {0}.
 */
void call_tree_make(struct call_tree *ret, const struct catalog *c, const struct analysis *a,
		    const struct own *own, bool bottom_up);
/* Siblings by one of the totals (an offset in struct heap_totals), the largest first. */
void call_tree_sort(struct call_tree *t, size_t total_offset);
void call_tree_release(struct call_tree *t);

#endif
