/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/process_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/xalloc.h"

static void add_line(struct process_maps *m, char *line)
{
	struct process_map map = {0};
	unsigned int major_nr, minor_nr;
	unsigned long inode;
	char perms[5];
	int path_at = 0;
	size_t len;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %lu %n", &map.start,
		   &map.end, perms, &map.offset, &major_nr, &minor_nr, &inode, &path_at) < 7)
		return;
	map.device = makedev(major_nr, minor_nr);
	map.inode = inode;
	map.readable = perms[0] == 'r';
	map.writable = perms[1] == 'w';
	map.executable = perms[2] == 'x';
	map.is_shared = perms[3] == 's';
	len = strlen(line);
	while (len > (size_t)path_at && line[len - 1] == '\n')
		line[--len] = '\0';
	map.path = xstrdup(line + path_at);
	ARRAY_GROW(m->maps, m->cap, m->n);
	m->maps[m->n++] = map;
}

int process_maps_read(pid_t pid, struct process_maps *ret, struct err *err)
{
	char path[64], *line = NULL;
	size_t cap = 0;
	FILE *f;

	memset(ret, 0, sizeof(*ret));
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f) {
		int e = errno == ENOENT ? ESRCH : errno;

		return err_set(err, e == EACCES || e == EPERM ? ERR_PRIVILEGE : ERR_FAILED, e,
			       "cannot read the mappings of process %d", (int)pid);
	}
	while (getline(&line, &cap, f) > 0)
		add_line(ret, line);
	free(line);
	fclose(f);
	if (!ret->n)
		return err_set(err, ERR_FAILED, ESRCH, "process %d has no address space", (int)pid);
	return 0;
}

void process_maps_release(struct process_maps *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->maps[i].path);
	free(m->maps);
	memset(m, 0, sizeof(*m));
}

const struct process_map *process_maps_find(const struct process_maps *m, uint64_t address)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->maps[mid].end <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n && m->maps[lo].start <= address ? &m->maps[lo] : NULL;
}

bool process_map_is_anonymous(const struct process_map *map)
{
	return !map->is_shared &&
	       (map->inode ? !strncmp(map->path, "/anon_hugepage", 14)
			   : !map->path[0] || !strncmp(map->path, "[anon", 5));
}

static bool is_same_file(const char *path, const struct process_map *map)
{
	struct stat st;

	/* btrfs and overlayfs report another device in maps than in stat(): one without a number */
	return !stat(path, &st) && S_ISREG(st.st_mode) && st.st_ino == map->inode &&
	       (st.st_dev == map->device || !major(st.st_dev) || !major(map->device));
}

int process_map_file(pid_t pid, const struct process_map *map, char **ret)
{
	char *path;

	if (!map->inode)
		return -ENOENT;
	path = xasprintf("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, map->start, map->end);
	/* AT_EACCESS: else capabilities do not count */
	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0) {
		*ret = path;
		return 0;
	}
	free(path);
	path = xasprintf("/proc/%d/root%s", (int)pid, map->path);
	if (is_same_file(path, map)) {
		*ret = path;
		return 0;
	}
	free(path);
	if (is_same_file(map->path, map)) {
		*ret = xstrdup(map->path);
		return 0;
	}
	return -ENOENT;
}
