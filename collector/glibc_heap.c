/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/glibc_heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/glibc_walk.h"
#include "common/xalloc.h"

/* ---- reading --------------------------------------------------------------------------- */

void glibc_walk_free(struct glibc_walk *w)
{
	if (!w)
		return;
	memory_window_release(&w->window);
	process_memory_close(&w->memory);
	free(w->arenas);
	free(w->states);
	free(w->parts);
	free(w->chunks);
	free(w->mmapped);
	free(w->caches);
	free(w);
}

static int read_all(struct glibc_walk *w, const struct glibc_thread *threads, size_t n)
{
	int e = glibc_find(w);

	if (!e)
		e = glibc_read_parameters(w);
	if (!e)
		e = glibc_read_arenas(w);
	if (!e)
		e = glibc_read_parts(w);
	if (!e)
		e = glibc_read_mmapped(w);
	if (!e)
		e = glibc_read_caches(w, threads, n);
	w->maps = NULL;
	return e;
}

int glibc_walk_read(pid_t pid, const struct process_maps *maps, const struct glibc_thread *threads,
		    size_t n_threads, uint64_t deadline_ns, struct glibc_walk **ret,
		    struct err *err)
{
	struct glibc_walk *w = xcalloc(1, sizeof(*w));
	int e;

	process_memory_open(&w->memory, pid, deadline_ns);
	memory_window_init(&w->window, &w->memory);
	w->maps = maps;
	e = read_all(w, threads, n_threads);
	if (!e) {
		*ret = w;
		return 0;
	}
	glibc_walk_free(w);
	if (e == -ENOENT || e == -EFAULT)
		return err_set(err, ERR_FAILED, ENOENT,
			       "process %d has no heap of glibc's malloc that is known", (int)pid);
	if (e == -ETIME)
		return err_set(err, ERR_FAILED, ETIME,
			       "cannot read the heap of process %d in the time given", (int)pid);
	return err_set(err, e == -EPERM ? ERR_PRIVILEGE : ERR_FAILED, -e,
		       "cannot read the memory of process %d", (int)pid);
}

/* ---- what it means ---------------------------------------------------------------------- */

/* How links of caches and fastbins are kept; the first that tells decides. */
enum links {
	LINKS_UNKNOWN,
	LINKS_PLAIN,
	LINKS_PROTECTED, /* xor their own address, without its last 12 bits: 2.32 and later */
};

struct meaning {
	struct glibc_walk *walk;
	uint8_t *states;  /* [chunk]: enum glibc_state */
	uint32_t *arenas; /* [chunk] */
	enum links links;
};

static const char bad_lists[] = "its lists of free chunks do not fit its chunks";
static const char bad_fastbins[] = "its fastbins do not fit its chunks";
static const char bad_flags[] = "flags of its chunks are not as they should be";

static void leave_out(struct glibc_walk *w, uint32_t arena, const char *why)
{
	if (!w->arenas[arena].left_out)
		w->arenas[arena].left_out = why;
}

/* The mark before the end of a heap has 32 bytes where the top had 48 left. */
static bool is_mark(const struct glibc_walk *w, const struct raw_part *p, size_t i)
{
	return i + 2 == p->end && head_size(w->chunks[i + 1].head) == CHUNK_MARK &&
	       w->chunks[i].head == (CHUNK_MIN | CHUNK_PREV_IN_USE) &&
	       !w->arenas[p->part.arena].is_main;
}

/* What the chunks themselves say.  The last ones of a part have no neighbour: top, end marks. */
static void tell_by_neighbours(struct meaning *m, const struct raw_part *p)
{
	struct glibc_walk *w = m->walk;
	struct glibc_arena *a = &w->arenas[p->part.arena];
	uint64_t expected = a->is_main ? 0 : CHUNK_NON_MAIN;

	for (size_t i = p->first; i < p->end; i++) {
		const struct raw_chunk *c = &w->chunks[i];
		enum glibc_state s = GLIBC_IN_USE;

		if (c->address == a->top) {
			s = GLIBC_TOP;
			a->top_bytes = head_size(c->head);
		} else if (head_size(c->head) == CHUNK_MARK || i + 1 == p->end ||
			   is_mark(w, p, i)) {
			s = GLIBC_OWN;
		} else if (!(w->chunks[i + 1].head & CHUNK_PREV_IN_USE)) {
			s = GLIBC_FREE;
		}
		if (s == GLIBC_IN_USE && (c->head & CHUNK_NON_MAIN) != expected)
			leave_out(w, p->part.arena, bad_flags);
		m->states[i] = (uint8_t)s;
		m->arenas[i] = p->part.arena;
	}
}

/*
 * One list of free chunks, and all of it: two links each, in a ring with its head.  What was
 * met is marked by the topmost bit of its state while they are matched.
 */
#define STATE_MET 0x80u

static bool check_bin(struct meaning *m, uint32_t arena, unsigned int bin, size_t *met)
{
	struct glibc_walk *w = m->walk;
	const uint64_t *head = &w->states[arena].tail.bins[(bin - 1) * 2];
	uint64_t self = glibc_bin(w, w->arenas[arena].address, bin), before = self, at = head[0];

	while (at != self) {
		size_t i = glibc_raw_find(w, at);
		const struct raw_chunk *c = &w->chunks[i];

		if (i == SIZE_MAX || m->states[i] != GLIBC_FREE || m->arenas[i] != arena ||
		    c->bk != before || (bin >= 2 && bin < 64 && head_size(c->head) != bin * 16))
			return false;
		m->states[i] |= STATE_MET;
		(*met)++;
		before = at;
		at = c->fd;
	}
	return head[1] == before;
}

static void check_bins(struct meaning *m, uint32_t arena, const size_t *n_free)
{
	size_t met = 0;
	bool good = true;

	for (unsigned int i = 1; i <= ARENA_BINS && good; i++)
		good = check_bin(m, arena, i, &met);
	if (!good || met != n_free[arena])
		leave_out(m->walk, arena, bad_lists);
}

/* Where the link @v leads, which is stored at @at: to a chunk, or @to_chunk bytes into it; or 0. */
static uint64_t follow(struct meaning *m, uint64_t at, uint64_t v, uint64_t to_chunk)
{
	uint64_t revealed = (at >> 12) ^ v;

	if (m->links == LINKS_UNKNOWN) {
		if (!v)
			m->links = LINKS_PLAIN;
		else if (!revealed || glibc_raw_find(m->walk, revealed - to_chunk) != SIZE_MAX)
			m->links = LINKS_PROTECTED;
		else
			m->links = LINKS_PLAIN;
	}
	return m->links == LINKS_PROTECTED ? revealed : v;
}

static void check_fastbins(struct meaning *m, uint32_t arena)
{
	struct glibc_walk *w = m->walk;

	for (unsigned int k = 0; k < ARENA_FASTBINS; k++) {
		uint64_t at = w->states[arena].tail.fastbins[k];

		while (at) {
			size_t i = glibc_raw_find(w, at);

			if (i == SIZE_MAX || m->states[i] != GLIBC_IN_USE ||
			    m->arenas[i] != arena ||
			    head_size(w->chunks[i].head) != CHUNK_MIN + k * CHUNK_ALIGN) {
				leave_out(w, arena, bad_fastbins);
				return;
			}
			m->states[i] = GLIBC_CACHED;
			at = follow(m, at + 16, w->chunks[i].fd, 0);
		}
	}
}

/* Its lists; the chunks become @state.  False: something in them is no block in use. */
static bool go_through_cache(struct meaning *m, const struct thread_cache *c, bool is_exact,
			     enum glibc_state from, enum glibc_state to)
{
	struct glibc_walk *w = m->walk;

	for (size_t k = 0; k < CACHE_BINS; k++) {
		uint64_t at = c->entries[k], n = 0;

		for (; at; n++) {
			size_t i = at % CHUNK_ALIGN ? SIZE_MAX : glibc_raw_find(w, at - 16);

			if (i == SIZE_MAX || m->states[i] != from || n > w->n_chunks ||
			    head_size(w->chunks[i].head) != CHUNK_MIN + k * CHUNK_ALIGN)
				return false;
			m->states[i] = (uint8_t)to;
			at = follow(m, at, w->chunks[i].fd, 16);
		}
		if (is_exact && n != c->counts[k])
			return false;
	}
	return true;
}

/* What only looks like a cache is taken for one if all of it is right: undone where it is not. */
static bool try_cache(struct meaning *m, const struct thread_cache *c)
{
	enum links links = m->links;
	const enum glibc_state met = GLIBC_STATES;
	bool good = go_through_cache(m, c, true, GLIBC_IN_USE, met);

	if (!good)
		m->links = links;
	for (size_t i = 0; i < m->walk->n_chunks; i++)
		if (m->states[i] == met)
			m->states[i] = good ? GLIBC_CACHED : GLIBC_IN_USE;
	return good;
}

static void take_caches(struct meaning *m, size_t *ret_n)
{
	struct glibc_walk *w = m->walk;

	*ret_n = 0;
	for (size_t i = 0; i < w->n_caches; i++) {
		const struct thread_cache *c = &w->caches[i];
		size_t own = glibc_raw_find(w, c->chunk);

		if (own == SIZE_MAX || m->states[own] != GLIBC_IN_USE) {
			if (c->is_a_thread)
				w->caches_unknown = "a thread's cache is not a block in use";
			continue;
		}
		m->states[own] = GLIBC_OWN;
		if (c->is_a_thread ? go_through_cache(m, c, false, GLIBC_IN_USE, GLIBC_CACHED)
				   : try_cache(m, c)) {
			(*ret_n)++;
			continue;
		}
		if (c->is_a_thread)
			w->caches_unknown = "a thread's cache does not fit the chunks";
		else
			m->states[own] = GLIBC_IN_USE;
	}
}

/* ---- the result -------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	const struct glibc_chunk *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static void put_chunks(struct meaning *m, struct glibc_heap *ret)
{
	struct glibc_walk *w = m->walk;
	size_t n = 0;

	ret->chunks = xmalloc((w->n_chunks + w->n_parts + w->n_mmapped + 1) *
			      sizeof(*ret->chunks));
	for (size_t p = 0; p < w->n_parts; p++) {
		const struct raw_part *part = &w->parts[p];

		if (w->arenas[part->part.arena].left_out)
			continue;
		ARRAY_GROW(ret->parts, ret->cap_parts, ret->n_parts);
		ret->parts[ret->n_parts++] = part->part;
		if (part->head_bytes)
			ret->chunks[n++] = (struct glibc_chunk){part->part.start, part->head_bytes,
								part->part.arena, GLIBC_OWN};
		for (size_t i = part->first; i < part->end; i++)
			ret->chunks[n++] = (struct glibc_chunk){w->chunks[i].address,
								head_size(w->chunks[i].head),
								part->part.arena,
								m->states[i] & ~STATE_MET};
	}
	if (w->n_mmapped) {
		memcpy(ret->chunks + n, w->mmapped, w->n_mmapped * sizeof(*w->mmapped));
		n += w->n_mmapped;
		qsort(ret->chunks, n, sizeof(*ret->chunks), by_address);
	}
	ret->n_chunks = n;
}

static void understand(struct meaning *m, size_t *ret_caches)
{
	struct glibc_walk *w = m->walk;
	size_t *n_free = xcalloc(w->n_arenas + 1, sizeof(*n_free));

	for (size_t p = 0; p < w->n_parts; p++)
		tell_by_neighbours(m, &w->parts[p]);
	for (size_t i = 0; i < w->n_chunks; i++)
		n_free[m->arenas[i]] += m->states[i] == GLIBC_FREE;
	for (uint32_t a = 0; a < w->n_arenas; a++) {
		if (w->arenas[a].left_out)
			continue;
		check_bins(m, a, n_free);
		check_fastbins(m, a);
	}
	take_caches(m, ret_caches);
	for (uint32_t a = 0; a < w->n_arenas; a++)
		if (w->caches_unknown)
			leave_out(w, a, w->caches_unknown);
	free(n_free);
}

void glibc_walk_finish(struct glibc_walk *w, struct glibc_heap *ret)
{
	struct meaning m = {.walk = w};

	*ret = (struct glibc_heap){.mmapped_blocks = w->parameters.n_mmaps,
				   .mmapped_bytes = w->parameters.mmapped_mem,
				   .mmapped_left_out = w->mmapped_left_out,
				   .bytes_read = w->memory.bytes,
				   .reads = w->memory.calls};
	m.states = xcalloc(w->n_chunks + 1, sizeof(*m.states));
	m.arenas = xcalloc(w->n_chunks + 1, sizeof(*m.arenas));
	understand(&m, &ret->n_caches);
	put_chunks(&m, ret);
	ret->arenas = w->arenas;
	ret->n_arenas = w->n_arenas;
	ret->cap_arenas = w->cap_arenas;
	w->arenas = NULL;
	free(m.states);
	free(m.arenas);
	glibc_walk_free(w);
}

const char *glibc_heap_left_out(const struct glibc_heap *h)
{
	for (size_t i = 0; i < h->n_arenas; i++)
		if (h->arenas[i].left_out)
			return h->arenas[i].left_out;
	return h->mmapped_left_out;
}

bool glibc_heap_is_whole(const struct glibc_heap *h)
{
	return !glibc_heap_left_out(h);
}

const struct glibc_chunk *glibc_heap_find(const struct glibc_heap *h, uint64_t address)
{
	size_t lo = 0, hi = h->n_chunks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->chunks[mid].address <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && address - h->chunks[lo - 1].address < h->chunks[lo - 1].size
		       ? &h->chunks[lo - 1]
		       : NULL;
}

void glibc_heap_release(struct glibc_heap *h)
{
	free(h->arenas);
	free(h->parts);
	free(h->chunks);
	*h = (struct glibc_heap){0};
}
