/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the store cannot write, will not overwrite, or does not take for a recording. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/xalloc.h"
#include "store/reader.h"
#include "store/writer.h"
#include "tests/unit/files.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/tap.h"

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

static int create_fails(const char *path, bool overwrite)
{
	struct store_writer_options o = {
		.overwrite = overwrite, .uid = geteuid(), .gid = getegid()};
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

/* Runs @sql on a file that heaptrail does not have open. */
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
	run_sql(path, "PRAGMA user_version=3");
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

int main(void)
{
	set_up("store_errors");
	test_full();
	test_create_refuses();
	test_open_refuses();
	test_changed();
	return tear_down() ? done() : 1;
}
