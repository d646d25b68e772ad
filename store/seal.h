/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_SEAL_H
#define STORE_SEAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/scan.h"

/*
 * The seal of a finished recording: a checksum over all of its tables, and over what its
 * views are, kept in table recording itself.  The events have checksums of their own in
 * table chunk, which the seal covers.  A recording without one was cut off, or is being
 * written.
 */
#define SEAL_KEY "seal"
#define SEAL_MAX 24

/*
 * What each table, and the views, add to it.  Of a recording of which only names change,
 * the parts of the others, as they were found to be right, need not be read again.
 */
#define SEAL_TABLES 19

struct seal_parts {
	struct seal_part {
		bool is_known;
		uint32_t crc;
		uint64_t len_bytes, n_rows;
	} tables[SEAL_TABLES];
};

/* Who wants the rows of a table, which then need not be read again. */
struct seal_taker {
	const char *table; /* "frame" or "stack"; NULL: no more takers */
	scan_row *take;	   /* false: no more of this table */
	void *arg;
	/*
	 * Two threads are going to take them: returns what the second, for the rows behind
	 * @middle, up to @last, has for @arg.  NULL: the table is not for two.
	 */
	void *(*split)(void *arg, int64_t middle, int64_t last);
};

/*
 * The seal that @db should have.  Of @parts those that are known are taken as they are,
 * the others read, and known then.  @takers may be NULL.  Returns 0, or SQLite's error code.
 * @other: NULL, or the same file, for a second thread that reads a half of large tables.
 */
int seal_compute(sqlite3 *db, sqlite3 *other, struct seal_parts *parts,
		 const struct seal_taker *takers, char ret[SEAL_MAX]);
/* Names are changing, and what goes by them: these parts are to be read again. */
void seal_forget_names(struct seal_parts *parts);
/* The seal that @db has; false where it has none. */
bool seal_read(sqlite3 *db, char ret[SEAL_MAX]);

#endif
