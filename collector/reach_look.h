/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_REACH_LOOK_H
#define COLLECTOR_REACH_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/live_blocks.h"
#include "collector/looks.h"
#include "collector/pointers.h"
#include "collector/roots.h"
#include "common/err.h"

/*
 * The look at who points to what (reachability.h): at the exit of the target, or before a
 * running one is let go of.  Its memory is read while it stands still, the rest is done
 * when all has been recorded; the result goes into the recording (store/reachability.h).
 */
struct reach_look {
	uint64_t max_pause_ns; /* 0: REACH_LOOK_PAUSE_NS where it is to run on, else any */
	bool is_read;	    /* all of it was … */
	bool is_given_up;   /* … or not: it took too long … */
	struct err failure; /* … or this is why */
	uint64_t t_ns, held_ns;
	struct space_id space;
	/* until it is put */
	struct live_blocks found;
	struct roots roots;
	struct pointers pointers;
	uint64_t flags;
};

#define REACH_LOOK_PAUSE_NS 1000000000ull

/* @l, which must live as long as the session. */
struct look_observer reach_look_observer(struct reach_look *l);
/*
 * When the target runs again, or has ended: finds out what the pointers mean, and puts it into
 * the recording, or why there is nothing.  False with @l->failure: it is that.
 */
bool reach_look_put(struct reach_look *l, struct store_writer *w);
void reach_look_release(struct reach_look *l);

#endif
