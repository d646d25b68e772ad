/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

/* A well-mixed hash of a 64-bit key (the finaliser of MurmurHash3). */
static inline uint64_t hash_u64(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	x ^= x >> 33;
	return x;
}

uint64_t hash_bytes(const void *data, size_t len_bytes);

/*
 * A map from 64-bit keys to 32-bit values; keys are never removed one by one.
 * Zero-initialised is empty.  The value HASHMAP_NONE cannot be stored.
 */
#define HASHMAP_NONE UINT32_MAX

struct hashmap {
	struct hashmap_entry {
		uint64_t key;
		uint32_t value;
	} *entries;
	size_t n, cap; /* cap is a power of two */
};

void hashmap_release(struct hashmap *m);
/* Where the value of @key is kept; a new one holds HASHMAP_NONE.  Valid until the next put. */
uint32_t *hashmap_put(struct hashmap *m, uint64_t key);
/* The value, or HASHMAP_NONE. */
uint32_t hashmap_get(const struct hashmap *m, uint64_t key);
void hashmap_clear(struct hashmap *m);

/* @key will be asked for soon: has it brought into the cache. */
static inline void hashmap_expect(const struct hashmap *m, uint64_t key)
{
	if (m->cap)
		__builtin_prefetch(&m->entries[hash_u64(key) & (m->cap - 1)]);
}

#endif
