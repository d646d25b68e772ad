/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/glibc_walk.h"
#include "common/xalloc.h"

/* So much writable data of files is looked through for the main arena. */
#define DATA_MAX ((uint64_t)256 << 20)
/* Further arenas than that are none. */
#define ARENAS_MAX 65536u

/* 2.26 to 2.34, and since 2.35, which knows huge pages. */
static const struct parameters_layout layouts[] = {
	{.n_mmaps = 60, .no_dyn_threshold = 72, .mmapped_mem = 80, .sbrk_base = 96,
	 .tcache_bins = 104, .end = 136},
	{.n_mmaps = 40, .no_dyn_threshold = 52, .mmapped_mem = 56, .sbrk_base = 72,
	 .tcache_bins = 80, .end = 112},
};

static uint64_t word_at(const uint8_t *data, size_t offset)
{
	uint64_t v;

	memcpy(&v, data + offset, sizeof(v));
	return v;
}

static uint32_t half_at(const uint8_t *data, size_t offset)
{
	uint32_t v;

	memcpy(&v, data + offset, sizeof(v));
	return v;
}

/* ---- struct malloc_par -------------------------------------------------------------- */

/* The number of the list for blocks of @bytes, as malloc computes it, plus one. */
static uint64_t bins_for(uint64_t bytes)
{
	uint64_t size = (bytes + 8 + CHUNK_ALIGN - 1) & ~(uint64_t)(CHUNK_ALIGN - 1);

	if (size < CHUNK_MIN)
		size = CHUNK_MIN;
	return (size - CHUNK_MIN + CHUNK_ALIGN - 1) / CHUNK_ALIGN + 1;
}

static bool is_parameters(const uint8_t *p, const struct parameters_layout *l,
			  const struct process_maps *maps)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t mmapped = word_at(p, l->mmapped_mem), bins = word_at(p, l->tcache_bins);
	uint64_t max_bytes = word_at(p, l->tcache_bins + 8u), base = word_at(p, l->sbrk_base);
	uint32_t n = half_at(p, l->n_mmaps);

	return bins >= 1 && bins <= CACHE_BINS && max_bytes <= CACHE_CHUNK_MAX &&
	       bins_for(max_bytes) == bins && word_at(p, l->tcache_bins + 16u) <= UINT16_MAX &&
	       half_at(p, l->no_dyn_threshold) <= 1 && n <= half_at(p, l->n_mmaps + 8u) &&
	       n <= INT32_MAX && (n == 0) == (mmapped == 0) && mmapped % page == 0 &&
	       mmapped <= word_at(p, l->mmapped_mem + 8u) &&
	       (!base || process_maps_find(maps, base) || process_maps_find(maps, base - 1));
}

/* It lies in the same data as the main arena: they are of one source file. */
static bool find_parameters(struct glibc_walk *w, const uint8_t *data, size_t n, uint64_t start)
{
	for (size_t k = 0; k < COUNT_OF(layouts); k++)
		for (size_t i = 0; i + layouts[k].end <= n; i += 8) {
			/* zeroes cannot be it: that is said quickly */
			if (!data[i + layouts[k].tcache_bins] ||
			    !is_parameters(data + i, &layouts[k], w->maps))
				continue;
			w->mp = start + i;
			w->mp_layout = &layouts[k];
			return true;
		}
	return false;
}

int glibc_read_parameters(struct glibc_walk *w)
{
	const struct parameters_layout *l = w->mp_layout;
	uint8_t p[256];
	int r = process_memory_read(&w->memory, w->mp, p, l->end);

	if (r)
		return r;
	w->parameters = (struct parameters){.n_mmaps = half_at(p, l->n_mmaps),
					    .mmapped_mem = word_at(p, l->mmapped_mem),
					    .sbrk_base = word_at(p, l->sbrk_base),
					    .tcache_count = word_at(p, l->tcache_bins + 16u)};
	return 0;
}

/* ---- the main arena ------------------------------------------------------------------ */

int glibc_read_state(struct glibc_walk *w, uint64_t address, struct arena_state *ret)
{
	uint8_t raw[sizeof(*ret) + 16];
	int r = process_memory_read(&w->memory, address, raw, w->tail_offset + sizeof(ret->tail));

	if (r)
		return r;
	ret->mutex = half_at(raw, 0);
	ret->flags = half_at(raw, 4);
	memcpy(&ret->tail, raw + w->tail_offset, sizeof(ret->tail));
	return 0;
}

/* All lists, whose heads are at @bins in the data and at @address: empty ones name themselves. */
static bool are_bins(const uint8_t *bins, uint64_t address)
{
	for (unsigned int i = 0; i < ARENA_BINS; i++) {
		uint64_t self = address + i * 16u - 16;
		uint64_t fd = word_at(bins, i * 16u), bk = word_at(bins, i * 16u + 8);

		if (!fd || !bk || (fd == self) != (bk == self))
			return false;
	}
	return true;
}

/* From @address all arenas are reached, and it again. */
static bool is_ring(struct glibc_walk *w, uint64_t address)
{
	struct arena_state state;
	uint64_t at = address;

	for (unsigned int i = 0; i < ARENAS_MAX; i++) {
		if (glibc_read_state(w, at, &state) < 0 || state.mutex > 2 || state.flags > 7 ||
		    state.tail.system_mem > state.tail.max_system_mem)
			return false;
		at = state.tail.next;
		if (at == address)
			return true;
		if (!glibc_is_thread_arena(w, at))
			return false;
	}
	return false;
}

/* The heads of lists are at @bins. */
static bool is_main_arena(struct glibc_walk *w, uint64_t bins)
{
	static const uint8_t offsets[] = {16, 8}; /* since 2.27, and 2.26 */

	for (size_t i = 0; i < COUNT_OF(offsets); i++) {
		w->tail_offset = offsets[i];
		w->main_arena = bins - ARENA_BINS_OFFSET - offsets[i];
		if (is_ring(w, w->main_arena))
			return true;
	}
	return false;
}

/*
 * The last of the lists is never used: it refers to itself, always.  What does that may be one
 * before the last as well, hence the look at all of them.
 */
static bool find_in_data(struct glibc_walk *w, const uint8_t *data, size_t n, uint64_t start)
{
	size_t last = (ARENA_BINS - 1) * 16;

	for (size_t i = last; i + 16 <= n; i += 8)
		if (word_at(data, i) == start + i - 16 && word_at(data, i + 8) == start + i - 16 &&
		    are_bins(data + i - last, start + i - last) &&
		    is_main_arena(w, start + i - last) && find_parameters(w, data, n, start))
			return true;
	return false;
}

static bool is_c_library(const struct process_map *map)
{
	const char *name = strrchr(map->path, '/');

	return name && (!strncmp(name, "/libc.so", 8) || !strncmp(name, "/libc-2.", 8));
}

static int find_in_map(struct glibc_walk *w, const struct process_map *map, uint64_t *left)
{
	uint64_t bytes = map->end - map->start;
	uint8_t *data;
	bool found;
	int e;

	if (bytes > *left)
		return -ENOENT;
	*left -= bytes;
	data = xmalloc(bytes);
	e = process_memory_ranges(&w->memory, &(struct pointers_range){map->start, map->end}, 1,
				  data);
	found = !e && find_in_data(w, data, bytes, map->start);
	free(data);
	return found ? 0 : e ? e : -ENOENT;
}

int glibc_find(struct glibc_walk *w)
{
	uint64_t left = DATA_MAX;
	int r = -ENOENT;

	/* where it is most often first */
	for (int other = 0; other <= 1 && r == -ENOENT; other++)
		for (size_t i = 0; i < w->maps->n && r == -ENOENT; i++) {
			const struct process_map *map = &w->maps->maps[i];

			if (map->inode && map->writable && !map->is_shared &&
			    !process_map_is_anonymous(map) &&
			    is_c_library(map) == !other)
				r = find_in_map(w, map, &left);
		}
	return r;
}
