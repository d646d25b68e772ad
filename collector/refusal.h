/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_REFUSAL_H
#define COLLECTOR_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/*
 * Why the kernel refused us something.  It says EPERM for many causes; which of
 * them it was is found out afterwards, so that the hint names what to do.
 */
enum refused_call {
	REFUSED_BPF,	/* bpf(2) */
	REFUSED_PERF,	/* perf_event_open(2): the uprobes */
	REFUSED_PROC,	/* a look into another process, by /proc */
	REFUSED_OUTPUT, /* making the recording */
};

/*
 * Adds the hint to @err, which is filled in already, and for a lack of rights its
 * class.  A hint that is there stays.  @errnum: what the call failed with.
 */
void refusal_explain(enum refused_call call, int errnum, struct err *err);

/* What may be the reason, told apart by the fact each rests on. */
bool refusal_has_capability(int capability); /* CAP_SYS_ADMIN stands for BPF and PERFMON */
/* "CAP_BPF and CAP_PERFMON": those of what recording needs that are missing, or "". */
const char *refusal_missing_capabilities(char *buf, unsigned int size, bool others_processes);
bool refusal_in_seccomp(void);	     /* a filter is in force */
bool refusal_in_user_namespace(void); /* the capabilities count only within it */
/* "integrity" or "confidentiality" where the kernel is locked down, else "". */
const char *refusal_lockdown(char *buf, unsigned int size);
/* What may stand in the way on this machine, for people; each with what to do. */
#define OBSTACLES_MAX 8
struct obstacle {
	const char *name, *advice;
	char state[40];
};
/* Fills @ret with those that there are; returns how many. */
size_t refusal_list(struct obstacle ret[OBSTACLES_MAX]);

/* May uprobes be made?  0, or the errno that the kernel gives: nothing is made. */
int refusal_try_uprobe(void);

#endif
