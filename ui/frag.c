/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/format.h"
#include "common/xalloc.h"

/*
 * Fragmentation, by the last snapshot until the moment that is shown.  The blocks are those of
 * the snapshot's own moment, read for it from the recording: the page beside it may be of
 * another.
 */
struct frag {
	struct fragmentation_list list;
	uint64_t listed_ns; /* the end of the recording when the list was read */
	struct fragmentation_look look;
	uint64_t loaded_ns, catalog_version; /* when that was looked at, and by which names */
	bool has_look, was_listed;
	char why[sizeof(((struct err *)0)->what)]; /* it cannot be shown; or "" */
};

/* While it is recorded it is looked for new ones, and new names, so often. */
#define AGAIN_NS 1000000000ull

static void list_again(struct ui *u, struct frag *f)
{
	uint64_t end = history_end_ns(u->history);
	struct fragmentation_list list = {0};
	struct err err;

	if (f->was_listed && end < f->listed_ns + AGAIN_NS)
		return;
	f->was_listed = true;
	f->listed_ns = end;
	if (fragmentation_list_open(&list, u->history, &err)) {
		snprintf(f->why, sizeof(f->why), "%s", err.what);
		return;
	}
	fragmentation_list_release(&f->list);
	f->list = list;
	if (f->has_look)
		f->look.info.reason = ""; /* it was the other list's */
}

/* Is it that one, by names that are not older than need be? */
static bool is_loaded(const struct ui *u, const struct frag *f, uint64_t id)
{
	return f->has_look && f->look.info.id == id &&
	       (f->catalog_version == history_catalog_version(u->history) ||
		history_end_ns(u->history) < f->loaded_ns + AGAIN_NS);
}

/* The one that is to be shown is there then, if there is any. */
static struct frag *load(struct ui *u)
{
	const struct snapshot_info *info;
	struct frag *f;
	struct err err;
	size_t at;

	if (!u->frag)
		u->frag = xcalloc(1, sizeof(*u->frag));
	f = u->frag;
	f->why[0] = '\0';
	list_again(u, f);
	at = fragmentation_list_at(&f->list, history_now_ns(u->history));
	if (!f->list.n)
		return f;
	if (at == f->list.n)
		at = 0; /* the first one is later: that is said */
	info = &f->list.items[at];
	if (is_loaded(u, f, info->id))
		return f;
	if (f->has_look)
		fragmentation_look_release(&f->look);
	f->catalog_version = history_catalog_version(u->history);
	f->loaded_ns = history_end_ns(u->history);
	f->has_look = !fragmentation_look(&f->look, u->history, info, &u->own, &err);
	if (!f->has_look)
		snprintf(f->why, sizeof(f->why), "%s", err.what);
	return f;
}

const struct fragmentation_look *frag_look(const struct ui *u)
{
	return u->frag && u->frag->has_look ? &u->frag->look : NULL;
}

void frag_release(struct ui *u)
{
	if (!u->frag)
		return;
	if (u->frag->has_look)
		fragmentation_look_release(&u->frag->look);
	fragmentation_list_release(&u->frag->list);
	free(u->frag);
	u->frag = NULL;
}

/* ---- who pins ----------------------------------------------------------------------- */

enum { SITE_WASTED, SITE_SHARE, SITE_PAGES, SITE_SHARED, SITE_BLOCKS, SITE_BYTES, SITE_OLDEST };

static const struct column site_columns[] = {
	[SITE_WASTED] = {"WASTED", COLUMN_BYTES, 9, 0},
	[SITE_SHARE] = {"    %", COLUMN_SHARE, 14, 4},
	[SITE_PAGES] = {"PAGES", COLUMN_COUNT, 9, 1},
	[SITE_SHARED] = {"SHARED", COLUMN_COUNT, 8, 5},
	[SITE_BLOCKS] = {"BLOCKS", COLUMN_COUNT, 10, 2},
	[SITE_BYTES] = {"BYTES", COLUMN_BYTES, 9, 3},
	[SITE_OLDEST] = {"OLDEST", COLUMN_TIME, 11, 6},
};

static char *note_of(const struct ui *u, const struct frag *f)
{
	char text[FORMAT_MAX];
	uint64_t start = history_start_ns(u->history);

	if (f->why[0])
		return xstrdup(f->why);
	if (f->has_look && f->look.info.t_ns > history_now_ns(u->history))
		return xasprintf("the first snapshot is of %s",
				 format_duration(text, f->look.info.t_ns - start));
	if (f->has_look && f->look.unknown)
		return xasprintf("what is free is not known: %s", f->look.unknown);
	return NULL;
}

void frag_make(struct ui *u, struct page *p)
{
	const struct frag *f = load(u);
	const struct fragmentation *x = &f->look.f;
	uint64_t now = f->look.info.t_ns;

	p->table.columns = site_columns;
	p->table.n_columns = COUNT_OF(site_columns);
	stack_texts_use(u, &p->table, "WHO PINS MOSTLY EMPTY PAGES");
	p->table.empty = f->list.n ? "no page is mostly empty"
			 : u->options.command
				 ? "no snapshot was taken yet: S takes one"
				 : "no snapshot: record --frag-every takes some, or frag -p";
	p->note = note_of(u, f);
	if (!f->has_look)
		return;
	p->table.totals[SITE_WASTED] = x->pinned_wasted;
	for (size_t i = 0; i < x->n_sites; i++) {
		const struct fragmentation_site *s = &x->sites[i];
		struct table_row *r;

		if (!s->wasted && !s->shared_wasted)
			continue;
		r = table_add(&p->table, NULL);
		r->key = s->site + 1;
		r->item = s->stack.v;
		r->values[SITE_WASTED] = r->values[SITE_SHARE] = s->wasted + s->shared_wasted;
		r->values[SITE_PAGES] = s->pages;
		r->values[SITE_SHARED] = s->shared_pages;
		r->values[SITE_BLOCKS] = s->blocks;
		r->values[SITE_BYTES] = s->requested;
		r->values[SITE_OLDEST] = now > s->oldest_ns ? now - s->oldest_ns : 0;
	}
}

bool frag_drill(struct ui *u, struct page *p, const struct table_row *row,
		enum view_kind *ret_view, struct scope *ret_scope)
{
	memset(ret_scope, 0, sizeof(*ret_scope));
	if (p->view == VIEW_FRAG) {
		*ret_scope = (struct scope){
			.kind = SCOPE_PINNED,
			.key = row->key - 1,
			.function = stack_texts_get(u, (struct stack_id){row->item})};
		*ret_view = VIEW_PAGES;
		return true;
	}
	*ret_scope = (struct scope){.kind = SCOPE_PAGES, .key = row->key,
				    .end = row->key + SNAPSHOT_PAGE_BYTES};
	*ret_view = VIEW_PAGE;
	return true;
}

/* ---- the head ----------------------------------------------------------------------- */

static const struct {
	const char *text, *glyph;
	enum style style;
} shown_parts[] = {
	{"requested", "█", STYLE_ACCENT},
	{"rounding and headers", "▓", STYLE_TEXT},
	{"from before", "▓", STYLE_DIM},
	{"free inside", "▒", STYLE_BAD},
	{"free pages", "░", STYLE_BAD},
	{"not known", "?", STYLE_DIM},
	{"other memory", "·", STYLE_DIM},
};

static uint64_t shown_part(const struct fragmentation *f, size_t i)
{
	const uint64_t *p = f->parts;

	switch (i) {
	case 0:
		return p[PART_REQUESTED];
	case 1:
		return p[PART_ROUNDING] + p[PART_HEADERS];
	case 2:
		return p[PART_BEFORE];
	case 3:
		return p[PART_FREE_INSIDE];
	case 4:
		return p[PART_FREE_PAGES];
	case 5:
		return p[PART_UNKNOWN];
	default:
		return f->rss > f->heap_resident ? f->rss - f->heap_resident : 0;
	}
}

static void draw_bar(const struct fragmentation *f, struct canvas *c, struct box b, int row)
{
	uint64_t sum = 0;
	int at = 0;

	for (size_t i = 0; i < COUNT_OF(shown_parts); i++) {
		int end;

		sum += shown_part(f, i);
		end = (int)((double)sum / (double)(f->rss ? f->rss : 1) * b.cols + 0.5);
		end = end > b.cols ? b.cols : end;
		canvas_fill(c, row, b.col + at, end - at, shown_parts[i].glyph,
			    shown_parts[i].style);
		at = end > at ? end : at;
	}
}

/* Each part with its sign; two lines where one has no room. */
static int draw_legend(const struct fragmentation *f, struct canvas *c, struct box b, int row)
{
	int col = b.col, rows = 1;

	for (size_t i = 0; i < COUNT_OF(shown_parts); i++) {
		char bytes[FORMAT_MAX], text[FORMAT_MAX + 40];
		uint64_t n = shown_part(f, i);

		if (!n)
			continue;
		snprintf(text, sizeof(text), " %s %s", shown_parts[i].text, format_bytes(bytes, n));
		if (col > b.col && col + canvas_columns(text) + 1 > b.col + b.cols) {
			col = b.col;
			rows++;
		}
		canvas_fill(c, row + rows - 1, col, 1, shown_parts[i].glyph, shown_parts[i].style);
		col += 1 + canvas_put(c, row + rows - 1, col + 1, text, STYLE_TEXT) + 2;
	}
	return rows;
}

static void draw_sums(const struct ui *u, const struct fragmentation_look *l, struct canvas *c,
		      struct box b)
{
	char rss[FORMAT_MAX], at[FORMAT_MAX], back[FORMAT_MAX], text[300];
	const struct fragmentation *f = &l->f;
	uint64_t start = history_start_ns(u->history);
	int width;

	snprintf(text, sizeof(text), "%s resident at %s", format_bytes(rss, f->rss),
		 format_duration(at, l->info.t_ns - start));
	canvas_put(c, b.row, b.col, text, STYLE_STRONG);
	if (l->unknown)
		return;
	width = canvas_columns(text);
	for (int brief = 0; brief < 2; brief++) {
		int n = snprintf(text, sizeof(text), "internal %.1f %%  external %.1f %%",
				 fragmentation_internal(f) * 100, fragmentation_external(f) * 100);

		if (!brief)
			snprintf(text + n, sizeof(text) - (size_t)n, "  returnable %s",
				 format_bytes(back, fragmentation_returnable(f)));
		if (width + canvas_columns(text) + 2 > b.cols)
			continue;
		canvas_text(c, b.row, b.col + width + 2, b.cols - width - 2, text, STYLE_TEXT,
			    ALIGN_RIGHT, CUT_END);
		break;
	}
}

/* Resident bytes of the heap over the snapshots, and what was live of them. */
static int draw_trend(const struct frag *f, struct canvas *c, struct box b)
{
	size_t n = f->list.n, width = (size_t)(b.cols - 12) * 2;
	double *values, max = 0;
	char bytes[FORMAT_MAX];

	if (n < 3 || b.rows < 6 || b.cols < 40)
		return 0;
	values = xcalloc(width, sizeof(*values));
	for (size_t i = 0; i < width; i++) {
		values[i] = (double)f->list.items[i * n / width].heap_bytes;
		max = values[i] > max ? values[i] : max;
	}
	if (max > 0)
		canvas_curve(c, b.row, b.col + 12, b.cols - 12, 2, values, max, STYLE_DIM);
	for (size_t i = 0; i < width; i++)
		values[i] = (double)f->list.items[i * n / width].live_bytes;
	if (max > 0)
		canvas_curve(c, b.row + 2, b.col + 12, b.cols - 12, 2, values, max, STYLE_ACCENT);
	canvas_text(c, b.row, b.col, 11, "heap", STYLE_DIM, ALIGN_LEFT, CUT_END);
	canvas_text(c, b.row + 1, b.col, 11, format_bytes(bytes, (uint64_t)max), STYLE_TEXT,
		    ALIGN_LEFT, CUT_END);
	canvas_text(c, b.row + 2, b.col, 11, "requested", STYLE_DIM, ALIGN_LEFT, CUT_END);
	free(values);
	return 4;
}

int frag_draw_head(struct ui *u, struct canvas *c, struct box b)
{
	const struct frag *f = u->frag;
	int rows = 0;

	if (!f || !f->has_look || b.rows < 8)
		return 0;
	draw_sums(u, &f->look, c, b);
	draw_bar(&f->look.f, c, b, b.row + 1);
	rows = 2 + draw_legend(&f->look.f, c, b, b.row + 2);
	rows += draw_trend(f, c, (struct box){b.row + rows, b.col, b.rows - rows - 6, b.cols});
	return rows + 1;
}

/* ---- pages and their blocks --------------------------------------------------------- */

enum { PAGE_ADDRESS, PAGE_STATE, PAGE_LIVE, PAGE_FREE, PAGE_BLOCKS };

static const char *const state_words[] = {"absent", "resident", "swapped", "zero"};

static const struct column page_columns[] = {
	[PAGE_ADDRESS] = {"ADDRESS", COLUMN_ADDRESS, 14, 0},
	[PAGE_STATE] = {"STATE", COLUMN_WORD, 9, 4, state_words},
	[PAGE_LIVE] = {"LIVE", COLUMN_BYTES, 9, 1},
	[PAGE_FREE] = {"FREE", COLUMN_BYTES, 9, 2},
	[PAGE_BLOCKS] = {"BLOCKS", COLUMN_COUNT, 8, 3},
};

/* Has it blocks of that site? */
static bool is_pinned_by(const struct fragmentation_look *l, size_t first, size_t n, uint64_t site)
{
	for (size_t i = first; i < first + n; i++) {
		uint32_t stack = l->blocks.items[i].stack.v;

		if ((stack < l->n_sites ? l->sites[stack] : stack) == site)
			return true;
	}
	return false;
}

static void put_page(struct ui *u, struct page *p, const struct fragmentation_look *l,
		     const struct fragmentation_pages *run, uint64_t address)
{
	bool pinned = p->scope.kind == SCOPE_PINNED;
	size_t first, n;
	struct table_row *r;

	if (pinned && (run->state != SNAPSHOT_RESIDENT || !run->live ||
		       run->live >= SNAPSHOT_PAGE_BYTES / 2))
		return;
	n = fragmentation_look_blocks(l, address, address + SNAPSHOT_PAGE_BYTES, &first);
	if (pinned && !is_pinned_by(l, first, n, p->scope.key))
		return;
	r = table_add(&p->table, NULL);
	r->key = address;
	r->values[PAGE_ADDRESS] = address;
	r->values[PAGE_STATE] = run->state;
	r->values[PAGE_LIVE] = run->live;
	r->values[PAGE_FREE] = SNAPSHOT_PAGE_BYTES - run->live;
	r->values[PAGE_BLOCKS] = n;
	r->item = n ? l->blocks.items[first].stack.v : 0;
	r->text = n ? stack_texts_get(u, l->blocks.items[first].stack) : xstrdup("");
}

void frag_make_pages(struct ui *u, struct page *p)
{
	const struct fragmentation_look *l;
	bool pinned = p->scope.kind == SCOPE_PINNED;

	load(u);
	l = frag_look(u);
	p->table.columns = page_columns;
	p->table.n_columns = COUNT_OF(page_columns);
	p->table.text_title = "THE FIRST BLOCK ON IT";
	p->table.is_ordered = true;
	p->table.empty = "no page of these in this snapshot";
	for (size_t i = 0; l && i < l->n_pages; i++) {
		const struct fragmentation_pages *run = &l->pages[i];
		uint64_t end = run->address + run->pages * SNAPSHOT_PAGE_BYTES;

		if (pinned && (!run->live || run->pages > 1))
			continue; /* pages in a row that are alike are all free, or full */
		for (uint64_t at = run->address; at < end; at += SNAPSHOT_PAGE_BYTES) {
			if (!pinned && at < p->scope.key)
				at = p->scope.key < end ? p->scope.key : end;
			if (at < end && (pinned || at < p->scope.end))
				put_page(u, p, l, run, at);
			else
				break;
		}
	}
}

enum { BLOCK_SIZE, BLOCK_USABLE, BLOCK_AGE, BLOCK_ADDRESS };

static const struct column block_columns[] = {
	[BLOCK_SIZE] = {"SIZE", COLUMN_BYTES, 9, 0},
	[BLOCK_USABLE] = {"USABLE", COLUMN_BYTES, 9, 3},
	[BLOCK_AGE] = {"AGE", COLUMN_TIME, 11, 1},
	[BLOCK_ADDRESS] = {"ADDRESS", COLUMN_ADDRESS, 14, 2},
};

void frag_make_page(struct ui *u, struct page *p)
{
	const struct fragmentation_look *l;
	size_t first, n;

	load(u);
	l = frag_look(u);
	p->table.columns = block_columns;
	p->table.n_columns = COUNT_OF(block_columns);
	stack_texts_use(u, &p->table, "ALLOCATED BY");
	p->table.empty = "no block was live on this page";
	n = l ? fragmentation_look_blocks(l, p->scope.key, p->scope.end, &first) : 0;
	for (size_t i = 0; i < n; i++) {
		const struct fragmentation_block *b = &l->blocks.items[first + i];
		struct table_row *r = table_add(&p->table, NULL);

		r->key = b->address;
		r->item = b->stack.v;
		r->values[BLOCK_SIZE] = b->size;
		r->values[BLOCK_USABLE] = b->usable;
		r->values[BLOCK_AGE] = l->info.t_ns > b->t_ns ? l->info.t_ns - b->t_ns : 0;
		r->values[BLOCK_ADDRESS] = b->address;
	}
}
