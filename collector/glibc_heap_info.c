/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/glibc_heap_info.h"

#include <errno.h>

#include "common/xalloc.h"

/* struct heap_info with what aligns the arena behind it: 2.35 and later, and before. */
static const uint8_t info_bytes[] = {48, 32};
/* The greatest sizes, which heaps are aligned to. */
static const uint64_t maxima[] = {(uint64_t)64 << 20, GLIBC_HEAP_ALIGN, GLIBC_HEAP_MAX};

static uint64_t round_up(uint64_t address)
{
	return (address + GLIBC_HEAP_ALIGN - 1) & ~(GLIBC_HEAP_ALIGN - 1);
}

uint64_t glibc_heap_of_arena(uint64_t arena)
{
	for (size_t i = 0; i < COUNT_OF(info_bytes); i++)
		if (arena > info_bytes[i] && (arena - info_bytes[i]) % GLIBC_HEAP_ALIGN == 0)
			return arena - info_bytes[i];
	return 0;
}

bool glibc_heap_info_fits(const struct glibc_heap_info *i, uint64_t address)
{
	uint64_t first = glibc_heap_of_arena(i->arena);

	return address && address % GLIBC_HEAP_ALIGN == 0 && first &&
	       i->before % GLIBC_HEAP_ALIGN == 0 && (first == address) == !i->before &&
	       i->before != address && i->bytes && i->bytes % PAGE_MAP_BYTES == 0 &&
	       i->writable_bytes % PAGE_MAP_BYTES == 0 && i->bytes <= i->writable_bytes &&
	       i->writable_bytes <= GLIBC_HEAP_MAX;
}

static int read_one(struct process_memory *m, uint64_t address, struct glibc_heap_info *ret)
{
	uint64_t words[4];
	int r = process_memory_read(m, address, words, sizeof(words));

	if (r)
		return r == -EFAULT ? 0 : r;
	*ret = (struct glibc_heap_info){words[0], words[1], words[2], words[3]};
	return glibc_heap_info_fits(ret, address);
}

int glibc_heap_info_read(struct process_memory *m, uint64_t address, struct glibc_heap_info *ret)
{
	struct glibc_heap_info other;
	int r = read_one(m, address, ret);

	if (r <= 0 || !ret->before)
		return r;
	r = read_one(m, ret->before, &other);
	if (r > 0 && other.arena == ret->arena)
		r = read_one(m, glibc_heap_of_arena(ret->arena), &other);
	return r <= 0 ? r : other.arena == ret->arena;
}

int glibc_heap_next(struct process_memory *m, uint64_t from, uint64_t end, uint64_t *ret_address,
		    struct glibc_heap_info *ret)
{
	struct page_run runs[64];

	while (from < end) {
		uint64_t looked;
		size_t n;
		int r = page_map_read(&m->pages, from, end, runs, COUNT_OF(runs), &n, &looked);

		for (size_t i = 0; i < n && !r; i++) {
			uint64_t at = round_up(runs[i].start > from ? runs[i].start : from);

			for (; at < runs[i].end && at < end && !r; at += GLIBC_HEAP_ALIGN) {
				r = glibc_heap_info_read(m, at, ret);
				*ret_address = at;
			}
		}
		if (r)
			return r;
		from = looked;
	}
	return 0;
}

int glibc_heap_holding(struct process_memory *m, uint64_t arena, uint64_t address,
		       uint64_t *ret_address, struct glibc_heap_info *ret)
{
	int r = 0;

	for (size_t i = 0; i < COUNT_OF(maxima) && !r; i++) {
		*ret_address = address & ~(maxima[i] - 1);
		r = glibc_heap_info_read(m, *ret_address, ret);
		if (r > 0)
			r = ret->arena == arena && address - *ret_address < ret->bytes;
	}
	return r;
}
