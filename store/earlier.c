/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/earlier.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xalloc.h"

#define OPEN_MAX_FILES 16 /* at a time */
/* Whoever completes a file tries for two seconds to have it alone. */
#define UNSEALED_OPEN_NS 500000000ull

struct earlier_file {
	char *path;
	uint64_t chunks_before, snapshots_before; /* in the files before it */
	struct store_extent extent;
	struct dropped_events dropped;
	struct store_reader *reader; /* NULL: it is not open */
	uint64_t used;		     /* the larger, the later */
	uint64_t opened_ns;
};

struct store_earlier {
	struct earlier_file *files;
	size_t n, n_open;
	uint64_t uses;
};

/* ---- which are open ------------------------------------------------------------------ */

static void close_file(struct store_earlier *e, struct earlier_file *f)
{
	if (!f->reader)
		return;
	store_reader_close(f->reader);
	f->reader = NULL;
	e->n_open--;
}

static void close_oldest(struct store_earlier *e)
{
	struct earlier_file *oldest = NULL;

	for (size_t i = 0; i < e->n; i++)
		if (e->files[i].reader && (!oldest || e->files[i].used < oldest->used))
			oldest = &e->files[i];
	if (oldest)
		close_file(e, oldest);
}

/* Those that are not sealed, and were opened before @before_ns. */
static void close_unsealed(struct store_earlier *e, uint64_t before_ns)
{
	for (size_t i = 0; i < e->n && e->n_open; i++) {
		struct earlier_file *f = &e->files[i];

		if (f->reader && f->opened_ns < before_ns && !store_reader_is_sealed(f->reader))
			close_file(e, f);
	}
}

void store_earlier_rest(struct store_earlier *e)
{
	close_unsealed(e, UINT64_MAX);
}

static int open_file(struct store_earlier *e, struct earlier_file *f, struct err *err)
{
	uint64_t now_ns = clock_now_ns();
	int r;

	f->used = ++e->uses;
	close_unsealed(e, now_ns - UNSEALED_OPEN_NS);
	if (f->reader)
		return 0;
	if (e->n_open >= OPEN_MAX_FILES)
		close_oldest(e);
	r = store_reader_open(f->path, &f->reader, err);
	if (r && access(f->path, F_OK) < 0 && errno == ENOENT)
		err_hint(err, "with --max-size the recorder removes the oldest files: look at "
			      "those that are left");
	if (r)
		return r;
	store_reader_spare_memory(f->reader);
	f->opened_ns = now_ns;
	e->n_open++;
	return 0;
}

/* ---- life ---------------------------------------------------------------------------- */

static int events_are_missing(const struct earlier_file *f, const char *next, struct err *err)
{
	err_set(err, ERR_USAGE, 0, "events between '%s' and '%s' are missing", f->path, next);
	err_hint(err, "the first is not whole, or a file between them is not given: look at one "
		      "at a time");
	return -EINVAL;
}

/* Does @next, of which @dropped is known, begin where @f ends? */
static int check_end(const struct earlier_file *f, const char *next,
		     const struct dropped_events *dropped, struct err *err)
{
	if (!dropped->chunks && dropped->events == f->dropped.events + f->extent.events)
		return 0;
	return events_are_missing(f, next, err);
}

static int look_at(struct store_earlier *e, struct earlier_file *f, struct err *err)
{
	struct earlier_file *before = f > e->files ? f - 1 : NULL;
	int r = open_file(e, f, err);

	if (!r)
		r = store_reader_extent(f->reader, &f->extent, err);
	if (r)
		return r;
	f->dropped = store_reader_dropped(f->reader);
	if (!before)
		return 0;
	f->chunks_before = before->chunks_before + before->extent.chunks;
	f->snapshots_before = before->snapshots_before + before->extent.snapshots;
	return check_end(before, f->path, &f->dropped, err);
}

static int look_at_last(struct store_earlier *e, const char *path, struct err *err)
{
	struct dropped_events dropped;
	struct store_reader *last;
	int r = store_reader_open(path, &last, err);

	if (r)
		return r;
	dropped = store_reader_dropped(last);
	store_reader_close(last);
	return check_end(&e->files[e->n - 1], path, &dropped, err);
}

int store_earlier_open(const char *const *paths, size_t n, const char *last,
		       struct store_earlier **ret, struct err *err)
{
	struct store_earlier *e = xcalloc(1, sizeof(*e));
	int r = 0;

	e->files = xcalloc(n, sizeof(*e->files));
	while (!r && e->n < n) {
		struct earlier_file *f = &e->files[e->n];

		f->path = xstrdup(paths[e->n++]);
		r = look_at(e, f, err);
	}
	if (!r)
		r = look_at_last(e, last, err);
	store_earlier_rest(e);
	if (r)
		store_earlier_close(e);
	else
		*ret = e;
	return r;
}

void store_earlier_close(struct store_earlier *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++) {
		close_file(e, &e->files[i]);
		free(e->files[i].path);
	}
	free(e->files);
	free(e);
}

uint64_t store_earlier_bytes_on_disk(const struct store_earlier *e)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < e->n; i++)
		bytes += store_bytes_on_disk(e->files[i].path);
	return bytes;
}

/* ---- all of them as one -------------------------------------------------------------- */

static const struct earlier_file *last_of(const struct store_earlier *e)
{
	return &e->files[e->n - 1];
}

uint64_t store_earlier_chunks(const struct store_earlier *e)
{
	return last_of(e)->chunks_before + last_of(e)->extent.chunks;
}

uint64_t store_earlier_snapshots(const struct store_earlier *e)
{
	return last_of(e)->snapshots_before + last_of(e)->extent.snapshots;
}

struct dropped_events store_earlier_dropped(const struct store_earlier *e)
{
	return e->files[0].dropped;
}

/* The last file that begins with so many chunks before it, or fewer. */
static struct earlier_file *file_after(struct store_earlier *e, uint64_t chunk)
{
	size_t i = e->n - 1;

	while (i && e->files[i].chunks_before > chunk)
		i--;
	return &e->files[i];
}

int store_earlier_of_chunk(struct store_earlier *e, uint64_t after, struct store_reader **ret,
			   uint64_t *ret_before, struct err *err)
{
	struct earlier_file *f = file_after(e, after);
	int r = open_file(e, f, err);

	if (r)
		return r;
	*ret = f->reader;
	*ret_before = f->chunks_before;
	return 0;
}

int store_earlier_find_checkpoint(struct store_earlier *e, uint64_t until,
				  struct checkpoint_info *ret, struct err *err)
{
	int r = 0;

	for (struct earlier_file *f = file_after(e, until) + 1; !r && f-- > e->files;) {
		r = open_file(e, f, err);
		if (!r)
			r = store_reader_find_checkpoint(f->reader, until - f->chunks_before, ret,
							 err);
		if (r == 1)
			ret->chunk += f->chunks_before;
	}
	return r;
}

int store_earlier_checkpoint(struct store_earlier *e, enum checkpoint_kind kind, uint64_t chunk,
			     struct buffer *ret, struct err *err)
{
	struct earlier_file *f = file_after(e, chunk);
	int r = open_file(e, f, err);

	return r ? r : store_reader_checkpoint(f->reader, kind, chunk - f->chunks_before, ret, err);
}

int store_earlier_chunk_at(struct store_earlier *e, uint64_t t_ns, uint64_t *ret, struct err *err)
{
	size_t i = e->n - 1;
	int r;

	/* one without events has none that begins before */
	while (i && (!e->files[i].extent.events || e->files[i].extent.first_ns > t_ns))
		i--;
	r = open_file(e, &e->files[i], err);
	if (!r)
		r = store_reader_chunk_at(e->files[i].reader, t_ns, ret, err);
	if (!r)
		*ret += e->files[i].chunks_before;
	return r;
}

/* ---- snapshots ----------------------------------------------------------------------- */

int store_earlier_list_snapshots(struct store_earlier *e, store_reader_snapshot_info *each,
				 void *arg, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < e->n && !r; i++) {
		if (!e->files[i].extent.snapshots)
			continue;
		r = open_file(e, &e->files[i], err);
		if (!r)
			r = store_reader_list_snapshots(e->files[i].reader,
							e->files[i].snapshots_before, each, arg,
							err);
	}
	return r;
}

int store_earlier_snapshot(struct store_earlier *e, uint64_t id, struct snapshot *ret,
			   struct err *err)
{
	size_t i = e->n - 1;
	int r;

	while (i && e->files[i].snapshots_before >= id)
		i--;
	r = open_file(e, &e->files[i], err);
	if (r)
		return r;
	return store_reader_snapshot(e->files[i].reader, id - e->files[i].snapshots_before, ret,
				     err);
}

/* ---- names --------------------------------------------------------------------------- */

struct naming {
	struct catalog *catalog;
	struct frame_id frame; /* that lacked names: all of its functions are taken */
};

static void name_one(void *arg, const struct symbol_record *s)
{
	struct naming *n = arg;
	const struct catalog_frame *f = catalog_frame(n->catalog, s->frame);

	if (!s->depth)
		n->frame.v = f->function || f->file ? 0 : s->frame.v;
	if (n->frame.v && n->frame.v == s->frame.v)
		catalog_add_symbol(n->catalog, s);
}

int store_earlier_name(struct store_earlier *e, struct catalog *c, struct err *err)
{
	struct naming n = {.catalog = c};
	int r = 0;

	for (size_t i = e->n; i-- > 0 && !r;) {
		r = open_file(e, &e->files[i], err);
		if (!r)
			r = store_reader_symbols(e->files[i].reader, name_one, &n, err);
	}
	return r;
}

/* ---- the RSS ------------------------------------------------------------------------- */

int store_earlier_add_rss(struct store_earlier *e, struct timeline *t, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < e->n && !r; i++) {
		r = open_file(e, &e->files[i], err);
		if (!r)
			r = store_reader_add_rss(e->files[i].reader, t, err);
	}
	return r;
}
