/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_POOL_TOTALS_H
#define ANALYZER_POOL_TOTALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/catalog.h"
#include "store/layers.h"
#include "store/reader.h"

/*
 * The pools of a layer, one by one: what they handed out, and what their functions took of
 * layer heap for it.
 *
 * What a pool handed out the recording says (EVENT_IN_POOL).  That a block of the heap was taken
 * for a pool is told by its stack: functions of the layer are on it, and below them it is that
 * of a call of which the same thread has the next event, or, where that comes when the function
 * is entered, had the last one.
 */
struct pool_total {
	uint64_t address; /* 0: the first item, of blocks that are in no pool */
	struct stack_id stack; /* that made it; 0: not known */
	uint64_t made_ns, ended_ns; /* 0: not known; it has not ended */
	struct pool_sums {
		uint64_t calls, bytes; /* all of them; while they were live: */
		uint64_t live_blocks, live_bytes, peak_bytes;
	} own, taken; /* own: without the pools in it */
};

struct pool_totals {
	struct pool_total *items; /* the first one: what is in no pool, or was taken for none */
	size_t n, cap;
	bool is_told;	    /* which pool blocks are in: the recorder may be too old */
	bool has_functions; /* that can be told in a stack: without them nothing is taken */
};

/* -ENODATA without @err where the events from the beginning are not there any more. */
int pool_totals_make(struct store_reader *reader, const struct catalog *c,
		     const struct layers *layers, const struct layer *layer,
		     const struct analysis_window *window, analysis_progress *progress,
		     struct pool_totals *ret, struct err *err);
void pool_totals_release(struct pool_totals *p);

#endif
