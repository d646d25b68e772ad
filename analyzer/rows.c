/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/own.h"
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
	[ROWS_BY_SOURCE_LINE] = {"", GROUP_STACK},
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
		if (!*name || strcmp(ways[i].name, name))
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

char *place_where(const struct catalog *c, const struct catalog_frame *f)
{
	const char *module = catalog_module_path(c, f->module);

	if (f->function && f->file)
		return xasprintf("%s:%" PRIu32, path_base(f->file), f->line);
	return f->function && module ? xstrdup(path_base(module)) : NULL;
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

/* A row for a group that is no stack's, with all but its totals. */
static struct row describe_group(const struct catalog *c, enum rows_by by, const struct group *g)
{
	struct row row = {.key = g->key};

	if (by == ROWS_BY_THREAD) {
		const struct thread_record none = {0};
		const struct thread_record *t = g->key < c->n_threads ? &c->threads[g->key] : &none;

		row.tid = t->tid;
		if (g->key == THREAD_OF_BEFORE)
			row.name = xstrdup("[from before]");
		else
			row.name = t->name && t->name[0] ? xasprintf("%s (%d)", t->name, t->tid)
							 : xasprintf("%d", t->tid);
	} else if (by == ROWS_BY_SIZE) {
		row.name = size_name(g->key);
	} else {
		row.name = xstrdup(g->key < c->n_families && c->families[g->key].name
					   ? c->families[g->key].name
					   : "[unknown]");
	}
	return row;
}

/* The same for a frame of stacks. */
static struct row describe_frame(const struct catalog *c, enum rows_by by, struct frame_id frame)
{
	const struct catalog_frame *f = catalog_frame(c, frame);
	const char *module = catalog_module_path(c, f->module);
	struct row row = {.module = f->module};

	switch (by) {
	case ROWS_BY_FILE:
	case ROWS_BY_MODULE:
		row.file = by == ROWS_BY_FILE ? f->file : NULL;
		row.name = xstrdup(row.file ? row.file : module ? path_base(module) : "[unknown]");
		break;
	case ROWS_BY_FUNCTION:
		row.function = f->function;
		row.name = f->function ? xstrdup(f->function)
				       : xasprintf("[%s]", module ? path_base(module) : "unknown");
		break;
	default:
		row.function = f->function;
		row.file = f->file;
		row.line = f->line;
		row.offset = f->offset;
		row.name = by == ROWS_BY_LINE && f->file && f->function
				   ? xasprintf("%s:%" PRIu32 " %s", path_base(f->file), f->line,
					       f->function)
				   : place_name(c, f);
		break;
	}
	return row;
}

struct making {
	struct rows *rows;
	const struct own *own;
	const struct catalog *catalog;
	enum rows_by by;
	uint32_t *classes; /* frames that read the same */
	struct hashmap index;
	size_t *last_group; /* [row] the last that was added to it, + 1 */
	size_t cap_last;
};

/* Frames of equal identity are one row. */
static uint64_t identity_of_frame(const struct making *m, struct frame_id frame)
{
	const struct catalog_frame *f = catalog_frame(m->catalog, frame);

	switch (m->by) {
	case ROWS_BY_FILE:
		if (f->file) /* in whatever modules it is */
			return hash_bytes(f->file, strlen(f->file));
		/* fall through */
	case ROWS_BY_MODULE:
		return f->module.v;
	case ROWS_BY_SOURCE_LINE:
		return f->file ? hash_bytes(f->file, strlen(f->file)) ^ hash_u64(f->line) : 0;
	case ROWS_BY_FUNCTION:
		return (uint64_t)f->module.v << 32 ^
		       (f->function ? hash_bytes(f->function, strlen(f->function)) : 0);
	default:
		return frame.v < m->catalog->n_frames ? m->classes[frame.v] : 0;
	}
}

/* The row of that identity; *@ret_is_new: it is to be described. */
static struct row *row_of(struct making *m, uint64_t identity, bool *ret_is_new)
{
	uint32_t *place = hashmap_put(&m->index, identity);
	struct rows *rows = m->rows;

	*ret_is_new = *place == HASHMAP_NONE;
	if (*ret_is_new) {
		*place = (uint32_t)rows->n;
		ARRAY_GROW(rows->rows, rows->cap, rows->n);
		ARRAY_GROW(m->last_group, m->cap_last, rows->n);
		m->last_group[rows->n++] = 0;
	}
	return &rows->rows[*place];
}

static struct row *row_of_frame(struct making *m, uint64_t identity, struct frame_id frame)
{
	bool is_new;
	struct row *row = row_of(m, identity, &is_new);

	if (is_new)
		*row = describe_frame(m->catalog, m->by, frame);
	else if (row->module.v != catalog_frame(m->catalog, frame)->module.v)
		row->module.v = 0; /* it is in several */
	return row;
}

static struct row *row_of_group(struct making *m, const struct group *g)
{
	bool is_new;
	struct row *row = row_of(m, g->key, &is_new);

	if (is_new)
		*row = describe_group(m->catalog, m->by, g);
	return row;
}

static void add_group(struct making *m, struct row *to, const struct group *g, size_t number)
{
	size_t *last = &m->last_group[to - m->rows->rows];

	m->rows->of_groups[number] = (uint32_t)(to - m->rows->rows);
	if (*last == number + 1)
		return; /* a function that is twice on a stack counts once */
	*last = number + 1;
	heap_totals_add(&to->totals, &g->totals);
	if (g->oldest_ns && (!to->oldest_ns || g->oldest_ns < to->oldest_ns))
		to->oldest_ns = g->oldest_ns;
	if (g->newest_ns > to->newest_ns)
		to->newest_ns = g->newest_ns;
}

/* The rows of all frames on the stack. */
static void add_inclusive(struct making *m, const struct group *g, size_t number)
{
	struct stack_walk w;

	stacks_walk(m->catalog, (struct stack_id){(uint32_t)g->key}, &w);
	for (size_t i = 0; i < w.n; i++)
		add_group(m, row_of_frame(m, identity_of_frame(m, w.frames[i]), w.frames[i]), g,
			  number);
}

static void add_stack(struct making *m, const struct group *g, size_t number, bool inclusive)
{
	struct stack_id id = {(uint32_t)g->key};
	struct frame_id own = own_of_stack(m->own, id);
	uint64_t identity;
	struct row *row;

	if (inclusive && own.v) {
		add_inclusive(m, g, number);
		return;
	}
	identity = m->by == ROWS_BY_STACK ? own_stack_identity(m->own, id)
					  : identity_of_frame(m, own);
	row = row_of_frame(m, identity, own);
	if (m->by == ROWS_BY_STACK && !row->stack.v)
		row->stack = id;
	add_group(m, row, g, number);
}

void rows_make(struct rows *ret, const struct catalog *c, const struct analysis *a,
	       const struct own *own, enum rows_by by, bool inclusive)
{
	struct making m = {.rows = ret, .own = own, .catalog = c, .by = by};

	memset(ret, 0, sizeof(*ret));
	ret->of_groups = xcalloc(a->n_groups + 1, sizeof(*ret->of_groups));
	if (by == ROWS_BY_LINE)
		m.classes = stacks_classify_frames(c);
	for (size_t i = 0; i < a->n_groups; i++) {
		const struct group *g = &a->groups[i];

		if (rows_group_key(by) == GROUP_STACK)
			add_stack(&m, g, i, inclusive);
		else
			add_group(&m, row_of_group(&m, g), g, i);
	}
	hashmap_release(&m.index);
	free(m.last_group);
	free(m.classes);
}

/* The last @n parts of a path. */
static const char *last_parts(const char *path, size_t n)
{
	const char *p = path + strlen(path);

	while (p > path && (p[-1] != '/' || --n))
		p--;
	return p;
}

/* Each takes one part more until no other ends alike. */
void rows_shorten_files(struct rows *r)
{
	size_t *parts = xcalloc(r->n + 1, sizeof(*parts)), longer = 1;

	for (size_t i = 0; i < r->n; i++)
		parts[i] = 1;
	for (size_t round = 1; longer && round < 64; round++) {
		struct hashmap ends = {0};

		longer = 0;
		for (size_t i = 0; i < r->n; i++) {
			const char *end = r->rows[i].file ? last_parts(r->rows[i].file, parts[i])
							  : "";
			uint32_t *first = hashmap_put(&ends, hash_bytes(end, strlen(end)));

			if (!*end || *first == HASHMAP_NONE) {
				*first = (uint32_t)i;
				continue;
			}
			longer += parts[i]++ == round;
			if (parts[*first] == round) {
				parts[*first]++;
				longer++;
			}
		}
		hashmap_release(&ends);
	}
	for (size_t i = 0; i < r->n; i++) {
		const struct row *row = &r->rows[i];
		const char *end;

		if (!row->file || strcmp(row->name, row->file))
			continue;
		free(r->rows[i].name);
		end = last_parts(row->file, parts[i]);
		r->rows[i].name = xstrdup(*end ? end : row->file);
	}
	free(parts);
}

void rows_release(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->rows[i].name);
	free(r->rows);
	free(r->of_groups);
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
