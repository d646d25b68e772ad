/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GLIBC_HEAP_H
#define COLLECTOR_GLIBC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "image/process_maps.h"

/*
 * The heap of a process that uses glibc's malloc, read from outside while it stands still: all
 * arenas, and all their chunks in the order of their addresses.
 *
 * No symbols are needed.  The main arena is found in the C library's (or a static program's)
 * writable data by its own structure: 127 lists, of which the empty ones refer to themselves,
 * the last always; the other arenas by the ring in which all are.  Layouts of the versions
 * 2.26 to 2.41 are known (64 bits), but it is never a version number that decides: everything
 * must fit together.  Chunks must reach from the beginning of an arena's memory to its end, the
 * sizes of its parts add up to what it says it took from the system, every free chunk be in
 * exactly one list and the other way round.  An arena of which that is not so is left out as a
 * whole, with the reason: a list is whole or not there.
 */

enum glibc_state {
	GLIBC_IN_USE,
	GLIBC_FREE,   /* in a list of its arena (bins) */
	GLIBC_CACHED, /* free, but its neighbours believe it in use (thread's cache, fastbin) */
	GLIBC_TOP,    /* the end of an arena, from which it serves what no list has */
	GLIBC_MMAPPED, /* in use, of a mapping of its own */
	GLIBC_OWN,    /* malloc's own: an arena's head, a thread's cache, an end mark */
	GLIBC_STATES
};

#define GLIBC_NO_ARENA UINT32_MAX

struct glibc_chunk {
	uint64_t address; /* of the chunk; what malloc() returned is 16 bytes further */
	uint64_t size;	  /* bytes, header included */
	uint32_t arena;	  /* index; GLIBC_NO_ARENA: mmapped */
	uint8_t state;	  /* enum glibc_state */
};

/* What malloc() returned. */
static inline uint64_t glibc_block(const struct glibc_chunk *c)
{
	return c->address + 16;
}

/* What malloc_usable_size() would say. */
static inline uint64_t glibc_usable(const struct glibc_chunk *c)
{
	return c->size - (c->state == GLIBC_MMAPPED ? 16 : 8);
}

/* A piece of an arena's memory: a heap of 64 MiB at most, or a piece of the program break. */
struct glibc_part {
	uint64_t start, end;
	uint32_t arena;
};

struct glibc_arena {
	uint64_t address;      /* its malloc_state */
	uint64_t system_bytes; /* as it says */
	uint64_t top, top_bytes;
	bool is_main;
	bool is_contiguous; /* the main one: of the program break only */
	bool is_locked;	    /* a thread was in the middle of something */
	const char *left_out; /* why its chunks are not there; NULL: they are */
};

struct glibc_heap {
	struct glibc_arena *arenas; /* the main one first */
	size_t n_arenas, cap_arenas;
	struct glibc_part *parts; /* by address, of arenas that are not left out */
	size_t n_parts, cap_parts;
	struct glibc_chunk *chunks; /* by address */
	size_t n_chunks;
	uint64_t mmapped_blocks, mmapped_bytes; /* as malloc counts them; bytes of mappings */
	const char *mmapped_left_out; /* why those chunks are not there; NULL: they are */
	size_t n_caches;	      /* of threads */
	uint64_t bytes_read, reads;   /* what that took */
};

/* What is known of a thread that stands still. */
struct glibc_thread {
	pid_t tid;
	uint64_t pointer; /* the thread pointer: x86's FS base; 0: not known */
};

/*
 * In two steps, of which only the first needs the process to stand still: what was read is
 * understood afterwards.
 */
struct glibc_walk;

/*
 * Reads the heap of process @pid, which has the mappings @maps and those threads.  With an
 * empty list of threads their caches are known by their contents only.  @deadline_ns:
 * CLOCK_MONOTONIC; 0: none, and a heap that was made for it can keep us for ever.
 * Returns 0, or a negative errno with @err: -ENOENT: there is no heap of glibc's; -ETIME: not
 * before the deadline.
 */
int glibc_walk_read(pid_t pid, const struct process_maps *maps, const struct glibc_thread *threads,
		    size_t n_threads, uint64_t deadline_ns, struct glibc_walk **ret,
		    struct err *err);
/* What was read, understood; the walk is gone then.  @ret is to be released in any case. */
void glibc_walk_finish(struct glibc_walk *w, struct glibc_heap *ret);
void glibc_walk_free(struct glibc_walk *w);

/* Is all of it there: no arena and no mappings were left out? */
bool glibc_heap_is_whole(const struct glibc_heap *h);
/* The first reason why not, or NULL. */
const char *glibc_heap_left_out(const struct glibc_heap *h);
/* The chunk that holds @address, or NULL. */
const struct glibc_chunk *glibc_heap_find(const struct glibc_heap *h, uint64_t address);
void glibc_heap_release(struct glibc_heap *h);

#endif
