/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_ROOTS_H
#define COLLECTOR_ROOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/hold.h"
#include "collector/live_blocks.h"
#include "collector/pointers.h"
#include "collector/process_memory.h"
#include "common/err.h"
#include "common/hash.h"
#include "image/process_maps.h"

/*
 * Where a program may keep pointers besides its blocks: in everything that it can write to,
 * and in registers.  Not in what lies
 *
 * - in live blocks: those count only if somebody points to them;
 * - in the allocator's other memory (free blocks, its lists of them), since it points to what is
 *   or was next to them: glibc's brk heap, its arenas (glibc_heap_info.h), its main_arena, pages
 *   of blocks with a mapping of their own; of other allocators pages that have, or ever had,
 *   blocks of theirs, which may still hold what was there;
 * - on a stack below the stack pointer, nor on the stack of a thread that has ended, which
 *   glibc keeps for the next one, below what its first function had there;
 * - in the memory of devices.
 *
 * The kernel joins mappings that lie side by side.  So where other allocators have blocks, the
 * rest of the mapping may be their own (lists of what is free, or was; where runs of blocks
 * begin: that leads to blocks, too) or the program's.  Where layer mmap is recorded, it says
 * which; else that rest is doubtful.
 */
struct roots {
	struct process_maps maps;
	struct process_memory memory;
	struct roots_ranges {
		struct pointers_range *items;
		size_t n, cap;
	} ranges, doubtful, left_out;
	uint64_t *words; /* registers */
	size_t n_words, cap_words;
	struct hashmap vtables; /* address -> whether one is there */
};

/*
 * @d: what is known of allocators' memory, and of mappings.
 * @all: the allocator's other memory is not left out: it may have blocks that nobody has seen.
 * Returns 0, or a negative errno with @err; -ETIME: not before @deadline_ns (0: none).  @r is to
 * be released in any case.
 */
int roots_find(struct roots *r, const struct hold *hold, const struct live_blocks *blocks,
	       const struct drain *d, bool all, uint64_t deadline_ns, struct err *err);
void roots_release(struct roots *r);
/* For pointers_find(); @r must stay where it is. */
struct pointers_memory roots_memory(struct roots *r);

#endif
