/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/summary.h"
#include "cli/symbolize.h"
#include "cli/view.h"
#include "common/format.h"
#include "common/xalloc.h"

#define DEBUGINFOD_MAX (512ull << 20)

static const char help[] =
	"usage: heaptrail symbolize [OPTION...] FILE\n"
	"\n"
	"Looks up functions, files and lines that a recording lacks, and stores them in\n"
	"it: where debug information came later, or on another machine.  Files are used\n"
	"only if they have the build id that was recorded.\n"
	"\n"
	"      --debug-path DIR  a folder with debug files: by build id, as in\n"
	"                        DIR/.build-id/ab/cdef.debug, or by name\n"
	"      --sysroot DIR     a folder with the files of the machine that recorded it\n"
	"      --debuginfod      ask the servers of $DEBUGINFOD_URLS for what is not here\n"
	"      --debuginfod-max SIZE  fetch no larger file (default 512M; 0: any)\n"
	"      --no-demangle     names of functions as linkers know them, also of those\n"
	"                        that have a name; --demangle makes them readable again\n"
	"  -q, --quiet           do not say which files could not be used\n"
	"\n"
	"Exit status: 0; 2 usage; 4 if FILE is not a readable recording; 125 if it cannot\n"
	"be written.\n"
	"\n"
	"Example:\n"
	"  heaptrail symbolize --debug-path /usr/lib/debug server.trail\n";

enum { OPTION_DEBUG_PATH = OPTION_FIRST_LONG, OPTION_SYSROOT, OPTION_DEBUGINFOD,
       OPTION_DEBUGINFOD_MAX, OPTION_DEMANGLE, OPTION_NO_DEMANGLE };

static const struct option options[] = {
	{"debug-path", required_argument, NULL, OPTION_DEBUG_PATH},
	{"sysroot", required_argument, NULL, OPTION_SYSROOT},
	{"debuginfod", no_argument, NULL, OPTION_DEBUGINFOD},
	{"debuginfod-max", required_argument, NULL, OPTION_DEBUGINFOD_MAX},
	{"demangle", no_argument, NULL, OPTION_DEMANGLE},
	{"no-demangle", no_argument, NULL, OPTION_NO_DEMANGLE},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int parse(const struct command *c, int argc, char **argv, struct symbolize_options *o,
		 bool *ret_done)
{
	int option;

	while ((option = getopt_long(argc, argv, "q", options, NULL)) != -1) {
		switch (option) {
		case OPTION_DEBUG_PATH:
		case OPTION_SYSROOT:
			if (!is_folder(optarg))
				return usage_error(c, "'%s' is not a folder", optarg);
			*(option == OPTION_SYSROOT ? &o->sysroot : &o->debug_path) = optarg;
			break;
		case OPTION_DEBUGINFOD:
			o->debuginfod = true;
			break;
		case OPTION_DEBUGINFOD_MAX:
			if (!parse_bytes(optarg, &o->debuginfod_max))
				return usage_error(c, "'%s' is not a size such as 100M or 2G",
						   optarg);
			break;
		case OPTION_DEMANGLE:
			o->names = SYMBOLIZE_DEMANGLED;
			break;
		case OPTION_NO_DEMANGLE:
			o->names = SYMBOLIZE_LINKAGE;
			break;
		case 'q':
			o->verbose = false;
			break;
		default:
			*ret_done = true;
			return other_option(c, option);
		}
	}
	if (optind + 1 != argc)
		return usage_error(c, "%s recording%s", optind == argc ? "which" : "one",
				   optind == argc ? "?" : " at a time");
	return 0;
}

/* ---- a copy, which takes the recording's place when it is complete --------------------- */

static int copy_bytes(int from, int to)
{
	static char buf[1 << 16];
	ssize_t n, done;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n; at += done) {
			done = write(to, buf + at, (size_t)(n - at));
			if (done < 0)
				return -errno;
		}
	return n < 0 ? -errno : 0;
}

/* Beside @path, with its owner and mode.  Returns its name, to be freed, or NULL with @err. */
static char *make_copy(const char *path, struct err *err)
{
	char *copy = xasprintf("%s.%d", path, (int)getpid());
	int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), to = -1, r = 0;
	struct stat st;

	if (from >= 0 && fstat(from, &st) == 0)
		to = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		r = -errno;
	else
		r = copy_bytes(from, to);
	if (!r && ((st.st_uid != geteuid() && fchown(to, st.st_uid, st.st_gid)) ||
		   fchmod(to, st.st_mode & 07777)))
		r = -errno;
	if (to >= 0 && close(to) && !r)
		r = -errno;
	if (from >= 0)
		close(from);
	if (!r)
		return copy;
	err_set(err, ERR_FAILED, -r, "cannot make '%s', which '%s' is to become", copy, path);
	if (r == -ENOSPC || r == -EDQUOT)
		err_hint(err, "make room: a copy is made first, so that nothing can be lost");
	if (to >= 0)
		unlink(copy);
	free(copy);
	return NULL;
}

/* What the copy's name is, and SQLite's two files beside it; "" where there is none. */
static char copy_names[3][PATH_MAX + 16];

static void remove_copy(void)
{
	for (size_t i = 0; i < COUNT_OF(copy_names); i++)
		if (*copy_names[i])
			unlink(copy_names[i]);
}

/* Who has waited long enough for names, or servers, is not left with the copy. */
static void remove_and_end(int signal_number)
{
	remove_copy();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void mind_signals(const char *copy)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	static const char *const ends[] = {"", "-wal", "-shm"};
	const struct sigaction action = {.sa_handler = remove_and_end};
	struct sigaction before;

	for (size_t i = 0; i < COUNT_OF(copy_names); i++)
		snprintf(copy_names[i], sizeof(copy_names[i]), "%s%s", copy, ends[i]);
	for (size_t i = 0; i < COUNT_OF(signals); i++)
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
}

static int complete(const struct view *v, const char *copy, const struct symbolize_options *o,
		    struct symbolize_result *ret, struct err *err)
{
	struct store_writer *w;
	int r, closed;

	r = store_writer_open(copy, &w, err);
	if (r)
		return r;
	store_writer_rename(w, store_reader_seal_parts(v->reader));
	symbolize(w, &v->catalog, o, ret);
	r = store_writer_flush(w, err);
	if (!r && ret->frames)
		r = summary_rewrite_owners(w, copy, err);
	if (!r)
		store_writer_seal(w);
	closed = store_writer_close(w, r ? NULL : err);
	return r ? r : closed;
}

static int symbolize_copy(const struct view *v, const struct symbolize_options *o,
			  struct symbolize_result *ret, struct err *err)
{
	char *path = realpath(v->path, NULL), *copy;
	int r;

	if (!path)
		return err_set(err, ERR_FAILED, errno, "cannot find '%s'", v->path);
	copy = make_copy(path, err);
	if (!copy) {
		free(path);
		return -1;
	}
	mind_signals(copy);
	r = complete(v, copy, o, ret, err);
	if (!r && ret->frames && rename(copy, path))
		r = err_set(err, ERR_FAILED, errno, "cannot put '%s' in the place of '%s'", copy,
			    path);
	if (r || !ret->frames)
		remove_copy();
	memset(copy_names, 0, sizeof(copy_names));
	free(copy);
	free(path);
	return r;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct symbolize_options o = {.debuginfod_max = DEBUGINFOD_MAX, .verbose = true};
	struct symbolize_result result;
	char path[512], names[FORMAT_MAX];
	bool done = false;
	struct view v;
	struct err err;
	int status = parse(c, argc, argv, &o, &done);

	if (status || done)
		return status;
	if (view_open_catalog(&v, argv[optind], &err) < 0)
		return print_error(&err);
	format_safe(path, sizeof(path), v.path);
	if (!store_reader_is_sealed(v.reader)) {
		err_set(&err, ERR_FAILED, 0, "cannot symbolize '%s': it is not complete", v.path);
		err_hint(&err, "`heaptrail repair` completes a recording that was cut off");
		status = print_error(&err);
	} else if (symbolize_copy(&v, &o, &result, &err) < 0) {
		status = print_error(&err);
	} else {
		say("named %s functions of %zu files in '%s'%s", format_count(names, result.frames),
		    result.modules, path, result.frames ? "" : ", which stays as it was");
		if (result.refused && !o.verbose)
			say("%zu files are of another build than was recorded", result.refused);
		fprintf(stderr, "next: heaptrail report %s\n", path);
	}
	view_close(&v);
	return status;
}

const struct command command_symbolize = {
	.name = "symbolize",
	.summary = "look up functions, files and lines later",
	.help = help,
	.run = run,
};
