/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SNAPSHOTS_H
#define CLI_SNAPSHOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/command.h"
#include "collector/session.h"
#include "common/err.h"
#include "store/snapshot.h"

/*
 * When snapshots of a process's memory are taken while it is recorded: in its exit, and, where
 * the user wants it, every now and then, near peaks, and before it is let go of.
 */
struct snapshots {
	uint64_t every_ns; /* 0: not */
	bool at_peaks; /* when live bytes pass those of the snapshot before by a tenth */
	bool at_end;   /* also of a process that runs on */
	bool is_asked; /* by the user: what cannot be taken is said */

	/* while it is recorded */
	const char *reason; /* why the next one is taken */
	uint64_t next_ns, not_before_ns, peak_bytes;
	struct snapshot snapshot; /* taken, but not written yet */
	struct err err;
	bool failed;
	uint64_t taken, held_ns, longest_ns; /* in all */
};

/* For getopt_long(). */
enum { OPTION_FRAG_EVERY = 920, OPTION_FRAG_PEAKS };
#define SNAPSHOTS_OPTIONS \
	{"frag-every", required_argument, NULL, OPTION_FRAG_EVERY}, \
	{"frag-peaks", no_argument, NULL, OPTION_FRAG_PEAKS}

/* Takes one of them.  Returns 0, or the exit status. */
int snapshots_parse(const struct command *c, struct snapshots *s, int option);
/* Those that the options ask for are taken of what is recorded as @o says; @s outlives it. */
void snapshots_begin(struct snapshots *s, struct session_options *o);
void snapshots_release(struct snapshots *s);

#endif
