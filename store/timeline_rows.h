/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_TIMELINE_ROWS_H
#define STORE_TIMELINE_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/reader.h"

/* Tables timeline and rss: for reader.c.  SQLITE_DONE, or what is wrong. */

int timeline_rows_buckets(sqlite3 *db, struct timeline *t);
/* Adds those after *@last_row, which goes on; @only_later: than what @t has. */
int timeline_rows_rss(sqlite3 *db, uint64_t *last_row, bool only_later, struct timeline *t);

#endif
