/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_ROTATED_H
#define CLI_ROTATED_H

#include <stddef.h>

#include "cli/when.h"
#include "collector/target.h"
#include "common/err.h"

/* The files of a recording that was made with --every. */

/* They belong to @id. */
void rotated_begin(const struct target_identity *id);
/*
 * Completes one that its recorder has left, names and summaries included, in a child that waits
 * for others: the recorder goes on.
 */
void rotated_complete(const char *path);
/* Until all of them are. */
void rotated_wait(void);
/*
 * Of several files of one recording, given in any order, the last, which has what all of them
 * sum up to; the others are @when->earlier, to be closed.  @when may be NULL: they are not
 * needed.  -errno with @err where they are no such files.
 */
int rotated_find(char *const *paths, size_t n, struct when *when, const char **ret,
		 struct err *err);

#endif
