/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PROCESS_MEMORY_H
#define COLLECTOR_PROCESS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/pointers.h"
#include "image/process_maps.h"

/* The memory of another process, which stands still.  Reading it changes nothing of it. */
struct process_memory {
	pid_t pid;
	int pagemap; /* -1: what was written to cannot be told */
	const struct process_maps *maps; /* the caller's */
};

void process_memory_open(struct process_memory *m, pid_t pid, const struct process_maps *maps);
void process_memory_close(struct process_memory *m);
/* As in pointers.h; @memory is a struct process_memory.  Several threads may call them. */
int process_memory_read(void *memory, const struct pointers_range *ranges, size_t n, void *to);
bool process_memory_written(void *memory, const struct pointers_range *r,
			    struct pointers_range *ret);
/* @n words from @address on; what is not there is zeros. */
void process_memory_words(struct process_memory *m, uint64_t address, size_t n, uint64_t *ret);

#endif
