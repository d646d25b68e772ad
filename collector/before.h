/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_BEFORE_H
#define COLLECTOR_BEFORE_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/drain.h"
#include "collector/glibc_heap.h"
#include "collector/plan.h"
#include "collector/target.h"
#include "collector/under_way.h"

/*
 * The blocks that are in use when we attach (glibc's malloc).  The target is held: no call is
 * under way, its heap is read, the probes are armed, and it goes on.  So each block is either
 * from before, or its call is seen.
 */
#define BEFORE_PAUSE_NS 50000000ull

struct before {
	struct malloc_code code;
	bool has_malloc;       /* glibc's is there */
	const char *other;     /* another allocator that is, too; NULL: none */
	struct glibc_walk *walk; /* NULL: it could not be read */
	char *why_not;	       /* … since */
	uint64_t held_ns;      /* in all */
	uint64_t t_ns;	       /* as it was then */
};

/* Where malloc is: what the probes were planned by. */
void before_note(struct before *b, const struct plan *plan, const struct process_maps *maps);
/*
 * Holds @t for @max_pause_ns at most each time (a bit longer, if its threads are slow to stop),
 * four times at most, reads, and calls @arm, which arms the probes, in any case.
 */
void before_take(struct before *b, struct target *t, uint64_t max_pause_ns,
		 void (*arm)(void *arg), void *arg);
/*
 * The blocks go into the recording as its first events, and facts of them.  Returns what the user
 * should know (to be freed) where they are not all there; else NULL.
 */
char *before_put(struct before *b, struct drain *d);
void before_release(struct before *b);

#endif
