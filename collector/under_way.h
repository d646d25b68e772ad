/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UNDER_WAY_H
#define COLLECTOR_UNDER_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/hold.h"
#include "collector/plan.h"
#include "image/process_maps.h"

/*
 * Threads that a hold has caught in the middle of malloc() or free() are let run on for a moment,
 * and stopped again, until none is in there.  All others stand still meanwhile, so that it
 * comes to an end.  Then the heap is between two calls: each block is in use or free, and no
 * call that began before will end after.
 *
 * Who is in there is told by the code that runs, or by return addresses into it on the top of
 * the stack.  A handler of a signal that came in the middle of malloc() is not seen through.
 */
struct malloc_code {
	uint64_t start, end;		     /* of malloc.c's functions, and some around them */
	uint64_t library_start, library_end; /* the C library's code, or a static program's */
};

/* Where glibc's malloc is in that process; false: it is not there. */
bool malloc_code_find(const struct plan *plan, const struct process_maps *maps,
		      struct malloc_code *ret);
/*
 * Returns how many threads are still in it at @deadline_ns.  Those that do not stop any more
 * are left to the end of the hold.
 */
size_t under_way_finish(struct hold *h, const struct process_maps *maps,
			const struct malloc_code *code, uint64_t deadline_ns);

#endif
