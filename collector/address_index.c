/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/address_index.h"

#include <stdlib.h>
#include <string.h>

#include "collector/pointers.h"
#include "common/xalloc.h"

#define SHIFT_MIN 6
#define SHIFT_MAX 12
#define PAGE_BYTES (1ull << SHIFT_MAX)
/* Of a gap as large as that its pages would take 64 KiB, or as much as its blocks do. */
#define GAP_MAX (64ull << 20)
#define LINEAR_MAX 8 /* blocks of a page that are gone through one by one */

/* One without bytes has its first one all the same, or nobody could point to it. */
static inline uint64_t end_of(const struct pointers_block *b)
{
	return b->address + (b->size ? b->size : 1);
}

/* The blocks @from to before @to, which have no large gap between them. */
static void add_region(struct address_index *x, size_t from, size_t to)
{
	const struct pointers_block *b = x->blocks;
	uint64_t start = b[from].address & ~(PAGE_BYTES - 1);
	uint64_t len = end_of(&b[to - 1]) - start;
	struct address_region r = {.start = start, .shift = SHIFT_MAX};
	size_t next = from;

	while (r.shift > SHIFT_MIN && len >> r.shift < to - from)
		r.shift--;
	r.len = (((len - 1) >> r.shift) + 1) << r.shift;
	r.last = xmalloc(((r.len >> r.shift) + 1) * sizeof(*r.last));
	for (uint64_t page = 0; page <= r.len >> r.shift; page++) {
		while (next < to && b[next].address <= start + (page << r.shift))
			next++;
		/* before the first one nothing is found: it is asked for its end */
		r.last[page] = (uint32_t)(next > from ? next - 1 : from);
	}
	ARRAY_GROW(x->regions, x->cap_regions, x->n_regions);
	x->regions[x->n_regions++] = r;
}

void address_index_make(struct address_index *x, const struct pointers_block *blocks, size_t n)
{
	size_t from = 0;

	*x = (struct address_index){.blocks = blocks, .n = n};
	if (!n)
		return;
	x->low = blocks[0].address;
	x->span = end_of(&blocks[n - 1]) - x->low;
	for (size_t i = 1; i <= n; i++) {
		if (i < n && blocks[i].address - end_of(&blocks[i - 1]) < GAP_MAX)
			continue;
		add_region(x, from, i);
		from = i;
	}
}

void address_index_release(struct address_index *x)
{
	for (size_t i = 0; i < x->n_regions; i++)
		free(x->regions[i].last);
	free(x->regions);
	memset(x, 0, sizeof(*x));
}

const uint32_t *address_index_page(const struct address_index *x, uint64_t address)
{
	for (size_t i = 0; i < x->n_regions; i++) {
		const struct address_region *r = &x->regions[i];

		if (address - r->start < r->len)
			return &r->last[(address - r->start) >> r->shift];
	}
	return NULL;
}

uint32_t address_index_find(const struct address_index *x, const uint32_t *page, uint64_t address)
{
	const struct pointers_block *b = x->blocks;
	uint32_t low = page[0], high = page[1]; /* it is one of these, or none */

	while (high - low > LINEAR_MAX) {
		uint32_t middle = low + (high - low) / 2;

		if (b[middle].address <= address)
			low = middle;
		else
			high = middle - 1;
	}
	while (low < high && b[low + 1].address <= address)
		low++;
	return address >= b[low].address && address < end_of(&b[low]) ? low : ADDRESS_INDEX_NONE;
}
