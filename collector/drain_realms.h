/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_REALMS_H
#define COLLECTOR_DRAIN_REALMS_H

#include "collector/drain.h"

/*
 * Where the addresses of a family are paired: a wrapper's block lies where the heap's below
 * does, and what is counted lies where a block does.
 */
struct realm {
	struct pairing *pairing;
	uint8_t layer;
	enum family_kind kind;
};

/* Tells the replay which families are of which layer. */
void realms_set_layers(struct drain *d);

/* Of a layer above heap. */
struct realm realm_above(struct drain *d, const struct family *family);

static inline struct realm realm_of(struct drain *d, uint8_t id)
{
	/* most events are of built-in families, all of which are of the heap */
	const struct family *family = id < FAMILY_USER_FIRST ? NULL : family_by_id(id);

	if (!family || (family->layer == LAYER_HEAP && family->kind == FAMILY_BLOCKS))
		return (struct realm){&d->pairing, LAYER_HEAP, FAMILY_BLOCKS};
	return realm_above(d, family);
}

static inline bool realm_is_heap(const struct realm *realm)
{
	return realm->layer == LAYER_HEAP;
}

/* A countable thing is handed out once more: it is given back in the opposite order. */
void realm_acquire(struct drain *d, const struct realm *realm, uint64_t address, uint32_t slot);
/* Its address leads to the block in @slot no more, which ends. */
void realm_forget(struct drain *d, const struct realm *realm, uint64_t address, uint32_t slot);
/* The live block, or pool, that a layer has at @address.  False: it has none. */
bool realm_find_in_layer(struct drain *d, uint8_t layer, uint64_t address, uint32_t *ret_slot);

#endif
