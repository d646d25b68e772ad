/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/probes.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "common/format.h"
#include "store/layers.h"

int probes_parse(struct probe_specs *s, bool is_file, const char *value)
{
	struct err err;
	int r = is_file ? probe_specs_read(s, value, &err) : probe_specs_add(s, value, &err);

	return r ? print_error(&err) : 0;
}

/* Layer mmap is the recorder's own, if there is one: its number may be the last. */
static int check_layers(const struct probe_specs *s)
{
	struct err err;

	for (size_t i = 0; n_mapping_families && i < s->n_families; i++) {
		if (!strcmp(s->families[i].layer_name, LAYERS_MMAP)) {
			err_set(&err, ERR_USAGE, 0, "layer " LAYERS_MMAP " is that of --mmap");
			err_hint(&err, "name the layer of the probes otherwise");
			return print_error(&err);
		}
		if (s->families[i].layer == PROBE_LAYERS - 1) {
			err_set(&err, ERR_USAGE, 0, "there are too many layers of probes: %d at "
				"most with --mmap", PROBE_LAYERS - 2);
			return print_error(&err);
		}
	}
	return 0;
}

int probes_finish(struct probe_specs *s)
{
	struct err err;

	if (probe_specs_finish(s, &err))
		return print_error(&err);
	families_set_user(s->families, s->n_families);
	return check_layers(s);
}

const char *probes_operation(const struct family *family, const struct family_function *f)
{
	switch (f->op) {
	case PROBE_REALLOC:
	case PROBE_RESIZE:
		return "realloc";
	case PROBE_FREE:
		return family->kind == FAMILY_COUNTED ? "release" : "free";
	case PROBE_POOL_RESET:
		return "reset";
	case PROBE_POOL_DESTROY:
		return "destroy";
	default:
		break;
	}
	return family->kind == FAMILY_COUNTED ? "acquire"
	       : family->kind == FAMILY_POOLS ? "pool_new" : "alloc";
}

/* The widest name, as far as there is room for it. */
static int name_width(const struct plan_object *o)
{
	int width = 16;

	for (size_t i = 0; i < o->n_points; i++) {
		const char *name = o->points[i].symbol;

		if (name && o->points[i].role != PLAN_EXIT && (int)strlen(name) > width)
			width = (int)strlen(name);
	}
	return width < 36 ? width : 36;
}

static void print_point(const struct plan_point *p, int width)
{
	const char *cost = p->site.emulated ? "emulated" : "single-stepped (dear)";

	if (p->role == PLAN_EXIT)
		return;
	if (p->role == PLAN_HOOK) {
		printf("  %-*s +%-4u %-16s once a dlopen\n", width, "(ld.so's hook)",
		       p->site.offset, "");
		return;
	}
	if (p->role == PLAN_SYSCALL) {
		printf("  %-*s       %-16s behind the system call, %s\n", width, p->symbol,
		       p->site.instruction, cost);
		return;
	}
	printf("  %-*s +%-4u %-16s %s", width, p->symbol, p->site.offset, p->site.instruction,
	       p->role == PLAN_UNWIND ? "if something is thrown" : cost);
	if (p->role == PLAN_CALL && n_user_families)
		printf("\n  %*s %s of layer %s", width, "",
		       probes_operation(p->family, p->function), p->family->layer_name);
	putchar('\n');
}

/* Functions that may throw have no return probe. */
static void print_exits(const struct plan_object *o)
{
	size_t n = 0, dear = 0;

	for (size_t i = 0; i < o->n_points; i++)
		if (o->points[i].role == PLAN_EXIT) {
			n++;
			dear += !o->points[i].site.emulated;
		}
	if (n)
		printf("  and %zu places where functions that may throw end, %zu single-stepped\n",
		       n, dear);
}

void probes_print(const struct plan *plan)
{
	char safe[4096];

	for (size_t i = 0; i < plan->n_objects; i++) {
		printf(" %s\n", format_safe(safe, sizeof(safe), plan->objects[i].path));
		for (size_t j = 0; j < plan->objects[i].n_points; j++)
			print_point(&plan->objects[i].points[j], name_width(&plan->objects[i]));
		print_exits(&plan->objects[i]);
		for (size_t j = 0; j < plan->objects[i].n_refused; j++)
			printf("  not probed: %s\n",
			       format_safe(safe, sizeof(safe), plan->objects[i].refused[j]));
	}
	if (plan->other_allocator)
		printf("  WARNING: '%s' takes malloc's place, and is not known\n",
		       format_safe(safe, sizeof(safe), plan->other_allocator));
}
