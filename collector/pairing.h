/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_PAIRING_H
#define COLLECTOR_PAIRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The live blocks of one address space: which slot an address has.  A small block
 * has no slot: nothing is recorded of it, but its free is to be known when it comes.
 * Of the addresses that were freed the latest are remembered,
 * about one for every eight live blocks at least, to tell a double free from a
 * free of something never seen.
 *
 * At most 32 bytes a live block of the time when most were live:
 * the table is many small ones, which grow one by one, so that no large one is
 * ever there twice.  Zero-initialised is empty.
 */
#define NO_SLOT UINT32_MAX
#define PAIRING_SMALL_MAX (1u << 30) /* bytes: small blocks have fewer */
#define PAIRING_PARTS 256

struct pairing {
	struct pairing_part {
		struct pairing_entry {
			uint64_t address; /* 0: empty */
			uint32_t place;	  /* its slot, size, or when it was freed: pairing.c */
		} __attribute__((packed, aligned(4))) *entries;
		uint32_t cap; /* a power of two, or 0 */
		uint32_t live, freed;
	} parts[PAIRING_PARTS];
	size_t live;
	uint32_t n_frees; /* counts on and wraps */
	/* where the address that was looked for last is, or would go; NULL: to be found */
	struct pairing_entry *recent;
	uint64_t recent_address;
};

enum pairing_found {
	PAIRING_LIVE,
	PAIRING_SMALL, /* live, without a slot */
	PAIRING_FREED,
	PAIRING_NEVER_SEEN,
};

/* Does it live? */
static inline bool pairing_is_block(enum pairing_found found)
{
	return found == PAIRING_LIVE || found == PAIRING_SMALL;
}

void pairing_release(struct pairing *p);
/* Forgets all: the address space is a new one. */
void pairing_reset(struct pairing *p);
/* @address, any number, will be asked for or put soon: has it brought into the cache. */
void pairing_expect(const struct pairing *p, uint64_t address);
/*
 * Live, it has a slot; small, a size in bytes: this output is set only then, and may be NULL.
 */
enum pairing_found pairing_find(struct pairing *p, uint64_t address, uint32_t *ret_place);
/* @address, which must not be live, is now the block in @slot, which is below 2^30. */
void pairing_put(struct pairing *p, uint64_t address, uint32_t slot);
/* The same for a block that takes no slot; @size is below PAIRING_SMALL_MAX. */
void pairing_put_small(struct pairing *p, uint64_t address, uint64_t size);
/* @address, which must be live or small, is so no more; its slot stays taken. */
void pairing_remove(struct pairing *p, uint64_t address);
/* The blocks that have no slot, in any order. */
void pairing_each_small(const struct pairing *p,
			void (*each)(void *arg, uint64_t address, uint32_t size), void *arg);

#endif
