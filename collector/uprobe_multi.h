/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UPROBE_MULTI_H
#define COLLECTOR_UPROBE_MULTI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The other way to put a probe on a process (Linux 6.6): for those who may not
 * open a perf event for it.  Newer kernels (6.17, and stable ones since August
 * 2025) want CAP_SYS_ADMIN for that; this takes CAP_BPF and CAP_PERFMON only.
 * Its price: a child that the process forks keeps the breakpoints, and is slowed
 * down by them, although nothing of it is recorded.
 *
 * Plain bpf(2), as Debian 12 has neither a libbpf nor a header that knows it.
 */
#define UPROBE_MULTI_ATTACH_TYPE 48 /* a program must be loaded for it: BPF_TRACE_UPROBE_MULTI */

/* Does this kernel have it?  Takes the right to load a program; false without. */
bool uprobe_multi_is_supported(void);
/* Returns the link, a file to be closed, or a negative errno. */
int uprobe_multi_attach(int program, pid_t pid, const char *file, uint64_t offset, uint64_t cookie,
			bool at_return);

#endif
