/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/checkpoint.h"
#include "analyzer/growth_scan.h"
#include "analyzer/walk.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/loss.h"

/* One pass over the events: the heap as it is, and the totals so far. */
struct analysis_pass {
	struct totals totals;
	struct replay replay;
	struct moments *moments; /* somebody's, or NULL */
	struct timeline_buckets *drawn; /* the same */
	bool draws_blocks;
	uint64_t noted_chunk;	 /* whose events are coming; 0: none */
	uint64_t heap_families; /* checkpoints have the totals of these */
};

uint64_t lost_events(const struct catalog *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < LOSSES; i++)
		if (loss_kinds[i].misses_events)
			n += catalog_loss(c, loss_kinds[i].name);
	return n;
}

struct analysis_pass *analysis_pass_new(unsigned int keys, uint64_t since_ns,
					const struct layers *layers, uint8_t layer)
{
	struct analysis_pass *p = xcalloc(1, sizeof(*p));

	totals_init(&p->totals, keys, since_ns);
	p->heap_families = p->totals.families;
	if (layers) {
		p->heap_families = layers->layers[0].families;
		p->totals.families = layers->layers[layer].families;
		p->replay.layers = layers->replay;
	}
	return p;
}

void analysis_pass_free(struct analysis_pass *p)
{
	if (!p)
		return;
	totals_release(&p->totals);
	replay_release(&p->replay);
	free(p);
}

static void begin_space(struct analysis_pass *p, struct space_id space)
{
	totals_begin_space(&p->totals);
	replay_begin_space(&p->replay, space);
}

/* A checkpoint after chunk *@ret, or after one before, is before the window: 1; 0: none is. */
static int last_chunk_before(struct store_reader *reader, const struct analysis_window *w,
			     uint64_t *ret, struct err *err)
{
	/* no event of the window may be before it */
	uint64_t until_ns = w->since_ns && w->since_ns <= w->until_ns ? w->since_ns - 1
								      : w->until_ns;
	struct dropped_events dropped;
	int r;

	*ret = UINT64_MAX;
	if (until_ns == UINT64_MAX)
		return 1;
	dropped = store_reader_dropped(reader);
	r = store_reader_chunk_at(reader, until_ns, ret, err);
	if (r)
		return r;
	if (*ret > dropped.chunks) {
		*ret -= 1;
		return 1;
	}
	*ret = dropped.chunks;
	return dropped.events && until_ns >= dropped.until_ns;
}

int analysis_find_checkpoint(struct store_reader *reader, const struct analysis_window *w,
			     struct checkpoint_info *ret, struct err *err)
{
	uint64_t chunk;
	int r = last_chunk_before(reader, w, &chunk, err);

	return r == 1 ? store_reader_find_checkpoint(reader, chunk, ret, err) : r;
}

/* 1; 0 where it is not whole. */
static int restore(struct analysis_pass *p, struct store_reader *reader, uint64_t chunk,
		   struct buffer *b, struct err *err)
{
	uint64_t most_events;
	int r;

	/* the files before have events, too */
	if (__builtin_mul_overflow(chunk, CHUNK_EVENTS_MAX, &most_events) ||
	    __builtin_add_overflow(most_events, store_reader_dropped(reader).events, &most_events))
		return 0;
	r = store_reader_checkpoint(reader, CHECKPOINT_HEAP, chunk, b, err);
	if (r != 1)
		return r;
	if (!checkpoint_restore_heap(&p->replay, most_events, b->data, b->len))
		return 0;
	if (p->totals.since_ns) /* nothing of it counts yet */
		return 1;
	if (p->totals.families != p->heap_families)
		return 0;
	r = store_reader_checkpoint(reader, CHECKPOINT_TOTALS, chunk, b, err);
	if (r != 1)
		return r;
	return checkpoint_restore_totals(&p->totals, most_events, b->data, b->len);
}

static void forget(struct analysis_pass *p)
{
	uint64_t since_ns = p->totals.since_ns, families = p->totals.families;
	struct replay_layers layers = p->replay.layers;
	unsigned int keys = 0;

	for (size_t i = 0; i < GROUP_KEYS; i++)
		keys |= (unsigned int)p->totals.tallies[i].is_wanted << i;
	totals_release(&p->totals);
	replay_release(&p->replay);
	totals_init(&p->totals, keys, since_ns);
	p->totals.families = families;
	p->replay.layers = layers;
}

/* From the last checkpoint that serves and is whole: 1; 0 where there is none. */
static int restore_last(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			struct checkpoint_info *ret, struct err *err)
{
	struct analysis_window w = {.since_ns = p->totals.since_ns, .until_ns = until_ns};
	struct buffer b = {0};
	bool more = w.since_ns || p->totals.families == p->heap_families;
	uint64_t chunk;
	int found = more ? last_chunk_before(reader, &w, &chunk, err) : 0, r = 0;

	/* what a row says of its place may be damaged, too: each time an earlier one */
	while (found == 1 && !r && more) {
		found = store_reader_find_checkpoint(reader, chunk, ret, err);
		if (found != 1 || ret->chunk > chunk)
			break;
		r = restore(p, reader, ret->chunk, &b, err);
		if (r != 1)
			forget(p); /* a damaged one costs time only */
		more = ret->chunk > 0;
		chunk = ret->chunk - 1;
	}
	buffer_release(&b);
	return found < 0 ? found : r;
}

/* The events before the first checkpoint are gone, and it is needed. */
static int cannot_restore(const struct analysis_pass *p, struct store_reader *reader,
			  uint64_t until_ns, struct err *err)
{
	struct dropped_events d = store_reader_dropped(reader);
	uint64_t since_ns = p->totals.since_ns;
	uint64_t start = (uint64_t)store_reader_number(reader, "start_ns", 0);
	char t[FORMAT_MAX];

	format_duration(t, d.until_ns > start ? d.until_ns - start : 0);
	if (!since_ns && p->totals.families != p->heap_families) {
		err_set(err, ERR_USAGE, 0, "cannot sum up this layer: events before %s %s, of "
			"which only the totals of layer heap are known", t,
			d.chunks ? "were dropped" : "are in earlier files");
		err_hint(err, "choose blocks that were allocated later: --since TIME");
		return -ERANGE;
	}
	if (until_ns < d.until_ns || (since_ns && since_ns <= d.until_ns)) {
		err_set(err, ERR_USAGE, 0,
			"cannot show this part of the recording: events before %s %s", t,
			d.chunks ? "were dropped" : "are in earlier files");
		err_hint(err, d.chunks ? "it was recorded with --max-size: choose a time after %s"
				       : "it was recorded with --every: look into the files "
					 "before, or choose a time after %s", t);
		return -ERANGE;
	}
	err_set(err, ERR_RECORDING, 0, "cannot read the recording: the state at %s, of which the "
		"events before are not there, is missing", t);
	return -EBADMSG;
}

#define TRIES 100 /* a recorder that drops this often meanwhile is none */

int analysis_pass_restore(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			  struct checkpoint_info *ret, struct err *err)
{
	uint64_t dropped;
	int tries = 0, r;

	do {
		dropped = store_reader_dropped(reader).events;
		r = restore_last(p, reader, until_ns, ret, err);
		if (r)
			return r < 0 ? r : 0;
	} while (store_reader_dropped(reader).events != dropped && ++tries < TRIES);
	if (dropped)
		return cannot_restore(p, reader, until_ns, err);
	*ret = (struct checkpoint_info){0};
	return 0;
}

static void count(void *pass, const struct event *e, const struct replay_step *step)
{
	totals_count(&((struct analysis_pass *)pass)->totals, e, step);
}

/* And whatever else there is to do. */
static void count_and_note(void *pass, const struct event *e, const struct replay_step *step)
{
	struct analysis_pass *p = pass;
	const uint64_t *live = p->draws_blocks ? &p->totals.live_blocks : &p->totals.live_bytes;
	uint64_t before = *live;

	totals_count(&p->totals, e, step);
	if (p->moments)
		moments_note(p->moments, e, step);
	if (p->drawn && e->t_ns >= p->totals.since_ns && p->totals.families >> e->family % 64 & 1)
		timeline_buckets_add(p->drawn, e, before, *live);
}

void analysis_pass_draw(struct analysis_pass *p, struct timeline_buckets *t, bool blocks)
{
	p->draws_blocks = blocks;
	p->drawn = t;
}

void analysis_pass_note(struct analysis_pass *p, struct moments *m)
{
	p->moments = m;
	p->noted_chunk = 0;
	moments_begin(m, &p->totals, p->replay.space);
}

void analysis_pass_note_chunk(struct analysis_pass *p, const struct chunk_info *info)
{
	if (p->noted_chunk && (!info || info->id != p->noted_chunk))
		moments_end_chunk(p->moments, &p->totals);
	p->noted_chunk = info ? info->id : 0;
	if (info)
		moments_begin_chunk(p->moments, info);
}

int analysis_pass_feed(struct analysis_pass *p, struct space_id space, const struct event *events,
		       size_t n, struct err *err)
{
	if (space.v != p->replay.space.v)
		begin_space(p, space);
	return replay_feed_all(&p->replay, events, n,
			       p->moments || p->drawn ? count_and_note : count, p, err);
}

void analysis_pass_get(struct analysis_pass *p, enum group_key key, bool ages,
		       struct analysis *ret)
{
	totals_get(&p->totals, key, ages ? &p->replay : NULL, ret);
}

const struct replay *analysis_pass_replay(const struct analysis_pass *p)
{
	return &p->replay;
}

/* ---- a whole recording ---------------------------------------------------------------- */

/* How far a pass has come. */
struct feeding {
	struct analysis_pass *pass;
	struct store_reader *reader;
	const struct analysis_window *window;
	struct event *events; /* room for a chunk */
	struct chunk_info last; /* of which @fed events were fed */
	uint32_t fed;
	bool is_at_end; /* of what is wanted */
};

/* A moment before its last event: a checkpoint may be after that, at the same time. */
static uint64_t before_window(const struct analysis_window *w)
{
	return w->until_ns - (w->until_event && w->until_ns);
}

/* To where it is to begin: at the last checkpoint. */
static int begin_feeding(struct feeding *f, struct err *err)
{
	struct checkpoint_info from = {0};
	int r = analysis_pass_restore(f->pass, f->reader, before_window(f->window), &from, err);

	f->last.id = from.chunk;
	return r;
}

/*
 * The next chunk, or the one before it if that has grown: while it is the last one it does,
 * and when there is another it does so no more.
 */
static int read_chunk(struct feeding *f, struct chunk_info *ret, struct err *err)
{
	uint64_t id = f->last.id;
	int r = store_reader_next_chunk(f->reader, id, ret, f->events, err);

	if (r != 1 || !f->fed || f->fed == CHUNK_EVENTS_MAX ||
	    store_reader_is_sealed(f->reader))
		return r;
	r = store_reader_next_chunk(f->reader, id - 1, ret, f->events, err);
	if (r != 1 || ret->events > f->fed)
		return r;
	return store_reader_next_chunk(f->reader, id, ret, f->events, err);
}

static int feed_chunk(struct feeding *f, struct err *err)
{
	struct chunk_info info;
	int r = read_chunk(f, &info, err);
	uint32_t n, from = 0;

	if (r != 1)
		return r;
	if (info.id == f->last.id)
		from = f->fed;
	n = walk_events_until(&f->events->t_ns, sizeof(*f->events), info.events, f->window,
			      f->pass->replay.ordinal - from);
	f->is_at_end = n < info.events;
	f->last = info;
	f->fed = n;
	if (n > from)
		r = analysis_pass_feed(f->pass, info.space, f->events + from, n - from, err);
	return r < 0 ? r : 1;
}

static int feed_all(struct analysis_pass *p, struct store_reader *reader,
		    const struct analysis_window *w, analysis_progress *progress,
		    struct err *err)
{
	struct feeding f = {.pass = p, .reader = reader, .window = w};
	int r = begin_feeding(&f, err);

	if (r)
		return r;
	f.events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*f.events));
	while (!f.is_at_end && (r = feed_chunk(&f, err)) == 1)
		if (progress)
			progress(p->totals.sums.events);
	free(f.events);
	return r < 0 ? r : 0;
}

/* A recorder that drops events may be quicker than we are: then from a later checkpoint. */
static int feed_again(struct analysis_pass *p, struct store_reader *reader,
		      const struct analysis_window *w, analysis_progress *progress,
		      struct err *err)
{
	int r, tries = 0;

	while ((r = feed_all(p, reader, w, progress, err)) == -ESTALE && ++tries < TRIES)
		forget(p);
	return r;
}

static const struct analysis_window all = {.until_ns = UINT64_MAX};

static struct analysis_pass *pass_for(struct store_reader *reader, enum group_key key,
				      const struct analysis_window *w)
{
	struct analysis_pass *p;
	struct layers layers;

	layers_read(&layers, reader);
	p = analysis_pass_new(1u << key, w->since_ns, &layers, 0);
	if (w->families)
		p->totals.families = w->families;
	return p;
}

static int make(struct store_reader *reader, enum group_key key,
		const struct analysis_window *window, analysis_progress *progress,
		totals_visitor *visit, void *arg, struct analysis *ret, struct err *err)
{
	struct analysis_pass *p;
	int r;

	window = window ? window : &all;
	p = pass_for(reader, key, window);
	r = feed_again(p, reader, window, progress, err);
	memset(ret, 0, sizeof(*ret));
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		/* a program that never allocated */
		if (window->until_ns == UINT64_MAX && last.v > p->replay.space.v)
			begin_space(p, last);
		if (window->space.v > p->replay.space.v)
			begin_space(p, window->space);
		analysis_pass_get(p, key, true, ret);
		ret->last_event = p->replay.ordinal;
		totals_give_away(&p->totals, key); /* they are its own now */
		if (visit)
			totals_visit_live(&p->totals, &p->replay, visit, arg);
	}
	analysis_pass_free(p);
	return r;
}

int analysis_make(struct store_reader *reader, enum group_key key,
		  const struct analysis_window *window, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	return make(reader, key, window, progress, NULL, NULL, ret, err);
}

int analysis_make_live(struct store_reader *reader, const struct analysis_window *window,
		       analysis_progress *progress, totals_visitor *visit, void *arg,
		       struct analysis *ret, struct err *err)
{
	return make(reader, GROUP_STACK, window, progress, visit, arg, ret, err);
}

/* ---- over time ------------------------------------------------------------------------ */

int analysis_begin_growth(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			  struct growth_windows *g, struct growth_scan **ret, struct err *err)
{
	uint64_t start_ns = (uint64_t)store_reader_number(reader, "start_ns", 0);
	uint64_t end_ns = (uint64_t)store_reader_number(reader, "end_ns", 0);
	struct dropped_events dropped = store_reader_dropped(reader);
	struct checkpoint_info from = {0};
	int r = analysis_pass_restore(p, reader,
				      until_ns < dropped.until_ns ? until_ns : dropped.until_ns,
				      &from, err);

	if (r)
		return r;
	growth_windows_begin(g, &p->totals, from.t_ns > start_ns ? from.t_ns : start_ns,
			     until_ns < end_ns ? until_ns : end_ns);
	*ret = growth_scan_new(g, p->totals.since_ns, p->totals.families, &p->replay, from.chunk);
	return 0;
}

int analysis_watch_growth(struct store_reader *reader, const struct analysis_window *window,
			  analysis_progress *progress, struct growth_windows *windows,
			  struct err *err)
{
	const struct analysis_window *w = window ? window : &all;
	int r, tries = 0;

	do {
		struct analysis_pass *p = pass_for(reader, GROUP_STACK, w);
		struct growth_scan *s = NULL;

		r = analysis_begin_growth(p, reader, before_window(w), windows, &s, err);
		analysis_pass_free(p);
		if (!r)
			r = growth_scan_read(s, reader, w, progress, err);
		if (!r)
			growth_scan_end(s, w->until_ns == UINT64_MAX
						   ? store_reader_last_space(reader)
						   : w->space);
		growth_scan_free(s);
	} while (r == -ESTALE && ++tries < TRIES);
	return r;
}
