/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/complete.h"
#include "cli/view.h"
#include "common/format.h"

static const char help[] =
	"usage: heaptrail repair FILE\n"
	"\n"
	"Completes a recording whose recorder died (it was killed, the disk was full, the\n"
	"machine went down): checks its events, looks up the names of functions where the\n"
	"programs are still there, adds the summaries, and makes it one file.  What the\n"
	"recorder did not write stays missing, and every report says so.\n"
	"\n"
	"A recording that is complete is left as it is.\n"
	"\n"
	"Exit status: 0; 2 usage; 4 if FILE is not a readable recording, or too damaged;\n"
	"125 if it cannot be written, or is being recorded.\n"
	"\n"
	"Example:\n"
	"  heaptrail repair heaptrail.server.4242.trail\n";

static const struct option options[] = {
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static int repair(struct view *v, struct err *err)
{
	char path[512], events[FORMAT_MAX], names[FORMAT_MAX];
	struct complete_result done;
	int r = complete_recording(v, INCOMPLETE_CUT_OFF, &done, err);

	if (r)
		return r;
	say("repaired '%s': %s events, %s functions named",
	    format_safe(path, sizeof(path), v->path), format_count(events, done.events),
	    format_count(names, done.named));
	fprintf(stderr, "next: heaptrail report %s\n", path);
	return 0;
}

static int refuse(const struct view *v)
{
	struct err err;
	char path[512];

	if (!view_may_be_written(v)) {
		say("'%s' needs no repair", format_safe(path, sizeof(path), v->path));
		return 0;
	}
	err_set(&err, ERR_FAILED, 0, "cannot repair '%s': it is being recorded", v->path);
	if (view_state(v) == VIEW_NOT_CLOSED)
		err_hint(&err, "perhaps: its recorder ran in another container, or cannot be seen; "
			       "repair it there, or as root");
	else
		err_hint(&err, "stop the recorder; then there is nothing to repair");
	return print_error(&err);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct view v;
	struct err err;
	int option, r;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		return other_option(c, option);
	if (optind + 1 != argc)
		return usage_error(c, "%s recording%s", optind == argc ? "which" : "one",
				   optind == argc ? "?" : " at a time");
	if (view_open(&v, argv[optind], GROUP_STACK, &err) < 0)
		return print_error(&err);
	if (store_reader_is_sealed(v.reader) || view_may_be_written(&v)) {
		r = refuse(&v);
	} else {
		if (store_reader_lacks_wal(v.reader))
			view_warn_if_incomplete(&v);
		r = repair(&v, &err) < 0 ? print_error(&err) : 0;
	}
	view_close(&v);
	return r;
}

const struct command command_repair = {
	.name = "repair",
	.summary = "complete a recording whose recorder died",
	.help = help,
	.run = run,
};
