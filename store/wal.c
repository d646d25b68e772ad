/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/wal.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static bool is_in_delete_mode(sqlite3 *db, int *ret_code)
{
	sqlite3_stmt *s = NULL;
	bool done = false;

	*ret_code = sqlite3_prepare_v2(db, "PRAGMA journal_mode=DELETE", -1, &s, NULL);
	if (*ret_code == SQLITE_OK) {
		*ret_code = sqlite3_step(s);
		done = *ret_code == SQLITE_ROW &&
		       !strcmp((const char *)sqlite3_column_text(s, 0), "delete");
	}
	sqlite3_finalize(s);
	return done;
}

/* One file, so that it opens in a folder its reader cannot write. */
void wal_leave(sqlite3 *db)
{
	for (int tries = 0; tries < 20; tries++) {
		int code = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
						     NULL);

		if (code == SQLITE_OK && is_in_delete_mode(db, &code))
			return;
		if (code == SQLITE_FULL || (code & 0xff) == SQLITE_IOERR || code == SQLITE_READONLY)
			return; /* it stays as it is, and opens */
		usleep(100000); /* a reader holds it */
	}
}
