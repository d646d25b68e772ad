/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/xalloc.h"
#include "store/bind.h"
#include "store/checkpoint_crc.h"
#include "store/checkpoint_pack.h"
#include "store/checkpoint_rows.h"
#include "store/chunk.h"
#include "store/continuation.h"
#include "store/new_file.h"
#include "store/seal.h"
#include "store/snapshot_rows.h"
#include "store/statements.h"
#include "store/wal.h"
#include "store/write_error.h"

struct store_writer {
	sqlite3 *db;
	char *path;
	sqlite3_stmt *statements[STATEMENTS];
	bool in_transaction;
	bool failed;
	int failed_errno;
	struct err failure;
	struct chunk_encoder chunk;
	bool chunk_dirty; /* it holds events that its row does not */
	bool chunk_has_ended;
	bool no_more_events;
	bool wants_seal;
	struct seal_parts parts; /* of the seal, that are known */
	size_t timeline_rows;
	struct buffer blob;
	struct store_writer_sizes sizes;
	struct checkpoint_packer packer;
	struct {
		uint64_t columns[4];
	} stacks[STACK_ROWS]; /* that are still to be put */
	size_t n_stacks;
	uint64_t next_stack; /* the id, where all from 1 up to it were put here; 0: they were not */
	uint64_t dropped, deleted; /* chunks that were dropped, and whose rows have gone too */
};

/* Keeps the first failure; the rest follows from it. */
static void writer_failed(struct store_writer *w, int code)
{
	int e = write_error_errno(w->db, code, w->path);

	if (w->failed)
		return;
	w->failed = true;
	w->failed_errno = e;
	if (e == EIO)
		err_set(&w->failure, ERR_FAILED, 0, "cannot write the recording '%s': %s", w->path,
			sqlite3_errstr(code));
	else
		err_set(&w->failure, ERR_FAILED, e, "cannot write the recording '%s'", w->path);
	if (e == ENOSPC || e == EDQUOT)
		err_hint(&w->failure, "make room, or record to another place with -o; what was "
				      "written before can be read");
	else if (e == EROFS)
		err_hint(&w->failure, "look at the disk (dmesg), or record to another place with "
				      "-o; what was written before can be read");
}

static bool writer_exec(struct store_writer *w, const char *sql)
{
	int code;

	if (w->failed)
		return false;
	code = sqlite3_exec(w->db, sql, NULL, NULL, NULL);
	if (code != SQLITE_OK)
		writer_failed(w, code);
	return code == SQLITE_OK;
}

/* The statement, with a transaction begun for it; NULL after a failure. */
static sqlite3_stmt *prepare(struct store_writer *w, enum statement which)
{
	sqlite3_stmt **s = &w->statements[which];
	int code;

	if (w->failed)
		return NULL;
	if (!w->in_transaction) {
		if (!writer_exec(w, "BEGIN IMMEDIATE"))
			return NULL;
		w->in_transaction = true;
	}
	if (!*s) {
		code = sqlite3_prepare_v3(w->db, statement_sql[which], -1,
					  SQLITE_PREPARE_PERSISTENT, s, NULL);
		if (code != SQLITE_OK) {
			writer_failed(w, code);
			return NULL;
		}
	}
	return *s;
}

static void step(struct store_writer *w, sqlite3_stmt *s)
{
	int code = sqlite3_step(s);

	if (code != SQLITE_DONE)
		writer_failed(w, code);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
}

/* ---- creating ---------------------------------------------------------------- */

static int set_up_database(struct store_writer *w)
{
	static const char pragmas[] =
		/* our own death loses nothing that is committed; a power cut may */
		"PRAGMA synchronous=OFF;"
		"PRAGMA temp_store=MEMORY;"
		"PRAGMA cache_size=-4096;"
		/* only now: the file itself shall say what it is, whatever becomes of its WAL */
		"PRAGMA journal_mode=WAL;"
		/* the WAL is made with the first transaction: now, with the rights we have now */
		"BEGIN IMMEDIATE; COMMIT";

	sqlite3_busy_timeout(w->db, 5000);
	/* what is to be repaired comes from anywhere */
	sqlite3_db_config(w->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(w->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(w->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(w->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	return writer_exec(w, pragmas) ? 0 : -1;
}

static int open_database(struct store_writer *w, struct err *err)
{
	int how = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX;
	char *path = new_file_resolve(w->path);
	int code = sqlite3_open_v2(path, &w->db, how, NULL);

	free(path);
	if (code != SQLITE_OK)
		return err_set(err, ERR_FAILED, write_error_errno(w->db, code, NULL),
			       "cannot open '%s'", w->path);
	if (set_up_database(w) == 0)
		return 0;
	*err = w->failure;
	return -w->failed_errno;
}

/* Little of what is written stays beside the file, or its bound would mean nothing. */
static void bound_wal(struct store_writer *w)
{
	writer_exec(w, "PRAGMA wal_autocheckpoint=64; PRAGMA journal_size_limit=1048576");
}

static bool act_as(const struct store_writer_options *o)
{
	return (o->gid == getegid() || !setegid(o->gid)) &&
	       (o->uid == geteuid() || !seteuid(o->uid));
}

static void act_as_before(uid_t uid, gid_t gid)
{
	if ((uid != geteuid() && seteuid(uid) < 0) || (gid != getegid() && setegid(gid) < 0))
		abort(); /* never go on with the wrong rights */
}

int store_writer_create(const char *path, const struct store_writer_options *o,
			struct store_writer **ret, struct err *err)
{
	uid_t euid = geteuid();
	gid_t egid = getegid();
	struct store_writer *w = xcalloc(1, sizeof(*w));
	int r;

	w->path = xstrdup(path);
	/* -wal and -shm come with the first transaction: all of it as that user */
	if (!act_as(o)) {
		r = err_set(err, ERR_PRIVILEGE, errno, "cannot become user %u to write '%s'",
			    (unsigned int)o->uid, path);
		goto out;
	}
	r = new_file_create(path, o->overwrite, err);
	if (r)
		goto out;
	r = open_database(w, err);
	if (r) {
		unlink(path);
	} else if (o->max_size) {
		bound_wal(w);
		store_writer_put_number(w, "max_size", (int64_t)o->max_size);
	}
out:
	act_as_before(euid, egid);
	if (r) {
		store_writer_close(w, NULL);
		return r;
	}
	w->next_stack = 1;
	*ret = w;
	return 0;
}

int store_writer_open(const char *path, struct store_writer **ret, struct err *err)
{
	struct store_writer *w = xcalloc(1, sizeof(*w));
	int r;

	w->path = xstrdup(path);
	r = open_database(w, err);
	if (r) {
		store_writer_close(w, NULL);
		return r;
	}
	*ret = w;
	return 0;
}

int store_writer_continue(struct store_writer *w, const char *path,
			  const struct store_writer_options *o,
			  const struct dropped_events *earlier, struct store_writer **ret_old,
			  struct err *err)
{
	uid_t euid = geteuid();
	gid_t egid = getegid();
	struct store_writer_options options = *o;
	struct store_writer *next, old;
	int r;

	options.max_size = 0; /* the fact is copied */
	r = store_writer_create(path, &options, &next, err);
	if (r)
		return r;
	r = act_as(o) ? continuation_copy(next->db, w->path, next->path, earlier, err) : -EPERM;
	act_as_before(euid, egid);
	if (r) {
		unlink(path);
		store_writer_close(next, NULL);
		return r;
	}
	if (o->max_size)
		bound_wal(next);
	next->timeline_rows = w->timeline_rows;
	next->next_stack = w->n_stacks ? 0 : w->next_stack;
	old = *w;
	*w = *next;
	*next = old;
	*ret_old = next;
	return 0;
}

void store_writer_remove(const char *path, const struct store_writer_options *o)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	uid_t euid = geteuid();
	gid_t egid = getegid();

	for (size_t i = 0; i < COUNT_OF(ends) && act_as(o); i++) {
		char *file = xasprintf("%s%s", path, ends[i]);

		unlink(file); /* whoever keeps it by other rights keeps it */
		free(file);
	}
	act_as_before(euid, egid);
}

bool store_writer_give_up_events(struct store_writer *w)
{
	if (!w->failed)
		return true;
	if (!sqlite3_get_autocommit(w->db))
		sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
	w->in_transaction = w->failed = w->chunk_dirty = false;
	w->next_stack = 0; /* some may not be there */
	w->no_more_events = true;
	store_writer_put_text(w, "stopped", w->failure.what);
	return store_writer_flush(w, NULL) == 0;
}

/* ---- closing ----------------------------------------------------------------- */

static void delete_by(struct store_writer *w, enum statement which, uint64_t number)
{
	sqlite3_stmt *s = prepare(w, which);

	if (!s)
		return;
	bind_u64(s, 1, number);
	step(w, s);
}

void store_writer_clear_symbols(struct store_writer *w, struct frame_id frame)
{
	delete_by(w, DELETE_SYMBOLS, frame.v);
}

static void clear(struct store_writer *w, enum statement statement)
{
	sqlite3_stmt *s = prepare(w, statement);

	if (s)
		step(w, s);
}

void store_writer_rename(struct store_writer *w, const struct seal_parts *parts)
{
	clear(w, DELETE_SEAL);
	w->parts = *parts;
	seal_forget_names(&w->parts);
}

void store_writer_clear_sites(struct store_writer *w)
{
	clear(w, DELETE_SITES);
}

void store_writer_seal(struct store_writer *w)
{
	w->wants_seal = true;
}

static void put_seal(struct store_writer *w)
{
	char seal[SEAL_MAX];
	int code = seal_compute(w->db, NULL, &w->parts, NULL, seal);

	if (code)
		writer_failed(w, code);
	else
		store_writer_put_text(w, SEAL_KEY, seal);
}

int store_writer_close(struct store_writer *w, struct err *err)
{
	int r = 0;

	if (!w)
		return 0;
	if (w->db) {
		if (w->failed) {
			r = -w->failed_errno;
			if (err)
				*err = w->failure;
		} else {
			if (!store_writer_flush(w, NULL) && w->wants_seal)
				put_seal(w);
			r = store_writer_flush(w, err);
		}
		for (int i = 0; i < STATEMENTS; i++)
			sqlite3_finalize(w->statements[i]);
		if (!sqlite3_get_autocommit(w->db))
			sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
		sqlite3_busy_timeout(w->db, 100);
		if (w->wants_seal && !w->failed)
			wal_leave(w->db);
		sqlite3_close(w->db);
	}
	chunk_encoder_release(&w->chunk);
	buffer_release(&w->blob);
	checkpoint_packer_release(&w->packer);
	free(w->path);
	free(w);
	return r;
}

/* ---- rows -------------------------------------------------------------------- */

void store_writer_put_text(struct store_writer *w, const char *key, const char *value)
{
	sqlite3_stmt *s = prepare(w, PUT_RECORDING);

	if (!s)
		return;
	bind_text(s, 1, key);
	bind_text(s, 2, value);
	step(w, s);
}

void store_writer_put_number(struct store_writer *w, const char *key, int64_t value)
{
	sqlite3_stmt *s = prepare(w, PUT_RECORDING);

	if (s) {
		bind_text(s, 1, key);
		bind_u64(s, 2, (uint64_t)value);
		step(w, s);
	}
}

void store_writer_put_process(struct store_writer *w, const struct process_record *p)
{
	sqlite3_stmt *s = prepare(w, PUT_PROCESS);

	if (!s)
		return;
	bind_u64(s, 1, p->id);
	sqlite3_bind_int(s, 2, p->pid);
	bind_text(s, 3, p->command);
	bind_time(s, 4, p->start_ns);
	bind_time(s, 5, p->end_ns);
	if (p->ended && p->exit_signal)
		sqlite3_bind_int(s, 7, p->exit_signal);
	else if (p->ended && p->exit_status >= 0)
		sqlite3_bind_int(s, 6, p->exit_status);
	step(w, s);
}

void store_writer_put_space(struct store_writer *w, const struct space_record *r)
{
	sqlite3_stmt *s = prepare(w, PUT_SPACE);

	if (!s)
		return;
	bind_u64(s, 1, r->id.v);
	bind_u64(s, 2, r->process);
	bind_u64(s, 3, r->exec_count);
	bind_text(s, 4, r->executable);
	bind_time(s, 5, r->start_ns);
	bind_time(s, 6, r->end_ns);
	bind_text(s, 7, r->end);
	step(w, s);
}

void store_writer_put_thread(struct store_writer *w, const struct thread_record *t)
{
	sqlite3_stmt *s = prepare(w, PUT_THREAD);

	if (!s)
		return;
	bind_u64(s, 1, t->id.v);
	bind_u64(s, 2, t->process);
	sqlite3_bind_int(s, 3, t->tid);
	bind_text(s, 4, t->name);
	bind_time(s, 5, t->start_ns);
	bind_time(s, 6, t->end_ns);
	step(w, s);
}

void store_writer_put_family(struct store_writer *w, const struct family_record *f)
{
	sqlite3_stmt *s = prepare(w, PUT_FAMILY);

	if (!s)
		return;
	bind_u64(s, 1, f->id);
	bind_text(s, 2, f->name);
	bind_text(s, 3, f->layer);
	step(w, s);
}

void store_writer_put_module(struct store_writer *w, const struct module_record *m)
{
	sqlite3_stmt *s = prepare(w, PUT_MODULE);

	if (!s)
		return;
	bind_u64(s, 1, m->id.v);
	bind_text(s, 2, m->path);
	bind_text(s, 3, m->build_id);
	step(w, s);
}

void store_writer_put_mapping(struct store_writer *w, const struct mapping_record *m)
{
	sqlite3_stmt *s = prepare(w, PUT_MAPPING);

	if (!s)
		return;
	bind_u64(s, 1, m->space.v);
	bind_u64(s, 2, m->module.v);
	bind_u64(s, 3, m->start);
	bind_u64(s, 4, m->end);
	bind_u64(s, 5, m->bias);
	bind_u64(s, 6, m->first_ns);
	step(w, s);
}

void store_writer_put_frame(struct store_writer *w, struct frame_id id, struct module_id module,
			    uint64_t offset)
{
	sqlite3_stmt *s = prepare(w, PUT_FRAME);

	if (!s)
		return;
	bind_u64(s, 1, id.v);
	bind_u64(s, 2, module.v);
	bind_u64(s, 3, offset);
	step(w, s);
}

/* The @n rows from @row on by one statement. */
static void put_stacks(struct store_writer *w, enum statement which, size_t row, size_t n)
{
	sqlite3_stmt *s = prepare(w, which);

	if (!s)
		return;
	for (size_t i = 0; i < 4 * n; i++)
		bind_u64(s, 1 + (int)i, w->stacks[row + i / 4].columns[i % 4]);
	step(w, s);
}

/* The same of STACK_ROWS that go on from what is there: no need to look for where they go. */
static void add_stacks(struct store_writer *w)
{
	sqlite3_stmt *s = prepare(w, ADD_STACKS);

	if (!s)
		return;
	for (size_t i = 0; i < STACK_ROWS; i++)
		for (int k = 0; k < 3; k++)
			bind_u64(s, 1 + 3 * (int)i + k, w->stacks[i].columns[1 + k]);
	step(w, s);
	if (!w->failed && (uint64_t)sqlite3_last_insert_rowid(w->db) + 1 != w->next_stack)
		writer_failed(w, SQLITE_CORRUPT);
}

static void flush_stacks(struct store_writer *w)
{
	if (w->n_stacks == STACK_ROWS && w->next_stack)
		add_stacks(w);
	else if (w->n_stacks == STACK_ROWS)
		put_stacks(w, PUT_STACKS, 0, STACK_ROWS);
	else
		for (size_t i = 0; i < w->n_stacks; i++)
			put_stacks(w, PUT_STACK, i, 1);
	w->n_stacks = 0;
}

void store_writer_put_stack(struct store_writer *w, struct stack_id id, struct stack_id parent,
			    struct frame_id frame, enum stack_end end)
{
	uint64_t *columns = w->stacks[w->n_stacks++].columns;

	w->next_stack = id.v && id.v == w->next_stack ? w->next_stack + 1 : 0;
	columns[0] = id.v;
	columns[1] = parent.v;
	columns[2] = frame.v;
	columns[3] = end;
	if (w->n_stacks == STACK_ROWS)
		flush_stacks(w);
}

void store_writer_put_symbol(struct store_writer *w, const struct symbol_record *r)
{
	sqlite3_stmt *s = prepare(w, PUT_SYMBOL);

	if (!s)
		return;
	bind_u64(s, 1, r->frame.v);
	bind_u64(s, 2, r->depth);
	bind_text(s, 3, r->function);
	bind_text(s, 4, r->file);
	if (r->line)
		bind_u64(s, 5, r->line);
	step(w, s);
}

void store_writer_put_loss(struct store_writer *w, const char *kind, uint64_t count)
{
	sqlite3_stmt *s = prepare(w, PUT_LOSS);

	if (!s)
		return;
	bind_text(s, 1, kind);
	bind_u64(s, 2, count);
	step(w, s);
}

void store_writer_put_rss(struct store_writer *w, struct space_id space, uint64_t t_ns,
			  uint64_t bytes)
{
	sqlite3_stmt *s = prepare(w, PUT_RSS);

	if (!s)
		return;
	bind_u64(s, 1, t_ns);
	bind_u64(s, 2, space.v);
	bind_u64(s, 3, bytes);
	step(w, s);
}

void store_writer_put_timeline(struct store_writer *w, const struct timeline_bucket *b, size_t n,
			       uint64_t start_ns, uint64_t width_ns)
{
	if (n < w->timeline_rows) { /* the width doubled */
		if (!prepare(w, PUT_TIMELINE) || !writer_exec(w, "DELETE FROM timeline"))
			return;
	}
	for (size_t i = 0; i < n; i++) {
		sqlite3_stmt *s = prepare(w, PUT_TIMELINE);

		if (!s)
			return;
		bind_u64(s, 1, i);
		bind_u64(s, 2, b[i].allocs);
		bind_u64(s, 3, b[i].frees);
		bind_u64(s, 4, b[i].allocated_bytes);
		bind_u64(s, 5, b[i].live_bytes);
		bind_u64(s, 6, b[i].max_live_bytes);
		step(w, s);
	}
	w->timeline_rows = n;
	store_writer_put_number(w, "timeline_start_ns", (int64_t)start_ns);
	store_writer_put_number(w, "timeline_width_ns", (int64_t)width_ns);
}

void store_writer_put_site(struct store_writer *w, struct stack_id stack, struct frame_id frame,
			   uint32_t depth, const struct heap_totals *t)
{
	sqlite3_stmt *s = prepare(w, PUT_SITE);

	if (!s)
		return;
	bind_u64(s, 1, stack.v);
	bind_u64(s, 2, frame.v);
	bind_u64(s, 3, depth);
	bind_totals(s, 4, t);
	step(w, s);
}

bool store_writer_put_reachability(struct store_writer *w, const struct reachability_record *r)
{
	sqlite3_stmt *s = prepare(w, PUT_REACHABILITY);
	bool is_bound = s && reachability_bind(s, r);

	if (is_bound)
		step(w, s);
	return is_bound && !w->failed;
}

/* ---- events ------------------------------------------------------------------ */

static void put_chunk(struct store_writer *w)
{
	const struct chunk_info *i = &w->chunk.info;
	sqlite3_stmt *s;

	if (!w->chunk_dirty || !(s = prepare(w, PUT_CHUNK)))
		return;
	chunk_encoder_finish(&w->chunk, &w->blob);
	bind_u64(s, 1, i->id);
	bind_u64(s, 2, i->space.v);
	bind_u64(s, 3, i->events);
	bind_u64(s, 4, i->allocs);
	bind_u64(s, 5, i->frees);
	bind_u64(s, 6, i->first_ns);
	bind_u64(s, 7, i->last_ns);
	bind_u64(s, 8, i->min_size);
	bind_u64(s, 9, i->max_size);
	bind_u64(s, 10, i->min_address);
	bind_u64(s, 11, i->max_address);
	bind_u64(s, 12, i->families);
	bind_u64(s, 13, i->codec);
	bind_u64(s, 14, i->crc);
	sqlite3_bind_blob(s, 15, w->blob.data, (int)w->blob.len, SQLITE_STATIC);
	step(w, s);
	w->chunk_dirty = false;
	if (i->events == CHUNK_EVENTS_MAX)
		w->sizes.chunks += w->blob.len;
}

uint64_t store_writer_put_event(struct store_writer *w, struct space_id space,
				const struct event *e)
{
	struct chunk_info *i = &w->chunk.info;

	if (w->failed || w->no_more_events)
		return 0;
	if (!i->id || i->events == CHUNK_EVENTS_MAX || i->space.v != space.v ||
	    w->chunk_has_ended) {
		w->chunk_has_ended = false;
		put_chunk(w);
		chunk_encoder_reset(&w->chunk, i->id + 1, space);
	}
	chunk_encoder_add(&w->chunk, e);
	w->chunk_dirty = true;
	if (i->events < CHUNK_EVENTS_MAX)
		return 0;
	put_chunk(w);
	return i->id;
}

uint64_t store_writer_end_chunk(struct store_writer *w)
{
	w->chunk_has_ended = true;
	return w->chunk.info.id;
}

void store_writer_put_snapshot(struct store_writer *w, const struct snapshot_info *i,
			       const struct snapshot *snapshot)
{
	sqlite3_stmt *s = prepare(w, PUT_SNAPSHOT);
	struct buffer packed = {0};

	if (!s)
		return;
	snapshot_rows_bind(s, i, snapshot, &packed);
	step(w, s);
	buffer_release(&packed);
}

/* ---- checkpoints --------------------------------------------------------------------- */

void store_writer_begin_checkpoint(struct store_writer *w, enum checkpoint_kind kind,
				   uint64_t chunk, uint64_t t_ns)
{
	checkpoint_packer_begin(&w->packer, kind, chunk, t_ns);
}

void store_writer_add_to_checkpoint(void *writer, const void *data, size_t len)
{
	checkpoint_packer_add(&((struct store_writer *)writer)->packer, data, len);
}

bool store_writer_end_checkpoint(struct store_writer *w)
{
	checkpoint_packer_end(&w->packer);
	return store_writer_put_checkpoint(w, &w->packer);
}

bool store_writer_put_checkpoint(struct store_writer *w, struct checkpoint_packer *p)
{
	sqlite3_stmt *s;

	/* of events that were given up, too: it would not go with the chunks */
	if (!p->is_good || w->no_more_events || !(s = prepare(w, PUT_CHECKPOINT)))
		return false;
	bind_u64(s, 1, p->info.chunk);
	bind_u64(s, 2, p->kind);
	bind_u64(s, 3, p->info.t_ns);
	bind_u64(s, 4, p->info.bytes);
	bind_u64(s, 5, checkpoint_crc(&p->info, p->kind, p->packed.data, p->packed.len));
	sqlite3_bind_blob(s, 6, p->packed.data, (int)p->packed.len, SQLITE_STATIC);
	step(w, s);
	w->sizes.checkpoints += p->packed.len;
	checkpoint_packer_release(p); /* it may be large */
	return !w->failed;
}

/* ---- bounded space ------------------------------------------------------------------- */

uint64_t store_writer_used_bytes(struct store_writer *w)
{
	return checkpoint_rows_used_bytes(w->db);
}

void store_writer_drop(struct store_writer *w, const struct dropped_events *d)
{
	if (w->failed || w->no_more_events)
		return;
	store_writer_put_number(w, DROPPED_CHUNKS_KEY, (int64_t)d->chunks);
	store_writer_put_number(w, DROPPED_EVENTS_KEY, (int64_t)d->events);
	store_writer_put_number(w, DROPPED_UNTIL_KEY, (int64_t)d->until_ns);
	delete_by(w, DROP_CHECKPOINTS, d->chunks);
	delete_by(w, THIN_RSS, d->until_ns);
	delete_by(w, DROP_SNAPSHOTS, d->until_ns); /* their blocks are not known any more */
	w->dropped = d->chunks;
}

bool store_writer_drop_rows(struct store_writer *w, uint64_t max)
{
	/* after a failure what was dropped last may be there again */
	if (w->failed || w->no_more_events || w->deleted == w->dropped)
		return false;
	w->deleted = w->dropped - w->deleted > max ? w->deleted + max : w->dropped;
	delete_by(w, DROP_CHUNKS, w->deleted);
	return w->deleted < w->dropped;
}

struct store_writer_sizes store_writer_sizes(const struct store_writer *w)
{
	return (struct store_writer_sizes){w->sizes.chunks, w->sizes.checkpoints,
					   w->chunk.info.id};
}

int store_writer_flush(struct store_writer *w, struct err *err)
{
	flush_stacks(w);
	put_chunk(w);
	if (w->in_transaction && writer_exec(w, "COMMIT"))
		w->in_transaction = false;
	if (!w->failed)
		return 0;
	if (err)
		*err = w->failure;
	return -w->failed_errno;
}
