/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

void buffer_release(struct buffer *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void buffer_append(struct buffer *b, const void *data, size_t len_bytes)
{
	if (!len_bytes)
		return;
	ARRAY_GROW(b->data, b->cap, b->len + len_bytes - 1);
	memcpy(b->data + b->len, data, len_bytes);
	b->len += len_bytes;
}

void buffer_append_varint(struct buffer *b, uint64_t v)
{
	uint8_t *p;

	if (b->len + 10 > b->cap)
		ARRAY_GROW(b->data, b->cap, b->len + 9);
	p = b->data + b->len;
	while (v >= 0x80) {
		*p++ = (uint8_t)v | 0x80;
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	b->len = p - b->data;
}

uint64_t cursor_long_varint(struct cursor *c)
{
	const uint8_t *p = c->p;
	uint64_t v = 0;

	/* ten bytes at most, and the last has one bit */
	for (unsigned int shift = 0; shift < 64 && p < c->end; shift += 7) {
		uint8_t byte = *p++;

		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			c->p = p;
			return v;
		}
	}
	c->p = p;
	c->bad = 1;
	return 0;
}
