/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/glibc_heap_info.h"
#include "collector/glibc_walk.h"
#include "common/xalloc.h"

#define ARENAS_MAX 65536u

/* An arena whose head is read, whose chunks are being read. */
struct reading {
	struct glibc_walk *walk;
	uint32_t arena;
	uint64_t top;
	bool is_main;
};

enum part_end {
	END_BROKEN, /* this is no run of chunks */
	END_TOP,
	END_MARK, /* what malloc puts where it got no further memory adjacent to this */
};

static const char not_chunks[] = "its chunks do not reach from end to end";

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* For which errors is it of no use to go on reading? */
static bool is_over(int error)
{
	return error && error != -EFAULT;
}

/* ---- chunks -------------------------------------------------------------------------- */

static void add_chunk(struct glibc_walk *w, uint64_t address, const struct chunk_header *h,
		      bool has_links)
{
	/* without zeroing what is new, which would take as long as reading */
	if (w->n_chunks >= w->cap_chunks) {
		w->cap_chunks = w->cap_chunks ? w->cap_chunks * 2 : 4096;
		w->chunks = xrealloc(w->chunks, w->cap_chunks * sizeof(*w->chunks));
	}
	w->chunks[w->n_chunks++] = (struct raw_chunk){.address = address,
						      .head = h->head,
						      .fd = has_links ? h->fd : 0,
						      .bk = has_links ? h->bk : 0};
}

/*
 * The marks at the end of a part, of which the first is at *@at: two, or three where the top had
 * 48 bytes left; they reach to the end of a page.  Of a heap it is one, and a head of no size.
 */
static int read_marks(const struct reading *r, uint64_t *at, const struct chunk_header *first,
		      uint64_t limit)
{
	struct glibc_walk *w = r->walk;
	struct chunk_header mark = *first;

	for (int n = 1; n <= 3; n++) {
		const struct chunk_header *h;
		int e = 0;

		add_chunk(w, *at, &mark, false);
		*at += CHUNK_MARK;
		if (n > 1 && *at % page_bytes() == 0)
			return 0;
		h = memory_window_at(&w->window, *at, 16, limit, &e);
		if (!h)
			return e;
		mark.head = CHUNK_MARK | CHUNK_PREV_IN_USE;
		if (h->head != (r->is_main ? mark.head : CHUNK_PREV_IN_USE))
			return -EFAULT;
	}
	return -EFAULT;
}

/* The end of a heap: a head of no size.  What is before it is a mark, too: of 16 or 32 bytes. */
static int end_heap(const struct reading *r, uint64_t *at, uint64_t before_head)
{
	static const struct chunk_header mark = {.head = CHUNK_MARK | CHUNK_PREV_IN_USE};

	if (r->is_main || (before_head & CHUNK_NON_MAIN) || head_size(before_head) > CHUNK_MIN)
		return -EFAULT;
	add_chunk(r->walk, *at, &mark, false);
	*at += CHUNK_MARK;
	return 0;
}

/*
 * The chunk at *@at, after one of @before bytes with the head @before_head.  Moves *@at on;
 * @ret: why that was the last one; END_BROKEN goes with a return of -EFAULT.
 */
static int read_chunk(const struct reading *r, uint64_t *at, uint64_t before_head, uint64_t limit,
		      enum part_end *ret)
{
	struct glibc_walk *w = r->walk;
	const struct chunk_header *h;
	struct chunk_header start;
	uint64_t size;
	bool has_links = *at < limit && limit - *at >= sizeof(*h);
	int e = 0;

	*ret = END_BROKEN;
	h = memory_window_at(&w->window, *at, has_links ? sizeof(*h) : 16, limit, &e);
	if (!h)
		return e;
	start = (struct chunk_header){h->prev_size, h->head, has_links ? h->fd : 0,
				      has_links ? h->bk : 0};
	size = head_size(start.head);
	/* free: then its size is repeated at its end, and it has no free neighbour */
	if (!(start.head & CHUNK_PREV_IN_USE) &&
	    (!(before_head & CHUNK_PREV_IN_USE) || start.prev_size != head_size(before_head)))
		return -EFAULT;
	if (size == CHUNK_MARK || start.head == CHUNK_PREV_IN_USE) {
		e = size ? read_marks(r, at, &start, limit) : end_heap(r, at, before_head);
		*ret = e ? END_BROKEN : END_MARK;
		return e;
	}
	if (size < CHUNK_MIN || size % CHUNK_ALIGN || size > limit - *at ||
	    (start.head & CHUNK_IS_MMAPPED))
		return -EFAULT;
	add_chunk(w, *at, &start, has_links);
	if (*at == r->top)
		*ret = END_TOP;
	*at += size;
	return *at <= r->top || *ret == END_TOP || r->top < w->chunks[w->n_chunks - 1].address
		       ? 0
		       : -EFAULT; /* it goes over the top */
}

/*
 * All chunks from @start on, below @limit.  Returns 0 with how and where they end; those of a
 * part that is broken are forgotten.  Else an error for which reading is over.
 */
static int read_run(const struct reading *r, uint64_t start, uint64_t limit, enum part_end *ret,
		    uint64_t *ret_end)
{
	struct glibc_walk *w = r->walk;
	size_t first = w->n_chunks;
	uint64_t at = start, before = 0; /* what is before the first one is never free */
	int e = start % CHUNK_ALIGN ? -EFAULT : 0;

	*ret = END_BROKEN;
	while (!e && *ret == END_BROKEN) {
		e = read_chunk(r, &at, before, limit, ret);
		before = w->n_chunks > first ? w->chunks[w->n_chunks - 1].head : 0;
	}
	if (!e && *ret == END_TOP && !(before & CHUNK_PREV_IN_USE))
		e = -EFAULT; /* a free chunk before the top would be part of it */
	*ret_end = at;
	if (!e)
		return 0;
	*ret = END_BROKEN;
	w->n_chunks = first;
	return is_over(e) ? e : 0;
}

static void add_part(const struct reading *r, uint64_t start, uint64_t end, uint64_t head_bytes,
		     size_t first)
{
	struct glibc_walk *w = r->walk;

	ARRAY_GROW(w->parts, w->cap_parts, w->n_parts);
	w->parts[w->n_parts++] = (struct raw_part){.part = {start, end, r->arena},
						   .first = first,
						   .end = w->n_chunks,
						   .head_bytes = head_bytes};
}

/* ---- the main arena ------------------------------------------------------------------ */

/* Where writable memory without a gap ends that begins at @address or before. */
static uint64_t writable_end(const struct process_maps *maps, uint64_t address)
{
	const struct process_map *map = process_maps_find(maps, address);
	const struct process_map *all_end = maps->maps + maps->n;
	uint64_t end = address;

	for (; map && map < all_end && map->writable && map->start <= end; map++)
		end = map->end;
	return end;
}

/*
 * The first page behind @address that is there, or -EFAULT: there is none below @limit; or
 * another error.
 */
static int next_page(struct glibc_walk *w, uint64_t address, uint64_t limit, uint64_t *ret)
{
	uint64_t from = (address | (page_bytes() - 1)) + 1, end;
	int r = page_map_next(&w->memory.pages, from, limit, ret, &end);

	return r > 0 ? 0 : r ? r : -EFAULT;
}

/*
 * Somebody else moved the program break: after what is theirs chunks begin again, from which
 * the end is reached.
 */
static int read_behind_foreign(const struct reading *r, uint64_t from, uint64_t limit,
			       enum part_end *how, uint64_t *ret_start, uint64_t *ret_end)
{
	struct glibc_walk *w = r->walk;
	int e = 0;

	*how = END_BROKEN;
	for (uint64_t at = from; at + CHUNK_MIN <= limit && at <= r->top; at += CHUNK_ALIGN) {
		const struct chunk_header *h = memory_window_at(&w->window, at, 16, limit, &e);
		uint64_t size;

		if (!h) { /* it may have been reserved only */
			e = is_over(e) ? e : next_page(w, at, limit, &at);
			if (e)
				return is_over(e) ? e : 0;
			at -= CHUNK_ALIGN;
			continue;
		}
		size = head_size(h->head);
		if ((h->head & CHUNK_FLAGS) != CHUNK_PREV_IN_USE || size < CHUNK_MIN ||
		    size % CHUNK_ALIGN || size > limit - at)
			continue;
		e = read_run(r, at, limit, how, ret_end);
		if (e || *how != END_BROKEN) {
			*ret_start = at;
			return e;
		}
	}
	return 0;
}

/* It has nothing but a piece of the program break, which may have foreign pieces in it. */
static int read_contiguous(const struct reading *r, uint64_t base, uint64_t system_bytes,
			   const char **ret_left_out)
{
	struct glibc_walk *w = r->walk;
	uint64_t limit = base + system_bytes, end;
	uint64_t start = (base + CHUNK_ALIGN - 1) & ~(uint64_t)(CHUNK_ALIGN - 1);
	size_t first = w->n_chunks;
	enum part_end how;
	int e = 0;

	*ret_left_out = not_chunks;
	if (limit < base)
		return 0;
	e = read_run(r, start, limit, &how, &end);
	while (!e && how == END_MARK) {
		uint64_t from = end;

		add_part(r, start, end, 0, first);
		first = w->n_chunks;
		e = read_behind_foreign(r, from, limit, &how, &start, &end);
	}
	if (e || how != END_TOP || end != limit)
		return e;
	add_part(r, start, end, 0, first);
	*ret_left_out = NULL;
	return 0;
}

/* The part that holds @address, of any arena. */
static const struct raw_part *part_at(const struct glibc_walk *w, uint64_t address)
{
	for (size_t i = 0; i < w->n_parts; i++)
		if (w->parts[i].part.start <= address && address < w->parts[i].part.end)
			return &w->parts[i];
	return NULL;
}

/*
 * Parts that begin at pages from @at on and end where they should, until @end.  Adds their
 * bytes to @sum.
 */
static int read_pages(const struct reading *r, uint64_t at, uint64_t end, uint64_t *sum)
{
	struct glibc_walk *w = r->walk;
	int e = 0;

	while (at < end) {
		const struct raw_part *known = part_at(w, at);
		const struct chunk_header *h;
		size_t first = w->n_chunks;
		enum part_end how = END_BROKEN;
		uint64_t stop;

		if (known) {
			at = (known->part.end + page_bytes() - 1) & ~(page_bytes() - 1);
			continue;
		}
		h = memory_window_at(&w->window, at, 16, end, &e);
		if (!h) { /* terabytes may be reserved only */
			e = is_over(e) ? e : next_page(w, at, end, &at);
			if (e)
				return is_over(e) ? e : 0;
			continue;
		}
		stop = at + page_bytes();
		if ((h->head & CHUNK_FLAGS) == CHUNK_PREV_IN_USE &&
		    head_size(h->head) >= CHUNK_MARK)
			e = read_run(r, at, end, &how, &stop);
		if (is_over(e))
			return e;
		if (how == END_BROKEN || stop % page_bytes()) {
			w->n_chunks = first;
			stop = at + page_bytes();
		} else {
			add_part(r, at, stop, 0, first);
			*sum += stop - at;
		}
		at = stop;
	}
	return 0;
}

static bool may_have_parts(const struct process_map *map)
{
	return map->writable && (process_map_is_anonymous(map) || !strcmp(map->path, "[heap]"));
}

/* The program break could not be moved once: it has mappings since then. */
static int read_scattered(const struct reading *r, uint64_t base, uint64_t system_bytes,
			  const char **ret_left_out)
{
	struct glibc_walk *w = r->walk;
	const struct process_maps *maps = w->maps;
	uint64_t start = (base + CHUNK_ALIGN - 1) & ~(uint64_t)(CHUNK_ALIGN - 1);
	size_t first = w->n_chunks;
	uint64_t end, sum;
	enum part_end how;
	int e = read_run(r, start, writable_end(maps, start), &how, &end);

	*ret_left_out = not_chunks;
	if (e || how == END_BROKEN)
		return e;
	add_part(r, start, end, 0, first);
	sum = end - base;
	for (size_t i = 0; i < maps->n && !e && sum < system_bytes; i++)
		if (may_have_parts(&maps->maps[i]))
			e = read_pages(r, maps->maps[i].start, maps->maps[i].end, &sum);
	*ret_left_out = sum == system_bytes && part_at(w, r->top) ? NULL
								  : "its parts are not all found";
	return e;
}

/* ---- arenas with heaps of their own --------------------------------------------------- */

bool glibc_is_thread_arena(struct glibc_walk *w, uint64_t address)
{
	uint64_t first = glibc_heap_of_arena(address), last;
	struct glibc_heap_info info;
	struct arena_state state;

	return first && !glibc_read_state(w, address, &state) &&
	       glibc_heap_info_read(&w->memory, first, &info) > 0 && info.arena == address &&
	       glibc_heap_holding(&w->memory, address, state.tail.top, &last, &info) > 0;
}

/* Its chunks; @heap has been checked. */
static int read_heap(const struct reading *r, uint64_t heap, const struct glibc_heap_info *info,
		     uint64_t head, bool is_last, const char **ret_left_out)
{
	uint64_t start = (heap + head + CHUNK_ALIGN - 1) & ~(uint64_t)(CHUNK_ALIGN - 1), end;
	size_t first = r->walk->n_chunks;
	enum part_end how;
	int e = read_run(r, start, heap + info->bytes, &how, &end);

	if (e)
		return e;
	if (how != (is_last ? END_TOP : END_MARK) || end != heap + info->bytes)
		*ret_left_out = not_chunks;
	else
		add_part(r, heap, end, start - heap, first);
	return 0;
}

/* From the one with its top to the first, which has the arena behind its record. */
static int read_heaps(const struct reading *r, uint64_t address, uint64_t system_bytes,
		      const char **ret_left_out)
{
	struct glibc_walk *w = r->walk;
	uint64_t first = glibc_heap_of_arena(address), heap, last, sum = 0;
	uint64_t info_bytes = address - first;
	struct glibc_heap_info info;
	int e = first ? glibc_heap_holding(&w->memory, address, r->top, &heap, &info) : 0;

	*ret_left_out = e > 0 ? NULL : "its heaps are not found";
	for (last = heap; e > 0 && !*ret_left_out; heap = info.before) {
		bool is_first = heap == first;

		e = glibc_heap_info_read(&w->memory, heap, &info);
		if (e < 0)
			return e;
		if (!e || info.arena != address || info.bytes > system_bytes - sum ||
		    part_at(w, heap)) {
			*ret_left_out = "its heaps do not fit together";
			return 0;
		}
		sum += info.bytes;
		e = read_heap(r, heap, &info,
			      is_first ? info_bytes + w->tail_offset + sizeof(struct arena_tail)
				       : info_bytes,
			      heap == last, ret_left_out);
		if (e)
			return e;
		if (is_first)
			break;
		e = 1;
	}
	if (!*ret_left_out && sum != system_bytes)
		*ret_left_out = "its heaps are not all found";
	return e < 0 ? e : 0;
}

/* ---- all ------------------------------------------------------------------------------ */

int glibc_read_arenas(struct glibc_walk *w)
{
	uint64_t address = w->main_arena;

	do {
		struct arena_state state;
		int e = glibc_read_state(w, address, &state);

		if (e)
			return is_over(e) ? e : -ENOENT;
		ARRAY_GROW(w->arenas, w->cap_arenas, w->n_arenas);
		ARRAY_GROW(w->states, w->cap_states, w->n_arenas);
		w->states[w->n_arenas] = state;
		w->arenas[w->n_arenas++] = (struct glibc_arena){
			.address = address,
			.is_main = address == w->main_arena,
			.is_contiguous = address == w->main_arena &&
					 !(state.flags & ARENA_NONCONTIGUOUS),
			.is_locked = state.mutex != 0,
			.system_bytes = state.tail.system_mem,
			.top = state.tail.top,
		};
		address = state.tail.next;
	} while (address != w->main_arena && w->n_arenas < ARENAS_MAX);
	return address == w->main_arena ? 0 : -ENOENT;
}

/* Forgets the parts and chunks from those on. */
static void forget(struct glibc_walk *w, size_t parts, size_t chunks)
{
	w->n_parts = parts;
	w->n_chunks = chunks;
}

static int read_arena(struct glibc_walk *w, uint32_t arena)
{
	struct glibc_arena *a = &w->arenas[arena];
	struct reading r = {w, arena, a->top, a->is_main};
	size_t parts = w->n_parts, chunks = w->n_chunks;
	int e;

	if (!a->is_main)
		e = read_heaps(&r, a->address, a->system_bytes, &a->left_out);
	else if (!a->system_bytes) /* nobody has asked it for anything yet */
		return 0;
	else if (a->is_contiguous)
		e = read_contiguous(&r, w->parameters.sbrk_base, a->system_bytes, &a->left_out);
	else
		e = read_scattered(&r, w->parameters.sbrk_base, a->system_bytes, &a->left_out);
	if (e || a->left_out)
		forget(w, parts, chunks);
	return e;
}

static int by_start(const void *a, const void *b)
{
	const struct raw_part *x = a, *y = b;

	return (x->part.start > y->part.start) - (x->part.start < y->part.start);
}

static void sort_parts(struct glibc_walk *w)
{
	if (w->n_parts)
		qsort(w->parts, w->n_parts, sizeof(*w->parts), by_start);
}

int glibc_read_parts(struct glibc_walk *w)
{
	int e = 0;

	/* the main one last: where its parts are scattered, those of the others are known */
	for (uint32_t i = 1; i < w->n_arenas && !e; i++)
		e = read_arena(w, i);
	sort_parts(w);
	if (!e && w->n_arenas)
		e = read_arena(w, 0);
	sort_parts(w);
	return e;
}

const struct raw_part *glibc_raw_part(const struct glibc_walk *w, uint64_t address)
{
	size_t lo = 0, hi = w->n_parts;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->parts[mid].part.end <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < w->n_parts && w->parts[lo].part.start <= address ? &w->parts[lo] : NULL;
}

size_t glibc_raw_find(const struct glibc_walk *w, uint64_t address)
{
	const struct raw_part *p = glibc_raw_part(w, address);
	size_t lo, hi;

	if (!p)
		return SIZE_MAX;
	for (lo = p->first, hi = p->end; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->chunks[mid].address < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->end && w->chunks[lo].address == address ? lo : SIZE_MAX;
}
