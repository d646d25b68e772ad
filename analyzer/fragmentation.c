/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/fragmentation.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

#define PAGE ((uint64_t)SNAPSHOT_PAGE_BYTES)
/* Less of a page is live: it is mostly empty. */
#define MOSTLY_EMPTY (PAGE / 2)
#define HOLES_MAX 32
#define ROUNDING_MAX (4u << 20)
/* Larger blocks are put together, by powers of two. */
#define CLASS_EXACT_MAX 1024
#define GLIBC_HEADER 8
#define GLIBC_MMAPPED_HEADER 16

/* ---- blocks ------------------------------------------------------------------------ */

static uint8_t header_of(const struct replay_block *b)
{
	if (b->family != FAMILY_LIBC)
		return 0;
	return replay_is_mapped(b) ? GLIBC_MMAPPED_HEADER : GLIBC_HEADER;
}

void fragmentation_add(void *arg, const struct replay_block *b)
{
	struct fragmentation_blocks *to = arg;
	/* whatever a recording says: no allocator gives twice as much, and some MiB */
	bool is_known = b->usable != USABLE_UNKNOWN && b->usable >= b->size &&
			b->usable - b->size <= b->size + ROUNDING_MAX;

	ARRAY_GROW(to->items, to->cap, to->n);
	to->items[to->n++] = (struct fragmentation_block){
		.address = b->address,
		.size = b->size,
		.usable = is_known ? b->usable : b->size,
		.t_ns = b->t_ns,
		.stack = b->stack,
		.header = header_of(b),
		.is_before = b->thread.v == THREAD_OF_BEFORE,
	};
	to->usable_unknown += !is_known;
}

void fragmentation_blocks_release(struct fragmentation_blocks *b)
{
	free(b->items);
	*b = (struct fragmentation_blocks){0};
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = ((const struct fragmentation_block *)a)->address;
	uint64_t y = ((const struct fragmentation_block *)b)->address;

	return (x > y) - (x < y);
}

/* ---- sites and classes ------------------------------------------------------------- */

/* While it is made. */
struct making {
	struct fragmentation *f;
	const struct fragmentation_options *options;
	const struct fragmentation_block *blocks;
	size_t n;
	size_t next; /* the first block that ends behind where we are */
	size_t next_mapping; /* of @options->mappings, as @next */
	struct hashmap sites, classes, mapped; /* site -> place; size -> place; site -> place */
	/* the hole that we are in */
	struct fragmentation_hole hole;
	struct fragmentation_arena *arena;
};

static uint32_t site_of(const struct making *m, struct stack_id stack)
{
	const struct fragmentation_options *o = m->options;

	return o->sites && stack.v < o->n_sites ? o->sites[stack.v] : stack.v;
}

static struct fragmentation_site *find_site(struct making *m, struct stack_id stack)
{
	uint32_t site = site_of(m, stack), *at = hashmap_put(&m->sites, site);
	struct fragmentation *f = m->f;

	if (*at == HASHMAP_NONE) {
		*at = (uint32_t)f->n_sites;
		ARRAY_GROW(f->sites, f->cap_sites, f->n_sites);
		f->sites[f->n_sites++] = (struct fragmentation_site){.site = site, .stack = stack};
	}
	return &f->sites[*at];
}

/* Its class has all sizes up to that. */
static uint64_t class_of(uint64_t usable)
{
	uint64_t top = CLASS_EXACT_MAX;

	if (usable <= CLASS_EXACT_MAX)
		return (usable + 15) / 16 * 16 + (usable % 16 == 8 ? (uint64_t)-8 : 0);
	while (top < usable && top << 1)
		top <<= 1;
	return top;
}

static void count_block(struct making *m, const struct fragmentation_block *b)
{
	struct fragmentation_site *site = find_site(m, b->stack);
	uint64_t top = class_of(b->usable), rounding = b->usable - b->size;
	uint32_t *at;
	struct fragmentation_class *class;
	struct fragmentation *f = m->f;

	f->live_blocks++;
	f->live_requested += b->size;
	f->live_usable += b->usable;
	site->blocks++;
	site->requested += b->size;
	if (b->is_before) { /* what was requested is not known */
		f->live_before += b->usable;
		return;
	}
	site->rounding += rounding;
	at = hashmap_put(&m->classes, top);
	if (*at == HASHMAP_NONE) {
		*at = (uint32_t)f->n_classes;
		ARRAY_GROW(f->classes, f->cap_classes, f->n_classes);
		f->classes[f->n_classes++] = (struct fragmentation_class){.usable = top};
	}
	class = &f->classes[*at];
	class->blocks++;
	class->requested += b->size;
	class->rounding += rounding;
}

/* ---- who pins ---------------------------------------------------------------------- */

static void add_wasted(struct fragmentation_site *s, struct stack_id stack, uint64_t bytes)
{
	if (bytes > s->stack_wasted) {
		s->stack_wasted = bytes;
		s->stack = stack;
	}
}

/* How many different sites blocks [from, to) are of; the first of each is marked in @is_first. */
#define PAGE_BLOCKS_MAX 256 /* no more fit into half a page: a block and its header take 16 */

static size_t mark_first(const struct making *m, size_t from, size_t to, bool *is_first)
{
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		uint32_t site = site_of(m, m->blocks[i].stack);
		bool is_new = true;

		for (size_t k = from; k < i && is_new; k++)
			is_new = !is_first[k - from] || site_of(m, m->blocks[k].stack) != site;
		is_first[i - from] = is_new;
		n += is_new;
	}
	return n;
}

/* A page that is mostly empty, but for blocks [from, to). */
static void pin(struct making *m, size_t from, size_t to, uint64_t wasted)
{
	bool is_first[PAGE_BLOCKS_MAX];
	size_t n, left;

	if (to - from > PAGE_BLOCKS_MAX)
		to = from + PAGE_BLOCKS_MAX;
	n = left = mark_first(m, from, to, is_first);
	m->f->pinned_pages++;
	m->f->pinned_wasted += wasted;
	for (size_t i = from; i < to; i++) {
		const struct fragmentation_block *b = &m->blocks[i];
		struct fragmentation_site *s = find_site(m, b->stack);

		if (!s->oldest_ns || b->t_ns < s->oldest_ns)
			s->oldest_ns = b->t_ns;
		if (b->t_ns > s->newest_ns)
			s->newest_ns = b->t_ns;
		if (!is_first[i - from])
			continue;
		if (n == 1) {
			s->pages++;
			s->wasted += wasted;
			add_wasted(s, b->stack, wasted);
		} else {
			uint64_t share = wasted / left--; /* all of it goes to somebody */

			s->shared_pages++;
			s->shared_wasted += share;
			add_wasted(s, b->stack, share);
			wasted -= share;
		}
	}
}

/* ---- holes ------------------------------------------------------------------------- */

static void end_hole(struct making *m)
{
	struct fragmentation *f = m->f;
	size_t i;

	if (!m->hole.bytes || (f->n_holes == HOLES_MAX &&
			       f->holes[HOLES_MAX - 1].bytes >= m->hole.bytes)) {
		m->hole.bytes = 0;
		return;
	}
	if (f->n_holes < HOLES_MAX) {
		ARRAY_GROW(f->holes, f->cap_holes, f->n_holes);
		f->n_holes++;
	}
	for (i = f->n_holes - 1; i > 0 && f->holes[i - 1].bytes < m->hole.bytes; i--)
		f->holes[i] = f->holes[i - 1];
	f->holes[i] = m->hole;
	m->hole.bytes = 0;
}

static void add_free(struct making *m, uint64_t start, uint64_t end, bool is_resident)
{
	if (start >= end)
		return;
	if (m->hole.bytes && m->hole.start + m->hole.bytes != start)
		end_hole(m);
	if (!m->hole.bytes)
		m->hole = (struct fragmentation_hole){.start = start};
	m->hole.bytes += end - start;
	m->hole.resident += is_resident ? end - start : 0;
}

/* ---- pages ------------------------------------------------------------------------- */

#define PAGE_BLOCKS_AT_ALL (SNAPSHOT_PAGE_BYTES / 8 + 2)

struct page_use {
	uint64_t requested, rounding, headers, before;
	size_t from, to; /* the blocks on it */
};

static uint64_t begin_of(const struct fragmentation_block *b)
{
	return b->address - b->header;
}

static uint64_t end_of(const struct fragmentation_block *b)
{
	return b->address + b->usable;
}

static uint64_t overlap(uint64_t start, uint64_t end, uint64_t from, uint64_t to)
{
	uint64_t low = start > from ? start : from, high = end < to ? end : to;

	return high > low ? high - low : 0;
}

/*
 * What is on the page at @at.  Blocks of a heap do not overlap; should those of a recording,
 * no byte counts twice.
 */
static void use_page(struct making *m, uint64_t at, bool is_resident, struct page_use *ret)
{
	uint64_t end = at + PAGE, pos = at;

	while (m->next < m->n && end_of(&m->blocks[m->next]) <= at)
		m->next++;
	*ret = (struct page_use){.from = m->next, .to = m->next};
	/* no more blocks fit; those of a damaged recording may lie on one another */
	for (size_t i = m->next; i < m->n && i < m->next + PAGE_BLOCKS_AT_ALL &&
				 begin_of(&m->blocks[i]) < end; i++) {
		const struct fragmentation_block *b = &m->blocks[i];

		if (end_of(b) <= pos)
			continue;
		add_free(m, pos, begin_of(b), is_resident);
		if (begin_of(b) > pos)
			end_hole(m);
		ret->headers += overlap(begin_of(b), b->address, pos, end);
		*(b->is_before ? &ret->before : &ret->requested) +=
			overlap(b->address, b->address + b->size, pos, end);
		ret->rounding += overlap(b->address + b->size, end_of(b), pos, end);
		pos = end_of(b) < end ? end_of(b) : end;
		ret->to = i + 1;
		end_hole(m);
	}
	add_free(m, pos, end, is_resident);
}

/* So many pages from @at on are full of one block: of what was requested, or of the rest. */
static uint64_t full_pages(const struct making *m, uint64_t at, uint64_t pages,
			   struct page_use *ret)
{
	const struct fragmentation_block *b;
	uint64_t requested_end, end;
	size_t i = m->next;

	while (i < m->n && end_of(&m->blocks[i]) <= at)
		i++;
	b = i < m->n ? &m->blocks[i] : NULL;
	if (!b || b->address > at)
		return 0;
	requested_end = b->address + b->size;
	end = requested_end >= at + PAGE ? requested_end : end_of(b);
	if (end < at + PAGE || (end != requested_end && requested_end > at))
		return 0;
	*(b->is_before ? &ret->before : end == requested_end ? &ret->requested
							      : &ret->rounding) = PAGE;
	return (end - at) / PAGE < pages ? (end - at) / PAGE : pages;
}

/* So many pages from @at on have no block. */
static uint64_t free_pages(struct making *m, uint64_t at, uint64_t pages)
{
	uint64_t next;

	while (m->next < m->n && end_of(&m->blocks[m->next]) <= at)
		m->next++;
	if (m->next == m->n)
		return pages;
	next = begin_of(&m->blocks[m->next]);
	if (next <= at)
		return 0;
	return (next - at) / PAGE < pages ? (next - at) / PAGE : pages;
}

static void visit(struct making *m, uint64_t at, uint64_t pages, enum snapshot_page state,
		  uint64_t live)
{
	const struct fragmentation_options *o = m->options;

	if (o->visit)
		o->visit(o->arg, &(struct fragmentation_pages){.address = at, .pages = pages,
							       .state = state,
							       .live = (uint32_t)live});
}

static uint64_t live_of(const struct page_use *u)
{
	return u->requested + u->rounding + u->headers + u->before;
}

static void count_resident(struct making *m, uint64_t pages, const struct page_use *u)
{
	struct fragmentation *f = m->f;
	uint64_t live = live_of(u), rest = PAGE - live;

	f->heap_resident += pages * PAGE;
	f->parts[PART_REQUESTED] += pages * u->requested;
	f->parts[PART_ROUNDING] += pages * u->rounding;
	f->parts[PART_HEADERS] += pages * u->headers;
	f->parts[PART_BEFORE] += pages * u->before;
	f->parts[m->options->has_unknown ? PART_UNKNOWN
		 : live			 ? PART_FREE_INSIDE
					 : PART_FREE_PAGES] += pages * rest;
	m->arena->resident += pages * PAGE;
	m->arena->live += pages * live;
	*(live ? &m->arena->free_inside : &m->arena->free_pages) += pages * rest;
	if (live && live < MOSTLY_EMPTY)
		pin(m, u->from, u->to, rest);
}

static struct fragmentation_mapped *find_mapped(struct making *m, struct stack_id stack)
{
	uint32_t site = site_of(m, stack), *at = hashmap_put(&m->mapped, site);
	struct fragmentation *f = m->f;

	if (*at == HASHMAP_NONE) {
		*at = (uint32_t)f->n_mapped;
		ARRAY_GROW(f->mapped, f->cap_mapped, f->n_mapped);
		f->mapped[f->n_mapped++] = (struct fragmentation_mapped){.site = site,
									 .stack = stack};
	}
	return &f->mapped[*at];
}

/* Whoever mapped them has them; what nobody was seen to map is nobody's. */
static void name_pages(struct making *m, uint64_t start, uint64_t bytes, enum snapshot_page state)
{
	const struct fragmentation_blocks *all = m->options->mappings;
	size_t *next = &m->next_mapping;

	if (!all || (state != SNAPSHOT_RESIDENT && state != SNAPSHOT_SWAPPED))
		return;
	while (*next < all->n && end_of(&all->items[*next]) <= start)
		++*next;
	for (size_t i = *next; i < all->n && all->items[i].address < start + bytes; i++) {
		const struct fragmentation_block *b = &all->items[i];
		struct fragmentation_mapped *to = find_mapped(m, b->stack);
		uint64_t n = overlap(b->address, end_of(b), start, start + bytes);

		*(state == SNAPSHOT_RESIDENT ? &to->resident : &to->swapped) += n;
	}
}

/* @pages from @at on, which are alike.  @is_heap: all of them; else those with blocks are. */
static void take_run(struct making *m, uint64_t at, uint64_t pages, enum snapshot_page state,
		     bool is_heap)
{
	bool is_resident = state == SNAPSHOT_RESIDENT;

	while (pages > 0) {
		uint64_t n = free_pages(m, at, pages), live;
		struct page_use u = {0};

		if (n) {
			add_free(m, at, at + n * PAGE, is_resident);
		} else if ((n = full_pages(m, at, pages, &u))) {
			end_hole(m);
		} else {
			use_page(m, at, is_resident, &u);
			n = 1;
		}
		live = live_of(&u);
		if (!is_heap && !live) { /* somebody else's */
			m->hole.bytes = 0;
			m->f->parts[PART_ANONYMOUS] += is_resident ? n * PAGE : 0;
			name_pages(m, at, n * PAGE, state);
		} else {
			visit(m, at, n, state, live);
			if (is_resident) {
				count_resident(m, n, &u);
			} else {
				m->f->not_resident += n * (u.requested + u.before);
				m->f->heap_swapped += state == SNAPSHOT_SWAPPED ? n * PAGE : 0;
				m->arena->swapped += state == SNAPSHOT_SWAPPED ? n * PAGE : 0;
			}
		}
		at += n * PAGE;
		pages -= n;
	}
}

/* ---- regions ----------------------------------------------------------------------- */

static const enum fragmentation_part part_of_kind[SNAPSHOT_KINDS] = {
	[SNAPSHOT_BRK] = PART_UNEXPLAINED, /* its pages tell */
	[SNAPSHOT_ARENA] = PART_UNEXPLAINED,
	[SNAPSHOT_MALLOC] = PART_UNEXPLAINED,
	[SNAPSHOT_ANONYMOUS] = PART_UNEXPLAINED,
	[SNAPSHOT_STACK] = PART_STACKS,
	[SNAPSHOT_DATA] = PART_DATA,
	[SNAPSHOT_FILE] = PART_FILES,
	[SNAPSHOT_SHARED] = PART_SHARED,
	[SNAPSHOT_HUGETLB] = PART_UNEXPLAINED, /* the kernel counts none of it */
	[SNAPSHOT_KERNEL] = PART_KERNEL,
};

/* Blocks that lie before @start are in no region of the heap's. */
static void skip_blocks(struct making *m, uint64_t start)
{
	while (m->next < m->n && end_of(&m->blocks[m->next]) <= start) {
		m->f->outside++;
		m->next++;
	}
}

static void take_region(struct making *m, const struct snapshot *s, const struct snapshot_region *r)
{
	bool is_heap = snapshot_is_heap(r->kind);
	struct fragmentation_arena arena = {.start = r->start, .end = r->end, .kind = r->kind,
					    .name = r->name};
	uint64_t at = r->start;
	size_t first;

	skip_blocks(m, r->start);
	first = m->next;
	m->arena = &arena;
	for (size_t i = r->first_run; i < r->first_run + r->n_runs; i++) {
		take_run(m, at, s->runs[i].pages, s->runs[i].state, is_heap);
		at += s->runs[i].pages * PAGE;
	}
	end_hole(m);
	for (size_t i = first; i < m->n && m->blocks[i].address < r->end; i++)
		arena.blocks++;
	while (m->next < m->n && end_of(&m->blocks[m->next]) <= r->end)
		m->next++;
	if (!is_heap && !arena.blocks)
		return;
	m->f->heap_reserved += is_heap ? r->end - r->start : arena.resident + arena.swapped;
	m->f->heap_huge += r->huge;
	ARRAY_GROW(m->f->arenas, m->f->cap_arenas, m->f->n_arenas);
	m->f->arenas[m->f->n_arenas++] = arena;
}

static int by_wasted(const void *a, const void *b)
{
	const struct fragmentation_site *x = a, *y = b;
	uint64_t p = x->wasted + x->shared_wasted, q = y->wasted + y->shared_wasted;

	if (p != q)
		return p < q ? 1 : -1;
	if (x->rounding != y->rounding)
		return x->rounding < y->rounding ? 1 : -1;
	return (x->site > y->site) - (x->site < y->site);
}

static int by_size(const void *a, const void *b)
{
	const struct fragmentation_class *x = a, *y = b;

	return (x->usable > y->usable) - (x->usable < y->usable);
}

static int by_resident(const void *a, const void *b)
{
	const struct fragmentation_mapped *x = a, *y = b;

	if (x->resident != y->resident)
		return x->resident < y->resident ? 1 : -1;
	return (x->site > y->site) - (x->site < y->site);
}

static void finish(struct making *m, const struct snapshot *s)
{
	struct fragmentation *f = m->f;
	uint64_t sum = 0;

	m->next = m->next > m->n ? m->n : m->next;
	f->outside += m->n - m->next;
	f->rss = s->rss_bytes;
	for (size_t i = 0; i < PARTS; i++)
		sum += f->parts[i];
	if (f->rss > sum)
		f->parts[PART_UNEXPLAINED] += f->rss - sum;
	f->compact = (f->parts[PART_REQUESTED] + f->parts[PART_ROUNDING] + f->parts[PART_HEADERS] +
		      f->parts[PART_BEFORE] + PAGE - 1) / PAGE * PAGE;
	if (f->n_sites)
		qsort(f->sites, f->n_sites, sizeof(*f->sites), by_wasted);
	if (f->n_classes)
		qsort(f->classes, f->n_classes, sizeof(*f->classes), by_size);
	if (f->n_mapped)
		qsort(f->mapped, f->n_mapped, sizeof(*f->mapped), by_resident);
	hashmap_release(&m->mapped);
	hashmap_release(&m->sites);
	hashmap_release(&m->classes);
}

void fragmentation_make(struct fragmentation *ret, const struct snapshot *s,
			struct fragmentation_blocks *blocks,
			const struct fragmentation_options *options)
{
	struct making m = {.f = ret, .options = options, .blocks = blocks->items, .n = blocks->n};

	*ret = (struct fragmentation){.usable_unknown = blocks->usable_unknown};
	if (blocks->n)
		qsort(blocks->items, blocks->n, sizeof(*blocks->items), by_address);
	if (options->mappings && options->mappings->n)
		qsort(options->mappings->items, options->mappings->n,
		      sizeof(*options->mappings->items), by_address);
	for (size_t i = 0; i < blocks->n; i++)
		count_block(&m, &blocks->items[i]);
	for (size_t i = 0; i < s->n_regions; i++) {
		const struct snapshot_region *r = &s->regions[i];

		ret->shared += r->shared;
		if (r->n_runs)
			take_region(&m, s, r);
		else
			ret->parts[part_of_kind[r->kind]] += r->rss;
	}
	finish(&m, s);
}

void fragmentation_release(struct fragmentation *f)
{
	free(f->arenas);
	free(f->holes);
	free(f->sites);
	free(f->classes);
	free(f->mapped);
	*f = (struct fragmentation){0};
}

/* ---- shares ------------------------------------------------------------------------ */

double fragmentation_internal(const struct fragmentation *f)
{
	uint64_t known = f->live_usable - f->live_before;

	return known ? (double)(f->live_usable - f->live_requested) / (double)known : 0;
}

double fragmentation_external(const struct fragmentation *f)
{
	uint64_t used = f->parts[PART_REQUESTED] + f->parts[PART_ROUNDING] +
			f->parts[PART_BEFORE];

	return f->heap_resident ? (double)(f->heap_resident - used) / (double)f->heap_resident : 0;
}

uint64_t fragmentation_returnable(const struct fragmentation *f)
{
	return f->heap_resident > f->compact ? f->heap_resident - f->compact : 0;
}
