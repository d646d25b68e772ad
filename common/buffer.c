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

uint8_t cursor_byte(struct cursor *c)
{
	if (c->p >= c->end) {
		c->bad = 1;
		return 0;
	}
	return *c->p++;
}

uint64_t cursor_varint(struct cursor *c)
{
	uint64_t v = 0;
	unsigned int shift;

	for (shift = 0; shift < 64; shift += 7) {
		uint8_t byte = cursor_byte(c);

		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	c->bad = 1;
	return 0;
}
