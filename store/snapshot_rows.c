/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/snapshot_rows.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "common/xalloc.h"

#define ZSTD_LEVEL 3
/* Unpacked: of a process with a hundred thousand mappings. */
#define BYTES_MAX (256u << 20)

/* Covers the numbers of the row, too. */
static uint32_t crc_of(const struct snapshot_info *i, uint64_t bytes, const void *data, size_t len)
{
	uint64_t numbers[] = {i->space.v, i->t_ns, i->held_ns, i->rss_bytes, i->heap_bytes,
			      i->live_bytes, bytes};

	return (uint32_t)crc32_z(crc32(0, (const Bytef *)numbers, sizeof(numbers)), data, len);
}

void snapshot_rows_bind(sqlite3_stmt *s, const struct snapshot_info *i,
			const struct snapshot *snapshot, struct buffer *packed)
{
	struct buffer plain = {0};
	size_t bound, n;

	snapshot_encode(snapshot, &plain);
	bound = ZSTD_compressBound(plain.len);
	buffer_reset(packed);
	ARRAY_GROW(packed->data, packed->cap, bound);
	n = ZSTD_compress(packed->data, bound, plain.data, plain.len, ZSTD_LEVEL);
	packed->len = ZSTD_isError(n) ? 0 : n;
	sqlite3_bind_int64(s, 1, i->space.v);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)i->t_ns);
	sqlite3_bind_text(s, 3, i->reason, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 4, (sqlite3_int64)i->held_ns);
	sqlite3_bind_int64(s, 5, (sqlite3_int64)i->rss_bytes);
	sqlite3_bind_int64(s, 6, (sqlite3_int64)i->heap_bytes);
	sqlite3_bind_int64(s, 7, (sqlite3_int64)i->live_bytes);
	sqlite3_bind_int64(s, 8, (sqlite3_int64)plain.len);
	sqlite3_bind_int64(s, 9, crc_of(i, plain.len, packed->data, packed->len));
	sqlite3_bind_blob(s, 10, packed->data, (int)packed->len, SQLITE_STATIC);
	buffer_release(&plain);
}

static bool has_table(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	bool has = sqlite3_prepare_v2(db, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND"
				      " name = 'snapshot'", -1, &s, NULL) == SQLITE_OK &&
		   sqlite3_step(s) == SQLITE_ROW;

	sqlite3_finalize(s);
	return has;
}

static uint64_t column_u64(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

#define COLUMNS "id, space, time_ns, reason, held_ns, rss_bytes, heap_bytes, live_bytes"

static struct snapshot_info info_of(sqlite3_stmt *s)
{
	const char *reason = (const char *)sqlite3_column_text(s, 3);

	return (struct snapshot_info){
		.id = column_u64(s, 0),
		.space = {(uint32_t)column_u64(s, 1)},
		.t_ns = column_u64(s, 2),
		.reason = reason ? reason : "",
		.held_ns = column_u64(s, 4),
		.rss_bytes = column_u64(s, 5),
		.heap_bytes = column_u64(s, 6),
		.live_bytes = column_u64(s, 7),
	};
}

bool snapshot_rows_list(sqlite3 *db, snapshot_rows_each *each, void *arg)
{
	sqlite3_stmt *s = NULL;
	int code;

	if (!has_table(db))
		return true;
	code = sqlite3_prepare_v2(db, "SELECT " COLUMNS " FROM snapshot ORDER BY id", -1, &s, NULL);
	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		struct snapshot_info i = info_of(s);

		each(arg, &i);
		code = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return code == SQLITE_DONE;
}

static bool read_row(sqlite3_stmt *s, struct snapshot *ret)
{
	struct snapshot_info i = info_of(s);
	uint64_t bytes = column_u64(s, 8);
	const void *data = sqlite3_column_blob(s, 10);
	size_t len = (size_t)sqlite3_column_bytes(s, 10), n;
	bool good = false;
	uint8_t *plain;

	if (!len || !bytes || bytes > BYTES_MAX ||
	    crc_of(&i, bytes, data, len) != (uint32_t)sqlite3_column_int64(s, 9))
		return false;
	plain = malloc(bytes); /* whatever it says: it need not be there */
	if (!plain)
		return false;
	n = ZSTD_decompress(plain, bytes, data, len);
	if (!ZSTD_isError(n) && n == bytes)
		good = snapshot_decode(plain, bytes, ret);
	free(plain);
	return good;
}

bool snapshot_rows_read(sqlite3 *db, uint64_t id, struct snapshot *ret)
{
	sqlite3_stmt *s = NULL;
	bool good = false;

	if (has_table(db) &&
	    sqlite3_prepare_v2(db, "SELECT " COLUMNS ", bytes, crc, data FROM snapshot"
			       " WHERE id = ?", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_bind_int64(s, 1, (sqlite3_int64)id) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		good = read_row(s, ret);
	sqlite3_finalize(s);
	return good;
}
