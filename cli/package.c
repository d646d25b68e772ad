/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/package.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* dpkg's lists: a file for each package, of its files, one a line. */
#define LISTS "/var/lib/dpkg/info"

/* Their debug information is not in PACKAGE-dbgsym. */
static const struct {
	const char *package, *debug;
} others[] = {
	{"libc6", "libc6-dbg"},
	{"libc6-i386", "libc6-dbg"},
};

static bool lists(const char *list, const char *path)
{
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	FILE *f = fopen(list, "re");

	while (f && !found && getline(&line, &cap, f) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		found = !strcmp(line, path);
		/* since /lib is a link to /usr/lib, packages may still have the former */
		if (!found && !strncmp(path, "/usr/", 5))
			found = !strcmp(line, path + 4);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static char *debug_package(const char *package)
{
	for (size_t i = 0; i < COUNT_OF(others); i++)
		if (!strcmp(package, others[i].package))
			return xstrdup(others[i].debug);
	return xasprintf("%s-dbgsym", package);
}

char *package_of_debug_info(const char *path)
{
	DIR *d = path[0] == '/' ? opendir(LISTS) : NULL;
	char *found = NULL;
	struct dirent *e;

	while (d && !found && (e = readdir(d))) {
		size_t len = strlen(e->d_name);
		char *list;

		if (len < 6 || strcmp(e->d_name + len - 5, ".list"))
			continue;
		list = xasprintf("%s/%s", LISTS, e->d_name);
		if (lists(list, path)) {
			char *package = xstrndup(e->d_name, strcspn(e->d_name, ":"));

			if (!strchr(e->d_name, ':'))
				package[len - 5] = '\0';
			found = debug_package(package);
			free(package);
		}
		free(list);
	}
	if (d)
		closedir(d);
	return found;
}
