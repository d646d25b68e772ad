/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/fragmentation_load.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/small.h"
#include "common/xalloc.h"
#include "store/layers.h"
#include "store/loss.h"

/* ---- which there are --------------------------------------------------------------- */

static void add_info(void *arg, const struct snapshot_info *i)
{
	struct fragmentation_list *l = arg;

	ARRAY_GROW(l->items, l->cap, l->n);
	l->items[l->n] = *i;
	l->items[l->n++].reason = xstrdup(i->reason);
}

int fragmentation_list_read(struct fragmentation_list *ret, struct store_reader *r,
			    struct err *err)
{
	fragmentation_list_release(ret);
	return store_reader_snapshots(r, add_info, ret, err);
}

int fragmentation_list_open(struct fragmentation_list *ret, const struct history *h,
			    struct err *err)
{
	struct store_reader *reader;
	int r = history_open_reader(h, &reader, err);

	if (r) {
		fragmentation_list_release(ret);
		return r;
	}
	r = fragmentation_list_read(ret, reader, err);
	store_reader_close(reader);
	return r;
}

void fragmentation_list_release(struct fragmentation_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free((char *)l->items[i].reason);
	free(l->items);
	*l = (struct fragmentation_list){0};
}

size_t fragmentation_list_at(const struct fragmentation_list *l, uint64_t t_ns)
{
	for (size_t i = l->n; i-- > 0;)
		if (l->items[i].t_ns <= t_ns)
			return i;
	return l->n;
}

size_t fragmentation_list_peak(const struct fragmentation_list *l)
{
	size_t at = 0;

	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].live_bytes >= l->items[at].live_bytes)
			at = i;
	return at;
}

/* Heap bytes that no live block requested. */
static double beyond(const struct snapshot_info *i)
{
	return i->heap_bytes > i->live_bytes ? (double)(i->heap_bytes - i->live_bytes) : 0;
}

struct growth fragmentation_list_trend(const struct fragmentation_list *l, size_t at,
				       double *ret_per_hour)
{
	struct growth g = {.shape = GROWTH_SHORT};
	double values[GROWTH_WINDOWS_MAX];
	size_t n, begin;
	uint64_t first, width;

	*ret_per_hour = 0;
	if (at && !strcmp(l->items[at].reason, "exit"))
		at--; /* there all may have been given back at once */
	for (begin = at; begin > 0 && l->items[begin - 1].space.v == l->items[at].space.v;)
		begin--; /* of the program that runs then */
	n = at - begin + 1 < GROWTH_WINDOWS_MAX ? at - begin + 1 : GROWTH_WINDOWS_MAX;
	if (n < GROWTH_WINDOWS_MIN)
		return g;
	first = l->items[begin].t_ns;
	width = (l->items[at].t_ns - first) / (n - 1);
	if (!width)
		return g;
	for (size_t i = 0; i < n; i++) {
		uint64_t t = i + 1 == n ? l->items[at].t_ns : first + i * width;
		size_t of = fragmentation_list_at(l, t);

		values[i] = beyond(&l->items[of < l->n ? of : 0]);
	}
	growth_judge(values, values, n, GROWTH_SHAPE, &g);
	*ret_per_hour = g.slope / ((double)width / 3600e9);
	return g;
}

/* ---- what is known of them --------------------------------------------------------- */

char *fragmentation_unknown(const struct catalog *c)
{
	const char *mode = catalog_text(c, "mode");
	struct from_before before;
	struct small small;

	/* walked, its heap is known from the beginning */
	if (mode && !strcmp(mode, "attach") && (!from_before_read(c, &before) || before.error))
		return xstrdup("blocks from before the recording began are not in it");
	if (small_read(c, &small))
		return xstrdup("blocks below --min-size are not in the recording");
	if (lost_events(c))
		return xstrdup("events were lost");
	if (catalog_text(c, "other_allocator"))
		return xstrdup("an allocator that is not known takes malloc's place");
	if (catalog_text(c, "not_probed") || catalog_text(c, "no_allocator"))
		return xstrdup("not all calls of the allocator were recorded");
	if (catalog_loss(c, loss_kinds[LOSS_MAIN_THREAD_GONE].name))
		return xstrdup("the main thread ended before others: what those did is not in it");
	return NULL;
}

uint32_t *fragmentation_sites(const struct catalog *c, const struct own *own)
{
	uint32_t *ret = xcalloc(c->n_stacks + 1, sizeof(*ret));

	for (uint32_t i = 1; i < c->n_stacks; i++)
		ret[i] = own->classes[own_of_stack(own, (struct stack_id){i}).v];
	return ret;
}

/* ---- one of them ------------------------------------------------------------------- */

static void add_pages(void *arg, const struct fragmentation_pages *p)
{
	struct fragmentation_look *l = arg;

	ARRAY_GROW(l->pages, l->cap_pages, l->n_pages);
	l->pages[l->n_pages++] = *p;
}

int fragmentation_read_mappings(struct fragmentation_blocks *ret, struct store_reader *r,
				uint64_t t_ns, struct err *err)
{
	struct analysis_window w = {.until_ns = t_ns};
	const struct layer *layer;
	struct layers layers;
	struct analysis a;
	int e;

	layers_read(&layers, r);
	layer = layers_find(&layers, LAYERS_MMAP);
	if (!layer)
		return 0;
	w.families = layer->families;
	e = analysis_make_live(r, &w, NULL, fragmentation_add, ret, &a, err);
	if (!e)
		analysis_release(&a);
	return e;
}

static int read_blocks(struct fragmentation_look *l, struct store_reader *r, struct err *err)
{
	struct analysis_window w = {.until_ns = l->info.t_ns, .space = l->info.space};
	struct analysis a;
	int e = analysis_make_live(r, &w, NULL, fragmentation_add, &l->blocks, &a, err);

	if (!e)
		analysis_release(&a);
	return e;
}

int fragmentation_look(struct fragmentation_look *ret, const struct history *h,
		       const struct snapshot_info *info, const struct own *own, struct err *err)
{
	const struct catalog *c = history_catalog(h);
	struct store_reader *reader;
	int r = history_open_reader(h, &reader, err);

	*ret = (struct fragmentation_look){.info = *info};
	if (r)
		return r;
	r = store_reader_snapshot(reader, info->id, &ret->snapshot, err);
	if (!r)
		r = read_blocks(ret, reader, err);
	store_reader_close(reader);
	if (r) {
		fragmentation_look_release(ret);
		return r;
	}
	ret->unknown = fragmentation_unknown(c);
	ret->sites = fragmentation_sites(c, own);
	ret->n_sites = c->n_stacks;
	fragmentation_make(&ret->f, &ret->snapshot, &ret->blocks,
			   &(struct fragmentation_options){.has_unknown = ret->unknown != NULL,
							   .sites = ret->sites,
							   .n_sites = ret->n_sites,
							   .visit = add_pages,
							   .arg = ret});
	return 0;
}

void fragmentation_look_release(struct fragmentation_look *l)
{
	snapshot_release(&l->snapshot);
	fragmentation_blocks_release(&l->blocks);
	fragmentation_release(&l->f);
	free(l->unknown);
	free(l->sites);
	free(l->pages);
	*l = (struct fragmentation_look){0};
}

size_t fragmentation_look_blocks(const struct fragmentation_look *l, uint64_t start, uint64_t end,
				 size_t *ret_first)
{
	size_t low = 0, high = l->blocks.n, n = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct fragmentation_block *b = &l->blocks.items[middle];

		if (b->address + b->usable <= start)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_first = low;
	while (low + n < l->blocks.n &&
	       l->blocks.items[low + n].address - l->blocks.items[low + n].header < end)
		n++;
	return n;
}
