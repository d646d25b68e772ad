/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_REACHABILITY_H
#define COLLECTOR_REACHABILITY_H

#include <stddef.h>
#include <stdint.h>

#include "collector/pointers.h"
#include "store/block_kind.h"

/*
 * What valgrind's memcheck would call each block, by who points to it ("Memory leak detection"
 * in its manual):
 *
 *	reachable	root -> [start] -> [start]
 *	possible	as before, but with a pointer to an inside somewhere on each way
 *	definite	no way from a root, and the first of its clique
 *	indirect	no way from a root, but one from a definite block
 *
 * Among lost blocks all pointers count alike.  They are gone through by rising addresses:
 * each that is not yet another's takes all that it leads to for its own, first ones of
 * cliques before it too.  So of a cycle the block with the lowest address is the definite one.
 */

/* Added to the kind of what only doubtful roots lead to: that counts as possible. */
#define REACHABILITY_DOUBT 0x80

/* @ret_kinds: enum block_kind, one a block. */
void reachability_judge(const struct pointers *p, uint8_t *ret_kinds);

#endif
