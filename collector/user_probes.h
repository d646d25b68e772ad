/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_USER_PROBES_H
#define COLLECTOR_USER_PROBES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "collector/plan.h"
#include "collector/probe_spec.h"
#include "collector/probes.h"
#include "common/err.h"

/*
 * What becomes of the user's probes while a process is recorded.  One without a module must
 * match when all libraries of the first program are mapped; one whose module is not mapped may
 * do so later, in a launched process: when the module is loaded, or in a program that comes by
 * exec.
 */
struct user_probes {
	const struct probe_specs *specs; /* NULL: there are none */
	bool *is_matched;		 /* [number] */
	bool may_come_later;
	bool is_checked; /* those that had to match have done so */
	bool is_refused; /* one did not */
	char *refused; /* a function that cannot be probed, and why; or NULL */
	bool maps_changed;
	unsigned int hook_calls; /* of ld.so in this program, before main */
};

void user_probes_init(struct user_probes *u, const struct probe_specs *specs, bool launched,
		      struct probes *probes);
/* Are there any that may match when a library is loaded, so that it has to be waited for? */
bool user_probes_may_come(const struct probe_specs *specs);
void user_probes_release(struct user_probes *u);
/* Another program runs: its libraries are not mapped yet. */
void user_probes_begin_program(struct user_probes *u);
/*
 * Notes what of the probes is in @plan.  Is all mapped that the program begins with, as far as
 * that can be told by the allocator that is among it?
 */
bool user_probes_are_in_place(struct user_probes *u, const struct plan *plan);
/* Then those that had to match must have: -ENOENT, -ENOTSUP with @err, once. */
int user_probes_check(struct user_probes *u, pid_t pid, const struct process_maps *maps,
		      struct err *err);
/* Have mappings changed since this was asked, so that one may match that has not yet? */
bool user_probes_take_change(struct user_probes *u);
/* At the end: which have not, as a fact, and as *@warning, which is to be freed, if it is NULL. */
void user_probes_put(const struct user_probes *u, struct store_writer *w, char **warning);

#endif
