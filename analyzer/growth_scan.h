/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_SCAN_H
#define ANALYZER_GROWTH_SCAN_H

#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/growth_windows.h"
#include "common/err.h"
#include "store/chunk.h"
#include "store/reader.h"
#include "store/replay.h"

/*
 * All events of a recording, for what each stack had over time and nothing else: of a block only its
 * size, stack and age are kept, and of a chunk only what these are made of is decoded.  A third of
 * what it takes to replay the heap and sum it up.
 */
struct growth_scan;

/*
 * For @g, which has begun: only blocks count of @families and that were allocated at @since_ns
 * or later.  @heap: what was live before.
 */
struct growth_scan *growth_scan_new(struct growth_windows *g, uint64_t since_ns,
				    uint64_t families, const struct replay *heap);
void growth_scan_free(struct growth_scan *s);
/*
 * The events of a chunk from number @from until @to; those before have been fed.  -EBADMSG with
 * @err where they contradict those before.
 */
int growth_scan_feed(struct growth_scan *s, struct space_id space, const struct chunk_brief *b,
		     uint32_t from, uint32_t to, struct err *err);
/* That was all; @space runs then, with or without events: 0: that of the last event. */
void growth_scan_end(struct growth_scan *s, struct space_id space);

/*
 * All chunks after number @after, until @w ends; they are decoded by another thread.  @reader is
 * the call's as long as it takes.
 */
int growth_scan_read(struct growth_scan *s, struct store_reader *reader, uint64_t after,
		     const struct analysis_window *w, analysis_progress *progress,
		     struct err *err);

#endif
