/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GLIBC_HEAP_INFO_H
#define COLLECTOR_GLIBC_HEAP_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/process_memory.h"

/*
 * The memory of an arena of glibc's malloc besides the main one is in heaps (malloc/arena.c).
 * Each begins with a record of itself, struct heap_info, at a multiple of its greatest size: 64
 * MiB; since 2.35, where the tunable glibc.malloc.hugetlb names pages, four of those: 8 MiB, or
 * 4 GiB.  All are multiples of the least.  The first heap of an arena has the arena itself
 * behind that record, and later ones name it.  So both can be checked.
 */
#define GLIBC_HEAP_ALIGN ((uint64_t)8 << 20)
#define GLIBC_HEAP_MAX ((uint64_t)4 << 30)

struct glibc_heap_info {
	uint64_t arena;	 /* struct malloc_state */
	uint64_t before; /* the heap made before it; 0: it is the first */
	uint64_t bytes;	 /* that are in use */
	uint64_t writable_bytes;
};

/* Can that be one at @address?  By itself alone. */
bool glibc_heap_info_fits(const struct glibc_heap_info *i, uint64_t address);
/* Where the first heap of @arena begins, if it is the head of one with heaps of its own; or 0. */
uint64_t glibc_heap_of_arena(uint64_t arena);
/*
 * The heap at @address, if there is one: with the first one of its arena, and the one before it,
 * checked, too.  Returns 1, 0, or a negative errno where reading is over.
 */
int glibc_heap_info_read(struct process_memory *m, uint64_t address, struct glibc_heap_info *ret);
/*
 * The first heap that begins at @from or behind, before @end, in memory that may be reserved
 * only.  Returns as before, with @ret_address and @ret.
 */
int glibc_heap_next(struct process_memory *m, uint64_t from, uint64_t end, uint64_t *ret_address,
		    struct glibc_heap_info *ret);
/* The heap of @arena that holds @address.  Returns as before. */
int glibc_heap_holding(struct process_memory *m, uint64_t arena, uint64_t address,
		       uint64_t *ret_address, struct glibc_heap_info *ret);

#endif
