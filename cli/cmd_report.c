/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "cli/gates.h"
#include "cli/hints.h"
#include "cli/layer_report.h"
#include "cli/pool_report.h"
#include "cli/rotated.h"
#include "cli/stack_view.h"
#include "cli/suppression_files.h"
#include "cli/view.h"
#include "cli/wrong_free_report.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/earlier.h"

static const char help[] =
	"usage: heaptrail report [OPTION...] FILE...\n"
	"\n"
	"Shows where the heap of a recording went: its totals, and a row for each source\n"
	"file, function, call stack, thread or size.\n"
	"\n"
	"      --by KEY      file (default), line, function, module, stack, thread, size,\n"
	"                    family or pool (of a layer with pools: see --probe)\n"
	"      --wrong-frees  instead of rows the frees that were not right: of what was\n"
	"                    freed already, of new[] by free(), of a layer by another's\n"
	"      --skip NAME   a wrapper: blocks are its callers' (a pattern as of the\n"
	"                    shell; may be given several times)\n"
	"      --inclusive   count a block for each file or function on its call stack\n"
	"      --sort COL    peak (default), allocated, calls, live (or leaked), blocks,\n"
	"                    temporary or name\n"
	"      --rows N      at most N rows (default 20; 0: all)\n"
	"      --frames N    of a stack at most N lines (default 15; 0 or all: all)\n"
	"      --bytes       exact bytes instead of KiB and MiB\n"
	"      --full-paths  whole paths of files, not the part that tells them apart\n"
	"  -w, --wide        do not shorten names to the width of the terminal\n"
	WHEN_HELP
	GATES_HELP
	SUPPRESSION_HELP
	"      --no-symbolize  do not look up names that the recording lacks\n"
	"      --json        JSON, schema heaptrail-report/1; all rows and frames\n"
	"      --csv         comma-separated values; all rows and frames\n"
	"\n"
	"A block is counted for the file or function that asked for it: the innermost of\n"
	"its call stack that is not the allocator, the C library, a language's runtime\n"
	"or a wrapper around malloc.\n"
	"PEAK is what a row had live at the moment the whole heap was largest; LEAKED is\n"
	"what was live when the process exited (UNFREED: at the end of the recording);\n"
	"TEMP are blocks freed by the very next heap call of their thread.\n"
	"\n"
	"Several FILEs are those of one recording with --every: they are read as one.\n"
	"\n"
	"Exit status: 0; 1 if a condition of --fail-if is met; 2 usage; 4 if FILE is not\n"
	"a readable recording.\n"
	"\n"
	"Examples:\n"
	"  heaptrail report server.trail\n"
	"  heaptrail report --skip 'my_alloc*' server.trail\n"
	"  heaptrail report --by function --sort allocated server.trail\n"
	"  heaptrail report --by stack --rows 5 server.trail\n"
	"  heaptrail report --at peak --sort live server.trail\n"
	"  heaptrail report --json server.trail | jq .summary.peak_bytes\n";

enum { OPTION_BY = OPTION_FIRST_LONG, OPTION_SORT, OPTION_ROWS, OPTION_FRAMES,
       OPTION_SKIP, OPTION_INCLUSIVE, OPTION_FULL_PATHS, OPTION_BYTES,
       OPTION_NO_SYMBOLIZE, OPTION_WRONG_FREES,
       OPTION_JSON, OPTION_CSV };

static const struct option options[] = {
	{"by", required_argument, NULL, OPTION_BY},
	{"sort", required_argument, NULL, OPTION_SORT},
	{"rows", required_argument, NULL, OPTION_ROWS},
	{"frames", required_argument, NULL, OPTION_FRAMES},
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"inclusive", no_argument, NULL, OPTION_INCLUSIVE},
	{"full-paths", no_argument, NULL, OPTION_FULL_PATHS},
	{"bytes", no_argument, NULL, OPTION_BYTES},
	WHEN_OPTIONS,
	GATES_OPTION,
	SUPPRESSION_OPTIONS,
	{"no-symbolize", no_argument, NULL, OPTION_NO_SYMBOLIZE},
	{"wide", no_argument, NULL, 'w'},
	{"wrong-frees", no_argument, NULL, OPTION_WRONG_FREES},
	{"json", no_argument, NULL, OPTION_JSON},
	{"csv", no_argument, NULL, OPTION_CSV},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct report_options {
	struct when when;
	struct gates gates;
	struct suppression_files suppression_files;
	struct suppressions suppressions;
	char *const *paths;
	size_t n_paths;
	const char *path, *sort;
	enum rows_by by;
	uint64_t rows, frames;
	const char **skip; /* patterns */
	size_t n_skip, cap_skip;
	bool inclusive, full_paths, bytes, no_symbolize, wrong_frees, wide, json, csv, done;
	bool by_pool;
	char layer[LAYER_NAME_BYTES]; /* … of this one, where none is given */
};

/* What goes together, and what does not. */
static int check_options(const struct command *c, const struct report_options *o)
{
	if (o->inclusive && (o->by == ROWS_BY_STACK || rows_group_key(o->by) != GROUP_STACK))
		return usage_error(c, "--inclusive is for files, lines, functions and modules");
	if (o->wrong_frees && o->csv)
		return usage_error(c, "--wrong-frees has no --csv: there is --json");
	if (o->json && o->csv)
		return usage_error(c, "either --json or --csv");
	if (o->by_pool &&
	    (o->csv || o->inclusive || o->wrong_frees || !pool_report_sorts_by(o->sort)))
		return usage_error(c, "--by pool goes neither with --csv, --inclusive, "
				      "--wrong-frees nor with --sort temporary");
	return 0;
}

static int parse(const struct command *c, int argc, char **argv, struct report_options *o)
{
	struct rows none = {0};
	int option, status;

	while ((option = getopt_long(argc, argv, "w", options, NULL)) != -1) {
		switch (option) {
		case OPTION_BY:
			o->by_pool = !strcmp(optarg, "pool");
			if (!o->by_pool && !rows_by_name(optarg, &o->by))
				return usage_error(c, "cannot report by '%s'", optarg);
			break;
		case OPTION_SORT:
			if (!rows_sort(&none, optarg))
				return usage_error(c, "there is no column '%s' to sort by", optarg);
			o->sort = optarg;
			break;
		case OPTION_ROWS:
			if (!parse_u64(optarg, UINT32_MAX, &o->rows))
				return usage_error(c, "'%s' is not a number of rows", optarg);
			break;
		case OPTION_FRAMES:
			if (!stack_view_parse_frames(optarg, &o->frames))
				return usage_error(c, "'%s' is not a number of frames", optarg);
			break;
		case OPTION_SKIP:
			ARRAY_GROW(o->skip, o->cap_skip, o->n_skip);
			o->skip[o->n_skip++] = optarg;
			break;
		case OPTION_INCLUSIVE:
			o->inclusive = true;
			break;
		case OPTION_FULL_PATHS:
			o->full_paths = true;
			break;
		case OPTION_BYTES:
			o->bytes = true;
			break;
		case OPTION_NO_SYMBOLIZE:
			o->no_symbolize = true;
			break;
		case OPTION_WRONG_FREES:
			o->wrong_frees = true;
			break;
		case OPTION_AT:
		case OPTION_SINCE:
		case OPTION_UNTIL:
		case OPTION_LAYER:
			if (!when_parse(&o->when, option, optarg))
				return usage_error(c, "'%s' is no time", optarg);
			break;
		case OPTION_FAIL_IF:
			status = gates_add(&o->gates, optarg);
			if (status)
				return status;
			break;
		case OPTION_SUPPRESSIONS:
		case OPTION_NO_DEFAULT_SUPPRESSIONS:
			suppression_files_add(&o->suppression_files, option, optarg);
			break;
		case 'w':
			o->wide = true;
			break;
		case OPTION_JSON:
			o->json = true;
			break;
		case OPTION_CSV:
			o->csv = true;
			break;
		default:
			o->done = true;
			return other_option(c, option);
		}
	}
	if (optind == argc)
		return usage_error(c, "which recording?");
	o->paths = argv + optind;
	o->n_paths = (size_t)(argc - optind);
	return check_options(c, o);
}

/* ---- text --------------------------------------------------------------------------- */

static void print_row(const struct view *v, const struct row *r, const struct report_options *o,
		      int width)
{
	char peak[FORMAT_MAX], share[FORMAT_MAX], allocated[FORMAT_MAX], calls[FORMAT_MAX];
	char live[FORMAT_MAX], blocks[FORMAT_MAX];
	const struct heap_totals *t = &r->totals;
	int used = o->bytes ? 15 + 7 + 17 + 12 + 15 + 10 : 9 + 8 + 10 + 12 + 10 + 10;

	if (o->bytes)
		printf("%15s %6s %16s %11s %14s %9s  ", view_bytes(peak, t->peak_bytes, true),
		       format_percent(share, t->peak_bytes, v->analysis.totals.peak_bytes),
		       view_bytes(allocated, t->allocated_bytes, true),
		       format_count(calls, t->alloc_calls), view_bytes(live, t->live_bytes, true),
		       format_count(blocks, t->live_blocks));
	else
		printf("%9s %7s %9s %11s %9s %9s  ", view_bytes(peak, t->peak_bytes, false),
		       format_percent(share, t->peak_bytes, v->analysis.totals.peak_bytes),
		       view_bytes(allocated, t->allocated_bytes, false),
		       format_count(calls, t->alloc_calls), view_bytes(live, t->live_bytes, false),
		       format_count(blocks, t->live_blocks));
	used += 2;
	if (o->by == ROWS_BY_STACK && stacks_have_frames(&v->stacks))
		stack_view_print_depth(v, r->stack);
	else
		print_cut(r->name, o->wide ? 0 : width - used < 12 ? 12 : width - used);
	putchar('\n');
}

static void print_title(const struct view *v, const struct report_options *o)
{
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";
	char by[32];
	size_t i;

	snprintf(by, sizeof(by), "%s", rows_by_text(o->by));
	for (i = 0; by[i]; i++)
		by[i] = (char)(by[i] - 'a' + 'A');
	printf(o->bytes ? "\n%s%15s %6s %16s %11s %14s %9s  %s%s\n"
			: "\n%s%9s %7s %9s %11s %9s %9s  %s%s\n",
	       on, "PEAK", "%", "ALLOCATED", "CALLS", view_leak_title(v),
	       "BLOCKS", by, off);
}

static int print_text(const struct view *v, const struct rows *rows, const struct own *own,
		      const struct report_options *o, struct err *err)
{
	size_t n = !o->rows || rows->n < o->rows ? rows->n : o->rows;
	bool has_frames = o->by == ROWS_BY_STACK && stacks_have_frames(&v->stacks);
	struct stack_view_options frames = {o->frames, o->wide};
	struct pool_report_options pools = {o->sort, o->rows, o->bytes, o->wide};
	bool left_out = false;
	char count[FORMAT_MAX];
	int r;

	view_print_head(v, o->bytes);
	if (o->wrong_frees)
		return wrong_free_report_print(v, o->rows, &frames, err);
	if (o->by_pool)
		return pool_report_print(v, own, &pools, err);
	r = layer_report_print(v, o->bytes, err);
	if (r || !rows->n)
		return r;
	print_title(v, o);
	for (size_t i = 0; i < n; i++) {
		if (i && has_frames)
			putchar('\n');
		print_row(v, &rows->rows[i], o, output_width());
		if (has_frames)
			left_out |= stack_view_print(v, rows->rows[i].stack, &frames);
	}
	if (n < rows->n)
		printf("%s  and %s more (--rows 0 shows all)\n", has_frames ? "\n" : "",
		       format_count(count, rows->n - n));
	if (left_out)
		stack_view_print_hint();
	if (rows_group_key(o->by) == GROUP_STACK)
		hints_print(v, own);
	return 0;
}

/* ---- for machines ------------------------------------------------------------------- */

static void json_row(const struct view *v, const struct row *r, enum rows_by by, struct json *j)
{
	const struct heap_totals *t = &r->totals;
	const char *module = catalog_module_path(&v->catalog, r->module);

	json_begin_object(j, NULL);
	switch (by) {
	case ROWS_BY_FILE:
		json_string(j, "file", r->file);
		break;
	case ROWS_BY_LINE:
		json_string(j, "file", r->file);
		json_u64(j, "line", r->line);
		break;
	case ROWS_BY_STACK:
		json_u64(j, "stack", r->stack.v);
		break;
	case ROWS_BY_THREAD:
		json_string(j, "thread", r->name);
		json_i64(j, "tid", r->tid);
		break;
	case ROWS_BY_SIZE:
		json_string(j, "size", r->name);
		json_u64(j, "min_size", r->key);
		break;
	case ROWS_BY_FAMILY:
		json_string(j, "family", r->name);
		break;
	case ROWS_BY_FUNCTION:
	case ROWS_BY_MODULE:
	case ROWS_BY_SOURCE_LINE:
		break;
	}
	if (by == ROWS_BY_FUNCTION || by == ROWS_BY_LINE || by == ROWS_BY_STACK)
		json_string(j, "function", r->function);
	if (rows_group_key(by) == GROUP_STACK)
		json_string(j, "module", module);
	if (by == ROWS_BY_LINE || by == ROWS_BY_STACK)
		json_u64(j, "offset", r->offset);
	if (by == ROWS_BY_STACK)
		stack_view_json_truncated(v, r->stack, j);
	json_u64(j, "allocated_bytes", t->allocated_bytes);
	json_u64(j, "alloc_calls", t->alloc_calls);
	json_u64(j, "live_bytes", t->live_bytes);
	json_u64(j, "live_blocks", t->live_blocks);
	json_u64(j, "leaked_bytes", t->live_bytes);
	json_u64(j, "leaked_blocks", t->live_blocks);
	json_u64(j, "peak_bytes", t->peak_bytes);
	json_u64(j, "peak_blocks", t->peak_blocks);
	json_u64(j, "temporary_allocs", t->temporary_allocs);
	if (by == ROWS_BY_STACK)
		stack_view_json_frames(v, r->stack, j);
	json_end_object(j);
}

static int print_json(const struct view *v, const struct rows *rows, const struct own *own,
		      const struct report_options *o, struct err *err)
{
	struct json j = {.out = stdout};
	int r;

	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-report/1");
	view_json_recording(v, &j);
	view_json_summary(v, &j);
	json_string(&j, "layer", v->layer);
	r = o->wrong_frees ? wrong_free_report_json(v, &j, err) : layer_report_json(v, &j, err);
	if (r)
		return r;
	if (o->wrong_frees) {
		json_end_object(&j);
		return 0;
	}
	json_string(&j, "by", o->by_pool ? "pool" : rows_by_text(o->by));
	if (o->by_pool) {
		r = pool_report_json(v, &j, err);
		json_end_object(&j);
		return r;
	}
	json_begin_array(&j, "rows");
	for (size_t i = 0; i < rows->n; i++)
		json_row(v, &rows->rows[i], o->by, &j);
	json_end_array(&j);
	if (rows_group_key(o->by) == GROUP_STACK)
		hints_json(v, own, &j);
	json_end_object(&j);
	return 0;
}

static void print_csv_text(const char *text)
{
	if (!text)
		return;
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}

static void print_csv(const struct view *v, const struct rows *rows,
		      const struct report_options *o)
{
	printf("%s,module,allocated_bytes,alloc_calls,live_bytes,live_blocks,leaked_bytes,"
	       "leaked_blocks,peak_bytes,peak_blocks,temporary_allocs\r\n",
	       o->by == ROWS_BY_MODULE ? "name" : rows_by_text(o->by));
	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->rows[i];
		const struct heap_totals *t = &r->totals;

		if (o->by == ROWS_BY_STACK)
			stack_view_print_csv(v, r->stack);
		else
			print_csv_text(r->name);
		putchar(',');
		print_csv_text(catalog_module_path(&v->catalog, r->module));
		printf(",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
		       ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\r\n",
		       t->allocated_bytes, t->alloc_calls, t->live_bytes, t->live_blocks,
		       t->live_bytes, t->live_blocks, t->peak_bytes, t->peak_blocks,
		       t->temporary_allocs);
	}
}

/* Of pools it is the layer that has them, unless it is said which. */
static int open_view(struct view *v, struct report_options *o, struct err *err)
{
	const char *found = NULL;
	int r = view_open_when(v, o->path, rows_group_key(o->by), &o->when, err);

	if (r || !o->by_pool)
		return r;
	r = o->when.layer ? pool_report_check_layer(v, err)
			  : pool_report_find_layer(v, &found, err);
	if (!r && o->when.layer)
		return 0;
	if (!r)
		snprintf(o->layer, sizeof(o->layer), "%s", found);
	view_close(v);
	if (r)
		return r;
	o->when.layer = o->layer;
	return view_open_when(v, o->path, rows_group_key(o->by), &o->when, err);
}

static void release(struct report_options *o)
{
	store_earlier_close(o->when.earlier);
	gates_release(&o->gates);
	suppression_files_release(&o->suppression_files);
	suppressions_release(&o->suppressions);
	free(o->skip);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct report_options o = {.by = ROWS_BY_FILE, .sort = "peak", .rows = 20,
				   .frames = STACK_VIEW_FRAMES};
	struct rows rows;
	struct view v;
	struct own own;
	struct err err;
	bool failed = false;
	int status, r = 0;

	status = parse(c, argc, argv, &o);
	if (!status && !o.done &&
	    (((o.gates.n || o.suppression_files.n) &&
	      suppression_files_read(&o.suppressions, &o.suppression_files, &err) < 0) ||
	     rotated_find(o.paths, o.n_paths, &o.when, &o.path, &err) < 0 ||
	     open_view(&v, &o, &err) < 0))
		status = print_error(&err);
	if (status || o.done) {
		release(&o);
		return status;
	}
	if (!o.no_symbolize)
		view_complete_names(&v);
	own_init(&own, &v.catalog, o.skip, o.n_skip);
	rows_make(&rows, &v.catalog, &v.analysis, &own, o.by, o.inclusive);
	if (!o.json && !o.csv && !o.full_paths)
		rows_shorten_files(&rows);
	rows_sort(&rows, o.sort);
	if (o.json || o.csv)
		view_warn_if_incomplete(&v);
	if (o.json)
		r = print_json(&v, &rows, &own, &o, &err);
	else if (o.csv)
		print_csv(&v, &rows, &o);
	else
		r = print_text(&v, &rows, &own, &o, &err);
	rows_release(&rows);
	own_release(&own);
	view_close(&v);
	fflush(stdout);
	status = r ? print_error(&err)
		   : gates_judge_recording(&o.gates, &o.suppressions, o.path, &o.when, &failed);
	release(&o);
	return !status && failed ? GATES_FAILED : status;
}

const struct command command_report = {
	.name = "report",
	.summary = "where the heap of a recording went",
	.help = help,
	.run = run,
};
