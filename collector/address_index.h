/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_ADDRESS_INDEX_H
#define COLLECTOR_ADDRESS_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct pointers_block;

/*
 * Which block an address is in.  Most words of a memory are no pointers: one comparison is
 * enough for those.  For the others each page between the blocks knows the block that its first
 * byte is in or behind; where there are none for long, no pages are kept.  Pages are as large as
 * a few blocks.
 */
#define ADDRESS_INDEX_NONE UINT32_MAX

struct address_index {
	const struct pointers_block *blocks;
	size_t n;
	uint64_t low, span; /* of all of them */
	struct address_region {
		uint64_t start, len;
		unsigned int shift; /* bytes of a page: 1 << shift */
		uint32_t *last; /* [page] the last block that begins at its first byte or before */
	} *regions;
	size_t n_regions, cap_regions;
};

/* @blocks: by rising addresses, none in another; they must outlive @x. */
void address_index_make(struct address_index *x, const struct pointers_block *blocks, size_t n);
void address_index_release(struct address_index *x);

/* Where it is looked up for @address: NULL: in none.  The next but needs to be fetched. */
const uint32_t *address_index_page(const struct address_index *x, uint64_t address);
/* The block that has @address, by its page; or ADDRESS_INDEX_NONE. */
uint32_t address_index_find(const struct address_index *x, const uint32_t *page, uint64_t address);

#endif
