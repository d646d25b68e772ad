/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/probes.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "common/format.h"

int probes_parse(struct probe_specs *s, bool is_file, const char *value)
{
	struct err err;
	int r = is_file ? probe_specs_read(s, value, &err) : probe_specs_add(s, value, &err);

	return r ? print_error(&err) : 0;
}

int probes_finish(struct probe_specs *s)
{
	struct err err;

	if (probe_specs_finish(s, &err))
		return print_error(&err);
	families_set_user(s->families, s->n_families);
	return 0;
}

const char *probes_operation(const struct family *family, const struct family_function *f)
{
	switch (f->op) {
	case PROBE_REALLOC:
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

static void print_point(const struct plan_point *p)
{
	const char *cost = p->site.emulated ? "emulated" : "single-stepped (dear)";

	switch (p->role) {
	case PLAN_HOOK:
		printf("  %-16s +%-4u %-24s once a dlopen\n", "(ld.so's hook)", p->site.offset, "");
		return;
	case PLAN_EXIT:
		printf("  %16s 0x%-6" PRIx64 " %-20s %s\n", "an end of such:",
		       p->file_offset, p->site.instruction, cost);
		return;
	case PLAN_UNWIND:
		printf("  %-16s +%-4u %-24s when something is thrown\n", p->symbol, p->site.offset,
		       p->site.instruction);
		return;
	case PLAN_CALL:
		break;
	}
	printf("  %-16s +%-4u %-24s %s", p->symbol, p->site.offset, p->site.instruction, cost);
	if (n_user_families)
		printf("\n  %16s %s of layer %s", "", probes_operation(p->family, p->function),
		       p->family->layer_name);
	putchar('\n');
}

void probes_print(const struct plan *plan)
{
	char safe[4096];

	for (size_t i = 0; i < plan->n_objects; i++) {
		printf(" %s\n", format_safe(safe, sizeof(safe), plan->objects[i].path));
		for (size_t j = 0; j < plan->objects[i].n_points; j++)
			print_point(&plan->objects[i].points[j]);
		for (size_t j = 0; j < plan->objects[i].n_refused; j++)
			printf("  not probed: %s\n",
			       format_safe(safe, sizeof(safe), plan->objects[i].refused[j]));
	}
	if (plan->other_allocator)
		printf("  WARNING: '%s' takes malloc's place, and is not known\n",
		       format_safe(safe, sizeof(safe), plan->other_allocator));
}
