/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UNWIND_LAYOUT_H
#define COLLECTOR_UNWIND_LAYOUT_H

/*
 * The contract between unwind.bpf.h and unwind_tables.c: how unwind rules lie in
 * maps of the kernel.
 *
 * A file's code is cut into pages of 256 bytes.  For each of them the file's index
 * has one word: where its rows begin << 8 | their number - 1.  A row is the lowest
 * byte of the file offset from which on a rule is in force, and the number of that
 * rule << 8; the first row of a page is in force from its first byte.  Words are
 * numbered across all slabs; a page's rows lie in one slab.
 */
#include "collector/ring_events.h"

#define UNWIND_PAGE_SHIFT 8
#define UNWIND_SLAB_SHIFT 18 /* words a slab: 1 MiB */
#define UNWIND_SLAB_WORDS (1u << UNWIND_SLAB_SHIFT)
#define UNWIND_SLABS_MAX 64 /* a word's number fits into 24 bits */
#define UNWIND_RULES_MAX 65536
#define UNWIND_FILES_MAX 16384

/* What a mapped file is known by: as the kernel's own structures have it. */
struct unwind_file_key {
	ht_u64 inode;
	ht_u32 device;
	ht_u32 generation; /* of the inode number: those are used again */
};

struct unwind_file {
	ht_u32 index;	   /* the word at which its index begins */
	ht_u32 first_page; /* of the file offsets that the index covers */
	ht_u32 n_pages;	   /* 0: the file has no unwind information */
	ht_u32 id;	   /* what events call it, from 1; bit 31: it could not be read */
};

#define UNWIND_FILE_UNUSABLE (1u << 31)

/* A mapping of code, as the iterator over a process's mappings tells it. */
struct unwind_mapping {
	ht_u64 start, end; /* addresses */
	ht_u64 offset;	   /* in the file */
	struct unwind_file_key key;
};

#define UNWIND_LISTED_MAX 1024

/*
 * What was mapped when user space looked last, in order of addresses: for where
 * another thread is changing the mappings and the kernel does not wait for it.
 */
struct unwind_listing {
	ht_u64 generation; /* of the code; UNWIND_LISTING_IN_WORK: it is being written */
	ht_u32 n;
	struct unwind_mapping mappings[UNWIND_LISTED_MAX];
};

#define UNWIND_LISTING_IN_WORK (~0ull)

_Static_assert(sizeof(struct unwind_file_key) == 16, "unwind_file_key");
_Static_assert(sizeof(struct unwind_file) == 16, "unwind_file");
_Static_assert(sizeof(struct unwind_mapping) == 40, "unwind_mapping");

#endif
