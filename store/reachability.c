/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/reachability.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/xalloc.h"

/* No larger, unpacked and packed: of 80 million blocks. */
#define BYTES_MAX (256u << 20) /* of eighty million blocks */
#define PACKED_MAX (48u << 20)
#define BLOCK_BYTES_MIN 2 /* a number and a kind */
#define LEVEL 3

void reachability_release(struct reachability_record *r)
{
	free(r->addresses);
	free(r->kinds);
	memset(r, 0, sizeof(*r));
}

static uint32_t crc_of(const struct reachability_record *r, uint64_t bytes, const void *data,
		       size_t len)
{
	uint64_t numbers[] = {r->space.v, r->t_ns, r->held_ns, r->read_bytes,
			      r->flags,	  r->n,	   bytes};
	uLong crc = crc32(0, (const Bytef *)numbers, sizeof(numbers));

	return (uint32_t)crc32_z(crc, data, len);
}

/* By how much each address is larger than the one before; then all kinds. */
static void encode(const struct reachability_record *r, struct buffer *to)
{
	uint64_t before = 0;

	for (uint64_t i = 0; i < r->n; i++) {
		buffer_append_varint(to, r->addresses[i] - before);
		before = r->addresses[i];
	}
	buffer_append(to, r->kinds, r->n);
}

static bool decode(struct reachability_record *r, const uint8_t *data, size_t len)
{
	struct cursor c = {.p = data, .end = data + len};
	uint64_t address = 0;

	r->addresses = xcalloc(r->n + 1, sizeof(*r->addresses));
	r->kinds = xcalloc(r->n + 1, 1);
	for (uint64_t i = 0; i < r->n; i++) {
		uint64_t step = cursor_varint(&c);

		if (c.bad || !step || address + step < address)
			return false;
		address += step;
		r->addresses[i] = address;
	}
	for (uint64_t i = 0; i < r->n; i++) {
		r->kinds[i] = cursor_byte(&c);
		if (r->kinds[i] >= BLOCK_KINDS)
			return false;
	}
	return !c.bad && c.p == c.end;
}

/* ---- rows ---------------------------------------------------------------------------- */

enum { SPACE, TIME, HELD, READ, FLAGS, BLOCKS, CODEC, BYTES, CRC, DATA };

static bool bind_data(sqlite3_stmt *s, const struct reachability_record *r,
		      const struct buffer *plain)
{
	size_t bound = ZSTD_compressBound(plain->len), n;
	uint8_t *packed = xmalloc(bound);

	n = ZSTD_compress(packed, bound, plain->data, plain->len, LEVEL);
	if (ZSTD_isError(n) || n > PACKED_MAX) {
		free(packed);
		return false;
	}
	sqlite3_bind_int64(s, 1 + BYTES, (sqlite3_int64)plain->len);
	sqlite3_bind_int64(s, 1 + CRC, crc_of(r, plain->len, packed, n));
	sqlite3_bind_blob(s, 1 + DATA, packed, (int)n, free);
	return true;
}

bool reachability_bind(sqlite3_stmt *s, const struct reachability_record *r)
{
	struct buffer plain = {0};
	bool good;

	encode(r, &plain);
	sqlite3_bind_int64(s, 1 + SPACE, r->space.v);
	sqlite3_bind_int64(s, 1 + TIME, (sqlite3_int64)r->t_ns);
	sqlite3_bind_int64(s, 1 + HELD, (sqlite3_int64)r->held_ns);
	sqlite3_bind_int64(s, 1 + READ, (sqlite3_int64)r->read_bytes);
	sqlite3_bind_int64(s, 1 + FLAGS, (sqlite3_int64)r->flags);
	sqlite3_bind_int64(s, 1 + BLOCKS, (sqlite3_int64)r->n);
	sqlite3_bind_int64(s, 1 + CODEC, REACHABILITY_CODEC);
	good = plain.len <= BYTES_MAX && bind_data(s, r, &plain);
	buffer_release(&plain);
	return good;
}

static bool unpack(struct reachability_record *r, uint64_t bytes, uint32_t crc, const void *data,
		   size_t len)
{
	uint8_t *plain;
	size_t n;
	bool good;

	if (bytes > BYTES_MAX || r->n > bytes / BLOCK_BYTES_MIN || !len ||
	    ZSTD_getFrameContentSize(data, len) != bytes || crc_of(r, bytes, data, len) != crc)
		return false;
	plain = malloc(bytes + 1); /* whatever it says: it need not be there */
	if (!plain)
		return false;
	n = ZSTD_decompress(plain, bytes, data, len);
	good = !ZSTD_isError(n) && n == bytes && decode(r, plain, n);
	free(plain);
	return good;
}

static uint64_t number(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

static bool take_row(sqlite3_stmt *s, struct reachability_record *ret)
{
	*ret = (struct reachability_record){
		.space = {(uint32_t)number(s, SPACE)},
		.t_ns = number(s, TIME),
		.held_ns = number(s, HELD),
		.read_bytes = number(s, READ),
		.flags = number(s, FLAGS),
		.n = number(s, BLOCKS),
	};
	return number(s, CODEC) == REACHABILITY_CODEC &&
	       unpack(ret, number(s, BYTES), (uint32_t)number(s, CRC),
		      sqlite3_column_blob(s, DATA), (size_t)sqlite3_column_bytes(s, DATA));
}

bool reachability_read(sqlite3 *db, struct space_id space, struct reachability_record *ret,
		       bool *ret_damaged)
{
	/* a recording of before has no such table: then the statement is none */
	static const char sql[] =
		"SELECT space, time_ns, held_ns, read_bytes, flags, blocks, codec, bytes, crc, data"
		" FROM reachability WHERE space = ? ORDER BY time_ns DESC LIMIT 1";
	sqlite3_stmt *s = NULL;
	bool found = false;

	*ret_damaged = false;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(s, 1, space.v);
		if (sqlite3_step(s) == SQLITE_ROW) {
			found = take_row(s, ret);
			*ret_damaged = !found;
		}
	}
	sqlite3_finalize(s);
	if (!found)
		reachability_release(ret);
	return found;
}
