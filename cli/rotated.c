/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/rotated.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/complete.h"
#include "collector/privileges.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/earlier.h"

#define NICE 10

static struct target_identity owner; /* of the files */
static pid_t *children;
static size_t n_children, cap_children;

static _Noreturn void complete(const char *path)
{
	struct complete_result done;
	struct view v;
	struct err err;
	char safe[512];
	int r;

	/* the probes, the target's and the guard's files: they are to end with the recorder */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (!owner.change)
		privileges_keep_writing(path);
	else if (setresgid(owner.gid, owner.gid, owner.gid) < 0 ||
		 setresuid(owner.uid, owner.uid, owner.uid) < 0)
		_exit(ERR_FAILED); /* see rotation_keep_user() */
	setpriority(PRIO_PROCESS, 0, NICE);
	r = view_open(&v, path, GROUP_STACK, &err);
	if (!r)
		r = complete_recording(&v, INCOMPLETE_ROTATED, &done, &err);
	if (r && !access(path, F_OK)) /* the oldest are removed, with --max-size */
		say("warning: '%s' could not be completed: %s; heaptrail repair does it later",
		    format_safe(safe, sizeof(safe), path), err.what);
	_exit(r ? ERR_FAILED : 0);
}

/* Those that have ended, or (@wait) all. */
static void reap(bool wait)
{
	size_t left = 0;

	for (size_t i = 0; i < n_children; i++) {
		pid_t r;

		while ((r = waitpid(children[i], NULL, wait ? 0 : WNOHANG)) < 0 && errno == EINTR)
			;
		if (!r)
			children[left++] = children[i];
	}
	n_children = left;
}

void rotated_begin(const struct target_identity *id)
{
	owner = *id;
}

void rotated_complete(const char *path)
{
	pid_t pid;

	reap(false);
	pid = fork();
	if (!pid)
		complete(path);
	if (pid < 0) {
		say("warning: '%s' is not complete: %s; heaptrail repair does it", path,
		    strerror(errno));
		return;
	}
	ARRAY_GROW(children, cap_children, n_children);
	children[n_children++] = pid;
}

void rotated_wait(void)
{
	reap(true);
	free(children);
	children = NULL;
	cap_children = 0;
}

/* ---- several files ------------------------------------------------------------------- */

struct rotated_file {
	const char *path;
	char *id;
	int number;
};

/* Any number may be in a file. */
static int read_number(const char *path, int64_t number, int *ret, struct err *err)
{
	if (number < 1 || number > INT_MAX) {
		err_set(err, ERR_RECORDING, 0, "cannot read the recording '%s': it cannot be "
			"number %" PRId64 " of its files", path, number);
		return -EBADMSG;
	}
	*ret = (int)number;
	return 0;
}

static int look_at(const char *path, struct rotated_file *ret, struct err *err)
{
	struct view v;
	const char *id;
	int r = view_open_catalog(&v, path, err);

	if (r)
		return r;
	id = catalog_text(&v.catalog, "rotation_id");
	*ret = (struct rotated_file){.path = path};
	if (id)
		r = read_number(path, catalog_number(&v.catalog, "rotation_number", 0),
				&ret->number, err);
	if (id && !r)
		ret->id = xstrdup(id);
	view_close(&v);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct rotated_file *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* Sorted by number: does each follow on the one before? */
static int check(const struct rotated_file *files, size_t n, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		const struct rotated_file *f = &files[i];

		if (!f->id || (i && strcmp(f->id, f[-1].id)))
			r = err_set(err, ERR_USAGE, 0, "'%s' is no file of the same recording",
				    f->path);
		else if (i && f->number - f[-1].number != 1)
			r = err_set(err, ERR_USAGE, 0, "'%s' does not follow on '%s': they are "
				    "numbers %d and %d of their recording", f->path, f[-1].path,
				    f->number, f[-1].number);
	}
	if (r)
		err_hint(err, "several files are those of one recording with --every, without a "
			      "gap; otherwise look at one at a time");
	return r;
}

static int find(const struct rotated_file *files, size_t n, struct when *when, const char **ret,
		struct err *err)
{
	const char **earlier = xcalloc(n, sizeof(*earlier));
	int r = 0;

	for (size_t i = 0; i + 1 < n; i++)
		earlier[i] = files[i].path;
	*ret = files[n - 1].path;
	if (when)
		r = store_earlier_open(earlier, n - 1, *ret, &when->earlier, err);
	free(earlier);
	return r;
}

int rotated_find(char *const *paths, size_t n, struct when *when, const char **ret,
		 struct err *err)
{
	struct rotated_file *files;
	size_t looked = 0;
	int r = 0;

	if (n == 1) {
		*ret = paths[0];
		return 0;
	}
	files = xcalloc(n, sizeof(*files));
	while (!r && looked < n) {
		r = look_at(paths[looked], &files[looked], err);
		looked += !r;
	}
	if (!r) {
		qsort(files, n, sizeof(*files), compare);
		r = check(files, n, err);
	}
	if (!r)
		r = find(files, n, when, ret, err);
	for (size_t i = 0; i < looked; i++)
		free(files[i].id);
	free(files);
	return r;
}
