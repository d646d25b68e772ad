/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "cli/layer_report.h"
#include "cli/rotated.h"
#include "cli/stack_view.h"
#include "cli/view.h"
#include "common/format.h"
#include "common/xalloc.h"

static const char help[] =
	"usage: heaptrail leaks [OPTION...] FILE...\n"
	"\n"
	"Shows the blocks that were never freed, by the call stack that allocated them.\n"
	"They are called leaked where the recording saw the process exit, else unfreed.\n"
	"\n"
	"      --skip NAME   a wrapper: blocks are its callers' (a pattern as of the\n"
	"                    shell; may be given several times)\n"
	"      --rows N      at most N stacks (default 20; 0: all)\n"
	"      --frames N    of a stack at most N lines (default 15; 0 or all: all)\n"
	"      --bytes       exact bytes instead of KiB and MiB\n"
	"  -w, --wide        do not shorten names to the width of the terminal\n"
	WHEN_HELP
	"      --no-symbolize  do not look up names that the recording lacks\n"
	"      --json        JSON, schema heaptrail-leaks/1; all stacks and frames\n"
	"\n"
	"ALLOCATED BY names the function that asked for a block: the innermost of its\n"
	"stack that is not the allocator, the C library, a language's runtime or a\n"
	"wrapper around malloc.\n"
	"\n"
	"Several FILEs are those of one recording with --every: the last has the totals.\n"
	"\n"
	"Exit status: 0; 2 usage; 4 if FILE is not a readable recording.\n"
	"\n"
	"Example:\n"
	"  heaptrail leaks server.trail\n";

enum { OPTION_ROWS = OPTION_FIRST_LONG, OPTION_FRAMES, OPTION_SKIP, OPTION_BYTES,
       OPTION_NO_SYMBOLIZE, OPTION_JSON };

static const struct option options[] = {
	{"rows", required_argument, NULL, OPTION_ROWS},
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"frames", required_argument, NULL, OPTION_FRAMES},
	{"bytes", no_argument, NULL, OPTION_BYTES},
	WHEN_OPTIONS,
	{"no-symbolize", no_argument, NULL, OPTION_NO_SYMBOLIZE},
	{"wide", no_argument, NULL, 'w'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct leaks_options {
	struct when when;
	char *const *paths;
	size_t n_paths;
	const char *path;
	uint64_t rows, frames;
	const char **skip; /* patterns */
	size_t n_skip, cap_skip;
	bool bytes, no_symbolize, wide, json, done;
};

static int parse(const struct command *c, int argc, char **argv, struct leaks_options *o)
{
	int option;

	while ((option = getopt_long(argc, argv, "w", options, NULL)) != -1) {
		switch (option) {
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
		case OPTION_BYTES:
			o->bytes = true;
			break;
		case OPTION_NO_SYMBOLIZE:
			o->no_symbolize = true;
			break;
		case OPTION_AT:
		case OPTION_SINCE:
		case OPTION_UNTIL:
		case OPTION_LAYER:
			if (!when_parse(&o->when, option, optarg))
				return usage_error(c, "'%s' is no time", optarg);
			break;
		case 'w':
			o->wide = true;
			break;
		case OPTION_JSON:
			o->json = true;
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
	return 0;
}

/* "12 frames, by load_file", in so many columns; 0: as it is. */
static void print_whose(const struct view *v, const struct row *r, int columns)
{
	int used = stack_view_print_depth(v, r->stack) + 5;

	if (!r->function && !r->module.v)
		return; /* of no frame */
	fputs(", by ", stdout);
	print_cut(r->name, !columns ? 0 : columns - used < 12 ? 12 : columns - used);
}

static void print_leak(const struct view *v, const struct row *r, const struct leaks_options *o)
{
	char bytes[FORMAT_MAX], blocks[FORMAT_MAX], oldest[FORMAT_MAX], newest[FORMAT_MAX];
	int width = output_width();

	printf("%15s %9s %9s %9s  ", view_bytes(bytes, r->totals.live_bytes, o->bytes),
	       format_count(blocks, r->totals.live_blocks),
	       format_duration(oldest, view_since_start(v, r->oldest_ns)),
	       format_duration(newest, view_since_start(v, r->newest_ns)));
	if (!stacks_have_frames(&v->stacks))
		print_cut(r->name, o->wide ? 0 : width - 47 < 12 ? 12 : width - 47);
	else
		print_whose(v, r, o->wide ? 0 : width - 47);
	putchar('\n');
}

/* Returns whether frames were left out. */
static bool print_leaks(const struct view *v, const struct rows *rows,
			const struct leaks_options *o)
{
	bool has_frames = stacks_have_frames(&v->stacks), left_out = false;
	struct stack_view_options frames = {o->frames, o->wide};
	size_t shown = 0, left = 0;
	char count[FORMAT_MAX];

	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->rows[i];

		if (!r->totals.live_blocks)
			continue;
		if (o->rows && shown == o->rows) {
			left++;
			continue;
		}
		if (shown++ && has_frames)
			putchar('\n');
		print_leak(v, r, o);
		if (has_frames)
			left_out |= stack_view_print(v, r->stack, &frames);
	}
	if (left)
		printf("%s  and %s more (--rows 0 shows all)\n", has_frames ? "\n" : "",
		       format_count(count, left));
	return left_out;
}

static int print_text(const struct view *v, const struct rows *rows,
		      const struct leaks_options *o, struct err *err)
{
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";
	char bytes[FORMAT_MAX], blocks[FORMAT_MAX];
	const struct heap_totals *t = &v->analysis.totals;

	if (layer_report_is_counted(v))
		return layer_report_print_references(
			v, o->rows, &(struct stack_view_options){o->frames, o->wide}, err);
	printf("%s %s in %s blocks%s\n",
	       view_is_past(v) ? "Live then:" : view_exited(v) ? "Leaked" : "Unfreed so far",
	       view_bytes(bytes, t->live_bytes, o->bytes), format_count(blocks, t->live_blocks),
	       view_lost_events(v) ? "; events were lost: the numbers are incomplete" : "");
	stack_view_print_health(v);
	view_print_small(v, "");
	view_print_dropped(v, "");
	view_print_state_warnings(v);
	view_print_no_allocator(v, "WARNING: ");
	if (!t->live_blocks)
		return 0;
	printf("\n%s%15s %9s %9s %9s  %s%s\n", on, "BYTES", "BLOCKS", "OLDEST", "NEWEST",
	       "ALLOCATED BY", off);
	if (print_leaks(v, rows, o))
		stack_view_print_hint();
	printf("\nOLDEST and NEWEST: when the first and the last of them was allocated,\n"
	       "since the recording began.\n");
	return 0;
}

static int print_json(const struct view *v, const struct rows *rows, struct err *err)
{
	const struct heap_totals *t = &v->analysis.totals;
	struct json j = {.out = stdout};
	int status = 0;

	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-leaks/1");
	view_json_recording(v, &j);
	json_string(&j, "word", view_leak_word(v));
	json_string(&j, "layer", v->layer);
	json_u64(&j, "total_bytes", t->live_bytes);
	json_u64(&j, "total_blocks", t->live_blocks);
	json_u64(&j, "lost_events", view_lost_events(v));
	json_begin_array(&j, "leaks");
	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->rows[i];

		if (!r->totals.live_blocks)
			continue;
		json_begin_object(&j, NULL);
		json_u64(&j, "bytes", r->totals.live_bytes);
		json_u64(&j, "blocks", r->totals.live_blocks);
		json_u64(&j, "oldest_ns", view_since_start(v, r->oldest_ns));
		json_u64(&j, "newest_ns", view_since_start(v, r->newest_ns));
		json_u64(&j, "stack", r->stack.v);
		json_string(&j, "function", r->function);
		json_string(&j, "file", r->file);
		json_u64(&j, "line", r->line);
		stack_view_json_truncated(v, r->stack, &j);
		stack_view_json_frames(v, r->stack, &j);
		json_end_object(&j);
	}
	json_end_array(&j);
	if (layer_report_is_counted(v))
		status = layer_report_json_references(v, &j, err);
	json_end_object(&j);
	return status;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct leaks_options o = {.rows = 20, .frames = STACK_VIEW_FRAMES};
	struct rows rows;
	struct view v;
	struct own own;
	struct err err;
	int status, r = 0;

	status = parse(c, argc, argv, &o);
	if (!status && !o.done &&
	    (rotated_last(o.paths, o.n_paths, &o.path, &err) < 0 ||
	     view_open_when(&v, o.path, GROUP_STACK, &o.when, &err) < 0))
		status = print_error(&err);
	if (status || o.done) {
		free(o.skip);
		return status;
	}
	if (!o.no_symbolize)
		view_complete_names(&v);
	own_init(&own, &v.catalog, o.skip, o.n_skip);
	free(o.skip);
	rows_make(&rows, &v.catalog, &v.analysis, &own, ROWS_BY_STACK, false);
	own_release(&own);
	rows_sort(&rows, "live");
	if (o.json)
		view_warn_if_incomplete(&v);
	if (o.json)
		r = print_json(&v, &rows, &err);
	else
		r = print_text(&v, &rows, &o, &err);
	rows_release(&rows);
	view_close(&v);
	return r ? print_error(&err) : 0;
}

const struct command command_leaks = {
	.name = "leaks",
	.summary = "blocks that were never freed",
	.help = help,
	.run = run,
};
