/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "common/err.h"
#include "store/reader.h"

/* --at, --since, --until and --layer: the part of a recording that is asked for. */
struct when {
	bool has_since, has_until, is_peak;
	uint64_t since_ns, until_ns; /* from its start on */
	bool later_is_in; /* --until is no moment: it is of when blocks were allocated only */
	struct space_id space; /* as in struct analysis_window */
	const char *layer; /* NULL: the heap's */
	struct store_earlier *earlier; /* files that are read with it, see rotated_find() */
};

/* These four, for getopt_long(). */
enum { OPTION_AT = 900, OPTION_SINCE, OPTION_UNTIL, OPTION_LAYER };
#define WHEN_OPTIONS \
	{"at", required_argument, NULL, OPTION_AT}, \
	{"since", required_argument, NULL, OPTION_SINCE}, \
	{"until", required_argument, NULL, OPTION_UNTIL}, \
	{"layer", required_argument, NULL, OPTION_LAYER}

/* @option is one of them; false where @text is no such moment. */
bool when_parse(struct when *w, int option, const char *text);
/*
 * As times of the recording.  Negative with @err where there is no such part of it.  The
 * peak of one that was not completed is looked for in its events.
 */
int when_find(const struct when *w, struct store_reader *reader, struct analysis_window *ret,
	      struct err *err);

/* What --help says of them. */
#define WHEN_HELP \
	"      --at TIME     what was live then: a time since the recording began, such\n" \
	"                    as 90s, 1.5m or 250ms, or 'peak'\n" \
	"      --since TIME, --until TIME  only blocks allocated from then on; what is\n" \
	"                    said of them is as it was at the second\n" \
	"      --layer NAME  of an allocator of the program's own, see record --probe\n"

#endif
