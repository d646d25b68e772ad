/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROCESS_MEMORY_H
#define COLLECTOR_PROCESS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/page_map.h"
#include "collector/pointers.h"

/*
 * The memory of another process, which stands still.  Reading it changes nothing of it: pages
 * that it does not have are not asked for, which would make them.  What comes from there may be
 * anything, also where it looks like a pointer: an address that has no memory is an error, or
 * zeros, never more.
 *
 * Of memory that is shared or a file's that is what the process itself has in its page table:
 * what others have written there, and what was written out since, is not read.
 */
struct process_memory {
	pid_t pid;
	struct page_map pages;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: then reads fail with -ETIME; 0: never */
	uint64_t bytes, calls; /* by those that only one thread may call */
};

void process_memory_open(struct process_memory *m, pid_t pid, uint64_t deadline_ns);
void process_memory_close(struct process_memory *m);
/* -ETIME when the deadline has passed, else 0: for loops that take long without reading. */
int process_memory_check_time(const struct process_memory *m);

/* ---- by one thread --------------------------------------------------------------------- */

/*
 * Words of a file's mapping that cannot be written: also of pages that it has not used yet, since
 * these are the file's in any case.  Zeros where they cannot be read.
 */
void process_memory_constants(struct process_memory *m, uint64_t address, size_t n,
			      uint64_t *ret);
/* All of it, or a negative errno: -EFAULT where some of it has no memory. */
int process_memory_read(struct process_memory *m, uint64_t address, void *to, size_t n_bytes);
/* As much of it as there is, from its beginning on; or a negative errno. */
ssize_t process_memory_read_some(struct process_memory *m, uint64_t address, void *to,
				 size_t n_bytes);
/*
 * The piece of @piece_bytes at each address, into @to one after the other; zeros where there is
 * none.  A negative errno where nothing can be read at all.
 */
int process_memory_gather(struct process_memory *m, const uint64_t *addresses, size_t n, void *to,
			  size_t piece_bytes);

/* ---- by any threads -------------------------------------------------------------------- */

/*
 * As in pointers.h; @memory is a struct process_memory.  They do not mind the deadline, but for
 * what looking for pages takes.
 */
int process_memory_ranges(void *memory, const struct pointers_range *ranges, size_t n, void *to);
bool process_memory_written(void *memory, const struct pointers_range *r,
			    struct pointers_range *ret);
/* @n words from @address on; what is not there is zeros. */
void process_memory_words(const struct process_memory *m, uint64_t address, size_t n,
			  uint64_t *ret);

#endif
