/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/user_probes.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

void user_probes_init(struct user_probes *u, const struct probe_specs *specs, bool launched,
		      struct probes *probes)
{
	*u = (struct user_probes){.may_come_later = launched};
	if (!specs || !specs->n)
		return;
	u->specs = specs;
	u->is_matched = xcalloc(specs->n, sizeof(*u->is_matched));
	probes_set_constants(probes, specs->constants, specs->n_constants);
}

bool user_probes_may_come(const struct probe_specs *specs)
{
	for (size_t i = 0; specs && i < specs->n; i++)
		if (specs->specs[i].module)
			return true;
	return false;
}

void user_probes_release(struct user_probes *u)
{
	free(u->is_matched);
	free(u->refused);
	u->is_matched = NULL;
	u->refused = NULL;
	u->specs = NULL;
}

void user_probes_begin_program(struct user_probes *u)
{
	u->hook_calls = 0;
}

/* The hook is called before libraries are mapped, and afterwards. */
bool user_probes_are_in_place(struct user_probes *u, const struct plan *plan)
{
	if (!u->specs)
		return plan_has_allocator(plan);
	if (plan->user_refused && !u->refused)
		u->refused = xstrdup(plan->user_refused);
	for (size_t i = 0; i < u->specs->n; i++)
		u->is_matched[i] |= i < plan->cap_matched && plan->is_matched[i];
	return plan_has_allocator(plan) ||
	       (plan_has_user_probes(plan) &&
		(!plan_has_hook(plan) || !u->may_come_later || u->hook_calls > 1));
}

static bool is_mapped(const struct process_maps *maps, const char *module)
{
	for (size_t i = 0; i < maps->n; i++)
		if (maps->maps[i].inode && plan_is_module(maps->maps[i].path, module))
			return true;
	return false;
}

/* The function as its family has it. */
static const struct family_function *function_of(const struct user_probes *u, size_t spec)
{
	for (size_t i = 0; i < u->specs->n_families; i++) {
		const struct family *f = &u->specs->families[i];

		for (size_t j = 0; j < f->n_functions; j++)
			if (f->functions[j].spec == spec)
				return &f->functions[j];
	}
	return NULL;
}

int user_probes_check(struct user_probes *u, pid_t pid, const struct process_maps *maps,
		      struct err *err)
{
	if (!u->specs || u->is_checked)
		return 0;
	if (u->refused) {
		u->is_refused = true;
		return plan_explain_refused(u->refused, err);
	}
	for (size_t i = 0; i < u->specs->n; i++) {
		const struct probe_spec *spec = &u->specs->specs[i];

		if (u->is_matched[i] ||
		    (u->may_come_later && spec->module && !is_mapped(maps, spec->module)))
			continue;
		u->is_refused = true;
		return plan_explain_unmatched(pid, maps, function_of(u, i), err);
	}
	u->is_checked = true;
	return 0;
}

bool user_probes_take_change(struct user_probes *u)
{
	bool changed = u->maps_changed;

	u->maps_changed = false;
	for (size_t i = 0; changed && u->specs && i < u->specs->n; i++)
		if (!u->is_matched[i])
			return true;
	return false;
}

void user_probes_put(const struct user_probes *u, struct store_writer *w, char **warning)
{
	for (size_t i = 0; u->specs && i < u->specs->n; i++) {
		const struct probe_spec *spec = &u->specs->specs[i];
		char *key;

		if (u->is_matched[i])
			continue;
		key = xasprintf("unmatched_probe:%s", spec->text);
		store_writer_put_text(w, key, spec->module ? spec->module : "");
		free(key);
		if (!*warning)
			*warning = xasprintf("the probe '%s' matched nothing: its module never "
					     "came", spec->text);
	}
}
