/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/analysis.h"

#include <stdlib.h>
#include <string.h>

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

int analysis_pass_feed(struct analysis_pass *p, struct space_id space, const struct event *events,
		       size_t n, struct err *err)
{
	struct replay_step step;

	if (space.v != p->replay.space.v)
		begin_space(p, space);
	for (size_t i = 0; i < n; i++) {
		int r = replay_feed(&p->replay, &events[i], &step, err);

		if (r)
			return r;
		totals_count(&p->totals, &events[i], &step);
	}
	return 0;
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

static int feed_all(struct analysis_pass *p, struct store_reader *reader,
		    analysis_progress *progress, struct err *err)
{
	struct event *events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*events));
	struct chunk_info info = {0};
	int r;

	while ((r = store_reader_next_chunk(reader, info.id, &info, events, err)) == 1) {
		r = analysis_pass_feed(p, info.space, events, info.events, err);
		if (r)
			break;
		if (progress)
			progress(p->totals.sums.events);
	}
	free(events);
	return r;
}

int analysis_make(struct store_reader *reader, enum group_key key, analysis_progress *progress,
		  struct analysis *ret, struct err *err)
{
	struct analysis_pass *p = analysis_pass_new(1u << key, 0);
	int r = feed_all(p, reader, progress, err);

	memset(ret, 0, sizeof(*ret));
	if (!r) {
		struct space_id last = store_reader_last_space(reader);

		if (last.v > p->replay.space.v) /* a program that never allocated */
			begin_space(p, last);
		analysis_pass_get(p, key, true, ret);
		totals_give_away(&p->totals, key); /* they are its own now */
	}
	analysis_pass_free(p);
	return r;
}
