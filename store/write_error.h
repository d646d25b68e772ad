/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_WRITE_ERROR_H
#define STORE_WRITE_ERROR_H

#include <sqlite3.h>

/*
 * What SQLite's failure @code is as an errno; with @path that file is looked at where SQLite
 * says little.
 */
int write_error_errno(sqlite3 *db, int code, const char *path);

#endif
