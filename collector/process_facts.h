/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROCESS_FACTS_H
#define COLLECTOR_PROCESS_FACTS_H

#include <stdint.h>
#include <sys/types.h>

#include "store/writer.h"

/* What /proc says of a process.  Strings are the caller's to free. */

/* Its name, without a slash: of @argv if it is to be launched, else of process @pid. */
char *process_name(pid_t pid, char *const *argv);
/* @pattern with %p (the pid), %c (its name) and %% replaced. */
char *process_output_path(const char *pattern, pid_t pid, char *const *argv);
/* Its command line as a JSON array: @argv, or that of process @pid. */
char *process_command(pid_t pid, char *const *argv);
/* The path of its program; NULL if it cannot be told. */
char *process_executable(pid_t pid);
/* A value in KiB of /proc/PID/status, such as "VmRSS", in bytes; 0 if it has none. */
uint64_t process_status_bytes(pid_t pid, const char *key);
/* Its state: 'R', 'T', 'Z', …; 0 if there is no such process. */
char process_state(pid_t pid);
/* When it started, in clock ticks since boot: tells apart two processes with one pid.  0: gone. */
uint64_t process_start_ticks(pid_t pid);

/* Where its heap of brk() ends, give or take a page; 0: it cannot be told. */
uint64_t process_break(pid_t pid);

/*
 * What tells this very process from any other, ever: boot, PID namespace, pid and
 * start.  process_identity_state() says whether the process so described is there.
 */
enum process_identity_state {
	PROCESS_IS_THERE,
	PROCESS_IS_GONE,
	PROCESS_IS_ELSEWHERE, /* in another PID namespace, or hidden: it cannot be told */
};

char *process_identity(void);
enum process_identity_state process_identity_state(const char *identity);

/* Facts: the kernel that runs, and the machine. */
void process_put_system(struct store_writer *w);

#endif
