/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/wrong_free_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "analyzer/wrong_frees.h"
#include "cli/progress.h"
#include "common/format.h"
#include "store/loss.h"

uint64_t wrong_free_report_mismatched(const struct view *v)
{
	const struct analysis *a = &v->analysis;

	if (!v->window.since_ns && !view_is_past(v) && !strcmp(v->layer, LAYERS_HEAP))
		return catalog_loss(&v->catalog, loss_kinds[LOSS_MISMATCHED_FREES].name);
	return a->frees[FREE_MISMATCHED] + a->frees[FREE_OF_OTHER];
}

static const char *layer_name(const struct view *v, uint8_t family)
{
	return v->layers.layers[replay_layer_of(&v->layers.replay, family)].name;
}

static const char *family_name(const struct view *v, uint8_t family)
{
	const char *name = family < v->catalog.n_families ? v->catalog.families[family].name : NULL;

	return name ? name : "?";
}

/* Frees have names of their own. */
static const char *freed_with(enum allocation_form form)
{
	static const char *const names[FORMS] = {
		[FORM_C] = "free() or realloc()",
		[FORM_NEW] = "delete",
		[FORM_NEW_ARRAY] = "delete[]",
		[FORM_ANY_NEW] = "delete or delete[]",
	};

	return names[form];
}

static const char *made_with(enum allocation_form form)
{
	return form ? allocation_form_names[form] : NULL;
}

static const char *kind_name(const struct wrong_free *w)
{
	return w->free_class == FREE_DOUBLE	  ? "double"
	       : w->free_class == FREE_MISMATCHED ? "mismatched"
						  : "other_layer";
}

/* What was wrong. */
static void print_what(const struct view *v, const struct wrong_free *w)
{
	const char *made = made_with(wrong_frees_form(&v->catalog, w->made));
	enum allocation_form form = wrong_frees_form(&v->catalog, w->freed);
	const char *freed = freed_with(form);
	const char *layer = layer_name(v, w->made_family);
	char a[FORMAT_MAX + LAYER_NAME_BYTES], b[FORMAT_MAX + LAYER_NAME_BYTES];

	switch (w->free_class) {
	case FREE_DOUBLE:
		printf(strcmp(layer, LAYERS_HEAP) ? "freed twice, in layer %s\n" : "freed twice\n",
		       format_safe(a, sizeof(a), layer));
		break;
	case FREE_OF_OTHER:
		printf("of layer %s, given to a function of layer %s\n",
		       format_safe(a, sizeof(a), layer),
		       format_safe(b, sizeof(b), layer_name(v, w->freed_family)));
		break;
	default:
		if (strcmp(layer, LAYERS_HEAP))
			printf("of layer %s, freed past it: by %s of the heap below\n",
			       format_safe(a, sizeof(a), layer),
			       freed ? freed : "a function");
		else if (w->made_family != w->freed_family)
			printf("of %s, freed by %s\n",
			       format_safe(a, sizeof(a), family_name(v, w->made_family)),
			       format_safe(b, sizeof(b), family_name(v, w->freed_family)));
		else
			printf("made with %s, freed with %s\n", made ? made : "?",
			       freed ? freed : "?");
	}
}

static bool print_stack(const struct view *v, const char *what, struct stack_id stack,
			const struct stack_view_options *o)
{
	printf("  %s\n", what);
	if (stack.v)
		return stack_view_print(v, stack, o);
	printf("    (not known)\n");
	return false;
}

static int make(const struct view *v, struct wrong_frees *ret, struct err *err)
{
	int r = wrong_frees_make(v->reader, &v->layers, &v->window, progress_events, ret, err);

	progress_end();
	if (r == -ENODATA)
		err_set(err, ERR_USAGE, 0, "cannot tell which frees were wrong: the oldest events "
			"are not in this recording any more");
	return r;
}

int wrong_free_report_print(const struct view *v, size_t rows,
			    const struct stack_view_options *o, struct err *err)
{
	struct wrong_frees found;
	char n[FORMAT_MAX], m[FORMAT_MAX];
	bool left_out = false;
	int r = make(v, &found, err);

	if (r)
		return r;
	printf("\nWrong frees: %s\n", format_count(n, found.calls));
	if (view_lost_events(v))
		printf("From the first lost event on none is told.\n");
	else if (catalog_loss(&v->catalog, loss_kinds[LOSS_IMPLIED_FREES].name) ||
		 catalog_loss(&v->catalog, loss_kinds[LOSS_UNFINISHED_REALLOCS].name))
		printf("Some frees were not seen: from the first of these on double ones are not\n"
		       "told, nor those past a layer.\n");
	for (size_t i = 0; i < found.n && (!rows || i < rows); i++) {
		const struct wrong_free *w = &found.items[i];
		bool is_double = w->free_class == FREE_DOUBLE;

		printf("\n%s block%s, %s: ", format_count(n, w->calls), w->calls == 1 ? "" : "s",
		       view_bytes(m, w->bytes, false));
		print_what(v, w);
		left_out |= print_stack(v, "allocated", w->made, o);
		if (is_double)
			left_out |= print_stack(v, "freed", w->freed_before, o);
		left_out |= print_stack(v, is_double ? "freed again" : "freed", w->freed, o);
	}
	if (rows && found.n > rows)
		printf("\n  and %s more (--rows 0 shows all)\n", format_count(n, found.n - rows));
	if (left_out)
		stack_view_print_hint();
	if (found.n && !catalog_number(&v->catalog, "free_stacks", 0))
		printf("\nOf frees the callers are known: record --free-stacks takes whole "
		       "stacks.\n");
	wrong_frees_release(&found);
	return 0;
}

static void json_stack(const struct view *v, const char *key, struct stack_id stack,
		       struct json *j)
{
	if (!stack.v) {
		json_string(j, key, NULL);
		return;
	}
	json_begin_object(j, key);
	json_u64(j, "stack", stack.v);
	stack_view_json_truncated(v, stack, j);
	stack_view_json_frames(v, stack, j);
	json_end_object(j);
}

int wrong_free_report_json(const struct view *v, struct json *j, struct err *err)
{
	struct wrong_frees found;
	int r = make(v, &found, err);

	if (r)
		return r;
	json_begin_array(j, "wrong_frees");
	for (size_t i = 0; i < found.n; i++) {
		const struct wrong_free *w = &found.items[i];

		json_begin_object(j, NULL);
		json_string(j, "kind", kind_name(w));
		json_u64(j, "calls", w->calls);
		json_u64(j, "bytes", w->bytes);
		json_u64(j, "first_ns", view_since_start(v, w->first_ns));
		json_string(j, "layer", layer_name(v, w->made_family));
		json_string(j, "allocated_family", family_name(v, w->made_family));
		json_string(j, "freed_family", family_name(v, w->freed_family));
		json_string(j, "allocated_with",
			    made_with(wrong_frees_form(&v->catalog, w->made)));
		json_string(j, "freed_with", freed_with(wrong_frees_form(&v->catalog, w->freed)));
		json_stack(v, "allocated", w->made, j);
		if (w->free_class == FREE_DOUBLE)
			json_stack(v, "freed_before", w->freed_before, j);
		json_stack(v, "freed", w->freed, j);
		json_end_object(j);
	}
	json_end_array(j);
	wrong_frees_release(&found);
	return 0;
}
