/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "analyzer/stacks.h"
#include "common/buffer.h"
#include "common/format.h"
#include "common/xalloc.h"

/* ---- columns ------------------------------------------------------------------------ */

enum { HEAP_LIVE, HEAP_SHARE, HEAP_PEAK, HEAP_ALLOCATED, HEAP_CALLS, HEAP_BLOCKS, HEAP_TEMPORARY };

/* Of countable things their number comes first: few have a size; where none has, it is hidden. */
static const struct column heap_columns[2][7] = {
#define HEAP_COLUMNS(calls_title, blocks_title, live, share, peak, allocated, calls, blocks, \
		     temporary) \
	{ \
		[HEAP_LIVE] = {"LIVE", COLUMN_BYTES, 9, live}, \
		[HEAP_SHARE] = {"    %", COLUMN_SHARE, 14, share}, \
		[HEAP_PEAK] = {"PEAK", COLUMN_BYTES, 9, peak}, \
		[HEAP_ALLOCATED] = {"ALLOCATED", COLUMN_BYTES, 10, allocated}, \
		[HEAP_CALLS] = {calls_title, COLUMN_COUNT, 11, calls}, \
		[HEAP_BLOCKS] = {blocks_title, COLUMN_COUNT, 10, blocks}, \
		[HEAP_TEMPORARY] = {"TEMPORARY", COLUMN_COUNT, 10, temporary}, \
	}
	[false] = HEAP_COLUMNS("CALLS", "BLOCKS", 0, 2, 1, 3, 4, 5, 6),
	[true] = HEAP_COLUMNS("ACQUIRED", "BALANCE", 4, 2, 5, 6, 1, 0, 3),
#undef HEAP_COLUMNS
};

static const size_t heap_offsets[] = {
	[HEAP_LIVE] = offsetof(struct heap_totals, live_bytes),
	[HEAP_SHARE] = offsetof(struct heap_totals, live_bytes),
	[HEAP_PEAK] = offsetof(struct heap_totals, peak_bytes),
	[HEAP_ALLOCATED] = offsetof(struct heap_totals, allocated_bytes),
	[HEAP_CALLS] = offsetof(struct heap_totals, alloc_calls),
	[HEAP_BLOCKS] = offsetof(struct heap_totals, live_blocks),
	[HEAP_TEMPORARY] = offsetof(struct heap_totals, temporary_allocs),
};

enum { LEAK_BYTES, LEAK_SHARE, LEAK_BLOCKS, LEAK_OLDEST, LEAK_NEWEST };

/* "Leaked" only where the process's exit was seen; and of countable things (2 on). */
static const struct column leak_columns[4][5] = {
#define LEAK_COLUMNS(name, blocks_title, bytes, blocks, newest) \
	{ \
		[LEAK_BYTES] = {name, COLUMN_BYTES, 9, bytes}, \
		[LEAK_SHARE] = {"    %", COLUMN_SHARE, 14, 2}, \
		[LEAK_BLOCKS] = {blocks_title, COLUMN_COUNT, 10, blocks}, \
		[LEAK_OLDEST] = {"OLDEST", COLUMN_TIME, 11, 3}, \
		[LEAK_NEWEST] = {"NEWEST", COLUMN_TIME, 11, newest}, \
	}
	LEAK_COLUMNS("UNFREED", "BLOCKS", 0, 1, 4),
	LEAK_COLUMNS("LEAKED", "BLOCKS", 0, 1, 4),
	LEAK_COLUMNS("UNFREED", "BALANCE", 4, 0, 1),
	LEAK_COLUMNS("LEAKED", "BALANCE", 4, 0, 1),
#undef LEAK_COLUMNS
};

enum { BLOCK_SIZE, BLOCK_USABLE, BLOCK_AGE, BLOCK_ADDRESS, BLOCK_THREAD };

static const struct column block_columns[] = {
	[BLOCK_SIZE] = {"SIZE", COLUMN_BYTES, 9, 0},
	[BLOCK_USABLE] = {"USABLE", COLUMN_BYTES, 9, 4},
	[BLOCK_AGE] = {"AGE", COLUMN_TIME, 11, 1},
	[BLOCK_ADDRESS] = {"ADDRESS", COLUMN_ADDRESS, 14, 2},
	[BLOCK_THREAD] = {"THREAD", COLUMN_NUMBER, 8, 3},
};

size_t page_total_offset(const struct page *p)
{
	return p->state.sort >= 0 && (size_t)p->state.sort < COUNT_OF(heap_offsets)
		       ? heap_offsets[p->state.sort]
		       : heap_offsets[HEAP_LIVE];
}

static uint64_t total_at(const struct heap_totals *t, size_t offset)
{
	return *(const uint64_t *)((const char *)t + offset);
}

bool page_lacks_bytes(const struct ui *u, const struct heap_totals *all)
{
	return history_is_counted(u->history) && !all->allocated_bytes;
}

void page_use_heap_columns(const struct ui *u, struct table *t, const struct heap_totals *totals,
			   const char *title)
{
	t->columns = heap_columns[history_is_counted(u->history)];
	if (page_lacks_bytes(u, totals))
		t->hidden = 1u << HEAP_LIVE | 1u << HEAP_PEAK | 1u << HEAP_ALLOCATED;
	t->n_columns = COUNT_OF(heap_offsets);
	t->text_title = title;
	for (size_t i = 0; i < COUNT_OF(heap_offsets); i++)
		t->totals[i] = i == HEAP_SHARE ? 0 : total_at(totals, heap_offsets[i]);
}

void page_put_heap_values(struct table_row *r, const struct heap_totals *totals)
{
	for (size_t i = 0; i < COUNT_OF(heap_offsets); i++)
		r->values[i] = total_at(totals, heap_offsets[i]);
}

/* ---- scopes ------------------------------------------------------------------------- */

void scope_release(struct scope *s)
{
	free(s->file);
	free(s->function);
	memset(s, 0, sizeof(*s));
}

void scope_copy(struct scope *to, const struct scope *from)
{
	*to = *from;
	to->file = from->file ? xstrdup(from->file) : NULL;
	to->function = from->function ? xstrdup(from->function) : NULL;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool has_frame(const struct scope *s, const struct catalog_frame *f)
{
	switch (s->kind) {
	case SCOPE_FILE:
		return same(s->file, f->file) && (s->file || s->module.v == f->module.v);
	case SCOPE_FUNCTION:
		return same(s->function, f->function) && s->module.v == f->module.v;
	case SCOPE_LINE:
		return same(s->file, f->file) && s->line == f->line &&
		       same(s->function, f->function);
	default:
		return true;
	}
}

bool scope_has_stack(const struct ui *u, const struct scope *s, struct stack_id stack)
{
	switch (s->kind) {
	case SCOPE_STACK:
		return own_stack_identity(&u->own, stack) == s->key;
	case SCOPE_FILE:
	case SCOPE_FUNCTION:
	case SCOPE_LINE:
		return has_frame(s, catalog_frame(history_catalog(u->history),
						  own_of_stack(&u->own, stack)));
	default:
		return true;
	}
}

/* What scope_has_stack() says of stacks with that own frame: names are compared once only. */
struct scope_frames {
	uint8_t *said; /* [frame] 0: nobody has asked */
};

static bool scope_has_stack_of(const struct ui *u, const struct scope *s, struct stack_id stack,
			       struct scope_frames *known)
{
	struct frame_id own;

	if (s->kind != SCOPE_FILE && s->kind != SCOPE_FUNCTION && s->kind != SCOPE_LINE)
		return scope_has_stack(u, s, stack);
	own = own_of_stack(&u->own, stack);
	if (!known->said)
		known->said = xcalloc(history_catalog(u->history)->n_frames + 1, 1);
	if (!known->said[own.v])
		known->said[own.v] = scope_has_stack(u, s, stack) ? 2 : 1;
	return known->said[own.v] == 2;
}

char *scope_text(const struct ui *u, const struct scope *s)
{
	const char *module = catalog_module_path(history_catalog(u->history), s->module);

	switch (s->kind) {
	case SCOPE_FILE:
		return xstrdup(s->file ? s->file : module ? module : "[unknown]");
	case SCOPE_FUNCTION:
		return s->function ? xstrdup(s->function)
				   : xasprintf("[%s]", module ? path_base(module) : "unknown");
	case SCOPE_LINE:
		return s->file ? xasprintf("%s:%" PRIu32 " %s", path_base(s->file), s->line,
					   s->function ? s->function : "")
			       : xstrdup(s->function ? s->function : "[unknown]");
	case SCOPE_STACK:
		return xstrdup(s->function ? s->function : "one call stack");
	case SCOPE_THREAD:
	case SCOPE_SIZE:
		return xstrdup(s->function ? s->function : "");
	case SCOPE_PINNED:
		return xasprintf("mostly empty, kept by %s", s->function ? s->function : "?");
	case SCOPE_PAGES:
		return xasprintf("0x%" PRIx64 " to 0x%" PRIx64, s->key, s->end);
	case SCOPE_ALL:
		break;
	}
	return xstrdup("all");
}

/* The groups by stack that are in the scope; to be freed. */
static struct group *groups_in(const struct ui *u, const struct scope *s, const struct analysis *a,
			       size_t *ret_n)
{
	struct group *groups = xcalloc(a->n_groups + 1, sizeof(*groups));
	struct scope_frames frames = {0};

	*ret_n = 0;
	for (size_t i = 0; i < a->n_groups; i++)
		if (scope_has_stack_of(u, s, (struct stack_id){(uint32_t)a->groups[i].key},
				       &frames))
			groups[(*ret_n)++] = a->groups[i];
	free(frames.said);
	return groups;
}

/* ---- rows of the report ------------------------------------------------------------- */

/* Whatever has nothing to show in any column is left out. */
static bool has_any(const struct heap_totals *t)
{
	return t->alloc_calls || t->live_blocks || t->peak_bytes;
}

static uint64_t key_of_row(const struct row *r, enum rows_by by)
{
	uint64_t key = hash_u64(r->key + 1) ^ hash_bytes(r->name, strlen(r->name));

	/* the first stack of those that read the same is the same as long as it grows */
	if (by == ROWS_BY_STACK)
		key ^= hash_u64(r->stack.v);
	return key ^ hash_u64((uint64_t)r->module.v << 32 | r->line);
}

/* What is less important of a row, behind its name; to be freed. */
static char *detail_of(const struct catalog *c, const struct row *r, enum rows_by by)
{
	const char *module = catalog_module_path(c, r->module);

	switch (by) {
	case ROWS_BY_FILE:
		return r->file || !module ? NULL : xstrdup("without line information");
	case ROWS_BY_FUNCTION:
	case ROWS_BY_LINE:
		return module && r->function ? xstrdup(path_base(module)) : NULL;
	default:
		return NULL;
	}
}

static void make_rows(struct ui *u, struct page *p, enum rows_by by, const char *title)
{
	const struct catalog *c = history_catalog(u->history);
	struct analysis all, part;
	struct rows *rows = &p->rows;
	struct group *groups = NULL;

	history_analysis(u->history, rows_group_key(by), false, &all);
	part = all;
	if (p->scope.kind != SCOPE_ALL && rows_group_key(by) == GROUP_STACK)
		part.groups = groups = groups_in(u, &p->scope, &all, &part.n_groups);
	rows_make(rows, c, &part, &u->own, by, false);
	rows_shorten_files(rows);
	page_use_heap_columns(u, &p->table, &all.totals, title);
	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->rows[i];
		struct table_row *t;

		if (!has_any(&r->totals))
			continue;
		t = table_add(&p->table, xstrdup(r->name));
		t->key = key_of_row(r, by);
		page_put_heap_values(t, &r->totals);
		t->detail = detail_of(c, r, by);
		t->item = (uint32_t)i;
	}
	free(groups);
}

static void make_files(struct ui *u, struct page *p)
{
	make_rows(u, p, ROWS_BY_FILE, "FILE");
}

static void make_functions(struct ui *u, struct page *p)
{
	make_rows(u, p, ROWS_BY_FUNCTION, "FUNCTION");
}

static void make_lines(struct ui *u, struct page *p)
{
	make_rows(u, p, ROWS_BY_LINE, "LINE");
}

static void make_threads(struct ui *u, struct page *p)
{
	make_rows(u, p, ROWS_BY_THREAD, "THREAD");
}

static int by_key(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* A histogram: the classes in their order. */
static void make_sizes(struct ui *u, struct page *p)
{
	struct rows *rows = &p->rows;
	struct analysis a;

	history_analysis(u->history, GROUP_SIZE, false, &a);
	rows_make(rows, history_catalog(u->history), &a, &u->own, ROWS_BY_SIZE, false);
	page_use_heap_columns(u, &p->table, &a.totals, "SIZE");
	p->table.is_ordered = true;
	if (rows->n)
		qsort(rows->rows, rows->n, sizeof(*rows->rows), by_key);
	for (size_t i = 0; i < rows->n; i++) {
		struct table_row *t = table_add(&p->table, xstrdup(rows->rows[i].name));

		t->key = rows->rows[i].key;
		t->item = (uint32_t)i;
		page_put_heap_values(t, &rows->rows[i].totals);
	}
}

/* ---- stacks ------------------------------------------------------------------------- */

/* The first that was shown of those that read the same. */
static struct stack_id first_alike(struct ui *u, struct stack_id id)
{
	struct stack_texts *t = u->texts;
	uint32_t *place;

	if (id.v >= history_catalog(u->history)->n_stacks)
		return id;
	ARRAY_GROW(t->alike, t->cap_alike, id.v);
	if (!t->alike[id.v]) {
		place = hashmap_put(&t->identities, own_stack_identity(&u->own, id));
		if (*place == HASHMAP_NONE)
			*place = id.v;
		t->alike[id.v] = *place + 1;
	}
	return (struct stack_id){t->alike[id.v] - 1};
}

/* Groups by stack, those that read the same together: their keys are their first stacks'. */
struct alike {
	struct group *groups;
	size_t n;
};

static struct group *find_alike(const struct alike *a, struct stack_texts *t, struct stack_id id)
{
	uint32_t place;

	ARRAY_GROW(t->places, t->cap_places, id.v);
	place = t->places[id.v]; /* of now, or of when groups were made before */
	if (place < a->n && a->groups[place].key == id.v)
		return &a->groups[place];
	t->places[id.v] = (uint32_t)a->n;
	return NULL;
}

static void add_alike(struct ui *u, struct alike *a, struct stack_id id, const struct group *g)
{
	bool is_known = id.v < history_catalog(u->history)->n_stacks;
	struct group *to = is_known ? find_alike(a, u->texts, id) : NULL;

	if (!to) {
		a->groups[a->n] = *g;
		a->groups[a->n++].key = id.v;
		return;
	}
	heap_totals_add(&to->totals, &g->totals);
	if (g->oldest_ns && (!to->oldest_ns || g->oldest_ns < to->oldest_ns))
		to->oldest_ns = g->oldest_ns;
	if (g->newest_ns > to->newest_ns)
		to->newest_ns = g->newest_ns;
}

static struct alike groups_alike(struct ui *u, const struct scope *s, const struct analysis *a)
{
	struct alike ret = {xmalloc((a->n_groups + 1) * sizeof(*ret.groups)), 0};
	struct scope_frames frames = {0};

	for (size_t i = 0; i < a->n_groups; i++) {
		struct stack_id id = {(uint32_t)a->groups[i].key};

		if (has_any(&a->groups[i].totals) && scope_has_stack_of(u, s, id, &frames))
			add_alike(u, &ret, first_alike(u, id), &a->groups[i]);
	}
	free(frames.said);
	return ret;
}

static void make_leaks(struct ui *u, struct page *p)
{
	uint64_t now = history_now_ns(u->history);
	struct analysis a;
	struct alike rows;
	bool has_ended, counted = history_is_counted(u->history);

	history_analysis(u->history, GROUP_STACK, true, &a);
	rows = groups_alike(u, &p->scope, &a);
	has_ended = history_shows_end(u->history) &&
		    catalog_number(history_catalog(u->history), "exited", 0);
	p->table.columns = leak_columns[2 * counted + has_ended];
	p->table.n_columns = COUNT_OF(leak_columns[0]);
	p->table.hidden = page_lacks_bytes(u, &a.totals) ? 1u << LEAK_BYTES : 0;
	stack_texts_use(u, &p->table, counted ? "ACQUIRED BY" : "ALLOCATED BY");
	p->table.totals[LEAK_BYTES] = a.totals.live_bytes;
	p->table.totals[LEAK_BLOCKS] = a.totals.live_blocks;
	p->table.empty = counted ? "everything has been released" : "every block has been freed";
	for (size_t i = 0; i < rows.n; i++) {
		const struct group *g = &rows.groups[i];
		struct table_row *t;

		if (!g->totals.live_blocks)
			continue;
		t = table_add(&p->table, NULL);
		t->key = t->item = (uint32_t)g->key;
		t->values[LEAK_BYTES] = g->totals.live_bytes;
		t->values[LEAK_BLOCKS] = g->totals.live_blocks;
		t->values[LEAK_OLDEST] = now > g->oldest_ns ? now - g->oldest_ns : 0;
		t->values[LEAK_NEWEST] = now > g->newest_ns ? now - g->newest_ns : 0;
	}
	free(rows.groups);
}

static void make_stacks(struct ui *u, struct page *p)
{
	struct analysis a;
	struct alike rows;

	history_analysis(u->history, GROUP_STACK, false, &a);
	rows = groups_alike(u, &p->scope, &a);
	page_use_heap_columns(u, &p->table, &a.totals, "");
	stack_texts_use(u, &p->table, "CALL STACK");
	table_expect(&p->table, rows.n);
	for (size_t i = 0; i < rows.n; i++) {
		struct table_row *t = table_add(&p->table, NULL);

		t->key = t->item = (uint32_t)rows.groups[i].key;
		page_put_heap_values(t, &rows.groups[i].totals);
	}
	free(rows.groups);
}

/* The frames of one stack. */
static void make_stack(struct ui *u, struct page *p)
{
	const struct catalog *c = history_catalog(u->history);
	struct table *t = &p->table;
	struct stack_walk w;
	struct table_row *row;

	stacks_walk(c, p->scope.stack, &w);
	t->is_ordered = true;
	t->text_title = "CALLED (innermost first)";
	for (size_t i = 0; i < w.n; i++) {
		const struct catalog_frame *f = catalog_frame(c, w.frames[i]);
		const char *module = catalog_module_path(c, f->module);
		char *name = place_name(c, f), *place = place_where(c, f);

		row = table_add(t, xasprintf("%s%s%s%s", name, f->is_inlined ? " (inlined)" : "",
					     place ? "  " : "", place ? place : ""));
		row->detail = f->file && module ? xstrdup(path_base(module)) : NULL;
		row->key = i + 1;
		row->item = w.frames[i].v;
		row->style = own_skips(&u->own, w.frames[i]) ? STYLE_DIM
			     : i == own_frame(&u->own, &w)   ? STYLE_STRONG
							     : STYLE_TEXT;
		free(name);
		free(place);
	}
	if (w.end == STACK_COMPLETE)
		return;
	row = table_add(t, xasprintf("(the stack is not complete: %s)", stacks_end_text(w.end)));
	row->style = STYLE_BAD;
}

/* ---- blocks ------------------------------------------------------------------------- */

static void put_block(const struct ui *u, struct page *p, const struct replay_block *b)
{
	const struct catalog *c = history_catalog(u->history);
	uint64_t now = history_now_ns(u->history);
	struct table_row *r = table_add(&p->table, NULL);

	r->key = b->address;
	r->item = b->stack.v;
	r->values[BLOCK_SIZE] = b->size;
	r->values[BLOCK_USABLE] = b->usable == USABLE_UNKNOWN ? TABLE_NO_VALUE : b->usable;
	r->values[BLOCK_AGE] = now > b->t_ns ? now - b->t_ns : 0;
	r->values[BLOCK_ADDRESS] = b->address;
	if (b->thread.v < c->n_threads)
		r->values[BLOCK_THREAD] = (uint64_t)c->threads[b->thread.v].tid;
}

static void make_blocks(struct ui *u, struct page *p)
{
	const struct replay *replay = history_replay(u->history);
	uint8_t layer = history_layer(u->history);
	const struct scope *s = &p->scope;
	struct scope_frames frames = {0};
	struct replay_block b;
	size_t at = 0;

	p->table.columns = block_columns;
	p->table.n_columns = COUNT_OF(block_columns);
	stack_texts_use(u, &p->table, "ALLOCATED BY");
	p->table.text_columns = 0;
	p->table.empty = "no block of these is live at this moment";
	while (replay_next_live(replay, &at, &b)) {
		if (b.t_ns < history_since_ns(u->history) ||
		    replay_layer_of(&replay->layers, b.family) != layer ||
		    (s->kind == SCOPE_THREAD && b.thread.v != s->key) ||
		    (s->kind == SCOPE_SIZE && size_class(b.size) != s->key))
			continue;
		if (scope_has_stack_of(u, s, b.stack, &frames))
			put_block(u, p, &b);
	}
	free(frames.said);
}

/* ---- help --------------------------------------------------------------------------- */

static void make_help(struct ui *u, struct page *p)
{
	struct table *t = &p->table;

	t->is_ordered = true;
	t->text_title = "KEYS";
	for (size_t i = 0; i < n_keys; i++) {
		const struct key *k = &keys[i];
		char names[64] = "", name[16];
		struct table_row *r;

		if (k->is_useful == layers_are_several && !layers_are_several(u))
			continue; /* most recordings know nothing of layers */
		for (size_t j = 0; j < COUNT_OF(k->keys) && k->keys[j]; j++)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 j ? "  " : "", input_name(name, k->keys[j]));
		r = table_add(t, xasprintf("%-18s %s", names, k->help));
		r->key = i + 1;
		r->style = k->is_useful && !k->is_useful(u) ? STYLE_DIM : STYLE_TEXT;
	}
}

/* ---- the table of views ------------------------------------------------------------- */

const struct view views[VIEWS] = {
	[VIEW_OVERVIEW] = {"Overview", NULL, make_files, HEAP_PEAK, HEAP_CALLS},
	[VIEW_FILES] = {"Files", NULL, make_files, HEAP_PEAK, HEAP_CALLS},
	[VIEW_FUNCTIONS] = {"Functions", NULL, make_functions, HEAP_PEAK, HEAP_CALLS},
	[VIEW_TREE] = {"Tree", NULL, tree_make, HEAP_PEAK, HEAP_CALLS},
	[VIEW_FLAME] = {"Flame", NULL, flame_make, HEAP_PEAK, HEAP_CALLS},
	[VIEW_LEAKS] = {"Leaks", NULL, make_leaks, LEAK_BYTES, LEAK_BLOCKS, true},
	[VIEW_SIZES] = {"Sizes", NULL, make_sizes, HEAP_ALLOCATED, HEAP_CALLS},
	[VIEW_THREADS] = {"Threads", NULL, make_threads, HEAP_ALLOCATED, HEAP_CALLS},
	[VIEW_FRAG] = {"Frag", NULL, frag_make, 0, 0},
	[VIEW_GROWTH] = {"Growth", NULL, growth_make, 0, 0, .needs_growth = true},
	[VIEW_LINES] = {"Lines", "Lines", make_lines, HEAP_PEAK, HEAP_CALLS},
	[VIEW_SOURCE] = {"Source", "Source", source_make, HEAP_PEAK, HEAP_CALLS},
	[VIEW_STACKS] = {"Stacks", "Call stacks", make_stacks, HEAP_PEAK, HEAP_CALLS},
	[VIEW_STACK] = {"Stack", "Call stack", make_stack, TABLE_SORT_TEXT,
			TABLE_SORT_TEXT},
	[VIEW_BLOCKS] = {"Blocks", "Live blocks", make_blocks, BLOCK_SIZE, BLOCK_AGE,
			 true},
	[VIEW_MAP] = {"Map", "The heap by address", heap_map_make, 0, 0},
	[VIEW_PAGES] = {"Pages", "Pages", frag_make_pages, 0, 0},
	[VIEW_PAGE] = {"Page", "Live blocks of a page", frag_make_page, 0, 0},
	[VIEW_HELP] = {"Help", "Help", make_help, TABLE_SORT_TEXT, TABLE_SORT_TEXT},
};

void page_init(struct page *p, enum view_kind view, const struct scope *scope, bool counted)
{
	memset(p, 0, sizeof(*p));
	p->view = view;
	p->state.sort = view_sort(view, counted);
	if (scope)
		scope_copy(&p->scope, scope);
}

void page_release(struct page *p)
{
	table_release(&p->table);
	rows_release(&p->rows);
	table_state_release(&p->state);
	hashmap_release(&p->open);
	scope_release(&p->scope);
	growth_words_free(p->words);
	p->words = NULL;
	free(p->note);
	p->note = NULL;
}

void page_arrange(struct page *p)
{
	if (p->view == VIEW_TREE || p->view == VIEW_FLAME)
		p->version = 0; /* the order is the tree's */
	else
		table_arrange(&p->table, &p->state);
}

void page_make(struct ui *u, struct page *p)
{
	uint64_t version = history_version(u->history) + 1;

	if (p->version == version && !tree_is_stale(p))
		return;
	p->version = version;
	table_release(&p->table);
	rows_release(&p->rows);
	free(p->note);
	p->note = NULL;
	views[p->view].make(u, p);
	table_arrange(&p->table, &p->state);
}

/* ---- from a row to what is behind it ------------------------------------------------- */

static void scope_of_stack(const struct ui *u, struct stack_id stack, struct scope *ret)
{
	*ret = (struct scope){.kind = SCOPE_STACK,
			      .stack = stack,
			      .key = own_stack_identity(&u->own, stack),
			      .function = stack_texts_get(u, stack)};
}

bool page_scope_of_row(struct ui *u, struct page *p, const struct table_row *row,
		       struct scope *ret)
{
	static const enum scope_kind kinds[VIEWS] = {
		[VIEW_OVERVIEW] = SCOPE_FILE,	  [VIEW_FILES] = SCOPE_FILE,
		[VIEW_FUNCTIONS] = SCOPE_FUNCTION, [VIEW_LINES] = SCOPE_LINE,
		[VIEW_THREADS] = SCOPE_THREAD,	  [VIEW_SIZES] = SCOPE_SIZE,
	};

	memset(ret, 0, sizeof(*ret));
	if (kinds[p->view] && row->item < p->rows.n) {
		const struct row *r = &p->rows.rows[row->item];
		bool has_name = p->view == VIEW_THREADS || p->view == VIEW_SIZES;
		const char *name = has_name ? r->name : r->function;

		*ret = (struct scope){.kind = kinds[p->view],
				      .file = r->file ? xstrdup(r->file) : NULL,
				      .function = name ? xstrdup(name) : NULL,
				      .module = r->module,
				      .line = r->line,
				      .key = r->key};
		return true;
	}
	switch (p->view) {
	case VIEW_LEAKS:
	case VIEW_GROWTH:
	case VIEW_STACKS:
	case VIEW_BLOCKS:
	case VIEW_FRAG:
	case VIEW_PAGE:
		scope_of_stack(u, (struct stack_id){row->item}, ret);
		return true;
	case VIEW_STACK:
		scope_copy(ret, &p->scope);
		return true;
	default:
		return false;
	}
}

bool page_drill(struct ui *u, struct page *p, const struct table_row *row,
		enum view_kind *ret_view, struct scope *ret_scope)
{
	static const enum view_kind next[VIEWS] = {
		[VIEW_OVERVIEW] = VIEW_LINES, [VIEW_FILES] = VIEW_LINES,
		[VIEW_FUNCTIONS] = VIEW_STACKS, [VIEW_LINES] = VIEW_SOURCE,
		[VIEW_LEAKS] = VIEW_STACK,	[VIEW_STACKS] = VIEW_STACK,
		[VIEW_THREADS] = VIEW_BLOCKS,	[VIEW_SIZES] = VIEW_BLOCKS,
		[VIEW_BLOCKS] = VIEW_STACK,	[VIEW_PAGE] = VIEW_STACK,
		[VIEW_GROWTH] = VIEW_STACK,
	};
	const struct catalog *c = history_catalog(u->history);

	if (p->view == VIEW_FRAG || p->view == VIEW_PAGES)
		return frag_drill(u, p, row, ret_view, ret_scope);
	if (p->view == VIEW_STACK) { /* the source of a frame */
		const struct catalog_frame *f = catalog_frame(c, (struct frame_id){row->item});

		if (!row->item || !f->file)
			return false;
		*ret_scope = (struct scope){.kind = SCOPE_LINE, .file = xstrdup(f->file),
					    .line = f->line, .module = f->module};
		*ret_view = VIEW_SOURCE;
		return true;
	}
	if (!next[p->view] || !page_scope_of_row(u, p, row, ret_scope))
		return false;
	*ret_view = next[p->view];
	/* without a source the call stacks say more */
	if (*ret_view == VIEW_SOURCE && !ret_scope->file)
		*ret_view = VIEW_STACKS;
	return true;
}
