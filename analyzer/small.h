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

/*
 * Blocks that were there when the recorder attached (--walk-heap): they are live ones like all
 * others, but no calls.
 */
struct from_before {
	uint64_t blocks, bytes; /* usable */
	uint64_t held_ns;	/* so long the process stood still for that */
	const char *error;	/* why they are not all there; NULL: they are */
};

/* False, and @ret all zero, where nobody asked for them. */
bool from_before_read(const struct catalog *c, struct from_before *ret);
/* "19,395 blocks of 38.3 MiB were there already …", in one line; to be freed. */
char *from_before_text(const struct from_before *b);

#endif
