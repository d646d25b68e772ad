/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_LAYER_TOTALS_H
#define ANALYZER_LAYER_TOTALS_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/catalog.h"
#include "store/layers.h"
#include "store/reader.h"

/*
 * What each layer sums up to, in one pass over all events; and what the functions of a layer
 * took of the heap below, told by the stacks that they are in.
 */
struct layer_total {
	const struct layer *layer;
	struct analysis own;   /* without groups and stacks */
	struct analysis taken; /* of layer heap, in its functions; of that layer itself nothing */
	bool has_functions;    /* that can be told in a stack */
	bool has_pools, has_counted;
};

/*
 * @ret has @layers->n.  -ENODATA without @err where the events from the beginning are not
 * there any more.
 */
int layer_totals_make(struct store_reader *reader, const struct catalog *c,
		      const struct layers *layers, const struct analysis_window *window,
		      analysis_progress *progress, struct layer_total ret[LAYERS_MAX],
		      struct err *err);

/* Bits of the ids of the families of countable things in the layer; and of pools. */
uint64_t layer_counted_families(const struct catalog *c, const struct layer *layer);
uint64_t layer_pool_families(const struct catalog *c, const struct layer *layer);
/*
 * [id]: are functions of the layer on the stack, and does the event of the outermost of them
 * come after what it does itself, or before?  To be freed; NULL where none of them is known.
 */
enum layer_call { LAYER_CALL_NONE, LAYER_CALL_TOLD_AFTER, LAYER_CALL_TOLD_BEFORE };
uint8_t *layer_call_stacks(const struct catalog *c, const char *layer);

#endif
