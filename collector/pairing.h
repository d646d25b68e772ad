/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PAIRING_H
#define COLLECTOR_PAIRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/slots.h"

/*
 * The live blocks of one address space: which slot an address has.  Addresses
 * that were freed are remembered while there is room, to tell a double free
 * from a free of something never seen.
 *
 * About 27 to 80 bytes a live block.  Zero-initialised is empty.
 */
#define NO_SLOT UINT32_MAX

struct pairing {
	struct pairing_entry {
		uint64_t address; /* 0: empty */
		uint64_t size;	  /* requested bytes */
		uint32_t slot;	  /* NO_SLOT: freed */
	} __attribute__((packed, aligned(4))) *entries;
	size_t cap;  /* a power of two */
	size_t live, freed;
	struct slots slots;
};

enum pairing_found {
	PAIRING_LIVE,
	PAIRING_FREED,
	PAIRING_NEVER_SEEN,
};

void pairing_release(struct pairing *p);
/* Forgets all: the address space is a new one. */
void pairing_reset(struct pairing *p);
/* Live, it has a slot and a size; these outputs are set only then, and may be NULL. */
enum pairing_found pairing_find(const struct pairing *p, uint64_t address, uint32_t *ret_slot,
				uint64_t *ret_size);
/* @address, which must not be live, is now the block in @slot. */
void pairing_put(struct pairing *p, uint64_t address, uint32_t slot, uint64_t size);
/* @address, which must be live, is so no more; its slot stays taken. */
void pairing_remove(struct pairing *p, uint64_t address);

#endif
