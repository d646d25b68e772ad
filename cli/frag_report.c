/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/frag.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/rows.h"
#include "common/format.h"
#include "common/xalloc.h"

#define BAR_COLUMNS 72
#define TREND_MAX 12
#define HOLES_SHOWN 5

static const struct {
	const char *text, *key;
	bool is_heap;
	char ascii;
	const char *glyph;
} parts[PARTS] = {
	[PART_REQUESTED] = {"requested by live blocks", "requested_bytes", true, '#', "█"},
	[PART_ROUNDING] = {"rounding", "rounding_bytes", true, '+', "▓"},
	[PART_HEADERS] = {"headers of blocks", "header_bytes", true, '+', "▓"},
	[PART_BEFORE] = {"in use since before the recording", "before_bytes", true, '=', "▓"},
	[PART_FREE_INSIDE] = {"free, on pages with live blocks", "free_inside_bytes", true, ':',
			      "▒"},
	[PART_FREE_PAGES] = {"free, whole pages", "free_page_bytes", true, '.', "░"},
	[PART_UNKNOWN] = {"free, or in use and not known", "unknown_bytes", true, '?', "░"},
	[PART_ANONYMOUS] = {"other anonymous memory", "anonymous_bytes", false, '-', "·"},
	[PART_STACKS] = {"stacks", "stack_bytes", false, '-', "·"},
	[PART_DATA] = {"data of programs", "data_bytes", false, '-', "·"},
	[PART_FILES] = {"files: code, constants, mapped", "file_bytes", false, '-', "·"},
	[PART_SHARED] = {"shared memory", "shared_memory_bytes", false, '-', "·"},
	[PART_KERNEL] = {"the kernel's own", "kernel_bytes", false, '-', "·"},
	[PART_UNEXPLAINED] = {"not explained", "unexplained_bytes", false, '-', "·"},
};

const char *frag_part_text(enum fragmentation_part part)
{
	return parts[part].text;
}

const char *frag_part_key(enum fragmentation_part part)
{
	return parts[part].key;
}

const char *frag_reason_text(const char *reason)
{
	static const char *const texts[][2] = {
		{"exit", "in its exit"},
		{"end", "at the end of the recording"},
		{"every", "every so often"},
		{"asked", "asked for"},
		{"peak", "near a peak"},
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (!strcmp(reason, texts[i][0]))
			return texts[i][1];
	return "for another reason";
}

const char *frag_kind_text(enum snapshot_kind kind)
{
	static const char *const texts[SNAPSHOT_KINDS] = {
		[SNAPSHOT_BRK] = "heap (brk)",
		[SNAPSHOT_ARENA] = "arena",
		[SNAPSHOT_MALLOC] = "allocator",
		[SNAPSHOT_ANONYMOUS] = "mapped blocks",
		[SNAPSHOT_STACK] = "stack",
		[SNAPSHOT_DATA] = "data",
		[SNAPSHOT_FILE] = "file",
		[SNAPSHOT_SHARED] = "shared",
		[SNAPSHOT_HUGETLB] = "huge pages",
		[SNAPSHOT_KERNEL] = "kernel",
	};

	return texts[kind];
}

/* ---- the split ----------------------------------------------------------------------- */

/* As long as its share, in the order of the parts. */
static void print_bar(const struct fragmentation *f, bool ascii)
{
	uint64_t sum = 0;
	int at = 0;

	if (!f->rss)
		return;
	printf("  [");
	for (int p = 0; p < PARTS; p++) {
		int end;

		sum += f->parts[p];
		end = (int)((double)sum / (double)f->rss * BAR_COLUMNS + 0.5);
		for (; at < end && at < BAR_COLUMNS; at++) {
			if (ascii)
				putchar(parts[p].ascii);
			else
				fputs(parts[p].glyph, stdout);
		}
	}
	printf("%*s]\n", BAR_COLUMNS - at, "");
}

static void print_part(const struct fragmentation *f, int p, const struct frag_options *o)
{
	char x[FORMAT_MAX], y[FORMAT_MAX];

	if (!f->parts[p])
		return;
	printf("    %s %-34s %12s %8s\n", "", parts[p].text,
	       view_bytes(x, f->parts[p], o->exact_bytes), format_percent(y, f->parts[p], f->rss));
}

static void print_split(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	char x[FORMAT_MAX], y[FORMAT_MAX], z[FORMAT_MAX];
	/* a page that came back from swap between two looks at it counts in one of them only */
	uint64_t other = f->rss > f->heap_resident ? f->rss - f->heap_resident : 0;

	printf("\nResident memory: %s\n", view_bytes(x, f->rss, o->exact_bytes));
	print_bar(f, o->ascii);
	printf("  %-37s %12s %8s\n", "heap", view_bytes(x, f->heap_resident, o->exact_bytes),
	       format_percent(y, f->heap_resident, f->rss));
	for (int p = 0; p < PARTS; p++)
		if (parts[p].is_heap)
			print_part(f, p, o);
	printf("  %-37s %12s %8s\n", "other", view_bytes(x, other, o->exact_bytes),
	       format_percent(y, other, f->rss));
	for (int p = 0; p < PARTS; p++)
		if (!parts[p].is_heap)
			print_part(f, p, o);
	if (f->not_resident)
		printf("  Of live blocks %s are not resident: never touched, or swapped out.\n",
		       view_bytes(x, f->not_resident, o->exact_bytes));
	if (f->heap_swapped)
		printf("  %s of the heap are in swap.\n",
		       view_bytes(x, f->heap_swapped, o->exact_bytes));
	if (f->heap_huge)
		printf("  %s of the heap are huge pages: free ones among them are given back "
		       "whole only.\n", view_bytes(x, f->heap_huge, o->exact_bytes));
	if (f->shared)
		printf("  %s are shared with other processes.\n",
		       view_bytes(x, f->shared, o->exact_bytes));
	printf("\nFragmentation: %.1f %% internal%s, ", fragmentation_internal(f) * 100,
	       f->usable_unknown ? " (usable sizes not all known)"
	       : f->live_before	 ? " (without blocks from before)" : "");
	if (frag->unknown)
		printf("at most %.1f %% external\n", fragmentation_external(f) * 100);
	else
		printf("%.1f %% external\n", fragmentation_external(f) * 100);
	if (frag->unknown)
		printf("What is free is not known: %s.\n", frag->unknown);
	else
		printf("Live blocks, side by side, would take %s: %s of %s would be given back.\n",
		       view_bytes(x, f->compact, o->exact_bytes),
		       view_bytes(y, fragmentation_returnable(f), o->exact_bytes),
		       view_bytes(z, f->heap_resident, o->exact_bytes));
	if (f->outside)
		printf("%s live blocks lie in no region that was looked at.\n",
		       format_count(x, f->outside));
}

/* ---- tables -------------------------------------------------------------------------- */

static void print_title(const char *text)
{
	bool color = output_has_color();

	printf("\n%s%s%s\n", color ? "\033[1m" : "", text, color ? "\033[0m" : "");
}

/* Name and place of a site, cut to what is left of the line. */
static void print_place(const struct frag *frag, struct stack_id stack, int used)
{
	const struct catalog *c = &frag->view->catalog;
	struct frame_id frame = own_of_stack(frag->own, stack);
	const struct catalog_frame *f = catalog_frame(c, frame);
	char *name, *where, *text;
	int width = output_width() - used;

	if (!frame.v) {
		printf("[no stack]\n");
		return;
	}
	name = place_name(c, f);
	where = place_where(c, f);
	text = xasprintf("%s%s%s", name, where ? "  " : "", where ? where : "");
	print_cut(text, width > 20 ? width : 20);
	putchar('\n');
	free(text);
	free(name);
	free(where);
}

static void print_rest(size_t shown, size_t n)
{
	char x[FORMAT_MAX];

	if (n > shown)
		printf("  and %s more (--rows 0 shows all)\n", format_count(x, n - shown));
}

#define PINS_COLUMNS "  WASTED    PAGES  SHARED   BLOCKS      BYTES    OLDEST"

static void print_sites(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	uint64_t now = frag->list.items[frag->at].t_ns;
	size_t n = 0, all = 0;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX], e[FORMAT_MAX];

	while (all < f->n_sites && f->sites[all].wasted + f->sites[all].shared_wasted)
		all++;
	printf("\n%s pages of the heap are mostly empty, and kept by the blocks that are left: %s "
	       "free on them\n", format_count(a, f->pinned_pages),
	       view_bytes(b, f->pinned_wasted, o->exact_bytes));
	if (!all)
		return;
	print_title(frag->usual_ns ? PINS_COLUMNS "     USUAL  WHO PINS"
				   : PINS_COLUMNS "  WHO PINS");
	for (; n < all && (!o->rows || n < o->rows); n++) {
		const struct fragmentation_site *s = &f->sites[n];
		int used = printf("%8s %8s %7s %8s %10s %9s  ",
				  view_bytes(a, s->wasted + s->shared_wasted, o->exact_bytes),
				  format_count(b, s->pages), format_count(c, s->shared_pages),
				  format_count(d, s->blocks),
				  view_bytes(e, s->requested, o->exact_bytes),
				  format_duration((char[FORMAT_MAX]){0},
						  now > s->oldest_ns ? now - s->oldest_ns : 0));

		if (frag->usual_ns)
			used += printf("%8s  ", frag->usual_ns[n]
							? format_duration(a, frag->usual_ns[n])
							: "-");
		print_place(frag, s->stack, used);
	}
	print_rest(n, all);
}

static void print_arenas(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX];
	size_t n = 0;

	if (!f->n_arenas)
		return;
	print_title("  RESIDENT       LIVE       FREE  EMPTY PAGES    BLOCKS  REGION");
	for (; n < f->n_arenas && (!o->rows || n < o->rows); n++) {
		const struct fragmentation_arena *r = &f->arenas[n];

		printf("%10s %10s %10s %12s %9s  %s at 0x%" PRIx64 "\n",
		       view_bytes(a, r->resident, o->exact_bytes),
		       view_bytes(b, r->live, o->exact_bytes),
		       view_bytes(c, r->free_inside + r->free_pages, o->exact_bytes),
		       view_bytes(d, r->free_pages, o->exact_bytes),
		       format_count((char[FORMAT_MAX]){0}, r->blocks), frag_kind_text(r->kind),
		       r->start);
	}
	print_rest(n, f->n_arenas);
}

static int by_rounding(const void *a, const void *b)
{
	const struct fragmentation_site *x = *(const struct fragmentation_site *const *)a;
	const struct fragmentation_site *y = *(const struct fragmentation_site *const *)b;

	if (x->rounding != y->rounding)
		return x->rounding < y->rounding ? 1 : -1;
	return (x->site > y->site) - (x->site < y->site);
}

static void print_classes(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX], e[FORMAT_MAX];
	const struct fragmentation_class **top;
	size_t n = 0;

	if (f->live_usable == f->live_requested)
		return;
	top = xcalloc(f->n_classes, sizeof(*top));
	for (size_t i = 0; i < f->n_classes; i++) { /* the most rounding first */
		size_t at = n++;

		for (; at > 0 && top[at - 1]->rounding < f->classes[i].rounding; at--)
			top[at] = top[at - 1];
		top[at] = &f->classes[i];
	}
	print_title("  ROUNDING      SHARE    BLOCKS  REQUESTED  BLOCKS OF");
	for (n = 0; n < f->n_classes && (!o->rows || n < o->rows) && top[n]->rounding; n++)
		printf("%10s %10s %9s %10s  up to %s\n",
		       view_bytes(a, top[n]->rounding, o->exact_bytes),
		       format_percent(b, top[n]->rounding, top[n]->rounding + top[n]->requested),
		       format_count(c, top[n]->blocks),
		       view_bytes(d, top[n]->requested, o->exact_bytes),
		       view_bytes(e, top[n]->usable, o->exact_bytes));
	free(top);
}

/* Whose blocks got more than they requested. */
static void print_rounding(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	const struct fragmentation_site **top = xcalloc(f->n_sites + 1, sizeof(*top));
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX];
	size_t n = 0, all;

	for (size_t i = 0; i < f->n_sites; i++)
		if (f->sites[i].rounding)
			top[n++] = &f->sites[i];
	all = n;
	if (n)
		qsort(top, n, sizeof(*top), by_rounding);
	if (n)
		print_title("  ROUNDING      SHARE    BLOCKS  REQUESTED  WHOSE BLOCKS");
	for (n = 0; n < all && (!o->rows || n < o->rows); n++) {
		const struct fragmentation_site *s = top[n];
		int used = printf("%10s %10s %9s %10s  ",
				  view_bytes(a, s->rounding, o->exact_bytes),
				  format_percent(b, s->rounding, s->rounding + s->requested),
				  format_count(c, s->blocks),
				  view_bytes(d, s->requested, o->exact_bytes));

		print_place(frag, s->stack, used);
	}
	print_rest(n, all);
	free(top);
}

static void print_holes(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	char a[FORMAT_MAX], b[FORMAT_MAX];

	if (!f->n_holes || frag->unknown)
		return;
	print_title("LARGEST HOLE   RESIDENT  AT");
	for (size_t i = 0; i < f->n_holes && i < HOLES_SHOWN; i++)
		printf("%12s %10s  0x%" PRIx64 "\n",
		       view_bytes(a, f->holes[i].bytes, o->exact_bytes),
		       view_bytes(b, f->holes[i].resident, o->exact_bytes), f->holes[i].start);
}

static void print_mapped(const struct frag *frag, const struct frag_options *o)
{
	const struct fragmentation *f = &frag->f;
	char a[FORMAT_MAX], b[FORMAT_MAX];
	size_t n = 0;

	if (!f->n_mapped)
		return;
	print_title("  RESIDENT    SWAPPED  WHO MAPPED OTHER ANONYMOUS MEMORY");
	for (; n < f->n_mapped && (!o->rows || n < o->rows); n++) {
		const struct fragmentation_mapped *m = &f->mapped[n];
		int used = printf("%10s %10s  ", view_bytes(a, m->resident, o->exact_bytes),
				  view_bytes(b, m->swapped, o->exact_bytes));

		print_place(frag, m->stack, used);
	}
	print_rest(n, f->n_mapped);
}

/* ---- over time ----------------------------------------------------------------------- */

/* Does it become more and more that nobody uses? */
static void print_growth(const struct frag *frag, const struct frag_options *o)
{
	char a[FORMAT_MAX];
	double per_hour;
	struct growth g = fragmentation_list_trend(&frag->list, frag->at, &per_hour);

	if (frag->unknown)
		return; /* so is what is live */
	if (g.shape == GROWTH_SHORT)
		printf("Whether what the heap holds beyond live blocks grows is told from %d "
		       "snapshots on.\n", GROWTH_WINDOWS_MIN);
	else if (g.is_growing)
		printf("What the heap holds beyond live blocks grows: by %s an hour (%s).\n",
		       view_bytes(a, (uint64_t)per_hour, o->exact_bytes),
		       growth_shape_text(g.shape));
	else if (g.shape == GROWTH_UNCLEAR)
		printf("What the heap holds beyond live blocks may grow: it rises, but not "
		       "surely.\n");
	else
		printf("What the heap holds beyond live blocks does not grow (%s).\n",
		       growth_shape_text(g.shape));
}

static void print_trend(const struct frag *frag, const struct frag_options *o)
{
	char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX];
	size_t step = (frag->list.n + TREND_MAX - 1) / TREND_MAX;

	if (frag->list.n < 2)
		return;
	print_title("        AT   RESIDENT       HEAP  REQUESTED  HEAP / REQUESTED");
	for (size_t i = (frag->list.n - 1) % step; i < frag->list.n; i += step) {
		const struct snapshot_info *s = &frag->list.items[i];

		printf("%10s %10s %10s %10s  ",
		       format_duration(a, view_since_start(frag->view, s->t_ns)),
		       view_bytes(b, s->rss_bytes, o->exact_bytes),
		       view_bytes(c, s->heap_bytes, o->exact_bytes),
		       view_bytes(d, s->live_bytes, o->exact_bytes));
		if (s->live_bytes)
			printf("%.2f", (double)s->heap_bytes / (double)s->live_bytes);
		puts(i == frag->at ? "  <- shown" : "");
	}
	print_growth(frag, o);
}

/* ---- the map ------------------------------------------------------------------------- */

#define MAP_COLUMNS 64

static void print_map(const struct frag *frag, const struct frag_options *o)
{
	static const char *const shades[HEAP_MAP_SHADES] = {"·", "░", "▒", "▓", "█"};
	const struct heap_map *m = &frag->map;
	char x[FORMAT_MAX];
	uint64_t next = 0;
	int column = 0;

	printf("\nThe heap by address, %s a cell: %s\n",
	       format_bytes(x, m->pages_each * SNAPSHOT_PAGE_BYTES),
	       o->ascii ? "' ' not resident, '.' all free, then ':' '-' '=' '#' by what is live"
			: "' ' not resident, '·' all free, then ░ ▒ ▓ █ by what is live");
	for (size_t i = 0; i < m->n; i++) {
		const struct heap_cell *c = &m->cells[i];
		int shade = heap_map_shade(c);

		if (column == MAP_COLUMNS || c->address != next) {
			if (column)
				putchar('\n');
			column = 0;
		}
		if (!column)
			printf("%14" PRIx64 "  ", c->address);
		if (shade < 0)
			putchar(' ');
		else if (o->ascii)
			putchar(".:-=#"[shade]);
		else
			fputs(shades[shade], stdout);
		column++;
		next = c->address + m->pages_each * SNAPSHOT_PAGE_BYTES;
	}
	if (column)
		putchar('\n');
}

void frag_print(const struct frag *f, const struct frag_options *o)
{
	const struct snapshot_info *s = &f->list.items[f->at];
	char a[FORMAT_MAX], b[FORMAT_MAX];

	view_print_head(f->view, o->exact_bytes);
	printf("\nMemory as it was at %s, %s (snapshot %zu of %zu; the process stood still for "
	       "%s)\n", format_duration(a, view_since_start(f->view, s->t_ns)),
	       frag_reason_text(s->reason), f->at + 1, f->list.n, format_duration(b, s->held_ns));
	print_split(f, o);
	if (o->map)
		print_map(f, o);
	print_sites(f, o);
	print_arenas(f, o);
	print_holes(f, o);
	print_rounding(f, o);
	print_classes(f, o);
	print_mapped(f, o);
	print_trend(f, o);
}
