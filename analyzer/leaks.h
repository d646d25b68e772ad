/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_LEAKS_H
#define ANALYZER_LEAKS_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/block_kinds.h"
#include "analyzer/own.h"
#include "analyzer/rows.h"
#include "analyzer/suppressions.h"
#include "store/catalog.h"
#include "store/replay.h"

/* The blocks that are live at the end, in records that a leak report shows. */

struct leak_block {
	uint64_t t_ns, address, size;
	struct stack_id stack;
	uint8_t kind; /* enum block_kind */
};

struct leak_blocks {
	struct leak_block *items; /* in no order */
	size_t n, cap;
	uint64_t max_size; /* of all that were added */
	struct block_kinds kinds;
};

/* Adds one: a totals_visitor; @blocks is a struct leak_blocks. */
void leak_blocks_add(void *blocks, const struct replay_block *b);
void leak_blocks_release(struct leak_blocks *b);
/*
 * They are those that are live at the end: finds out of which kinds they are.  Else they are of
 * none.  0, or a negative errno with @err.
 */
int leak_blocks_find_kinds(struct leak_blocks *b, struct store_reader *r, struct err *err);

/* Which of them are shown. */
struct leak_filter {
	uint64_t since_ns, until_ns; /* allocated then; 0 and UINT64_MAX: any */
	uint64_t min_size;
	unsigned int kinds; /* bits 1 << enum block_kind; 0: any */
};

/* Blocks of one kind whose stacks, or own frames, read the same. */
struct leak {
	const struct row *row;	  /* its totals: live_blocks and live_bytes; oldest_ns, newest_ns */
	uint64_t min_size, max_size;
	uint64_t median_ns;	  /* when the middle one was allocated; of two their mean */
	struct suppression *suppressed_by; /* or NULL */
	enum block_kind kind;
};

struct leaks {
	/* those that are not suppressed first; by kinds, of each the most bytes first */
	struct leak *items;
	size_t n, n_shown;  /* n_shown: not suppressed */
	uint64_t bytes, blocks; /* of all */
	uint64_t suppressed_bytes, suppressed_blocks;
	struct {
		uint64_t bytes, blocks;
	} kinds[BLOCK_KINDS]; /* of those that are not suppressed */
	struct rows *sets; /* what the records' rows are in */
	size_t n_sets;
};

/*
 * Removes from @blocks what @filter does not let through.  The blocks of a stack that one of
 * @suppressions is of are records of their own, by the first that is; it is told how many.
 * @suppressions and what is the catalog's must outlive @ret.  @by: any that goes by stacks.
 */
void leaks_make(struct leaks *ret, const struct catalog *c, const struct own *own,
		struct leak_blocks *blocks, const struct leak_filter *filter,
		struct suppressions *suppressions, enum rows_by by);
void leaks_release(struct leaks *l);

#endif
