/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/walk.h"

#include <errno.h>
#include <stdlib.h>

#include "common/xalloc.h"

uint32_t walk_events_until(const uint64_t *t_ns, size_t bytes, uint32_t n,
			   const struct analysis_window *w, uint64_t before)
{
	while (n && *(const uint64_t *)((const uint8_t *)t_ns + (n - 1) * bytes) > w->until_ns)
		n--;
	if (w->until_event && before + n > w->until_event)
		n = w->until_event > before ? (uint32_t)(w->until_event - before) : 0;
	return n;
}

static void begin_space(const struct walk *walk, struct space_id space)
{
	walk->begin_space(walk->arg);
	replay_begin_space(walk->replay, space);
}

int walk_events(const struct walk *walk, struct store_reader *reader,
		const struct analysis_window *w, struct err *err)
{
	struct chunk_info info = {0};
	struct event *events;
	uint32_t n = 0;
	int r;

	if (store_reader_dropped(reader).events)
		return -ENODATA;
	events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*events));
	while ((r = store_reader_next_chunk(reader, info.id, &info, events, err)) == 1) {
		n = walk_events_until(&events->t_ns, sizeof(*events), info.events, w,
				      walk->replay->ordinal);
		if (n && info.space.v != walk->replay->space.v)
			begin_space(walk, info.space);
		r = replay_feed_all(walk->replay, events, n, walk->each, walk->arg, err);
		if (walk->progress)
			walk->progress(walk->replay->ordinal);
		if (r || n < info.events)
			break;
	}
	free(events);
	/* a program that never allocated */
	if (!r && w->until_ns == UINT64_MAX &&
	    store_reader_last_space(reader).v > walk->replay->space.v)
		begin_space(walk, store_reader_last_space(reader));
	return r < 0 ? r : 0;
}
