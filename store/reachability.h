/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_REACHABILITY_H
#define STORE_REACHABILITY_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "store/block_kind.h"
#include "store/record.h"

/*
 * Table reachability: of which kind each block was that was live at one moment, when the
 * process stood still.
 */
#define REACHABILITY_CODEC 1
#define REACHABILITY_DOUBTFUL_BLOCKS_KEY "reachability_doubtful_blocks"
#define REACHABILITY_DOUBTFUL_BYTES_KEY "reachability_doubtful_bytes"
/* A fact: why there is no such row, although one was asked for. */
#define REACHABILITY_FAILED_KEY "reachability_failed"

/* What it was that was looked at.  Stored as they are numbered: never renumber. */
enum reachability_flag {
	/*
	 * There may be blocks that nobody has seen, so that all memory of the allocator counts
	 * as roots: what is lost may look reachable, but not the other way round.
	 */
	REACHABILITY_CAUTIOUS = 1,
	REACHABILITY_AT_EXIT = 2,
	/*
	 * Of some anonymous memory it is not known whether it is the program's or the allocator's
	 * own.  What only that points to counts as possibly lost; these facts say how much it is.
	 */
	REACHABILITY_DOUBTFUL = 4,
};

struct reachability_record {
	struct space_id space;
	uint64_t t_ns, held_ns; /* held_ns: how long it stood still */
	uint64_t read_bytes;	/* of its memory */
	uint64_t flags;
	uint64_t n;
	uint64_t *addresses; /* rising */
	uint8_t *kinds;	     /* [n] enum block_kind */
};

void reachability_release(struct reachability_record *r);

/* For store/writer.c: binds all columns; false: it is too large, or there was no memory. */
bool reachability_bind(sqlite3_stmt *s, const struct reachability_record *r);
/*
 * That of @space which is the last; @ret is zero, and to be released.  False: there is none, or
 * it is damaged, which *@ret_damaged says.
 */
bool reachability_read(sqlite3 *db, struct space_id space, struct reachability_record *ret,
		       bool *ret_damaged);

#endif
