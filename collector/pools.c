/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/pools.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

#define LAYER_SHIFT 56 /* user addresses have fewer bits */

/* Keys of what has gone are kept until there are so many more of them. */
#define DEAD_KEYS 1024

void pools_release(struct pools *p)
{
	free(p->pools);
	free(p->members);
	hashmap_release(&p->by_address);
	hashmap_release(&p->by_slot);
	hashmap_release(&p->threads);
	free(p->entered);
	memset(p, 0, sizeof(*p));
}

static uint64_t key_of(uint8_t layer, uint64_t address)
{
	return address ^ (uint64_t)layer << LAYER_SHIFT;
}

/* ---- finding ------------------------------------------------------------------------ */

/* Numbers are used again: what is found must be what was looked for. */
static uint32_t find_pool(const struct pools *p, uint8_t layer, uint64_t address)
{
	uint32_t i = hashmap_get(&p->by_address, key_of(layer, address));

	return i != HASHMAP_NONE && p->pools[i].address == address &&
			       p->pools[i].layer == layer
		       ? i
		       : POOLS_NONE;
}

static uint32_t find_member(const struct pools *p, uint32_t slot)
{
	uint32_t i = hashmap_get(&p->by_slot, slot);

	return i != HASHMAP_NONE && p->members[i].slot == slot ? i : POOLS_NONE;
}

/* Without the keys of what has gone. */
static void renew_pool_keys(struct pools *p)
{
	if (p->by_address.n < 2 * p->live_pools + DEAD_KEYS)
		return;
	hashmap_release(&p->by_address);
	for (size_t i = 0; i < p->n_pools; i++)
		if (p->pools[i].address)
			*hashmap_put(&p->by_address,
				     key_of(p->pools[i].layer, p->pools[i].address)) = (uint32_t)i;
}

static void renew_member_keys(struct pools *p)
{
	if (p->by_slot.n < 2 * p->live_members + DEAD_KEYS)
		return;
	hashmap_release(&p->by_slot);
	for (size_t i = 0; i < p->n_members; i++)
		if (p->members[i].slot != POOLS_NONE)
			*hashmap_put(&p->by_slot, p->members[i].slot) = (uint32_t)i;
}

/* ---- making and ending -------------------------------------------------------------- */

static uint32_t make_pool(struct pools *p, uint8_t layer, uint64_t address)
{
	uint32_t i = p->free_pool;

	renew_pool_keys(p);
	if (i) {
		p->free_pool = p->pools[--i].first;
	} else {
		ARRAY_GROW(p->pools, p->cap_pools, p->n_pools);
		i = (uint32_t)p->n_pools++;
	}
	p->pools[i] = (struct pool){.address = address, .layer = layer, .first = POOLS_NONE};
	*hashmap_put(&p->by_address, key_of(layer, address)) = i;
	p->live_pools++;
	return i;
}

static void free_pool(struct pools *p, uint32_t i)
{
	p->pools[i].address = 0;
	p->pools[i].first = p->free_pool;
	p->free_pool = i + 1;
	p->live_pools--;
}

static void free_member(struct pools *p, uint32_t i)
{
	struct pool_member *m = &p->members[i];

	if (m->next != POOLS_NONE)
		p->members[m->next].previous = m->previous;
	if (m->previous != POOLS_NONE)
		p->members[m->previous].next = m->next;
	else
		p->pools[m->pool].first = m->next;
	if (p->pools[m->pool].first == POOLS_NONE)
		free_pool(p, m->pool);
	m->slot = POOLS_NONE;
	m->next = p->free_member;
	p->free_member = i + 1;
	p->live_members--;
}

static uint32_t make_member(struct pools *p)
{
	uint32_t i = p->free_member;

	renew_member_keys(p);
	if (i) {
		p->free_member = p->members[--i].next;
	} else {
		ARRAY_GROW(p->members, p->cap_members, p->n_members);
		i = (uint32_t)p->n_members++;
	}
	p->live_members++;
	return i;
}

void pools_add(struct pools *p, uint8_t layer, uint64_t pool, uint32_t slot, uint64_t address)
{
	uint32_t i = find_pool(p, layer, pool), m;

	if (!pool || pool == address)
		return;
	if (i == POOLS_NONE)
		i = make_pool(p, layer, pool);
	m = make_member(p);
	p->members[m] = (struct pool_member){.address = address, .slot = slot, .pool = i,
					     .previous = POOLS_NONE, .next = p->pools[i].first};
	if (p->pools[i].first != POOLS_NONE)
		p->members[p->pools[i].first].previous = m;
	p->pools[i].first = m;
	*hashmap_put(&p->by_slot, slot) = m;
}

bool pools_enter(struct pools *p, uint32_t thread, uint8_t layer, uint64_t pool)
{
	uint64_t key = (uint64_t)thread << 8 | layer;
	uint32_t *at;

	/* most layers have no pools */
	if (!pool && hashmap_get(&p->threads, key) == HASHMAP_NONE)
		return false;
	at = hashmap_put(&p->threads, key);
	if (*at == HASHMAP_NONE) {
		*at = (uint32_t)p->n_entered;
		ARRAY_GROW(p->entered, p->cap_entered, p->n_entered);
		p->entered[p->n_entered++] = 0;
	}
	if (p->entered[*at] == pool)
		return false;
	p->entered[*at] = pool;
	return true;
}

uint64_t pools_remove(struct pools *p, uint32_t slot)
{
	uint32_t m = find_member(p, slot);
	uint64_t pool;

	if (m == POOLS_NONE)
		return 0;
	pool = p->pools[p->members[m].pool].address;
	free_member(p, m);
	return pool;
}

void pools_move(struct pools *p, uint8_t layer, uint64_t from, uint64_t to)
{
	uint32_t i = find_pool(p, layer, from);

	if (i == POOLS_NONE || from == to || find_pool(p, layer, to) != POOLS_NONE)
		return;
	p->pools[i].address = to;
	*hashmap_put(&p->by_address, key_of(layer, to)) = i;
}

bool pools_has(const struct pools *p, uint8_t layer, uint64_t address)
{
	return find_pool(p, layer, address) != POOLS_NONE;
}

void pools_end(struct pools *p, uint8_t layer, uint64_t address, pools_each *each, void *arg)
{
	uint64_t *todo = NULL;
	size_t n = 0, cap = 0;

	ARRAY_GROW(todo, cap, n);
	todo[n++] = address;
	while (n) {
		uint64_t pool = todo[--n];
		uint32_t i;

		while ((i = find_pool(p, layer, pool)) != POOLS_NONE) {
			struct pool_member m = p->members[p->pools[i].first];

			free_member(p, p->pools[i].first);
			if (pools_has(p, layer, m.address)) {
				ARRAY_GROW(todo, cap, n);
				todo[n++] = m.address;
			}
			each(arg, m.slot, m.address);
		}
	}
	free(todo);
}
