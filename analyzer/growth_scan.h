/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_SCAN_H
#define ANALYZER_GROWTH_SCAN_H

#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/growth_windows.h"
#include "common/err.h"
#include "store/reader.h"
#include "store/replay.h"

/*
 * All events of a recording, for what each stack had over time and nothing else: of a block only
 * its size, stack and age are kept, and of a chunk only what these are made of is decoded.  Half of
 * what it takes to replay the heap and sum it up.
 */
struct growth_scan;

/*
 * For @g, which has begun: only blocks count of @families and that were allocated at @since_ns
 * or later.  @heap: what was live after chunk @chunk, with which it begins.
 */
struct growth_scan *growth_scan_new(struct growth_windows *g, uint64_t since_ns,
				    uint64_t families, const struct replay *heap, uint64_t chunk);
void growth_scan_free(struct growth_scan *s);

/*
 * The next chunk, or what has come to the last one since, as far as it is in @w: 1 if there may
 * be more, 0 if not, or not yet; -EBADMSG with @err where events contradict those before,
 * -ESTALE where what comes next was dropped meanwhile.
 */
int growth_scan_step(struct growth_scan *s, struct store_reader *reader,
		     const struct analysis_window *w, struct err *err);
/* How many it took, and those before the first. */
uint64_t growth_scan_events(const struct growth_scan *s);
/* Of the last event that it took; 0: it took none. */
uint64_t growth_scan_last_ns(const struct growth_scan *s);
/* The recording was finished: what was its last chunk may have grown once more. */
void growth_scan_look_again(struct growth_scan *s);

/*
 * All of them, decoded by another thread: once only.  0, or an error.  @reader is the call's as
 * long as it takes.
 */
int growth_scan_read(struct growth_scan *s, struct store_reader *reader,
		     const struct analysis_window *w, analysis_progress *progress,
		     struct err *err);
/* That was all; @space runs then, with or without events: 0: that of the last event. */
void growth_scan_end(struct growth_scan *s, struct space_id space);

#endif
