/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_RECORDING_H
#define CLI_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/command.h"
#include "cli/triggers.h"
#include "collector/session.h"

/* A recording from its start to its end, with names, checkpoints and summaries. */
struct recording_end {
	struct session_result result; /* its strings are ours */
	uint64_t dropped; /* events, with --max-size */
	bool is_there;	  /* it was recorded to its end */
	bool lacks_look;  /* at who points to what, which was wanted: session.reach.failure */
	uint64_t held_ns; /* how long the process stood still for it */
};

/* For getopt_long(). */
enum { OPTION_REACHABLE = 960, OPTION_MAX_PAUSE, OPTION_WALK_HEAP, OPTION_MMAP };
#define REACHABLE_OPTIONS {"reachable", no_argument, NULL, OPTION_REACHABLE}
#define MEMORY_OPTIONS \
	{"walk-heap", no_argument, NULL, OPTION_WALK_HEAP}, \
	{"mmap", no_argument, NULL, OPTION_MMAP}, \
	{"max-pause", required_argument, NULL, OPTION_MAX_PAUSE}

/* Takes 'o', 'p', 'd' or one of these.  Returns 0, or the exit status. */
int recording_parse(const struct command *c, struct session_options *o, int option);
/* Do those that were given go together?  Returns 0, or the exit status. */
int recording_check(const struct command *c, const struct session_options *o);

/*
 * Makes one, as @o says; fills in its callbacks, none of which says anything with @quiet.
 * Returns the exit status: the recorded command's own, where there is one and nothing failed;
 * what failed has been said.  @triggers may be NULL.  @ret is to be released in any case.
 */
int recording_make(struct session_options *o, struct triggers *triggers, bool quiet,
		   struct recording_end *ret);
void recording_release(struct recording_end *end);
/* What became of it, of one that is there. */
void recording_say_end(const struct recording_end *end);

#endif
