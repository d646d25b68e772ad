/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "store/record.h"
#include "store/schema.h" /* made of schema.sql: schema_sql[] */

/* ---- what is in the way ------------------------------------------------------- */

/* May the file that is there be overwritten?  Only what was ours, or is empty. */
static bool is_recording_or_empty(int fd)
{
	uint8_t head[72];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n == 0)
		return true;
	return n == (ssize_t)sizeof(head) && !memcmp(head, "SQLite format 3", 16) &&
	       (head[68] << 24 | head[69] << 16 | head[70] << 8 | head[71]) ==
		       RECORDING_APPLICATION_ID;
}

static int remove_old(const char *path, struct err *err)
{
	struct stat st;
	bool ours;
	int fd;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0) {
		int e = errno;

		if (fd >= 0)
			close(fd);
		if (e == ELOOP)
			return err_set(err, ERR_FAILED, EEXIST,
				       "cannot write to '%s': it is a symbolic link", path);
		return err_set(err, ERR_FAILED, e, "cannot overwrite '%s'", path);
	}
	ours = S_ISREG(st.st_mode) && is_recording_or_empty(fd);
	close(fd);
	if (!ours) {
		err_set(err, ERR_FAILED, 0, "cannot overwrite '%s': it is not a recording", path);
		err_hint(err, "remove it yourself, or name another file with -o");
		return -EEXIST;
	}
	if (unlink(path) < 0)
		return err_set(err, ERR_FAILED, errno, "cannot overwrite '%s'", path);
	return 0;
}

/* ---- the new one ---------------------------------------------------------------- */

/* An empty recording, as the bytes of its file; to be freed with sqlite3_free(). */
static unsigned char *make_image(sqlite3_int64 *ret_len)
{
	unsigned char *image = NULL;
	sqlite3 *db = NULL;
	char *sql;

	sql = xasprintf("PRAGMA page_size=8192; PRAGMA application_id=%d; PRAGMA user_version=%d;"
			"BEGIN; %s COMMIT;",
			RECORDING_APPLICATION_ID, RECORDING_VERSION, schema_sql);
	if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
		image = sqlite3_serialize(db, "main", ret_len, 0);
	/* in WAL mode from the start: only a recording that is sealed ever leaves it */
	if (image)
		image[18] = image[19] = 2;
	sqlite3_close(db);
	free(sql);
	return image;
}

static int write_image(int fd)
{
	sqlite3_int64 len, done = 0;
	unsigned char *image = make_image(&len);

	if (!image)
		return -ENOMEM;
	while (done < len) {
		ssize_t n = write(fd, image + done, (size_t)(len - done));

		if (n < 0 && errno != EINTR) {
			int e = errno;

			sqlite3_free(image);
			return -e;
		}
		done += n > 0 ? n : 0;
	}
	sqlite3_free(image);
	return 0;
}

/* Writes it without a name first: nobody ever sees half of it. */
static int create_at_once(const char *path)
{
	char *copy = xstrdup(path), link[64];
	int fd = open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), r;

	free(copy);
	if (fd < 0)
		return -errno;
	r = write_image(fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (!r && linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int create_by_name(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), r;

	if (fd < 0)
		return -errno;
	r = write_image(fd);
	close(fd);
	if (r)
		unlink(path);
	return r;
}

/* What another recording of that name has left: SQLite would take it for the new one's. */
static int clear_companions(const char *path, bool overwrite, struct err *err)
{
	static const char *const ends[] = {"-wal", "-shm", "-journal"};
	int r = 0;

	for (size_t i = 0; i < COUNT_OF(ends) && !r; i++) {
		char *name = xasprintf("%s%s", path, ends[i]);
		struct stat st;

		if (lstat(name, &st) == 0 && (!overwrite || unlink(name) < 0)) {
			r = err_set(err, ERR_FAILED, overwrite ? errno : EEXIST,
				    "cannot create '%s': '%s' of another recording is there", path,
				    name);
			err_hint(err, "remove it, name another file with -o, or overwrite it with "
				      "--force");
		}
		free(name);
	}
	return r;
}

int new_file_create(const char *path, bool overwrite, struct err *err)
{
	struct stat st;
	int r = overwrite ? remove_old(path, err) : 0;

	if (!r && lstat(path, &st) < 0)
		r = clear_companions(path, overwrite, err);
	if (r)
		return r;
	r = create_at_once(path);
	if (r == -EOPNOTSUPP || r == -EISDIR || r == -ENOENT || r == -EINVAL)
		r = create_by_name(path); /* or it says what is wrong with the name */
	if (!r)
		return 0;
	err_set(err, ERR_FAILED, -r, "cannot create '%s'", path);
	if (r == -EEXIST)
		err_hint(err, "name another file with -o, or overwrite it with --force");
	else if (r == -ENOENT)
		err_hint(err, "the folder it shall be in does not exist");
	else if (r == -ENOSPC || r == -EDQUOT)
		err_hint(err, "make room, or record to another place with -o");
	else if (r == -EACCES || r == -EROFS)
		err_hint(err, "record to a folder that you can write, with -o");
	return r;
}

char *new_file_resolve(const char *path)
{
	char *copy = xstrdup(path), *folder = realpath(dirname(copy), NULL), *full;
	const char *slash = strrchr(path, '/');

	full = folder ? xasprintf("%s/%s", folder, slash ? slash + 1 : path) : xstrdup(path);
	free(folder);
	free(copy);
	return full;
}
