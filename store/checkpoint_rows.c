/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/checkpoint_rows.h"

#include <zstd.h>

#include "common/xalloc.h"
#include "store/checkpoint_crc.h"

bool checkpoint_rows_find(sqlite3 *db, uint64_t until, struct checkpoint_info *ret)
{
	static const char sql[] =
		"SELECT chunk, time_ns FROM checkpoint WHERE chunk <= ? GROUP BY chunk"
		" HAVING count(*) = 2 ORDER BY chunk DESC LIMIT 1";
	sqlite3_stmt *s = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(s, 1, until > INT64_MAX ? INT64_MAX : (sqlite3_int64)until);
		found = sqlite3_step(s) == SQLITE_ROW;
	}
	if (found)
		*ret = (struct checkpoint_info){
			.chunk = (uint64_t)sqlite3_column_int64(s, 0),
			.t_ns = (uint64_t)sqlite3_column_int64(s, 1),
		};
	sqlite3_finalize(s);
	return found;
}

/* A file that goes on from others begins with chunk 0: of those nothing is known here. */
static bool is_possible_size(const struct checkpoint_info *info, size_t packed_bytes)
{
	if (!info->chunk)
		return info->bytes / packed_bytes <= CHECKPOINT_RATIO_MAX;
	return info->bytes / CHECKPOINT_CHUNK_BYTES_MAX <= info->chunk;
}

static bool unpack_checkpoint(enum checkpoint_kind kind, const struct checkpoint_info *info,
			      uint32_t crc, const void *data, size_t len, struct buffer *ret)
{
	size_t n;

	if (!len || !info->bytes || info->bytes > CHECKPOINT_BYTES_MAX ||
	    !is_possible_size(info, len) ||
	    checkpoint_crc(info, kind, data, len) != crc)
		return false;
	buffer_reset(ret);
	ARRAY_GROW(ret->data, ret->cap, info->bytes - 1);
	n = ZSTD_decompress(ret->data, info->bytes, data, len);
	if (ZSTD_isError(n) || n != info->bytes)
		return false;
	ret->len = n;
	return true;
}

bool checkpoint_rows_read(sqlite3 *db, enum checkpoint_kind kind, uint64_t chunk,
			  struct buffer *ret)
{
	static const char sql[] = "SELECT time_ns, bytes, crc, data FROM checkpoint"
				  " WHERE chunk = ? AND kind = ?";
	struct checkpoint_info info = {.chunk = chunk};
	sqlite3_stmt *s = NULL;
	bool whole = false;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		return false;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)chunk);
	sqlite3_bind_int64(s, 2, kind);
	if (sqlite3_step(s) == SQLITE_ROW) {
		info.t_ns = (uint64_t)sqlite3_column_int64(s, 0);
		info.bytes = (uint64_t)sqlite3_column_int64(s, 1);
		whole = unpack_checkpoint(kind, &info, (uint32_t)sqlite3_column_int64(s, 2),
					  sqlite3_column_blob(s, 3),
					  (size_t)sqlite3_column_bytes(s, 3), ret);
	}
	sqlite3_finalize(s);
	return whole;
}

uint64_t checkpoint_rows_chunk_at(sqlite3 *db, uint64_t first, uint64_t t_ns)
{
	uint64_t low = first ? first - 1 : 0, high = low + 1;
	sqlite3_stmt *s = NULL;

	if (!first)
		return 0;
	if (sqlite3_prepare_v2(db, "SELECT max(id) FROM chunk", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		high = (uint64_t)sqlite3_column_int64(s, 0) + 1;
	sqlite3_finalize(s);
	if (sqlite3_prepare_v2(db, "SELECT first_ns FROM chunk WHERE id = ?", -1, &s, NULL) !=
	    SQLITE_OK)
		return 0;
	while (low + 1 < high) { /* @low begins before, @high does not */
		uint64_t middle = low + (high - low) / 2;

		sqlite3_bind_int64(s, 1, (sqlite3_int64)middle);
		if (sqlite3_step(s) == SQLITE_ROW && (uint64_t)sqlite3_column_int64(s, 0) <= t_ns)
			low = middle;
		else
			high = middle;
		sqlite3_reset(s);
	}
	sqlite3_finalize(s);
	return low;
}

/* ---- room ---------------------------------------------------------------------------- */

uint64_t checkpoint_rows_used_bytes(sqlite3 *db)
{
	static const char sql[] = "SELECT (page_count - freelist_count) * page_size FROM"
				  " pragma_page_count, pragma_freelist_count, pragma_page_size";
	sqlite3_stmt *s = NULL;
	uint64_t bytes = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		bytes = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return bytes;
}
