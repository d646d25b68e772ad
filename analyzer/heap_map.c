/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/heap_map.h"

#include <stdlib.h>

#include "common/xalloc.h"

uint64_t heap_map_pages_each(const struct snapshot *s, uint64_t cells)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < s->n_runs; i++)
		pages += s->runs[i].state != SNAPSHOT_ABSENT ? s->runs[i].pages : 0;
	return pages / (cells ? cells : 1) + 1;
}

void heap_map_add(void *map, const struct fragmentation_pages *p)
{
	struct heap_map *m = map;
	uint64_t at = p->address, left = p->pages, bytes = m->pages_each * SNAPSHOT_PAGE_BYTES;

	while (left > 0 && p->state != SNAPSHOT_ABSENT) {
		uint64_t begin = at / bytes * bytes, n = (begin + bytes - at) / SNAPSHOT_PAGE_BYTES;
		struct heap_cell *c = m->n ? &m->cells[m->n - 1] : NULL;

		n = n < left ? n : left;
		if (!c || c->address != begin) {
			ARRAY_GROW(m->cells, m->cap, m->n);
			c = &m->cells[m->n++];
			*c = (struct heap_cell){.address = begin};
		}
		if (p->state == SNAPSHOT_RESIDENT) {
			c->resident += n;
			c->live_bytes += n * p->live;
		}
		at += n * SNAPSHOT_PAGE_BYTES;
		left -= n;
	}
}

void heap_map_release(struct heap_map *m)
{
	free(m->cells);
	*m = (struct heap_map){0};
}

int heap_map_shade(const struct heap_cell *c)
{
	uint64_t whole = c->resident * SNAPSHOT_PAGE_BYTES;

	if (!whole)
		return -1;
	return c->live_bytes ? 1 + (int)(c->live_bytes * 4 / (whole + 1)) : 0;
}
