/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/write_error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int errno_of_code(sqlite3 *db, int code)
{
	int sys = db ? sqlite3_system_errno(db) : 0;

	switch (code & 0xff) {
	case SQLITE_FULL:
		return sys == EDQUOT ? EDQUOT : ENOSPC;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return EBUSY;
	default:
		return sys ? sys : EIO;
	}
}

int write_error_errno(sqlite3 *db, int code, const char *path)
{
	int e = errno_of_code(db, code), fd;

	if (e != EIO || !path)
		return e;
	/* SQLite often says no more than "I/O error": ask once more what is wrong with the file */
	fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == EROFS || errno == ENOENT ? errno : EIO;
	close(fd);
	return EIO;
}
