/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"

#define BUSY_MS 5000

/* What SQLite keeps beside a file. */
static const char *const beside[] = {"-wal", "-shm", "-journal"};

static int create(const char *to, struct err *err)
{
	struct stat st;
	int fd, r;

	/* what another one of that name has left, SQLite would take for the copy's */
	for (size_t i = 0; i < COUNT_OF(beside); i++) {
		char *name = xasprintf("%s%s", to, beside[i]);
		bool is_there = lstat(name, &st) == 0;

		if (is_there)
			r = err_set(err, ERR_FAILED, EEXIST,
				    "cannot create '%s': '%s' of another recording is there", to,
				    name);
		free(name);
		if (is_there)
			return r;
	}
	fd = open(to, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		r = err_set(err, ERR_FAILED, errno, "cannot create '%s'", to);
		if (r == -EEXIST)
			err_hint(err, "name another file");
		return r;
	}
	close(fd);
	return 0;
}

static int open_one(const char *path, int flags, sqlite3 **ret, struct err *err)
{
	int code = sqlite3_open_v2(path, ret, flags, NULL);

	if (code != SQLITE_OK)
		return err_set(err, ERR_FAILED, 0, "cannot open '%s': %s", path,
			       sqlite3_errstr(code));
	sqlite3_busy_timeout(*ret, BUSY_MS);
	sqlite3_db_config(*ret, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(*ret, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return 0;
}

/*
 * All pages in one step: in several, each commit of the recorder's in between would make it
 * begin anew.
 */
static int copy_pages(sqlite3 *from, sqlite3 *to, const char *path, struct err *err)
{
	sqlite3_backup *b;
	int code;

	sqlite3_exec(to, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
	b = sqlite3_backup_init(to, "main", from, "main");
	if (!b)
		return err_set(err, ERR_FAILED, 0, "cannot write '%s': %s", path,
			       sqlite3_errmsg(to));
	do
		code = sqlite3_backup_step(b, -1);
	while (code == SQLITE_OK);
	sqlite3_backup_finish(b);
	if (code == SQLITE_DONE)
		return 0;
	if ((code & 0xff) == SQLITE_FULL)
		return err_set(err, ERR_FAILED, ENOSPC, "cannot write '%s'", path);
	return err_set(err, ERR_FAILED, 0, "cannot write '%s': %s", path, sqlite3_errstr(code));
}

int store_copy(const char *from_path, const char *to_path, struct err *err)
{
	sqlite3 *from = NULL, *to = NULL;
	int r = create(to_path, err);

	if (r)
		return r;
	r = open_one(from_path, SQLITE_OPEN_READONLY, &from, err);
	if (!r)
		r = open_one(to_path, SQLITE_OPEN_READWRITE, &to, err);
	if (!r)
		r = copy_pages(from, to, to_path, err);
	sqlite3_close(from);
	if (sqlite3_close(to) != SQLITE_OK && !r)
		r = err_set(err, ERR_FAILED, 0, "cannot write '%s'", to_path);
	if (r)
		store_remove(to_path);
	return r;
}

void store_remove(const char *path)
{
	unlink(path);
	for (size_t i = 0; i < COUNT_OF(beside); i++) {
		char *name = xasprintf("%s%s", path, beside[i]);

		unlink(name);
		free(name);
	}
}
