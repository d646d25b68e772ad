/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/reader.h"

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
#include "store/catalog_rows.h"
#include "store/checkpoint_rows.h"
#include "store/chunk.h"
#include "store/earlier.h"
#include "store/seal.h"
#include "store/snapshot_rows.h"
#include "store/timeline_rows.h"

#define BLOB_BYTES_MAX (64 << 20)

#define DAMAGED_HINT "the file was cut or damaged after it was written: copy it again, if you can"

struct store_reader {
	sqlite3 *db;
	char *path;
	sqlite3_stmt *next_chunk;
	bool is_sealed;
	struct seal_parts parts; /* where it is */
	struct catalog early; /* frames and stacks, read with the seal; nothing else */
	bool lacks_wal; /* it was not closed, and the WAL beside it is gone */
	bool no_addresses; /* see store_reader_leave_out_addresses() */
	struct store_earlier *earlier; /* somebody's, or NULL */
	uint64_t chunks_before;	       /* in these */
	bool knows_dropped;	       /* it is sealed, and was asked */
	struct dropped_events dropped; /* then */
};

static int not_readable(struct store_reader *r, const char *why, struct err *err)
{
	err_set(err, ERR_RECORDING, 0, "cannot read the recording '%s': %s", r->path, why);
	return -EBADMSG;
}

static int sqlite_failed(struct store_reader *r, struct err *err)
{
	int code = sqlite3_errcode(r->db);

	not_readable(r, sqlite3_errmsg(r->db), err);
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR)
		err_hint(err, DAMAGED_HINT);
	else if (code == SQLITE_CANTOPEN)
		err_hint(err, "it was not closed properly and its folder cannot be written; copy "
			      "it, and the -wal file beside it, to a folder of your own");
	return -EBADMSG;
}

static uint64_t column_u64(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

static int64_t one_number(sqlite3 *db, const char *sql, bool *ret_ok)
{
	sqlite3_stmt *s = NULL;
	int64_t v = 0;

	*ret_ok = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
		  sqlite3_step(s) == SQLITE_ROW;
	if (*ret_ok)
		v = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return v;
}

#define LARGE_BYTES (1 << 20)

/* What a plain look at the file says: clearer messages than SQLite's. */
struct file_head {
	bool is_in_wal_mode;
	uint64_t bytes; /* that it has */
	uint64_t pages, page_bytes; /* that it says it has */
};

static int check_file(struct store_reader *r, struct file_head *ret, struct err *err)
{
	uint8_t h[100] = "";
	struct stat st;
	int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return err_set(err, ERR_RECORDING, errno, "cannot open '%s'", r->path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return not_readable(r, "it is not a regular file", err);
	}
	n = read(fd, h, sizeof(h));
	close(fd);
	if (n < 16 || memcmp(h, "SQLite format 3", 16) != 0)
		return not_readable(
			r, n == 0 ? "the file is empty" : "it is not a heaptrail recording", err);
	ret->is_in_wal_mode = h[18] == 2;
	ret->bytes = (uint64_t)st.st_size;
	ret->page_bytes = (uint64_t)h[16] << 8 | h[17];
	if (ret->page_bytes == 1)
		ret->page_bytes = 65536;
	ret->pages = (uint64_t)h[28] << 24 | (uint64_t)h[29] << 16 | (uint64_t)h[30] << 8 | h[31];
	return 0;
}

/* Bytes in the WAL beside it; -1: there is none. */
static int64_t wal_bytes(const struct store_reader *r)
{
	char *wal = xasprintf("%s-wal", r->path);
	struct stat st;
	int64_t bytes = stat(wal, &st) == 0 ? (int64_t)st.st_size : -1;

	free(wal);
	return bytes;
}

/*
 * In WAL mode, and no WAL is there: nobody writes it, as a recorder makes one first
 * of all.  Opened so, SQLite makes no files beside it, which we may not do or leave.
 */
static int open_immutable(struct store_reader *r, sqlite3 **ret)
{
	static const char hex[] = "0123456789abcdef";
	struct buffer uri = {0};
	int code;

	buffer_append(&uri, "file:", 5);
	for (const char *p = r->path; *p; p++) {
		char escaped[3] = {'%', hex[*p >> 4 & 15], hex[*p & 15]};

		if (strchr("?#%", *p))
			buffer_append(&uri, escaped, 3);
		else
			buffer_append(&uri, p, 1);
	}
	buffer_append(&uri, "?immutable=1", 13);
	code = sqlite3_open_v2((char *)uri.data, ret,
			       SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
	buffer_release(&uri);
	return code;
}

static void harden(sqlite3 *db)
{
	sqlite3_busy_timeout(db, 2000);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, BLOB_BYTES_MAX);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	/* a cell that reaches beyond its page is damage: say so, at once */
	sqlite3_exec(db, "PRAGMA cell_size_check=ON", NULL, NULL, NULL);
}

static int open_plainly(struct store_reader *r, bool is_immutable, sqlite3 **ret)
{
	return is_immutable ? open_immutable(r, ret)
			    : sqlite3_open_v2(r->path, ret,
					      SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
}

static int check_version(struct store_reader *r, struct err *err)
{
	bool ok;
	int64_t version = one_number(r->db, "PRAGMA user_version", &ok);

	if (!ok)
		return sqlite_failed(r, err);
	if (version < 1)
		return not_readable(r, "its format version is missing", err);
	if (version == RECORDING_VERSION)
		return 0;
	if (version < RECORDING_VERSION)
		return not_readable(r, "its format is one from before the first release", err);
	not_readable(r, "it was written by a newer heaptrail", err);
	err_hint(err, "its format version is %" PRId64 ", this heaptrail knows %d: install a newer "
		      "one", version, RECORDING_VERSION);
	return -EBADMSG;
}

/* Of a large file two threads compute it, of which the second has a connection of its own. */
static int compute_seal(struct store_reader *r, bool is_large, bool is_immutable,
			char ret[SEAL_MAX])
{
	sqlite3 *other = NULL;
	int code;

	if (is_large && open_plainly(r, is_immutable, &other) == SQLITE_OK) {
		harden(other);
	} else {
		sqlite3_close(other);
		other = NULL;
	}
	code = catalog_rows_seal(r->db, other, &r->parts, &r->early, ret);
	sqlite3_close(other);
	return code;
}

static int check_seal(struct store_reader *r, const struct file_head *head, bool is_immutable,
		      struct err *err)
{
	char has[SEAL_MAX], should[SEAL_MAX];

	r->is_sealed = seal_read(r->db, has);
	if (!r->is_sealed && head->is_in_wal_mode)
		return 0;
	if (!r->is_sealed) { /* only one that was sealed leaves WAL mode */
		not_readable(r, "its seal is missing", err);
		err_hint(err, DAMAGED_HINT);
		return -EBADMSG;
	}
	if (compute_seal(r, head->bytes >= LARGE_BYTES, is_immutable, should) != 0)
		return sqlite_failed(r, err);
	if (!strcmp(has, should))
		return 0;
	not_readable(r, "its tables do not match their checksum", err);
	err_hint(err, DAMAGED_HINT);
	return -EBADMSG;
}

static int open_database(struct store_reader *r, struct err *err)
{
	struct file_head head = {0};
	int64_t application, wal;
	bool ok, is_immutable;
	int e = check_file(r, &head, err), code;

	if (e)
		return e;
	wal = wal_bytes(r);
	if (wal <= 0 && head.pages * head.page_bytes > head.bytes) {
		err_set(err, ERR_RECORDING, 0,
			"cannot read the recording '%s': it was cut short: %" PRIu64 " of %" PRIu64
			" bytes are there", r->path, head.bytes, head.pages * head.page_bytes);
		err_hint(err, "copy it again, all of it");
		return -EBADMSG;
	}
	is_immutable = head.is_in_wal_mode && wal < 0;
	code = open_plainly(r, is_immutable, &r->db);
	if (code != SQLITE_OK)
		return sqlite_failed(r, err);
	harden(r->db);
	application = one_number(r->db, "PRAGMA application_id", &ok);
	if (!ok)
		return sqlite_failed(r, err);
	if (application != RECORDING_APPLICATION_ID)
		return not_readable(r, "it is a SQLite file, but not a heaptrail recording", err);
	e = check_version(r, err);
	if (!e)
		e = check_seal(r, &head, is_immutable, err);
	r->lacks_wal = !r->is_sealed && head.is_in_wal_mode && wal <= 0;
	return e;
}

int store_reader_open(const char *path, struct store_reader **ret, struct err *err)
{
	struct store_reader *r = xcalloc(1, sizeof(*r));
	int e;

	r->path = xstrdup(path);
	e = open_database(r, err);
	if (e) {
		store_reader_close(r);
		return e;
	}
	*ret = r;
	return 0;
}

int store_reader_open_after(const char *path, struct store_earlier *earlier,
			    struct store_reader **ret, struct err *err)
{
	int e = store_reader_open(path, ret, err);

	if (e || !earlier)
		return e;
	(*ret)->earlier = earlier;
	(*ret)->chunks_before = store_earlier_chunks(earlier);
	return 0;
}

const struct seal_parts *store_reader_seal_parts(const struct store_reader *r)
{
	return &r->parts;
}

bool store_reader_is_sealed(const struct store_reader *r)
{
	return r->is_sealed;
}

bool store_reader_lacks_wal(const struct store_reader *r)
{
	return r->lacks_wal;
}

void store_reader_close(struct store_reader *r)
{
	if (!r)
		return;
	if (r->earlier)
		store_earlier_rest(r->earlier);
	sqlite3_finalize(r->next_chunk);
	sqlite3_close(r->db);
	catalog_release(&r->early);
	free(r->path);
	free(r);
}

/* Of the file itself. */
static struct dropped_events own_dropped(struct store_reader *r)
{
	static const char sql[] = "SELECT key, value FROM recording WHERE key IN"
				  " ('" DROPPED_CHUNKS_KEY "', '" DROPPED_EVENTS_KEY
				  "', '" DROPPED_UNTIL_KEY "')";
	struct dropped_events d = {0};
	sqlite3_stmt *s = NULL;

	if (r->knows_dropped)
		return r->dropped;
	if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK)
		return d;
	while (sqlite3_step(s) == SQLITE_ROW) { /* one statement: all of the same moment */
		const char *key = (const char *)sqlite3_column_text(s, 0);
		uint64_t *number = !strcmp(key, DROPPED_CHUNKS_KEY)   ? &d.chunks
				   : !strcmp(key, DROPPED_EVENTS_KEY) ? &d.events
								      : &d.until_ns;
		sqlite3_int64 value = sqlite3_column_int64(s, 1);

		*number = value > 0 ? (uint64_t)value : 0;
	}
	sqlite3_finalize(s);
	if (!d.events)
		d = (struct dropped_events){0};
	r->knows_dropped = r->is_sealed;
	r->dropped = d;
	return d;
}

static int missing_chunk(struct store_reader *r, uint64_t chunk, struct err *err)
{
	err_set(err, ERR_RECORDING, 0,
		"cannot read the recording '%s': the events of chunk %" PRIu64 " are missing",
		r->path, chunk);
	return own_dropped(r).chunks >= chunk ? -ESTALE : -EBADMSG;
}

void store_reader_leave_out_addresses(struct store_reader *r, bool leave_out)
{
	r->no_addresses = leave_out;
}

/* How a chunk is wanted: all of its events, or in brief. */
struct wanted_chunk {
	struct event *events;
	struct chunk_brief *brief;
};

static int decode_as_wanted(const struct store_reader *r, const struct chunk_info *info,
			    const void *data, size_t len, const struct wanted_chunk *to,
			    struct err *err)
{
	if (to->brief)
		return chunk_decode_brief(info, data, len, to->brief, err);
	return (r->no_addresses ? chunk_decode_but_addresses : chunk_decode)(info, data, len,
									    to->events, err);
}

static int next_own_chunk(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
			  const struct wanted_chunk *to, struct err *err)
{
	static const char sql[] =
		"SELECT id, space, events, allocs, frees, first_ns, last_ns, min_size, max_size,"
		" min_address, max_address, families, codec, crc, data"
		" FROM chunk WHERE id > ? ORDER BY id LIMIT 1";
	struct chunk_info i = {0};
	sqlite3_stmt *s;
	int code, result = 0;

	if (!r->next_chunk &&
	    sqlite3_prepare_v3(r->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &r->next_chunk, NULL) !=
		    SQLITE_OK)
		return sqlite_failed(r, err);
	s = r->next_chunk;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)after);
	code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		i.id = (uint64_t)sqlite3_column_int64(s, 0);
		if (i.id != after + 1) {
			sqlite3_reset(s);
			return missing_chunk(r, after + 1, err);
		}
		i.space.v = (uint32_t)sqlite3_column_int64(s, 1);
		i.events = (uint32_t)sqlite3_column_int64(s, 2);
		i.allocs = (uint32_t)sqlite3_column_int64(s, 3);
		i.frees = (uint32_t)sqlite3_column_int64(s, 4);
		i.first_ns = (uint64_t)sqlite3_column_int64(s, 5);
		i.last_ns = (uint64_t)sqlite3_column_int64(s, 6);
		i.min_size = (uint64_t)sqlite3_column_int64(s, 7);
		i.max_size = (uint64_t)sqlite3_column_int64(s, 8);
		i.min_address = (uint64_t)sqlite3_column_int64(s, 9);
		i.max_address = (uint64_t)sqlite3_column_int64(s, 10);
		i.families = (uint64_t)sqlite3_column_int64(s, 11);
		i.codec = (uint32_t)sqlite3_column_int64(s, 12);
		i.crc = (uint32_t)sqlite3_column_int64(s, 13);
		result = decode_as_wanted(r, &i, sqlite3_column_blob(s, 14),
					  (size_t)sqlite3_column_bytes(s, 14), to, err);
		if (!result)
			result = 1;
		*ret_info = i;
	} else if (code != SQLITE_DONE) {
		result = sqlite_failed(r, err);
	} else if (own_dropped(r).chunks > after) {
		result = missing_chunk(r, after + 1, err);
	}
	sqlite3_reset(s);
	return result;
}

/* Of all files. */
static int next_chunk(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
		      const struct wanted_chunk *to, struct err *err)
{
	uint64_t before = r->chunks_before;
	struct store_reader *of = r;
	int result = 0;

	if (after < before && own_dropped(r).chunks)
		return missing_chunk(r, 1, err);
	if (after < before)
		result = store_earlier_of_chunk(r->earlier, after, &of, &before, err);
	else if (r->earlier)
		store_earlier_rest(r->earlier);
	if (result)
		return result;
	of->no_addresses = r->no_addresses;
	result = next_own_chunk(of, after - before, ret_info, to, err);
	if (result == 1)
		ret_info->id += before;
	if (of == r || result == 1)
		return result;
	return result == 0 || result == -ESTALE ? not_readable(of, "its last events have gone", err)
						: result;
}

int store_reader_next_chunk(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
			    struct event *ret_events, struct err *err)
{
	return next_chunk(r, after, ret_info, &(struct wanted_chunk){.events = ret_events}, err);
}

int store_reader_next_brief(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
			    struct chunk_brief *ret, struct err *err)
{
	return next_chunk(r, after, ret_info, &(struct wanted_chunk){.brief = ret}, err);
}

/* ---- checkpoints, and where a moment is ---------------------------------------------- */

int store_reader_find_checkpoint(struct store_reader *r, uint64_t until,
				 struct checkpoint_info *ret, struct err *err)
{
	uint64_t before = r->chunks_before;

	if (until >= before && checkpoint_rows_find(r->db, until - before, ret) &&
	    (!before || ret->chunk <= until - before)) {
		ret->chunk += before;
		return 1;
	}
	return before ? store_earlier_find_checkpoint(r->earlier, until, ret, err) : 0;
}

int store_reader_checkpoint(struct store_reader *r, enum checkpoint_kind kind, uint64_t chunk,
			    struct buffer *ret, struct err *err)
{
	if (chunk >= r->chunks_before &&
	    checkpoint_rows_read(r->db, kind, chunk - r->chunks_before, ret))
		return 1;
	if (chunk > r->chunks_before || !r->earlier)
		return 0;
	return store_earlier_checkpoint(r->earlier, kind, chunk, ret, err);
}

struct dropped_events store_reader_dropped(struct store_reader *r)
{
	struct dropped_events own = own_dropped(r);

	if (!r->earlier)
		return own;
	if (!own.chunks)
		return store_earlier_dropped(r->earlier);
	own.chunks += r->chunks_before; /* those of the files before have gone, too */
	return own;
}

/* Of the file itself; 0: there are no events.  Those before it were dropped. */
static uint64_t first_own_chunk(struct store_reader *r)
{
	struct dropped_events dropped = own_dropped(r);
	bool ok;

	if (dropped.events)
		return dropped.chunks + 1;
	return one_number(r->db, "SELECT max(id) FROM chunk", &ok) > 0;
}

int store_reader_chunk_at(struct store_reader *r, uint64_t t_ns, uint64_t *ret, struct err *err)
{
	uint64_t first = first_own_chunk(r);
	uint64_t own = checkpoint_rows_chunk_at(r->db, first, t_ns);

	if (r->earlier && (!first || own < first) && !own_dropped(r).chunks)
		return store_earlier_chunk_at(r->earlier, t_ns, ret, err);
	*ret = own + r->chunks_before;
	return 0;
}

int64_t store_reader_number(struct store_reader *r, const char *key, int64_t otherwise)
{
	sqlite3_stmt *s = NULL;

	if (sqlite3_prepare_v2(r->db, "SELECT value FROM recording WHERE key = ?", -1, &s, NULL) ==
		    SQLITE_OK &&
	    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		otherwise = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return otherwise;
}

struct space_id store_reader_last_space(struct store_reader *r)
{
	bool ok;

	return (struct space_id){
		(uint32_t)one_number(r->db, "SELECT coalesce(max(id), 0) FROM space", &ok)};
}

int store_reader_reachability(struct store_reader *r, struct reachability_record *ret,
			      struct err *err)
{
	bool is_damaged;

	memset(ret, 0, sizeof(*ret));
	if (reachability_read(r->db, store_reader_last_space(r), ret, &is_damaged))
		return 1;
	return is_damaged ? not_readable(r, "what points to its blocks is damaged", err) : 0;
}

/* ---- the catalog ------------------------------------------------------------- */

/* What it says of the files before it, these say themselves. */
static int add_earlier(struct store_reader *r, struct catalog *c, bool is_new, struct err *err)
{
	struct dropped_events d = store_reader_dropped(r);
	int e = is_new ? store_earlier_name(r->earlier, c, err) : 0;

	catalog_put_number(c, DROPPED_CHUNKS_KEY, d.chunks);
	catalog_put_number(c, DROPPED_EVENTS_KEY, d.events);
	catalog_put_number(c, DROPPED_UNTIL_KEY, d.until_ns);
	if (e)
		catalog_release(c);
	return e;
}

int store_reader_update(struct store_reader *r, struct catalog *c, struct err *err)
{
	bool is_new = !c->n_frames;
	int code = catalog_rows_update(r->db, &r->early, c);

	if (code == CATALOG_ROWS_IMPOSSIBLE)
		return not_readable(r, "a table holds impossible values", err);
	if (code)
		return sqlite_failed(r, err);
	return r->earlier ? add_earlier(r, c, is_new, err) : 0;
}

int store_reader_load(struct store_reader *r, struct catalog *ret, struct err *err)
{
	memset(ret, 0, sizeof(*ret));
	return store_reader_update(r, ret, err);
}

int store_reader_symbols(struct store_reader *r, store_reader_symbol *each, void *arg,
			 struct err *err)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(r->db,
				      "SELECT frame, depth, function, file, line FROM symbol"
				      " ORDER BY frame, depth", -1, &s, NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		code = SQLITE_OK;
		each(arg, &(struct symbol_record){
				  .frame = {(uint32_t)column_u64(s, 0)},
				  .depth = (uint32_t)column_u64(s, 1),
				  .function = (const char *)sqlite3_column_text(s, 2),
				  .file = (const char *)sqlite3_column_text(s, 3),
				  .line = (uint32_t)column_u64(s, 4)});
	}
	sqlite3_finalize(s);
	return code == SQLITE_DONE ? 0 : sqlite_failed(r, err);
}

void store_reader_spare_memory(struct store_reader *r)
{
	catalog_release(&r->early);
}

/* ---- the heap over time ------------------------------------------------------- */

int store_reader_add_rss(struct store_reader *r, struct timeline *t, struct err *err)
{
	uint64_t last_row = 0;

	return timeline_rows_rss(r->db, &last_row, true, t) == SQLITE_DONE ? 0
									  : sqlite_failed(r, err);
}

int store_reader_timeline(struct store_reader *r, struct timeline *ret, struct err *err)
{
	bool has_start, has_width;
	uint64_t start = (uint64_t)one_number(
		r->db, "SELECT value FROM recording WHERE key = 'timeline_start_ns'", &has_start);
	uint64_t width = (uint64_t)one_number(
		r->db, "SELECT value FROM recording WHERE key = 'timeline_width_ns'", &has_width);
	int e = 0;

	ret->n = 0;
	ret->start_ns = start;
	ret->width_ns = has_start && has_width ? width : 0;
	if (ret->width_ns && timeline_rows_buckets(r->db, ret) != SQLITE_DONE)
		e = sqlite_failed(r, err);
	/* the copies that it has of those of the files before are fewer */
	if (!e && r->earlier && !ret->has_earlier_rss)
		e = store_earlier_add_rss(r->earlier, ret, err);
	ret->has_earlier_rss = r->earlier != NULL;
	if (!e && timeline_rows_rss(r->db, &ret->last_rss, r->earlier != NULL, ret) != SQLITE_DONE)
		e = sqlite_failed(r, err);
	if (e)
		timeline_release(ret);
	return e;
}

void store_reader_families(struct store_reader *r, store_reader_family *each, void *arg)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(r->db, "SELECT id, layer FROM family ORDER BY id", -1, &s,
				      NULL);

	while (code == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		if (sqlite3_column_text(s, 1))
			each(arg, (uint64_t)sqlite3_column_int64(s, 0),
			     (const char *)sqlite3_column_text(s, 1));
	sqlite3_finalize(s);
}

/* Behind those of the files before. */
struct numbering {
	store_reader_snapshot_info *each;
	void *arg;
	uint64_t before;
};

static void number_one(void *arg, const struct snapshot_info *i)
{
	const struct numbering *n = arg;
	struct snapshot_info numbered = *i;

	numbered.id += n->before;
	n->each(n->arg, &numbered);
}

int store_reader_list_snapshots(struct store_reader *r, uint64_t before,
				store_reader_snapshot_info *each, void *arg, struct err *err)
{
	struct numbering n = {each, arg, before};

	return snapshot_rows_list(r->db, number_one, &n) ? 0 : sqlite_failed(r, err);
}

int store_reader_snapshots(struct store_reader *r, store_reader_snapshot_info *each, void *arg,
			   struct err *err)
{
	uint64_t before = r->earlier ? store_earlier_snapshots(r->earlier) : 0;
	int e = r->earlier ? store_earlier_list_snapshots(r->earlier, each, arg, err) : 0;

	return e ? e : store_reader_list_snapshots(r, before, each, arg, err);
}

int store_reader_snapshot(struct store_reader *r, uint64_t id, struct snapshot *ret,
			  struct err *err)
{
	uint64_t before = r->earlier ? store_earlier_snapshots(r->earlier) : 0;

	if (id <= before && r->earlier)
		return store_earlier_snapshot(r->earlier, id, ret, err);
	if (snapshot_rows_read(r->db, id - before, ret))
		return 0;
	not_readable(r, "a snapshot of the memory is damaged", err);
	err_hint(err, DAMAGED_HINT);
	return -EBADMSG;
}

/* ---- the summaries ------------------------------------------------------------ */

int store_reader_sites(struct store_reader *r, store_reader_site *each, void *arg,
		       struct err *err)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(r->db,
				      "SELECT stack, alloc_calls, allocated_bytes, live_blocks,"
				      " live_bytes, peak_blocks, peak_bytes, temporary_allocs"
				      " FROM site ORDER BY stack", -1, &s, NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		code = SQLITE_OK;
		each(arg, (struct stack_id){(uint32_t)column_u64(s, 0)},
		     &(struct heap_totals){.alloc_calls = column_u64(s, 1),
					   .allocated_bytes = column_u64(s, 2),
					   .live_blocks = column_u64(s, 3),
					   .live_bytes = column_u64(s, 4),
					   .peak_blocks = column_u64(s, 5),
					   .peak_bytes = column_u64(s, 6),
					   .temporary_allocs = column_u64(s, 7)});
	}
	sqlite3_finalize(s);
	return code == SQLITE_DONE ? 0 : sqlite_failed(r, err);
}

/* ---- what there is -------------------------------------------------------------- */

int store_reader_extent(struct store_reader *r, struct store_extent *ret, struct err *err)
{
	sqlite3_stmt *s = NULL;
	bool ok, has_snapshots;
	int code = sqlite3_prepare_v2(r->db,
				      "SELECT coalesce(max(id), 0), coalesce(sum(events), 0),"
				      " coalesce(min(first_ns), 0) FROM chunk", -1, &s, NULL);

	memset(ret, 0, sizeof(*ret));
	if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
		*ret = (struct store_extent){.chunks = column_u64(s, 0),
					     .events = column_u64(s, 1),
					     .first_ns = column_u64(s, 2)};
	sqlite3_finalize(s);
	if (code != SQLITE_ROW)
		return sqlite_failed(r, err);
	has_snapshots = one_number(r->db, "SELECT count(*) FROM sqlite_master WHERE type ="
					  " 'table' AND name = 'snapshot'", &ok) > 0;
	if (has_snapshots)
		ret->snapshots = (uint64_t)one_number(
			r->db, "SELECT coalesce(max(id), 0) FROM snapshot", &ok);
	if (ret->chunks >= UINT32_MAX || ret->snapshots >= UINT32_MAX) /* there is no such disk */
		return not_readable(r, "a table holds impossible values", err);
	return 0;
}

uint64_t store_bytes_on_disk(const char *path)
{
	char *wal = xasprintf("%s-wal", path);
	struct stat st;
	uint64_t bytes = 0;

	if (!stat(path, &st))
		bytes += (uint64_t)st.st_size;
	if (!stat(wal, &st))
		bytes += (uint64_t)st.st_size;
	free(wal);
	return bytes;
}
