/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/probes.h"
#include "common/format.h"
#include "common/json.h"
#include "common/xalloc.h"
#include "image/process_maps.h"
#include "store/layers.h"

static const char help[] =
	"usage: heaptrail probes [OPTION...] -p PID\n"
	"       heaptrail probes [OPTION...] FILE\n"
	"\n"
	"Shows where the probes would be put in a process, or in a program or library:\n"
	"which functions, and on which instruction.  One that the kernel emulates costs\n"
	"a tenth of one that it single-steps.  Nothing is put anywhere.\n"
	"\n"
	"  -p, --pid PID     the process\n"
	"      --probe SPEC  as of record: an allocator of the program's own\n"
	"      --probe-file FILE  such specs, one a line\n"
	"      --mmap        also those behind the system calls that map and unmap\n"
	"      --json        JSON, schema heaptrail-probes/1\n"
	"\n"
	"Exit status: 0; 2 usage, also for a SPEC that is none; 125 if a function that is\n"
	"to be probed is not there: the error names those that are called alike.\n"
	"\n"
	"Examples:\n"
	"  heaptrail probes -p 4242\n"
	"  heaptrail probes --probe 'my_free: free ptr=arg1' ./server\n";

enum { OPTION_PROBE = OPTION_FIRST_LONG, OPTION_PROBE_FILE, OPTION_MMAP, OPTION_JSON };

static const struct option options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"probe", required_argument, NULL, OPTION_PROBE},
	{"probe-file", required_argument, NULL, OPTION_PROBE_FILE},
	{"mmap", no_argument, NULL, OPTION_MMAP},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct probes_options {
	struct probe_specs specs;
	pid_t pid;
	const char *file;
	bool json, done;
};

static int parse(const struct command *c, int argc, char **argv, struct probes_options *o)
{
	int option, status;
	uint64_t n;

	while ((option = getopt_long(argc, argv, "p:", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			if (!parse_u64(optarg, INT_MAX, &n) || !n)
				return usage_error(c, "'%s' is not a process id", optarg);
			o->pid = (pid_t)n;
			break;
		case OPTION_MMAP:
			families_set_mappings(true);
			break;
		case OPTION_PROBE:
		case OPTION_PROBE_FILE:
			status = probes_parse(&o->specs, option == OPTION_PROBE_FILE, optarg);
			if (status)
				return status;
			break;
		case OPTION_JSON:
			o->json = true;
			break;
		default:
			o->done = true;
			return other_option(c, option);
		}
	}
	if (optind + 1 < argc || (optind < argc) == (o->pid != 0))
		return usage_error(c, "give either -p PID or one FILE");
	o->file = argv[optind];
	return probes_finish(&o->specs);
}

/* A file, as if it were mapped by ourselves. */
static int map_file(const char *path, struct process_maps *ret, struct err *err)
{
	struct process_map map = {.executable = true};
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	if (stat(path, &st) < 0)
		return err_set(err, ERR_FAILED, errno, "cannot open '%s'", path);
	map.device = st.st_dev;
	map.inode = st.st_ino;
	map.path = realpath(path, NULL);
	if (!map.path)
		return err_set(err, ERR_FAILED, errno, "cannot open '%s'", path);
	ARRAY_GROW(ret->maps, ret->cap, ret->n);
	ret->maps[ret->n++] = map;
	return 0;
}

static void json_call(const struct plan_object *o, const struct plan_point *p, struct json *j)
{
	json_begin_object(j, NULL);
	json_string(j, "module", o->path);
	json_string(j, "system_call", p->symbol);
	json_u64(j, "file_offset", p->file_offset);
	json_string(j, "instruction", p->site.instruction);
	json_bool(j, "emulated", p->site.emulated);
	json_string(j, "layer", LAYERS_MMAP);
	json_end_object(j);
}

static void json_point(const struct plan_object *o, const struct plan_point *p, struct json *j)
{
	if (p->role == PLAN_SYSCALL)
		json_call(o, p, j);
	if (p->role != PLAN_CALL)
		return;
	json_begin_object(j, NULL);
	json_string(j, "module", o->path);
	json_string(j, "function", p->symbol);
	json_u64(j, "address", p->extent.address);
	json_u64(j, "probe_offset", p->site.offset);
	json_u64(j, "file_offset", p->file_offset);
	json_string(j, "instruction", p->site.instruction);
	json_bool(j, "emulated", p->site.emulated);
	json_bool(j, "return_probe", family_function_returns(p->function) && !p->at_exits);
	json_string(j, "operation", probes_operation(p->family, p->function));
	json_string(j, "family", p->family->name);
	json_string(j, "layer", p->family->layer_name);
	json_end_object(j);
}

static void print_json(const struct plan *plan)
{
	struct json j = {.out = stdout};

	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-probes/1");
	json_string(&j, "other_allocator", plan->other_allocator);
	json_begin_array(&j, "probes");
	for (size_t i = 0; i < plan->n_objects; i++)
		for (size_t k = 0; k < plan->objects[i].n_points; k++)
			json_point(&plan->objects[i], &plan->objects[i].points[k], &j);
	json_end_array(&j);
	json_end_object(&j);
}

/* Is each of the user's functions there? */
static int check(pid_t pid, const struct process_maps *maps, const struct plan *plan,
		 struct err *err)
{
	if (plan->user_refused)
		return plan_explain_refused(plan->user_refused, err);
	for (size_t i = 0; i < n_user_families; i++)
		for (size_t k = 0; k < user_families[i].n_functions; k++)
			if (!plan_has_matched(plan, &user_families[i].functions[k]))
				return plan_explain_unmatched(
					pid, maps, &user_families[i].functions[k], err);
	return 0;
}

static int show(const struct probes_options *o)
{
	pid_t pid = o->pid ? o->pid : getpid();
	struct process_maps maps;
	struct plan plan;
	struct err err;
	int r = o->pid ? process_maps_read(pid, &maps, &err) : map_file(o->file, &maps, &err);

	if (r)
		return print_error(&err);
	plan_make(pid, &maps, &plan);
	if (o->json)
		print_json(&plan);
	else
		probes_print(&plan);
	if (!o->json && !plan_has_allocator(&plan) && !plan_has_user_probes(&plan))
		puts("no function that is to be probed");
	r = check(pid, &maps, &plan, &err);
	plan_release(&plan);
	process_maps_release(&maps);
	return r ? print_error(&err) : 0;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct probes_options o = {0};
	int status = parse(c, argc, argv, &o);

	if (!status && !o.done)
		status = show(&o);
	probe_specs_release(&o.specs);
	return status;
}

const struct command command_probes = {
	.name = "probes",
	.summary = "where the probes would be",
	.help = help,
	.run = run,
};
