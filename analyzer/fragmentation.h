/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_FRAGMENTATION_H
#define ANALYZER_FRAGMENTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/replay.h"
#include "store/snapshot.h"

/*
 * Where the resident memory of a process goes: a snapshot of its pages, and the blocks that
 * were live at that moment, byte for byte.
 *
 * A page of an allocator's has bytes that were requested, bytes that the allocator gave beyond
 * (rounding), headers of blocks, and the rest, which is free; or, in a recording that was
 * attached, may be in use since before.  Nothing is estimated: all parts add up to what the
 * kernel counts as resident.
 *
 * Of glibc's malloc a block has a header of 8 bytes before it, the size of its chunk, or of 16
 * if it has a mapping of its own (malloc/malloc.c).  Other allocators that are known keep
 * theirs elsewhere.
 */

/* A part of what is resident, in bytes. */
enum fragmentation_part {
	PART_REQUESTED,	  /* of live blocks */
	PART_ROUNDING,	  /* usable, beyond */
	PART_HEADERS,
	PART_BEFORE,	  /* blocks from before the recording, as --walk-heap found them */
	PART_FREE_INSIDE, /* on pages that have live blocks as well */
	PART_FREE_PAGES,  /* on pages that have none */
	PART_UNKNOWN,	  /* free, or in use since before the recording: it cannot be told */
	PART_ANONYMOUS,	  /* from here on it is no heap */
	PART_STACKS,
	PART_DATA,
	PART_FILES,
	PART_SHARED,
	PART_KERNEL,
	PART_UNEXPLAINED, /* the kernel counts it, and no page is it: should be none */
	PARTS
};

struct fragmentation_block {
	uint64_t address, size, usable, t_ns; /* usable: @size where it is not known */
	struct stack_id stack;
	uint8_t header; /* bytes before it */
	bool is_before; /* in use since before the recording: only what is usable is known */
};

struct fragmentation_blocks {
	struct fragmentation_block *items;
	size_t n, cap;
	uint64_t usable_unknown; /* blocks of which it is not known */
};

/* A region of the heap's. */
struct fragmentation_arena {
	uint64_t start, end;
	enum snapshot_kind kind;
	const char *name; /* the snapshot's */
	uint64_t resident, swapped; /* bytes */
	uint64_t live, free_inside, free_pages; /* resident ones; live: headers and rounding, too */
	uint64_t blocks;
};

/* Free bytes in a row between blocks of one region. */
struct fragmentation_hole {
	uint64_t start, bytes, resident;
};

/* Whose blocks keep pages that are mostly empty: less than half of it is live. */
struct fragmentation_site {
	uint32_t site;
	struct stack_id stack; /* one of its stacks: of most bytes wasted */
	uint64_t stack_wasted; /* while it is made */
	uint64_t blocks, requested, rounding; /* of all its live blocks */
	uint64_t pages, wasted; /* mostly empty ones, with its blocks alone on them */
	uint64_t shared_pages, shared_wasted; /* with others: its share, equal parts */
	uint64_t oldest_ns, newest_ns; /* of its blocks on such pages */
};

struct fragmentation_class {
	uint64_t usable; /* at most, and more than the class before */
	uint64_t blocks, requested, rounding;
};

/* Anonymous memory that is no heap, by who mapped it (layer mmap of the recording). */
struct fragmentation_mapped {
	uint32_t site;
	struct stack_id stack; /* one of its stacks */
	uint64_t resident, swapped;
};

struct fragmentation {
	uint64_t rss, parts[PARTS];
	uint64_t heap_resident, heap_reserved, heap_swapped;
	uint64_t heap_huge, shared; /* of the heap, in huge pages; of all, shared with others */
	uint64_t not_resident; /* requested bytes on pages that are not, or were never touched */
	uint64_t live_blocks, live_requested, live_usable; /* of all live blocks, resident or not */
	uint64_t live_before; /* of live_usable: of blocks from before the recording */
	uint64_t usable_unknown; /* blocks */
	uint64_t outside; /* live blocks in no region of an allocator's */
	uint64_t pinned_pages, pinned_wasted;
	uint64_t compact; /* bytes that would be resident if live blocks lay side by side */
	struct fragmentation_arena *arenas;
	size_t n_arenas, cap_arenas;
	struct fragmentation_hole *holes; /* the largest first */
	size_t n_holes, cap_holes;
	struct fragmentation_site *sites; /* the most bytes wasted first */
	size_t n_sites, cap_sites;
	struct fragmentation_class *classes; /* by size */
	size_t n_classes, cap_classes;
	struct fragmentation_mapped *mapped; /* the most resident bytes first */
	size_t n_mapped, cap_mapped;
};

/* Pages in a row of one region of the heap's, all alike; @live of each, at most the page. */
struct fragmentation_pages {
	uint64_t address, pages;
	enum snapshot_page state;
	uint32_t live;
};
typedef void fragmentation_visitor(void *arg, const struct fragmentation_pages *p);

struct fragmentation_options {
	bool has_unknown; /* what is not known to be live may be so all the same */
	/* [stack id] which site it is of; NULL: each its own */
	const uint32_t *sites;
	size_t n_sites;
	struct fragmentation_blocks *mappings; /* live ones of layer mmap, put in order; or NULL */
	fragmentation_visitor *visit; /* all pages of the heap, by address; or NULL */
	void *arg;
};

/* Adds one: a totals_visitor; @blocks is a struct fragmentation_blocks. */
void fragmentation_add(void *blocks, const struct replay_block *b);
void fragmentation_blocks_release(struct fragmentation_blocks *b);

/* @blocks: they are put in order.  What of @s is named in @ret must outlive it. */
void fragmentation_make(struct fragmentation *ret, const struct snapshot *s,
			struct fragmentation_blocks *blocks,
			const struct fragmentation_options *options);
void fragmentation_release(struct fragmentation *f);

/* Σ(usable − requested) / Σ usable of live blocks, but those from before; 0: there are none. */
double fragmentation_internal(const struct fragmentation *f);
/* The share of the heap's resident bytes that are in no live block's usable ones. */
double fragmentation_external(const struct fragmentation *f);
/* Resident heap bytes that a restart without holes would not have. */
uint64_t fragmentation_returnable(const struct fragmentation *f);

#endif
