/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_SUPPRESSION_FILES_H
#define CLI_SUPPRESSION_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/suppressions.h"
#include "common/err.h"

/*
 * Reads the files @paths; with @defaults before them the user's own, where there is one, and
 * after them what is built in.  0, or negative with @err: no such file, or what is wrong in it.
 */
int suppression_files_read(struct suppressions *s, const char *const *paths, size_t n,
			   bool defaults, struct err *err);
/* On stderr, which suppressions of the files that were given were of no use. */
void suppression_files_say_unused(const struct suppressions *s);

#endif
