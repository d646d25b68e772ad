/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/page.h"

#include <stdlib.h>

#include "analyzer/growth_sites.h"
#include "common/format.h"
#include "common/sparkline.h"
#include "common/xalloc.h"

/* The view of what grows, up to the moment that is shown. */
#define SECONDS_PER_HOUR 3600
#define OTHERS_MAX 200
#define CURVE_COLUMNS 16

enum { GROWTH_RATE, GROWTH_LIVE, GROWTH_CURVE, GROWTH_SHAPE_NAME, GROWTH_SURE };

static const struct column growth_columns[] = {
	[GROWTH_RATE] = {"GROWTH/h", COLUMN_BYTES, 11, 0, NULL},
	[GROWTH_LIVE] = {"LIVE", COLUMN_BYTES, 9, 3, NULL},
	[GROWTH_CURVE] = {"LIVE OVER TIME", COLUMN_WORD, CURVE_COLUMNS, 2, NULL},
	[GROWTH_SHAPE_NAME] = {"SHAPE", COLUMN_WORD, 12, 1, NULL},
	[GROWTH_SURE] = {"SURE %", COLUMN_NUMBER, 7, 4, NULL},
};

/* What the table's columns refer to, as long as it is there. */
struct growth_words {
	struct column columns[COUNT_OF(growth_columns)];
	const char *shapes[GROWTH_SHAPES];
	const char **curves;
	size_t n, cap;
};

void growth_words_free(struct growth_words *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++)
		free((char *)w->curves[i]);
	free(w->curves);
	free(w);
}

static struct growth_words *new_words(void)
{
	struct growth_words *w = xcalloc(1, sizeof(*w));

	memcpy(w->columns, growth_columns, sizeof(w->columns));
	for (int i = 0; i < GROWTH_SHAPES; i++)
		w->shapes[i] = growth_shape_text((enum growth_shape)i);
	w->columns[GROWTH_SHAPE_NAME].words = w->shapes;
	return w;
}

static void put_site(struct ui *u, struct page *p, const struct growth_span *span,
		     const struct growth_site *s)
{
	double rate = growth_per_second(span, s->growth.slope) * SECONDS_PER_HOUR;
	struct growth_words *w = p->words;
	struct table_row *r = table_add(&p->table, NULL);
	char curve[SPARKLINE_MAX], n[FORMAT_MAX];

	r->key = r->item = s->stack.v;
	if (s->growth.is_growing)
		r->values[GROWTH_RATE] = rate > 0 ? (uint64_t)(rate + 0.5) : 0;
	r->values[GROWTH_LIVE] = (uint64_t)s->ends[span->n - 1];
	r->values[GROWTH_SHAPE_NAME] = s->growth.shape;
	r->values[GROWTH_SURE] = (uint64_t)(100 * s->growth.confidence);
	if (s->n_stacks > 1)
		r->detail = xasprintf("%s stacks", format_count(n, s->n_stacks));
	ARRAY_GROW(w->curves, w->cap, w->n);
	r->values[GROWTH_CURVE] = w->n;
	w->curves[w->n++] = xstrdup(sparkline(curve, s->ends, span->n, CURVE_COLUMNS,
					      u->options.ascii));
}

/* What is said above the table; to be freed. */
static char *make_note(const struct growth_sites *s)
{
	struct growth_sum sum = growth_sites_sum(s);
	char rate[FORMAT_MAX], n[FORMAT_MAX], window[FORMAT_MAX];
	double per_hour = sum.slope * SECONDS_PER_HOUR;

	if (s->span.n < GROWTH_WINDOWS_MIN)
		return xstrdup("too short to tell what grows");
	format_duration(window, s->span.width_ns);
	if (!s->n_growing)
		return xasprintf("nothing grows, in %zu windows of %s", s->span.n, window);
	format_bytes(rate, per_hour > 0 ? (uint64_t)per_hour : 0);
	return xasprintf("%s %s by %s/h, in %zu windows of %s", format_count(n, s->n_growing),
			 s->n_growing == 1 ? "place grows" : "places grow", rate, s->span.n,
			 window);
}

/* What was found last: windows that have ended do not change. */
struct growth_shown {
	struct growth_sites sites;
	size_t n_stacks;
	uint64_t own_version; /* the interface's */
	uint8_t layer;
};

void growth_shown_free(struct growth_shown *f)
{
	if (!f)
		return;
	growth_sites_release(&f->sites);
	free(f);
}

static bool is_same_span(const struct growth_span *a, const struct growth_span *b)
{
	return a->first == b->first && a->per == b->per && a->n == b->n &&
	       a->start_ns == b->start_ns && a->width_ns == b->width_ns;
}

static const struct growth_sites *find_sites(struct ui *u, const struct growth_windows *windows,
					     const struct growth_span *span)
{
	struct growth_shown *f = u->growth;
	struct growth_shown now = {.n_stacks = growth_windows_stacks(windows),
				   .own_version = u->own_version,
				   .layer = history_layer(u->history)};

	if (f && f->n_stacks == now.n_stacks && f->own_version == now.own_version &&
	    f->layer == now.layer && is_same_span(&f->sites.span, span))
		return &f->sites;
	growth_shown_free(f);
	f = u->growth = xcalloc(1, sizeof(*f));
	*f = now;
	growth_sites_make(&f->sites, windows, span, &u->own, OTHERS_MAX);
	return &f->sites;
}

void growth_make(struct ui *u, struct page *p)
{
	uint64_t until_ns = 0;
	const struct growth_windows *windows = history_growth(u->history, &until_ns);
	const struct growth_sites *sites;
	struct growth_span span = {0};

	growth_words_free(p->words);
	p->words = new_words();
	p->table.columns = p->words->columns;
	p->table.n_columns = COUNT_OF(growth_columns);
	stack_texts_use(u, &p->table, "ALLOCATED BY");
	p->table.text_columns = 24;
	if (history_is_counted(u->history))
		windows = NULL; /* few of these have a size */
	p->table.empty = windows ? "nothing was there for a whole window"
				 : "it is not known, of this part, what grows";
	if (!windows)
		return;
	span = growth_windows_span(windows, history_first_ns(u->history), until_ns,
				   GROWTH_WINDOWS_MAX);
	sites = find_sites(u, windows, &span);
	p->note = make_note(sites);
	for (size_t i = 0; i < sites->n_growing; i++)
		put_site(u, p, &span, &sites->growing[i]);
	for (size_t i = 0; i < sites->n_others; i++)
		put_site(u, p, &span, &sites->others[i]);
	/* now that all curves are there: the array has moved */
	p->words->columns[GROWTH_CURVE].words = p->words->curves;
}
