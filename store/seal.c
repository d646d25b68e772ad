/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/seal.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "common/buffer.h"
#include "common/xalloc.h"

#define SNAPSHOT_SQL \
	"SELECT id, space, time_ns, reason, held_ns, rss_bytes, heap_bytes, live_bytes," \
	" bytes, crc FROM snapshot ORDER BY id"

/* In an order that does not depend on how SQLite stored the rows. */
static const struct {
	const char *sql; /* or the name of a table with ids, which may be large */
	bool has_names;	 /* or what goes by them */
	bool is_large;
} tables[] = {
	{"SELECT * FROM recording WHERE key <> '" SEAL_KEY "' ORDER BY key", true, false},
	{"SELECT * FROM process ORDER BY id", false, false},
	{"SELECT * FROM space ORDER BY id", false, false},
	{"SELECT * FROM thread ORDER BY id", false, false},
	{"SELECT * FROM family ORDER BY id", false, false},
	{"SELECT * FROM module ORDER BY id", false, false},
	{"SELECT * FROM mapping ORDER BY id", false, false},
	{"frame", false, true},
	{"stack", false, true},
	{"SELECT * FROM symbol ORDER BY frame, depth", true, false},
	{"SELECT * FROM loss ORDER BY kind", false, false},
	{"SELECT * FROM rss ORDER BY rowid", false, false},
	{"SELECT * FROM timeline ORDER BY bucket", false, false},
	{"SELECT id, space, events, allocs, frees, first_ns, last_ns, min_size, max_size,"
	 " min_address, max_address, families, codec, crc FROM chunk ORDER BY id", false, false},
	{"SELECT chunk, kind, time_ns, bytes, crc FROM checkpoint ORDER BY chunk, kind", false,
	 false},
	{"site", true, true},
	/* ours; users may make more */
	{"SELECT name, sql FROM sqlite_master WHERE type = 'view'"
	 " AND name IN ('own', 'file', 'function', 'leak') ORDER BY name", false, false},
	/* not in recordings of before they came, whose seal is as if there were no such lines */
	{SNAPSHOT_SQL, false, false},
	{"SELECT space, time_ns, held_ns, read_bytes, flags, blocks, codec, bytes, crc"
	 " FROM reachability ORDER BY space, time_ns", false, false},
};

_Static_assert(COUNT_OF(tables) == SEAL_TABLES, "a part for each");

/* Those from here on add nothing where they have no rows, or are not there. */
#define LATER (SEAL_TABLES - 2)

void seal_forget_names(struct seal_parts *parts)
{
	for (size_t i = 0; i < SEAL_TABLES; i++)
		if (tables[i].has_names)
			parts->tables[i].is_known = false;
}

/* Many values at a time: a call costs more than a few bytes do. */
#define BATCH_BYTES 65536

struct reading {
	struct seal_part part;
	struct buffer bytes; /* that are still to be added */
	const struct seal_taker *taker;
	bool is_taken; /* no more is wanted */
};

/* What a number takes. */
#define NUMBER_BYTES (sizeof(int) + sizeof(sqlite3_int64))

static inline void add_value(struct buffer *to, sqlite3_value *v)
{
	int type = sqlite3_value_type(v), n;
	const void *bytes;

	if (type == SQLITE_INTEGER) { /* most are */
		sqlite3_int64 number = sqlite3_value_int64(v);

		ARRAY_GROW(to->data, to->cap, to->len + NUMBER_BYTES);
		memcpy(to->data + to->len, &type, sizeof(type));
		memcpy(to->data + to->len + sizeof(type), &number, sizeof(number));
		to->len += NUMBER_BYTES;
		return;
	}
	buffer_append(to, &type, sizeof(type));
	if (type == SQLITE_NULL)
		return;
	bytes = sqlite3_value_blob(v);
	n = sqlite3_value_bytes(v);
	buffer_append(to, &n, sizeof(n));
	if (n)
		buffer_append(to, bytes, (size_t)n);
}

static void add_batch(struct reading *r, size_t least)
{
	if (r->bytes.len < least)
		return;
	r->part.crc = (uint32_t)crc32_z(r->part.crc, r->bytes.data, r->bytes.len);
	r->part.len_bytes += r->bytes.len;
	buffer_reset(&r->bytes);
}

static bool add_row(void *arg, sqlite3_value *const *values, int n)
{
	struct reading *r = arg;

	r->part.n_rows++;
	for (int i = 0; i < n; i++)
		add_value(&r->bytes, values[i]);
	add_batch(r, BATCH_BYTES);
	if (r->taker && !r->is_taken)
		r->is_taken = !r->taker->take(r->taker->arg, values, n);
	return true;
}

/* A table that has few rows, or another order than that of ids. */
static int read_rows(sqlite3 *db, const char *sql, struct reading *r)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		code = SQLITE_OK;
		r->part.n_rows++;
		for (int i = 0; i < sqlite3_column_count(s); i++)
			add_value(&r->bytes, sqlite3_column_value(s, i));
		add_batch(r, BATCH_BYTES);
	}
	sqlite3_finalize(s);
	return code == SQLITE_DONE ? 0 : code;
}

static bool has_rows(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s = NULL;
	bool has = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
		   sqlite3_step(s) == SQLITE_ROW;

	sqlite3_finalize(s);
	return has;
}

/* ---- one table by two -------------------------------------------------------------------- */

/* Of smaller ones a thread costs as much. */
#define SPLIT_ROWS_MIN 65536
#define ROW_BYTES_MIN 4

static int64_t one_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s = NULL;
	int64_t n = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

/* The last id of a table that is worth two threads; 0: it is not, or no such file has so many. */
static int64_t last_of_many(sqlite3 *db, const char *table)
{
	char *sql = sqlite3_mprintf("SELECT max(rowid) FROM \"%w\"", table);
	int64_t last = sql ? one_number(db, sql) : 0;
	int64_t pages = one_number(db, "PRAGMA page_count");
	bool is_possible = last / ROW_BYTES_MIN <= pages * one_number(db, "PRAGMA page_size");

	sqlite3_free(sql);
	return is_possible && last >= SPLIT_ROWS_MIN ? last : 0;
}

/* The rows behind the middle, by a thread of its own. */
struct second_half {
	pthread_t thread;
	sqlite3 *db;
	const char *table;
	int64_t middle, last;
	struct seal_taker taker;
	struct reading reading;
	int code;
};

static void *read_second_half(void *arg)
{
	struct second_half *h = arg;

	h->code = scan_table(h->db, h->table, h->middle + 1, h->last, add_row, &h->reading);
	add_batch(&h->reading, 1);
	return NULL;
}

static int read_by_two(sqlite3 *db, struct second_half *h, struct reading *r)
{
	int code;

	if (r->taker) {
		h->taker = *r->taker;
		h->taker.arg = r->taker->split(r->taker->arg, h->middle, h->last);
		h->reading.taker = &h->taker;
	}
	if (pthread_create(&h->thread, NULL, read_second_half, h)) {
		code = scan_table(db, h->table, INT64_MIN, h->middle, add_row, r);
		h->db = db;
		read_second_half(h);
	} else {
		code = scan_table(db, h->table, INT64_MIN, h->middle, add_row, r);
		pthread_join(h->thread, NULL);
	}
	add_batch(r, 1);
	buffer_release(&h->reading.bytes);
	r->part.crc = (uint32_t)crc32_combine(r->part.crc, h->reading.part.crc,
					      (z_off_t)h->reading.part.len_bytes);
	r->part.len_bytes += h->reading.part.len_bytes;
	r->part.n_rows += h->reading.part.n_rows;
	return code ? code : h->code;
}

static int read_large(sqlite3 *db, sqlite3 *other, const char *table, struct reading *r)
{
	bool may_split = other && (!r->taker || r->taker->split);
	int64_t last = may_split ? last_of_many(db, table) : 0;
	struct second_half h = {.db = other, .table = table, .middle = last / 2, .last = last};

	return last ? read_by_two(db, &h, r)
		    : scan_table(db, table, INT64_MIN, INT64_MAX, add_row, r);
}

/* ---- all ----------------------------------------------------------------------------------- */

static int read_table(sqlite3 *db, sqlite3 *other, size_t i, const struct seal_taker *takers,
		      struct seal_part *ret)
{
	struct reading r = {.part.is_known = true};
	int code;

	if (i >= LATER && !has_rows(db, tables[i].sql)) {
		*ret = r.part;
		return 0;
	}
	for (; takers && takers->table; takers++)
		if (!strcmp(takers->table, tables[i].sql))
			r.taker = takers;
	buffer_append(&r.bytes, &i, sizeof(i));
	code = tables[i].is_large ? read_large(db, other, tables[i].sql, &r)
				  : read_rows(db, tables[i].sql, &r);
	add_batch(&r, 1);
	buffer_release(&r.bytes);
	if (!code)
		*ret = r.part;
	return code;
}

/* The checksum is that of all the tables' bytes, one behind the other. */
int seal_compute(sqlite3 *db, sqlite3 *other, struct seal_parts *parts,
		 const struct seal_taker *takers, char ret[SEAL_MAX])
{
	uint64_t n_rows = 0;
	uint32_t crc = 0;

	for (size_t i = 0; i < SEAL_TABLES; i++) {
		struct seal_part *p = &parts->tables[i];
		int code = p->is_known ? 0 : read_table(db, other, i, takers, p);

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
