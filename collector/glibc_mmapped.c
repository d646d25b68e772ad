/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "collector/glibc_walk.h"
#include "common/xalloc.h"

/*
 * Blocks that have a mapping each.  No list has them, but malloc counts them: those are looked
 * for that look like one at the beginning of a page, first where a mapping begins or another
 * such block ends, then at each page that is there at all, until number and bytes are right.
 */
#define ALIGN_MAX ((uint64_t)1 << 40)

struct search {
	struct glibc_walk *walk;
	uint64_t bytes; /* found */
	uint64_t page;
};

static bool is_over(int error)
{
	return error && error != -EFAULT;
}

static bool is_found(const struct search *s)
{
	return s->walk->n_mmapped == s->walk->parameters.n_mmaps &&
	       s->bytes == s->walk->parameters.mmapped_mem;
}

static void add(struct search *s, uint64_t address, uint64_t size, uint64_t total)
{
	struct glibc_walk *w = s->walk;

	ARRAY_GROW(w->mmapped, w->cap_mmapped, w->n_mmapped);
	w->mmapped[w->n_mmapped++] = (struct glibc_chunk){address, size, GLIBC_NO_ARENA,
							  GLIBC_MMAPPED};
	s->bytes += total;
}

/* A block at a multiple of more than 16 (memalign): its chunk begins later in the mapping. */
static int try_aligned(struct search *s, uint64_t start, uint64_t end, uint64_t *ret_total)
{
	uint64_t at[64] = {0}, header[64][2];
	size_t n = 0;
	int e;

	/* it may have been made smaller since than what it is a multiple of */
	for (uint64_t align = CHUNK_MIN; align <= ALIGN_MAX; align <<= 1) {
		uint64_t chunk = ((start + 16 + align - 1) & ~(align - 1)) - 16;

		if (chunk - start < CHUNK_MIN)
			chunk += align;
		if (chunk < end && end - chunk > 16)
			at[n++] = chunk;
	}
	e = process_memory_gather(&s->walk->memory, at, n, header, sizeof(header[0]));
	for (size_t i = 0; i < n && !e; i++) {
		uint64_t before = at[i] - start, size = head_size(header[i][1]);

		if (header[i][0] != before || (header[i][1] & CHUNK_FLAGS) != CHUNK_IS_MMAPPED ||
		    size > end - at[i] || (before + size) % s->page)
			continue;
		*ret_total = before + size;
		add(s, at[i], size, *ret_total);
		break;
	}
	return e;
}

/* The block whose mapping begins at @start, below @end; *@ret_total: its bytes, or 0: none. */
static int try_page(struct search *s, uint64_t start, uint64_t end, uint64_t *ret_total)
{
	uint64_t header[2], size;
	int e = process_memory_read(&s->walk->memory, start, header, sizeof(header));

	*ret_total = 0;
	if (e)
		return is_over(e) ? e : 0;
	size = head_size(header[1]);
	if (header[0] || (header[1] & CHUNK_FLAGS) != CHUNK_IS_MMAPPED || size % s->page || !size)
		return 0;
	e = try_aligned(s, start, end, ret_total);
	if (e || *ret_total || size > end - start)
		return e;
	*ret_total = size;
	add(s, start, size, size);
	return 0;
}

/* Where the arena's part ends that holds @address, rounded to pages; else @address. */
static uint64_t behind_part(const struct search *s, uint64_t address)
{
	const struct raw_part *p = glibc_raw_part(s->walk, address);

	return p ? (p->part.end + s->page - 1) & ~(s->page - 1) : address;
}

/* All pages from @start on that are there; or, until one is none, those where a block may begin. */
static int search_pages(struct search *s, uint64_t start, uint64_t end, uint64_t map_end,
			bool all_pages, uint64_t *ret_end)
{
	uint64_t at = start, total;

	while (at < end) {
		uint64_t behind = behind_part(s, at);
		int e;

		if (behind != at) {
			at = behind;
			continue;
		}
		e = try_page(s, at, map_end, &total);
		if (e)
			return e;
		if (!total && !all_pages) {
			*ret_end = map_end;
			return 0;
		}
		at += total ? total : s->page;
	}
	*ret_end = at;
	return 0;
}

static int search_map(struct search *s, const struct process_map *map, bool all_pages)
{
	uint64_t at = map->start, start, end;
	int e = 0;

	if (!all_pages)
		return search_pages(s, at, map->end, map->end, false, &end);
	while (!e && (e = page_map_next(&s->walk->memory.pages, at, map->end, &start, &end)) > 0)
		e = search_pages(s, start, end, map->end, true, &at);
	return e;
}

static int search(struct search *s, bool all_pages)
{
	const struct process_maps *maps = s->walk->maps;
	int e = 0;

	s->walk->n_mmapped = 0;
	s->bytes = 0;
	for (size_t i = 0; i < maps->n && !e && !is_found(s); i++) {
		const struct process_map *map = &maps->maps[i];

		if (map->writable && process_map_is_anonymous(map))
			e = search_map(s, map, all_pages);
	}
	return e;
}

int glibc_read_mmapped(struct glibc_walk *w)
{
	struct search s = {.walk = w, .page = (uint64_t)sysconf(_SC_PAGESIZE)};
	int e;

	if (!w->parameters.n_mmaps)
		return 0;
	e = search(&s, false);
	if (!e && !is_found(&s))
		e = search(&s, true);
	if (!e && !is_found(&s)) {
		w->mmapped_left_out = "blocks with mappings of their own are not all found";
		w->n_mmapped = 0;
	}
	return e;
}
