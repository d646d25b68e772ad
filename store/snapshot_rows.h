/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_SNAPSHOT_ROWS_H
#define STORE_SNAPSHOT_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>

#include "common/buffer.h"
#include "store/snapshot.h"

/* Table snapshot: for writer.c and reader.c.  A recording of before it came has none. */

/* @s: PUT_SNAPSHOT, which is bound.  @packed: as it goes into the row; lives until the step. */
void snapshot_rows_bind(sqlite3_stmt *s, const struct snapshot_info *i,
			const struct snapshot *snapshot, struct buffer *packed);
/* Each row, in their order; false where the table cannot be read. */
typedef void snapshot_rows_each(void *arg, const struct snapshot_info *i);

bool snapshot_rows_list(sqlite3 *db, snapshot_rows_each *each, void *arg);
/* One of them; false where it is not there, or damaged. */
bool snapshot_rows_read(sqlite3 *db, uint64_t id, struct snapshot *ret);

#endif
