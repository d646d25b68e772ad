/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/pairing.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* Set in an entry's place: the block was freed, as the how manieth say the other bits. */
#define FREED 0x80000000u
/* If it was not: the other bits are its size, it has no slot.  So many slots are never taken. */
#define SMALL PAIRING_SMALL_MAX

#define PART_MIN 64
#define SAMPLES 128

static void release_parts(struct pairing *p)
{
	for (int i = 0; i < PAIRING_PARTS; i++)
		free(p->parts[i].entries);
	memset(p->parts, 0, sizeof(p->parts));
	p->live = 0;
	p->recent = NULL;
}

void pairing_release(struct pairing *p)
{
	release_parts(p);
	memset(p, 0, sizeof(*p));
}

void pairing_reset(struct pairing *p)
{
	release_parts(p);
}

/* Blocks lie 16 bytes apart: a multiplication spreads them well enough. */
static uint64_t hash(uint64_t address)
{
	return (address >> 4) * 0x9e3779b97f4a7c15ull;
}

static size_t part_of(uint64_t address)
{
	return hash(address) >> 56;
}

/* Where it is, if nothing else is there. */
static uint32_t home_of(const struct pairing_part *part, uint64_t address)
{
	return (uint32_t)(hash(address) >> 20) & (part->cap - 1);
}

/* The entry of @address, or the empty one where it would go. */
static struct pairing_entry *find(const struct pairing_part *part, uint64_t address)
{
	uint32_t i = home_of(part, address);

	while (part->entries[i].address && part->entries[i].address != address)
		i = (i + 1) & (part->cap - 1);
	return &part->entries[i];
}

/* An address is looked for, and put or removed right afterwards. */
static inline struct pairing_entry *find_again(struct pairing *p, const struct pairing_part *part,
					       uint64_t address)
{
	if (!p->recent || p->recent_address != address) {
		p->recent = find(part, address);
		p->recent_address = address;
	}
	return p->recent;
}

/* How many addresses were freed since this one was? */
static uint32_t age(const struct pairing *p, const struct pairing_entry *e)
{
	return (p->n_frees - e->place) & ~FREED;
}

static int compare_ages(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The age below which about @keep of @part's freed addresses are. */
static uint32_t age_of_youngest(const struct pairing *p, const struct pairing_part *part,
				uint32_t keep)
{
	uint32_t ages[SAMPLES], n = 0, step = part->freed / SAMPLES + 1, i = 0;

	for (const struct pairing_entry *e = part->entries; e < part->entries + part->cap; e++)
		if (e->address && e->place & FREED && i++ % step == 0 && n < SAMPLES)
			ages[n++] = age(p, e);
	qsort(ages, n, sizeof(*ages), compare_ages);
	return n ? ages[(uint64_t)keep * n / (part->freed + 1)] : 0;
}

/* Makes room: grows while most entries are live, else forgets the oldest of the freed ones. */
static void make_room(struct pairing *p, struct pairing_part *part)
{
	struct pairing_part old = *part;
	uint32_t used = old.live + old.freed, limit = UINT32_MAX;

	if (!old.cap)
		part->cap = PART_MIN;
	else if (old.live >= used / 3 * 2)
		part->cap = old.cap * 2;
	else
		limit = used / 4 * 3 > old.live
				? age_of_youngest(p, &old, used / 4 * 3 - old.live)
				: 0;
	part->entries = xcalloc(part->cap, sizeof(*part->entries));
	p->recent = NULL;
	part->freed = 0;
	for (const struct pairing_entry *e = old.entries; e < old.entries + old.cap; e++) {
		if (!e->address || (e->place & FREED && age(p, e) >= limit))
			continue;
		*find(part, e->address) = *e;
		part->freed += e->place >> 31;
	}
	free(old.entries);
}

void pairing_expect(const struct pairing *p, uint64_t address)
{
	const struct pairing_part *part = &p->parts[part_of(address)];

	if (part->cap)
		__builtin_prefetch(&part->entries[home_of(part, address)]);
}

enum pairing_found pairing_find(struct pairing *p, uint64_t address, uint32_t *ret_place)
{
	const struct pairing_part *part = &p->parts[part_of(address)];
	const struct pairing_entry *e;

	if (!part->cap)
		return PAIRING_NEVER_SEEN;
	e = find_again(p, part, address);
	if (!e->address)
		return PAIRING_NEVER_SEEN;
	if (e->place & FREED)
		return PAIRING_FREED;
	if (ret_place)
		*ret_place = e->place & ~SMALL;
	return e->place & SMALL ? PAIRING_SMALL : PAIRING_LIVE;
}

static void put(struct pairing *p, uint64_t address, uint32_t place)
{
	struct pairing_part *part = &p->parts[part_of(address)];
	struct pairing_entry *e;

	if ((part->live + part->freed + 1) * 4 > part->cap * 3)
		make_room(p, part);
	e = find_again(p, part, address);
	part->freed -= e->address != 0;
	*e = (struct pairing_entry){.address = address, .place = place};
	part->live++;
	p->live++;
}

void pairing_put(struct pairing *p, uint64_t address, uint32_t slot)
{
	put(p, address, slot);
}

void pairing_put_small(struct pairing *p, uint64_t address, uint64_t size)
{
	put(p, address, SMALL | (uint32_t)size);
}

void pairing_remove(struct pairing *p, uint64_t address)
{
	struct pairing_part *part = &p->parts[part_of(address)];

	find_again(p, part, address)->place = p->n_frees++ | FREED;
	part->live--;
	part->freed++;
	p->live--;
}

void pairing_each_small(const struct pairing *p,
			void (*each)(void *arg, uint64_t address, uint32_t size), void *arg)
{
	for (int i = 0; i < PAIRING_PARTS; i++) {
		for (uint32_t k = 0; k < p->parts[i].cap; k++) {
			const struct pairing_entry *e = &p->parts[i].entries[k];

			if (e->address && !(e->place & FREED) && e->place & SMALL)
				each(arg, e->address, e->place & ~SMALL);
		}
	}
}
