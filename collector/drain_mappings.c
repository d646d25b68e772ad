/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain_mappings.h"

#include <linux/mman.h>
#include <string.h>

#include "collector/drain_stacks.h"
#include "collector/family.h"
#include "image/process_maps.h"

#define PAGE 4096ull
/* Whoever was to tell that addresses were given back does so within that time. */
#define DEBT_NS_MAX 10000000000ull
#define HUGE_PAGE_USUAL_SHIFT 21 /* where the call does not say which */

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

/* What mmap() makes of the length that it is asked for. */
static uint64_t mapped_bytes(uint64_t bytes, uint32_t flags)
{
	unsigned int shift = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
	uint64_t page = PAGE;

	if (flags & MAP_HUGETLB)
		page = 1ull << (shift ? shift : HUGE_PAGE_USUAL_SHIFT);
	return (bytes + page - 1) & ~(page - 1);
}

/* Who takes away: whole where such stacks are wanted. */
static struct stack_id ending_stack(struct drain *d, const struct ring_mapping *r)
{
	return r->stack ? drain_alloc_stack(d, &r->head, r->stack, r->caller)
			: drain_caller_stack(d, &r->head, r->caller, STACK_CALLER);
}

static void add(struct drain *d, struct event *e)
{
	uint32_t slot = drain_emit(d, e);

	if (slot != NO_SLOT)
		mappings_add(&d->mappings, e->address, e->address + e->size, slot);
}

/* ---- what goes --------------------------------------------------------------------------- */

/* A part of the block that stays. */
static void add_piece(struct drain *d, const struct replay_block *of, uint64_t start, uint64_t end)
{
	struct event e = {.kind = EVENT_PIECE,
			  .family = of->family,
			  .thread = of->thread,
			  .stack = of->stack,
			  .t_ns = d->last_ns,
			  .address = start,
			  .size = end - start,
			  .usable = of->t_ns};

	if (start < end)
		add(d, &e);
}

/* All that is known of [@start, @end) is mapped no more, as @how says. */
static void cut(struct drain *d, const struct event *how, uint64_t start, uint64_t end)
{
	const struct mapping *found;

	while ((found = mappings_find(&d->mappings, start, end))) {
		struct mapping m = mappings_remove(&d->mappings, found);
		struct replay_block block = replay_block_in(&d->heap, m.slot);
		struct event e = *how;

		e.slot = m.slot;
		e.family = block.family;
		if (m.start < start || m.end > end)
			e.free_class = FREE_PARTED;
		drain_emit(d, &e);
		add_piece(d, &block, m.start, start);
		add_piece(d, &block, end, m.end);
	}
}

/* The same but for what was handed out again already, before this was told. */
static void cut_but_debts(struct drain *d, const struct event *how, uint64_t start, uint64_t end)
{
	uint64_t since = d->last_ns > DEBT_NS_MAX ? d->last_ns - DEBT_NS_MAX : 0;
	struct mapping_debt debt;

	if (!mappings_take_debt(&d->mappings, start, end, since, &debt)) {
		cut(d, how, start, end);
		return;
	}
	cut_but_debts(d, how, start, debt.start);
	cut_but_debts(d, how, debt.end, end);
}

/* Each thread tells in the order of its calls: what it has mapped itself is not what it owes. */
static bool is_of_thread(const struct drain *d, const struct mapping *m, uint32_t thread)
{
	return replay_block_in(&d->heap, m->slot).thread.v == thread;
}

static void cut_as_told(struct drain *d, const struct event *how, uint64_t start, uint64_t end)
{
	const struct mapping *found = mappings_find(&d->mappings, start, end);
	uint64_t from, to;

	if (!found) {
		cut_but_debts(d, how, start, end);
		return;
	}
	from = found->start < start ? start : found->start;
	to = found->end > end ? end : found->end;
	if (is_of_thread(d, found, how->thread.v))
		cut(d, how, from, to);
	else
		cut_but_debts(d, how, from, to);
	cut_as_told(d, how, start, from);
	cut_as_told(d, how, to, end);
}

static void unmap(struct drain *d, const struct ring_mapping *r, uint64_t start, uint64_t end)
{
	struct event e;

	page_set_remove(&d->block_pages, start, end);
	if (start >= end ||
	    (!d->mappings.n_debts && !mappings_find(&d->mappings, start, end)))
		return;
	e = drain_event(d, &r->head, EVENT_FREE, ending_stack(d, r));
	if (d->mappings.n_debts)
		cut_as_told(d, &e, start, end);
	else
		cut(d, &e, start, end);
}

/* ---- what comes -------------------------------------------------------------------------- */

/* Whose mapping it is. */
static uint8_t family_of(struct drain *d, const struct ring_mapping *r, uint8_t family)
{
	const struct ring_head *h = &r->head;

	if (r->in_heap_call)
		return FAMILY_ALLOCATOR;
	if (call_sites_owner(&d->sites, r->caller, h->generation, d->last_ns) == CODE_OF_LOADER)
		return FAMILY_LOADER;
	if (r->outer && call_sites_owner(&d->sites, r->outer, h->generation, d->last_ns) ==
				CODE_OF_ALLOCATOR)
		return FAMILY_ALLOCATOR;
	if (family == FAMILY_ANONYMOUS && r->flags & MAP_STACK)
		return FAMILY_THREAD_STACK;
	return family;
}

/* It lies where nothing known is mapped any more. */
static void map(struct drain *d, const struct ring_mapping *r, uint8_t family, uint64_t start,
		uint64_t end)
{
	struct event e;

	if (start >= end)
		return;
	e = drain_event(d, &r->head, EVENT_ALLOC,
			drain_alloc_stack(d, &r->head, r->stack, r->caller));
	e.family = family_of(d, r, family);
	e.address = start;
	e.size = end - start;
	add(d, &e);
}

/*
 * Nothing known is mapped where something comes: the call itself took it away, if that is its
 * way; or another did, which is still to be told.
 */
static void make_room(struct drain *d, const struct ring_mapping *r, uint64_t start, uint64_t end,
		      bool replaces)
{
	const struct mapping *found;

	while ((found = mappings_find(&d->mappings, start, end))) {
		struct event e = drain_event(d, &r->head, EVENT_FREE, ending_stack(d, r));
		uint64_t from = found->start < start ? start : found->start;
		uint64_t to = found->end > end ? end : found->end;

		if (!replaces) {
			e.free_class = FREE_IMPLIED;
			mappings_add_debt(&d->mappings,
					  (struct mapping_debt){from, to, d->last_ns, found->start,
								found->end});
		}
		cut(d, &e, from, to);
	}
}

static void note_map(struct drain *d, const struct ring_mapping *r)
{
	uint64_t end = r->address + mapped_bytes(r->bytes, r->flags);

	make_room(d, r, r->address, end, r->flags & MAP_FIXED);
	map(d, r, r->flags & MAP_ANONYMOUS ? FAMILY_ANONYMOUS : FAMILY_FILE, r->address, end);
}

/* The probe could not ask while something changed the mappings: they still say. */
static uint64_t segment_bytes(const struct drain *d, uint64_t address)
{
	struct process_maps maps;
	const struct process_map *found = NULL;
	uint64_t bytes = 0;
	struct err err;

	if (process_maps_read(d->pid, &maps, &err) == 0)
		found = process_maps_find(&maps, address);
	if (found && found->start == address && !strncmp(found->path, "/SYSV", 5))
		bytes = found->end - found->start;
	process_maps_release(&maps);
	return bytes;
}

static void note_segment(struct drain *d, const struct ring_mapping *r)
{
	uint64_t bytes = r->bytes ? r->bytes : segment_bytes(d, r->address);
	uint64_t end = r->address + whole_pages(bytes);

	if (!bytes)
		d->counts.unknown_segments++;
	make_room(d, r, r->address, end, true); /* SHM_REMAP */
	map(d, r, FAMILY_SEGMENT, r->address, end);
}

/* What is added to the heap of sbrk() is a block; given back it is from the end. */
static void note_break(struct drain *d, const struct ring_mapping *r)
{
	uint64_t before = whole_pages(r->old_address), now = whole_pages(r->address);

	if (now < before) {
		unmap(d, r, now, before);
		return;
	}
	make_room(d, r, before, now, false);
	map(d, r, FAMILY_BREAK, before, now);
}

/* ---- mremap() ---------------------------------------------------------------------------- */

/* What was one block is one elsewhere, or of another size. */
static void change_block(struct drain *d, const struct ring_mapping *r, const struct mapping *found,
			 uint64_t end)
{
	struct mapping m = mappings_remove(&d->mappings, found);
	struct event e;

	make_room(d, r, r->address, end, r->flags & MREMAP_FIXED);
	e = drain_event(d, &r->head, EVENT_REALLOC,
			drain_alloc_stack(d, &r->head, r->stack, r->caller));
	e.family = (uint8_t)replay_at(&d->heap, m.slot)->family;
	e.slot = m.slot;
	e.address = r->address;
	e.size = end - r->address;
	add(d, &e);
}

/*
 * The block that the call is about, no more and no less; or NULL.  Whoever moves one may tell it
 * after somebody was given what it has left: then the block there may be that one's.  What is cut
 * off an end may be somebody's already, too: then the block is what is left of it.
 */
static const struct mapping *block_of(struct drain *d, const struct ring_mapping *r,
				      uint64_t old_end, uint64_t end)
{
	const struct mapping *found = mappings_find(&d->mappings, r->old_address, old_end);
	bool is_moved = r->address != r->old_address;

	if (found && found->start == r->old_address && found->end == old_end)
		return !is_moved || is_of_thread(d, found, r->head.thread) ||
				       !mappings_owe(&d->mappings, r->old_address, old_end)
			       ? found
			       : NULL;
	if (is_moved || end >= old_end ||
	    !mappings_owe_of_block(&d->mappings, r->old_address, end, old_end))
		return NULL;
	unmap(d, r, end, old_end);
	found = mappings_find(&d->mappings, r->old_address, end);
	return found && found->start == r->old_address && found->end == end ? found : NULL;
}

static void note_remap(struct drain *d, const struct ring_mapping *r)
{
	uint64_t old_end = r->old_address + whole_pages(r->old_bytes);
	uint64_t end = r->address + whole_pages(r->bytes);
	const struct mapping *known = mappings_find(&d->mappings, r->old_address, old_end);
	uint8_t family = known ? (uint8_t)replay_at(&d->heap, known->slot)->family
			       : FAMILY_ANONYMOUS;
	bool stays = r->flags & MREMAP_DONTUNMAP || !whole_pages(r->old_bytes);
	const struct mapping *block = stays ? NULL : block_of(d, r, old_end, end);

	if (block) {
		change_block(d, r, block, end);
		return;
	}
	if (r->address != r->old_address) {
		if (!stays)
			unmap(d, r, r->old_address, old_end);
		make_room(d, r, r->address, end, r->flags & MREMAP_FIXED);
		map(d, r, family, r->address, end);
	} else if (end < old_end) {
		unmap(d, r, end, old_end);
	} else if (end > old_end) { /* of several blocks, or of ones not known: what is new */
		uint64_t start = known ? old_end : r->address;

		make_room(d, r, start, end, false);
		map(d, r, family, start, end);
	}
}

/* ---- all calls ---------------------------------------------------------------------------- */

/* No argument of shmdt() says how much that is. */
static void note_detach(struct drain *d, const struct ring_mapping *r)
{
	const struct mapping *m = mappings_find(&d->mappings, r->address, r->address + 1);

	if (m && replay_at(&d->heap, m->slot)->family == FAMILY_SEGMENT)
		unmap(d, r, m->start, m->end);
}

void drain_note_mapping(struct drain *d, const struct ring_mapping *r)
{
	switch ((enum mapping_op)r->op) {
	case MAPPING_MAP:
		note_map(d, r);
		break;
	case MAPPING_UNMAP:
		unmap(d, r, r->address, r->address + whole_pages(r->bytes));
		break;
	case MAPPING_REMAP:
		note_remap(d, r);
		break;
	case MAPPING_BREAK:
		note_break(d, r);
		break;
	case MAPPING_SEGMENT:
		note_segment(d, r);
		break;
	case MAPPING_DETACH:
		note_detach(d, r);
		break;
	case MAPPING_OPS:
		break;
	}
}
