/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/scan.h"

#include "common/buffer.h"
#include "common/xalloc.h"

#define FUNCTION "heaptrail_take"

struct scanning {
	scan_row *each;
	void *arg;
};

static void take(sqlite3_context *context, int n, sqlite3_value **values)
{
	struct scanning *s = sqlite3_user_data(context);

	if (!s->each(s->arg, values, n))
		sqlite3_result_error_code(context, SQLITE_ABORT);
}

static void took(sqlite3_context *context)
{
	sqlite3_result_null(context);
}

static void append_text(struct buffer *b, char *text)
{
	if (text)
		buffer_append(b, text, strlen(text));
	sqlite3_free(text);
}

/* An aggregate over all columns, whatever they are; to be freed, or NULL with *@ret_code. */
static char *statement_of(sqlite3 *db, const char *table, int *ret_code)
{
	char *all = sqlite3_mprintf("SELECT * FROM \"%w\"", table);
	sqlite3_stmt *s = NULL;
	struct buffer b = {0};

	*ret_code = all ? sqlite3_prepare_v2(db, all, -1, &s, NULL) : SQLITE_NOMEM;
	sqlite3_free(all);
	if (*ret_code != SQLITE_OK)
		return NULL;
	append_text(&b, sqlite3_mprintf("SELECT " FUNCTION "("));
	for (int i = 0; i < sqlite3_column_count(s); i++)
		append_text(&b, sqlite3_mprintf("%s\"%w\"", i ? "," : "",
						sqlite3_column_name(s, i)));
	/* another index would give another order */
	append_text(&b, sqlite3_mprintf(") FROM \"%w\" NOT INDEXED WHERE rowid BETWEEN ? AND ?",
					table));
	buffer_append(&b, "", 1);
	sqlite3_finalize(s);
	return (char *)b.data;
}

int scan_table(sqlite3 *db, const char *table, int64_t from, int64_t to, scan_row *each, void *arg)
{
	struct scanning scanning = {each, arg};
	sqlite3_stmt *s = NULL;
	int code;
	char *sql = statement_of(db, table, &code);

	if (sql)
		code = sqlite3_create_function(db, FUNCTION, -1,
					       SQLITE_UTF8 | SQLITE_DIRECTONLY, &scanning, NULL,
					       take, took);
	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_bind_int64(s, 1, from);
	if (code == SQLITE_OK)
		code = sqlite3_bind_int64(s, 2, to);
	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
		code = SQLITE_OK;
	sqlite3_finalize(s);
	free(sql);
	return code == SQLITE_DONE ? 0 : code;
}
