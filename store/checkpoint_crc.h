/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CHECKPOINT_CRC_H
#define STORE_CHECKPOINT_CRC_H

#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "store/record.h"

/* A checkpoint is no larger, unpacked and packed. */
#define CHECKPOINT_BYTES_MAX (1u << 30)
#define CHECKPOINT_PACKED_MAX (48u << 20)
/* Nor larger than this for each chunk so far: an event adds a block and four groups at most. */
#define CHECKPOINT_CHUNK_BYTES_MAX (1024u * CHUNK_EVENTS_MAX)

/* Covers the numbers of the row, too. */
static inline uint32_t checkpoint_crc(const struct checkpoint_info *i, enum checkpoint_kind kind,
				      const void *data, size_t len)
{
	uint64_t numbers[] = {i->chunk, kind, i->t_ns, i->bytes};
	uLong crc = crc32(0, (const Bytef *)numbers, sizeof(numbers));

	return (uint32_t)crc32_z(crc, data, len);
}

#endif
