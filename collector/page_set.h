/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PAGE_SET_H
#define COLLECTOR_PAGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/hash.h"

/*
 * A set of pages of an address space: a bit each, 32 KiB for each GiB in which there are any.
 * Zero-initialised is empty.
 */
#define PAGE_SET_PAGE ((uint64_t)4096)
#define PAGE_SET_LEAF_SHIFT 30
#define PAGE_SET_LEAF_WORDS (((size_t)1 << (PAGE_SET_LEAF_SHIFT - 12)) / 64)

struct page_set {
	struct hashmap leaf_of; /* address >> PAGE_SET_LEAF_SHIFT -> leaf */
	uint64_t (**leaves)[PAGE_SET_LEAF_WORDS];
	size_t n_leaves, cap_leaves;
	/* where it was last added to */
	uint64_t last_number;
	uint64_t (*last)[PAGE_SET_LEAF_WORDS];
};

/* All pages that have a byte of [@start, @end). */
void page_set_add(struct page_set *s, uint64_t start, uint64_t end);
/* All that lie in [@start, @end) whole are in it no more. */
void page_set_remove(struct page_set *s, uint64_t start, uint64_t end);
/*
 * The first pages of the set that have a byte of [@from, @end), and what follows them without a
 * gap, cut off at both ends.  False: there are none.
 */
bool page_set_next(const struct page_set *s, uint64_t from, uint64_t end, uint64_t *ret_start,
		   uint64_t *ret_end);
void page_set_release(struct page_set *s);

#endif
