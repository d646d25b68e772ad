/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_WALK_H
#define ANALYZER_WALK_H

#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/reader.h"
#include "store/replay.h"

/* The events of a window, one after the other, of what no checkpoint has: from the beginning. */
struct walk {
	struct replay *replay; /* new */
	void (*begin_space)(void *arg); /* the blocks of the one before are still there */
	replay_each *each;
	void *arg;
	analysis_progress *progress; /* or NULL */
};

/* 0; -ENODATA without @err where the oldest events are not there any more; -errno with @err. */
int walk_events(const struct walk *walk, struct store_reader *reader,
		const struct analysis_window *w, struct err *err);

/*
 * How many of @n events are within the window, @before of which were before them.  @t_ns: when
 * the first was; of the others that is @bytes further on each time.
 */
uint32_t walk_events_until(const uint64_t *t_ns, size_t bytes, uint32_t n,
			   const struct analysis_window *w, uint64_t before);

#endif
