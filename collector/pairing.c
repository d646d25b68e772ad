/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/pairing.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

void pairing_release(struct pairing *p)
{
	free(p->entries);
	slots_release(&p->slots);
	memset(p, 0, sizeof(*p));
}

void pairing_reset(struct pairing *p)
{
	free(p->entries);
	p->entries = NULL;
	p->cap = p->live = p->freed = 0;
	slots_reset(&p->slots);
}

/* The entry of @address, or the empty one where it would go. */
static struct pairing_entry *find(const struct pairing *p, uint64_t address)
{
	/* blocks lie 16 bytes apart: a multiplication spreads them well enough */
	size_t i = (address >> 4) * 0x9e3779b97f4a7c15ull >> 20 & (p->cap - 1);

	while (p->entries[i].address && p->entries[i].address != address)
		i = (i + 1) & (p->cap - 1);
	return &p->entries[i];
}

/* Makes room: grows while most entries are live, else forgets the freed ones. */
static void rehash(struct pairing *p)
{
	struct pairing old = *p;
	bool keep_freed = old.freed <= old.live / 2;

	if (!old.cap)
		p->cap = 1024;
	else if (keep_freed)
		p->cap = old.cap * 2;
	p->entries = xcalloc(p->cap, sizeof(*p->entries));
	p->freed = keep_freed ? old.freed : 0;
	for (size_t i = 0; i < old.cap; i++) {
		const struct pairing_entry *e = &old.entries[i];

		if (e->address && (e->slot != NO_SLOT || keep_freed))
			*find(p, e->address) = *e;
	}
	free(old.entries);
}

enum pairing_found pairing_find(const struct pairing *p, uint64_t address, uint32_t *ret_slot,
				uint64_t *ret_size)
{
	const struct pairing_entry *e;

	if (!p->cap)
		return PAIRING_NEVER_SEEN;
	e = find(p, address);
	if (!e->address)
		return PAIRING_NEVER_SEEN;
	if (e->slot == NO_SLOT)
		return PAIRING_FREED;
	if (ret_slot)
		*ret_slot = e->slot;
	if (ret_size)
		*ret_size = e->size;
	return PAIRING_LIVE;
}

void pairing_put(struct pairing *p, uint64_t address, uint32_t slot, uint64_t size)
{
	struct pairing_entry *e;

	if ((p->live + p->freed + 1) * 4 > p->cap * 3)
		rehash(p);
	e = find(p, address);
	if (e->address)
		p->freed--;
	*e = (struct pairing_entry){.address = address, .size = size, .slot = slot};
	p->live++;
}

void pairing_remove(struct pairing *p, uint64_t address)
{
	find(p, address)->slot = NO_SLOT;
	p->live--;
	p->freed++;
}
