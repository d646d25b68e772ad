/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/memory_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* To pass over less than that costs more than to read it. */
#define FAR_BYTES ((uint64_t)8 << 10)

void memory_window_init(struct memory_window *w, struct process_memory *memory)
{
	*w = (struct memory_window){.memory = memory, .ahead = MEMORY_WINDOW_MIN};
	w->data = xmalloc(MEMORY_WINDOW_BYTES);
}

void memory_window_release(struct memory_window *w)
{
	free(w->data);
	*w = (struct memory_window){0};
}

int memory_window_fill(struct memory_window *w, uint64_t address, size_t n_bytes, uint64_t end)
{
	uint64_t before = w->start + w->n_bytes;
	uint64_t passed = address > before ? address - before : 0;
	size_t want;
	ssize_t n;

	/* it may begin before the end of what was read */
	if (passed < FAR_BYTES)
		w->ahead = w->ahead < MEMORY_WINDOW_BYTES ? w->ahead * 2 : MEMORY_WINDOW_BYTES;
	else
		w->ahead = MEMORY_WINDOW_MIN;
	want = w->ahead;
	w->n_bytes = 0;
	if (address >= end || end - address < n_bytes || n_bytes > want)
		return -EFAULT;
	if (end - address < want)
		want = (size_t)(end - address);
	n = process_memory_read_some(w->memory, address, w->data, want);
	if (n < 0)
		return (int)n;
	/* it may reach into a page that was never written to */
	if ((size_t)n < n_bytes)
		memset(w->data + n, 0, n_bytes - (size_t)n);
	w->start = address;
	w->n_bytes = (size_t)n < n_bytes ? n_bytes : (size_t)n;
	return 0;
}
