/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_SESSION_STATE_H
#define COLLECTOR_SESSION_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/before.h"
#include "collector/code_watch.h"
#include "collector/drain.h"
#include "collector/guard.h"
#include "collector/interrupts.h"
#include "collector/probes.h"
#include "collector/session.h"
#include "collector/user_probes.h"

/* What is put is on the disk at the latest after so long. */
#define FLUSH_NS 200000000ull
/* What was called before the probes were disarmed has so long to return. */
#define LAST_CALLS_US 10000

/* A session from within: session_start.c begins it, session.c runs and ends it. */
struct session {
	struct session_options options;
	struct target target;
	struct probes *probes;
	struct store_writer *writer;
	struct store_writer_options file; /* of each */
	struct drain drain;
	struct code_watch code;
	struct before before; /* the heap as it was when we attached */
	char *path;
	char *command; /* JSON; later the process may be gone */
	char *warning;
	struct guard guard;
	struct interrupts interrupts;
	uint64_t start_ns, armed_ns, last_flush_ns, last_slow_ns;
	uint64_t end_ns;
	uint64_t losses, losses_written;
	uint64_t last_hold_ns;
	uint64_t settle_until_ns; /* attached, after an exec: look for the allocator … */
	uint64_t next_settle_ns;  /* … now and then */
	bool awaiting_hook;	  /* launched, after an exec: ld.so will stop at its hook */
	bool is_held_at_exec;	  /* launched, not traced: the probes have stopped it */
	bool is_armed;
	bool has_hook; /* ld.so is mapped */
	bool lacks_allocator; /* none is in the program that runs now */
	struct user_probes user;
	uint64_t peak_rss_bytes;
	bool wants_stop;
	bool is_abandoned; /* nobody wants the recording any more */
};

/* Its row; may be put again.  @end_ns 0: it has not ended, nor been let go of. */
void session_put_process(struct session *s, bool ended, uint64_t end_ns);
/* The program that runs, or ran, has no allocator that is known: says so. */
void session_note_no_allocator(struct session *s);
/*
 * The target has just got a new program.  ld.so will stop at its hook, with all
 * libraries mapped and before any of their code runs; a static program has its
 * allocator already.
 */
int session_prepare_program(struct session *s, struct err *err);
/* ld.so stands at its hook. */
int session_finish_hook(struct session *s, struct err *err);
/* A library has come for which the user has probes, before its code runs; or a child. */
void session_follow_mappings(struct session *s);
/* After an exec of an attached one: is its new program in place? */
void session_settle(struct session *s);
/* Empties the ring, with a bound: a target that never rests must not hold us here. */
void session_drain_all(struct session *s);
/*
 * Have the probes asked for a stop, just now or a moment ago?  Several threads may
 * each have asked for one, and the last of them comes late.
 */
bool session_is_hold_wanted(void *session);
/* Removes the file: nothing was recorded. */
void session_undo_recording(struct session *s);

#endif
