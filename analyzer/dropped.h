/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_DROPPED_H
#define ANALYZER_DROPPED_H

#include <stdbool.h>
#include <stdint.h>

#include "store/catalog.h"

/* The oldest events, of a recording that was kept below a size, or that has several files. */
struct dropped {
	uint64_t events;
	bool are_elsewhere; /* in files before this one (--every) */
	uint64_t until_ns;    /* when the last of them was, since the recording began */
	uint64_t max_size;    /* 0: no bound was given */
	uint64_t state_bytes; /* of the heap's state, where the bound could not be kept; or 0 */
};

/* False where none were, and the bound, if there was one, could be kept. */
bool dropped_read(const struct catalog *c, struct dropped *ret);
/* "Events before 12.3 s were dropped (--max-size): …", in one line; to be freed. */
char *dropped_text(const struct dropped *d);
/* What that means for a layer that is not the heap's; of @d->events; to be freed. */
char *dropped_layer_text(const struct dropped *d, const char *layer);

#endif
