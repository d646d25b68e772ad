/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/drain_mappings.h"
#include "collector/drain_realms.h"
#include "collector/drain_small.h"
#include "collector/drain_stacks.h"
#include "collector/drain_write.h"
#include "collector/family.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/layers.h"
#include "store/loss.h"

/* A serial number beyond this is no thread's: the raw event is damaged. */
#define THREADS_MAX (1u << 24)

void drain_init(struct drain *d, struct store_writer *writer, pid_t pid)
{
	static const uint64_t none = 0;

	memset(d, 0, sizeof(*d));
	d->losses_so_far = &none;
	realms_set_layers(d);
	d->writer = writer;
	d->pid = pid;
	usable_init(&d->usable, pid);
	timeline_buckets_init(&d->timeline);
	call_sites_init(&d->sites, writer, pid);
}

void drain_set_stacks(struct drain *d, enum stack_mode mode, uint16_t (*generation)(void *arg),
		      void *arg)
{
	d->stack_mode = mode;
	d->sites.current_generation = generation;
	d->sites.generation_arg = arg;
}

void drain_set_min_size(struct drain *d, uint64_t min_size)
{
	d->min_size = min_size;
	if (min_size)
		store_writer_put_number(d->writer, "min_size", (int64_t)min_size);
}

/* What only the user's layers need. */
static void release_others(struct drain *d)
{
	for (int i = 0; i < PROBE_LAYERS; i++)
		for (int k = 0; k < FAMILY_KINDS; k++) {
			if (d->others[i][k])
				pairing_release(d->others[i][k]);
			free(d->others[i][k]);
			d->others[i][k] = NULL;
		}
	pools_release(&d->pools);
	mappings_release(&d->mappings);
	page_set_release(&d->block_pages);
	hashmap_release(&d->acquired_before);
}

void drain_end_events(struct drain *d)
{
	struct drain_observer o = d->observer;

	d->observer = (struct drain_observer){0};
	pairing_release(&d->pairing);
	release_others(d);
	hashmap_release(&d->stacks);
	hashmap_release(&d->older_stacks);
	hashmap_release(&d->sites.by_branch);
	hashmap_release(&d->sites.by_frame);
	hashmap_release(&d->sites.by_address);
	/* it may need the room */
	if (o.end && d->space.id.v)
		o.end(o.arg, d->writer, &d->heap);
	replay_release(&d->heap);
}

void drain_release(struct drain *d)
{
	d->observer = (struct drain_observer){0}; /* it was left in the middle */
	drain_end_events(d);
	call_sites_release(&d->sites);
	for (size_t i = 0; i < d->n_threads; i++)
		free(d->threads[i]);
	free(d->threads);
	free((char *)d->space.executable);
	memset(d, 0, sizeof(*d));
}

void drain_begin_space(struct drain *d, const char *executable, uint64_t t_ns)
{
	free((char *)d->space.executable);
	d->space.exec_count = d->space.id.v ? d->space.exec_count + 1 : 0;
	d->space.id.v++;
	d->space.process = 1;
	d->space.executable = executable ? xstrdup(executable) : NULL;
	d->space.start_ns = t_ns;
	d->space.end_ns = 0;
	d->space.end = NULL;
	store_writer_put_space(d->writer, &d->space);
	pairing_reset(&d->pairing);
	release_others(d);
	usable_init(&d->usable, d->pid);
	d->live_bytes = 0;
	d->before.are_all = false; /* they were the old program's */
	replay_begin_space(&d->heap, d->space.id);
	d->small.live_blocks = d->small.live_bytes = 0;
	d->small_is_written = false;
	call_sites_set_space(&d->sites, d->space.id);
	hashmap_release(&d->stacks);
	hashmap_release(&d->older_stacks);
}

void drain_end_space(struct drain *d, const char *how, uint64_t t_ns)
{
	d->space.end = how;
	d->space.end_ns = t_ns;
	store_writer_put_space(d->writer, &d->space);
}

/* ---- events ------------------------------------------------------------------------ */

uint32_t drain_emit(struct drain *d, struct event *e)
{
	const struct drain_observer *o = &d->observer;
	uint64_t before = d->live_bytes, chunk;
	struct replay_step step;

	if (replay_feed(&d->heap, e, &step, NULL) < 0) {
		d->counts.malformed++;
		return NO_SLOT;
	}
	if (step.made)
		e->slot = step.slot;
	d->counts.events++;
	d->counts.alloc_calls += event_is_alloc_call(e);
	d->counts.free_calls += event_frees(e);
	if (!replay_layer_of(&d->heap.layers, e->family)) {
		if (d->keeps_block_pages && step.made && e->family != FAMILY_LIBC)
			page_set_add(&d->block_pages, step.made->address,
				     step.made->address + step.made->size);
		d->live_bytes += (step.made ? step.made->size : 0) -
				 (step.ended ? step.old.size : 0);
		timeline_buckets_add(&d->timeline, e, before, d->live_bytes);
	}
	if (o->step)
		o->step(o->arg, d->space.id, e, &step);
	chunk = store_writer_put_event(d->writer, d->space.id, e);
	if (chunk && o->chunk)
		o->chunk(o->arg, d->writer, chunk, &d->heap);
	return e->slot;
}

/* ---- what is common to events -------------------------------------------------------- */

struct event drain_event(const struct drain *d, const struct ring_head *h, enum event_kind kind,
			 struct stack_id stack)
{
	return (struct event){
		.kind = (uint8_t)kind,
		.family = h->family,
		.thread = {h->thread},
		.stack = stack,
		.t_ns = d->last_ns,
		.usable = USABLE_UNKNOWN,
	};
}

/* ---- the ends of pools -------------------------------------------------------------- */

struct pool_end {
	struct drain *drain;
	struct event event; /* of each of its blocks */
	bool is_implied;
};

static void end_with_pool(void *arg, uint32_t slot, uint64_t address)
{
	struct pool_end *p = arg;
	struct event e = p->event;
	struct realm realm;

	e.slot = slot;
	e.family = (uint8_t)replay_at(&p->drain->heap, slot)->family;
	realm = realm_of(p->drain, e.family);
	pairing_remove(realm.pairing, address);
	p->drain->counts.implied_frees += p->is_implied;
	drain_emit(p->drain, &e);
}

/* All that is in the pool at @address ends as @e says. */
static void end_members(struct drain *d, const struct realm *realm, uint64_t address,
			const struct event *e)
{
	struct pool_end p;

	if (!d->pools.live_pools || realm_is_heap(realm) ||
	    !pools_has(&d->pools, realm->layer, address))
		return;
	p = (struct pool_end){d, *e, e->free_class == FREE_IMPLIED};
	pools_end(&d->pools, realm->layer, address, end_with_pool, &p);
}

/* ---- frees that were not seen ------------------------------------------------------ */

/* The live block at @address, and with @all what is in it, was freed without our seeing it. */
static void imply_block(struct drain *d, const struct realm *realm, struct thread_id thread,
			uint8_t family, uint64_t address, bool all)
{
	struct event e = {.kind = EVENT_FREE,
			  .free_class = FREE_IMPLIED,
			  .family = family,
			  .thread = thread,
			  .t_ns = d->last_ns};
	enum pairing_found found;

	if (all)
		end_members(d, realm, address, &e);
	found = pairing_find(realm->pairing, address, &e.slot);
	if (!pairing_is_block(found))
		return;
	realm_forget(d, realm, address, e.slot);
	d->counts.implied_frees++;
	if (found == PAIRING_SMALL)
		drain_end_small(d, e.slot);
	else
		drain_emit(d, &e);
}

/* ---- blocks ------------------------------------------------------------------------ */

/* The block that comes next is of that pool, or of none: that is said where it changes. */
static void enter_pool(struct drain *d, const struct ring_head *h, uint8_t layer, uint64_t pool)
{
	struct event e = drain_event(d, h, EVENT_IN_POOL, (struct stack_id){0});

	e.address = pool;
	if (pools_enter(&d->pools, h->thread, layer, pool))
		drain_emit(d, &e);
}

static void add_block(struct drain *d, const struct ring_alloc *r, uint64_t pool)
{
	const struct ring_head *h = &r->head;
	struct realm realm = realm_of(d, h->family);
	struct event e;
	uint32_t slot;

	if (realm.kind != FAMILY_COUNTED)
		imply_block(d, &realm, (struct thread_id){h->thread}, h->family, r->address, true);
	if (realm_is_heap(&realm) && r->size < d->min_size) {
		drain_begin_small(d, h->family, r->address, r->size);
		return;
	}
	if (!realm_is_heap(&realm) && realm.kind != FAMILY_COUNTED)
		enter_pool(d, h, realm.layer, pool == r->address ? 0 : pool);
	e = drain_event(d, h, EVENT_ALLOC, drain_alloc_stack(d, h, r->stack, r->caller));
	e.address = r->address;
	e.size = r->size;
	e.usable = usable_of(&d->usable, h->family, r->size, r->size_word);
	slot = drain_emit(d, &e);
	if (slot == NO_SLOT)
		return;
	if (realm.kind == FAMILY_COUNTED)
		realm_acquire(d, &realm, r->address, slot);
	else
		pairing_put(realm.pairing, r->address, slot);
	if (pool && !realm_is_heap(&realm))
		pools_add(&d->pools, realm.layer, pool, slot, r->address);
}

/* ---- frees --------------------------------------------------------------------------- */

/* What happened can be told: no event is missing that would explain it otherwise. */
static bool saw_all(const struct drain *d)
{
	return !*d->losses_so_far && !d->counts.implied_frees && !d->counts.unfinished_reallocs;
}

/* A layer's function is given what is no block of that layer, but one of another. */
static bool is_of_other_layer(struct drain *d, const struct realm *realm, uint64_t address)
{
	uint32_t slot;

	if (realm->kind == FAMILY_COUNTED || !saw_all(d))
		return false;
	for (uint8_t layer = LAYER_HEAP; layer < PROBE_LAYERS; layer++)
		if (layer != realm->layer && realm_find_in_layer(d, layer, address, &slot) &&
		    replay_at(&d->heap, slot)->t_ns >= d->judged_from_ns)
			return true;
	return false;
}

/* A free of what is no live block. */
static enum free_class classify(struct drain *d, const struct realm *realm, const struct event *e,
				enum pairing_found found)
{
	if (realm_is_heap(realm) && call_sites_in_allocator(&d->sites, e->stack)) {
		d->counts.internal_frees++;
		return FREE_INTERNAL;
	}
	if (!realm_is_heap(realm) && is_of_other_layer(d, realm, e->address)) {
		d->counts.mismatched_frees++;
		return FREE_OF_OTHER;
	}
	if (found == PAIRING_FREED && saw_all(d)) {
		d->counts.double_frees++;
		return FREE_DOUBLE;
	}
	d->counts.unknown_frees++;
	return FREE_UNKNOWN;
}

/* Does the free at @stack not belong to the block of layer heap in @slot? */
static bool is_mismatched(struct drain *d, uint32_t slot, uint8_t family, struct stack_id stack)
{
	const struct replay_cell *b = replay_at(&d->heap, slot);
	bool are_built_in = b->family < FAMILY_USER_FIRST && family < FAMILY_USER_FIRST;

	if (*d->losses_so_far ||
	    ((b->family == family || !are_built_in) &&
	     forms_match(call_sites_form(&d->sites, b->stack),
			 call_sites_form(&d->sites, stack))))
		return false;
	call_sites_write_form(&d->sites, b->stack);
	call_sites_write_form(&d->sites, stack);
	return true;
}

/* A free of the block that @found and @place describe; @address no longer leads to it. */
static void end_block(struct drain *d, const struct realm *realm, const struct ring_head *h,
		      enum pairing_found found, uint32_t place, uint64_t address,
		      struct stack_id stack)
{
	struct event e = drain_event(d, h, EVENT_FREE, stack);

	if (found == PAIRING_SMALL) {
		drain_end_small(d, place);
		return;
	}
	if (found == PAIRING_LIVE) {
		e.slot = place;
		if (realm_is_heap(realm) && is_mismatched(d, place, h->family, stack)) {
			e.free_class = FREE_MISMATCHED;
			d->counts.mismatched_frees++;
		}
	} else {
		e.address = address;
		e.free_class = (uint8_t)classify(d, realm, &e, found);
	}
	drain_emit(d, &e);
}

/*
 * The heap's own free ends a block past the function of the layer that handed it out; so does
 * its realloc, of a layer that takes back single blocks.  Returns whether there was one.
 */
static bool end_above(struct drain *d, const struct ring_head *h, uint64_t address,
		      struct stack_id stack, bool is_resized)
{
	struct event e = drain_event(d, h, EVENT_FREE, stack);
	bool any = false;

	for (uint8_t layer = LAYER_HEAP + 1; layer < PROBE_LAYERS; layer++) {
		struct event members = e;
		struct realm realm;

		if (!realm_find_in_layer(d, layer, address, &e.slot))
			continue;
		e.family = members.family = (uint8_t)replay_at(&d->heap, e.slot)->family;
		realm = realm_of(d, e.family);
		if (is_resized && !family_takes_back(family_by_id(e.family)))
			continue; /* memory of the layer's own, that grows */
		members.free_class = FREE_WITH_POOL;
		end_members(d, &realm, address, &members);
		e.free_class = FREE_OF_BLOCK;
		if (family_frees(family_by_id(e.family)) && saw_all(d)) {
			e.free_class = FREE_MISMATCHED;
			d->counts.mismatched_frees++;
			call_sites_write_form(&d->sites, stack);
		}
		realm_forget(d, &realm, address, e.slot);
		drain_emit(d, &e);
		any = true;
	}
	return any;
}

/* RING_KINDS or more: none. */
static unsigned int kind_of(const struct ring_head *h)
{
	unsigned int kind = h->kind & ~RING_BY_STACK;

	return kind == RING_FREE || kind == RING_POOL_RESET || kind == RING_POOL_DESTROY
		       ? kind
		       : h->kind;
}

/* Who frees: whole where the stacks of frees are wanted, else the caller. */
static struct stack_id freeing_stack(struct drain *d, const struct ring_free *r)
{
	if (r->head.kind & RING_BY_STACK)
		return drain_alloc_stack(d, &r->head,
					 ((const struct ring_free_by_stack *)r)->stack, r->caller);
	return drain_caller_stack(d, &r->head, r->caller, STACK_CALLER);
}

static void free_block(struct drain *d, const struct ring_free *r)
{
	const struct ring_head *h = &r->head;
	struct realm realm = realm_of(d, h->family);
	uint32_t place = NO_SLOT;
	enum pairing_found found = pairing_find(realm.pairing, r->address, &place);
	struct stack_id stack = {0};

	if (found != PAIRING_SMALL || n_user_families)
		stack = freeing_stack(d, r);
	if (n_user_families && realm_is_heap(&realm) && end_above(d, h, r->address, stack, false) &&
	    !pairing_is_block(found))
		return;
	if (pairing_is_block(found))
		realm_forget(d, &realm, r->address, place);
	end_block(d, &realm, h, found, place, r->address, stack);
}

/* The pool is emptied, with the pools in it, and ends if it is destroyed. */
static void end_pool(struct drain *d, const struct ring_free *r)
{
	const struct ring_head *h = &r->head;
	struct realm realm = realm_of(d, h->family), blocks = realm;
	struct event e = drain_event(d, h, EVENT_FREE, freeing_stack(d, r));
	uint32_t place = NO_SLOT;
	enum pairing_found found;

	e.free_class = FREE_WITH_POOL;
	end_members(d, &realm, r->address, &e);
	if (kind_of(h) == RING_POOL_RESET)
		return;
	found = pairing_find(realm.pairing, r->address, &place);
	/* a block may be the pool of others */
	if (!pairing_is_block(found) && d->others[realm.layer][FAMILY_BLOCKS]) {
		blocks.pairing = d->others[realm.layer][FAMILY_BLOCKS];
		if (pairing_is_block(pairing_find(blocks.pairing, r->address, &place))) {
			found = PAIRING_LIVE;
			realm = blocks;
		}
	}
	if (found == PAIRING_FREED)
		return; /* with the one that it was in, whose destruction goes on to it */
	if (pairing_is_block(found))
		realm_forget(d, &realm, r->address, place);
	end_block(d, &realm, h, found, place, r->address, e.stack);
}

static struct drain_thread *thread_of(struct drain *d, uint32_t serial)
{
	if (serial >= d->n_threads) {
		ARRAY_GROW(d->threads, d->cap_threads, serial);
		d->n_threads = serial + 1;
	}
	if (!d->threads[serial])
		d->threads[serial] = xcalloc(1, sizeof(*d->threads[serial]));
	return d->threads[serial];
}

/* The end of a realloc was not seen: the old block counts as freed. */
static void drop_realloc(struct drain *d, uint32_t serial, struct drain_realloc *r)
{
	struct event e = {.kind = EVENT_FREE,
			  .free_class = FREE_IMPLIED,
			  .family = r->family,
			  .thread = {serial},
			  .t_ns = d->last_ns,
			  .slot = r->place};

	if (!r->is_under_way)
		return;
	r->is_under_way = false;
	d->counts.unfinished_reallocs++;
	if (r->found == PAIRING_SMALL)
		drain_end_small(d, r->place);
	else if (r->found == PAIRING_LIVE)
		drain_emit(d, &e);
}

static void begin_realloc(struct drain *d, const struct ring_realloc_begin *r)
{
	struct realm realm = realm_of(d, r->head.family);
	struct drain_realloc *t = &thread_of(d, r->head.thread)->reallocs[realm.layer];

	drop_realloc(d, r->head.thread, t);
	t->is_under_way = true;
	t->family = r->head.family;
	t->old_address = r->address;
	t->place = NO_SLOT;
	t->found = pairing_find(realm.pairing, r->address, &t->place);
	if (pairing_is_block(t->found))
		pairing_remove(realm.pairing, r->address);
	t->pool = realm_is_heap(&realm) ? 0 : pools_remove(&d->pools, t->place);
}

/* It is as it was. */
static void put_back(struct drain *d, const struct realm *realm, const struct drain_realloc *t)
{
	if (t->pool)
		pools_add(&d->pools, realm->layer, t->pool, t->place, t->old_address);
	if (t->found == PAIRING_SMALL)
		pairing_put_small(realm->pairing, t->old_address, t->place);
	else
		pairing_put(realm->pairing, t->old_address, t->place);
}

/* A free of the old block and an alloc of the new one, which may be none. */
static void end_realloc_in_two(struct drain *d, const struct realm *realm,
			       const struct ring_realloc_end *r, const struct drain_realloc *t,
			       struct stack_id stack)
{
	/* by its slot: the address may be another block's by now */
	end_block(d, realm, &r->head, t->found, t->place, r->old_address, stack);
	if (r->address)
		add_block(d, &(struct ring_alloc){.head = r->head,
						  .address = r->address,
						  .size = r->size,
						  .size_word = usable_word_alone(r),
						  .stack = r->stack,
						  .caller = r->caller}, t->pool);
}

static void end_realloc(struct drain *d, const struct ring_realloc_end *r)
{
	struct realm realm = realm_of(d, r->head.family);
	struct drain_realloc *t = &thread_of(d, r->head.thread)->reallocs[realm.layer];
	const struct family *family = family_by_id(r->head.family);
	bool frees = !r->address && !r->size && family && family->realloc_0_frees;
	struct thread_id thread = {r->head.thread};
	struct stack_id stack;
	struct event e;
	uint64_t old;

	if (!t->is_under_way || t->old_address != r->old_address) {
		/* its beginning was lost */
		begin_realloc(d, &(struct ring_realloc_begin){.head = r->head,
							      .address = r->old_address});
		t = &thread_of(d, r->head.thread)->reallocs[realm.layer];
	}
	t->is_under_way = false;
	if (!r->address && !frees) { /* it failed */
		if (pairing_is_block(t->found)) {
			imply_block(d, &realm, thread, r->head.family, r->old_address, false);
			put_back(d, &realm, t);
		}
		return;
	}
	if (r->address)
		imply_block(d, &realm, thread, r->head.family, r->address,
			    r->address != r->old_address);
	stack = drain_alloc_stack(d, &r->head, r->stack, r->caller);
	if (n_user_families && realm_is_heap(&realm))
		end_above(d, &r->head, r->old_address, stack, true);
	if (t->found != PAIRING_LIVE || frees ||
	    (realm_is_heap(&realm) &&
	     (r->size < d->min_size || is_mismatched(d, t->place, r->head.family, stack)))) {
		end_realloc_in_two(d, &realm, r, t, stack);
		return;
	}
	e = drain_event(d, &r->head, EVENT_REALLOC, stack);
	e.address = r->address;
	e.size = r->size;
	old = replay_block_in(&d->heap, t->place).usable;
	e.usable = usable_of_resized(&d->usable, r, old);
	e.slot = t->place;
	pairing_put(realm.pairing, r->address, t->place);
	if (!realm_is_heap(&realm))
		pools_move(&d->pools, realm.layer, r->old_address, r->address);
	if (t->pool)
		pools_add(&d->pools, realm.layer, t->pool, t->place, r->address);
	drain_emit(d, &e);
}

/* ---- threads and the process ------------------------------------------------------- */

static void put_thread(struct drain *d, uint32_t serial)
{
	const struct drain_thread *t = d->threads[serial];

	store_writer_put_thread(d->writer, &(struct thread_record){
		.id = {serial},
		.process = 1,
		.tid = t->tid,
		.name = t->name,
		.start_ns = t->start_ns,
		.end_ns = t->end_ns,
	});
}

static void set_name(struct drain_thread *t, const char *name, size_t max)
{
	char text[RING_NAME_BYTES + 1] = "";

	memcpy(text, name, strnlen(name, max < RING_NAME_BYTES ? max : RING_NAME_BYTES));
	format_safe(t->name, sizeof(t->name), text);
}

/* The thread has ended: what it was reallocating did not happen, as far as can be told. */
static void end_reallocs(struct drain *d, uint32_t serial, struct drain_thread *t)
{
	for (int i = 0; i < PROBE_LAYERS; i++) {
		struct drain_realloc *r = &t->reallocs[i];
		struct realm realm = realm_of(d, r->family);

		if (r->is_under_way && pairing_is_block(r->found) &&
		    !pairing_is_block(pairing_find(realm.pairing, r->old_address, NULL))) {
			put_back(d, &realm, r);
			r->is_under_way = false;
		}
		drop_realloc(d, serial, r);
	}
}

static void note_thread(struct drain *d, const struct ring_thread *r)
{
	struct drain_thread *t = thread_of(d, r->head.thread);

	set_name(t, r->name, sizeof(r->name));
	t->tid = (int)r->tid;
	t->pid = (int)r->pid;
	t->is_known = true;
	if (r->head.kind == RING_THREAD_EXIT) {
		end_reallocs(d, r->head.thread, t);
		t->end_ns = d->last_ns;
	} else {
		t->start_ns = r->start_ns;
	}
	put_thread(d, r->head.thread);
	if (t->end_ns) {
		d->threads[r->head.thread] = NULL;
		free(t);
	}
}

static void note_exec(struct drain *d)
{
	for (uint32_t i = 0; i < d->n_threads; i++)
		if (d->threads[i])
			memset(d->threads[i]->reallocs, 0, sizeof(d->threads[i]->reallocs));
	if (d->space.id.v)
		drain_end_space(d, "exec", d->last_ns);
	drain_begin_space(d, NULL, d->last_ns);
	if (d->on_exec)
		d->on_exec(d->on_arg);
}

void drain_code_changed(struct drain *d)
{
	call_sites_maps_changed(&d->sites);
	drain_forget_old_stacks(d);
}

static bool is_stack(const struct ring_stack *r, size_t len)
{
	return r->n && r->n <= RING_FRAMES_MAX && len >= RING_STACK_BYTES(r->n) &&
	       r->end < STACK_ENDS;
}

void drain_feed(struct drain *d, const struct ring_head *h, size_t len)
{
	static const size_t lengths[RING_KINDS] = {
		[RING_ALLOC] = sizeof(struct ring_alloc),
		[RING_FREE] = sizeof(struct ring_free),
		[RING_REALLOC_BEGIN] = sizeof(struct ring_realloc_begin),
		[RING_REALLOC_END] = sizeof(struct ring_realloc_end),
		[RING_THREAD] = sizeof(struct ring_thread),
		[RING_THREAD_EXIT] = sizeof(struct ring_thread),
		[RING_EXEC] = sizeof(struct ring_mark),
		[RING_MAPS] = sizeof(struct ring_mark),
		[RING_STACK] = RING_STACK_BYTES(1),
		[RING_POOL_ALLOC] = sizeof(struct ring_pool_alloc),
		[RING_POOL_RESET] = sizeof(struct ring_free),
		[RING_POOL_DESTROY] = sizeof(struct ring_free),
		[RING_MAPPING] = sizeof(struct ring_mapping),
	};
	const struct ring_free *f = (const void *)h;
	unsigned int kind = len < sizeof(*h) ? RING_KINDS : kind_of(h);

	if (kind >= RING_KINDS || len < lengths[kind] || h->thread >= THREADS_MAX ||
	    (kind != h->kind && len < sizeof(struct ring_free_by_stack)) ||
	    (kind == RING_STACK && !is_stack((const void *)h, len))) {
		d->counts.malformed++;
		return;
	}
	if (h->t_ns > d->last_ns)
		d->last_ns = h->t_ns;
	d->generation = h->generation;
	switch ((enum ring_kind)kind) {
	case RING_ALLOC:
		add_block(d, (const void *)h, 0);
		break;
	case RING_POOL_ALLOC:
		add_block(d, (const void *)h, ((const struct ring_pool_alloc *)h)->pool);
		break;
	case RING_POOL_RESET:
	case RING_POOL_DESTROY:
		end_pool(d, f);
		break;
	case RING_FREE:
		free_block(d, f);
		break;
	case RING_REALLOC_BEGIN:
		begin_realloc(d, (const void *)h);
		break;
	case RING_REALLOC_END:
		end_realloc(d, (const void *)h);
		break;
	case RING_THREAD:
	case RING_THREAD_EXIT:
		note_thread(d, (const void *)h);
		break;
	case RING_EXEC:
		note_exec(d);
		break;
	case RING_MAPS:
		drain_code_changed(d);
		if (d->on_maps)
			d->on_maps(d->on_arg);
		break;
	case RING_MAPPING:
		drain_note_mapping(d, (const void *)h);
		break;
	case RING_STACK:
		drain_note_stack(d, (const void *)h);
		break;
	case RING_KINDS:
		break;
	}
}

/* ---- the end ----------------------------------------------------------------------- */

static void ask_for_name(struct drain_thread *t)
{
	char path[64], name[RING_NAME_BYTES + 1] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", t->pid, t->tid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(name, sizeof(name), f)) {
		name[strcspn(name, "\n")] = '\0';
		set_name(t, name, sizeof(name));
	}
	fclose(f);
}

void drain_finish(struct drain *d)
{
	for (uint32_t i = 1; i < d->n_threads; i++) {
		if (!d->threads[i] || !d->threads[i]->is_known)
			continue;
		ask_for_name(d->threads[i]);
		put_thread(d, i);
	}
	drain_write_counts(d);
	drain_write_slow(d);
	d->small_is_written = false; /* what was put may have been lost with the disk's last room */
	drain_write_small(d);
}
