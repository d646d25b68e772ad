/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_LIVE_BLOCKS_H
#define COLLECTOR_LIVE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "collector/drain.h"
#include "collector/pointers.h"

/* The live blocks of layer heap, by rising addresses; also those that are not recorded. */
enum live_block_flag {
	LIVE_RECORDED = 1, /* not too small for it */
	LIVE_GLIBC = 2,	   /* of the C library's malloc */
};

struct live_blocks {
	struct pointers_block *items;
	uint8_t *flags; /* [block] LIVE_… */
	size_t n, n_recorded;
	size_t bytes; /* of what is mapped for @items */
};

/* What @d has now.  Blocks that would lie in others, where frees were lost, are left out. */
void live_blocks_list(struct live_blocks *b, const struct drain *d);
void live_blocks_release(struct live_blocks *b);

#endif
