/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analyzer/own.h"
#include "analyzer/rows.h"
#include "analyzer/source_lines.h"
#include "cli/rotated.h"
#include "cli/view.h"
#include "common/clock.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/earlier.h"

static const char help[] =
	"usage: heaptrail annotate [OPTION...] FILE... SOURCE\n"
	"\n"
	"Shows a source file with what each of its lines allocated beside it.  SOURCE is\n"
	"the file's path, or as much of its end as tells it apart; it is read from there,\n"
	"or from where it was compiled.\n"
	"\n"
	"      --inclusive   also what was allocated in functions that a line calls\n"
	"      --skip NAME   a wrapper: blocks are its callers' (a pattern as of the\n"
	"                    shell; may be given several times)\n"
	"      --bytes       exact bytes instead of KiB and MiB\n"
	WHEN_HELP
	"      --no-symbolize  do not look up names that the recording lacks\n"
	"\n"
	"PEAK is what a line had live at the moment the whole heap was largest; LEAKED is\n"
	"what was live when the process exited (UNFREED: at the end of the recording).\n"
	"\n"
	"Several FILEs are those of one recording with --every: they are read as one.\n"
	"\n"
	"Exit status: 0; 1 if nothing of SOURCE is in the recording; 2 usage; 4 if FILE\n"
	"is not a readable recording; 125 if SOURCE cannot be read.\n"
	"\n"
	"Example:\n"
	"  heaptrail annotate server.trail cache.c\n";

enum { OPTION_INCLUSIVE = OPTION_FIRST_LONG, OPTION_SKIP, OPTION_BYTES,
       OPTION_NO_SYMBOLIZE };

static const struct option options[] = {
	{"inclusive", no_argument, NULL, OPTION_INCLUSIVE},
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"bytes", no_argument, NULL, OPTION_BYTES},
	WHEN_OPTIONS,
	{"no-symbolize", no_argument, NULL, OPTION_NO_SYMBOLIZE},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct annotate_options {
	struct when when;
	char *const *paths;
	size_t n_paths;
	const char *path, *source;
	const char **skip;
	size_t n_skip, cap_skip;
	bool inclusive, bytes, no_symbolize, done;
};

static int parse(const struct command *c, int argc, char **argv, struct annotate_options *o)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPTION_INCLUSIVE:
			o->inclusive = true;
			break;
		case OPTION_SKIP:
			ARRAY_GROW(o->skip, o->cap_skip, o->n_skip);
			o->skip[o->n_skip++] = optarg;
			break;
		case OPTION_AT:
		case OPTION_SINCE:
		case OPTION_UNTIL:
		case OPTION_LAYER:
			if (!when_parse(&o->when, option, optarg))
				return usage_error(c, "'%s' is no time", optarg);
			break;
		case OPTION_BYTES:
			o->bytes = true;
			break;
		case OPTION_NO_SYMBOLIZE:
			o->no_symbolize = true;
			break;
		default:
			o->done = true;
			return other_option(c, option);
		}
	}
	if (optind + 2 > argc)
		return usage_error(c, "a recording and a source file, please");
	o->paths = argv + optind;
	o->n_paths = (size_t)(argc - 1 - optind);
	o->source = argv[argc - 1];
	return 0;
}

/* ---- whose lines -------------------------------------------------------------------- */

/* Does @path end with @end, whole parts of it? */
static bool ends_with(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n >= m && !strcmp(path + n - m, end) &&
	       (n == m || end[0] == '/' || path[n - m - 1] == '/');
}

static bool is_meant(const char *file, const char *source)
{
	return ends_with(file, source) || ends_with(source, file);
}

/* The file of @rows that @source means; NULL, with a message, where it may be more than one. */
static const char *find_by_name(const struct rows *rows, const char *source, bool *ret_is_told)
{
	const char *found = NULL;
	char safe[512], other[512];

	for (size_t i = 0; i < rows->n; i++)
		if (rows->rows[i].file && !strcmp(rows->rows[i].file, source))
			return rows->rows[i].file;
	for (size_t i = 0; i < rows->n; i++) {
		const char *file = rows->rows[i].file;

		if (!file || !is_meant(file, source) || (found && !strcmp(found, file)))
			continue;
		if (found) {
			say("'%s' may be '%s' or '%s': give more of its path", source,
			    format_safe(safe, sizeof(safe), found),
			    format_safe(other, sizeof(other), file));
			*ret_is_told = true;
			return NULL;
		}
		found = file;
	}
	return found;
}

/* The file that SOURCE means; NULL, with a message, where that is none or more than one. */
static const char *find_file(const struct rows *rows, const struct annotate_options *o)
{
	bool is_told = false;
	const char *found = find_by_name(rows, o->source, &is_told);
	/* it may go up by "..", which recorded paths never do */
	char *real = found || is_told ? NULL : realpath(o->source, NULL);

	if (real)
		found = find_by_name(rows, real, &is_told);
	free(real);
	if (!found && !is_told)
		say("nothing in '%s' was allocated by lines of '%s' (`heaptrail report "
		    "--full-paths` lists files)", o->path, o->source);
	return found;
}

/* ---- text --------------------------------------------------------------------------- */

static void print_line(const struct heap_totals *t, size_t number, const char *text, bool bytes)
{
	char allocated[FORMAT_MAX] = "", calls[FORMAT_MAX] = "", peak[FORMAT_MAX] = "";
	char live[FORMAT_MAX] = "";
	int width = bytes ? 15 : 9;

	if (t && t->alloc_calls) {
		view_bytes(allocated, t->allocated_bytes, bytes);
		format_count(calls, t->alloc_calls);
		view_bytes(peak, t->peak_bytes, bytes);
		view_bytes(live, t->live_bytes, bytes);
	}
	printf("%*s %10s %*s %*s %6zu  ", width, allocated, calls, width, peak, width, live,
	       number);
	for (int column = 0; *text; text++, column++) {
		if (*text != '\t') {
			putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
			continue;
		}
		for (putchar(' '); (column + 1) % 8; column++)
			putchar(' ');
	}
	putchar('\n');
}

static FILE *open_source(const char *source, const char *file, struct err *err)
{
	FILE *f;

	f = source_open(source);
	if (!f)
		f = source_open(file);
	if (!f) {
		err_set(err, ERR_FAILED, errno, "cannot read the source '%s'",
			file);
		err_hint(err, "give the path where it is now");
	}
	return f;
}

static void warn_if_newer(const struct view *v, FILE *f)
{
	int64_t started_ns = catalog_number(&v->catalog, "start_realtime_ns", 0);
	struct stat st;

	if (started_ns && fstat(fileno(f), &st) == 0 && st.st_mtime > started_ns / 1000000000)
		say("warning: the source has changed since the recording: lines may not match");
}

static int print_source(const struct view *v, const struct rows *rows, const char *file,
			const struct annotate_options *o, struct err *err)
{
	int width = o->bytes ? 15 : 9, r = 0;
	size_t n, next = 0, number = 0, cap = 0;
	char *text = NULL, safe[512];
	struct source_line *lines;
	FILE *f = open_source(o->source, file, err);
	ssize_t len;

	if (!f)
		return -1;
	warn_if_newer(v, f);
	lines = source_lines(rows, file, &n);
	printf("%s\n\n%*s %10s %*s %*s %6s\n", format_safe(safe, sizeof(safe), file), width,
	       "ALLOCATED", "CALLS", width, "PEAK", width, view_leak_title(v),
	       "LINE");
	if (n && !lines[0].number)
		print_line(lines[next++].totals, 0, "[in no line]", o->bytes);
	while ((len = getline(&text, &cap, f)) >= 0) {
		bool is_next = ++number && next < n && lines[next].number == number;

		if (len && text[len - 1] == '\n')
			text[len - 1] = '\0';
		print_line(is_next ? lines[next].totals : NULL, number, text, o->bytes);
		next += is_next;
	}
	if (ferror(f))
		r = err_set(err, ERR_FAILED, errno, "cannot read the source '%s'", file);
	for (; next < n && !r; next++)
		print_line(lines[next].totals, lines[next].number, "[the source ends before]",
			   o->bytes);
	free(text);
	free(lines);
	fclose(f);
	return r;
}

static void release(struct annotate_options *o)
{
	store_earlier_close(o->when.earlier);
	free(o->skip);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct annotate_options o = {0};
	const char *file;
	struct rows rows;
	struct view v;
	struct own own;
	struct err err;
	int status = parse(c, argc, argv, &o);

	if (!status && !o.done &&
	    (rotated_find(o.paths, o.n_paths, &o.when, &o.path, &err) < 0 ||
	     view_open_when(&v, o.path, GROUP_STACK, &o.when, &err) < 0))
		status = print_error(&err);
	if (status || o.done) {
		release(&o);
		return status;
	}
	if (!o.no_symbolize)
		view_complete_names(&v);
	own_init(&own, &v.catalog, o.skip, o.n_skip);
	rows_make(&rows, &v.catalog, &v.analysis, &own, ROWS_BY_SOURCE_LINE, o.inclusive);
	view_warn_if_incomplete(&v);
	file = find_file(&rows, &o);
	if (!file)
		status = 1;
	else if (print_source(&v, &rows, file, &o, &err) < 0)
		status = print_error(&err);
	rows_release(&rows);
	own_release(&own);
	view_close(&v);
	release(&o);
	return status;
}

const struct command command_annotate = {
	.name = "annotate",
	.summary = "a source file with what its lines allocated",
	.help = help,
	.run = run,
};
