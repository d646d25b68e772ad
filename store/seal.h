/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_SEAL_H
#define STORE_SEAL_H

#include <sqlite3.h>
#include <stdbool.h>

/*
 * The seal of a finished recording: a checksum over all of its tables, kept in
 * table recording itself.  The events have checksums of their own in table chunk,
 * which the seal covers.  A recording without one was cut off, or is being written.
 */
#define SEAL_KEY "seal"
#define SEAL_MAX 24

/* The seal that @db should have.  Returns 0, or SQLite's error code. */
int seal_compute(sqlite3 *db, char ret[SEAL_MAX]);
/* The seal that @db has; false where it has none. */
bool seal_read(sqlite3 *db, char ret[SEAL_MAX]);

#endif
