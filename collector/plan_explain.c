/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"

/*
 * Why a user's probe has no place: the module is not there, or the function is not; then those
 * that are called most alike.
 */

#define ALIKE 3
#define NAME_MAX_COMPARED 64
#define TOO_FAR 1000

struct alike {
	char name[128], module[64];
	unsigned int distance;
};

struct search {
	const char *symbol;
	const char *module; /* that is looked at; the last part of its path */
	struct alike best[ALIKE];
	size_t functions;
};

/* By so many characters two names differ (Levenshtein). */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[NAME_MAX_COMPARED + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_COMPARED || m > NAME_MAX_COMPARED)
		return TOO_FAR;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned int cost = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j - 1] + 1 < cost)
				cost = row[j - 1] + 1;
			if (diagonal + 1 < cost)
				cost = diagonal + 1;
			row[j] = cost;
		}
	}
	return row[m];
}

/* What has the name in it, or is in it, is nearer than it looks. */
static unsigned int distance_of(const char *wanted, const char *name)
{
	size_t n = strlen(wanted), m = strlen(name);

	if (n >= 4 && strstr(name, wanted))
		return 1 + (unsigned int)(m - n) / 8;
	if (m >= 4 && strstr(wanted, name))
		return 2 + (unsigned int)(n - m) / 4;
	return edit_distance(wanted, name);
}

static bool compare(void *arg, const char *name, const struct elf_symbol *symbol)
{
	struct search *s = arg;
	unsigned int distance = distance_of(s->symbol, name);
	size_t at = ALIKE;

	(void)symbol;
	s->functions++;
	if (distance > strlen(s->symbol) / 2 + 1)
		return true;
	for (size_t i = 0; i < ALIKE; i++)
		if (!strcmp(s->best[i].name, name))
			return true;
	while (at && (!s->best[at - 1].name[0] || s->best[at - 1].distance > distance))
		at--;
	if (at == ALIKE)
		return true;
	memmove(&s->best[at + 1], &s->best[at], (ALIKE - 1 - at) * sizeof(*s->best));
	s->best[at].distance = distance;
	snprintf(s->best[at].name, sizeof(s->best[at].name), "%s", name);
	snprintf(s->best[at].module, sizeof(s->best[at].module), "%s", s->module);
	return true;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void search_file(struct search *s, pid_t pid, const struct process_map *map)
{
	struct elf_file *elf;
	char *file;

	if (process_map_file(pid, map, &file) < 0)
		return;
	s->module = base_of(map->path);
	if (!elf_file_open(file, &elf, NULL)) {
		elf_file_each_function(elf, compare, s);
		elf_file_close(elf);
	}
	free(file);
}

int plan_explain_unmatched(pid_t pid, const struct process_maps *maps,
			   const struct family_function *f, struct err *err)
{
	struct search *s = xcalloc(1, sizeof(*s));
	bool has_module = false;
	char names[400] = "";
	size_t len = 0;

	s->symbol = f->symbol;
	for (size_t i = 0; i < maps->n; i++) {
		const struct process_map *m = &maps->maps[i];

		if (!m->executable || !m->inode ||
		    (f->module && !plan_is_module(m->path, f->module)))
			continue;
		has_module = true;
		search_file(s, pid, m);
	}
	if (f->module && !has_module)
		err_set(err, ERR_FAILED, 0, "cannot probe '%.120s' in '%.120s': process %d has no "
			"such file mapped", f->symbol, f->module, (int)pid);
	else if (f->is_address)
		err_set(err, ERR_FAILED, 0, "cannot probe address %s of '%.120s': there is no code",
			f->symbol, f->module);
	else
		err_set(err, ERR_FAILED, 0, "cannot probe '%.120s': no function of that name in "
			"%s%.120s", f->symbol, f->module ? "" : "any file of the process",
			f->module ? f->module : "");
	for (size_t i = 0; i < ALIKE && s->best[i].name[0] && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s'%s' in %s",
					i ? ", " : "", s->best[i].name, s->best[i].module);
	if (len)
		err_hint(err, "there is %s%s", names,
			 f->module ? "" : "; of a file that is mapped later say which, as "
					  "MODULE:FUNCTION");
	else if (has_module && !s->functions)
		err_hint(err, "it is stripped: MODULE:0xADDRESS names a function by its address");
	else if (!f->module)
		err_hint(err, "of a file that is mapped later say which, as MODULE:FUNCTION");
	free(s);
	return -ENOENT;
}

int plan_explain_refused(const char *refused, struct err *err)
{
	err_set(err, ERR_FAILED, 0, "cannot probe %.300s", refused);
	err_hint(err, "a C++ exception may pass through it, and a probe on its return would end "
		      "the process then; if none ever does, say nothrow");
	return -ENOTSUP;
}

int plan_explain_no_allocator(pid_t pid, struct err *err)
{
	err_set(err, ERR_FAILED, 0, "cannot find an allocator to record in process %d", (int)pid);
	err_hint(err, "a statically linked program needs its symbol table (do not strip it); "
		      "heaptrail(1) has a list of the allocators that are known");
	return -ENOENT;
}
