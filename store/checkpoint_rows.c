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

static bool unpack_checkpoint(enum checkpoint_kind kind, const struct checkpoint_info *info,
			      uint32_t crc, const void *data, size_t len, struct buffer *ret)
{
	if (!len || !info->bytes || info->bytes > CHECKPOINT_BYTES_MAX ||
	    info->bytes / CHECKPOINT_CHUNK_BYTES_MAX > info->chunk ||
	    checkpoint_crc(info, kind, data, len) != crc ||
	    ZSTD_getFrameContentSize(data, len) != info->bytes)
		return false;
	buffer_reset(ret);
	ARRAY_GROW(ret->data, ret->cap, info->bytes - 1);
	ret->len = ZSTD_decompress(ret->data, info->bytes, data, len);
	return ret->len == info->bytes;
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
