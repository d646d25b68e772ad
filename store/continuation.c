/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/continuation.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/xalloc.h"
#include "store/new_file.h"
#include "store/record.h"
#include "store/write_error.h"

/* A format.  Of samples of long ago one in 64: else each file would begin with more of them. */
#define COPY_SQL \
	"BEGIN IMMEDIATE;" \
	"INSERT INTO main.recording SELECT * FROM earlier.recording WHERE key NOT IN" \
	" ('seal', 'end_ns', 'exited', 'events', 'peak_bytes', 'peak_blocks', 'peak_time_ns'," \
	" 'max_size_too_small', '" DROPPED_CHUNKS_KEY "', '" DROPPED_EVENTS_KEY "'," \
	" '" DROPPED_UNTIL_KEY "');" \
	"INSERT INTO main.process SELECT * FROM earlier.process;" \
	"INSERT INTO main.space SELECT * FROM earlier.space;" \
	"INSERT INTO main.thread SELECT * FROM earlier.thread;" \
	"INSERT INTO main.family SELECT * FROM earlier.family;" \
	"INSERT INTO main.module SELECT * FROM earlier.module;" \
	"INSERT INTO main.mapping SELECT * FROM earlier.mapping;" \
	"INSERT INTO main.frame SELECT * FROM earlier.frame;" \
	"INSERT INTO main.stack SELECT * FROM earlier.stack;" \
	"INSERT INTO main.loss SELECT * FROM earlier.loss;" \
	"INSERT INTO main.timeline SELECT * FROM earlier.timeline;" \
	"INSERT INTO main.rss SELECT * FROM earlier.rss WHERE rowid %% 64 = 0 OR" \
	" rowid > (SELECT max(rowid) FROM earlier.rss) - 256;" \
	"INSERT INTO main.recording VALUES ('" DROPPED_CHUNKS_KEY "', 0)," \
	" ('" DROPPED_EVENTS_KEY "', %" PRId64 "), ('" DROPPED_UNTIL_KEY "', %" PRId64 ");" \
	"COMMIT; DETACH earlier"

static int attach(sqlite3 *to, const char *path)
{
	char *resolved = new_file_resolve(path);
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(to, "ATTACH ? AS earlier", -1, &s, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_bind_text(s, 1, resolved, -1, SQLITE_TRANSIENT);
	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	sqlite3_finalize(s);
	free(resolved);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

int continuation_copy(sqlite3 *to, const char *from_path, const char *to_path,
		      const struct dropped_events *earlier, struct err *err)
{
	char *sql = xasprintf(COPY_SQL, (int64_t)earlier->events, (int64_t)earlier->until_ns);
	int code = attach(to, from_path);

	if (code == SQLITE_OK)
		code = sqlite3_exec(to, sql, NULL, NULL, NULL);
	free(sql);
	if (code == SQLITE_OK)
		return 0;
	return err_set(err, ERR_FAILED, write_error_errno(to, code, NULL),
		       "cannot write the recording '%s'", to_path);
}
