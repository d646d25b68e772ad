/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_WAL_H
#define STORE_WAL_H

#include <sqlite3.h>

/*
 * One file, without a WAL, so that it opens in a folder its reader cannot write.  If it cannot
 * be, it stays as it is: readers that hold it are waited for two seconds.
 */
void wal_leave(sqlite3 *db);

#endif
