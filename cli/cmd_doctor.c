/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <bpf/libbpf.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/probes.h"
#include "collector/features.h"
#include "collector/plan.h"
#include "collector/refusal.h"
#include "common/format.h"
#include "image/debug_server.h"
#include "image/process_maps.h"

static const char help[] =
	"usage: heaptrail doctor [-p PID]\n"
	"\n"
	"Says whether heaptrail can record here: what the kernel and your rights allow,\n"
	"tried one by one, what is lost without it, and what stands in the way: seccomp,\n"
	"lockdown, a user namespace, limits, a /proc that hides processes.  Then where\n"
	"the probes would be put in a process, and on which instruction.\n"
	"\n"
	"  -p, --pid PID   the process to look at (default: heaptrail itself, as an\n"
	"                  example of a program with this system's C library)\n"
	"\n"
	"Exit status: 0 if heaptrail can record; 3 if not.\n";

static const struct option options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* In lines of at most 80 columns, indented by 4. */
static void print_wrapped(const char *text)
{
	while (*text) {
		int n = (int)strlen(text), most = 76;

		if (n > most)
			for (n = most; n > 0 && text[n] != ' '; n--)
				;
		printf("    %.*s\n", n ? n : most, text);
		text += n ? n : most;
		text += *text == ' ';
	}
}

/* What stands in the way, or will, found as a failing recording would find it. */
static void print_obstacles(void)
{
	struct obstacle found[OBSTACLES_MAX];
	size_t n = refusal_list(found);

	for (size_t i = 0; i < n; i++) {
		printf("  %-20s %s\n", found[i].name, found[i].state);
		print_wrapped(found[i].advice);
	}
}

/* Returns whether all that is required is there. */
static bool print_features(void)
{
	static const char *const words[] = {
		[FEATURE_YES] = "yes", [FEATURE_NO] = "NO", [FEATURE_UNKNOWN] = "unknown"};
	bool fine = true;

	for (size_t i = 0; i < n_features; i++) {
		const struct feature *f = &features[i];
		enum feature_state state = f->test();

		printf("  %-20s %s\n", f->name, words[state]);
		if (state == FEATURE_YES)
			continue;
		print_wrapped(f->without);
		if (*f->since)
			printf("    (Linux %s and later)\n", f->since);
		fine &= !f->required;
	}
	return fine;
}

/* Not for recording. */
static void print_debuginfod(void)
{
	bool is_there = debug_server_is_available();

	printf("  %-20s %s\n", "debuginfod", is_there ? "yes" : "no");
	if (!is_there)
		print_wrapped("symbolize --debuginfod cannot ask servers: install libdebuginfod "
			      "(Debian: libdebuginfod1, Fedora: elfutils-debuginfod-client)");
}

static int print_plan(pid_t pid, bool is_example)
{
	struct process_maps maps;
	struct plan plan;
	struct err err;

	if (process_maps_read(pid, &maps, &err) < 0)
		return print_error(&err);
	plan_make(pid, &maps, &plan);
	if (is_example)
		printf("\nProbes, as they would be in a program like this one\n");
	else
		printf("\nProbes, as they would be in process %d\n", (int)pid);
	if (!plan_has_allocator(&plan))
		printf("  none: no allocator was found\n"
		       "    a statically linked program needs its symbol table; heaptrail(1) has\n"
		       "    a list of the allocators that are known\n");
	probes_print(&plan);
	plan_release(&plan);
	process_maps_release(&maps);
	return 0;
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct utsname u;
	uint64_t pid = 0;
	bool fine;
	int option, status;

	while ((option = getopt_long(argc, argv, "p:", options, NULL)) != -1) {
		if (option != 'p')
			return other_option(c, option);
		if (!parse_u64(optarg, INT_MAX, &pid) || !pid)
			return usage_error(c, "'%s' is not a process id", optarg);
	}
	if (optind != argc)
		return usage_error(c, "doctor takes no arguments");
	libbpf_set_print(quiet);
	if (!uname(&u))
		printf("heaptrail " PACKAGE_VERSION " on Linux %s, %s, user %u\n\n", u.release,
		       u.machine, (unsigned int)geteuid());
	fine = print_features();
	print_debuginfod();
	print_obstacles();
	status = print_plan(pid ? (pid_t)pid : getpid(), !pid);
	printf("\n%s\n", fine ? "heaptrail can record here."
			      : "heaptrail CANNOT record here: see what is marked NO above.");
	return status ? status : fine ? 0 : ERR_PRIVILEGE;
}

const struct command command_doctor = {
	.name = "doctor",
	.summary = "what this kernel and your rights allow",
	.help = help,
	.run = run,
};
