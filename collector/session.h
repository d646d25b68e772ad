/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_SESSION_H
#define COLLECTOR_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/drain.h"
#include "collector/looks.h"
#include "collector/probe_spec.h"
#include "collector/reach_look.h"
#include "collector/rotation.h"
#include "collector/stack_mode.h"
#include "collector/target.h"
#include "common/err.h"
#include "store/writer.h"

/*
 * One recording from its start to its end: the target, the probes on it, the
 * drain and the file.
 */
struct session;

enum on_full {
	ON_FULL_DEFAULT, /* wait where we launched it, drop where we attached */
	ON_FULL_WAIT,
	ON_FULL_DROP,
};

/* How far it is, whenever the ring was looked at; valid for the call. */
struct session_turn {
	struct store_writer *writer; /* events until here were put */
	const char *path;	     /* of the file that is being written */
	pid_t pid;
	uint64_t start_ns, last_ns; /* of the recording, and of the last event */
	const struct drain_counts *counts;
	uint64_t lost_events;
};

struct session_options {
	pid_t pid;		 /* to attach to; or 0 and … */
	char *const *argv;	 /* … the command to launch, ending with NULL */
	const char *output;	 /* %p: pid, %c: name of the program, %%: % */
	bool overwrite;
	uint64_t duration_ns;	 /* 0: until it ends */
	enum on_full on_full;
	size_t ring_bytes;	 /* a power of two; 0: the default */
	bool no_ptrace;
	bool linkage_names; /* functions' names are not demangled */
	enum stack_mode stack_mode;
	bool free_stacks; /* of frees, too */
	bool walk_heap; /* attached: blocks from before are recorded, too */
	uint64_t max_pause_ns; /* for that the target stands still so long at most; 0: default */
	const struct probe_specs *probes; /* the user's, finished; NULL: none */
	uint64_t min_size; /* smaller blocks are counted, not recorded; at most PAIRING_SMALL_MAX */
	uint64_t max_size; /* the observer keeps the file below that; 0: it may grow */
	struct rotation rotation; /* every_ns and whom to tell */
	/* the user's first interrupt, which is for the command: recording goes on; or NULL */
	void (*on_interrupt)(void);
	/* while names are looked up, every second or more often: frames done, of all; or NULL */
	void (*on_names)(size_t done, size_t n);
	struct drain_observer observer; /* of the heap as it is recorded */
	/* after each look at the ring, and once after the last; true: it shall end.  Or NULL */
	bool (*on_turn)(void *arg, const struct session_turn *turn);
	void *on_turn_arg;
	struct looks looks; /* at the target's memory */
	/* the look at who points to what, if it is wanted; its result is the caller's to put */
	bool wants_reach;
	struct reach_look reach;
	bool verbose;
	/*
	 * A pipe that ends when nobody wants the recording any more: then the process is let go
	 * of, and the recording stays without names and summaries.  0: none.  With it, what the
	 * command says on standard error goes where its standard output does: ours is the keeper's.
	 */
	int keeper;
	struct target_identity identity; /* of the command and of the file */
};

enum session_end {
	SESSION_TARGET_ENDED,
	SESSION_DURATION_OVER,
	SESSION_INTERRUPTED,
	SESSION_FAILED, /* the file could not be written further */
};

struct session_result {
	enum session_end end;
	int wait_status; /* of a launched target that ended */
	uint64_t events, lost_events;
	uint64_t small_alloc_calls; /* of blocks that were counted, not recorded */
	uint64_t lost_in_ring; /* of them: a larger ring prevents it */
	struct {
		unsigned int n;	      /* 0: it has but one, without a number */
		unsigned int removed; /* of them, the oldest */
	} files;
	bool launched;
	bool abandoned; /* it is not to be completed */
	const char *path; /* of the recording, or its last file; lives as long as the session */
	const char *only_callers; /* why no stacks were recorded that were wanted, or NULL */
	const char *warning; /* what the user should know of the numbers, or NULL */
};

/*
 * Starts recording.  A launched target is running when it returns.  Returns 0,
 * or a negative errno with @err filled in; then no target of ours is left.
 */
int session_start(const struct session_options *options, struct session **ret, struct err *err);
/*
 * Records until the target ends, the time is over or the user interrupts, and
 * takes the probes off.  All that was seen is in the file then, names included.
 */
int session_run(struct session *s, struct session_result *ret, struct err *err);
/* For what is to be added to the recording after the run. */
struct store_writer *session_writer(struct session *s);
/* Closes the file.  NULL is fine. */
int session_close(struct session *s, struct err *err);

#endif
