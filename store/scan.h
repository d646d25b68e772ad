/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * All columns of the rows of a table, one row after the other by their ids: in half the
 * time that stepping a statement takes.
 */

/* False: that is enough. */
typedef bool scan_row(void *arg, sqlite3_value *const *values, int n);

/*
 * Gives the rows of @table, which has ids, from id @from to @to.  Returns 0, SQLite's error code,
 * or SQLITE_ABORT after @each returned false.
 */
int scan_table(sqlite3 *db, const char *table, int64_t from, int64_t to, scan_row *each,
	       void *arg);

#endif
