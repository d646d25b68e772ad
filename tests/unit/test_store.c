/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "analyzer/analysis.h"
#include "common/xalloc.h"
#include "store/reader.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tests/unit/tap.h"

static char folder[64];
static struct event *events; /* room for CHUNK_EVENTS_MAX */
static struct err err;

/* ---- files ------------------------------------------------------------------------- */

/* The path of @name in the folder of the test; good until four calls later. */
static const char *in_folder(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

/* Removes the files in the folder; returns how many there were. */
static int empty_folder(void)
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	int n = 0;

	while (d && (entry = readdir(d))) {
		char path[400];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		unlink(path);
		n++;
	}
	closedir(d);
	return n;
}

static void write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		diag("cannot write %s", path);
	close(fd);
}

static bool file_is(const char *path, const char *text)
{
	char got[256] = "";
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, got, sizeof(got) - 1);

	close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(got, text, (size_t)n);
}

static off_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -1 : st.st_size;
}

static struct store_writer *create(const char *path, bool overwrite)
{
	struct store_writer_options o = {overwrite, geteuid(), getegid()};
	struct store_writer *w = NULL;

	memset(&err, 0, sizeof(err));
	if (store_writer_create(path, &o, &w, &err))
		return NULL;
	return w;
}

static int create_fails(const char *path, bool overwrite)
{
	struct store_writer_options o = {overwrite, geteuid(), getegid()};
	struct store_writer *w = NULL;
	int r;

	memset(&err, 0, sizeof(err));
	r = store_writer_create(path, &o, &w, &err);
	if (!r)
		store_writer_close(w, NULL);
	else if (w || !err.what[0])
		return 0;
	return r;
}

static struct store_reader *open_reader(const char *path)
{
	struct store_reader *r = NULL;

	memset(&err, 0, sizeof(err));
	if (store_reader_open(path, &r, &err))
		diag("%s", err.what);
	return r;
}

/* Runs @sql on a file that heaptrail does not have open. */
static bool run_sql(const char *path, const char *sql)
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
static const char *query(const char *path, const char *sql)
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

static void expect_rows(const char *name, const char *path, const char *sql, const char *rows)
{
	const char *got = query(path, sql);

	if (!ok(!strcmp(got, rows), "%s", name))
		diag("it was '%s'", got);
}

/* ---- all that is no event ----------------------------------------------------------- */

static void put_all(struct store_writer *w)
{
	struct timeline_bucket buckets[] = {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}, {0, 0, 0, 0, 1}};
	struct heap_totals totals = {1, 2, 3, 4, 5, 6, 7};

	store_writer_put_text(w, "version", "1.0");
	store_writer_put_text(w, "empty", NULL);
	store_writer_put_number(w, "low", INT64_MIN);
	store_writer_put_number(w, "again", 1);
	store_writer_put_number(w, "again", 2);
	store_writer_put_process(w, &(struct process_record){
		.id = 1, .pid = 4242, .command = "[\"ls\"]", .start_ns = 5});
	store_writer_put_process(w, &(struct process_record){
		.id = 2, .pid = 4243, .start_ns = 5, .end_ns = 6, .ended = true,
		.exit_status = 3});
	store_writer_put_process(w, &(struct process_record){
		.id = 3, .pid = 4244, .ended = true, .exit_status = -1, .exit_signal = 9});
	store_writer_put_space(w, &(struct space_record){
		.id = {1}, .process = 1, .executable = "/bin/ls", .start_ns = 10});
	store_writer_put_space(w, &(struct space_record){
		.id = {2}, .process = 1, .exec_count = 1, .start_ns = 20, .end_ns = 30,
		.end = "exit"});
	store_writer_put_thread(w, &(struct thread_record){
		.id = {1}, .process = 1, .tid = 4242, .name = "main", .start_ns = 1, .end_ns = 9});
	store_writer_put_thread(w, &(struct thread_record){.id = {4}, .process = 1, .tid = 4250});
	store_writer_put_family(w, &(struct family_record){63, "libc malloc", "heap"});
	store_writer_put_module(w, &(struct module_record){{1}, "/bin/ls", "c0ffee"});
	store_writer_put_module(w, &(struct module_record){{2}, "[anonymous]", NULL});
	store_writer_put_mapping(w, &(struct mapping_record){
		.space = {1}, .module = {1}, .start = 0xffffffffff600000, .end = UINT64_MAX,
		.bias = 4096, .first_ns = 11});
	store_writer_put_frame(w, (struct frame_id){1}, (struct module_id){1}, 0x1234);
	store_writer_put_frame(w, (struct frame_id){2}, (struct module_id){0}, UINT64_MAX);
	store_writer_put_stack(w, (struct stack_id){1}, (struct stack_id){0}, (struct frame_id){2},
			       STACK_TOO_DEEP);
	store_writer_put_stack(w, (struct stack_id){2}, (struct stack_id){1}, (struct frame_id){1},
			       STACK_TOO_DEEP);
	store_writer_put_symbol(w, &(struct symbol_record){{1}, 0, "inner", "ls.c", 12});
	store_writer_put_symbol(w, &(struct symbol_record){{1}, 1, "outer", NULL, 0});
	store_writer_put_loss(w, "lost_alloc", 1ull << 40);
	store_writer_put_rss(w, (struct space_id){1}, 100, 1 << 20);
	store_writer_put_timeline(w, buckets, 3, 1000, 50);
	store_writer_put_timeline(w, buckets, 2, 1000, 100);
	store_writer_put_site(w, (struct stack_id){2}, &totals);
	store_writer_put_file(w, "ls.c", (struct module_id){1}, &totals);
	store_writer_put_file(w, NULL, (struct module_id){0}, &totals);
}

static void check_catalog(const struct catalog *c)
{
	const struct catalog_frame *f;

	ok(!strcmp(catalog_text(c, "version"), "1.0") && !catalog_text(c, "empty") &&
		   !catalog_text(c, "nothing"),
	   "texts");
	ok(catalog_number(c, "low", 0) == INT64_MIN && catalog_number(c, "again", 0) == 2 &&
		   catalog_number(c, "nothing", 42) == 42,
	   "numbers; one put again is replaced");
	ok(c->n_processes == 4 && c->processes[1].id == 1 && c->processes[1].pid == 4242 &&
		   !strcmp(c->processes[1].command, "[\"ls\"]") && c->processes[1].start_ns == 5 &&
		   !c->processes[1].end_ns && !c->processes[1].ended,
	   "a process that has not ended");
	ok(c->processes[2].ended && c->processes[2].exit_status == 3 &&
		   !c->processes[2].exit_signal && c->processes[2].end_ns == 6 &&
		   !c->processes[2].command,
	   "a process that exited");
	ok(c->processes[3].ended && c->processes[3].exit_status == -1 &&
		   c->processes[3].exit_signal == 9,
	   "a process that was killed");
	ok(c->n_spaces == 3 && c->spaces[1].id.v == 1 &&
		   !strcmp(c->spaces[1].executable, "/bin/ls") &&
		   c->spaces[1].start_ns == 10 && !c->spaces[1].end && !c->spaces[1].end_ns,
	   "a space that has not ended");
	ok(c->spaces[2].exec_count == 1 && !strcmp(c->spaces[2].end, "exit") &&
		   c->spaces[2].end_ns == 30 && c->spaces[2].process == 1 &&
		   !c->spaces[2].executable,
	   "a space that ended");
	ok(c->n_threads == 5 && c->threads[1].tid == 4242 && !strcmp(c->threads[1].name, "main") &&
		   c->threads[1].start_ns == 1 && c->threads[1].end_ns == 9 &&
		   c->threads[4].tid == 4250 && !c->threads[4].name && !c->threads[4].end_ns,
	   "threads");
	ok(c->threads[2].id.v == 0 && c->threads[2].tid == 0, "an id that is missing is empty");
	ok(c->n_families == 64 && !strcmp(c->families[63].name, "libc malloc") &&
		   !strcmp(c->families[63].layer, "heap"),
	   "a family");
	ok(!strcmp(catalog_module_path(c, (struct module_id){1}), "/bin/ls") &&
		   !strcmp(c->modules[1].build_id, "c0ffee") && !c->modules[2].build_id &&
		   !catalog_module_path(c, (struct module_id){0}) &&
		   !catalog_module_path(c, (struct module_id){99}),
	   "modules");
	f = catalog_frame(c, (struct frame_id){1});
	ok(f->module.v == 1 && f->offset == 0x1234 && !strcmp(f->function, "inner") &&
		   !strcmp(f->file, "ls.c") && f->line == 12,
	   "a frame with the symbol of depth 0");
	f = catalog_frame(c, (struct frame_id){2});
	ok(f->module.v == 0 && f->offset == UINT64_MAX && !f->function && !f->file && !f->line,
	   "a frame without a symbol");
	ok(!catalog_frame(c, (struct frame_id){99})->offset &&
		   !catalog_stack(c, (struct stack_id){UINT32_MAX})->frame.v,
	   "a frame and a stack that there are not are empty");
	ok(catalog_stack(c, (struct stack_id){2})->parent.v == 1 &&
		   catalog_stack(c, (struct stack_id){2})->frame.v == 1 &&
		   catalog_stack(c, (struct stack_id){1})->frame.v == 2 &&
		   catalog_stack(c, (struct stack_id){1})->end == STACK_TOO_DEEP,
	   "stacks");
	ok(catalog_loss(c, "lost_alloc") == 1ull << 40 && catalog_loss(c, "nothing") == 0,
	   "losses");
}

static void test_catalog(void)
{
	const char *path = in_folder("catalog");
	struct store_writer *w = create(path, false);
	struct store_reader *r;
	struct catalog c = {0};
	struct stat st;

	ok(w, "a recording is created");
	put_all(w);
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0, "all that is no event is put and closed");
	ok(!stat(path, &st) && (st.st_mode & 07777) == 0600 &&
		   store_bytes_on_disk(path) == (uint64_t)st.st_size,
	   "the file is its owner's alone");
	r = open_reader(path);
	if (ok(r && store_reader_load(r, &c, &err) == 0, "and it is loaded"))
		check_catalog(&c);
	catalog_release(&c);
	catalog_release(&c);
	store_reader_close(r);
	store_reader_close(NULL);
	expect_rows("mappings", path,
		    "SELECT space, module, start, end, bias, first_ns FROM mapping",
		    "1|1|-10485760|-1|4096|11|");
	expect_rows("the timeline, rewritten with fewer buckets", path, "SELECT * FROM timeline",
		    "0|1|2|3|4|5|1|6|7|8|9|10|");
	expect_rows("its width", path,
		    "SELECT value FROM recording WHERE key LIKE 'timeline%' ORDER BY key",
		    "1000|100|");
	expect_rows("resident memory", path, "SELECT * FROM rss", "100|1|1048576|");
	expect_rows("sites", path, "SELECT * FROM site", "2|1|2|3|4|5|6|7|");
	expect_rows("files", path, "SELECT * FROM file",
		    "ls.c|1|1|2|3|4|5|6|7|NULL|0|1|2|3|4|5|6|7|");
	expect_rows("symbols", path, "SELECT * FROM symbol",
		    "1|0|inner|ls.c|12|1|1|outer|NULL|NULL|");
	ok(empty_folder() == 1, "it is one file");
}

/* ---- events ------------------------------------------------------------------------ */

/* Number @i of a stream of blocks made and, three events later, freed. */
static struct event numbered_event(uint64_t i)
{
	return (struct event){.kind = EVENT_ALLOC, .family = 1, .thread = {1}, .stack = {1},
			      .t_ns = 1000 + i * 3, .address = 0x10000 + i * 32, .size = i % 5000,
			      .usable = USABLE_UNKNOWN};
}

/* Reads chunks after @after; counts events, and those that are not as they were put. */
static uint64_t read_events(struct store_reader *r, uint64_t *after, uint64_t first,
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

static void test_events(void)
{
	enum { FIRST = 70000, ALL = 70010, SECOND_SPACE = 100 };
	const char *path = in_folder("events");
	struct store_writer *w = create(path, false);
	uint64_t after = 0, wrong = 0;
	struct chunk_info info;
	struct store_reader *r;

	for (uint64_t i = 0; i < FIRST; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){1}, &e);
	}
	ok(store_writer_flush(w, &err) == 0, "70,000 events are put and flushed");
	r = open_reader(path);
	ok(read_events(r, &after, 0, &wrong) == FIRST && !wrong && after == 2,
	   "they are read, while the writer is open, from two chunks");
	for (uint64_t i = FIRST; i < ALL; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){1}, &e);
	}
	after = 0;
	ok(read_events(r, &after, 0, &wrong) == FIRST && !wrong,
	   "what is put but not flushed is not seen");
	ok(store_writer_flush(w, &err) == 0 && store_writer_flush(w, &err) == 0,
	   "flushed, and once more for nothing");
	after = 1;
	ok(read_events(r, &after, CHUNK_EVENTS_MAX, &wrong) == ALL - CHUNK_EVENTS_MAX && !wrong,
	   "then the reader finds them in the chunk that was not full");
	for (uint64_t i = ALL; i < ALL + SECOND_SPACE; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){2}, &e);
	}
	store_writer_flush(w, &err);
	ok(read_events(r, &after, ALL, &wrong) == SECOND_SPACE && !wrong && after == 3,
	   "another space begins another chunk");
	ok(store_reader_next_chunk(r, 2, &info, events, &err) == 1 && info.space.v == 2 &&
		   info.events == SECOND_SPACE && info.first_ns == 1000 + ALL * 3,
	   "with its own numbers");
	ok(store_reader_next_chunk(r, 3, &info, events, &err) == 0, "there is none after it");
	store_reader_close(r);
	store_writer_put_event(w, (struct space_id){3}, &(struct event){
		.kind = EVENT_ALLOC, .t_ns = 1, .usable = USABLE_UNKNOWN});
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0, "the recording is closed, after a single event more");
	after = 0;
	r = open_reader(path);
	ok(read_events(r, &after, 0, &wrong) == ALL + SECOND_SPACE + 1 && wrong == 1 &&
		   events[0].t_ns == 1,
	   "closed, it has all events");
	store_reader_close(r);
	ok(empty_folder() == 1, "in one file");
}

/* ---- a disk that is full ------------------------------------------------------------ */

static void test_full(void)
{
	const char *path = in_folder("full");
	struct store_writer *w = create(path, false);
	struct rlimit before, limit;
	uint64_t n = 0, flushed = 0, after = 0, wrong = 0;
	struct store_reader *r;
	int result = 0;

	getrlimit(RLIMIT_FSIZE, &before);
	limit = (struct rlimit){1 << 20, before.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	while (!result && n < 20000000) {
		for (int i = 0; i < 20000; i++) {
			struct event e = numbered_event(n++);

			store_writer_put_event(w, (struct space_id){1}, &e);
		}
		result = store_writer_flush(w, &err);
		if (!result)
			flushed = n;
	}
	ok(result < 0 && err.what[0] && err.class == ERR_FAILED, "a flush to a full disk fails");
	setrlimit(RLIMIT_FSIZE, &before);
	store_writer_put_text(w, "too", "late");
	ok(store_writer_flush(w, &err) == result, "the failure is kept when there is room again");
	memset(&err, 0, sizeof(err));
	ok(store_writer_close(w, &err) == result && err.what[0], "and returned by the close");
	r = open_reader(path);
	ok(r && flushed && read_events(r, &after, 0, &wrong) == flushed && !wrong,
	   "what was flushed before can be read");
	store_reader_close(r);
	expect_rows("what was put after it is not there", path,
		    "SELECT count(*) FROM recording WHERE key = 'too'", "0|");
	empty_folder();
}

/* ---- refusing ----------------------------------------------------------------------- */

static void test_create_refuses(void)
{
	static const char text[] = "a text of the user's, longer than the head of a database is: "
				   "one hundred bytes are what SQLite keeps there.";
	const char *path = in_folder("there");
	struct store_writer *w = create(path, false);
	char copy[128];

	snprintf(copy, sizeof(copy), "%s", path);
	store_writer_put_text(w, "which", "old");
	store_writer_close(w, NULL);
	ok(create_fails(copy, false) == -EEXIST && err.hint[0],
	   "a file that is there is not overwritten, with a hint how");
	expect_rows("it is as it was", copy, "SELECT value FROM recording", "old|");
	w = create(copy, true);
	ok(w, "a recording is overwritten if that is wanted");
	store_writer_put_text(w, "which", "new");
	store_writer_close(w, NULL);
	expect_rows("nothing of the old one is left", copy, "SELECT value FROM recording", "new|");

	write_file(copy, "", 0);
	w = create(copy, true);
	ok(w && store_writer_close(w, NULL) == 0, "so is an empty file");
	write_file(copy, text, sizeof(text) - 1);
	ok(create_fails(copy, true) == -EEXIST && file_is(copy, text), "a text file is not");
	write_file(copy, "SQLite format 3", 16);
	ok(create_fails(copy, true) == -EEXIST && file_size(copy) == 16,
	   "nor what only begins like a database");
	unlink(copy);
	run_sql(copy, "PRAGMA application_id=1; CREATE TABLE mine (a);"
		      "INSERT INTO mine VALUES (5)");
	ok(create_fails(copy, true) == -EEXIST, "nor a SQLite file of another application");
	expect_rows("which is as it was", copy, "SELECT a FROM mine", "5|");
	ok(create_fails(folder, true) < 0 && create_fails(folder, false) < 0, "nor a folder");
	empty_folder();

	w = create(in_folder("target"), false);
	store_writer_put_text(w, "which", "old");
	store_writer_close(w, NULL);
	snprintf(copy, sizeof(copy), "%s", in_folder("target"));
	if (symlink("target", in_folder("link")))
		diag("cannot make a symbolic link");
	ok(create_fails(in_folder("link"), false) == -EEXIST, "a symbolic link is not followed");
	ok(create_fails(in_folder("link"), true) == -EEXIST && strstr(err.what, "symbolic link"),
	   "nor overwritten");
	expect_rows("the recording it names is as it was", copy, "SELECT value FROM recording",
		    "old|");
	unlink(copy);
	ok(create_fails(in_folder("link"), true) == -EEXIST && access(copy, F_OK),
	   "a link that leads nowhere is not followed either");
	empty_folder();
	ok(create_fails(in_folder("no/folder"), false) == -ENOENT && err.hint[0],
	   "a folder that there is not");
	ok(store_writer_close(NULL, NULL) == 0, "closing none");
}

static int open_fails(const char *path)
{
	struct store_reader *r = NULL;
	int result;

	memset(&err, 0, sizeof(err));
	result = store_reader_open(path, &r, &err);
	if (!result)
		store_reader_close(r);
	else if (r || err.class != ERR_RECORDING)
		return 0;
	return result;
}

static void test_open_refuses(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s", in_folder("file"));
	ok(open_fails(path) == -ENOENT && strstr(err.what, path), "a file that there is not");
	ok(open_fails(folder) < 0, "a folder");
	write_file(path, "", 0);
	ok(open_fails(path) == -EBADMSG && strstr(err.what, "empty"), "an empty file");
	write_file(path, "just a text file, and not a short one", 37);
	ok(open_fails(path) == -EBADMSG && strstr(err.what, "not a heaptrail recording"),
	   "a text file");
	write_file(path, "SQLite format 3\0and then something else", 39);
	ok(open_fails(path) == -EBADMSG, "what only begins like a database");
	unlink(path);
	run_sql(path, "PRAGMA application_id=1; CREATE TABLE chunk (id)");
	ok(open_fails(path) == -EBADMSG && strstr(err.what, "not a heaptrail recording"),
	   "a SQLite file of another application");
	unlink(path);
	store_writer_close(create(path, false), NULL);
	ok(open_fails(path) == 0, "a recording without anything in it can be opened");
	run_sql(path, "PRAGMA user_version=2");
	ok(open_fails(path) == -EBADMSG && strstr(err.what, "newer") && err.hint[0],
	   "a newer format, with a hint");
	unlink(path);

	store_writer_close(create(path, false), NULL);
	if (truncate(path, file_size(path) / 2))
		diag("cannot truncate");
	if (!open_fails(path)) {
		struct store_reader *r = open_reader(path);
		struct catalog c;

		ok(store_reader_load(r, &c, &err) == -EBADMSG, "a file cut in half");
		store_reader_close(r);
	} else {
		ok(open_fails(path) == -EBADMSG, "a file cut in half");
	}
	empty_folder();
}

/* A recording of 1000 events and one thread, changed by @sql: what reading it returns. */
static int read_changed(const char *sql, int *ret_load)
{
	const char *path = in_folder("changed");
	struct store_writer *w = create(path, false);
	struct chunk_info info;
	struct store_reader *r;
	struct catalog c;
	int result;

	store_writer_put_thread(w, &(struct thread_record){.id = {1}, .process = 1, .tid = 5});
	store_writer_put_loss(w, "x", 1);
	for (uint64_t i = 0; i < 1000; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){1}, &e);
	}
	store_writer_close(w, NULL);
	run_sql(path, sql);
	r = open_reader(path);
	*ret_load = store_reader_load(r, &c, &err);
	if (!*ret_load)
		catalog_release(&c);
	result = store_reader_next_chunk(r, 0, &info, events, &err);
	store_reader_close(r);
	empty_folder();
	return result;
}

static void test_changed(void)
{
	static const char *const chunk_changes[] = {
		"UPDATE chunk SET data = x'00'", "UPDATE chunk SET data = ''",
		"UPDATE chunk SET events = 999", "UPDATE chunk SET last_ns = last_ns + 1",
		"UPDATE chunk SET codec = 1",	 "UPDATE chunk SET id = 2",
		"UPDATE chunk SET data = 5",	 "UPDATE chunk SET data = zeroblob(1000000)",
		"UPDATE chunk SET space = 2",	 "UPDATE chunk SET crc = crc + 1",
		"DROP TABLE chunk",
	};
	static const char *const table_changes[] = {
		"UPDATE thread SET id = 1000000",
		"UPDATE thread SET id = -1",
		"UPDATE thread SET id = 9223372036854775807",
		"DROP TABLE thread",
		"DROP TABLE symbol",
	};
	int load;

	ok(read_changed("", &load) == 1 && load == 0, "an unchanged recording is read");
	for (size_t i = 0; i < COUNT_OF(chunk_changes); i++)
		ok(read_changed(chunk_changes[i], &load) == -EBADMSG && load == 0,
		   "damage to the events is seen: %s", chunk_changes[i]);
	for (size_t i = 0; i < COUNT_OF(table_changes); i++)
		ok(read_changed(table_changes[i], &load) == 1 && load == -EBADMSG,
		   "damage to a table is seen: %s", table_changes[i]);
}

/* ---- the analysis ------------------------------------------------------------------- */

static const struct group *group(const struct analysis *a, uint64_t key)
{
	static const struct group none;

	for (size_t i = 0; i < a->n_groups; i++)
		if (a->groups[i].key == key)
			return &a->groups[i];
	return &none;
}

/* Totals in their order. */
static void expect_totals(const char *name, const struct heap_totals *t, uint64_t alloc_calls,
			  uint64_t allocated, uint64_t live_blocks, uint64_t live_bytes,
			  uint64_t peak_blocks, uint64_t peak_bytes, uint64_t temporary)
{
	struct heap_totals e = {alloc_calls, allocated,	 live_blocks, live_bytes,
				peak_blocks, peak_bytes, temporary};

	if (!ok(!memcmp(t, &e, sizeof(e)), "%s", name))
		diag("it was %" PRIu64 " calls %" PRIu64 " bytes, live %" PRIu64 " %" PRIu64
		     ", peak %" PRIu64 " %" PRIu64 ", temporary %" PRIu64,
		     t->alloc_calls, t->allocated_bytes, t->live_blocks, t->live_bytes,
		     t->peak_blocks, t->peak_bytes, t->temporary_allocs);
}

static void put_known(struct store_writer *w)
{
	static const struct {
		uint32_t space;
		struct event e;
	} stream[] = {
#define E(...) .e = {__VA_ARGS__}
		/* the same peak three times: with two blocks, with three, with one less known */
		{1, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 10,
		      .address = 0x10, .size = 100, .usable = 104)}, /* slot 0 */
		{1, E(.kind = EVENT_ALLOC, .thread = {2}, .stack = {2}, .family = 1, .t_ns = 20,
		      .address = 0x20, .size = 50, .usable = 56)}, /* slot 1; 150 bytes */
		{1, E(.kind = EVENT_FREE, .thread = {2}, .slot = 0, .t_ns = 30)}, /* 50 */
		{1, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 40,
		      .address = 0x30, .size = 60, .usable = 72)}, /* slot 0; 110 */
		{1, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {3}, .family = 2, .t_ns = 50,
		      .address = 0x40, .size = 40, .usable = 40)}, /* slot 2; 150, the peak */
		{1, E(.kind = EVENT_FREE, .thread = {1}, .slot = 2, .t_ns = 60)}, /* temporary */
		{1, E(.kind = EVENT_FREE, .free_class = FREE_UNKNOWN, .thread = {1}, .t_ns = 61,
		      .address = 0x99)},
		{1, E(.kind = EVENT_FREE, .free_class = FREE_DOUBLE, .thread = {1}, .t_ns = 62,
		      .address = 0x40)},
		{1, E(.kind = EVENT_REALLOC, .thread = {2}, .stack = {2}, .family = 1, .slot = 1,
		      .t_ns = 70, .address = 0x50, .size = 80, .usable = 88)}, /* 140 */
		/* exec: 2 blocks of 140 bytes end with it */
		{2, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 80,
		      .address = 0x60, .size = 10, .usable = 24)}, /* slot 0 */
		{2, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {4}, .family = 1, .t_ns = 90,
		      .address = 0x70, .size = 5, .usable = USABLE_UNKNOWN)}, /* slot 1 */
		{2, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 95,
		      .address = 0x80, .size = 0, .usable = 24)}, /* slot 2 */
		{2, E(.kind = EVENT_FREE, .free_class = FREE_IMPLIED, .thread = {3}, .slot = 0,
		      .t_ns = 99)},
#undef E
	};

	for (size_t i = 0; i < COUNT_OF(stream); i++)
		store_writer_put_event(w, (struct space_id){stream[i].space}, &stream[i].e);
}

static void test_analysis(void)
{
	const char *path = in_folder("known");
	struct store_writer *w = create(path, false);
	struct store_reader *r;
	struct analysis a;
	const struct group *g;

	put_known(w);
	store_writer_close(w, NULL);
	r = open_reader(path);
	if (!ok(analysis_make(r, GROUP_STACK, NULL, &a, &err) == 0, "a known stream is analysed"))
		return;
	expect_totals("all totals; of equal peaks the last", &a.totals, 8, 345, 2, 5, 3, 150, 1);
	ok(a.peak_time_ns == 50, "the time of the peak");
	ok(a.free_calls == 4, "frees that ended a block");
	ok(a.frees[FREE_OF_BLOCK] == 2 && a.frees[FREE_IMPLIED] == 1 &&
		   a.frees[FREE_UNKNOWN] == 1 && a.frees[FREE_DOUBLE] == 1 &&
		   a.frees[FREE_INTERNAL] == 0,
	   "frees by what they turned out to be");
	ok(a.ended_by_exec_blocks == 2 && a.ended_by_exec_bytes == 140,
	   "what ended by the exec is told, and is not live");
	ok(a.usable_bytes == 24, "the usable bytes that are known");
	ok(a.events == 13 && a.first_ns == 10 && a.last_ns == 99, "events and times");
	ok(a.n_groups == 4, "four stacks");
	expect_totals("the share of stack 1", &group(&a, 1)->totals, 4, 170, 1, 0, 1, 60, 0);
	expect_totals("the share of stack 2", &group(&a, 2)->totals, 2, 130, 0, 0, 1, 50, 0);
	expect_totals("the share of stack 3", &group(&a, 3)->totals, 1, 40, 0, 0, 1, 40, 1);
	expect_totals("the share of stack 4", &group(&a, 4)->totals, 1, 5, 1, 5, 0, 0, 0);
	g = group(&a, 1);
	ok(g->oldest_ns == 95 && g->newest_ns == 95, "the times of a stack's live blocks");
	ok(!group(&a, 2)->oldest_ns && !group(&a, 2)->newest_ns, "none where none is live");
	analysis_release(&a);

	ok(analysis_make(r, GROUP_THREAD, NULL, &a, &err) == 0 && a.n_groups == 2, "by thread");
	expect_totals("thread 1", &group(&a, 1)->totals, 6, 215, 2, 5, 2, 100, 1);
	expect_totals("thread 2", &group(&a, 2)->totals, 2, 130, 0, 0, 1, 50, 0);
	analysis_release(&a);
	ok(analysis_make(r, GROUP_FAMILY, NULL, &a, &err) == 0 && a.n_groups == 2, "by family");
	expect_totals("family 2", &group(&a, 2)->totals, 1, 40, 0, 0, 1, 40, 1);
	analysis_release(&a);
	ok(analysis_make(r, GROUP_SIZE, NULL, &a, &err) == 0 && a.n_groups == 5, "by size");
	expect_totals("sizes 32 to 63", &group(&a, 32)->totals, 3, 150, 0, 0, 3, 150, 1);
	expect_totals("sizes of 0", &group(&a, 0)->totals, 1, 0, 1, 0, 0, 0, 0);
	analysis_release(&a);
	analysis_release(&a);
	store_reader_close(r);
	empty_folder();

	w = create(path, false);
	for (uint32_t i = 1; i <= 4; i++)
		store_writer_put_event(w, (struct space_id){i}, &(struct event){
			.kind = EVENT_ALLOC, .thread = {1}, .t_ns = i, .size = 10 * i});
	store_writer_close(w, NULL);
	r = open_reader(path);
	ok(analysis_make(r, GROUP_STACK, NULL, &a, &err) == 0 && a.ended_by_exec_blocks == 3 &&
		   a.ended_by_exec_bytes == 60 && a.totals.live_bytes == 40 &&
		   a.totals.peak_bytes == 40 && a.peak_time_ns == 4,
	   "three execs, each ends a block");
	analysis_release(&a);
	store_reader_close(r);
	empty_folder();
	ok(size_class(0) == 0 && size_class(1) == 1 && size_class(3) == 2 && size_class(4) == 4 &&
		   size_class(UINT64_MAX) == 1ull << 63,
	   "size classes");
}

/* A peak far into the second chunk; then a stream that contradicts itself. */
static void test_analysis_large(void)
{
	enum { N = 100000 };
	const char *path = in_folder("large");
	struct store_writer *w = create(path, false);
	struct slots slots = {0};
	struct store_reader *r;
	struct analysis a;

	for (uint64_t i = 0; i < N; i++) {
		struct event e = numbered_event(i);

		e.size = 16;
		e.stack.v = 1 + i % 2;
		if (i >= 80000) { /* the peak is the 80,000th event */
			e = (struct event){.kind = EVENT_FREE, .thread = {1}, .t_ns = e.t_ns,
					   .slot = (uint32_t)(i - 80000)};
		} else {
			slots_take(&slots);
		}
		store_writer_put_event(w, (struct space_id){1}, &e);
	}
	slots_release(&slots);
	store_writer_flush(w, NULL);
	r = open_reader(path);
	ok(analysis_make(r, GROUP_STACK, NULL, &a, &err) == 0, "a recording that is being written");
	expect_totals("its totals", &a.totals, 80000, 1280000, 60000, 960000, 80000, 1280000, 0);
	expect_totals("a share", &group(&a, 2)->totals, 40000, 640000, 30000, 480000, 40000, 640000,
		      0);
	ok(a.peak_time_ns == 1000 + 79999 * 3, "the peak in the second chunk");
	analysis_release(&a);
	store_writer_put_event(w, (struct space_id){1}, &(struct event){
		.kind = EVENT_FREE, .thread = {1}, .t_ns = 1ull << 40, .slot = 5});
	store_writer_flush(w, NULL);
	err.what[0] = '\0';
	ok(analysis_make(r, GROUP_STACK, NULL, &a, &err) == -EBADMSG && err.what[0] && !a.groups,
	   "a second free of a block makes it unreadable");
	store_reader_close(r);
	store_writer_close(w, NULL);

	store_writer_close(create(in_folder("empty"), false), NULL);
	r = open_reader(in_folder("empty"));
	ok(analysis_make(r, GROUP_STACK, NULL, &a, &err) == 0 && a.events == 0 && !a.n_groups,
	   "a recording without events");
	expect_totals("it has nothing", &a.totals, 0, 0, 0, 0, 0, 0, 0);
	analysis_release(&a);
	store_reader_close(r);
	empty_folder();
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/test_store.XXXXXX",
		 tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(folder)) {
		printf("Bail out! cannot make a folder for the test\n");
		return 1;
	}
	events = xcalloc(CHUNK_EVENTS_MAX, sizeof(*events));
	test_catalog();
	test_events();
	test_full();
	test_create_refuses();
	test_open_refuses();
	test_changed();
	test_analysis();
	test_analysis_large();
	free(events);
	empty_folder();
	ok(rmdir(folder) == 0, "nothing is left behind");
	return done();
}
