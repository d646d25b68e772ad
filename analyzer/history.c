/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/growth_follow.h"
#include "analyzer/layer_totals.h"
#include "analyzer/stale.h"
#include "common/clock.h"
#include "common/xalloc.h"
#include "store/earlier.h"

#define KEYS (1u << GROUP_STACK | 1u << GROUP_THREAD | 1u << GROUP_SIZE)
/* For the index of moments. */
#define MOMENTS_BYTES ((size_t)64 << 20)
/* Fed at once, so that nobody waits for a whole chunk. */
#define EVENTS_AT_ONCE 8192

/* A pass, and how far it has come. */
struct position {
	struct analysis_pass *pass; /* NULL: there is none */
	uint64_t since_ns, until_ns;
	uint64_t chunk;	   /* the last that was read, 0: none */
	uint32_t consumed; /* of its events … */
	uint32_t events;   /* … of which there were so many */
	uint64_t last_ns;  /* of them */
	bool is_there;	   /* nothing more to read, for now */
	bool may_jump;	   /* a checkpoint may be nearer than it is */
	bool has_begun;	   /* its pass is at some chunk's end, or in it */
	bool is_stale;	   /* what comes next was dropped: it has to */
	struct stale stale; /* how often it had to, by chunks */
	bool is_noted;	   /* in the index of moments */
	uint64_t closed;   /* the last chunk that is complete there */
};

struct history {
	char *path;
	struct store_earlier *earlier; /* somebody's, or NULL */
	struct store_reader *reader; /* NULL between calls, while it may grow */
	bool is_sealed;
	bool is_held;
	uint64_t held_ns; /* … at that moment */
	struct catalog catalog;
	uint64_t start_ns, end_ns, dropped_until_ns; /* that it says; 0: nothing */
	uint64_t read_ns; /* the last moment that was read of another layer, 0: none */
	struct layers layers;
	uint8_t layer; /* that is shown */
	struct timeline timeline;
	struct timeline_buckets *drawn; /* of the layer, if it is not the heap's; else NULL */
	struct position end, past; /* the past one is shown where it has a pass */
	struct position whole;	   /* all events, for the index, where the end's are not all */
	struct moments *moments;
	struct growth_follow growth;
	bool wants_growth;
	struct totals *quick; /* the index's, of the past moment; NULL: they are not there */
	bool wants_blocks, wants_moments;
	bool is_prepared; /* or cannot be */
	uint64_t version, catalog_version;
	unsigned int loads;
	struct event *events;
	struct chunk_info decoded; /* whose these are; id 0: nobody's */
	uint64_t decoded_after;	   /* the chunk it was asked for as the next of */
	bool has_addresses;	   /* they were decoded, too */
};

static struct position *shown(struct history *h)
{
	return h->past.pass ? &h->past : &h->end;
}

static const struct position *is_shown(const struct history *h)
{
	return h->past.pass ? &h->past : &h->end;
}

/* Another pass, from some moment on. */
static void set_pass(struct history *h, struct position *p, struct analysis_pass *pass)
{
	analysis_pass_free(p->pass);
	p->pass = pass;
	if (p != &h->end || !h->drawn)
		return;
	timeline_buckets_init(h->drawn);
	analysis_pass_draw(pass, h->drawn, history_is_counted(h));
}

static struct analysis_pass *new_pass(const struct history *h, uint64_t since_ns)
{
	return analysis_pass_new(KEYS, since_ns, &h->layers, h->layer);
}

static void begin(struct history *h, struct position *p, uint64_t since_ns, uint64_t until_ns)
{
	set_pass(h, p, new_pass(h, since_ns));
	*p = (struct position){.pass = p->pass,
			       .since_ns = since_ns,
			       .until_ns = until_ns,
			       .may_jump = true};
}

/* Frames that are known get their names at the end: then all is loaded anew. */
static int load_catalog(struct history *h, bool anew, struct err *err)
{
	size_t frames = h->catalog.n_frames, stacks = h->catalog.n_stacks;
	int r;

	if (anew) {
		catalog_release(&h->catalog);
		h->loads++;
	}
	r = store_reader_update(h->reader, &h->catalog, err);
	/* whoever draws a curve asks very often */
	h->start_ns = (uint64_t)catalog_number(&h->catalog, "start_ns", 0);
	h->end_ns = (uint64_t)catalog_number(&h->catalog, "end_ns", 0);
	h->dropped_until_ns = (uint64_t)catalog_number(&h->catalog, DROPPED_UNTIL_KEY, 0);
	if (anew || frames != h->catalog.n_frames || stacks != h->catalog.n_stacks)
		h->catalog_version++;
	return r ? r : store_reader_timeline(h->reader, &h->timeline, err);
}

int history_open(const char *path, struct history **ret, struct err *err)
{
	return history_open_after(path, NULL, ret, err);
}

int history_open_after(const char *path, struct store_earlier *earlier, struct history **ret,
		       struct err *err)
{
	struct history *h = xcalloc(1, sizeof(*h));
	int r;

	h->path = xstrdup(path);
	h->earlier = earlier;
	h->events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*h->events));
	h->moments = moments_new(MOMENTS_BYTES);
	growth_follow_init(&h->growth);
	h->wants_blocks = true;
	r = history_open_reader(h, &h->reader, err);
	if (!r) {
		layers_read(&h->layers, h->reader);
		begin(h, &h->end, 0, UINT64_MAX);
		h->is_sealed = store_reader_is_sealed(h->reader);
		r = load_catalog(h, true, err);
	}
	if (r)
		history_close(h);
	else
		*ret = h;
	return r;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	analysis_pass_free(h->end.pass);
	analysis_pass_free(h->past.pass);
	analysis_pass_free(h->whole.pass);
	moments_free(h->moments);
	growth_follow_release(&h->growth);
	catalog_release(&h->catalog);
	timeline_release(&h->timeline);
	store_reader_close(h->reader);
	free(h->drawn);
	free(h->events);
	free(h->path);
	free(h);
}

/* The file may have been finished since it was opened last. */
static int reopen(struct history *h, struct err *err)
{
	int r = 0;

	if (!h->reader)
		r = history_open_reader(h, &h->reader, err);
	if (r || h->is_sealed || !store_reader_is_sealed(h->reader))
		return r;
	h->is_sealed = true;
	h->end.is_there = false;
	/* the last chunk may have grown once more */
	h->end.events = h->past.events = h->whole.events = 0;
	growth_follow_look_again(&h->growth);
	h->version++;
	return load_catalog(h, true, err);
}

/* The next chunk after that one, with its events, if they are not there already. */
static int read_chunk(struct history *h, uint64_t after, bool addresses, struct chunk_info *ret,
		      struct err *err)
{
	int r;

	if (h->decoded.id && h->decoded_after == after && (h->has_addresses || !addresses)) {
		*ret = h->decoded;
		return 1;
	}
	h->decoded.id = 0;
	h->has_addresses = addresses;
	store_reader_leave_out_addresses(h->reader, !addresses);
	r = store_reader_next_chunk(h->reader, after, ret, h->events, err);
	/* another one may grow */
	if (r == 1 && (h->is_sealed || ret->events == CHUNK_EVENTS_MAX)) {
		h->decoded = *ret;
		h->decoded_after = after;
	}
	return r;
}

/*
 * The next events of the chunk that is being read, or of the one behind it: when that is there
 * the one before grows no more.
 */
static int read_events(struct history *h, struct position *p, struct chunk_info *ret,
		       struct err *err)
{
	bool is_full = h->is_sealed || p->events == CHUNK_EVENTS_MAX;
	bool is_done = !p->chunk || (is_full && p->events && p->consumed == p->events);
	int r;

	if (p->chunk && p->consumed < p->events) /* it is known to have more */
		return read_chunk(h, p->chunk - 1, true, ret, err);
	r = read_chunk(h, p->chunk, true, ret, err);
	if (!is_done && r >= 0) {
		bool is_last = !r;

		r = read_chunk(h, p->chunk - 1, true, ret, err);
		if (r <= 0 || ret->events > p->consumed)
			return r;
		if (is_last)
			return 0;
		r = read_chunk(h, p->chunk, true, ret, err);
	}
	if (r == 1)
		p->consumed = p->events = 0;
	return r;
}

/* Up to the moment that is wanted. */
static uint32_t events_until(const struct history *h, const struct position *p,
			     const struct chunk_info *info)
{
	uint64_t until = p->until_ns;
	uint32_t n = info->events;

	if (h->is_held && until > h->held_ns)
		until = h->held_ns;
	if (info->last_ns <= until)
		return n;
	while (n > p->consumed && h->events[n - 1].t_ns > until)
		n--;
	return n;
}

/*
 * What begins in a part that was dropped begins behind it; so does a layer of which it is not
 * known what there was before.
 */
static void clamp(struct history *h, struct position *p)
{
	struct dropped_events d = store_reader_dropped(h->reader);

	if (!d.events)
		return;
	if ((p->since_ns || h->layer) && p->since_ns <= d.until_ns)
		p->since_ns = d.until_ns + 1;
	if (p->until_ns < d.until_ns)
		p->until_ns = d.until_ns;
}

/* The index begins where the recording does: @p, which is there, goes into it from now on. */
static void note_from_here(struct history *h, struct position *p)
{
	uint64_t first = store_reader_dropped(h->reader).chunks;

	p->is_noted = p == &h->whole || (p == &h->end && !h->whole.pass && p->chunk <= first);
	p->is_noted &= !p->since_ns;
	if (!p->is_noted)
		return;
	h->quick = NULL; /* the index begins anew */
	analysis_pass_note(p->pass, h->moments);
}

/* To the last checkpoint on the way, where that is ahead. */
static int jump(struct history *h, struct position *p, struct err *err)
{
	bool must = !p->has_begun || p->is_stale;
	struct analysis_window w;
	struct checkpoint_info there;
	struct analysis_pass *pass;
	int r;

	if (must)
		clamp(h, p);
	w = (struct analysis_window){.since_ns = p->since_ns, .until_ns = p->until_ns};
	if (h->is_held && w.until_ns > h->held_ns)
		w.until_ns = h->held_ns;
	if (p == &h->whole) /* to the first */
		w.until_ns = store_reader_dropped(h->reader).until_ns;
	p->may_jump = false;
	r = must ? 1 : analysis_find_checkpoint(h->reader, &w, &there, err);
	if (r != 1 || (!must && there.chunk <= p->chunk))
		return r < 0 ? r : 0;
	pass = new_pass(h, p->since_ns);
	r = analysis_pass_restore(pass, h->reader, w.until_ns, &there, err);
	if (r || (there.chunk <= p->chunk && !must)) {
		analysis_pass_free(pass);
		p->may_jump = p->is_stale = r != 0;
		return r;
	}
	set_pass(h, p, pass);
	p->is_stale = false;
	p->has_begun = true;
	p->stale.is_of_finished = h->is_sealed;
	p->chunk = there.chunk;
	p->events = p->consumed = CHUNK_EVENTS_MAX; /* all that there are */
	p->last_ns = there.t_ns;
	h->version += p == shown(h);
	note_from_here(h, p);
	return 0;
}

static void note_chunk(struct history *h, struct position *p, const struct chunk_info *info)
{
	analysis_pass_note_chunk(p->pass, info);
	if (!h->is_sealed)
		moments_forget(h->moments, store_reader_dropped(h->reader).chunks);
}

/* That was the last chunk. */
static void end_noting(struct history *h, struct position *p)
{
	analysis_pass_note_chunk(p->pass, NULL);
	moments_end(h->moments);
}

/* The index takes its time for what a chunk has changed: alone, where nothing more comes to it. */
static bool close_chunk(struct history *h, struct position *p)
{
	bool is_full = h->is_sealed || p->events == CHUNK_EVENTS_MAX;

	if (!p->is_noted || !is_full || !p->events || p->consumed < p->events ||
	    p->closed == p->chunk)
		return false;
	p->closed = p->chunk;
	analysis_pass_note_chunk(p->pass, NULL);
	return true;
}

/* A part of a chunk: 1 if there may be more. */
static int step(struct history *h, struct position *p, struct err *err)
{
	struct chunk_info info = {0};
	uint32_t n, until;
	int r;

	if (close_chunk(h, p))
		return 1;
	r = read_events(h, p, &info, err);
	if (r == -ESTALE && (r = stale_begin_anew(&p->stale, p->chunk)) == 1) {
		p->is_stale = p->may_jump = true;
		return 1;
	}
	if (r <= 0) {
		p->is_there = true;
		if (p->is_noted && !r && h->is_sealed)
			end_noting(h, p);
		return r;
	}
	until = events_until(h, p, &info);
	n = until > p->consumed + EVENTS_AT_ONCE ? p->consumed + EVENTS_AT_ONCE : until;
	if (p->is_noted)
		note_chunk(h, p, &info);
	r = n > p->consumed ? analysis_pass_feed(p->pass, info.space, h->events + p->consumed,
						 n - p->consumed, err)
			    : 0;
	if (n)
		p->last_ns = h->events[n - 1].t_ns;
	h->version += n > p->consumed && p == shown(h);
	p->chunk = info.id;
	p->events = info.events;
	p->consumed = n;
	if (r < 0 || (n == until && n < info.events)) {
		p->is_there = true;
		return r;
	}
	return 1;
}

static int read_position(struct history *h, struct position *p, uint64_t until, struct err *err)
{
	int r;

	do {
		r = p->may_jump ? jump(h, p, err) : 0;
		if (!r)
			r = step(h, p, err);
	} while (r == 1 && clock_now_ns() < until);
	if (r != -ERANGE)
		return r;
	p->is_there = h->is_held; /* if not, it was dropped just now: the next time */
	return h->is_held ? r : 1;
}

static void close_reader(struct history *h)
{
	store_reader_close(h->reader);
	h->reader = NULL;
}

/* ---- moments of the past --------------------------------------------------------------- */

/* Is the past moment shown by the index, so that nothing is missing? */
static bool does_without_blocks(const struct history *h)
{
	return h->past.pass && h->quick && !h->wants_blocks;
}

/* Whether what is shown has all that is wanted of it. */
static bool is_up_to_date(const struct history *h)
{
	return does_without_blocks(h) || is_shown(h)->is_there;
}

/* By the index, if it has that moment. */
static struct totals *read_quickly(struct history *h)
{
	const struct position *p = &h->past;
	struct chunk_info wanted, info;
	uint32_t n = 0;
	struct err err;
	int r;

	if (p->since_ns || (h->is_held && p->until_ns > h->held_ns) ||
	    !moments_find(h->moments, p->until_ns, &wanted))
		return NULL;
	r = read_chunk(h, wanted.id - 1, false, &info, &err);
	if (r != 1 || info.crc != wanted.crc || info.events != wanted.events)
		return NULL;
	while (n < info.events && h->events[n].t_ns <= p->until_ns)
		n++;
	return moments_totals(h->moments, wanted.id, h->events, n);
}

/* The past moment, which is not there. */
static int read_past(struct history *h, uint64_t until, struct err *err)
{
	if (!h->quick && (h->quick = read_quickly(h)))
		h->version++;
	return does_without_blocks(h) ? 0 : read_position(h, &h->past, until, err);
}

/* All that it may refer to was read before it was held. */
static int read_held(struct history *h, uint64_t until, struct err *err)
{
	int r = 0;

	if (is_up_to_date(h))
		return 0;
	if (!h->reader)
		r = history_open_reader(h, &h->reader, err);
	if (!r)
		r = h->past.pass ? read_past(h, until, err)
				 : read_position(h, &h->end, until, err);
	if (!h->is_sealed)
		close_reader(h);
	return r;
}

void history_hold(struct history *h, bool hold)
{
	if (hold && !h->is_held)
		h->held_ns = h->end.last_ns;
	if (!hold)
		h->end.is_there = h->growth.is_there = false; /* as far as they might be */
	h->is_held = hold;
}

static int read_all(struct history *h, uint64_t until, struct err *err)
{
	int r = 0, end;

	if (h->is_held)
		return read_held(h, until, err);
	if (h->is_sealed && is_up_to_date(h) && h->end.is_there)
		return 0;
	end = reopen(h, err);
	if (end)
		return end;
	if (!h->is_sealed && h->past.until_ns == UINT64_MAX)
		h->past.is_there = false;
	if (h->past.pass && !is_up_to_date(h))
		r = read_past(h, until, err);
	if (r >= 0 && (!h->is_sealed || !h->end.is_there)) {
		end = read_position(h, &h->end, until, err);
		r = end < 0 || !h->past.pass ? end : r;
	}
	if (h->is_sealed)
		return r;
	/* after the events: what they refer to is there */
	if (r >= 0) {
		end = load_catalog(h, false, err);
		h->version += is_shown(h)->pass == h->end.pass;
		if (end)
			r = end;
	}
	close_reader(h);
	return r;
}

static int read_growth(struct history *h, uint64_t until, struct err *err)
{
	struct growth_follow *g = &h->growth;
	uint64_t now_ns = clock_now_ns();
	bool is_shown;
	int r;

	if (g->is_unknown || (g->is_there && (h->is_sealed || h->is_held)))
		return 0;
	if (!h->reader && (r = history_open_reader(h, &h->reader, err)))
		return r;
	r = growth_follow_read(g, h->reader, &h->layers, h->layer,
			       h->is_held ? h->held_ns : UINT64_MAX,
			       until > now_ns ? until - now_ns : 0, &is_shown);
	h->version += is_shown;
	if (!h->is_sealed)
		close_reader(h);
	return r;
}

int history_read(struct history *h, uint64_t max_ns, struct err *err)
{
	uint64_t until = clock_now_ns() + max_ns;
	int r = read_all(h, until, err);

	if (!r && h->wants_growth)
		r = read_growth(h, until, err);
	if (h->earlier)
		store_earlier_rest(h->earlier);
	return r;
}

/* The whole has come to where the end is, so that it can go on as the end. */
static void hand_over(struct history *h)
{
	struct position whole = h->whole;

	h->whole = (struct position){0};
	if (h->is_sealed) {
		analysis_pass_free(whole.pass);
		return;
	}
	analysis_pass_free(h->end.pass);
	h->end = whole;
	h->version += h->past.pass == NULL;
}

static int prepare(struct history *h, uint64_t until)
{
	struct err err;
	int r = reopen(h, &err);

	if (r)
		return r;
	if (!h->whole.pass)
		begin(h, &h->whole, 0, UINT64_MAX);
	h->whole.is_there = false;
	r = read_position(h, &h->whole, until, &err);
	if (!r)
		hand_over(h);
	if (!h->is_sealed)
		close_reader(h);
	return r;
}

int history_prepare(struct history *h, uint64_t max_ns)
{
	bool is_needed = h->is_sealed || h->wants_moments;
	int r;

	if (!is_needed || h->is_held || h->is_prepared || h->end.is_noted || h->end.since_ns ||
	    !h->end.is_there)
		return 0;
	r = prepare(h, clock_now_ns() + max_ns);
	h->is_prepared = r < 0 || (r == 0 && h->is_sealed);
	if (r < 0) { /* who reads on is told; what is there by now serves */
		analysis_pass_free(h->whole.pass);
		h->whole = (struct position){0};
	}
	return r == 1;
}

void history_want_growth(struct history *h, bool wanted)
{
	h->wants_growth = wanted;
}

const struct growth_windows *history_growth(struct history *h, uint64_t *ret_until_ns)
{
	const struct growth_follow *g = &h->growth;

	if (!g->scan || (h->past.pass && h->past.since_ns))
		return NULL;
	/* nothing happened since the last event */
	*ret_until_ns = g->is_there ? history_end_ns(h) : growth_follow_last_ns(g);
	if (g->is_there && !h->is_held)
		growth_windows_advance(g->windows, *ret_until_ns);
	if (history_now_ns(h) < *ret_until_ns)
		*ret_until_ns = history_now_ns(h);
	return g->windows;
}

void history_want_blocks(struct history *h, bool wanted)
{
	h->wants_blocks = wanted;
}

bool history_is_open_ended(const struct history *h)
{
	return !h->is_sealed;
}

uint64_t history_version(const struct history *h)
{
	return h->version;
}

uint64_t history_catalog_version(const struct history *h)
{
	return h->catalog_version;
}

unsigned int history_loads(const struct history *h)
{
	return h->loads;
}

void history_name(struct history *h, const struct symbol_record *s)
{
	if (!catalog_add_symbol(&h->catalog, s))
		return;
	h->catalog_version++;
	h->version++;
}

double history_progress(const struct history *h)
{
	const struct position *p = is_shown(h);
	uint64_t start = history_start_ns(h), end = history_end_ns(h);

	if (p->until_ns < end)
		end = p->until_ns;
	if (is_up_to_date(h) || end <= start)
		return 1;
	return p->last_ns > start ? (double)(p->last_ns - start) / (double)(end - start) : 0;
}

void history_show_layer(struct history *h, uint8_t layer)
{
	if (layer == h->layer || layer >= h->layers.n)
		return;
	history_show_end(h);
	h->layer = layer;
	h->read_ns = history_end_ns(h);
	free(h->drawn);
	h->drawn = layer ? xcalloc(1, sizeof(*h->drawn)) : NULL;
	moments_free(h->moments);
	h->moments = moments_new(MOMENTS_BYTES);
	growth_follow_forget(&h->growth);
	analysis_pass_free(h->whole.pass);
	h->whole = (struct position){0};
	begin(h, &h->end, 0, UINT64_MAX);
	h->is_prepared = false;
	h->version++;
}

const struct layers *history_layers(const struct history *h)
{
	return &h->layers;
}

uint8_t history_layer(const struct history *h)
{
	return h->layer;
}

bool history_is_counted(const struct history *h)
{
	return layer_counted_families(&h->catalog, &h->layers.layers[h->layer]) != 0;
}

void history_show_end(struct history *h)
{
	h->version += h->past.pass != NULL;
	analysis_pass_free(h->past.pass);
	h->past = (struct position){0};
	h->quick = NULL;
}

void history_show(struct history *h, uint64_t since_ns, uint64_t at_ns)
{
	struct position *p = &h->past;

	h->version++;
	if (!p->pass || p->since_ns != since_ns || at_ns < p->last_ns)
		begin(h, p, since_ns, at_ns);
	p->until_ns = at_ns;
	p->is_there = false;
	p->may_jump = true;
	h->quick = NULL;
	h->wants_moments = true;
}

bool history_shows_end(const struct history *h)
{
	return !h->past.pass;
}

const struct catalog *history_catalog(const struct history *h)
{
	return &h->catalog;
}

struct timeline history_timeline(const struct history *h)
{
	struct timeline ret = h->timeline;

	if (h->drawn) {
		ret.buckets = h->drawn->buckets;
		ret.n = h->drawn->n;
		ret.start_ns = h->drawn->start_ns;
		ret.width_ns = h->drawn->width_ns;
	}
	return ret;
}

void history_analysis(struct history *h, enum group_key key, bool ages, struct analysis *ret)
{
	if (h->past.pass && h->quick && !ages)
		totals_get(h->quick, key, NULL, ret);
	else
		analysis_pass_get(shown(h)->pass, key, ages, ret);
}

const struct replay *history_replay(const struct history *h)
{
	return analysis_pass_replay(is_shown(h)->pass);
}

uint64_t history_since_ns(const struct history *h)
{
	return is_shown(h)->since_ns;
}

uint64_t history_now_ns(const struct history *h)
{
	const struct position *p = is_shown(h);

	return p->until_ns < UINT64_MAX ? p->until_ns : history_end_ns(h);
}

uint64_t history_start_ns(const struct history *h)
{
	return h->start_ns ? h->start_ns : h->timeline.start_ns;
}

uint64_t history_first_ns(const struct history *h)
{
	uint64_t start = history_start_ns(h);

	return h->dropped_until_ns > start ? h->dropped_until_ns : start;
}

uint64_t history_end_ns(const struct history *h)
{
	const struct timeline *t = &h->timeline;
	uint64_t end = h->end_ns;

	if (!end && t->n_rss)
		end = t->rss[t->n_rss - 1].t_ns;
	if (h->end.last_ns > end)
		end = h->end.last_ns;
	if (h->read_ns > end)
		end = h->read_ns;
	return end > history_start_ns(h) ? end : history_start_ns(h);
}

const char *history_path(const struct history *h)
{
	return h->path;
}

int history_open_reader(const struct history *h, struct store_reader **ret, struct err *err)
{
	return store_reader_open_after(h->path, h->earlier, ret, err);
}
