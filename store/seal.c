/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/seal.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "common/xalloc.h"

/* In an order that does not depend on how SQLite stored the rows. */
static const char *const rows[] = {
	"SELECT * FROM recording WHERE key <> '" SEAL_KEY "' ORDER BY key",
	"SELECT * FROM process ORDER BY id",
	"SELECT * FROM space ORDER BY id",
	"SELECT * FROM thread ORDER BY id",
	"SELECT * FROM family ORDER BY id",
	"SELECT * FROM module ORDER BY id",
	"SELECT * FROM mapping ORDER BY id",
	"SELECT * FROM frame ORDER BY id",
	"SELECT * FROM stack ORDER BY id",
	"SELECT * FROM symbol ORDER BY frame, depth",
	"SELECT * FROM loss ORDER BY kind",
	"SELECT * FROM rss ORDER BY rowid",
	"SELECT * FROM timeline ORDER BY bucket",
	"SELECT id, space, events, allocs, frees, first_ns, last_ns, min_size, max_size,"
	" min_address, max_address, families, codec, crc FROM chunk ORDER BY id",
	"SELECT * FROM site ORDER BY stack",
	"SELECT * FROM file ORDER BY rowid",
};

static uint32_t add(uint32_t crc, const void *bytes, size_t n)
{
	return (uint32_t)crc32_z(crc, bytes, n);
}

static uint32_t add_value(uint32_t crc, sqlite3_stmt *s, int column)
{
	int type = sqlite3_column_type(s, column);
	sqlite3_int64 number = sqlite3_column_int64(s, column);
	const void *bytes;
	int n;

	crc = add(crc, &type, sizeof(type));
	if (type == SQLITE_INTEGER)
		return add(crc, &number, sizeof(number));
	if (type == SQLITE_NULL)
		return crc;
	bytes = sqlite3_column_blob(s, column);
	n = sqlite3_column_bytes(s, column);
	crc = add(crc, &n, sizeof(n));
	return n ? add(crc, bytes, (size_t)n) : crc;
}

int seal_compute(sqlite3 *db, char ret[SEAL_MAX])
{
	uint64_t n_rows = 0;
	uint32_t crc = 0;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		sqlite3_stmt *s = NULL;
		int code = sqlite3_prepare_v2(db, rows[i], -1, &s, NULL);

		crc = add(crc, &i, sizeof(i));
		while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
			code = SQLITE_OK;
			n_rows++;
			for (int c = 0; c < sqlite3_column_count(s); c++)
				crc = add_value(crc, s, c);
		}
		sqlite3_finalize(s);
		if (code != SQLITE_DONE)
			return code;
	}
	snprintf(ret, SEAL_MAX, "%08x-%llu", crc, (unsigned long long)n_rows % 1000000000000ull);
	return 0;
}

bool seal_read(sqlite3 *db, char ret[SEAL_MAX])
{
	sqlite3_stmt *s = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(db, "SELECT value FROM recording WHERE key = '" SEAL_KEY "'", -1,
			       &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(s, 0);

		snprintf(ret, SEAL_MAX, "%s", text ? text : "");
		found = true;
	}
	sqlite3_finalize(s);
	return found;
}
