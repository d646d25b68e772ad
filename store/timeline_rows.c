/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/timeline_rows.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

static uint64_t column_u64(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

#define BUCKETS_MAX 65536 /* a recorder writes far fewer */

int timeline_rows_buckets(sqlite3 *db, struct timeline *t)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db,
				      "SELECT bucket, allocs, frees, allocated_bytes, live_bytes,"
				      " max_live_bytes FROM timeline ORDER BY bucket", -1, &s,
				      NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		uint64_t i = column_u64(s, 0);

		code = i < BUCKETS_MAX ? SQLITE_OK : SQLITE_CORRUPT;
		if (code)
			break;
		ARRAY_GROW(t->buckets, t->cap, i);
		t->n = i + 1;
		t->buckets[i] = (struct timeline_bucket){
			.allocs = column_u64(s, 1),
			.frees = column_u64(s, 2),
			.allocated_bytes = column_u64(s, 3),
			.live_bytes = column_u64(s, 4),
			.max_live_bytes = column_u64(s, 5),
		};
	}
	sqlite3_finalize(s);
	return code;
}

int timeline_rows_rss(sqlite3 *db, uint64_t *last_row, bool only_later, struct timeline *t)
{
	uint64_t after_ns = only_later && t->n_rss ? t->rss[t->n_rss - 1].t_ns : 0;
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db,
				      "SELECT rowid, time_ns, bytes FROM rss WHERE rowid > ?"
				      " ORDER BY rowid", -1, &s, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_bind_int64(s, 1, (sqlite3_int64)*last_row);
	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		struct timeline_rss sample = {column_u64(s, 1), column_u64(s, 2)};

		code = SQLITE_OK;
		*last_row = column_u64(s, 0);
		if (after_ns && sample.t_ns <= after_ns)
			continue;
		ARRAY_GROW(t->rss, t->cap_rss, t->n_rss);
		t->rss[t->n_rss++] = sample;
	}
	sqlite3_finalize(s);
	return code;
}

void timeline_release(struct timeline *t)
{
	free(t->buckets);
	free(t->rss);
	memset(t, 0, sizeof(*t));
}
