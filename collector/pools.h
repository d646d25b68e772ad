/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_POOLS_H
#define COLLECTOR_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/hash.h"

/*
 * Which live blocks belong to which pool, since a pool's end is theirs.  Pools are known by
 * their layer and address, and are there as long as they have blocks; a block's address may be
 * that of another pool, which ends with it.  Takes as much memory as there are live blocks in
 * pools, or were at some time.  Zero-initialised is empty.
 */
#define POOLS_NONE UINT32_MAX

struct pools {
	struct pool {
		uint64_t address;
		uint8_t layer;
		uint32_t first; /* of its members; of a free one, the next free one */
	} *pools;
	size_t n_pools, cap_pools;
	struct pool_member {
		uint64_t address;
		uint32_t slot;
		uint32_t pool, previous, next; /* of a free one, next is the next free one */
	} *members;
	size_t n_members, cap_members;
	uint32_t free_pool, free_member; /* + 1; 0: none */
	size_t live_pools, live_members;
	struct hashmap by_address; /* layer and address -> pool; of those gone, its last number */
	struct hashmap by_slot;	   /* slot -> member; the same */
	/* the pool that a thread was in when it last allocated in a layer */
	struct hashmap threads; /* thread and layer -> place in … */
	uint64_t *entered;
	size_t n_entered, cap_entered;
};

void pools_release(struct pools *p);
/* The block in @slot, at @address, is of the pool at @pool, in that layer. */
void pools_add(struct pools *p, uint8_t layer, uint64_t pool, uint32_t slot, uint64_t address);
/*
 * The next block of the thread in that layer is of the pool at @pool, or of none: 0.  Was the
 * one before of another?  At first there are blocks of none.
 */
bool pools_enter(struct pools *p, uint32_t thread, uint8_t layer, uint64_t pool);
/* The block in @slot is of no pool any more; returns the address of that which it was of, or 0. */
uint64_t pools_remove(struct pools *p, uint32_t slot);
/* What is in the pool at @from is now in that at @to, if there was none. */
void pools_move(struct pools *p, uint8_t layer, uint64_t from, uint64_t to);
/* Are there blocks of the pool? */
bool pools_has(const struct pools *p, uint8_t layer, uint64_t address);
/* Calls @each for every block of the pool and of the pools in it; none is of a pool then. */
typedef void pools_each(void *arg, uint32_t slot, uint64_t address);
void pools_end(struct pools *p, uint8_t layer, uint64_t address, pools_each *each, void *arg);

#endif
