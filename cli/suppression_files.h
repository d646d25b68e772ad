/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SUPPRESSION_FILES_H
#define CLI_SUPPRESSION_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/suppressions.h"
#include "common/err.h"

/* Which are to be used. */
struct suppression_files {
	const char **paths; /* given on the command line */
	size_t n, cap;
	bool no_defaults; /* neither the user's own, nor what is built in */
};

/* These options, for getopt_long(). */
enum { OPTION_SUPPRESSIONS = 940, OPTION_NO_DEFAULT_SUPPRESSIONS };
#define SUPPRESSION_OPTIONS \
	{"suppressions", required_argument, NULL, OPTION_SUPPRESSIONS}, \
	{"no-default-suppressions", no_argument, NULL, OPTION_NO_DEFAULT_SUPPRESSIONS}
/* What --help says of them, where they are for --fail-if. */
#define SUPPRESSION_HELP \
	"      --suppressions FILE, --no-default-suppressions  what is not 'leaked' for\n" \
	"                    --fail-if: as of heaptrail leaks\n"

/* @option is one of them. */
void suppression_files_add(struct suppression_files *f, int option, const char *text);
void suppression_files_release(struct suppression_files *f);
/*
 * Reads the user's own, where there is such a file, those that were given, and what is built
 * in.  0, or negative with @err: no such file, or what is wrong in it.
 */
int suppression_files_read(struct suppressions *s, const struct suppression_files *f,
			   struct err *err);
/* On stderr, which suppressions of the files that were given were of no use. */
void suppression_files_say_unused(const struct suppressions *s);

#endif
