/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/summary.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/analysis.h"
#include "analyzer/rows.h"
#include "cli/progress.h"
#include "common/xalloc.h"

static void write_files(struct store_writer *w, const struct catalog *c, const struct analysis *a)
{
	struct rows rows;
	struct own own;

	own_init(&own, c, NULL, 0);
	rows_make(&rows, c, a, &own, ROWS_BY_FILE, false);
	own_release(&own);
	for (size_t i = 0; i < rows.n; i++)
		store_writer_put_file(w, rows.rows[i].file, rows.rows[i].module,
				      &rows.rows[i].totals);
	rows_release(&rows);
}

static void write_all(struct store_writer *w, const struct catalog *c, const struct analysis *a)
{
	store_writer_clear_summaries(w);
	for (size_t i = 0; i < a->n_groups; i++)
		store_writer_put_site(w, (struct stack_id){(uint32_t)a->groups[i].key},
				      &a->groups[i].totals);
	write_files(w, c, a);
	store_writer_put_number(w, "peak_bytes", (int64_t)a->totals.peak_bytes);
	store_writer_put_number(w, "peak_blocks", (int64_t)a->totals.peak_blocks);
	store_writer_put_number(w, "peak_time_ns", (int64_t)a->peak_time_ns);
}

static void take_site(void *arg, struct stack_id stack, const struct heap_totals *totals)
{
	struct analysis *a = arg;

	ARRAY_GROW(a->groups, a->cap_groups, a->n_groups);
	a->groups[a->n_groups++] = (struct group){.key = stack.v, .totals = *totals};
}

/* The catalog is read again: names have come since. */
static int write_with(struct store_writer *w, const char *path, const struct analysis *known,
		      bool files_only, struct err *err)
{
	struct store_reader *reader;
	struct catalog catalog;
	struct analysis read = {0};
	int r;

	r = store_reader_open(path, &reader, err);
	if (r)
		return r;
	r = store_reader_load(reader, &catalog, err);
	if (!r && files_only)
		r = store_reader_sites(reader, take_site, &read, err);
	else if (!r && !known)
		r = analysis_make(reader, GROUP_STACK, NULL, progress_events, &read, err);
	progress_end();
	if (!r && files_only) {
		store_writer_clear_files(w);
		write_files(w, &catalog, &read);
	} else if (!r) {
		write_all(w, &catalog, known ? known : &read);
	}
	analysis_release(&read);
	catalog_release(&catalog);
	store_reader_close(reader);
	return r;
}

int summary_rewrite_files(struct store_writer *w, const char *path, struct err *err)
{
	return write_with(w, path, NULL, true, err);
}

int summary_write(struct store_writer *w, const char *path, const struct analysis *known,
		  struct err *err)
{
	return write_with(w, path, known, false, err);
}
