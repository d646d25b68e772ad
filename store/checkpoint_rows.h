/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CHECKPOINT_ROWS_H
#define STORE_CHECKPOINT_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "store/record.h"

/* The table of checkpoints: see store_reader_find_checkpoint() and store_reader_checkpoint(). */
bool checkpoint_rows_find(sqlite3 *db, uint64_t until, struct checkpoint_info *ret);
bool checkpoint_rows_read(sqlite3 *db, enum checkpoint_kind kind, uint64_t chunk,
			  struct buffer *ret);
/* See store_reader_chunk_at(); @first: the first chunk, 0: there is none. */
uint64_t checkpoint_rows_chunk_at(sqlite3 *db, uint64_t first, uint64_t t_ns);

/* Of all that is in the database; pages that are free are not counted. */
uint64_t checkpoint_rows_used_bytes(sqlite3 *db);

#endif
