/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/family.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/loss.h"

#define TIMELINE_FIRST_WIDTH_NS 1000000ull

/* So many stacks are remembered before those of code that may be gone are forgotten. */
#define STACKS_KEPT 8192

/* A serial number beyond this is no thread's: the raw event is damaged. */
#define THREADS_MAX (1u << 24)

void drain_init(struct drain *d, struct store_writer *writer, pid_t pid)
{
	memset(d, 0, sizeof(*d));
	d->writer = writer;
	d->pid = pid;
	d->timeline_width_ns = TIMELINE_FIRST_WIDTH_NS;
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

void drain_end_events(struct drain *d)
{
	struct drain_observer o = d->observer;

	d->observer = (struct drain_observer){0};
	pairing_release(&d->pairing);
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

/* ---- the timeline ------------------------------------------------------------------ */

static void timeline_double(struct drain *d)
{
	for (size_t i = 0; i < TIMELINE_BUCKETS / 2; i++) {
		const struct timeline_bucket *a = &d->timeline[2 * i], *b = a + 1;
		bool has_b = 2 * i + 1 < d->timeline_used;

		d->timeline[i] = (struct timeline_bucket){
			.allocs = a->allocs + b->allocs,
			.frees = a->frees + b->frees,
			.allocated_bytes = a->allocated_bytes + b->allocated_bytes,
			.live_bytes = has_b ? b->live_bytes : a->live_bytes,
			.max_live_bytes = a->max_live_bytes > b->max_live_bytes ? a->max_live_bytes
										: b->max_live_bytes,
		};
	}
	memset(&d->timeline[TIMELINE_BUCKETS / 2], 0, sizeof(d->timeline) / 2);
	d->timeline_used = (d->timeline_used + 1) / 2;
	d->timeline_width_ns *= 2;
}

/* The last bucket is to be that of @t_ns; @live: what was live until then. */
static void timeline_extend(struct drain *d, uint64_t t_ns, uint64_t live)
{
	size_t i;

	if (!d->timeline_start_ns)
		d->timeline_start_ns = t_ns;
	while ((t_ns - d->timeline_start_ns) / d->timeline_width_ns >= TIMELINE_BUCKETS)
		timeline_double(d);
	i = (t_ns - d->timeline_start_ns) / d->timeline_width_ns;
	for (; d->timeline_used <= i; d->timeline_used++)
		d->timeline[d->timeline_used].live_bytes =
			d->timeline[d->timeline_used].max_live_bytes = live;
	d->timeline_until_ns =
		d->timeline_start_ns + d->timeline_used * d->timeline_width_ns;
}

/* @before: what was live before the event. */
static void timeline_add(struct drain *d, const struct event *e, uint64_t before)
{
	uint64_t live = d->heap.live_bytes;
	struct timeline_bucket *b;

	if (e->t_ns >= d->timeline_until_ns)
		timeline_extend(d, e->t_ns, before);
	b = &d->timeline[d->timeline_used - 1];
	if (event_allocates(e)) {
		b->allocs++;
		b->allocated_bytes += e->size;
	}
	b->frees += event_frees(e);
	b->live_bytes = live;
	if (live > b->max_live_bytes)
		b->max_live_bytes = live;
}

void drain_write_slow(struct drain *d)
{
	store_writer_put_timeline(d->writer, d->timeline, d->timeline_used, d->timeline_start_ns,
				  d->timeline_width_ns);
}

/* ---- events ------------------------------------------------------------------------ */

/* Its slot is found; NO_SLOT where there is no such event. */
static uint32_t emit(struct drain *d, struct event *e)
{
	const struct drain_observer *o = &d->observer;
	uint64_t before = d->heap.live_bytes, chunk;
	struct replay_step step;

	if (replay_feed(&d->heap, e, &step, NULL) < 0) {
		d->counts.malformed++;
		return NO_SLOT;
	}
	if (step.made)
		e->slot = step.slot;
	d->counts.events++;
	d->counts.alloc_calls += event_allocates(e);
	d->counts.free_calls += event_frees(e);
	timeline_add(d, e, before);
	if (o->step)
		o->step(o->arg, d->space.id, e, &step);
	chunk = store_writer_put_event(d->writer, d->space.id, e);
	if (chunk && o->chunk)
		o->chunk(o->arg, d->writer, chunk, &d->heap);
	return e->slot;
}

/* ---- small blocks ------------------------------------------------------------------ */

static bool is_block(enum pairing_found found)
{
	return found == PAIRING_LIVE || found == PAIRING_SMALL;
}

static void begin_small(struct drain *d, uint64_t address, uint64_t size)
{
	pairing_put_small(&d->pairing, address, size);
	d->small.alloc_calls++;
	d->small.allocated_bytes += size;
	d->small.live_blocks++;
	d->small.live_bytes += size;
	d->small_is_written = false;
}

/* Its address no longer leads to it. */
static void end_small(struct drain *d, uint64_t size)
{
	d->small.free_calls++;
	d->small.live_blocks--;
	d->small.live_bytes -= size;
	d->small_is_written = false;
}

void drain_write_small(struct drain *d)
{
	const struct drain_small *s = &d->small;
	const struct {
		const char *key;
		uint64_t n;
	} facts[] = {
		{"small_alloc_calls", s->alloc_calls},
		{"small_free_calls", s->free_calls},
		{"small_allocated_bytes", s->allocated_bytes},
		{"small_live_blocks", s->live_blocks},
		{"small_live_bytes", s->live_bytes},
	};

	if (!d->min_size || d->small_is_written)
		return;
	for (size_t i = 0; i < COUNT_OF(facts); i++)
		store_writer_put_number(d->writer, facts[i].key, (int64_t)facts[i].n);
	d->small_is_written = true;
}

/* ---- frees that were not seen ------------------------------------------------------ */

/* The live block at @address was freed without our seeing it. */
static void imply_free(struct drain *d, struct thread_id thread, uint8_t family, uint64_t address)
{
	struct event e = {.kind = EVENT_FREE,
			  .free_class = FREE_IMPLIED,
			  .family = family,
			  .thread = thread,
			  .t_ns = d->last_ns};
	enum pairing_found found = pairing_find(&d->pairing, address, &e.slot);

	if (!is_block(found))
		return;
	pairing_remove(&d->pairing, address);
	d->counts.implied_frees++;
	if (found == PAIRING_SMALL)
		end_small(d, e.slot);
	else
		emit(d, &e);
}

/* ---- stacks ------------------------------------------------------------------------ */

static void note_stack(struct drain *d, const struct ring_stack *r)
{
	uint32_t *stack = hashmap_put(&d->stacks, r->id);

	if (*stack != HASHMAP_NONE)
		return; /* sent by two threads, or again */
	*stack = call_sites_stack(&d->sites, r->frames, r->n, r->head.generation,
				  (enum stack_end)r->end, d->last_ns).v;
	d->counts.guessed_frames += r->guesses;
}

/* With another generation ids are others: those from before are of calls under way only. */
static void forget_old_stacks(struct drain *d)
{
	if (d->stacks.n < STACKS_KEPT || d->generation == d->forgot_generation)
		return;
	d->forgot_generation = d->generation;
	hashmap_release(&d->older_stacks);
	d->older_stacks = d->stacks;
	d->stacks = (struct hashmap){0};
}

static struct stack_id caller_stack(struct drain *d, const struct ring_head *h, uint64_t caller,
				    enum stack_end end)
{
	if (end == STACK_CALLER)
		return call_sites_caller(&d->sites, caller, h->generation, d->last_ns);
	return call_sites_stack(&d->sites, &caller, 1, h->generation, end, d->last_ns);
}

static enum stack_end why_no_stack(uint64_t id)
{
	uint64_t end = RING_NO_STACK_END(id);

	return end == STACK_COMPLETE || end >= STACK_ENDS ? STACK_LOST : (enum stack_end)end;
}

static struct stack_id stack_of_alloc(struct drain *d, const struct ring_head *h, uint64_t id,
				      uint64_t caller)
{
	uint32_t stack = HASHMAP_NONE;

	switch (d->stack_mode) {
	case STACK_MODE_NONE:
		return (struct stack_id){0};
	case STACK_MODE_CALLER:
		return caller_stack(d, h, caller, STACK_CALLER);
	case STACK_MODE_AUTO:
	case STACK_MODE_FP:
		break;
	}
	if (!RING_IS_STACK(id))
		return caller_stack(d, h, caller, why_no_stack(id));
	stack = hashmap_get(&d->stacks, id);
	if (stack == HASHMAP_NONE)
		stack = hashmap_get(&d->older_stacks, id);
	return stack == HASHMAP_NONE ? caller_stack(d, h, caller, STACK_LOST)
				     : (struct stack_id){stack};
}

static struct event make_event(struct drain *d, const struct ring_head *h, enum event_kind kind,
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

/* ---- blocks ------------------------------------------------------------------------ */

static void add_block(struct drain *d, const struct ring_alloc *r)
{
	const struct ring_head *h = &r->head;
	struct event e;
	uint32_t slot;

	imply_free(d, (struct thread_id){h->thread}, h->family, r->address);
	if (r->size < d->min_size) {
		begin_small(d, r->address, r->size);
		return;
	}
	e = make_event(d, h, EVENT_ALLOC, stack_of_alloc(d, h, r->stack, r->caller));
	e.address = r->address;
	e.size = r->size;
	e.usable = family_usable(family_by_id(h->family), r->size, r->size_word);
	slot = emit(d, &e);
	if (slot != NO_SLOT)
		pairing_put(&d->pairing, r->address, slot);
}

/* A free of what is no live block. */
static enum free_class classify(struct drain *d, const struct event *e, enum pairing_found found)
{
	if (call_sites_in_allocator(&d->sites, e->stack)) {
		d->counts.internal_frees++;
		return FREE_INTERNAL;
	}
	if (found == PAIRING_FREED && !*d->losses_so_far && !d->counts.implied_frees &&
	    !d->counts.unfinished_reallocs) {
		d->counts.double_frees++;
		return FREE_DOUBLE;
	}
	d->counts.unknown_frees++;
	return FREE_UNKNOWN;
}

/* A free of the block that @found and @place describe; @address no longer leads to it. */
static void end_block(struct drain *d, const struct ring_head *h, enum pairing_found found,
		      uint32_t place, uint64_t address, uint64_t caller)
{
	struct event e;

	if (found == PAIRING_SMALL) {
		end_small(d, place);
		return;
	}
	e = make_event(d, h, EVENT_FREE, caller_stack(d, h, caller, STACK_CALLER));
	if (found == PAIRING_LIVE) {
		e.slot = place;
	} else {
		e.address = address;
		e.free_class = (uint8_t)classify(d, &e, found);
	}
	emit(d, &e);
}

static void free_block(struct drain *d, const struct ring_head *h, uint64_t address,
		       uint64_t caller)
{
	uint32_t place = NO_SLOT;
	enum pairing_found found = pairing_find(&d->pairing, address, &place);

	if (is_block(found))
		pairing_remove(&d->pairing, address);
	end_block(d, h, found, place, address, caller);
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
static void drop_realloc(struct drain *d, uint32_t serial)
{
	struct drain_thread *t = thread_of(d, serial);
	struct event e = {.kind = EVENT_FREE,
			  .free_class = FREE_IMPLIED,
			  .thread = {serial},
			  .t_ns = d->last_ns,
			  .slot = t->place};

	if (!t->is_reallocating)
		return;
	t->is_reallocating = false;
	d->counts.unfinished_reallocs++;
	if (t->found == PAIRING_SMALL)
		end_small(d, t->place);
	else if (t->found == PAIRING_LIVE)
		emit(d, &e);
}

static void begin_realloc(struct drain *d, const struct ring_realloc_begin *r)
{
	struct drain_thread *t = thread_of(d, r->head.thread);

	drop_realloc(d, r->head.thread);
	t->is_reallocating = true;
	t->old_address = r->address;
	t->place = NO_SLOT;
	t->found = pairing_find(&d->pairing, r->address, &t->place);
	if (is_block(t->found))
		pairing_remove(&d->pairing, r->address);
}

/* It is as it was. */
static void put_back(struct drain *d, const struct drain_thread *t)
{
	if (t->found == PAIRING_SMALL)
		pairing_put_small(&d->pairing, t->old_address, t->place);
	else
		pairing_put(&d->pairing, t->old_address, t->place);
}

static void end_realloc(struct drain *d, const struct ring_realloc_end *r)
{
	struct drain_thread *t = thread_of(d, r->head.thread);
	const struct family *family = family_by_id(r->head.family);
	bool frees = !r->address && !r->size && family && family->realloc_0_frees;
	struct thread_id thread = {r->head.thread};
	struct event e;

	if (!t->is_reallocating || t->old_address != r->old_address) {
		/* its beginning was lost */
		begin_realloc(d, &(struct ring_realloc_begin){.head = r->head,
							      .address = r->old_address});
		t = thread_of(d, r->head.thread);
	}
	t->is_reallocating = false;
	if (!r->address && !frees) { /* it failed */
		if (is_block(t->found)) {
			imply_free(d, thread, r->head.family, r->old_address);
			put_back(d, t);
		}
		return;
	}
	if (r->address)
		imply_free(d, thread, r->head.family, r->address);
	if (t->found != PAIRING_LIVE || frees || r->size < d->min_size) {
		/* by its slot: the address may be another block's by now */
		end_block(d, &r->head, t->found, t->place, r->old_address, r->caller);
		if (r->address)
			add_block(d, &(struct ring_alloc){.head = r->head,
							  .address = r->address,
							  .size = r->size,
							  .size_word = r->size_word,
							  .stack = r->stack,
							  .caller = r->caller});
		return;
	}
	e = make_event(d, &r->head, EVENT_REALLOC,
		       stack_of_alloc(d, &r->head, r->stack, r->caller));
	e.address = r->address;
	e.size = r->size;
	e.usable = family_usable(family, r->size, r->size_word);
	e.slot = t->place;
	pairing_put(&d->pairing, r->address, t->place);
	emit(d, &e);
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

static void note_thread(struct drain *d, const struct ring_thread *r)
{
	struct drain_thread *t = thread_of(d, r->head.thread);

	set_name(t, r->name, sizeof(r->name));
	t->tid = (int)r->tid;
	t->pid = (int)r->pid;
	t->is_known = true;
	if (r->head.kind == RING_THREAD_EXIT) {
		/* what it was reallocating did not happen, as far as can be told */
		if (t->is_reallocating && is_block(t->found) &&
		    !is_block(pairing_find(&d->pairing, t->old_address, NULL))) {
			put_back(d, t);
			t->is_reallocating = false;
		}
		drop_realloc(d, r->head.thread);
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
			d->threads[i]->is_reallocating = false;
	if (d->space.id.v)
		drain_end_space(d, "exec", d->last_ns);
	drain_begin_space(d, NULL, d->last_ns);
	if (d->on_exec)
		d->on_exec(d->on_arg);
}

void drain_code_changed(struct drain *d)
{
	call_sites_maps_changed(&d->sites);
	forget_old_stacks(d);
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
	};
	const struct ring_free *f = (const void *)h;

	if (len < sizeof(*h) || h->kind >= RING_KINDS || len < lengths[h->kind] ||
	    h->thread >= THREADS_MAX ||
	    (h->kind == RING_STACK && !is_stack((const void *)h, len))) {
		d->counts.malformed++;
		return;
	}
	if (h->t_ns > d->last_ns)
		d->last_ns = h->t_ns;
	d->generation = h->generation;
	switch ((enum ring_kind)h->kind) {
	case RING_ALLOC:
		add_block(d, (const void *)h);
		break;
	case RING_FREE:
		free_block(d, h, f->address, f->caller);
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
	case RING_STACK:
		note_stack(d, (const void *)h);
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

void drain_write_counts(struct drain *d)
{
	const struct drain_counts *c = &d->counts;
	const struct {
		enum loss kind;
		uint64_t count;
	} losses[] = {
		{LOSS_IMPLIED_FREES, c->implied_frees},
		{LOSS_UNKNOWN_FREES, c->unknown_frees},
		{LOSS_INTERNAL_FREES, c->internal_frees},
		{LOSS_DOUBLE_FREES, c->double_frees},
		{LOSS_UNFINISHED_REALLOCS, c->unfinished_reallocs},
		{LOSS_MALFORMED_EVENTS, c->malformed},
		{LOSS_GUESSED_FRAMES, c->guessed_frames},
	};

	for (size_t i = 0; i < COUNT_OF(losses); i++)
		store_writer_put_loss(d->writer, loss_kinds[losses[i].kind].name, losses[i].count);
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
