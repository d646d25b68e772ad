/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROBES_H
#define COLLECTOR_PROBES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/plan.h"
#include "collector/ring_events.h"
#include "common/err.h"

/*
 * The programs of probes.bpf.c in the kernel: loading them, putting them on a
 * process, and what they hand over.
 */
struct probes;

struct probes_options {
	pid_t pid;
	bool wait_when_full;
	bool verbose;	      /* libbpf's own messages go to stderr */
	size_t ring_bytes;    /* a power of two */
	bool empty;	      /* load programs that do nothing: for measuring the probes alone */
};

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
size_t probes_attached(const struct probes *p); /* kernel links held */
int probes_link_fd(const struct probes *p, size_t i);
const char *probes_link_kind(const struct probes *p); /* for people: "perf", "uprobe_multi" */

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

/* Who gets the events. */
void probes_set_sink(struct probes *p,
		     void (*each)(void *arg, const struct ring_head *e, size_t len), void *arg);
/* Hands the ring's events to the sink in their order, at most @most; are there more? */
bool probes_drain(struct probes *p, size_t most);
size_t probes_ring_used(const struct probes *p); /* bytes */

uint64_t probes_counter(const struct probes *p, enum probe_counter c);

#endif
