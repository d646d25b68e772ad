/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/growth_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/growth_noting.h"
#include "analyzer/walk.h"
#include "common/xalloc.h"
#include "store/chunk.h"
#include "store/slots.h"

/* A live block, or a free slot. */
struct cell {
	uint64_t made_ns, size;
	uint32_t what; /* one of these, or its stack's number + CELL_COUNTS */
};
enum { CELL_FREE, CELL_OTHER, CELL_COUNTS };

/* What a call of a chunk does. */
struct action {
	uint32_t number; /* + CELL_COUNTS, of its stack; 0: not looked up */
	enum action_kind { ACTION_NONE, ACTION_MAKE, ACTION_END, ACTION_BOTH } kind : 8;
	bool counts; /* its family's blocks do */
};

/* How far the chunks have been read. */
struct place {
	uint64_t chunk;	 /* the last, 0: none */
	uint32_t events; /* that it had … */
	uint32_t taken;	 /* … of which so many were taken */
	bool is_final;	 /* it does not grow any more */
};

struct growth_scan {
	struct growth_windows *windows;
	uint64_t since_ns, families;
	struct space_id space;
	struct slots slots;
	struct cell *cells; /* [slot] */
	size_t cap_cells;
	uint64_t ordinal; /* events so far */
	struct place place;
	struct chunk_brief brief; /* for growth_scan_step() */
	uint64_t last_ns;	  /* of what it was fed */
	struct action actions[CHUNK_EVENTS_MAX]; /* of the chunk that is fed */
	uint32_t recent[CHUNK_EVENTS_MAX];	 /* [event of the chunk] the slot of its block */
};

/* ---- blocks ------------------------------------------------------------------------------- */

static void take_heap(struct growth_scan *s, const struct replay *heap)
{
	struct replay_block b;
	size_t at = 0;

	s->space = heap->space;
	s->ordinal = heap->ordinal;
	s->slots.next = heap->slots.next;
	for (size_t i = 0; i < heap->slots.n_freed; i++)
		slots_give(&s->slots, heap->slots.freed[i]);
	if (heap->slots.next)
		ARRAY_GROW(s->cells, s->cap_cells, heap->slots.next - 1);
	while (replay_next_live(heap, &at, &b)) {
		bool counts = b.t_ns >= s->since_ns && s->families >> b.family % 64 & 1;

		s->cells[at - 1] = (struct cell){
			b.t_ns, b.size,
			counts ? growth_noting_number(s->windows, b.stack) + CELL_COUNTS
			       : CELL_OTHER};
	}
}

struct growth_scan *growth_scan_new(struct growth_windows *g, uint64_t since_ns,
				    uint64_t families, const struct replay *heap, uint64_t chunk)
{
	struct growth_scan *s = xcalloc(1, sizeof(*s));

	s->windows = g;
	s->since_ns = since_ns;
	s->families = families;
	s->place = (struct place){.chunk = chunk, .is_final = true};
	take_heap(s, heap);
	return s;
}

void growth_scan_free(struct growth_scan *s)
{
	if (!s)
		return;
	chunk_brief_release(&s->brief);
	slots_release(&s->slots);
	free(s->cells);
	free(s);
}

static void begin_space(struct growth_scan *s, struct space_id space)
{
	for (uint32_t i = 0; i < s->slots.next; i++)
		s->cells[i].what = CELL_FREE;
	slots_reset(&s->slots);
	s->space = space;
	growth_windows_begin_space(s->windows);
}

void growth_scan_end(struct growth_scan *s, struct space_id space)
{
	if (space.v > s->space.v)
		begin_space(s, space);
}

/* ---- events ------------------------------------------------------------------------------- */

static void set_actions(struct growth_scan *s, const struct chunk_brief *b)
{
	for (uint32_t i = 0; i < b->n_calls; i++) {
		const struct chunk_call *c = &b->calls[i];
		const struct event e = {.kind = c->kind, .free_class = c->free_class};

		s->actions[i] = (struct action){
			.kind = event_makes(&e) ? event_frees(&e) ? ACTION_BOTH : ACTION_MAKE
				: event_frees(&e) ? ACTION_END : ACTION_NONE,
			.counts = s->families >> c->family % 64 & 1};
	}
}

/* So many events ahead: about as long as memory takes. */
#define AHEAD 16

static inline void expect_block(const struct growth_scan *s, const struct chunk_step *e)
{
	/* only of what ends a block it is said which */
	if (s->actions[e->call].kind >= ACTION_END && !e->is_recent && e->block < s->slots.next)
		__builtin_prefetch(&s->cells[e->block], 1);
}

/* The block that event number @i ends, now free; NULL: it is none. */
static inline struct cell *end_block(struct growth_scan *s, const struct chunk_step *e,
				     uint32_t i, uint32_t *ret_slot)
{
	uint32_t slot = e->is_recent ? s->recent[i - e->block] : e->block;
	struct cell *c = &s->cells[slot];

	if (slot >= s->slots.next || c->what == CELL_FREE)
		return NULL;
	*ret_slot = slot;
	if (c->what >= CELL_COUNTS)
		growth_noting_end(s->windows, c->what - CELL_COUNTS, c->size, c->made_ns, e->t_ns,
				  s->actions[e->call].kind == ACTION_BOTH);
	return c;
}

/* @old: the block that it was before, or one of no size. */
static inline void make_block(struct growth_scan *s, const struct chunk_brief *b, uint32_t i,
			      uint32_t slot, const struct cell *old)
{
	const struct chunk_step *e = &b->steps[i];
	struct action *a = &s->actions[e->call];
	struct cell *c = &s->cells[slot];

	s->recent[i] = slot;
	c->size = e->size;
	c->made_ns = e->t_ns;
	c->what = CELL_OTHER;
	/* a piece is as old as the mapping that it was a part of */
	if (b->births && b->calls[e->call].kind == EVENT_PIECE && b->births[i] < e->t_ns)
		c->made_ns = b->births[i];
	if (!a->counts || c->made_ns < s->since_ns)
		return;
	if (!a->number)
		a->number = growth_noting_number(s->windows, b->calls[e->call].stack) + CELL_COUNTS;
	c->what = a->number;
	growth_noting_make(s->windows, a->number - CELL_COUNTS, e->size, old->size, old->made_ns);
}

static int contradiction(const struct growth_scan *s, struct err *err)
{
	err_set(err, ERR_RECORDING, 0,
		"event %" PRIu64 " of the recording contradicts those before it: it frees a block "
		"that is not live", s->ordinal);
	return -EBADMSG;
}

static inline bool feed(struct growth_scan *s, const struct chunk_brief *b, uint32_t i)
{
	static const struct cell none;
	const struct chunk_step *e = &b->steps[i];
	struct cell *c, old = none;
	uint32_t slot;

	growth_noting_advance(s->windows, e->t_ns);
	switch (s->actions[e->call].kind) {
	case ACTION_NONE:
		return true;
	case ACTION_MAKE:
		slot = s->slots.n_freed ? s->slots.freed[--s->slots.n_freed] : s->slots.next++;
		ARRAY_GROW(s->cells, s->cap_cells, slot);
		make_block(s, b, i, slot, &none);
		return true;
	case ACTION_END:
		c = end_block(s, e, i, &slot);
		if (!c)
			return false;
		c->what = CELL_FREE;
		slots_give(&s->slots, slot);
		return true;
	case ACTION_BOTH:
		c = end_block(s, e, i, &slot);
		if (!c)
			return false;
		if (c->what >= CELL_COUNTS)
			old = *c;
		make_block(s, b, i, slot, &old);
		return true;
	}
	return true;
}

static int feed_all(struct growth_scan *s, struct space_id space, const struct chunk_brief *b,
		    uint32_t from, uint32_t to, struct err *err)
{
	if (space.v != s->space.v)
		begin_space(s, space);
	set_actions(s, b);
	for (uint32_t i = from; i < to; i++) {
		if (i + AHEAD < to)
			expect_block(s, &b->steps[i + AHEAD]);
		s->ordinal++;
		if (!feed(s, b, i))
			return contradiction(s, err);
	}
	s->last_ns = b->steps[to - 1].t_ns;
	return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* A chunk, or why there is none. */
struct reading {
	struct chunk_brief brief;
	struct chunk_info info;
	uint32_t from; /* the first event that is new */
	int result;    /* as of store_reader_next_brief() */
	struct err err;
};

static int read_after(struct store_reader *reader, uint64_t chunk, struct reading *to)
{
	return to->result = store_reader_next_brief(reader, chunk, &to->info, &to->brief,
						    &to->err);
}

/*
 * The next events: of the chunk that is at @p, if it has more of them, or of the one behind it.
 * While it is the last it may grow; when there is another it does so no more.
 */
static void read_next(struct store_reader *reader, const struct place *p, struct reading *to)
{
	bool has_more = p->taken < p->events;
	bool is_last = !has_more && !read_after(reader, p->chunk, to);

	to->from = 0;
	if (!has_more && (p->is_final || to->result < 0))
		return;
	to->from = p->taken;
	if (read_after(reader, p->chunk - 1, to) != 1 || to->info.events > p->taken)
		return;
	to->from = 0;
	to->result = 0;
	if (!is_last)
		read_after(reader, p->chunk, to);
}

static void move_to(struct place *p, const struct store_reader *reader, const struct reading *r,
		    uint32_t taken)
{
	*p = (struct place){.chunk = r->info.id,
			    .events = r->info.events,
			    .taken = taken,
			    .is_final = store_reader_is_sealed(reader) ||
					r->info.events == CHUNK_EVENTS_MAX};
}

/* 1 if the window may go on behind them. */
static int take(struct growth_scan *s, const struct reading *r, const struct analysis_window *w,
		uint32_t *ret_taken, struct err *err)
{
	uint32_t n = walk_events_until(&r->brief.steps->t_ns, sizeof(*r->brief.steps),
				       r->info.events, w, s->ordinal - r->from);
	int result = 0;

	*ret_taken = n > r->from ? n : r->from;
	if (n > r->from)
		result = feed_all(s, r->info.space, &r->brief, r->from, n, err);
	return result ? result : n == r->info.events;
}

int growth_scan_step(struct growth_scan *s, struct store_reader *reader,
		     const struct analysis_window *w, struct err *err)
{
	struct reading r = {.brief = s->brief};
	uint32_t taken;
	int result;

	read_next(reader, &s->place, &r);
	s->brief = r.brief;
	if (r.result != 1) {
		*err = r.result ? r.err : *err;
		return r.result;
	}
	result = take(s, &r, w, &taken, err);
	move_to(&s->place, reader, &r, taken);
	return result;
}

uint64_t growth_scan_events(const struct growth_scan *s)
{
	return s->ordinal;
}

uint64_t growth_scan_last_ns(const struct growth_scan *s)
{
	return s->last_ns;
}

void growth_scan_look_again(struct growth_scan *s)
{
	s->place.is_final = !s->place.events;
}

/* ---- reading ahead -------------------------------------------------------------------------- */

/* Two chunks: one is read while the other is fed. */
struct ahead {
	struct store_reader *reader;
	struct place place; /* behind what was read */
	struct reading readings[2];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t read, fed; /* how many were: no more than two lie between */
	bool is_over;	  /* no more are wanted */
	bool has_thread;
	pthread_t thread;
};

static void read_one(struct ahead *a, struct reading *to)
{
	read_next(a->reader, &a->place, to);
	if (to->result == 1)
		move_to(&a->place, a->reader, to, to->info.events);
}

static void *read_ahead(void *arg)
{
	struct ahead *a = arg;
	bool goes_on = true;

	pthread_mutex_lock(&a->lock);
	while (goes_on) {
		struct reading *to = &a->readings[a->read % 2];

		while (!a->is_over && a->read == a->fed + 2)
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->is_over)
			break;
		pthread_mutex_unlock(&a->lock);
		read_one(a, to);
		pthread_mutex_lock(&a->lock);
		goes_on = to->result == 1;
		a->read++;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* Where there is no thread to be had it is read when it is needed. */
static struct ahead *begin_reading(const struct growth_scan *s, struct store_reader *reader)
{
	struct ahead *a = xcalloc(1, sizeof(*a));
	sigset_t all, before;

	a->reader = reader;
	a->place = s->place;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	sigfillset(&all); /* they are the program's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	a->has_thread = !pthread_create(&a->thread, NULL, read_ahead, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return a;
}

static struct reading *next_reading(struct ahead *a)
{
	struct reading *r = &a->readings[a->fed % 2];

	if (!a->has_thread) {
		read_one(a, r);
		return r;
	}
	pthread_mutex_lock(&a->lock);
	while (a->read == a->fed)
		pthread_cond_wait(&a->changed, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return r;
}

/* What next_reading() gave is not needed any more. */
static void end_reading(struct ahead *a)
{
	pthread_mutex_lock(&a->lock);
	a->fed++;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

static void stop_reading(struct ahead *a)
{
	if (a->has_thread) {
		pthread_mutex_lock(&a->lock);
		a->is_over = true;
		pthread_cond_broadcast(&a->changed);
		pthread_mutex_unlock(&a->lock);
		pthread_join(a->thread, NULL);
	}
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	for (size_t i = 0; i < COUNT_OF(a->readings); i++)
		chunk_brief_release(&a->readings[i].brief);
	free(a);
}

int growth_scan_read(struct growth_scan *s, struct store_reader *reader,
		     const struct analysis_window *w, analysis_progress *progress,
		     struct err *err)
{
	struct ahead *a = begin_reading(s, reader);
	int result;

	do {
		struct reading *r = next_reading(a);
		uint32_t taken;

		result = r->result;
		if (result < 0)
			*err = r->err;
		if (result == 1) {
			result = take(s, r, w, &taken, err);
			end_reading(a);
		}
		if (progress)
			progress(s->ordinal);
	} while (result == 1);
	stop_reading(a);
	return result;
}
