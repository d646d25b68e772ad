/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_POINTERS_H
#define COLLECTOR_POINTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/*
 * Which block points to which, in the memory of a process that stands still meanwhile.
 *
 * Only this needs the process: what the pointers mean (reachability.h) is found out when it
 * runs again.  So its memory is read once, in the order of addresses, in large pieces, by
 * as many threads as there are processors, and of it nothing is kept but four bytes a pointer.
 *
 * A pointer is an aligned word whose value is an address in a block: from its first byte to its
 * last, for a block of no bytes the first.
 */
struct pointers_block {
	uint64_t address, size;
};

struct pointers_range {
	uint64_t start, end;
};

/* The memory; its calls come from several threads. */
struct pointers_memory {
	void *arg;
	/*
	 * Reads @n ranges into @to, one behind the other; what is not there is zeros.  A
	 * negative errno: there is no such process any more, or we may not read it.
	 */
	int (*read)(void *arg, const struct pointers_range *ranges, size_t n, void *to);
	/*
	 * The next part of @r that has been written to, or may have been; false: there is none.
	 * NULL: all of it.  Asked for what is large.
	 */
	bool (*written)(void *arg, const struct pointers_range *r, struct pointers_range *ret);
	/* Is there a table of functions of a C++ class?  NULL: never. */
	bool (*is_vtable)(void *arg, uint64_t address);
};

struct pointers_options {
	uint64_t deadline_ns; /* by clock_now_ns(): it is given up then; 0: never */
	unsigned int threads; /* at most; 0: as many as there are processors, up to four */
	/* memory that may be roots, or not */
	const struct pointers_range *doubtful;
	size_t n_doubtful;
};

#define POINTERS_THREADS_MAX 4
#define POINTERS_INSIDE (1u << 31) /* in an edge: not to the first byte */
#define POINTERS_BLOCKS_MAX ((size_t)1 << 31)

/* What pointers one part of the memory holds. */
struct pointers_part {
	size_t first, n;   /* the blocks that it is of */
	uint32_t *edges;   /* numbers of blocks, with POINTERS_INSIDE or without */
	size_t n_edges, cap_edges;
	uint64_t *inside;  /* of those with POINTERS_INSIDE, in their order: the pointer itself */
	size_t n_inside, cap_inside;
	uint64_t bytes;	   /* that were read */
};

struct pointers {
	const struct pointers_block *blocks; /* the caller's */
	size_t n;
	size_t *begin; /* [block] its first edge in its part; they end where the next one's begin */
	struct pointers_part roots, doubtful;
	struct pointers_part parts[POINTERS_THREADS_MAX];
	unsigned int n_parts;
	uint64_t bytes; /* that were read */
};

/*
 * Reads @roots, @words (registers) and the blocks, of which there are @n, by rising
 * addresses, none in another, and which must outlive @ret.  -ETIME: the deadline has passed;
 * or what read() says.  @ret is to be released in any case.
 *
 * Of pointers to the inside of blocks, those are taken for ones to the first byte
 * that memcheck's heuristics take for that: to the characters of an old std::string, behind the
 * length of the rest, behind the number of elements of new[], and to a second base class.
 */
int pointers_find(struct pointers *ret, const struct pointers_block *blocks, size_t n,
		  const struct pointers_range *roots, size_t n_roots, const uint64_t *words,
		  size_t n_words, const struct pointers_memory *memory,
		  const struct pointers_options *options);
void pointers_release(struct pointers *p);

/* The edges of @block: @ret_n of them. */
const uint32_t *pointers_of(const struct pointers *p, size_t block, size_t *ret_n);

#endif
