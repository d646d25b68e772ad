/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_FILES_H
#define TESTS_UNIT_FILES_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"

/* Files that a test reads and writes, and a folder of its own for them. */

static char folder[80];

/* @test: part of its name. */
static inline void make_folder(const char *test)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/heaptrail-%.20s.XXXXXX",
		 tmp && strlen(tmp) < 40 ? tmp : "/tmp", test);
	if (!mkdtemp(folder))
		bail_out("cannot make a folder for the test");
}

/* The path of @name in the folder; good until four calls later. */
static inline const char *in_folder(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

/* Removes the files in the folder; returns how many there were. */
static inline int empty_folder(void)
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

/* False if anything is left in it. */
static inline bool remove_folder(void)
{
	if (rmdir(folder) == 0)
		return true;
	diag("there is something left in %s", folder);
	return false;
}

struct bytes {
	uint8_t *data;
	size_t len;
};

/* The caller frees the data, also of a file that could not be read whole. */
static inline bool read_file(const char *path, struct bytes *ret)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool fine = fd >= 0 && !fstat(fd, &st);

	if (fine) {
		ret->len = (size_t)st.st_size;
		ret->data = xmalloc(ret->len);
		fine = read(fd, ret->data, ret->len) == (ssize_t)ret->len;
	}
	if (fd >= 0)
		close(fd);
	return fine;
}

static inline void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		diag("cannot write %s", path);
	close(fd);
}

/* The C library that is mapped here. */
static inline bool find_libc(char *path, size_t size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4352];
	bool found = false;

	while (maps && !found && fgets(line, sizeof(line), maps)) {
		char *name = strchr(line, '/');

		if (!name || !strstr(name, "/libc.so") || strlen(name) > size)
			continue;
		name[strcspn(name, "\n")] = '\0';
		snprintf(path, size, "%s", name);
		found = true;
	}
	if (maps)
		fclose(maps);
	return found;
}

#endif
