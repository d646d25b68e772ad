/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CATALOG_ROWS_H
#define STORE_CATALOG_ROWS_H

#include <sqlite3.h>

#include "store/seal.h"

/*
 * Reading the catalog's tables.  Most of the rows are stacks, and the seal is made of them,
 * too: they are read once for both.
 */
struct catalog;

/* For SQLite's error code: the values of a table cannot be right. */
#define CATALOG_ROWS_IMPOSSIBLE SQLITE_ABORT

/*
 * The seal that @db should have, see seal_compute().  On the way @early, which is zeroed, gets
 * the frames and stacks, if they are possible.
 */
int catalog_rows_seal(sqlite3 *db, sqlite3 *other, struct seal_parts *parts, struct catalog *early,
		      char ret[SEAL_MAX]);
/*
 * @c gets what it lacks: frames and stacks come from @early if there are any, and are moved.
 * Returns 0, or SQLite's error code with @c released.
 */
int catalog_rows_update(sqlite3 *db, struct catalog *early, struct catalog *c);

#endif
