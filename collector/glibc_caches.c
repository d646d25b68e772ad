/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/glibc_walk.h"
#include "common/xalloc.h"

/*
 * Each thread's cache of free blocks (tcache) is a block itself.  Its address is a variable of
 * the thread (TLS), next to the one that names its arena: where those two are, relative to the
 * thread pointer, is the same in all threads, and is found by what they point to.  Caches of
 * threads that are no more (a child of fork() has them) are known by what they look like.
 */
#define TLS_NEAR_BYTES ((size_t)64 << 10)
#define TLS_FAR_BYTES ((size_t)4 << 20)
/* Threads by which the place is found. */
#define THREADS_LOOKED_AT 16
/* The two variables lie so close together. */
#define NEIGHBOURS 8
/* So many are looked through before the time is looked at: there may be thousands of arenas. */
#define WORDS_BETWEEN 256

/* The thread pointer's side on which libraries' variables are. */
#if defined(__x86_64__)
#define TLS_IS_BELOW 1
#else
#define TLS_IS_BELOW 0
#endif

/* ---- where the variables are ----------------------------------------------------------- */

struct tls {
	uint64_t start; /* address of the first word */
	uint64_t *words;
	size_t n;
};

struct tls_view {
	struct tls threads[THREADS_LOOKED_AT];
	const struct glibc_thread *list[THREADS_LOOKED_AT];
	size_t n;
};

static int read_tls(struct glibc_walk *w, const struct glibc_thread *t, size_t max_bytes,
		    struct tls *ret)
{
	const struct process_map *map = process_maps_find(w->maps, t->pointer);
	uint64_t start, end;
	int e;

	*ret = (struct tls){0};
	if (!map || t->pointer % 8)
		return 0;
	start = TLS_IS_BELOW ? map->start : t->pointer;
	end = TLS_IS_BELOW ? t->pointer : map->end;
	if (end - start > max_bytes) {
		if (TLS_IS_BELOW)
			start = end - max_bytes;
		else
			end = start + max_bytes;
	}
	ret->words = xmalloc(end - start + 8);
	e = process_memory_ranges(&w->memory, &(struct pointers_range){start, end}, 1, ret->words);
	if (e) {
		free(ret->words);
		ret->words = NULL;
		return e;
	}
	ret->start = start;
	ret->n = (end - start) / 8;
	return 0;
}

/* The word at that place in each thread; 0 where it is not to be had. */
static uint64_t tls_word(const struct tls_view *v, size_t i, int64_t offset)
{
	const struct tls *t = &v->threads[i];
	uint64_t at = v->list[i]->pointer + (uint64_t)offset - t->start;

	return at / 8 < t->n && at % 8 == 0 ? t->words[at / 8] : 0;
}

static bool is_arena(const struct glibc_walk *w, uint64_t word)
{
	for (size_t i = 0; i < w->n_arenas; i++)
		if (w->arenas[i].address == word)
			return true;
	return false;
}

/* Bytes of a cache in the chunk that @block begins, which could be one; 0: it could not. */
static size_t cache_bytes(const struct glibc_walk *w, uint64_t block)
{
	size_t i = block % CHUNK_ALIGN ? SIZE_MAX : glibc_raw_find(w, block - 16);
	uint64_t size;

	if (i == SIZE_MAX)
		return 0;
	size = head_size(w->chunks[i].head);
	/* what is left of a chunk may be too small for another one, and stays with it */
	if (size == CACHE_BYTES + 16 || size == CACHE_BYTES + 32)
		return CACHE_BYTES;
	if (size == CACHE_BYTES_OLD + 16 || size == CACHE_BYTES_OLD + 32)
		return CACHE_BYTES_OLD;
	return 0;
}

/* So many threads have an arena there; 0: it is another variable. */
static size_t count_arenas(const struct glibc_walk *w, const struct tls_view *v, int64_t offset)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++) {
		uint64_t word = tls_word(v, i, offset);

		if (word && !is_arena(w, word))
			return 0;
		n += word != 0;
	}
	return n;
}

static size_t count_caches(const struct glibc_walk *w, const struct tls_view *v, int64_t offset)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++) {
		uint64_t word = tls_word(v, i, offset);

		if (word && !cache_bytes(w, word))
			return 0;
		n += word != 0;
	}
	return n;
}

/* Where a thread's cache is, relative to its pointer: 1; 0: it is not found; or -ETIME. */
static int find_offset(const struct glibc_walk *w, const struct tls_view *v, int64_t *ret)
{
	const struct tls *first = &v->threads[0];
	size_t most = 0;

	for (size_t k = 0; k < first->n; k++) {
		int64_t at = (int64_t)(first->start + k * 8 - v->list[0]->pointer);

		if (k % WORDS_BETWEEN == 0 && process_memory_check_time(&w->memory))
			return -ETIME;
		if (!is_arena(w, first->words[k]) || !count_arenas(w, v, at))
			continue;
		for (int64_t d = -NEIGHBOURS; d <= NEIGHBOURS; d++) {
			size_t n = d ? count_caches(w, v, at + d * 8) : 0;

			if (n > most) {
				most = n;
				*ret = at + d * 8;
			}
		}
	}
	return most > 0;
}

/* The thread whose variables are looked through must have an arena: any may have none yet. */
static int look_at_tls(struct glibc_walk *w, const struct glibc_thread *threads, size_t n,
		       size_t max_bytes, bool *ret_found, int64_t *ret_offset)
{
	struct tls_view v = {0};
	int e = 0;

	for (size_t i = 0; i < n && v.n < THREADS_LOOKED_AT && !e; i++) {
		if (!threads[i].pointer)
			continue;
		e = read_tls(w, &threads[i], max_bytes, &v.threads[v.n]);
		v.list[v.n] = &threads[i];
		v.n += v.threads[v.n].words != NULL;
	}
	*ret_found = false;
	for (size_t i = 0; i < v.n && !e && !*ret_found; i++) {
		struct tls_view turned = v;

		turned.threads[0] = v.threads[i];
		turned.list[0] = v.list[i];
		turned.threads[i] = v.threads[0];
		turned.list[i] = v.list[0];
		e = find_offset(w, &turned, ret_offset);
		*ret_found = e > 0;
		e = e < 0 ? e : 0;
	}
	for (size_t i = 0; i < v.n; i++)
		free(v.threads[i].words);
	return e;
}

/* ---- the caches ------------------------------------------------------------------------ */

static bool is_known(const struct glibc_walk *w, uint64_t chunk)
{
	for (size_t i = 0; i < w->n_caches; i++)
		if (w->caches[i].chunk == chunk)
			return true;
	return false;
}

static void decode(const uint8_t *data, size_t bytes, struct thread_cache *ret)
{
	for (size_t i = 0; i < CACHE_BINS; i++) {
		if (bytes == CACHE_BYTES)
			memcpy(&ret->counts[i], data + i * 2, 2);
		else
			ret->counts[i] = data[i];
	}
	memcpy(ret->entries, data + bytes - sizeof(ret->entries), sizeof(ret->entries));
}

/* Every list that has a number has a beginning, and the other way round; some have. */
static bool looks_like_one(const struct thread_cache *c)
{
	bool any = false;

	for (size_t i = 0; i < CACHE_BINS; i++) {
		if (!c->counts[i] != !c->entries[i] || c->entries[i] % CHUNK_ALIGN)
			return false;
		any |= c->counts[i] != 0;
	}
	return any;
}

/* Those at @chunks; @are_threads: they are known to be caches. */
static int add_caches(struct glibc_walk *w, const uint64_t *chunks, size_t n, bool are_threads)
{
	uint64_t *blocks = xcalloc(n, sizeof(*blocks));
	uint8_t (*data)[CACHE_BYTES] = xcalloc(n, sizeof(*data));
	int e;

	for (size_t i = 0; i < n; i++)
		blocks[i] = chunks[i] + 16;
	e = process_memory_gather(&w->memory, blocks, n, data, CACHE_BYTES);
	for (size_t i = 0; i < n && !e; i++) {
		struct thread_cache c = {.chunk = chunks[i], .is_a_thread = are_threads};

		decode(data[i], cache_bytes(w, blocks[i]), &c);
		if (!are_threads && !looks_like_one(&c))
			continue;
		ARRAY_GROW(w->caches, w->cap_caches, w->n_caches);
		w->caches[w->n_caches++] = c;
	}
	free(blocks);
	free(data);
	return e;
}

/* Of threads that live. */
static int read_of_threads(struct glibc_walk *w, const struct glibc_thread *threads, size_t n,
			   int64_t offset)
{
	uint64_t *at = xcalloc(n, sizeof(*at)), *found = xcalloc(n, sizeof(*found));
	size_t n_at = 0, n_found = 0;
	int e;

	for (size_t i = 0; i < n; i++)
		if (threads[i].pointer)
			at[n_at++] = threads[i].pointer + (uint64_t)offset;
	e = process_memory_gather(&w->memory, at, n_at, found, 8);
	for (size_t i = 0; i < n_at && !e; i++) {
		if (!found[i])
			continue;
		if (cache_bytes(w, found[i]))
			found[n_found++] = found[i] - 16;
		else /* of an arena that is left out, perhaps: it may have blocks of others */
			w->caches_unknown = "a thread's cache is not in a whole arena";
	}
	if (!e)
		e = add_caches(w, found, n_found, true);
	free(at);
	free(found);
	return e;
}

/* Of others: whatever is of the size, and begins with numbers as small as they may be. */
static int read_look_alikes(struct glibc_walk *w)
{
	uint64_t *found = NULL;
	size_t n = 0, cap = 0;
	int e;

	for (size_t p = 0; p < w->n_parts; p++)
		for (size_t i = w->parts[p].first; i < w->parts[p].end; i++) {
			const struct raw_chunk *c = &w->chunks[i];
			size_t bytes = head_size(c->head) < CACHE_BYTES_OLD + 16 ||
						       head_size(c->head) > CACHE_BYTES + 32
					       ? 0
					       : cache_bytes(w, c->address + 16);
			bool fits = bytes > 0;

			for (int k = 0; fits && k < 4; k++)
				fits = bytes == CACHE_BYTES_OLD ||
				       ((c->fd >> k * 16 & 0xffff) <= w->parameters.tcache_count &&
					(c->bk >> k * 16 & 0xffff) <= w->parameters.tcache_count);
			if (!fits || is_known(w, c->address))
				continue;
			ARRAY_GROW(found, cap, n);
			found[n++] = c->address;
		}
	e = add_caches(w, found, n, false);
	free(found);
	return e;
}

int glibc_read_caches(struct glibc_walk *w, const struct glibc_thread *threads, size_t n)
{
	bool any_chunks = w->n_chunks > 0, any_pointer = false, found = false;
	int64_t offset = 0;
	int e;

	for (size_t i = 0; i < n; i++)
		any_pointer |= threads[i].pointer != 0;
	if (!any_chunks)
		return 0;
	e = look_at_tls(w, threads, n, TLS_NEAR_BYTES, &found, &offset);
	if (!e && !found && any_pointer)
		e = look_at_tls(w, threads, n, TLS_FAR_BYTES, &found, &offset);
	if (!e && found)
		e = read_of_threads(w, threads, n, offset);
	else if (!e && any_pointer)
		w->caches_unknown = "the threads' caches are not found";
	return e ? e : read_look_alikes(w);
}
