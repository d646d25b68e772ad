/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_SLOTS_H
#define STORE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Slots number the live blocks of one address space densely.  An alloc takes the
 * slot freed last, or the next new one; a free gives its slot back; a realloc
 * keeps it.  The recorder and every reader run the same list over the same
 * events, so an alloc's slot costs no bytes in the recording, and a replay is an
 * array as large as the most blocks that were ever live.
 *
 * Zero-initialised is empty.
 */
struct slots {
	uint32_t *freed; /* a stack */
	size_t n_freed, cap;
	uint32_t next; /* the first slot never used */
};

void slots_release(struct slots *s);
/* Forgets all slots, keeps the memory. */
void slots_reset(struct slots *s);
uint32_t slots_take(struct slots *s);
void slots_give(struct slots *s, uint32_t slot);

#endif
