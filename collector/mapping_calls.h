/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_MAPPING_CALLS_H
#define COLLECTOR_MAPPING_CALLS_H

#include "collector/plan.h"
#include "image/elf_file.h"

/*
 * The system calls by which a program maps and unmaps: probes are put behind them, in whatever
 * code of the file they are.  The kernel's own probes of such calls would do, too, but a
 * tracepoint makes every call of every process slower, and of two threads on one CPU the
 * trampoline (fexit) lets but one through.
 */
void mapping_calls_plan(struct plan_object *o, struct elf_file *elf);

#endif
