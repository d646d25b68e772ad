/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bound.h"
#include "cli/invoker.h"
#include "cli/live.h"
#include "cli/recorder.h"
#include "cli/tui.h"
#include "collector/process_list.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "ui/picker.h"

#define MAX_SIZE_DEFAULT "1G"

static const char help[] =
	"usage: heaptrail top [OPTION...]\n"
	"       heaptrail top [OPTION...] -p PID\n"
	"       heaptrail top [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"       heaptrail top [OPTION...] FILE\n"
	"\n"
	"Shows live where the heap of a process goes, as `heaptrail view` does it: of one\n"
	"chosen from a list, of PID, of COMMAND from its first allocation on, or of what\n"
	"another recorder writes to FILE.  ? there shows the keys: d detaches, w saves\n"
	"what was recorded so far, p stops and continues the view, a attaches to another\n"
	"process, q lets go of the process and quits.\n"
	"\n"
	"  -p, --pid PID         attach to a running process; it is never stopped\n"
	"  -o, --output FILE     keep the first recording (default: all are removed)\n"
	"      --force           overwrite a recording of that name\n"
	"      --max-size SIZE   keep a recording below SIZE (1G): its oldest events are\n"
	"                        dropped, totals stay exact\n"
	"      --log FILE        append to it what COMMAND prints (default: to nowhere)\n"
	"  -d, --duration TIME, --call-graph=HOW, --min-size SIZE,\n"
	"      --on-full=wait|drop, --ring-size MIB, --as-root, --no-ptrace,\n"
	"      --probe SPEC, --probe-file FILE, --mmap\n"
	"                        as of heaptrail record\n"
	"      --layer NAME, --skip PATTERN, --ascii, --no-color, --no-mouse,\n"
	"      --no-settings\n"
	"                        as of heaptrail view; with FILE, or for the list, also\n"
	"      --script KEYS, --dump, --dump-styles, --size ROWSxCOLS\n"
	"\n"
	"Recordings lie in a folder of their own in $TMPDIR or /tmp.  Only the recorder\n"
	"has rights: what shows its recording runs as the user who called sudo.  COMMAND\n"
	"runs as that user too, without a terminal, and runs on after q.\n"
	"\n"
	"Exit status: 0; 2 usage, or there is no terminal; otherwise that of heaptrail\n"
	"record, where it could not record: 3 without the rights.\n"
	"\n"
	"Examples:\n"
	"  sudo heaptrail top\n"
	"  sudo heaptrail top -p \"$(pidof server)\" --max-size 200M\n"
	"  sudo heaptrail top --log out.txt -- ./server --port 8080\n";

enum { OPTION_MAX_SIZE = OPTION_FIRST_OF_COMMAND, OPTION_LOG, OPTION_AS_ROOT,
       OPTION_OF_RECORD };

static const struct option options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"output", required_argument, NULL, 'o'},
	{"max-size", required_argument, NULL, OPTION_MAX_SIZE},
	{"log", required_argument, NULL, OPTION_LOG},
	{"duration", required_argument, NULL, 'd'},
	{"force", no_argument, NULL, OPTION_OF_RECORD},
	{"call-graph", required_argument, NULL, OPTION_OF_RECORD},
	{"min-size", required_argument, NULL, OPTION_OF_RECORD},
	{"mmap", no_argument, NULL, OPTION_OF_RECORD},
	{"probe", required_argument, NULL, OPTION_OF_RECORD},
	{"probe-file", required_argument, NULL, OPTION_OF_RECORD},
	{"on-full", required_argument, NULL, OPTION_OF_RECORD},
	{"ring-size", required_argument, NULL, OPTION_OF_RECORD},
	{"no-ptrace", no_argument, NULL, OPTION_OF_RECORD},
	{"as-root", no_argument, NULL, OPTION_AS_ROOT},
	TUI_OPTIONS,
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct top_options {
	struct tui_options tui;
	struct recorder_options recorder;
	char **arguments; /* for the recorder; ends with NULL */
	size_t n_arguments, cap_arguments;
	const char *max_size;
	pid_t pid;
	bool done;
};

/* ---- the command line ----------------------------------------------------------------- */

static void pass_on(struct top_options *o, const char *name, const char *value)
{
	ARRAY_GROW(o->arguments, o->cap_arguments, o->n_arguments + 1);
	o->arguments[o->n_arguments++] =
		value ? xasprintf("--%s=%s", name, value) : xasprintf("--%s", name);
	o->recorder.arguments = o->arguments;
}

static int take_option(const struct command *c, struct top_options *o, int option, int at)
{
	uint64_t n;

	switch (option) {
	case 'p':
		if (!parse_u64(optarg, INT_MAX, &n) || !n)
			return usage_error(c, "'%s' is not a process id", optarg);
		o->pid = (pid_t)n;
		return 0;
	case 'o':
		o->recorder.output = optarg;
		return 0;
	case 'd':
		if (!parse_duration(optarg, &n) || !n)
			return usage_error(c, "'%s' is not a duration such as 10s, 500ms or 5m",
					   optarg);
		pass_on(o, "duration", optarg);
		return 0;
	case OPTION_MAX_SIZE:
		if (!parse_bytes(optarg, &n) || n < BOUND_MIN || n > INT64_MAX)
			return usage_error(c, "'%s' is not a size such as 200M or 2G, 1M at least",
					   optarg);
		o->max_size = optarg;
		return 0;
	case OPTION_LOG:
		o->recorder.log = optarg;
		return 0;
	case OPTION_AS_ROOT:
		o->recorder.identity.change = false;
		pass_on(o, "as-root", NULL);
		return 0;
	case OPTION_OF_RECORD:
		pass_on(o, options[at].name, optarg);
		return 0;
	default:
		return tui_take_option(c, &o->tui, option, &o->done);
	}
}

/* What is recorded, or shown, is one thing. */
static int check(const struct command *c, struct top_options *o)
{
	bool records = o->pid || o->recorder.command;

	if (o->pid && o->recorder.command)
		return usage_error(c, "give either -p PID or a command, not both");
	if (o->tui.path && records)
		return usage_error(c, "give either a recording or what is to be recorded; a "
				      "command comes after --");
	if (o->recorder.log && !o->recorder.command)
		return usage_error(c, "--log is for what a command prints: give -- COMMAND");
	if (tui_check_options(c, &o->tui))
		return ERR_USAGE;
	if (o->tui.script && records)
		return usage_error(c, "--script is for FILE and the list of processes: what is "
				      "recorded is shown in a terminal");
	return 0;
}

static int parse(const struct command *c, int argc, char **argv, struct top_options *o)
{
	int option, at, status;

	while ((option = getopt_long(argc, argv, "+p:o:d:", options, &at)) != -1) {
		status = take_option(c, o, option, at);
		if (status || o->done)
			return status;
	}
	if (optind < argc && !strcmp(argv[optind - 1], "--"))
		o->recorder.command = argv + optind;
	else if (optind + 1 == argc)
		o->tui.path = argv[optind];
	else if (optind < argc)
		return usage_error(c, "one recording at a time; a command comes after --");
	pass_on(o, "max-size", o->max_size);
	return check(c, o);
}

/* ---- the list of processes ------------------------------------------------------------ */

struct lister {
	struct process_list list; /* the last one */
	bool has_rights; /* to attach; we may not look ourselves any more */
};

static const char *user_name(uid_t uid, char *buf, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		return pw->pw_name;
	snprintf(buf, size, "%u", (unsigned int)uid);
	return buf;
}

static void list_processes(void *arg, struct picker *p)
{
	struct lister *l = arg;
	struct process_list now;

	process_list_make(&now, &l->list);
	process_list_release(&l->list);
	l->list = now;
	for (size_t i = 0; i < now.n; i++) {
		const struct process_entry *e = &now.entries[i];
		bool is_hidden = !strcmp(e->allocator, "no permission");
		char number[16], *command;

		if (e->pid == getpid() || !strcmp(e->name, "heaptrail"))
			continue;
		command = e->command[0] ? xstrdup(e->command) : xasprintf("[%s]", e->name);
		picker_add(p, &(struct picker_row){
			.pid = e->pid,
			.rss_bytes = e->rss_bytes,
			.user = user_name(e->uid, number, sizeof(number)),
			.allocator = is_hidden && l->has_rights ? "unknown" : e->allocator,
			.command = command,
			.is_useless = !is_hidden && !process_list_is_recorded(e->allocator),
		});
		free(command);
	}
}

/* @ret_pid 0: the user wants none. */
static int pick(const struct top_options *o, struct lister *l, const char *title,
		const char *error, int *ret_pid, struct err *err)
{
	struct picker_options p = {.ascii = tui_is_ascii(&o->tui),
				   .title = title,
				   .error = error,
				   .list = list_processes,
				   .arg = l};
	struct picker *picker = picker_new(&p);
	int r;

	if (o->tui.script)
		r = picker_run_script(picker, o->tui.script, o->tui.rows, o->tui.cols,
				      o->tui.dump_styles, err);
	else
		r = picker_run(picker, &o->tui.screen, ret_pid, err);
	picker_free(picker);
	return r;
}

/* ---- recording after recording -------------------------------------------------------- */

struct top {
	const struct top_options *options;
	struct recorder *recorder;
	struct lister lister;
	struct live *live; /* what is shown; NULL: nothing yet */
};

static int start(struct top *t, pid_t pid, struct live **ret, struct err *err)
{
	struct live_options o = {.recorder = t->recorder,
				 .tui = &t->options->tui};

	return live_start(&o, pid, ret, err);
}

/* The one before is gone for good only when there is another. */
static int change_to(struct top *t, pid_t pid, struct err *err)
{
	struct live *next;
	char said[160];
	int r;

	if (t->live && recorder_is_running(t->recorder)) {
		say("ending the recording of process %d", (int)live_pid(t->live));
		live_end(t->live);
	}
	r = start(t, pid, &next, err);
	if (r)
		return r;
	if (t->live) {
		snprintf(said, sizeof(said),
			 "the recording of process %d was ended; this is process %d",
			 (int)live_pid(t->live), (int)pid);
		live_tell(next, false, said);
	}
	live_free(t->live);
	t->live = next;
	return 0;
}

/* Until a process is recorded, or (@ret_none) the user wants none. */
static int choose(struct top *t, bool *ret_none, struct err *err)
{
	char title[160] = "attach to a process", error[sizeof(err->what) + sizeof(err->hint) + 2];
	int pid, r;

	error[0] = '\0';
	if (t->live)
		snprintf(title, sizeof(title),
			 "attach to another process: the recording of %d ends (Esc: back)",
			 (int)live_pid(t->live));
	for (;;) {
		r = pick(t->options, &t->lister, title, error, &pid, err);
		if (r)
			return r;
		*ret_none = !pid;
		if (!pid || !change_to(t, pid, err))
			return 0;
		snprintf(error, sizeof(error), "%s%s%s", err->what, err->hint[0] ? ": " : "",
			 err->hint);
	}
}

static int show(struct top *t, struct err *err)
{
	bool attach = !t->live, none = false;
	int r = 0;

	for (;;) {
		if (attach)
			r = choose(t, &none, err);
		if (r || !t->live)
			return r;
		r = live_run(t->live, &attach, err);
		if (r || !attach)
			return r;
	}
}

static void say_it_takes_time(void)
{
	say("letting go of the process, and removing what is not kept");
}

static int record(struct top_options *o)
{
	struct top t = {.options = o};
	struct err err;
	int r = screen_check(&err);

	if (r)
		return print_error(&err);
	t.lister.has_rights = geteuid() == 0;
	process_list_make(&t.lister.list, NULL); /* with all rights more can be told of them */
	r = recorder_open(&o->recorder, &t.recorder, &err);
	if (r) {
		process_list_release(&t.lister.list);
		return print_error(&err);
	}
	r = invoker_become(&o->recorder.identity, &err);
	if (!r && (o->pid || o->recorder.command))
		r = start(&t, o->pid, &t.live, &err);
	if (!r)
		r = show(&t, &err);
	live_free(t.live);
	process_list_release(&t.lister.list);
	recorder_close(t.recorder, 1000, say_it_takes_time);
	return r ? print_error(&err) : 0;
}

/* ---- the command ---------------------------------------------------------------------- */

/* The C library reuses its strings with the next user that is looked up. */
static void find_invoker(struct target_identity *id)
{
	invoker_find(id);
	if (!id->change)
		return;
	id->name = xstrdup(id->name);
	id->home = xstrdup(id->home);
	id->shell = xstrdup(id->shell);
}

static void release(struct top_options *o, struct target_identity *id)
{
	if (id->name) {
		free((char *)id->name);
		free((char *)id->home);
		free((char *)id->shell);
	}
	for (size_t i = 0; i < o->n_arguments; i++)
		free(o->arguments[i]);
	free(o->arguments);
	free(o->tui.skip);
}

static int run(const struct command *c, int argc, char **argv)
{
	static char *no_arguments[] = {NULL};
	struct top_options o = {.tui = TUI_OPTIONS_DEFAULT,
				.recorder.arguments = no_arguments,
				.max_size = MAX_SIZE_DEFAULT};
	struct target_identity identity = {0};
	struct lister lister = {0};
	struct err err;
	int status, pid;

	find_invoker(&identity);
	o.recorder.identity = identity;
	status = parse(c, argc, argv, &o);
	if (status || o.done) {
		release(&o, &identity);
		return status;
	}
	if (o.tui.path) {
		status = tui_run_file(&o.tui);
	} else if (o.tui.script) {
		if (pick(&o, &lister, "attach to a process", NULL, &pid, &err))
			status = print_error(&err);
		process_list_release(&lister.list);
	} else {
		status = record(&o);
	}
	release(&o, &identity);
	return status;
}

const struct command command_top = {
	.name = "top",
	.summary = "show the heap of a running process live",
	.help = help,
	.run = run,
};
