/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/pack.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/xalloc.h"

#define ZSTD_LEVEL 1

static void make_room(struct buffer *b, size_t len)
{
	if (len)
		ARRAY_GROW(b->data, b->cap, len - 1);
}

void packing_release(struct packing *p)
{
	ZSTD_freeCCtx(p->in);
	ZSTD_freeDCtx(p->out);
	buffer_release(&p->scratch);
	*p = (struct packing){0};
}

struct packed pack(struct packing *p, const void *data, size_t len)
{
	size_t bound = ZSTD_compressBound(len), n = len;
	struct packed ret = {.unpacked = (uint32_t)len};

	if (!p->in)
		p->in = ZSTD_createCCtx();
	make_room(&p->scratch, bound);
	if (p->in && len)
		n = ZSTD_compressCCtx(p->in, p->scratch.data, bound, data, len, ZSTD_LEVEL);
	if (n < len) /* an error is a large number */
		data = p->scratch.data;
	else
		n = len;
	ret.len = (uint32_t)n;
	ret.data = xmalloc(n + 1);
	if (n)
		memcpy(ret.data, data, n);
	return ret;
}

bool unpack(struct packing *p, const struct packed *from, struct buffer *ret)
{
	make_room(ret, from->unpacked);
	ret->len = from->unpacked;
	if (from->len == from->unpacked) {
		if (from->len)
			memcpy(ret->data, from->data, from->len);
		return true;
	}
	if (!p->out)
		p->out = ZSTD_createDCtx();
	return p->out && ZSTD_decompressDCtx(p->out, ret->data, ret->len, from->data,
					     from->len) == from->unpacked;
}

void packed_release(struct packed *p)
{
	free(p->data);
	*p = (struct packed){0};
}
