/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_PROCESS_MAPS_H
#define IMAGE_PROCESS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* /proc/PID/maps: the mappings of a process at one moment, by address. */
struct process_map {
	uint64_t start, end;
	uint64_t offset; /* in the file */
	dev_t device;
	ino_t inode; /* 0: no file */
	bool readable, writable, executable, is_shared;
	char *path; /* as the kernel prints it: "" for anonymous, "[heap]" and the like */
};

struct process_maps {
	struct process_map *maps;
	size_t n, cap;
};

/* -ESRCH where there is no such process, or it has no address space any more. */
int process_maps_read(pid_t pid, struct process_maps *ret, struct err *err);
void process_maps_release(struct process_maps *m);
/* The mapping that holds @address, or NULL. */
const struct process_map *process_maps_find(const struct process_maps *m, uint64_t address);

/* Memory of its own: nameless, or named by prctl(), or of the kernel's file for huge pages. */
bool process_map_is_anonymous(const struct process_map *map);

/*
 * A path by which the very file of the mapping can be opened, also where it was
 * replaced or deleted, or the process lives in another mount namespace.
 * Returns 0 with a string to free, or -ENOENT where only another file is to be had.
 */
int process_map_file(pid_t pid, const struct process_map *map, char **ret);

#endif
