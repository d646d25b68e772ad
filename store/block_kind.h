/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_BLOCK_KIND_H
#define STORE_BLOCK_KIND_H

/*
 * Who points to a live block, in the words of valgrind's memcheck.  A pointer is one to the
 * block's first byte, or to one inside of it.  Stored as they are numbered: never renumber.
 */
enum block_kind {
	BLOCK_NOT_LOOKED_AT = 0,
	BLOCK_DEFINITE = 1,  /* nobody, or only blocks that are lost together with it */
	BLOCK_INDIRECT = 2,  /* only lost blocks: it is found again when the definite one is */
	BLOCK_POSSIBLE = 3,  /* every chain of pointers to it has one to the inside of a block */
	BLOCK_REACHABLE = 4, /* a chain of pointers to the first bytes of blocks leads to it */
	BLOCK_KINDS
};

#endif
