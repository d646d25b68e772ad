/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain_realms.h"

#include "common/xalloc.h"
#include "store/layers.h"

void realms_set_layers(struct drain *d)
{
	struct layers l;

	layers_init(&l);
	for (size_t i = 0; i < n_mapping_families; i++)
		layers_add(&l, mapping_families[i].id, mapping_families[i].layer);
	for (size_t i = 0; i < n_user_families; i++)
		layers_add(&l, user_families[i].id, user_families[i].layer_name);
	d->heap.layers = l.replay;
}

struct realm realm_above(struct drain *d, const struct family *family)
{
	struct pairing **p = &d->others[family->layer % PROBE_LAYERS][family->kind];

	if (!*p)
		*p = xcalloc(1, sizeof(**p));
	return (struct realm){*p, family->layer, family->kind};
}

#define NONE_BEFORE (NO_SLOT - 1)

void realm_acquire(struct drain *d, const struct realm *realm, uint64_t address, uint32_t slot)
{
	uint32_t before = NONE_BEFORE;

	if (pairing_find(realm->pairing, address, &before) == PAIRING_LIVE)
		pairing_remove(realm->pairing, address);
	else
		before = NONE_BEFORE;
	*hashmap_put(&d->acquired_before, slot) = before;
	pairing_put(realm->pairing, address, slot);
}

void realm_forget(struct drain *d, const struct realm *realm, uint64_t address, uint32_t slot)
{
	uint32_t before = NONE_BEFORE;

	pairing_remove(realm->pairing, address);
	if (realm_is_heap(realm))
		return;
	if (realm->kind == FAMILY_COUNTED)
		before = hashmap_get(&d->acquired_before, slot);
	else
		pools_remove(&d->pools, slot);
	if (before < NONE_BEFORE)
		pairing_put(realm->pairing, address, before);
}

bool realm_find_in_layer(struct drain *d, uint8_t layer, uint64_t address, uint32_t *ret_slot)
{
	struct pairing *const all[] = {
		layer == LAYER_HEAP ? &d->pairing : d->others[layer][FAMILY_BLOCKS],
		layer == LAYER_HEAP ? NULL : d->others[layer][FAMILY_POOLS],
	};

	for (size_t i = 0; i < COUNT_OF(all); i++)
		if (all[i] && pairing_find(all[i], address, ret_slot) == PAIRING_LIVE)
			return true;
	return false;
}
