/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/process_list.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/family.h"
#include "collector/process_facts.h"
#include "common/xalloc.h"
#include "image/elf_file.h"
#include "image/process_maps.h"

#define COMMAND_BYTES_MAX 512

static const char no_permission[] = "no permission";
static const char none_found[] = "none found";

/* The first that is mapped: what takes malloc's place comes before the C library. */
static const struct {
	const char *start; /* of the file's name */
	const char *allocator;
} libraries[] = {
	{"libjemalloc", "jemalloc"}, {"libtcmalloc", "tcmalloc"},   {"libmimalloc", "mimalloc"},
	{"libsnmalloc", "snmalloc"}, {"libhoard", "Hoard"},
	{"libtbbmalloc_proxy", "tbbmalloc"},
	{"libasan.", "ASan"},	     {"libclang_rt.asan", "ASan"},  {"ld-musl-", "musl"},
	{"libc.musl-", "musl"},	     {"libc.so.6", "glibc"},	    {"libc-2.", "glibc"},
};

bool process_list_is_recorded(const char *allocator)
{
	static const char *const names[] = {"glibc", "musl", "jemalloc", "tcmalloc", "mimalloc"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (strstr(allocator, names[i])) /* or "static …" */
			return true;
	return false;
}

static size_t library_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t i;

	for (i = 0; i < COUNT_OF(libraries) && slash; i++)
		if (!strncmp(slash + 1, libraries[i].start, strlen(libraries[i].start)))
			return i;
	return COUNT_OF(libraries);
}

const char *process_list_allocator_of(const char *path)
{
	size_t i = library_of(path);

	return i < COUNT_OF(libraries) ? libraries[i].allocator : NULL;
}

/* Without libraries it is in the program, if anywhere. */
static const char *static_allocator(pid_t pid)
{
	const struct family *family;
	const char *found = none_found;
	struct elf_file *elf;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	r = elf_file_open(path, &elf, NULL);
	if (r < 0)
		return r == -EACCES || r == -EPERM ? no_permission : none_found;
	family = elf_file_interpreter(elf) ? NULL : family_of_file(elf);
	if (family)
		found = family->name_in_program;
	elf_file_close(elf);
	return found;
}

static const char *find_allocator(pid_t pid)
{
	size_t best = COUNT_OF(libraries);
	struct process_maps maps;
	int r = process_maps_read(pid, &maps, NULL);

	if (r)
		return r == -EACCES || r == -EPERM ? no_permission : none_found;
	for (size_t i = 0; i < maps.n; i++) {
		size_t found = maps.maps[i].executable ? library_of(maps.maps[i].path) : best;

		if (found < best)
			best = found;
	}
	process_maps_release(&maps);
	return best < COUNT_OF(libraries) ? libraries[best].allocator : static_allocator(pid);
}

/* ---- what /proc says ---------------------------------------------------------------- */

struct status {
	char name[64];
	unsigned int uid;
	uint64_t rss_kib;
	bool has_memory;
};

static bool read_status(pid_t pid, struct status *ret)
{
	char path[64], line[256];
	FILE *f;

	*ret = (struct status){.name = ""};
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		unsigned long long kib;

		if (sscanf(line, "VmRSS: %llu", &kib) == 1)
			ret->rss_kib = kib;
		sscanf(line, "Name: %63[^\n]", ret->name);
		sscanf(line, "Uid: %*u %u", &ret->uid);
		ret->has_memory |= !strncmp(line, "VmSize:", 7);
	}
	fclose(f);
	return ret->has_memory; /* neither a kernel thread nor a zombie */
}

static char *read_command(pid_t pid)
{
	char path[64], text[COMMAND_BYTES_MAX + 1];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	f = fopen(path, "re");
	if (f) {
		n = fread(text, 1, COMMAND_BYTES_MAX, f);
		fclose(f);
	}
	while (n && (!text[n - 1] || text[n - 1] == ' '))
		n--;
	for (size_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	text[n] = '\0';
	return xstrdup(text);
}

/* ---- the list ----------------------------------------------------------------------- */

static const char *known_allocator(const struct process_list *before,
				   const struct process_entry *e)
{
	for (size_t i = 0; before && i < before->n; i++) {
		const struct process_entry *b = &before->entries[i];

		/* another program has another name, mostly */
		if (b->pid == e->pid)
			return b->start_ticks == e->start_ticks && !strcmp(b->name, e->name)
				       ? b->allocator
				       : no_permission;
	}
	return no_permission;
}

static void add(struct process_list *l, pid_t pid, const struct process_list *before)
{
	struct process_entry e = {.pid = pid};
	struct status s;

	if (!read_status(pid, &s))
		return;
	e.start_ticks = process_start_ticks(pid);
	if (!e.start_ticks)
		return; /* it has ended meanwhile */
	e.uid = s.uid;
	e.rss_bytes = s.rss_kib * 1024;
	e.name = xstrdup(s.name);
	e.command = read_command(pid);
	e.allocator = known_allocator(before, &e);
	if (e.allocator == no_permission || e.allocator == none_found) { /* it may load one */
		const char *found = find_allocator(pid);

		if (found != no_permission)
			e.allocator = found;
	}
	ARRAY_GROW(l->entries, l->cap, l->n);
	l->entries[l->n++] = e;
}

static int by_pid(const void *a, const void *b)
{
	const struct process_entry *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

void process_list_make(struct process_list *ret, const struct process_list *before)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;

	*ret = (struct process_list){0};
	while (proc && (d = readdir(proc)))
		if (isdigit((unsigned char)d->d_name[0]))
			add(ret, (pid_t)strtol(d->d_name, NULL, 10), before);
	if (proc)
		closedir(proc);
	if (ret->n)
		qsort(ret->entries, ret->n, sizeof(*ret->entries), by_pid);
}

void process_list_release(struct process_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->entries[i].name);
		free(l->entries[i].command);
	}
	free(l->entries);
	*l = (struct process_list){0};
}
