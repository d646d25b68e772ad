/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GLIBC_WALK_H
#define COLLECTOR_GLIBC_WALK_H

#include "collector/glibc_heap.h"
#include "collector/memory_window.h"
#include "collector/process_memory.h"

/*
 * What the parts of the walk share: glibc_find.c (where malloc's own data is), glibc_parts.c
 * (arenas, and the chunks in them), glibc_mmapped.c, glibc_caches.c (of threads), glibc_heap.c
 * (what it all means).
 *
 * malloc/malloc.c and malloc/arena.c of glibc, 64 bits.  A chunk: the size of the one before it
 * (if that is free), its own size with three flags, and, when it is free, two links.
 */
#define CHUNK_MIN 32u
#define CHUNK_MARK 16u /* the size of an end mark */
#define CHUNK_ALIGN 16u
#define CHUNK_PREV_IN_USE 1u
#define CHUNK_IS_MMAPPED 2u
#define CHUNK_NON_MAIN 4u
#define CHUNK_FLAGS 7u

struct chunk_header {
	uint64_t prev_size, head, fd, bk;
};

static inline uint64_t head_size(uint64_t head)
{
	return head & ~(uint64_t)CHUNK_FLAGS;
}

/* struct malloc_state.  Since 2.27 there is a word more before the fastbins. */
#define ARENA_BINS 127u
#define ARENA_FASTBINS 10u
#define ARENA_NONCONTIGUOUS 2u
struct arena_tail {
	uint64_t fastbins[ARENA_FASTBINS];
	uint64_t top, last_remainder;
	uint64_t bins[ARENA_BINS * 2];
	uint32_t binmap[4];
	uint64_t next, next_free, attached_threads, system_mem, max_system_mem;
};
#define ARENA_BINS_OFFSET offsetof(struct arena_tail, bins)

struct arena_state {
	uint32_t mutex, flags;
	struct arena_tail tail;
};

/* Where what is in struct malloc_par. */
struct parameters_layout {
	uint16_t n_mmaps, no_dyn_threshold, mmapped_mem, sbrk_base, tcache_bins, end;
};

struct parameters {
	uint32_t n_mmaps;
	uint64_t mmapped_mem, sbrk_base, tcache_count;
};

/* struct tcache_perthread_struct: counts (of one byte before 2.30), then lists. */
#define CACHE_BINS 64u
#define CACHE_BYTES 640u
#define CACHE_BYTES_OLD 576u /* 2.26 to 2.29 */
#define CACHE_CHUNK_MAX (CHUNK_MIN + (CACHE_BINS - 1) * CHUNK_ALIGN)

struct thread_cache {
	uint64_t chunk;	  /* where it is */
	bool is_a_thread; /* found by the thread's own pointer, not by what it looks like */
	uint16_t counts[CACHE_BINS];
	uint64_t entries[CACHE_BINS];
};

/* A chunk as it was read. */
struct raw_chunk {
	uint64_t address, head, fd, bk;
};

/* A run of raw chunks: one part of an arena. */
struct raw_part {
	struct glibc_part part;
	size_t first, end;   /* chunks */
	uint64_t head_bytes; /* of malloc's own before the first one */
};

struct glibc_walk {
	struct process_memory memory;
	struct memory_window window; /* of it */
	const struct process_maps *maps; /* while it is read */
	/* glibc_find.c */
	uint64_t main_arena, mp; /* addresses */
	uint8_t tail_offset;	 /* of struct arena_tail in an arena: 8 or 16 */
	const struct parameters_layout *mp_layout;
	struct parameters parameters;
	/* glibc_parts.c */
	struct glibc_arena *arenas;
	struct arena_state *states; /* [arena] */
	size_t n_arenas, cap_arenas, cap_states;
	struct raw_part *parts;
	size_t n_parts, cap_parts;
	struct raw_chunk *chunks;
	size_t n_chunks, cap_chunks;
	/* glibc_mmapped.c */
	struct glibc_chunk *mmapped;
	size_t n_mmapped, cap_mmapped;
	const char *mmapped_left_out;
	/* glibc_caches.c */
	struct thread_cache *caches;
	size_t n_caches, cap_caches;
	const char *caches_unknown; /* why it cannot be told what is in caches */
};

/* All of these: 0, or a negative errno for which nothing can be read further. */

/* -ENOENT: there is none. */
int glibc_find(struct glibc_walk *w);
/* The arenas of the ring; -ENOENT where it is no ring. */
int glibc_read_arenas(struct glibc_walk *w);
/* Their chunks; an arena that does not fit together gets the reason. */
int glibc_read_parts(struct glibc_walk *w);
int glibc_read_mmapped(struct glibc_walk *w);
int glibc_read_caches(struct glibc_walk *w, const struct glibc_thread *threads, size_t n);

int glibc_read_state(struct glibc_walk *w, uint64_t address, struct arena_state *ret);
int glibc_read_parameters(struct glibc_walk *w);
/* Is the arena's head at @address that of an arena with heaps of its own? */
bool glibc_is_thread_arena(struct glibc_walk *w, uint64_t address);
/* The index of the raw chunk at @address; SIZE_MAX: there is none. */
size_t glibc_raw_find(const struct glibc_walk *w, uint64_t address);
/* The part that holds it, of any arena; NULL: none.  Not while parts are being added. */
const struct raw_part *glibc_raw_part(const struct glibc_walk *w, uint64_t address);
/* The address of bin @i, counted from 1, as chunks in it see it. */
static inline uint64_t glibc_bin(const struct glibc_walk *w, uint64_t arena, unsigned int i)
{
	return arena + w->tail_offset + ARENA_BINS_OFFSET + (uint64_t)(i - 1) * 16 - 16;
}

#endif
