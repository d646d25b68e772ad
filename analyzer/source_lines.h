/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_SOURCE_LINES_H
#define ANALYZER_SOURCE_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "analyzer/rows.h"

/* A source file, and what its lines allocated. */
struct source_line {
	uint32_t number; /* 0: of no line */
	const struct heap_totals *totals; /* the rows' */
};

/* Those of @rows (by ROWS_BY_SOURCE_LINE) that are of @file, in their order; to be freed. */
struct source_line *source_lines(const struct rows *rows, const char *file, size_t *ret_n);
/*
 * To read.  The path is the recording's, and may say anything: what is no regular file, or
 * larger than a source is, is not opened.  NULL with errno.
 */
FILE *source_open(const char *path);

#endif
