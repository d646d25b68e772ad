/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_ROWS_H
#define ANALYZER_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/own.h"
#include "store/reader.h"

/*
 * An analysis as rows that a report shows: groups merged by what the reader of
 * the report thinks in, with names.
 */
enum rows_by {
	ROWS_BY_FILE,
	ROWS_BY_FUNCTION,
	ROWS_BY_LINE,
	ROWS_BY_MODULE,
	ROWS_BY_THREAD,
	ROWS_BY_STACK,
	ROWS_BY_SIZE,
	ROWS_BY_FAMILY,
	ROWS_BY_SOURCE_LINE, /* whatever the function is; has no name to ask for it by */
};

struct row {
	char *name; /* never NULL: "[unknown]" and the like where nothing better is known */
	const char *function; /* the catalog's; NULL: not known, or of no meaning here */
	const char *file;
	uint32_t line;
	struct module_id module; /* 0: not known, or a file that is in several */
	uint64_t offset; /* in the module; of a line or stack */
	int tid;	 /* of a thread */
	struct stack_id stack; /* the first of those that read the same, see stacks.h */
	uint64_t key;
	struct heap_totals totals;
	uint64_t oldest_ns, newest_ns;
};

struct rows {
	struct row *rows;
	size_t n, cap;
	uint32_t *of_groups; /* [group] its row, until they are sorted; without @inclusive */
};

/* The group key that rows are made from. */
enum group_key rows_group_key(enum rows_by by);
bool rows_by_name(const char *name, enum rows_by *ret);
const char *rows_by_text(enum rows_by by);
/*
 * @a must have been made with rows_group_key(@by).  Names stay @c's.  A stack is of
 * the row of its own frame (own.h); with @inclusive once of that of each of its frames.
 */
void rows_make(struct rows *ret, const struct catalog *c, const struct analysis *a,
	       const struct own *own, enum rows_by by, bool inclusive);
/* Names of files become the part of their path that tells them apart. */
void rows_shorten_files(struct rows *r);
void rows_release(struct rows *r);

/* Columns to sort by: "peak", "allocated", "calls", "live", "blocks", "temporary", "name". */
bool rows_sort(struct rows *r, const char *column);

/* "function", or "module+0x1234", or "0x1234"; to be freed. */
char *place_name(const struct catalog *c, const struct catalog_frame *f);
/* Where it is: "main.c:12", or else the module; NULL where its name says that; to be freed. */
char *place_where(const struct catalog *c, const struct catalog_frame *f);
/* The last part of a path. */
const char *path_base(const char *path);

#endif
