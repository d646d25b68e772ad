/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/summary.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/analysis.h"
#include "analyzer/own.h"
#include "cli/progress.h"
#include "common/xalloc.h"

static void write_sites(struct store_writer *w, const struct catalog *c, const struct analysis *a)
{
	struct catalog_place *places = catalog_places(c);
	struct own own;

	own_init(&own, c, NULL, 0);
	store_writer_clear_sites(w);
	for (size_t i = 0; i < a->n_groups; i++) {
		struct stack_id stack = {(uint32_t)a->groups[i].key};
		struct frame_id f = own_of_stack(&own, stack);
		struct catalog_place at = f.v < c->n_frames ? places[f.v]
							    : (struct catalog_place){f, 0};

		store_writer_put_site(w, stack, at.frame, at.depth, &a->groups[i].totals);
	}
	own_release(&own);
	free(places);
}

static void write_peak(struct store_writer *w, const struct analysis *a)
{
	store_writer_put_number(w, "peak_bytes", (int64_t)a->totals.peak_bytes);
	store_writer_put_number(w, "peak_blocks", (int64_t)a->totals.peak_blocks);
	store_writer_put_number(w, "peak_time_ns", (int64_t)a->peak_time_ns);
	store_writer_put_number(w, "peak_event", (int64_t)a->peak_event);
}

static void take_site(void *arg, struct stack_id stack, const struct heap_totals *totals)
{
	struct analysis *a = arg;

	ARRAY_GROW(a->groups, a->cap_groups, a->n_groups);
	a->groups[a->n_groups++] = (struct group){.key = stack.v, .totals = *totals};
}

/* The catalog is read again: names have come since. */
static int write_with(struct store_writer *w, const char *path, const struct analysis *known,
		      bool owners_only, struct err *err)
{
	struct store_reader *reader;
	struct catalog catalog;
	struct analysis read = {0};
	int r;

	r = store_reader_open(path, &reader, err);
	if (r)
		return r;
	r = store_reader_load(reader, &catalog, err);
	if (!r && owners_only)
		r = store_reader_sites(reader, take_site, &read, err);
	else if (!r && !known)
		r = analysis_make(reader, GROUP_STACK, NULL, progress_events, &read, err);
	progress_end();
	if (!r)
		write_sites(w, &catalog, known ? known : &read);
	if (!r && !owners_only)
		write_peak(w, known ? known : &read);
	analysis_release(&read);
	catalog_release(&catalog);
	store_reader_close(reader);
	return r;
}

int summary_rewrite_owners(struct store_writer *w, const char *path, struct err *err)
{
	return write_with(w, path, NULL, true, err);
}

int summary_write(struct store_writer *w, const char *path, const struct analysis *known,
		  struct err *err)
{
	return write_with(w, path, known, false, err);
}
