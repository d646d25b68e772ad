/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CHUNK_H
#define STORE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"
#include "store/record.h"

/*
 * The chunk codec: up to CHUNK_EVENTS_MAX events, column by column.  Every
 * column is its length (LEB128) and its bytes; the columns stand in this order:
 *
 *   kind	one byte an event: kind, and the free class in the high four bits
 *   time	LEB128: ns since the event before; the first since the chunk's first_ns
 *   thread	LEB128
 *   family	one byte
 *   stack	LEB128
 *   address	of allocs, reallocs and frees that end no block: LEB128 of twice the
 *		zig-zag difference to the address before in units of 16, or, where
 *		it is no multiple of 16, of 1, followed by the address itself
 *   size	of allocs and reallocs: LEB128
 *   usable	of allocs and reallocs: LEB128; 0 = unknown; 1 = the value itself
 *		follows; else 2 + the zig-zag difference to what glibc gives for
 *		that size
 *   slot	of frees that end a block, and of reallocs: LEB128
 *
 * With CODEC_COLUMNS_ZSTD all of it is one zstd frame.
 */
enum chunk_column {
	COLUMN_KIND,
	COLUMN_TIME,
	COLUMN_THREAD,
	COLUMN_FAMILY,
	COLUMN_STACK,
	COLUMN_ADDRESS,
	COLUMN_SIZE,
	COLUMN_USABLE,
	COLUMN_SLOT,
	CHUNK_COLUMNS
};

struct chunk_encoder {
	struct chunk_info info;
	struct buffer columns[CHUNK_COLUMNS];
	uint64_t last_address;
	struct buffer raw; /* scratch of chunk_encoder_finish() */
};

void chunk_encoder_release(struct chunk_encoder *c);
/* Begins an empty chunk of @space. */
void chunk_encoder_reset(struct chunk_encoder *c, uint64_t id, struct space_id space);
/* @e->t_ns must not be before the event added last. */
void chunk_encoder_add(struct chunk_encoder *c, const struct event *e);
/*
 * Puts the chunk as it is now into @out (what was in it goes) and completes
 * @c->info with codec and crc.  More events may be added afterwards.
 */
void chunk_encoder_finish(struct chunk_encoder *c, struct buffer *out);

/*
 * Decodes @len bytes at @data, which are untrusted, into @ret_events (room for
 * CHUNK_EVENTS_MAX).  The slot of an EVENT_ALLOC is left 0: run slots.h.
 * Returns 0, or -EBADMSG with @err filled in.
 */
int chunk_decode(const struct chunk_info *info, const void *data, size_t len,
		 struct event *ret_events, struct err *err);

/* What glibc gives for a request of @size bytes from a heap (not mmapped). */
uint64_t chunk_usual_usable(uint64_t size);

#endif
