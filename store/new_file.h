/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_NEW_FILE_H
#define STORE_NEW_FILE_H

#include <stdbool.h>

#include "common/err.h"

/*
 * Creates @path as a recording without content: mode 0600, never through a
 * symbolic link, all at once where the file system can.  @overwrite: a file that
 * is there may go if it is a recording, or empty.  Returns 0, or a negative errno
 * with @err filled in.
 */
int new_file_create(const char *path, bool overwrite, struct err *err);

/*
 * @path without symbolic links in its folder's name, to be freed: SQLite, told not to follow
 * them, follows none there either.
 */
char *new_file_resolve(const char *path);

#endif
