/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_MARKS_H
#define ANALYZER_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/catalog.h"
#include "store/writer.h"

/*
 * Moments that the recorder has marked (record --when), each with why.  Facts "mark:0001" and
 * so on, in their order: the time and, after a blank, the words.
 */
#define MARKS_MAX 1000
#define MARK_KEY "mark:"
#define MARK_KEY_BYTES 16

struct mark {
	uint64_t t_ns;
	const char *text; /* the catalog's: not safe to print as it is */
};

/* The key of mark @number, from 1 on; @buf has MARK_KEY_BYTES. */
const char *mark_key(char *buf, unsigned int number);
void mark_put(struct store_writer *w, unsigned int number, uint64_t t_ns, const char *text);
/*
 * The next mark, from fact *@at on, which is 0 at first and moves on; false: there is no more.
 */
bool marks_next(const struct catalog *c, size_t *at, struct mark *ret);
/* Is the fact of that key one? */
bool mark_is_key(const char *key);

#endif
