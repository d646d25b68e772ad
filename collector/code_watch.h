/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_CODE_WATCH_H
#define COLLECTOR_CODE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/drain.h"
#include "collector/probes.h"
#include "collector/unwind_tables.h"

/*
 * Keeps up with the code that the target maps: when it comes or goes, the mappings
 * are read anew, for stacks to be named, and unwind tables are made, for them to be
 * taken.
 */
struct code_watch {
	struct probes *probes;
	struct drain *drain;
	struct unwind_tables *tables; /* NULL where stacks are not taken by them */
	uint64_t next_ns;	      /* not before, unless a thread waits */
	uint64_t asked;		      /* what was made when the probes had asked so often */
	bool is_wanted;
};

/* For the stack mode that @p has; @d is told how its addresses are to be understood. */
void code_watch_init(struct code_watch *w, struct probes *p, struct drain *d);
void code_watch_release(struct code_watch *w);

/*
 * Before recording begins in a program: all of its code.  A negative errno where that
 * could not be had: it is tried again later, and stacks are cut off until then.
 */
int code_watch_begin(struct code_watch *w);
/* At a RING_MAPS: who loads code waits for us. */
void code_watch_mark(struct code_watch *w);
/* Now and then: code may have come without a mark. */
void code_watch_mind(struct code_watch *w);

#endif
