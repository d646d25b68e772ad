/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CHECKPOINT_PACK_H
#define STORE_CHECKPOINT_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "store/record.h"

/* Packs the bytes of one that is to be put, as they come. */
struct checkpoint_packer {
	struct checkpoint_info info;
	enum checkpoint_kind kind;
	struct buffer packed;
	void *zstd;
	bool is_good; /* not too large, and there was memory */
};

void checkpoint_packer_begin(struct checkpoint_packer *p, enum checkpoint_kind kind,
			     uint64_t chunk, uint64_t t_ns);
void checkpoint_packer_add(struct checkpoint_packer *p, const void *data, size_t len);
/* Whether it is good. */
bool checkpoint_packer_end(struct checkpoint_packer *p);
void checkpoint_packer_release(struct checkpoint_packer *p);

#endif
