/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_HEAP_MAP_H
#define ANALYZER_HEAP_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "analyzer/fragmentation.h"

/* The heap by address, in cells of so many pages each. */
struct heap_map {
	struct heap_cell {
		uint64_t address; /* a multiple of what a cell has */
		uint64_t resident, live_bytes; /* pages; bytes on them */
	} *cells; /* by address; none of what is neither resident nor swapped out */
	size_t n, cap;
	uint64_t pages_each;
};

/* As many pages a cell as it takes for no more than @cells, about, of those that are there. */
uint64_t heap_map_pages_each(const struct snapshot *s, uint64_t cells);
/* Adds some: a fragmentation_visitor; @map is a struct heap_map, @map->pages_each is set. */
void heap_map_add(void *map, const struct fragmentation_pages *p);
void heap_map_release(struct heap_map *m);
/* -1: not resident; 0: all free; 1 to 4: by what is live of what is resident. */
#define HEAP_MAP_SHADES 5
int heap_map_shade(const struct heap_cell *c);

#endif
