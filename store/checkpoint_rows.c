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
	size_t n;

	if (!len || !info->bytes || info->bytes > CHECKPOINT_BYTES_MAX ||
	    info->bytes / CHECKPOINT_CHUNK_BYTES_MAX > info->chunk ||
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

/* ---- packing ------------------------------------------------------------------------- */

void checkpoint_packer_begin(struct checkpoint_packer *p, enum checkpoint_kind kind,
			     uint64_t chunk, uint64_t t_ns)
{
	if (!p->zstd)
		p->zstd = ZSTD_createCCtx();
	p->kind = kind;
	p->info = (struct checkpoint_info){.chunk = chunk, .t_ns = t_ns};
	p->is_good = p->zstd && !ZSTD_isError(ZSTD_CCtx_reset(p->zstd, ZSTD_reset_session_only)) &&
		     !ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, 1));
	buffer_reset(&p->packed);
}

static void pack(struct checkpoint_packer *p, const void *data, size_t len, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = {data, len, 0};
	size_t left = 1;

	while (p->is_good && (in.pos < in.size || (how == ZSTD_e_end && left))) {
		ZSTD_outBuffer out;

		ARRAY_GROW(p->packed.data, p->packed.cap, p->packed.len + ZSTD_CStreamOutSize());
		out = (ZSTD_outBuffer){p->packed.data, p->packed.cap, p->packed.len};
		left = ZSTD_compressStream2(p->zstd, &out, &in, how);
		p->packed.len = out.pos;
		p->is_good = !ZSTD_isError(left) && p->packed.len <= CHECKPOINT_PACKED_MAX;
	}
}

void checkpoint_packer_add(struct checkpoint_packer *p, const void *data, size_t len)
{
	p->info.bytes += len;
	p->is_good = p->is_good && p->info.bytes <= CHECKPOINT_BYTES_MAX;
	pack(p, data, len, ZSTD_e_continue);
}

bool checkpoint_packer_end(struct checkpoint_packer *p)
{
	pack(p, NULL, 0, ZSTD_e_end);
	return p->is_good;
}

void checkpoint_packer_release(struct checkpoint_packer *p)
{
	ZSTD_freeCCtx(p->zstd);
	buffer_release(&p->packed);
	*p = (struct checkpoint_packer){0};
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
