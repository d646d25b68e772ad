/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SQLite at work, and what it says itself that it uses, as JSON: [allocations, bytes].  With
 * "where": the addresses, in its own file, of the functions that it gets its memory by.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static void say(const char *name, const char *end)
{
	sqlite3_int64 n, bytes, most;

	sqlite3_status64(SQLITE_STATUS_MALLOC_COUNT, &n, &most, 0);
	bytes = sqlite3_memory_used();
	printf("%s[%lld, %lld]%s", name, n, bytes, end);
	fflush(stdout);
}

static void where(const char *name, const void *function, const char *end)
{
	Dl_info info;

	if (dladdr(function, &info))
		printf("%s%lu%s", name, (unsigned long)((const char *)function -
							 (const char *)info.dli_fbase), end);
}

int main(int argc, char **argv)
{
	sqlite3_mem_methods m;
	sqlite3 *db;

	sqlite3_initialize();
	sqlite3_shutdown();
	if (argc > 1 && argv[1][0] == 'w' && !sqlite3_config(SQLITE_CONFIG_GETMALLOC, &m)) {
		where("{\"alloc\": ", (const void *)m.xMalloc, "");
		where(", \"realloc\": ", (const void *)m.xRealloc, "");
		where(", \"free\": ", (const void *)m.xFree, "}\n");
		return 0;
	}
	if (sqlite3_open(":memory:", &db))
		return 1;
	sqlite3_exec(db, "create table t(a, b); with recursive n(x) as (select 1 union all select "
			 "x + 1 from n where x < 3000) insert into t select x, 'text ' || x from "
			 "n; create index i on t(b); select count(*) from t x join t y on x.b = "
			 "y.b order by x.a;", NULL, NULL, NULL);
	if (!getenv("LEAVE_OPEN"))
		sqlite3_close(db);
	say("", "\n");
	_Exit(0); /* nothing is given back any more */
}
