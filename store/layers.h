/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_LAYERS_H
#define STORE_LAYERS_H

#include <stdint.h>

#include "common/err.h"
#include "store/reader.h"
#include "store/replay.h"

/*
 * The layers of a recording's allocators: which families are of which.  Number 0 is the heap's,
 * which also has all families that nobody has named; the others are numbered in the order of
 * their families' ids.
 */
#define LAYERS_MAX 16
#define LAYER_NAME_BYTES 64
#define LAYERS_HEAP "heap"
#define LAYERS_MMAP "mmap" /* what the program maps, see record --mmap */

/* By which the name of a family ends that is one of pools, or of countable things. */
#define LAYERS_POOLS_SUFFIX " pools"
#define LAYERS_COUNTED_SUFFIX " references"
/* By which what is said of a function ends whose events come as it is entered. */
#define LAYERS_AT_ENTRY " entry"

struct layers {
	struct layer {
		char name[LAYER_NAME_BYTES];
		uint64_t families; /* bits of their ids, modulo 64 */
	} layers[LAYERS_MAX];
	uint8_t n; /* 1 at least, when it is initialised */
	struct replay_layers replay;
};

void layers_init(struct layers *l);
/* The next one, by the ids. */
void layers_add(struct layers *l, uint64_t id, const char *layer);
void layers_read(struct layers *l, struct store_reader *r);
/* NULL where there is none of that name. */
const struct layer *layers_find(const struct layers *l, const char *name);
/* -EINVAL with @err, which says what there is instead. */
int layers_unknown(const struct layers *l, const char *name, struct err *err);

#endif
