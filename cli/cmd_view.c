/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cli/rotated.h"
#include "cli/tui.h"
#include "store/earlier.h"

static const char help[] =
	"usage: heaptrail view [OPTION...] FILE...\n"
	"\n"
	"Browses a recording in the terminal, also one that is still being written: the\n"
	"heap over time, files, functions, lines with their source, call tree, flame\n"
	"graph, unfreed blocks, sizes and threads, at any moment.  ? shows the keys.\n"
	"\n"
	"      --skip PATTERN   a function that is never whose block it is, such as a\n"
	"                       wrapper around malloc; may be given several times\n"
	"      --layer NAME     show this layer of allocators first (heap); L: the next\n"
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
	"Several FILEs are those of one recording with --every: they are read as one.\n"
	"\n"
	"Exit status: 0; 2 usage, or there is no terminal; 4 if FILE is not a readable\n"
	"recording.\n"
	"\n"
	"Example:\n"
	"  heaptrail view app.trail\n";

static const struct option options[] = {
	TUI_OPTIONS,
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static int parse(const struct command *c, int argc, char **argv, struct tui_options *o,
		 bool *ret_done)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int status = tui_take_option(c, o, option, ret_done);

		if (status || *ret_done)
			return status;
	}
	if (optind == argc)
		return usage_error(c, "which recording?");
	return tui_check_options(c, o);
}

static int show(struct tui_options *o, char *const *paths, size_t n)
{
	struct when when = {0};
	struct err err;
	int status;

	if (rotated_find(paths, n, &when, &o->path, &err) < 0)
		return print_error(&err);
	o->earlier = when.earlier;
	status = tui_run_file(o);
	store_earlier_close(when.earlier);
	return status;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct tui_options o = TUI_OPTIONS_DEFAULT;
	bool done = false;
	int status = parse(c, argc, argv, &o, &done);

	if (!status && !done)
		status = show(&o, argv + optind, (size_t)(argc - optind));
	free(o.skip);
	return status;
}

const struct command command_view = {
	.name = "view",
	.summary = "browse a recording in the terminal",
	.help = help,
	.run = run,
};
