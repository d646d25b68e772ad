/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/catalog_rows.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "store/catalog.h"

/* Ids are dense and index arrays: a recording with a larger gap is damaged. */
#define ID_GAP_MAX 65536

struct loading {
	struct catalog *c;
	uint64_t rows; /* of this table, so far */
	bool is_odd;   /* it has impossible values */
	struct catalog_strings *strings; /* where texts go */
	struct hashmap texts; /* hash -> its place there */
	/* of symbols: the last frame, how many functions it has so far, the outermost of them */
	uint64_t symbol_frame, depth;
	uint32_t outermost;
};

static const char *keep_text(struct loading *l, sqlite3_stmt *s, int column)
{
	const unsigned char *text = sqlite3_column_text(s, column);
	struct catalog_strings *to = l->strings;
	uint32_t *place;

	if (!text)
		return NULL;
	place = hashmap_put(&l->texts, hash_bytes(text, strlen((const char *)text)));
	if (*place != HASHMAP_NONE && !strcmp(to->items[*place], (const char *)text))
		return to->items[*place];
	*place = (uint32_t)to->n;
	ARRAY_GROW(to->items, to->cap, to->n);
	return to->items[to->n++] = xstrdup((const char *)text);
}

static uint64_t row_id(sqlite3_stmt *s)
{
	return (uint64_t)sqlite3_column_int64(s, 0);
}

static uint64_t column_u64(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

static bool load_fact(struct loading *l, sqlite3_stmt *s)
{
	struct catalog *c = l->c;
	const char *key = keep_text(l, s, 0), *text = keep_text(l, s, 1);

	if (!key)
		return false;
	ARRAY_GROW(c->facts, c->cap_facts, c->n_facts);
	c->facts[c->n_facts].key = (char *)key;
	c->facts[c->n_facts++].text = (char *)text;
	return true;
}

/* Makes room for the element of row @s's id; its loader gives up if the id is impossible. */
#define GROW_TO(array) \
	do { \
		if (row_id(s) > l->rows + ID_GAP_MAX) \
			return false; \
		ARRAY_GROW(l->c->array, l->c->cap_##array, row_id(s)); \
		if (l->c->n_##array <= row_id(s)) \
			l->c->n_##array = row_id(s) + 1; \
	} while (0)

static bool load_process(struct loading *l, sqlite3_stmt *s)
{
	GROW_TO(processes);
	l->c->processes[row_id(s)] = (struct process_record){
		.id = (uint32_t)row_id(s),
		.pid = sqlite3_column_int(s, 1),
		.command = keep_text(l, s, 2),
		.start_ns = column_u64(s, 3),
		.end_ns = column_u64(s, 4),
		.ended = sqlite3_column_type(s, 5) != SQLITE_NULL ||
			 sqlite3_column_type(s, 6) != SQLITE_NULL,
		.exit_status =
			sqlite3_column_type(s, 5) == SQLITE_NULL ? -1 : sqlite3_column_int(s, 5),
		.exit_signal = sqlite3_column_int(s, 6),
	};
	return true;
}

static bool load_space(struct loading *l, sqlite3_stmt *s)
{
	GROW_TO(spaces);
	l->c->spaces[row_id(s)] = (struct space_record){
		.id = {(uint32_t)row_id(s)},
		.process = (uint32_t)column_u64(s, 1),
		.exec_count = (uint32_t)column_u64(s, 2),
		.executable = keep_text(l, s, 3),
		.start_ns = column_u64(s, 4),
		.end_ns = column_u64(s, 5),
		.end = keep_text(l, s, 6),
	};
	return true;
}

static bool load_thread(struct loading *l, sqlite3_stmt *s)
{
	GROW_TO(threads);
	l->c->threads[row_id(s)] = (struct thread_record){
		.id = {(uint32_t)row_id(s)},
		.process = (uint32_t)column_u64(s, 1),
		.tid = sqlite3_column_int(s, 2),
		.name = keep_text(l, s, 3),
		.start_ns = column_u64(s, 4),
		.end_ns = column_u64(s, 5),
	};
	return true;
}

static bool load_family(struct loading *l, sqlite3_stmt *s)
{
	GROW_TO(families);
	l->c->families[row_id(s)] = (struct family_record){
		.id = (uint32_t)row_id(s), .name = keep_text(l, s, 1), .layer = keep_text(l, s, 2)};
	return true;
}

static bool load_module(struct loading *l, sqlite3_stmt *s)
{
	GROW_TO(modules);
	l->c->modules[row_id(s)] = (struct module_record){.id = {(uint32_t)row_id(s)},
							  .path = keep_text(l, s, 1),
							  .build_id = keep_text(l, s, 2)};
	return true;
}

static uint64_t value_u64(sqlite3_value *v)
{
	return (uint64_t)sqlite3_value_int64(v);
}

static bool load_frame(void *loading, sqlite3_value *const *values, int n)
{
	struct loading *l = loading;
	uint64_t id = value_u64(values[0]);
	struct catalog *c = l->c;

	l->rows++;
	l->is_odd = n < 3 || id > l->rows + ID_GAP_MAX;
	if (l->is_odd)
		return false;
	if (id >= c->n_recorded_frames)
		catalog_grow_frames(c, id + 1 - c->n_recorded_frames);
	c->frames[id] = (struct catalog_frame){
		.module = {(uint32_t)value_u64(values[1])},
		.offset = value_u64(values[2]),
	};
	return true;
}

/* Ordered by frame and depth: an inlined function comes before the one it is inlined into. */
static bool load_symbol(struct loading *l, sqlite3_stmt *s)
{
	struct catalog *c = l->c;
	uint64_t frame = row_id(s), depth = column_u64(s, 1);
	struct catalog_frame *f;

	if (!frame || frame >= c->n_recorded_frames)
		return true; /* of no frame: nobody asks for it */
	if (frame != l->symbol_frame) {
		l->symbol_frame = frame;
		l->depth = 0;
		l->outermost = (uint32_t)frame;
	}
	if (depth != l->depth || depth > INLINE_DEPTH_MAX)
		return true; /* one before it is missing */
	l->depth++;
	if (depth)
		l->outermost = catalog_add_outer(c, l->outermost);
	f = &c->frames[l->outermost];
	f->function = keep_text(l, s, 2);
	f->file = keep_text(l, s, 3);
	f->line = (uint32_t)column_u64(s, 4);
	return true;
}

static bool load_stack(void *loading, sqlite3_value *const *values, int n)
{
	struct loading *l = loading;
	uint64_t id = value_u64(values[0]), end;
	struct catalog *c = l->c;

	l->rows++;
	l->is_odd = n < 4 || id > l->rows + ID_GAP_MAX;
	if (l->is_odd)
		return false;
	end = value_u64(values[3]);
	if (id >= c->n_stacks) {
		ARRAY_GROW(c->stacks, c->cap_stacks, id);
		c->n_stacks = id + 1;
	}
	c->stacks[id] = (struct catalog_stack){
		.parent = {(uint32_t)value_u64(values[1])},
		.frame = {(uint32_t)value_u64(values[2])},
		.end = end > UINT8_MAX ? UINT8_MAX : (uint8_t)end,
	};
	return true;
}

static bool load_loss(struct loading *l, sqlite3_stmt *s)
{
	struct catalog *c = l->c;
	const char *kind = keep_text(l, s, 0);

	if (!kind)
		return false;
	ARRAY_GROW(c->losses, c->cap_losses, c->n_losses);
	c->losses[c->n_losses++] = (struct catalog_loss){.kind = kind, .count = column_u64(s, 1)};
	return true;
}

static const struct catalog_table {
	const char *sql;
	bool (*load)(struct loading *l, sqlite3_stmt *s);
} small_tables[] = {
	{"SELECT key, value FROM recording", load_fact},
	{"SELECT id, pid, command, start_ns, end_ns, exit_status, exit_signal FROM process",
	 load_process},
	{"SELECT id, process, exec_count, executable, start_ns, end_ns, \"end\" FROM space",
	 load_space},
	{"SELECT id, process, tid, name, start_ns, end_ns FROM thread", load_thread},
	{"SELECT id, name, layer FROM family", load_family},
	{"SELECT id, path, build_id FROM module", load_module},
	{"SELECT kind, count FROM loss", load_loss},
}, symbols = {"SELECT frame, depth, function, file, line FROM symbol WHERE frame >= ?"
	      " ORDER BY frame, depth", load_symbol};

static int load_table(sqlite3 *db, struct loading *l, const struct catalog_table *table,
		      uint64_t from)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db, table->sql, -1, &s, NULL);

	l->rows = from;
	if (code == SQLITE_OK && sqlite3_bind_parameter_count(s))
		code = sqlite3_bind_int64(s, 1, (sqlite3_int64)from);
	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		l->rows++;
		code = table->load(l, s) ? SQLITE_OK : CATALOG_ROWS_IMPOSSIBLE;
	}
	sqlite3_finalize(s);
	return code == SQLITE_DONE ? 0 : code;
}

/* A table that may be large, from row @from on. */
static int load_rows(sqlite3 *db, struct loading *l, const char *table, uint64_t from,
		     scan_row *load)
{
	l->rows = from;
	return scan_table(db, table, (int64_t)from, INT64_MAX, load, l);
}

/* Whoever is the first gets what is there already. */
static bool take_early(struct catalog *early, struct catalog *c)
{
	if (!early->n_stacks || c->n_stacks || c->n_recorded_frames)
		return false;
	c->frames = early->frames;
	c->n_frames = early->n_frames;
	c->n_recorded_frames = early->n_recorded_frames;
	c->cap_frames = early->cap_frames;
	c->stacks = early->stacks;
	c->n_stacks = early->n_stacks;
	c->cap_stacks = early->cap_stacks;
	memset(early, 0, sizeof(*early));
	return true;
}

int catalog_rows_update(sqlite3 *db, struct catalog *early, struct catalog *c)
{
	struct loading l = {.c = c};
	size_t frames = c->n_recorded_frames, stacks = c->n_stacks;
	bool is_early = take_early(early, c);
	int code = 0;

	catalog_forget_small_tables(c);
	l.strings = &c->strings;
	for (size_t i = 0; i < COUNT_OF(small_tables) && !code; i++)
		code = load_table(db, &l, &small_tables[i], 0);
	hashmap_release(&l.texts);
	l.strings = &c->names;
	if (!code && !is_early)
		code = load_rows(db, &l, "frame", frames, load_frame);
	if (!code)
		code = load_table(db, &l, &symbols, frames);
	if (!code && !is_early)
		code = load_rows(db, &l, "stack", stacks, load_stack);
	hashmap_release(&l.texts);
	if (code)
		catalog_release(c);
	return code;
}

/* Two load stacks at the same time: there is room for all, so that none moves. */
static void *split_stacks(void *halves, int64_t middle, int64_t last)
{
	struct loading *first = halves, *second = first + 1;
	struct catalog *c = first->c;

	ARRAY_GROW(c->stacks, c->cap_stacks, last);
	c->n_stacks = (size_t)last + 1;
	*second = (struct loading){.c = c, .rows = (uint64_t)middle};
	return second;
}

int catalog_rows_seal(sqlite3 *db, sqlite3 *other, struct seal_parts *parts, struct catalog *early,
		      char ret[SEAL_MAX])
{
	struct loading frames = {.c = early}, stacks[2] = {frames};
	const struct seal_taker takers[] = {{"frame", load_frame, &frames, NULL},
					    {"stack", load_stack, stacks, split_stacks},
					    {0}};
	int code = seal_compute(db, other, parts, takers, ret);

	if (code || frames.is_odd || stacks[0].is_odd || stacks[1].is_odd)
		catalog_release(early); /* it says so, or whoever loads them will */
	return code;
}
