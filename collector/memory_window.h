/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_MEMORY_WINDOW_H
#define COLLECTOR_MEMORY_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "collector/process_memory.h"

/* Another process's memory, most of it, in the order of addresses: read ahead, in large pieces. */
#define MEMORY_WINDOW_BYTES ((size_t)256 << 10)
#define MEMORY_WINDOW_MIN ((size_t)16 << 10)

struct memory_window {
	struct process_memory *memory; /* the caller's */
	uint8_t *data;
	uint64_t start;
	size_t n_bytes;
	size_t ahead; /* so much is read: more each time, less where most is passed over */
};

void memory_window_init(struct memory_window *w, struct process_memory *memory);
void memory_window_release(struct memory_window *w);

int memory_window_fill(struct memory_window *w, uint64_t address, size_t n_bytes, uint64_t end);

/*
 * @n_bytes (at most MEMORY_WINDOW_MIN) at @address, valid until the next call; reads ahead, but
 * not beyond @end.  NULL where its first page is not there: @ret_error says why.
 */
static inline const void *memory_window_at(struct memory_window *w, uint64_t address,
					   size_t n_bytes, uint64_t end, int *ret_error)
{
	uint64_t offset = address - w->start;

	if (offset >= w->n_bytes || w->n_bytes - offset < n_bytes) {
		*ret_error = memory_window_fill(w, address, n_bytes, end);
		if (*ret_error)
			return NULL;
		offset = 0;
	}
	return w->data + offset;
}

#endif
