/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/stacks.h"
#include "common/hash.h"
#include "common/xalloc.h"

static const struct {
	const char *name;
	enum group_key key;
} ways[] = {
	[ROWS_BY_FILE] = {"file", GROUP_STACK},	     [ROWS_BY_FUNCTION] = {"function", GROUP_STACK},
	[ROWS_BY_LINE] = {"line", GROUP_STACK},	     [ROWS_BY_MODULE] = {"module", GROUP_STACK},
	[ROWS_BY_THREAD] = {"thread", GROUP_THREAD}, [ROWS_BY_STACK] = {"stack", GROUP_STACK},
	[ROWS_BY_SIZE] = {"size", GROUP_SIZE},	     [ROWS_BY_FAMILY] = {"family", GROUP_FAMILY},
};

enum group_key rows_group_key(enum rows_by by)
{
	return ways[by].key;
}

const char *rows_by_text(enum rows_by by)
{
	return ways[by].name;
}

bool rows_by_name(const char *name, enum rows_by *ret)
{
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		if (strcmp(ways[i].name, name))
			continue;
		*ret = (enum rows_by)i;
		return true;
	}
	return false;
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

char *place_name(const struct catalog *c, const struct catalog_frame *f)
{
	const char *module = catalog_module_path(c, f->module);

	if (f->function)
		return xstrdup(f->function);
	return module ? xasprintf("%s+0x%" PRIx64, path_base(module), f->offset)
		      : xasprintf("0x%" PRIx64, f->offset);
}

/* A class of sizes: "64-127", "4-8 KiB", "512 KiB-1 MiB". */
static char *size_name(uint64_t low)
{
	static const char *const units[] = {"", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
	size_t unit = 0;
	uint64_t v = low;

	if (low < 2)
		return xasprintf("%" PRIu64, low);
	if (low < 1024)
		return xasprintf("%" PRIu64 "-%" PRIu64, low, low * 2 - 1);
	for (; v >= 1024; v /= 1024)
		unit++;
	return v < 512 ? xasprintf("%" PRIu64 "-%" PRIu64 "%s", v, v * 2, units[unit])
		       : xasprintf("512%s-1%s", units[unit], unit < 6 ? units[unit + 1] : "");
}

/* A row for one group, with all but its totals.  Rows with equal identity become one. */
static struct row describe(const struct catalog *c, enum rows_by by, const struct group *g,
			   uint64_t *ret_identity)
{
	struct row row = {.key = g->key};
	const struct catalog_frame *f = catalog_frame(
		c, catalog_stack(c, (struct stack_id){(uint32_t)g->key})->frame);
	const char *module = catalog_module_path(c, f->module);

	*ret_identity = g->key;
	switch (by) {
	case ROWS_BY_THREAD: {
		const struct thread_record none = {0};
		const struct thread_record *t = g->key < c->n_threads ? &c->threads[g->key] : &none;

		row.tid = t->tid;
		row.name = t->name && t->name[0] ? xasprintf("%s (%d)", t->name, t->tid)
						 : xasprintf("%d", t->tid);
		return row;
	}
	case ROWS_BY_SIZE:
		row.name = size_name(g->key);
		return row;
	case ROWS_BY_FAMILY:
		row.name = xstrdup(g->key < c->n_families && c->families[g->key].name
					   ? c->families[g->key].name
					   : "[unknown]");
		return row;
	case ROWS_BY_FILE:
	case ROWS_BY_MODULE:
		row.module = f->module;
		row.file = by == ROWS_BY_FILE ? f->file : NULL;
		row.name = xstrdup(row.file ? row.file : module ? path_base(module) : "[unknown]");
		*ret_identity =
			f->module.v ^ (row.file ? hash_bytes(row.file, strlen(row.file)) : 0);
		return row;
	case ROWS_BY_FUNCTION:
		row.module = f->module;
		row.function = f->function;
		row.name = f->function ? xstrdup(f->function)
				       : xasprintf("[%s]", module ? path_base(module) : "unknown");
		*ret_identity = (uint64_t)f->module.v << 32 ^
				(f->function ? hash_bytes(f->function, strlen(f->function)) : 0);
		return row;
	case ROWS_BY_STACK:
		row.stack.v = (uint32_t)g->key;
		/* fall through */
	case ROWS_BY_LINE: /* the identity of both is that of frames: rows_make() */
		row.module = f->module;
		row.function = f->function;
		row.file = f->file;
		row.line = f->line;
		row.offset = f->offset;
		row.name = place_name(c, f);
		return row;
	}
	return row;
}

static uint64_t identity_of_stack(const struct catalog *c, const uint32_t *classes, uint64_t key)
{
	struct stack_walk w;

	stacks_walk(c, (struct stack_id){(uint32_t)key}, &w);
	return stacks_identity(classes, &w);
}

/* Of the innermost frame: calls that read the same are one site. */
static uint64_t class_of_site(const struct catalog *c, const uint32_t *classes, uint64_t key)
{
	struct frame_id frame = catalog_stack(c, (struct stack_id){(uint32_t)key})->frame;

	return frame.v < c->n_frames ? classes[frame.v] : 0;
}

void rows_make(struct rows *ret, const struct catalog *c, const struct analysis *a,
	       enum rows_by by)
{
	bool by_frames = by == ROWS_BY_STACK || by == ROWS_BY_LINE;
	uint32_t *classes = by_frames ? stacks_classify_frames(c) : NULL;
	struct hashmap index = {0};

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < a->n_groups; i++) {
		const struct group *g = &a->groups[i];
		uint64_t identity;
		struct row row = describe(c, by, g, &identity), *to;
		uint32_t *place;

		if (classes)
			identity = by == ROWS_BY_STACK ? identity_of_stack(c, classes, g->key)
						       : class_of_site(c, classes, g->key);
		place = hashmap_put(&index, identity);
		if (*place == HASHMAP_NONE) {
			*place = (uint32_t)ret->n;
			ARRAY_GROW(ret->rows, ret->cap, ret->n);
			ret->rows[ret->n++] = row;
		} else {
			free(row.name);
		}
		to = &ret->rows[*place];
		heap_totals_add(&to->totals, &g->totals);
		if (g->oldest_ns && (!to->oldest_ns || g->oldest_ns < to->oldest_ns))
			to->oldest_ns = g->oldest_ns;
		if (g->newest_ns > to->newest_ns)
			to->newest_ns = g->newest_ns;
	}
	hashmap_release(&index);
	free(classes);
}

void rows_release(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->rows[i].name);
	free(r->rows);
	memset(r, 0, sizeof(*r));
}

/* ---- sorting ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	size_t offset; /* in struct heap_totals */
} columns[] = {
	{"peak", offsetof(struct heap_totals, peak_bytes)},
	{"allocated", offsetof(struct heap_totals, allocated_bytes)},
	{"calls", offsetof(struct heap_totals, alloc_calls)},
	{"live", offsetof(struct heap_totals, live_bytes)},
	{"leaked", offsetof(struct heap_totals, live_bytes)},
	{"blocks", offsetof(struct heap_totals, live_blocks)},
	{"temporary", offsetof(struct heap_totals, temporary_allocs)},
};

static uint64_t value_of(const struct row *r, size_t offset)
{
	return *(const uint64_t *)((const char *)&r->totals + offset);
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : x->key < y->key ? -1 : x->key > y->key;
}

static int by_column(const void *a, const void *b, void *arg)
{
	/* equal ones stay in one order whatever the sort algorithm */
	static const size_t ties[] = {offsetof(struct heap_totals, allocated_bytes),
				      offsetof(struct heap_totals, alloc_calls)};
	uint64_t x = value_of(a, *(size_t *)arg), y = value_of(b, *(size_t *)arg);

	for (size_t i = 0; x == y && i < COUNT_OF(ties); i++) {
		x = value_of(a, ties[i]);
		y = value_of(b, ties[i]);
	}
	if (x != y)
		return x < y ? 1 : -1;
	return by_name(a, b);
}

bool rows_sort(struct rows *r, const char *column)
{
	if (!strcmp(column, "name")) {
		if (r->n)
			qsort(r->rows, r->n, sizeof(*r->rows), by_name);
		return true;
	}
	for (size_t i = 0; i < COUNT_OF(columns); i++) {
		size_t offset = columns[i].offset;

		if (strcmp(columns[i].name, column))
			continue;
		if (r->n)
			qsort_r(r->rows, r->n, sizeof(*r->rows), by_column, &offset);
		return true;
	}
	return false;
}
