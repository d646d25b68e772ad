/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/marks.h"
#include "analyzer/rows.h"
#include "cli/package.h"
#include "cli/rotated.h"
#include "cli/view.h"
#include "common/format.h"
#include "store/loss.h"

static const char help[] =
	"usage: heaptrail info [--json] FILE...\n"
	"\n"
	"Says how a recording came about and how far it can be trusted: what was\n"
	"recorded, how it ended, what was lost or could not be told, how many stacks are\n"
	"complete and where the others end, where the probes were.\n"
	"\n"
	"      --json   JSON, schema heaptrail-info/1\n"
	"\n"
	"Several FILEs are those of one recording with --every: the last has the totals.\n"
	"\n"
	"Exit status: 0; 2 usage; 4 if FILE is not a readable recording.\n";

#define NAMELESS_SHOWN 10 /* to look for a package takes a moment for each */

enum { OPTION_JSON = OPTION_FIRST_LONG };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static void print_facts(const struct view *v)
{
	char safe[512], name[64];

	printf("\nRecording\n");
	for (size_t i = 0; i < v->catalog.n_facts; i++) {
		const char *key = v->catalog.facts[i].key, *text = v->catalog.facts[i].text;

		if (strncmp(key, "probe:", 6) && strcmp(key, "command") && !mark_is_key(key))
			printf("  %-20s %s\n", format_safe(name, sizeof(name), key),
			       format_safe(safe, sizeof(safe), text ? text : ""));
	}
}

static void print_marks(const struct view *v)
{
	char safe[512], t[FORMAT_MAX];
	bool any = false;
	struct mark m;
	size_t at = 0;

	while (marks_next(&v->catalog, &at, &m)) {
		if (!any)
			puts("\nMarks");
		any = true;
		printf("  %10s  %s\n", format_duration(t, view_since_start(v, m.t_ns)),
		       format_safe(safe, sizeof(safe), m.text));
	}
}

static void print_probes(const struct view *v)
{
	char safe[512], name[64], last[512] = "";

	for (size_t i = 0; i < v->catalog.n_facts; i++) {
		const char *key = v->catalog.facts[i].key, *text = v->catalog.facts[i].text;
		const char *colon = strrchr(key, ':');

		if (strncmp(key, "probe:", 6))
			continue;
		snprintf(safe, sizeof(safe), "%.*s", (int)(colon - key - 6), key + 6);
		if (strcmp(safe, last)) {
			snprintf(last, sizeof(last), "%s", safe);
			printf("\nProbes in %s\n", format_safe(safe, sizeof(safe), last));
		}
		printf("  %-20s ", format_safe(name, sizeof(name), colon + 1));
		puts(format_safe(safe, sizeof(safe), text ? text : ""));
	}
}

static void print_losses(const struct view *v)
{
	char n[FORMAT_MAX];

	printf("\nLost or set right\n");
	for (size_t i = 0; i < LOSSES; i++)
		printf("  %-20s %11s  %s\n", loss_kinds[i].name,
		       format_count(n, catalog_loss(&v->catalog, loss_kinds[i].name)),
		       loss_kinds[i].meaning);
}

static void print_spaces(const struct view *v)
{
	char safe[512], t[FORMAT_MAX];

	printf("\nPrograms\n");
	for (size_t i = 1; i < v->catalog.n_spaces; i++) {
		const struct space_record *s = &v->catalog.spaces[i];
		uint64_t start = view_start_ns(v);

		printf("  %-40s from %s, %s\n",
		       format_safe(safe, sizeof(safe), s->executable ? s->executable : "?"),
		       format_duration(t, s->start_ns > start ? s->start_ns - start : 0),
		       s->end ? s->end : "cut off");
	}
	printf("\n  %zu threads, %zu modules\n",
	       v->catalog.n_threads ? v->catalog.n_threads - 1 : 0,
	       v->catalog.n_modules ? v->catalog.n_modules - 1 : 0);
}

static void print_stack_title(const char *text)
{
	printf("\n%-25s %8s %13s\n", text, "DISTINCT", "ALLOC CALLS");
}

static void print_stack_count(const char *name, const struct stack_count *n, const char *reason)
{
	char stacks[FORMAT_MAX], calls[FORMAT_MAX];

	fputs("  ", stdout);
	printf("%*s", 20 - print_cut(name, 20), "");
	printf(" %11s %13s%s%s\n", format_count(stacks, n->stacks),
	       format_count(calls, n->alloc_calls), reason ? "  " : "", reason ? reason : "");
}

/* The allocating stacks: how they end, and where those that are truncated do. */
static void print_stacks(const struct view *v)
{
	const struct stack_count *ends = v->stacks.ends;
	struct stack_blames blames;

	print_stack_title("Stacks");
	print_stack_count("all", &v->stacks.all, NULL);
	print_stack_count("complete", &ends[STACK_COMPLETE], NULL);
	for (unsigned int end = STACK_COMPLETE + 1; end < STACK_WALK_ENDS; end++)
		if (ends[end].stacks)
			print_stack_count("truncated", &ends[end], stacks_end_text(end));
	stacks_blame(&v->catalog, &v->analysis, &blames);
	if (blames.n)
		print_stack_title("Truncated stacks end in");
	for (size_t i = 0; i < blames.n; i++) {
		const struct stack_blame *b = &blames.blames[i];
		const char *module = catalog_module_path(&v->catalog, b->module);

		print_stack_count(module ? path_base(module) : "[unknown]", &b->count,
				  stacks_end_text(b->end));
	}
	stacks_blame_release(&blames);
}

/* Files whose functions have no source lines, by the bytes of which it is not known. */
static void print_nameless(const struct view *v)
{
	struct nameless_list nameless;
	struct own own;
	char bytes[FORMAT_MAX];

	own_init(&own, &v->catalog, NULL, 0);
	own_list_nameless(&own, &v->analysis, &nameless);
	if (nameless.n)
		printf("\nWithout debug information%15s\n", "ALLOCATED");
	for (size_t i = 0; i < nameless.n && i < NAMELESS_SHOWN; i++) {
		const char *path = catalog_module_path(&v->catalog, nameless.items[i].module);
		char *package = path ? package_of_debug_info(path) : NULL;

		fputs("  ", stdout);
		printf("%*s", 24 - print_cut(path ? path_base(path) : "[unknown]", 24), "");
		printf(" %13s%s%s\n", view_bytes(bytes, nameless.items[i].allocated_bytes, false),
		       package ? "  package " : "", package ? package : "");
		free(package);
	}
	own_nameless_release(&nameless);
	own_release(&own);
}

static void json_nameless(const struct view *v, struct json *j)
{
	struct nameless_list nameless;
	struct own own;

	own_init(&own, &v->catalog, NULL, 0);
	own_list_nameless(&own, &v->analysis, &nameless);
	json_begin_array(j, "without_debug_information");
	for (size_t i = 0; i < nameless.n; i++) {
		const char *path = catalog_module_path(&v->catalog, nameless.items[i].module);
		char *package = path && i < NAMELESS_SHOWN ? package_of_debug_info(path) : NULL;

		json_begin_object(j, NULL);
		json_string(j, "module", path);
		json_u64(j, "allocated_bytes", nameless.items[i].allocated_bytes);
		json_string(j, "package", package);
		json_end_object(j);
		free(package);
	}
	json_end_array(j);
	own_nameless_release(&nameless);
	own_release(&own);
}

static void json_stack_count(const struct stack_count *n, struct json *j)
{
	json_u64(j, "stacks", n->stacks);
	json_u64(j, "alloc_calls", n->alloc_calls);
}

static void json_stacks(const struct view *v, struct json *j)
{
	const struct stack_count *ends = v->stacks.ends;
	struct stack_blames blames;

	json_begin_object(j, "stacks");
	json_u64(j, "distinct", v->stacks.all.stacks);
	json_u64(j, "complete", ends[STACK_COMPLETE].stacks);
	json_begin_array(j, "truncated");
	for (unsigned int end = STACK_COMPLETE + 1; end < STACK_WALK_ENDS; end++) {
		if (!ends[end].stacks)
			continue;
		json_begin_object(j, NULL);
		json_string(j, "reason", stacks_end_name(end));
		json_stack_count(&ends[end], j);
		json_end_object(j);
	}
	json_end_array(j);
	stacks_blame(&v->catalog, &v->analysis, &blames);
	json_begin_array(j, "truncated_in");
	for (size_t i = 0; i < blames.n; i++) {
		const struct stack_blame *b = &blames.blames[i];

		json_begin_object(j, NULL);
		json_string(j, "module", catalog_module_path(&v->catalog, b->module));
		json_string(j, "reason", stacks_end_name(b->end));
		json_stack_count(&b->count, j);
		json_end_object(j);
	}
	json_end_array(j);
	json_end_object(j);
	stacks_blame_release(&blames);
}

static void print_json(const struct view *v)
{
	struct json j = {.out = stdout};

	json_begin_object(&j, NULL);
	json_string(&j, "schema", "heaptrail-info/1");
	view_json_recording(v, &j);
	json_string(&j, "state", view_state_name(view_state(v)));
	json_bool(&j, "repaired", catalog_text(&v->catalog, "repaired_realtime_ns") != NULL);
	view_json_summary(v, &j);
	json_begin_object(&j, "facts");
	for (size_t i = 0; i < v->catalog.n_facts; i++)
		json_string(&j, v->catalog.facts[i].key, v->catalog.facts[i].text);
	json_end_object(&j);
	json_begin_object(&j, "losses");
	for (size_t i = 0; i < v->catalog.n_losses; i++)
		json_u64(&j, v->catalog.losses[i].kind, v->catalog.losses[i].count);
	json_end_object(&j);
	json_stacks(v, &j);
	json_nameless(v, &j);
	json_end_object(&j);
}

static int run(const struct command *c, int argc, char **argv)
{
	const char *path;
	bool json = false;
	struct view v;
	struct err err;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != OPTION_JSON)
			return other_option(c, option);
		json = true;
	}
	if (optind == argc)
		return usage_error(c, "which recording?");
	if (rotated_find(argv + optind, (size_t)(argc - optind), NULL, &path, &err) < 0 ||
	    view_open(&v, path, GROUP_STACK, &err) < 0)
		return print_error(&err);
	if (json) {
		view_warn_if_incomplete(&v);
		print_json(&v);
	} else {
		view_print_head(&v, false);
		print_facts(&v);
		print_marks(&v);
		print_losses(&v);
		print_stacks(&v);
		print_nameless(&v);
		print_spaces(&v);
		print_probes(&v);
	}
	view_close(&v);
	return 0;
}

const struct command command_info = {
	.name = "info",
	.summary = "how a recording came about, and how far to trust it",
	.help = help,
	.run = run,
};
