/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/layer_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "analyzer/layer_totals.h"
#include "analyzer/references.h"
#include "cli/progress.h"
#include "common/format.h"

static int make(const struct view *v, struct layer_total totals[LAYERS_MAX], struct err *err)
{
	int r = layer_totals_make(v->reader, &v->catalog, &v->layers, &v->window, progress_events,
				  totals, err);

	progress_end();
	return r;
}

static void print_layer(const struct layer_total *t, bool exact)
{
	const struct heap_totals *own = &t->own.totals;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX], e[FORMAT_MAX];
	int wide = exact ? 15 : 10;

	printf("  %-14.31s %*s %*s %11s %*s %9s\n", t->layer->name, wide,
	       view_bytes(a, own->peak_bytes, exact), wide,
	       view_bytes(b, own->allocated_bytes, exact), format_count(c, own->alloc_calls), wide,
	       view_bytes(d, own->live_bytes, exact), format_count(e, own->live_blocks));
}

/* What a pool holds of the heap, and how much of that it has handed out. */
static void print_taken(const struct layer_total *t, bool exact)
{
	const struct heap_totals *own = &t->own.totals, *taken = &t->taken.totals;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX];

	if (!t->has_functions || !taken->alloc_calls)
		return;
	printf("    its functions took of the heap %s at most, handed out %s at most;\n"
	       "    of %s that they have of it %s are handed out\n",
	       view_bytes(a, taken->peak_bytes, exact), view_bytes(b, own->peak_bytes, exact),
	       view_bytes(c, taken->live_bytes, exact), view_bytes(d, own->live_bytes, exact));
}

static void print_odd(const struct layer_total *t)
{
	const uint64_t *frees = t->own.frees;
	char n[FORMAT_MAX];

	if (frees[FREE_WITH_POOL])
		printf("    %s of them ended with their pools\n",
		       format_count(n, frees[FREE_WITH_POOL]));
	if (frees[FREE_DOUBLE])
		printf("    %s frees of what was freed already\n",
		       format_count(n, frees[FREE_DOUBLE]));
	if (frees[FREE_MISMATCHED])
		printf("    %s freed past them, by the heap's own function\n",
		       format_count(n, frees[FREE_MISMATCHED]));
	if (frees[FREE_OF_OTHER])
		printf("    %s frees of blocks of other layers\n",
		       format_count(n, frees[FREE_OF_OTHER]));
	if (frees[FREE_UNKNOWN])
		printf("    %s frees of what nobody was seen to allocate\n",
		       format_count(n, frees[FREE_UNKNOWN]));
}

int layer_report_print(const struct view *v, bool exact, struct err *err)
{
	struct layer_total totals[LAYERS_MAX];
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";
	int wide = exact ? 15 : 10, r;

	if (v->layers.n == 1)
		return 0;
	r = make(v, totals, err);
	if (r == -ENODATA) {
		printf("\nLayers other than heap are not summed up: the oldest events are not "
		       "here.\n");
		return 0;
	}
	if (r)
		return r;
	printf("\n%s  %-14s %*s %*s %11s %*s %9s%s\n", on, "LAYER", wide, "PEAK", wide, "ALLOCATED",
	       "CALLS", wide, view_leak_title(v), "BLOCKS", off);
	for (uint8_t i = 0; i < v->layers.n; i++) {
		print_layer(&totals[i], exact);
		if (!i)
			continue;
		print_odd(&totals[i]);
		if (totals[i].has_pools)
			print_taken(&totals[i], exact);
	}
	return 0;
}

static void json_layer(const struct view *v, const struct layer_total *t, struct json *j)
{
	const struct heap_totals *own = &t->own.totals, *taken = &t->taken.totals;

	json_begin_object(j, NULL);
	json_string(j, "layer", t->layer->name);
	json_begin_array(j, "families");
	for (size_t i = 0; i < v->catalog.n_families && i < 64; i++)
		if (v->catalog.families[i].name && t->layer->families >> i & 1)
			json_string(j, NULL, v->catalog.families[i].name);
	json_end_array(j);
	json_u64(j, "alloc_calls", own->alloc_calls);
	json_u64(j, "free_calls", t->own.free_calls);
	json_u64(j, "allocated_bytes", own->allocated_bytes);
	json_u64(j, "live_bytes", own->live_bytes);
	json_u64(j, "live_blocks", own->live_blocks);
	json_u64(j, "peak_bytes", own->peak_bytes);
	json_u64(j, "peak_blocks", own->peak_blocks);
	json_u64(j, "peak_time_ns", view_since_start(v, t->own.peak_time_ns));
	json_u64(j, "temporary_allocs", own->temporary_allocs);
	json_u64(j, "ended_with_pool", t->own.frees[FREE_WITH_POOL]);
	json_u64(j, "unknown_frees", t->own.frees[FREE_UNKNOWN]);
	json_u64(j, "double_frees", t->own.frees[FREE_DOUBLE]);
	json_u64(j, "mismatched_frees",
		 t->own.frees[FREE_MISMATCHED] + t->own.frees[FREE_OF_OTHER]);
	if (t->has_functions) {
		json_begin_object(j, "taken_from_heap");
		json_u64(j, "alloc_calls", taken->alloc_calls);
		json_u64(j, "allocated_bytes", taken->allocated_bytes);
		json_u64(j, "live_bytes", taken->live_bytes);
		json_u64(j, "live_blocks", taken->live_blocks);
		json_u64(j, "peak_bytes", taken->peak_bytes);
		json_end_object(j);
	} else {
		json_string(j, "taken_from_heap", NULL);
	}
	json_end_object(j);
}

int layer_report_json(const struct view *v, struct json *j, struct err *err)
{
	struct layer_total totals[LAYERS_MAX];
	int r = v->layers.n > 1 ? make(v, totals, err) : 0;

	if (r && r != -ENODATA)
		return r;
	json_begin_array(j, "layers");
	for (uint8_t i = 0; !r && v->layers.n > 1 && i < v->layers.n; i++)
		json_layer(v, &totals[i], j);
	json_end_array(j);
	return 0;
}

/* ---- countable things --------------------------------------------------------------- */

static uint64_t counted(const struct view *v)
{
	const struct layer *layer = layers_find(&v->layers, v->layer);

	return layer ? layer_counted_families(&v->catalog, layer) : 0;
}

bool layer_report_is_counted(const struct view *v)
{
	return counted(v) != 0;
}

static int find(const struct view *v, struct references *ret, struct err *err)
{
	int r = references_make(v->reader, &v->layers, counted(v), &v->window, ret, err);

	if (r == -ENODATA)
		err_set(err, ERR_USAGE, 0, "cannot tell what was not released: the oldest events "
			"are not in this recording any more");
	return r;
}

static void print_calls(const struct view *v, const struct reference_calls *c,
			const struct stack_view_options *o)
{
	char n[FORMAT_MAX], first[FORMAT_MAX], last[FORMAT_MAX];

	printf("  %s %s time%s, at %s", c->is_release ? "released" : "acquired",
	       format_count(n, c->n), c->n == 1 ? "" : "s",
	       format_duration(first, view_since_start(v, c->first_ns)));
	if (c->n > 1)
		printf(" to %s", format_duration(last, view_since_start(v, c->last_ns)));
	printf(c->is_release ? ", by\n" : "\n");
	stack_view_print(v, c->stack, o);
}

int layer_report_print_references(const struct view *v, size_t rows,
				  const struct stack_view_options *o, struct err *err)
{
	struct references found;
	char n[FORMAT_MAX], m[FORMAT_MAX], k[FORMAT_MAX];
	int r = find(v, &found, err);

	if (r)
		return r;
	printf("Layer %s: %s acquired and not released, of %s objects\n", v->layer,
	       format_count(n, found.balance), format_count(m, found.n));
	view_print_state_warnings(v);
	for (size_t i = 0; i < found.n && (!rows || i < rows); i++) {
		const struct reference *x = &found.items[i];

		printf("\n0x%" PRIx64 ": acquired %s, released %s times: %s too few\n", x->address,
		       format_count(n, x->acquires), format_count(m, x->releases),
		       format_count(k, x->acquires - x->releases));
		for (size_t c = 0; c < x->n_calls; c++)
			print_calls(v, &x->calls[c], o);
	}
	if (rows && found.n > rows)
		printf("\n  and %s more (--rows 0 shows all)\n", format_count(n, found.n - rows));
	references_release(&found);
	return 0;
}

static void json_calls(const struct view *v, const struct reference_calls *c, struct json *j)
{
	json_begin_object(j, NULL);
	json_string(j, "call", c->is_release ? "release" : "acquire");
	json_u64(j, "calls", c->n);
	json_u64(j, "first_ns", view_since_start(v, c->first_ns));
	json_u64(j, "last_ns", view_since_start(v, c->last_ns));
	json_u64(j, "stack", c->stack.v);
	stack_view_json_truncated(v, c->stack, j);
	stack_view_json_frames(v, c->stack, j);
	json_end_object(j);
}

int layer_report_json_references(const struct view *v, struct json *j, struct err *err)
{
	struct references found;
	int r = find(v, &found, err);

	if (r)
		return r;
	json_begin_array(j, "references");
	for (size_t i = 0; i < found.n; i++) {
		const struct reference *x = &found.items[i];

		json_begin_object(j, NULL);
		json_u64(j, "address", x->address);
		json_u64(j, "acquires", x->acquires);
		json_u64(j, "releases", x->releases);
		json_u64(j, "balance", x->acquires - x->releases);
		json_u64(j, "bytes", x->bytes);
		json_begin_array(j, "calls");
		for (size_t c = 0; c < x->n_calls; c++)
			json_calls(v, &x->calls[c], j);
		json_end_array(j);
		json_end_object(j);
	}
	json_end_array(j);
	references_release(&found);
	return 0;
}
