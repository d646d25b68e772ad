/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <sqlite3.h>
#include <string.h>

#include "common/xalloc.h"
#include "store/reader.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tests/unit/files.h"
#include "tests/unit/tap.h"

/* Recordings that a test writes and reads, and events that it knows by their number. */

static struct event *events; /* room for CHUNK_EVENTS_MAX */
static struct err err;

static inline void set_up(const char *test)
{
	make_folder(test);
	events = xcalloc(CHUNK_EVENTS_MAX, sizeof(*events));
}

/* False if anything is left behind. */
static inline bool tear_down(void)
{
	free(events);
	empty_folder();
	return remove_folder();
}

/* As the recorder does it: allocs get their slots. */
static inline void put_event(struct store_writer *w, uint32_t space, struct event e)
{
	static struct slots slots;
	static const struct store_writer *of;
	static uint32_t of_space;

	if (w != of || space != of_space)
		slots_reset(&slots);
	of = w;
	of_space = space;
	if (e.kind == EVENT_ALLOC)
		e.slot = slots_take(&slots);
	else if (e.kind == EVENT_FREE && event_frees(&e))
		slots_give(&slots, e.slot);
	store_writer_put_event(w, (struct space_id){space}, &e);
}

/* ---- files ------------------------------------------------------------------------- */

static inline struct store_writer *create(const char *path, bool overwrite)
{
	struct store_writer_options o = {
		.overwrite = overwrite, .uid = geteuid(), .gid = getegid()};
	struct store_writer *w = NULL;

	memset(&err, 0, sizeof(err));
	if (store_writer_create(path, &o, &w, &err))
		return NULL;
	return w;
}

static inline struct store_reader *open_reader(const char *path)
{
	struct store_reader *r = NULL;

	memset(&err, 0, sizeof(err));
	if (store_reader_open(path, &r, &err))
		diag("%s", err.what);
	return r;
}

/* Whether it did. */
static inline bool run_sql(const char *path, const char *sql)
{
	sqlite3 *db;
	bool good = sqlite3_open(path, &db) == SQLITE_OK &&
		    sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;

	if (!good)
		diag("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
	return good;
}

/* All of the query's values, with | behind each. */
static inline const char *query(const char *path, const char *sql)
{
	static char text[1024];
	sqlite3_stmt *s = NULL;
	size_t len = 0;
	sqlite3 *db;

	text[0] = '\0';
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK)
		while (sqlite3_step(s) == SQLITE_ROW)
			for (int i = 0; i < sqlite3_column_count(s) && len < sizeof(text); i++) {
				const unsigned char *v = sqlite3_column_text(s, i);

				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s|",
							v ? (const char *)v : "NULL");
			}
	sqlite3_finalize(s);
	sqlite3_close(db);
	return text;
}

static inline void expect_rows(const char *name, const char *path, const char *sql,
			       const char *rows)
{
	const char *got = query(path, sql);

	if (!ok(!strcmp(got, rows), "%s", name))
		diag("it was '%s'", got);
}

/* ---- events ------------------------------------------------------------------------ */

/* Number @i of a stream of blocks made and, three events later, freed. */
static inline struct event numbered_event(uint64_t i)
{
	return (struct event){.kind = EVENT_ALLOC, .family = 1, .thread = {1}, .stack = {1},
			      .t_ns = 1000 + i * 3, .address = 0x10000 + i * 32, .size = i % 5000,
			      .usable = USABLE_UNKNOWN};
}

/* Reads chunks after @after; counts events, and those that are not as they were put. */
static inline uint64_t read_events(struct store_reader *r, uint64_t *after, uint64_t first,
				   uint64_t *wrong)
{
	struct chunk_info info;
	uint64_t n = first;
	int result;

	while ((result = store_reader_next_chunk(r, *after, &info, events, &err)) == 1) {
		for (uint32_t i = 0; i < info.events; i++) {
			struct event e = numbered_event(n++);

			*wrong += e.t_ns != events[i].t_ns || e.address != events[i].address ||
				  e.size != events[i].size || e.usable != events[i].usable ||
				  e.kind != events[i].kind;
		}
		*after = info.id;
	}
	*wrong += result != 0;
	return n - first;
}

#endif
