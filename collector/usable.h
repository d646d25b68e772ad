/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_USABLE_H
#define COLLECTOR_USABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/family.h"
#include "collector/plan.h"

/*
 * How many bytes an allocator gave for those that were asked for.  glibc writes it before each
 * block.  Of others it is the rule of their size classes; the classes themselves are those of
 * the very library: they are looked for in its file (mimalloc), or in its memory once it is in
 * use (tcmalloc, which computes them, also by its environment).  Where they are not found, or
 * the library is of a kind that adds something to each block (for debugging, say), nothing is
 * known, rather than something that may be wrong.
 */
#define USABLE_CLASSES_MAX 256

struct usable_classes {
	enum usable_state {
		USABLE_UNSEEN,
		USABLE_TO_BE_READ, /* from memory, at the first block */
		USABLE_BY_CLASSES,
		USABLE_NOT_KNOWN,
	} state;
	dev_t device; /* the library's file */
	ino_t inode;
	uint32_t sizes[USABLE_CLASSES_MAX]; /* ascending; larger blocks are … */
	size_t n;
	uint64_t page; /* … whole pages of so many bytes; 0: not known */
	bool has_large_rule; /* … or as mimalloc asks the system for them */
};

struct usable {
	pid_t pid;
	struct usable_classes tcmalloc, mimalloc, musl;
};

void usable_init(struct usable *u, pid_t pid);
/* What the allocators' files in @plan say. */
void usable_learn(struct usable *u, const struct plan *plan);
/* Of a new block, as struct ring_alloc has it; bytes, or USABLE_UNKNOWN. */
uint64_t usable_of(struct usable *u, uint8_t family, uint64_t size, uint64_t size_word);
/* Of a block that had @old bytes, or USABLE_UNKNOWN. */
uint64_t usable_of_resized(struct usable *u, const struct ring_realloc_end *r, uint64_t old);
/* Its size word, of one that is taken for a new block, since what it had before is not known. */
uint64_t usable_word_alone(const struct ring_realloc_end *r);

/* ---- for tests ------------------------------------------------------------------------ */

/*
 * The sizes that tcmalloc has computed, in @bytes of its memory, @n of them; and those that
 * mimalloc has in its file.  False: there are none, or several that differ.
 */
bool usable_find_tcmalloc(const uint8_t *bytes, size_t n, struct usable_classes *ret);
bool usable_find_mimalloc(const uint8_t *bytes, size_t n, struct usable_classes *ret);

#endif
