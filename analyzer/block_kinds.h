/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_BLOCK_KINDS_H
#define ANALYZER_BLOCK_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/reader.h"

/*
 * Who points to the blocks that are live at the end of a recording: as far as that was looked
 * at, at one moment near the end.  Later blocks are of no kind.
 */
struct block_kinds {
	bool is_there; /* else all blocks are of no kind */
	struct reachability_record record;
};

/* Of the space that was recorded last.  -EBADMSG with @err where it is damaged. */
int block_kinds_read(struct block_kinds *k, struct store_reader *r, struct err *err);
void block_kinds_release(struct block_kinds *k);
/* Of the block at @address that was allocated at @t_ns and is live at the end. */
enum block_kind block_kinds_of(const struct block_kinds *k, uint64_t address, uint64_t t_ns);

/* "definite", "indirect", "possible", "reachable"; NULL of one that was not looked at. */
const char *block_kind_name(enum block_kind kind);
/* As memcheck says it: "definitely lost", ….; "not looked at". */
const char *block_kind_text(enum block_kind kind);
/*
 * Names with commas between, "all" or "none": *@ret gets a bit (1 << kind) for each.  What is
 * not known is *@ret_bad, of so many characters: false.
 */
bool block_kinds_parse(const char *text, unsigned int *ret, const char **ret_bad, int *ret_len);
#define BLOCK_KINDS_ALL ((1u << BLOCK_KINDS) - 1)

#endif
