/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_LOOKS_H
#define COLLECTOR_LOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/drain.h"
#include "collector/hold.h"
#include "common/err.h"
#include "store/writer.h"

/*
 * Looks at the memory of the target, while it is held for a moment: what is found there no
 * event tells (which pages are resident, what still points at a block).
 */
enum look_when {
	LOOK_NOW,	   /* is_due() said so */
	LOOK_ASKED = 4,	   /* somebody asked for one, by SIGUSR1 to the recorder */
	LOOK_AT_EXIT = 1,  /* at its exit stop; only what was launched and is traced has one */
	LOOK_AT_END = 2,   /* before it is let go of, running */
};

struct look {
	enum look_when when;
	uint64_t t_ns; /* all of it stands still */
	const struct hold *hold;
	/* heap: what is live; up to that very moment, if the ring was wanted to be empty */
	const struct drain *drain;
	struct store_writer *writer;
};

struct look_observer {
	void *arg;
	unsigned int at; /* LOOK_AT_… */
	bool needs_heap; /* the ring shall be empty while it is held */
	bool needs_block_pages; /* drain.h: keeps_block_pages */
	uint64_t timeout_ns; /* for its threads to stop; 0: 500 ms */
	/* is one wanted now?  Asked at each turn of the recorder; may be NULL */
	bool (*is_due)(void *arg, const struct drain *drain, uint64_t now_ns);
	/* it is held: be quick */
	void (*held)(void *arg, const struct look *l);
	/*
	 * It goes on again, after @held_ns; what is slow belongs here.  @err: it was not held, or
	 * had ended before (held() was not called); NULL: it was.
	 */
	void (*after)(void *arg, const struct look *l, uint64_t held_ns, const struct err *err);
};

#define LOOKS_MAX 4

struct looks {
	size_t n;
	struct look_observer of[LOOKS_MAX];
	unsigned int taken; /* LOOK_AT_… */
};

/* What a look takes, and what is called with @session. */
struct look_context {
	struct target *target;
	const struct drain *drain;
	struct store_writer *writer;
	void (*empty_ring)(void *session);
	/* does what the target may be waiting for: it does not stop before */
	void (*serve)(void *session);
	void *session;
};

void looks_add(struct looks *l, const struct look_observer *o);
/* Those that are due, of a target that runs. */
void looks_take_due(struct looks *l, const struct look_context *c, uint64_t now_ns);
/* Those of that moment; in the exit and at the end once. */
void looks_take(struct looks *l, const struct look_context *c, enum look_when when);
/* It has ended.  Those that should have been taken at its exit, and were not, are told so. */
void looks_end(struct looks *l, const struct look_context *c);

#endif
