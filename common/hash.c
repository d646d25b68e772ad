/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/hash.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

uint64_t hash_bytes(const void *data, size_t len_bytes)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ull;

	/* FNV-1a, then mixed */
	while (len_bytes--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return hash_u64(h);
}

void hashmap_release(struct hashmap *m)
{
	free(m->entries);
	memset(m, 0, sizeof(*m));
}

void hashmap_clear(struct hashmap *m)
{
	for (size_t i = 0; i < m->cap; i++)
		m->entries[i].value = HASHMAP_NONE;
	m->n = 0;
}

static struct hashmap_entry *find(const struct hashmap *m, uint64_t key)
{
	size_t i = hash_u64(key) & (m->cap - 1);

	while (m->entries[i].value != HASHMAP_NONE && m->entries[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->entries[i];
}

static void grow(struct hashmap *m)
{
	struct hashmap old = *m;

	m->cap = old.cap ? old.cap * 2 : 64;
	m->entries = xcalloc(m->cap, sizeof(*m->entries));
	hashmap_clear(m);
	m->n = old.n;
	for (size_t i = 0; i < old.cap; i++)
		if (old.entries[i].value != HASHMAP_NONE)
			*find(m, old.entries[i].key) = old.entries[i];
	free(old.entries);
}

uint32_t *hashmap_put(struct hashmap *m, uint64_t key)
{
	struct hashmap_entry *e;

	if ((m->n + 1) * 10 > m->cap * 7)
		grow(m);
	e = find(m, key);
	if (e->value == HASHMAP_NONE) {
		e->key = key;
		m->n++;
	}
	return &e->value;
}

uint32_t hashmap_get(const struct hashmap *m, uint64_t key)
{
	return m->cap ? find(m, key)->value : HASHMAP_NONE;
}
