/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "store/record.h"

/*
 * The memory of a process at one moment: what of its address space was resident, page by
 * page where that is anonymous memory of its own, which a heap is made of.
 */
#define SNAPSHOT_PAGE_BYTES 4096u

enum snapshot_kind {
	SNAPSHOT_BRK,	   /* the heap that grows by brk(2) */
	SNAPSHOT_ARENA,	   /* one of glibc's malloc, for threads */
	SNAPSHOT_MALLOC,   /* anonymous, and an allocator's: blocks have been there */
	SNAPSHOT_ANONYMOUS,
	SNAPSHOT_STACK,	   /* of any thread */
	SNAPSHOT_DATA,	   /* of a program file, private and writable: .data, .bss */
	SNAPSHOT_FILE,	   /* of a file, else: text, constants, mapped files */
	SNAPSHOT_SHARED,   /* shared memory */
	SNAPSHOT_HUGETLB,  /* of the pool of huge pages: the kernel does not count it as resident */
	SNAPSHOT_KERNEL,   /* [vdso] and the like */
	SNAPSHOT_KINDS
};

enum snapshot_page {
	SNAPSHOT_ABSENT,
	SNAPSHOT_RESIDENT,
	SNAPSHOT_SWAPPED,
	SNAPSHOT_ZERO, /* the page of zeros that is shared by all: read, never written; no memory */
	SNAPSHOT_PAGE_STATES
};

/* Pages in a row that are alike. */
struct snapshot_run {
	uint64_t pages;
	enum snapshot_page state;
};

/* A mapping, or a part of one that has a kind of its own. */
struct snapshot_region {
	uint64_t start, end; /* addresses */
	enum snapshot_kind kind;
	/* bytes, as the kernel counts them (smaps); of a part: as its pages say */
	uint64_t rss, swap, huge, shared;
	char *name; /* the path, or as the kernel names it; owned */
	size_t first_run, n_runs; /* none: its pages were not looked at */
};

struct snapshot {
	/* of smaps: all there is; it may be more than the regions' */
	uint64_t rss_bytes, swap_bytes;
	struct snapshot_region *regions; /* by address */
	size_t n_regions, cap_regions;
	struct snapshot_run *runs;
	size_t n_runs, cap_runs;
};

/* Its row, but the bytes. */
struct snapshot_info {
	uint64_t id;
	struct space_id space;
	uint64_t t_ns;
	const char *reason; /* "exit", "end", "every", "peak", "asked"; valid as the call says */
	uint64_t held_ns;   /* how long the process stood still */
	uint64_t rss_bytes, heap_bytes; /* resident; @heap_bytes: what is an allocator's */
	uint64_t live_bytes; /* requested, of layer heap, as recorded until then */
};

void snapshot_release(struct snapshot *s);
/* @name: copied. */
struct snapshot_region *snapshot_add_region(struct snapshot *s, const struct snapshot_region *r,
					    const char *name);
/* The next pages of the region added last. */
void snapshot_add_pages(struct snapshot *s, uint64_t pages, enum snapshot_page state);
/* Is it memory of an allocator's, all of it? */
static inline bool snapshot_is_heap(enum snapshot_kind kind)
{
	return kind <= SNAPSHOT_MALLOC;
}

/* Resident bytes of @r in the addresses from @start to @end. */
uint64_t snapshot_resident(const struct snapshot *s, const struct snapshot_region *r,
			   uint64_t start, uint64_t end);

/* Bytes for a recording; heaptrail-recording(5) describes them. */
void snapshot_encode(const struct snapshot *s, struct buffer *ret);
/*
 * The reverse.  The bytes may be anything: false where they are no snapshot.  Regions are in
 * order and do not overlap, their runs cover them.  To be released, then.
 */
bool snapshot_decode(const void *data, size_t len, struct snapshot *ret);

#endif
