/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/chunk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/xalloc.h"

/* The most bytes a chunk of CHUNK_EVENTS_MAX events can need: see the columns. */
#define RAW_BYTES_MAX ((size_t)CHUNK_EVENTS_MAX * (2 + 9 * 10) + CHUNK_COLUMNS * 10)

uint64_t chunk_usual_usable(uint64_t size)
{
	uint64_t chunk = (size + 8 + 15) & ~(uint64_t)15;

	return (chunk < 32 ? 32 : chunk) - 8;
}

static bool has_address(unsigned int kind, unsigned int free_class)
{
	return kind != EVENT_FREE || free_class > FREE_IMPLIED;
}

static bool has_size(unsigned int kind)
{
	return kind != EVENT_FREE;
}

static bool has_slot(unsigned int kind, unsigned int free_class)
{
	return kind == EVENT_REALLOC || (kind == EVENT_FREE && free_class <= FREE_IMPLIED);
}

void chunk_encoder_release(struct chunk_encoder *c)
{
	for (int i = 0; i < CHUNK_COLUMNS; i++)
		buffer_release(&c->columns[i]);
	buffer_release(&c->raw);
}

void chunk_encoder_reset(struct chunk_encoder *c, uint64_t id, struct space_id space)
{
	memset(&c->info, 0, sizeof(c->info));
	c->info.id = id;
	c->info.space = space;
	c->info.min_size = UINT64_MAX;
	c->info.min_address = UINT64_MAX;
	c->last_address = 0;
	for (int i = 0; i < CHUNK_COLUMNS; i++)
		buffer_reset(&c->columns[i]);
}

static void add_address(struct chunk_encoder *c, uint64_t address)
{
	uint64_t delta = address - c->last_address;

	if (delta & 15) {
		buffer_append_varint(&c->columns[COLUMN_ADDRESS], 1);
		buffer_append_varint(&c->columns[COLUMN_ADDRESS], address);
	} else {
		buffer_append_varint(&c->columns[COLUMN_ADDRESS],
				     zigzag((int64_t)delta / 16) << 1);
	}
	c->last_address = address;
	if (address < c->info.min_address)
		c->info.min_address = address;
	if (address > c->info.max_address)
		c->info.max_address = address;
}

static void add_size(struct chunk_encoder *c, uint64_t size, uint64_t usable)
{
	uint64_t delta = zigzag((int64_t)(usable - chunk_usual_usable(size)));

	buffer_append_varint(&c->columns[COLUMN_SIZE], size);
	if (usable == USABLE_UNKNOWN) {
		buffer_append_varint(&c->columns[COLUMN_USABLE], 0);
	} else if (delta > UINT64_MAX - 2) { /* nothing real */
		buffer_append_varint(&c->columns[COLUMN_USABLE], 1);
		buffer_append_varint(&c->columns[COLUMN_USABLE], usable);
	} else {
		buffer_append_varint(&c->columns[COLUMN_USABLE], 2 + delta);
	}
	if (size < c->info.min_size)
		c->info.min_size = size;
	if (size > c->info.max_size)
		c->info.max_size = size;
}

void chunk_encoder_add(struct chunk_encoder *c, const struct event *e)
{
	struct chunk_info *info = &c->info;
	uint8_t kind = (uint8_t)(e->kind | e->free_class << 4);

	if (!info->events)
		info->first_ns = info->last_ns = e->t_ns;
	buffer_append(&c->columns[COLUMN_KIND], &kind, 1);
	buffer_append_varint(&c->columns[COLUMN_TIME], e->t_ns - info->last_ns);
	buffer_append_varint(&c->columns[COLUMN_THREAD], e->thread.v);
	buffer_append(&c->columns[COLUMN_FAMILY], &e->family, 1);
	buffer_append_varint(&c->columns[COLUMN_STACK], e->stack.v);
	if (has_address(e->kind, e->free_class))
		add_address(c, e->address);
	if (has_size(e->kind))
		add_size(c, e->size, e->usable);
	if (has_slot(e->kind, e->free_class))
		buffer_append_varint(&c->columns[COLUMN_SLOT], e->slot);
	info->last_ns = e->t_ns;
	info->events++;
	info->allocs += event_allocates(e);
	info->frees += event_frees(e);
	info->families |= 1ull << (e->family & 63);
}

/* Covers the numbers of the row too: a flipped bit there must be seen as well. */
static uint32_t chunk_crc(const struct chunk_info *i, const void *data, size_t len)
{
	uint64_t numbers[] = {i->id,	   i->space.v,	i->events,	i->allocs,
			      i->frees,	   i->first_ns, i->last_ns,	i->min_size,
			      i->max_size, i->codec,	i->min_address, i->max_address,
			      i->families};
	uLong crc = crc32(0, (const Bytef *)numbers, sizeof(numbers));

	return (uint32_t)crc32_z(crc, data, len);
}

void chunk_encoder_finish(struct chunk_encoder *c, struct buffer *out)
{
	size_t bound, n;

	buffer_reset(&c->raw);
	buffer_reset(out);
	for (int i = 0; i < CHUNK_COLUMNS; i++) {
		buffer_append_varint(&c->raw, c->columns[i].len);
		buffer_append(&c->raw, c->columns[i].data, c->columns[i].len);
	}
	bound = ZSTD_compressBound(c->raw.len);
	ARRAY_GROW(out->data, out->cap, bound);
	n = ZSTD_compress(out->data, out->cap, c->raw.data, c->raw.len, 1);
	if (ZSTD_isError(n)) { /* only for want of memory */
		c->info.codec = CODEC_COLUMNS;
		buffer_append(out, c->raw.data, c->raw.len);
	} else {
		c->info.codec = CODEC_COLUMNS_ZSTD;
		out->len = n;
	}
	c->info.crc = chunk_crc(&c->info, out->data, out->len);
}

static int bad_chunk(const struct chunk_info *info, const char *why, struct err *err)
{
	err_set(err, ERR_RECORDING, 0, "events of chunk %" PRIu64 " are damaged: %s", info->id,
		why);
	return -EBADMSG;
}

static uint64_t decode_usable(struct cursor *c, uint64_t size)
{
	uint64_t v = cursor_varint(c);

	if (v == 0)
		return USABLE_UNKNOWN;
	if (v == 1)
		return cursor_varint(c);
	return chunk_usual_usable(size) + (uint64_t)unzigzag(v - 2);
}

static int decode_columns(const struct chunk_info *info, struct cursor raw, struct event *events,
			  struct err *err)
{
	struct cursor col[CHUNK_COLUMNS];
	uint64_t t = info->first_ns, address = 0;
	int bad = 0;

	for (int i = 0; i < CHUNK_COLUMNS; i++) {
		uint64_t len = cursor_varint(&raw);

		if (raw.bad || len > (size_t)(raw.end - raw.p))
			return bad_chunk(info, "a column is cut off", err);
		col[i] = (struct cursor){.p = raw.p, .end = raw.p + len};
		raw.p += len;
	}
	for (uint32_t i = 0; i < info->events; i++) {
		struct event *e = &events[i];
		uint8_t kind = cursor_byte(&col[COLUMN_KIND]);
		uint64_t v;

		*e = (struct event){.kind = kind & 15, .free_class = kind >> 4};
		if (e->kind >= EVENT_KINDS || e->free_class >= FREE_CLASSES)
			return bad_chunk(info, "unknown kind of event", err);
		t += cursor_varint(&col[COLUMN_TIME]);
		e->t_ns = t;
		e->thread.v = (uint32_t)cursor_varint(&col[COLUMN_THREAD]);
		e->family = cursor_byte(&col[COLUMN_FAMILY]);
		e->stack.v = (uint32_t)cursor_varint(&col[COLUMN_STACK]);
		if (has_address(e->kind, e->free_class)) {
			v = cursor_varint(&col[COLUMN_ADDRESS]);
			if (v & 1)
				address = cursor_varint(&col[COLUMN_ADDRESS]);
			else
				address += (uint64_t)unzigzag(v >> 1) * 16;
			e->address = address;
		}
		if (has_size(e->kind)) {
			e->size = cursor_varint(&col[COLUMN_SIZE]);
			e->usable = decode_usable(&col[COLUMN_USABLE], e->size);
		}
		if (has_slot(e->kind, e->free_class))
			e->slot = (uint32_t)cursor_varint(&col[COLUMN_SLOT]);
	}
	for (int i = 0; i < CHUNK_COLUMNS; i++)
		bad |= col[i].bad || col[i].p != col[i].end;
	if (bad || t != info->last_ns)
		return bad_chunk(info, "the columns do not agree", err);
	return 0;
}

int chunk_decode(const struct chunk_info *info, const void *data, size_t len, struct event *ret,
		 struct err *err)
{
	unsigned long long raw_len;
	uint8_t *raw;
	size_t n;
	int r;

	if (chunk_crc(info, data, len) != info->crc)
		return bad_chunk(info, "the checksum is wrong", err);
	if (!info->events || info->events > CHUNK_EVENTS_MAX)
		return bad_chunk(info, "impossible number of events", err);
	if (info->codec == CODEC_COLUMNS)
		return decode_columns(info,
				      (struct cursor){.p = data,
						      .end = (const uint8_t *)data + len},
				      ret, err);
	if (info->codec != CODEC_COLUMNS_ZSTD)
		return bad_chunk(info, "unknown codec", err);

	raw_len = ZSTD_getFrameContentSize(data, len);
	if (raw_len > RAW_BYTES_MAX) /* so are the two error values */
		return bad_chunk(info, "impossible size", err);
	raw = xmalloc(raw_len);
	n = ZSTD_decompress(raw, raw_len, data, len);
	if (ZSTD_isError(n) || n != raw_len)
		r = bad_chunk(info, "it does not decompress", err);
	else
		r = decode_columns(info, (struct cursor){.p = raw, .end = raw + n}, ret, err);
	free(raw);
	return r;
}
