/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/glibc_walk.h"
#include "common/xalloc.h"

/*
 * Blocks that have a mapping each.  No list has them, but malloc counts them: those are looked
 * for that look like one at the beginning of a page, first where a mapping begins or another
 * such block ends, then at each page that is there at all, until number and bytes are right.
 */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGES_AT_ONCE 8192u
#define ALIGN_MAX ((uint64_t)1 << 40)

struct search {
	struct glibc_walk *walk;
	uint64_t bytes; /* found */
	uint64_t page;
	int pagemap;
	uint64_t *pages; /* what the pagemap says of those from first_page on */
	uint64_t first_page, n_pages;
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
	e = remote_gather(&s->walk->memory, at, n, header, sizeof(header[0]));
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
	int e = remote_read(&s->walk->memory, start, header, sizeof(header));

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

/* Is the page there, so that it can have anything in it?  Where that is not known, it may be. */
static bool is_present(struct search *s, uint64_t address)
{
	uint64_t page = address / s->page;
	ssize_t n;

	if (s->pagemap < 0)
		return true;
	if (page < s->first_page || page - s->first_page >= s->n_pages) {
		n = pread(s->pagemap, s->pages, PAGES_AT_ONCE * sizeof(*s->pages),
			  (off_t)(page * sizeof(*s->pages)));
		if (n < (ssize_t)sizeof(*s->pages))
			return true;
		s->first_page = page;
		s->n_pages = (uint64_t)n / sizeof(*s->pages);
	}
	return s->pages[page - s->first_page] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);
}

/* Where the arena's part ends that holds @address, rounded to pages; else @address. */
static uint64_t behind_part(const struct search *s, uint64_t address)
{
	const struct glibc_walk *w = s->walk;

	for (size_t i = 0; i < w->n_parts; i++)
		if (w->parts[i].part.start <= address && address < w->parts[i].part.end)
			return (w->parts[i].part.end + s->page - 1) & ~(s->page - 1);
	return address;
}

static int search_map(struct search *s, const struct process_map *map, bool all_pages)
{
	uint64_t at = map->start, total;

	while (at < map->end) {
		uint64_t behind = behind_part(s, at);
		int e;

		if (behind != at) {
			at = behind;
			continue;
		}
		if (all_pages && !is_present(s, at)) {
			at += s->page;
			continue;
		}
		e = try_page(s, at, map->end, &total);
		if (e)
			return e;
		if (!total && !all_pages)
			return 0;
		at += total ? total : s->page;
	}
	return 0;
}

static int search(struct search *s, bool all_pages)
{
	const struct process_maps *maps = s->walk->maps;
	int e = 0;

	s->walk->n_mmapped = 0;
	s->bytes = 0;
	for (size_t i = 0; i < maps->n && !e && !is_found(s); i++) {
		const struct process_map *map = &maps->maps[i];

		if (map->writable && !map->is_shared && !map->inode &&
		    (!*map->path || !strncmp(map->path, "[anon", 5)))
			e = search_map(s, map, all_pages);
	}
	return e;
}

int glibc_read_mmapped(struct glibc_walk *w)
{
	struct search s = {.walk = w, .page = (uint64_t)sysconf(_SC_PAGESIZE)};
	char path[64];
	int e;

	if (!w->parameters.n_mmaps)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)w->memory.pid);
	s.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	s.pages = xmalloc(PAGES_AT_ONCE * sizeof(*s.pages));
	e = search(&s, false);
	if (!e && !is_found(&s))
		e = search(&s, true);
	if (!e && !is_found(&s)) {
		w->mmapped_left_out = "blocks with mappings of their own are not all found";
		w->n_mmapped = 0;
	}
	if (s.pagemap >= 0)
		close(s.pagemap);
	free(s.pages);
	return e;
}
