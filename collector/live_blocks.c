/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/live_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "collector/family.h"
#include "common/xalloc.h"

/* Flags ride in the upper bits of the size until the blocks are in order. */
#define FLAG_SHIFT 56
#define SIZE_MASK ((1ull << FLAG_SHIFT) - 1)

struct listing {
	struct live_blocks *to;
	const struct drain *drain;
	size_t cap;
	uint64_t differ; /* bits in which addresses differ */
	bool is_in_order; /* they came so */
};

static void add(struct listing *l, uint64_t address, uint64_t size, uint64_t flags)
{
	struct live_blocks *b = l->to;

	if (b->n == l->cap || size > SIZE_MASK || address + size < address)
		return;
	l->differ |= b->n ? address ^ b->items[0].address : 0;
	l->is_in_order &= !b->n || address > b->items[b->n - 1].address;
	b->items[b->n++] = (struct pointers_block){address, size | flags << FLAG_SHIFT};
}

static void add_small(void *listing, uint64_t address, uint32_t size)
{
	struct listing *l = listing;
	uint64_t start, end;

	/* which allocator made it is known by its page */
	add(l, address, size,
	    page_set_next(&l->drain->block_pages, address, address + 1, &start, &end)
		    ? 0
		    : LIVE_GLIBC);
}

/* By the digits in which they differ, from the last one on: they come in any order. */
static void sort(struct live_blocks *b, uint64_t differ)
{
	struct pointers_block *from = b->items, *to = xmap_large(b->bytes), *t;

	for (unsigned int shift = 0; shift < 64; shift += 11) {
		size_t at[2048] = {0}, sum = 0;

		if (!(differ >> shift & 2047))
			continue;
		for (size_t i = 0; i < b->n; i++)
			at[from[i].address >> shift & 2047]++;
		for (size_t d = 0; d < COUNT_OF(at); d++) {
			size_t n = at[d];

			at[d] = sum;
			sum += n;
		}
		for (size_t i = 0; i < b->n; i++)
			to[at[from[i].address >> shift & 2047]++] = from[i];
		t = from;
		from = to;
		to = t;
	}
	b->items = from;
	xunmap_large(to, b->bytes);
}

/* Sizes without flags; and none in another. */
static void finish(struct live_blocks *b)
{
	uint64_t end = 0;
	size_t n = 0;

	b->flags = xmalloc(b->n + 1);
	for (size_t i = 0; i < b->n; i++) {
		struct pointers_block x = b->items[i];
		uint8_t flags = (uint8_t)(x.size >> FLAG_SHIFT);

		x.size &= SIZE_MASK;
		if (x.address < end)
			continue;
		end = x.address + (x.size ? x.size : 1);
		b->flags[n] = flags;
		b->items[n++] = x;
		b->n_recorded += flags & LIVE_RECORDED;
	}
	b->n = n;
}

void live_blocks_list(struct live_blocks *b, const struct drain *d)
{
	struct listing l = {.to = b, .drain = d, .is_in_order = true};
	const struct replay *heap = &d->heap;
	uint64_t above = families_above_heap();

	*b = (struct live_blocks){0};
	l.cap = heap->live_blocks + d->small.live_blocks;
	b->bytes = (l.cap + 1) * sizeof(*b->items);
	b->items = xmap_large(b->bytes);
	for (uint32_t slot = 0; slot < heap->slots.next; slot++) {
		const struct replay_cell *c = replay_at(heap, slot);
		uint64_t size = c->size, is_libc = c->family == FAMILY_LIBC ? LIVE_GLIBC : 0;

		if (!c->is_live || above >> (c->family & 63) & 1)
			continue;
		if (c->is_wide)
			size = replay_block_in(heap, slot).size;
		add(&l, c->address, size, LIVE_RECORDED | is_libc);
	}
	if (d->small.live_blocks)
		pairing_each_small(&d->pairing, add_small, &l);
	if (!l.is_in_order)
		sort(b, l.differ);
	finish(b);
}

void live_blocks_release(struct live_blocks *b)
{
	xunmap_large(b->items, b->bytes);
	free(b->flags);
	memset(b, 0, sizeof(*b));
}
