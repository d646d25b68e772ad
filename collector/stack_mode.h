/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_STACK_MODE_H
#define COLLECTOR_STACK_MODE_H

#ifndef __bpf__
#include <stdbool.h>
#endif

/* How call stacks are taken.  Compiled for BPF too. */
enum stack_mode {
	STACK_MODE_AUTO,   /* by unwind rules, by frame pointers where there are none */
	STACK_MODE_FP,	   /* by frame pointers alone */
	STACK_MODE_CALLER, /* the return address of the call */
	STACK_MODE_NONE,
};

#ifndef __bpf__
/* "auto", "fp", "caller", "none": of --call-graph, and in recordings. */
const char *stack_mode_name(enum stack_mode mode);
bool stack_mode_by_name(const char *name, enum stack_mode *ret);
#endif

#endif
