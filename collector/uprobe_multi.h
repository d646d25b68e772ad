/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UPROBE_MULTI_H
#define COLLECTOR_UPROBE_MULTI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The newer way to put probes on a process, many at once (Linux 6.6; before 6.10 it
 * took only the main thread's hits).  Newer kernels (6.17, and stable ones since
 * August 2025) want CAP_SYS_ADMIN for a perf event; this takes CAP_BPF and
 * CAP_PERFMON only.
 *
 * Plain bpf(2), as Debian 12 has neither a libbpf nor a header that knows it.
 */
#define UPROBE_MULTI_ATTACH_TYPE 48 /* a program must be loaded for it: BPF_TRACE_UPROBE_MULTI */

/* Does this kernel have it?  Takes the right to load a program; false without. */
bool uprobe_multi_is_supported(void);
/* … and does it serve all threads? */
bool uprobe_multi_is_whole(void);
/* Returns the link, a file to be closed, or a negative errno. */
int uprobe_multi_attach(int program, pid_t pid, const char *file, const uint64_t *offsets,
			const uint64_t *cookies, uint32_t n, bool at_return);

#endif
