/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/checkpoint.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/loss.h"

/* One pass over the events: the heap as it is, and the totals so far. */
struct analysis_pass {
	struct totals totals;
	struct replay replay;
};

uint64_t lost_events(const struct catalog *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < LOSSES; i++)
		if (loss_kinds[i].misses_events)
			n += catalog_loss(c, loss_kinds[i].name);
	return n;
}

struct analysis_pass *analysis_pass_new(unsigned int keys, uint64_t since_ns)
{
	struct analysis_pass *p = xcalloc(1, sizeof(*p));

	totals_init(&p->totals, keys, since_ns);
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

/* A checkpoint after this chunk, or one before, is before the window; 0: none is. */
static uint64_t last_chunk_before(struct store_reader *reader, const struct analysis_window *w)
{
	/* no event of the window may be before it */
	uint64_t until_ns = w->since_ns && w->since_ns <= w->until_ns ? w->since_ns - 1
								      : w->until_ns;
	struct dropped_events dropped;
	uint64_t chunk;

	if (until_ns == UINT64_MAX)
		return UINT64_MAX;
	dropped = store_reader_dropped(reader);
	chunk = store_reader_chunk_at(reader, until_ns);
	if (chunk > dropped.chunks)
		return chunk - 1;
	return until_ns >= dropped.until_ns ? dropped.chunks : 0;
}

bool analysis_find_checkpoint(struct store_reader *reader, const struct analysis_window *w,
			      struct checkpoint_info *ret)
{
	uint64_t chunk = last_chunk_before(reader, w);

	return chunk && store_reader_find_checkpoint(reader, chunk, ret);
}

static bool restore(struct analysis_pass *p, struct store_reader *reader, uint64_t chunk,
		    struct buffer *b)
{
	uint64_t most_events;

	if (__builtin_mul_overflow(chunk, CHUNK_EVENTS_MAX, &most_events))
		return false;
	if (!store_reader_checkpoint(reader, CHECKPOINT_HEAP, chunk, b) ||
	    !checkpoint_restore_heap(&p->replay, most_events, b->data, b->len))
		return false;
	if (p->totals.since_ns) /* nothing of it counts yet */
		return true;
	return store_reader_checkpoint(reader, CHECKPOINT_TOTALS, chunk, b) &&
	       checkpoint_restore_totals(&p->totals, most_events, b->data, b->len);
}

static void forget(struct analysis_pass *p)
{
	uint64_t since_ns = p->totals.since_ns;
	unsigned int keys = 0;

	for (size_t i = 0; i < GROUP_KEYS; i++)
		keys |= (unsigned int)p->totals.tallies[i].is_wanted << i;
	totals_release(&p->totals);
	replay_release(&p->replay);
	totals_init(&p->totals, keys, since_ns);
}

/* From the last checkpoint that serves and is whole; false where there is none. */
static bool restore_last(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			 struct checkpoint_info *ret)
{
	struct analysis_window w = {.since_ns = p->totals.since_ns, .until_ns = until_ns};
	uint64_t chunk = last_chunk_before(reader, &w);
	struct buffer b = {0};
	bool is_there = false;

	/* what a row says of its place may be damaged, too: each time an earlier one */
	while (!is_there && chunk && store_reader_find_checkpoint(reader, chunk, ret) &&
	       ret->chunk <= chunk) {
		is_there = restore(p, reader, ret->chunk, &b);
		if (!is_there)
			forget(p); /* a damaged one costs time only */
		chunk = ret->chunk - 1;
	}
	buffer_release(&b);
	return is_there;
}

/* The events before the first checkpoint are gone, and it is needed. */
static int cannot_restore(const struct analysis_pass *p, struct store_reader *reader,
			  uint64_t until_ns, struct err *err)
{
	struct dropped_events d = store_reader_dropped(reader);
	uint64_t since_ns = p->totals.since_ns, start = store_reader_start_ns(reader);
	char t[FORMAT_MAX];

	format_duration(t, d.until_ns > start ? d.until_ns - start : 0);
	if (until_ns < d.until_ns || (since_ns && since_ns <= d.until_ns)) {
		err_set(err, ERR_USAGE, 0,
			"cannot show this part of the recording: events before %s were dropped", t);
		err_hint(err, "it was recorded with --max-size: choose a time after %s", t);
		return -ERANGE;
	}
	err_set(err, ERR_RECORDING, 0, "cannot read the recording: the state at %s, before which "
		"events were dropped, is missing", t);
	return -EBADMSG;
}

#define TRIES 100 /* a recorder that drops this often meanwhile is none */

int analysis_pass_restore(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			  struct checkpoint_info *ret, struct err *err)
{
	uint64_t dropped;
	int tries = 0;

	do {
		dropped = store_reader_dropped(reader).chunks;
		if (restore_last(p, reader, until_ns, ret))
			return 0;
	} while (store_reader_dropped(reader).chunks != dropped && ++tries < TRIES);
	if (dropped)
		return cannot_restore(p, reader, until_ns, err);
	*ret = (struct checkpoint_info){0};
	return 0;
}

static void count(void *totals, const struct event *e, const struct replay_step *step)
{
	totals_count(totals, e, step);
}

int analysis_pass_feed(struct analysis_pass *p, struct space_id space, const struct event *events,
		       size_t n, struct err *err)
{
	if (space.v != p->replay.space.v)
		begin_space(p, space);
	return replay_feed_all(&p->replay, events, n, count, &p->totals, err);
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

/* How many of the events are within the window, @before of which were before them. */
static uint32_t events_until(const struct event *events, const struct chunk_info *info,
			     const struct analysis_window *w, uint64_t before)
{
	uint32_t n = info->events;

	while (n && events[n - 1].t_ns > w->until_ns)
		n--;
	if (w->until_event && before + n > w->until_event)
		n = w->until_event > before ? (uint32_t)(w->until_event - before) : 0;
	return n;
}

static int feed_all(struct analysis_pass *p, struct store_reader *reader,
		    const struct analysis_window *w, analysis_progress *progress, struct err *err)
{
	struct event *events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*events));
	/* a checkpoint may be after the event, at the same time */
	uint64_t before_ns = w->until_ns - (w->until_event && w->until_ns);
	struct checkpoint_info from = {0};
	struct chunk_info info = {0};
	int r = analysis_pass_restore(p, reader, before_ns, &from, err);

	info.id = from.chunk;
	while (!r && (r = store_reader_next_chunk(reader, info.id, &info, events, err)) == 1) {
		uint32_t n = events_until(events, &info, w, p->replay.ordinal);

		r = n ? analysis_pass_feed(p, info.space, events, n, err) : 0;
		if (r || n < info.events)
			break;
		if (progress)
			progress(p->totals.sums.events);
	}
	free(events);
	return r;
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

int analysis_make(struct store_reader *reader, enum group_key key,
		  const struct analysis_window *window, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	static const struct analysis_window all = {.until_ns = UINT64_MAX};
	struct analysis_pass *p;
	int r;

	window = window ? window : &all;
	p = analysis_pass_new(1u << key, window->since_ns);
	r = feed_again(p, reader, window, progress, err);
	memset(ret, 0, sizeof(*ret));
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		/* a program that never allocated */
		if (window->until_ns == UINT64_MAX && last.v > p->replay.space.v)
			begin_space(p, last);
		analysis_pass_get(p, key, true, ret);
		totals_give_away(&p->totals, key); /* they are its own now */
	}
	analysis_pass_free(p);
	return r;
}
