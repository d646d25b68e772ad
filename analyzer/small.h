/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_SMALL_H
#define ANALYZER_SMALL_H

#include <stdbool.h>
#include <stdint.h>

#include "store/catalog.h"

/*
 * Blocks that the recorder was told to count only (--min-size).  They are in no other number
 * of a recording; live are those of the last program.
 */
struct small {
	uint64_t min_size; /* they have fewer bytes */
	uint64_t alloc_calls, free_calls, allocated_bytes;
	uint64_t live_blocks, live_bytes;
};

/* False, and @ret all zero, where all blocks were recorded. */
bool small_read(const struct catalog *c, struct small *ret);
/* "Blocks under 64 bytes were counted, not recorded: …", in one line; to be freed. */
char *small_text(const struct small *s);

#endif
