/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_BUFFER_H
#define COMMON_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* A byte buffer that grows.  Zero-initialised is empty. */
struct buffer {
	uint8_t *data;
	size_t len, cap; /* bytes */
};

void buffer_release(struct buffer *b);
void buffer_append(struct buffer *b, const void *data, size_t len_bytes);
/* Unsigned LEB128. */
void buffer_append_varint(struct buffer *b, uint64_t v);

static inline void buffer_reset(struct buffer *b)
{
	b->len = 0;
}

/*
 * Reading with bounds: after a read past the end `bad` is set, all further
 * reads return 0.  Points into memory of the caller's.
 */
struct cursor {
	const uint8_t *p, *end;
	int bad;
};

static inline uint8_t cursor_byte(struct cursor *c)
{
	if (c->p < c->end)
		return *c->p++;
	c->bad = 1;
	return 0;
}

uint64_t cursor_long_varint(struct cursor *c);

/* Most numbers are small. */
static inline uint64_t cursor_varint(struct cursor *c)
{
	if (c->p < c->end && *c->p < 0x80)
		return *c->p++;
	return cursor_long_varint(c);
}

static inline uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
