/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/tui.h"
#include "common/xalloc.h"
#include "ui/run.h"

static const char help[] =
	"usage: heaptrail view [OPTION...] FILE\n"
	"\n"
	"Browses a recording in the terminal, also one that is still being written: the\n"
	"heap over time, files, functions, lines with their source, call tree, flame\n"
	"graph, unfreed blocks, sizes and threads, at any moment.  ? shows the keys.\n"
	"\n"
	"      --skip PATTERN   a function that is never whose block it is, such as a\n"
	"                       wrapper around malloc; may be given several times\n"
	"      --ascii          only characters of ASCII\n"
	"      --no-color       no colors (so does NO_COLOR in the environment)\n"
	"      --no-mouse       leave the mouse to the terminal\n"
	"      --no-settings    neither read nor keep ~/.config/heaptrail/view\n"
	"      --script KEYS    press these keys, without a terminal: Down, Enter, 5,\n"
	"                       3*Down, 'text', click:ROW,COL, resize:ROWSxCOLS\n"
	"      --dump           print the screen at the end of the script\n"
	"      --dump-styles    print what each cell of it means\n"
	"      --size ROWSxCOLS of that screen (24x80)\n"
	"\n"
	"Exit status: 0; 2 usage, or there is no terminal; 4 if FILE is not a readable\n"
	"recording.\n"
	"\n"
	"Example:\n"
	"  heaptrail view app.trail\n";

enum {
	OPTION_SKIP = OPTION_FIRST_LONG,
	OPTION_ASCII,
	OPTION_NO_COLOR,
	OPTION_NO_MOUSE,
	OPTION_NO_SETTINGS,
	OPTION_SCRIPT,
	OPTION_DUMP,
	OPTION_DUMP_STYLES,
	OPTION_SIZE,
};

static const struct option options[] = {
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"ascii", no_argument, NULL, OPTION_ASCII},
	{"no-color", no_argument, NULL, OPTION_NO_COLOR},
	{"no-mouse", no_argument, NULL, OPTION_NO_MOUSE},
	{"no-settings", no_argument, NULL, OPTION_NO_SETTINGS},
	{"script", required_argument, NULL, OPTION_SCRIPT},
	{"dump", no_argument, NULL, OPTION_DUMP},
	{"dump-styles", no_argument, NULL, OPTION_DUMP_STYLES},
	{"size", required_argument, NULL, OPTION_SIZE},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct view_options {
	struct tui_options tui;
	const char **skip;
	size_t cap_skip;
	const char *script;
	bool dump, dump_styles, has_size, done;
	int rows, cols;
};

static int parse_size(const struct command *c, struct view_options *o)
{
	int end = 0;

	if (sscanf(optarg, "%dx%d%n", &o->rows, &o->cols, &end) == 2 && !optarg[end] &&
	    o->rows > 0 && o->cols > 0 && o->rows <= 1000 && o->cols <= 1000) {
		o->has_size = true;
		return 0;
	}
	return usage_error(c, "'%s' is no size, such as 24x80", optarg);
}

static int take_option(const struct command *c, struct view_options *o, int option)
{
	switch (option) {
	case OPTION_SKIP:
		ARRAY_GROW(o->skip, o->cap_skip, o->tui.n_skip);
		o->skip[o->tui.n_skip++] = optarg;
		o->tui.skip = o->skip;
		return 0;
	case OPTION_ASCII:
		o->tui.ascii = true;
		return 0;
	case OPTION_NO_COLOR:
		o->tui.screen.no_color = true;
		return 0;
	case OPTION_NO_MOUSE:
		o->tui.screen.no_mouse = true;
		return 0;
	case OPTION_NO_SETTINGS:
		o->tui.no_settings = true;
		return 0;
	case OPTION_SCRIPT:
		o->script = optarg;
		return 0;
	case OPTION_DUMP:
		o->dump = true;
		return 0;
	case OPTION_DUMP_STYLES:
		o->dump_styles = true;
		return 0;
	case OPTION_SIZE:
		return parse_size(c, o);
	default:
		o->done = true;
		return other_option(c, option);
	}
}

static int parse(const struct command *c, int argc, char **argv, struct view_options *o)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int status = take_option(c, o, option);

		if (status || o->done)
			return status;
	}
	if (optind + 1 != argc)
		return usage_error(c, "%s recording%s", optind == argc ? "which" : "one",
				   optind == argc ? "?" : " at a time");
	o->tui.path = argv[optind];
	if ((o->dump || o->dump_styles || o->has_size) && !o->script)
		o->script = "";
	if (o->script && !o->dump && !o->dump_styles)
		return usage_error(c, "--script needs --dump or --dump-styles");
	return 0;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct view_options o = {.rows = 24, .cols = 80};
	struct err err;
	struct ui *u;
	int status = parse(c, argc, argv, &o), r;

	if (!status && !o.done) {
		if (o.script)
			o.tui.no_settings = true;
		r = tui_open(&o.tui, &u, &err);
		if (!r && o.script)
			r = ui_run_script(u, o.script, o.rows, o.cols, o.dump_styles, &err);
		else if (!r)
			r = ui_run(u, &o.tui.screen, &err);
		if (r)
			status = print_error(&err);
		tui_close(&o.tui);
	}
	free(o.skip);
	return status;
}

const struct command command_view = {
	.name = "view",
	.summary = "browse a recording in the terminal",
	.help = help,
	.run = run,
};
