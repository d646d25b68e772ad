/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/seal.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "common/buffer.h"
#include "common/xalloc.h"

/* In an order that does not depend on how SQLite stored the rows. */
static const struct {
	const char *sql;
	bool has_names; /* or what goes by them */
} tables[] = {
	{"SELECT * FROM recording WHERE key <> '" SEAL_KEY "' ORDER BY key", true},
	{"SELECT * FROM process ORDER BY id", false},
	{"SELECT * FROM space ORDER BY id", false},
	{"SELECT * FROM thread ORDER BY id", false},
	{"SELECT * FROM family ORDER BY id", false},
	{"SELECT * FROM module ORDER BY id", false},
	{"SELECT * FROM mapping ORDER BY id", false},
	{"SELECT * FROM frame ORDER BY id", false},
	{"SELECT * FROM stack ORDER BY id", false},
	{"SELECT * FROM symbol ORDER BY frame, depth", true},
	{"SELECT * FROM loss ORDER BY kind", false},
	{"SELECT * FROM rss ORDER BY rowid", false},
	{"SELECT * FROM timeline ORDER BY bucket", false},
	{"SELECT id, space, events, allocs, frees, first_ns, last_ns, min_size, max_size,"
	 " min_address, max_address, families, codec, crc FROM chunk ORDER BY id", false},
	{"SELECT chunk, kind, time_ns, bytes, crc FROM checkpoint ORDER BY chunk, kind", false},
	{"SELECT * FROM site ORDER BY stack", true},
	/* ours; users may make more */
	{"SELECT name, sql FROM sqlite_master WHERE type = 'view'"
	 " AND name IN ('own', 'file', 'function', 'leak') ORDER BY name", false},
};

_Static_assert(COUNT_OF(tables) == SEAL_TABLES, "a part for each");

void seal_forget_names(struct seal_parts *parts)
{
	for (size_t i = 0; i < SEAL_TABLES; i++)
		if (tables[i].has_names)
			parts->tables[i].is_known = false;
}

static void add_value(struct buffer *to, sqlite3_stmt *s, int column)
{
	int type = sqlite3_column_type(s, column), n;
	const void *bytes;

	if (type == SQLITE_INTEGER) { /* most are */
		sqlite3_int64 number = sqlite3_column_int64(s, column);
		uint8_t both[sizeof(type) + sizeof(number)];

		memcpy(both, &type, sizeof(type));
		memcpy(both + sizeof(type), &number, sizeof(number));
		buffer_append(to, both, sizeof(both));
		return;
	}
	buffer_append(to, &type, sizeof(type));
	if (type == SQLITE_NULL)
		return;
	bytes = sqlite3_column_blob(s, column);
	n = sqlite3_column_bytes(s, column);
	buffer_append(to, &n, sizeof(n));
	if (n)
		buffer_append(to, bytes, (size_t)n);
}

/* Many values at a time: a call costs more than a few bytes do. */
#define BATCH_BYTES 65536

static void add_batch(struct seal_part *p, struct buffer *b, size_t least)
{
	if (b->len < least)
		return;
	p->crc = (uint32_t)crc32_z(p->crc, b->data, b->len);
	p->len_bytes += b->len;
	buffer_reset(b);
}

static int read_table(sqlite3 *db, size_t i, struct seal_part *ret)
{
	struct seal_part p = {.is_known = true};
	struct buffer b = {0};
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db, tables[i].sql, -1, &s, NULL), n_columns;

	n_columns = s ? sqlite3_column_count(s) : 0;
	buffer_append(&b, &i, sizeof(i));
	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		code = SQLITE_OK;
		p.n_rows++;
		for (int c = 0; c < n_columns; c++)
			add_value(&b, s, c);
		add_batch(&p, &b, BATCH_BYTES);
	}
	sqlite3_finalize(s);
	add_batch(&p, &b, 1);
	buffer_release(&b);
	if (code == SQLITE_DONE)
		*ret = p;
	return code == SQLITE_DONE ? 0 : code;
}

/* The checksum is that of all the tables' bytes, one behind the other. */
int seal_compute(sqlite3 *db, struct seal_parts *parts, char ret[SEAL_MAX])
{
	uint64_t n_rows = 0;
	uint32_t crc = 0;

	for (size_t i = 0; i < SEAL_TABLES; i++) {
		struct seal_part *p = &parts->tables[i];
		int code = p->is_known ? 0 : read_table(db, i, p);

		if (code)
			return code;
		crc = (uint32_t)crc32_combine(crc, p->crc, (z_off_t)p->len_bytes);
		n_rows += p->n_rows;
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
