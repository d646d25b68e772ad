/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

/* Bytes that stay in memory, smaller.  Zero-initialised is ready for use. */
struct packing {
	void *in, *out; /* of zstd, kept from one time to the next */
	struct buffer scratch;
};

struct packed {
	uint8_t *data; /* owned */
	uint32_t len, unpacked; /* bytes; where these are the same it is not packed */
};

void packing_release(struct packing *p);
/* @len: below 4 GiB. */
struct packed pack(struct packing *p, const void *data, size_t len);
/* Into @ret (what was in it goes); false where there is no memory for it. */
bool unpack(struct packing *p, const struct packed *from, struct buffer *ret);
void packed_release(struct packed *p);

#endif
