/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GLIBC_TRACES_H
#define COLLECTOR_GLIBC_TRACES_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/process_memory.h"
#include "image/process_maps.h"

/*
 * What of a process is glibc's own: told by its contents, since programs and libraries are
 * without symbols for it.  64-bit, glibc 2.26 and later (malloc/malloc.c, malloc/arena.c,
 * nptl/descr.h); where nothing looks like it, there is nothing.
 */

/* The pages of the block at @address, which has a mapping of its own; false: it has none. */
bool glibc_mapped_chunk(struct process_memory *memory, uint64_t address,
			struct pointers_range *ret);
/* The lists of free blocks of the main arena, if @m, the data of a file, has them. */
bool glibc_main_arena(struct process_memory *memory, const struct process_map *m,
		      struct pointers_range *ret);
/*
 * If @m is the stack of a thread that has ended: what there is of no function any more.  Those
 * of threads that were killed count as running ones.
 */
bool glibc_ended_stack(struct process_memory *memory, const struct process_map *m,
		       struct pointers_range *ret);

#endif
