/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/pool_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/layer_totals.h"
#include "analyzer/pool_totals.h"
#include "analyzer/rows.h"
#include "cli/progress.h"
#include "cli/stack_view.h"
#include "common/format.h"
#include "common/hash.h"
#include "common/xalloc.h"

/* ---- which layer -------------------------------------------------------------------- */

int pool_report_find_layer(const struct view *v, const char **ret, struct err *err)
{
	const char *found = NULL;
	char names[400] = "";
	size_t len = 0, n = 0;

	for (uint8_t i = 1; i < v->layers.n; i++) {
		const struct layer *l = &v->layers.layers[i];

		if (!layer_pool_families(&v->catalog, l))
			continue;
		found = l->name;
		if (len < sizeof(names))
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
						n ? ", " : "", l->name);
		n++;
	}
	if (n == 1) {
		*ret = found;
		return 0;
	}
	if (n) {
		err_set(err, ERR_USAGE, 0, "which layer's pools? there are several with pools");
		err_hint(err, "choose one with --layer: %s", names);
	} else {
		err_set(err, ERR_USAGE, 0, "no layer of the recording has pools");
		err_hint(err, "they are recorded with --probe: see PROBING YOUR OWN ALLOCATORS in "
			      "heaptrail(1)");
	}
	return -EINVAL;
}

int pool_report_check_layer(const struct view *v, struct err *err)
{
	const struct layer *layer = layers_find(&v->layers, v->layer);

	if (layer && layer_pool_families(&v->catalog, layer))
		return 0;
	err_set(err, ERR_USAGE, 0, "layer '%s' has no pools", v->layer);
	return -EINVAL;
}

static int make(const struct view *v, struct pool_totals *ret, struct err *err)
{
	int r = pool_totals_make(v->reader, &v->catalog, &v->layers,
				 layers_find(&v->layers, v->layer), &v->window, progress_events,
				 ret, err);

	progress_end();
	if (r == -ENODATA)
		err_set(err, ERR_USAGE, 0, "cannot tell pools apart: the oldest events are not in "
					   "this recording any more");
	return r;
}

/* ---- rows --------------------------------------------------------------------------- */

/* A pool, or all that are alike. */
struct pool_row {
	char *name; /* owned */
	uint64_t n;
	struct pool_sums own, taken; /* the peaks: the highest of them */
};

struct pool_rows {
	struct pool_row *rows;
	size_t n, cap;
};

/* "pools  layers.c:263"; to be freed. */
static char *place_of(const struct view *v, const struct own *own, struct stack_id stack)
{
	const struct catalog_frame *f;
	char *name, *where, *text;

	if (!stack.v)
		return xstrdup("[made unseen]");
	f = catalog_frame(&v->catalog, own_of_stack(own, stack));
	name = place_name(&v->catalog, f);
	where = place_where(&v->catalog, f);
	text = xasprintf("%s%s%s", name, where ? "  " : "", where ? where : "");
	free(name);
	free(where);
	return text;
}

static void add_sums(struct pool_sums *to, const struct pool_sums *from)
{
	to->calls += from->calls;
	to->bytes += from->bytes;
	to->live_blocks += from->live_blocks;
	to->live_bytes += from->live_bytes;
	if (from->peak_bytes > to->peak_bytes)
		to->peak_bytes = from->peak_bytes;
}

static struct pool_row *new_row(struct pool_rows *r, char *name)
{
	ARRAY_GROW(r->rows, r->cap, r->n);
	r->rows[r->n] = (struct pool_row){.name = name};
	return &r->rows[r->n++];
}

/* Those made at one place together, where there are more than @max. */
static void make_rows(const struct view *v, const struct own *own, const struct pool_totals *all,
		      size_t max, struct pool_rows *ret)
{
	bool alone = all->n - 1 <= max;
	struct hashmap by_place = {0};

	for (size_t i = 0; i < all->n; i++) {
		const struct pool_total *t = &all->items[i];
		char *place = i ? place_of(v, own, t->stack) : xstrdup("[in no pool]");
		uint32_t *at = hashmap_put(&by_place, hash_bytes(place, strlen(place)));
		struct pool_row *row;

		if (!i && !t->own.calls && !t->taken.calls) {
			free(place);
			continue;
		}
		if (i && alone) {
			row = new_row(ret, xasprintf("%s  0x%" PRIx64, place, t->address));
			free(place);
		} else if (*at == HASHMAP_NONE) {
			*at = (uint32_t)ret->n;
			row = new_row(ret, place);
		} else {
			row = &ret->rows[*at];
			free(place);
		}
		row->n += i > 0;
		add_sums(&row->own, &t->own);
		add_sums(&row->taken, &t->taken);
	}
	hashmap_release(&by_place);
}

static const struct {
	const char *name;
	size_t offset;
} columns[] = {
	{"peak", offsetof(struct pool_row, own.peak_bytes)},
	{"allocated", offsetof(struct pool_row, own.bytes)},
	{"calls", offsetof(struct pool_row, own.calls)},
	{"live", offsetof(struct pool_row, own.live_bytes)},
	{"leaked", offsetof(struct pool_row, own.live_bytes)},
	{"blocks", offsetof(struct pool_row, own.live_blocks)},
};

bool pool_report_sorts_by(const char *column)
{
	for (size_t i = 0; i < COUNT_OF(columns); i++)
		if (!strcmp(column, columns[i].name))
			return true;
	return !strcmp(column, "name");
}

static size_t sort_offset; /* of what is sorted by; SIZE_MAX: the name */

static int compare(const void *a, const void *b)
{
	uint64_t x, y;

	if (sort_offset != SIZE_MAX) {
		x = *(const uint64_t *)((const char *)a + sort_offset);
		y = *(const uint64_t *)((const char *)b + sort_offset);
		if (x != y)
			return x < y ? 1 : -1;
	}
	return strcmp(((const struct pool_row *)a)->name, ((const struct pool_row *)b)->name);
}

static void sort(struct pool_rows *r, const char *column)
{
	sort_offset = SIZE_MAX;
	for (size_t i = 0; i < COUNT_OF(columns); i++)
		if (!strcmp(column, columns[i].name))
			sort_offset = columns[i].offset;
	if (r->n)
		qsort(r->rows, r->n, sizeof(*r->rows), compare);
}

static void release(struct pool_rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->rows[i].name);
	free(r->rows);
}

/* ---- text --------------------------------------------------------------------------- */

static void print_row(const struct pool_row *r, const struct pool_totals *all, size_t max,
		      const struct pool_report_options *o)
{
	int wide = o->exact ? 14 : 9, used = 3 * wide + 2 + 9 + 2;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX];

	printf("%*s %*s %*s %8s", wide, view_bytes(a, r->own.peak_bytes, o->exact), wide,
	       view_bytes(b, r->own.bytes, o->exact), wide,
	       view_bytes(c, r->own.live_bytes, o->exact), format_count(d, r->own.live_blocks));
	if (all->has_functions)
		used += printf(" %*s", wide, view_bytes(a, r->taken.live_bytes, o->exact));
	if (all->n - 1 > max)
		used += printf(" %8s", r->n ? format_count(a, r->n) : "");
	printf("  ");
	print_cut(r->name, o->wide ? 0 : output_width() - used < 16 ? 16 : output_width() - used);
	putchar('\n');
}

static void print_title(const struct view *v, const struct pool_totals *all, size_t max,
			const struct pool_report_options *o)
{
	const char *on = output_has_color() ? "\033[1m" : "";
	const char *off = output_has_color() ? "\033[0m" : "";
	int wide = o->exact ? 14 : 9;

	printf("\n%s%*s %*s %*s %8s", on, wide, "PEAK", wide, "ALLOCATED", wide,
	       view_leak_title(v), "BLOCKS");
	if (all->has_functions)
		printf(" %*s", wide, "TAKEN");
	printf("%s%s\n", all->n - 1 > max ? "    POOLS  MADE BY" : "  MADE BY, AND ADDRESS", off);
}

static void print_number_of_pools(const struct pool_totals *all)
{
	size_t live = 0;
	char n[FORMAT_MAX], m[FORMAT_MAX];

	for (size_t i = 1; i < all->n; i++)
		live += !all->items[i].ended_ns;
	printf("\n%s pool%s, %s of them not destroyed\n", format_count(n, all->n - 1),
	       all->n == 2 ? "" : "s", format_count(m, live));
	if (!all->is_told && all->n > 1)
		printf("The recording does not say which pool blocks are in.\n");
}

int pool_report_print(const struct view *v, const struct own *own,
		      const struct pool_report_options *o, struct err *err)
{
	size_t max = o->rows ? o->rows : SIZE_MAX, n;
	struct pool_rows rows = {0};
	struct pool_totals all;
	char left[FORMAT_MAX];
	int r = make(v, &all, err);

	if (r)
		return r;
	make_rows(v, own, &all, max, &rows);
	sort(&rows, o->sort);
	print_number_of_pools(&all);
	n = rows.n < max ? rows.n : max;
	if (n)
		print_title(v, &all, max, o);
	for (size_t i = 0; i < n; i++)
		print_row(&rows.rows[i], &all, max, o);
	if (n < rows.n)
		printf("  and %s more (--rows 0 shows all)\n", format_count(left, rows.n - n));
	release(&rows);
	pool_totals_release(&all);
	return 0;
}

/* ---- for machines ------------------------------------------------------------------- */

static void json_sums(const struct pool_sums *s, bool has_peak, struct json *j)
{
	json_u64(j, "allocated_bytes", s->bytes);
	json_u64(j, "alloc_calls", s->calls);
	json_u64(j, "live_bytes", s->live_bytes);
	json_u64(j, "live_blocks", s->live_blocks);
	if (has_peak)
		json_u64(j, "peak_bytes", s->peak_bytes);
	else
		json_string(j, "peak_bytes", NULL);
}

static void json_time(const struct view *v, struct json *j, const char *key, uint64_t t_ns)
{
	if (t_ns)
		json_u64(j, key, view_since_start(v, t_ns));
	else
		json_string(j, key, NULL);
}

static void json_pool(const struct view *v, const struct pool_totals *all, size_t i,
		      struct json *j)
{
	const struct pool_total *t = &all->items[i];

	json_begin_object(j, NULL);
	if (i)
		json_u64(j, "pool", t->address);
	else
		json_string(j, "pool", NULL);
	json_time(v, j, "made_ns", t->made_ns);
	json_time(v, j, "ended_ns", t->ended_ns);
	json_sums(&t->own, true, j);
	if (all->has_functions) {
		json_begin_object(j, "taken_from_heap");
		json_sums(&t->taken, i > 0, j); /* blocks go from there to pools */
		json_end_object(j);
	} else {
		json_string(j, "taken_from_heap", NULL);
	}
	json_u64(j, "stack", t->stack.v);
	stack_view_json_truncated(v, t->stack, j);
	stack_view_json_frames(v, t->stack, j);
	json_end_object(j);
}

int pool_report_json(const struct view *v, struct json *j, struct err *err)
{
	struct pool_totals all;
	int r = make(v, &all, err);

	if (r)
		return r;
	json_begin_array(j, "rows");
	for (size_t i = 0; i < all.n; i++)
		if (i || all.items[0].own.calls || all.items[0].taken.calls)
			json_pool(v, &all, i, j);
	json_end_array(j);
	pool_totals_release(&all);
	return 0;
}
