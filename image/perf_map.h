/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_PERF_MAP_H
#define IMAGE_PERF_MAP_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Names of code that a process made itself (a JIT), as it tells them to profilers:
 * /tmp/perf-PID.map, a line for each function: its address and size in hex, its name.
 * Where several cover an address, the last line is right.
 */
struct perf_map;

/*
 * The map of process @pid, as it or, where it has ended, we see /tmp.  It must be a
 * regular file of user @owner or of root, and of a sane size.  NULL where there is none.
 */
struct perf_map *perf_map_open(pid_t pid, uid_t owner);
/* The same of the text in the file @path. */
struct perf_map *perf_map_read(const char *path, uid_t owner);
void perf_map_close(struct perf_map *m); /* NULL is fine */

/* The function that covers @address, or NULL; lives as long as @m. */
const char *perf_map_function_at(const struct perf_map *m, uint64_t address);

#endif
