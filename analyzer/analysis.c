/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/checkpoint.h"
#include "common/buffer.h"
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

bool analysis_find_checkpoint(struct store_reader *reader, const struct analysis_window *w,
			      struct checkpoint_info *ret)
{
	/* no event of the window may be before it */
	uint64_t until_ns = w->since_ns && w->since_ns <= w->until_ns ? w->since_ns - 1
								      : w->until_ns;
	uint64_t chunk;

	if (until_ns == UINT64_MAX)
		return store_reader_find_checkpoint(reader, UINT64_MAX, ret);
	chunk = store_reader_chunk_at(reader, until_ns);
	return chunk && store_reader_find_checkpoint(reader, chunk - 1, ret);
}

static bool restore(struct analysis_pass *p, struct store_reader *reader, uint64_t chunk,
		    struct buffer *b)
{
	if (!store_reader_checkpoint(reader, CHECKPOINT_HEAP, chunk, b) ||
	    !checkpoint_restore_heap(&p->replay, b->data, b->len))
		return false;
	if (p->totals.since_ns) /* nothing of it counts yet */
		return true;
	return store_reader_checkpoint(reader, CHECKPOINT_TOTALS, chunk, b) &&
	       checkpoint_restore_totals(&p->totals, b->data, b->len);
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

struct checkpoint_info analysis_pass_restore(struct analysis_pass *p, struct store_reader *reader,
					     uint64_t until_ns)
{
	struct analysis_window w = {.since_ns = p->totals.since_ns, .until_ns = until_ns};
	uint64_t first = store_reader_first_chunk(reader);
	struct checkpoint_info info = {0};
	struct buffer b = {0};
	bool is_there = false;

	while (!is_there && analysis_find_checkpoint(reader, &w, &info)) {
		is_there = restore(p, reader, info.chunk, &b);
		if (is_there)
			break;
		forget(p); /* a damaged one costs time only */
		if (!info.t_ns)
			break;
		w.until_ns = info.t_ns - 1;
	}
	buffer_release(&b);
	return is_there ? info : (struct checkpoint_info){.chunk = first ? first - 1 : 0};
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
	struct chunk_info info = {.id = analysis_pass_restore(p, reader, before_ns).chunk};
	int r;

	while ((r = store_reader_next_chunk(reader, info.id, &info, events, err)) == 1) {
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

int analysis_make(struct store_reader *reader, enum group_key key,
		  const struct analysis_window *window, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	static const struct analysis_window all = {.until_ns = UINT64_MAX};
	struct analysis_pass *p;
	int r;

	window = window ? window : &all;
	p = analysis_pass_new(1u << key, window->since_ns);
	r = feed_all(p, reader, window, progress, err);

	memset(ret, 0, sizeof(*ret));
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		if (window->until_ns == UINT64_MAX && last.v > p->replay.space.v) /* a program that never allocated */
			begin_space(p, last);
		analysis_pass_get(p, key, true, ret);
		totals_give_away(&p->totals, key); /* they are its own now */
	}
	analysis_pass_free(p);
	return r;
}
