/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROBES_H
#define COLLECTOR_PROBES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/plan.h"
#include "collector/ring_events.h"
#include "collector/stack_mode.h"
#include "collector/unwind_layout.h"
#include "common/err.h"
#include "store/writer.h"

/*
 * The programs of probes.bpf.c in the kernel: loading them, putting them on a
 * process, and what they hand over.
 */
struct probes;

struct probes_options {
	pid_t pid;
	bool wait_when_full;
	bool stop_at_libraries; /* with wait_when_full: it stands still while they are looked at */
	bool verbose;	      /* libbpf's own messages go to stderr */
	size_t ring_bytes;    /* a power of two */
	enum stack_mode stack_mode; /* what is wished; see probes_stack_mode() */
	bool free_stacks; /* those of frees, too, where stacks are taken */
	bool mappings;	  /* what the process maps, too */
	enum probes_measure {
		PROBES_WHOLE,
		PROBES_EMPTY,  /* they do nothing: what probes cost alone */
		PROBES_STACKS, /* entries take the stack, and do nothing else */
	} measure;
	bool entries_only; /* of what allocates: for measuring, too */
};

/* Returns 0, or a negative errno with @err; then nothing is left of it. */
int probes_load(const struct probes_options *options, struct probes **ret, struct err *err);
/*
 * Begins to remove every probe; what is in the ring can still be drained.  The
 * kernel takes a grace period for each, about 0.1 s, one after the other: it is
 * done when probes_free() returns.
 */
void probes_detach(struct probes *p);
/* NULL is fine. */
void probes_free(struct probes *p);

/*
 * Puts probes on all points of @plan in the process, but on files that have
 * them already.  Nothing is recorded before probes_arm().
 */
int probes_attach(struct probes *p, const struct plan *plan, struct err *err);
/*
 * Children that the process has forked since the last time lose the breakpoints which they
 * inherited.  Takes as long as one probe does to go.
 */
void probes_sweep(struct probes *p);
/* The sizes that no argument tells, PROBE_CONSTANTS of them at most. */
void probes_set_constants(struct probes *p, const uint64_t *sizes, size_t n);
size_t probes_attached(const struct probes *p); /* kernel links held */
int probes_link_fd(const struct probes *p, size_t i);

void probes_arm(struct probes *p, bool on);
/* After disarming: the returns of calls that were in flight are not recorded any more either. */
void probes_close(struct probes *p);
/* Is SIGSTOP to stop the process, when ld.so next calls its debug hook, and after an exec. */
void probes_hold_at_debug_hook(struct probes *p, bool on);
void probes_hold_at_exec(struct probes *p, bool on);
/*
 * Have the probes stopped the process, and was it not let go on since?  Whoever
 * lets it go on says so before.
 */
bool probes_is_held(const struct probes *p);
void probes_end_hold(struct probes *p);
/* Nothing is recorded and nobody stopped any more: the recorder is gone. */
void probes_give_up(struct probes *p);

/*
 * Who gets the events.  @expect is told before each what will most likely come after it: it
 * may be half written, or nothing yet.
 */
void probes_set_sink(struct probes *p, void (*expect)(void *arg, const struct ring_alloc *next),
		     void (*each)(void *arg, const struct ring_head *e, size_t len), void *arg);
/* Hands the ring's events to the sink in their order, at most @most; are there more? */
bool probes_drain(struct probes *p, size_t most);
size_t probes_ring_used(const struct probes *p); /* bytes */
/* Nothing is drained any more: lets go of the ring's memory. */
void probes_end_ring(struct probes *p);

/* Becomes readable with what is urgent: an exec, changed mappings; take it before draining. */
int probes_wakeup_fd(const struct probes *p);
void probes_take_wakeup(struct probes *p);

uint64_t probes_counter(const struct probes *p, enum probe_counter c);

/* ---- stacks: see unwind_tables.h --------------------------------------------------- */

/* How stacks are taken: a kernel that refuses the unwinder leaves the callers. */
enum stack_mode probes_stack_mode(const struct probes *p);
/* Why the wish could not be fulfilled, or NULL. */
const char *probes_stack_mode_reason(const struct probes *p);
/* Writes how: facts "stack_mode", "stack_mode_reason", "free_stacks", "links". */
void probes_put_facts(const struct probes *p, struct store_writer *w);

/*
 * The mappings of code as the unwinder sees them.  Returns 0 with an array of @ret_n to
 * free, or a negative errno with nothing: that of the kernel, which refuses to list.
 */
int probes_list_code(struct probes *p, struct unwind_mapping **ret, size_t *ret_n);
/*
 * Makes such a list known to the unwinder, for while the kernel does not tell.  It is
 * used as long as that @generation of the code is the current one.
 */
void probes_set_listing(struct probes *p, const struct unwind_mapping *mappings, size_t n,
			uint16_t generation);
/*
 * Creates slabs: their descriptors are to be mapped, and closed.  Takes as long as
 * programs run, so not while one waits for us.  Of UNWIND_SLABS_MAX they are numbers
 * @first to @first + @n - 1.  Returns 0, or a negative errno and no descriptors.
 */
int probes_add_unwind_slabs(struct probes *p, uint32_t first, uint32_t n, int *ret_fds);
/* @number is below UNWIND_RULES_MAX. */
void probes_set_unwind_rule(struct probes *p, uint32_t number, uint64_t rule);
/*
 * With NULL the kernel knows nothing of the file any more.  Returns 0 or a negative
 * errno: then all is as it was.
 */
int probes_show_unwind_file(struct probes *p, const struct unwind_file_key *key,
			    const struct unwind_file *table);
void probes_set_vdso_table(struct probes *p, const struct unwind_file *table);
void probes_set_vdso(struct probes *p, uint64_t start, uint64_t end);
/* How often code has come or gone: what events say when they are taken, see ring_head. */
uint16_t probes_code_generation(const struct probes *p);
/* So often has a thread asked for tables, and waits; what was asked before was made. */
uint64_t probes_tables_asked(const struct probes *p);
void probes_set_tables_ready(struct probes *p, uint64_t asked);
/* Was code met without a table, since this was asked last? */
bool probes_take_tables_wanted(struct probes *p);

#endif
