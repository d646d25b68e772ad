/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/earlier.h"

#include <errno.h>
#include <stdlib.h>

#include "common/xalloc.h"

#define OPEN_MAX_FILES 16 /* at a time */

struct earlier_file {
	char *path;
	uint64_t chunks_before, snapshots_before; /* in the files before it */
	struct store_extent extent;
	struct dropped_events dropped;
	struct store_reader *reader; /* NULL: it is not open */
	uint64_t used;		     /* the larger, the later */
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

static int open_file(struct store_earlier *e, struct earlier_file *f, struct err *err)
{
	int r;

	f->used = ++e->uses;
	if (f->reader)
		return 0;
	if (e->n_open >= OPEN_MAX_FILES)
		close_oldest(e);
	r = store_reader_open(f->path, &f->reader, err);
	if (r)
		return r;
	store_reader_spare_memory(f->reader);
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

bool store_earlier_find_checkpoint(struct store_earlier *e, uint64_t until,
				   struct checkpoint_info *ret)
{
	for (struct earlier_file *f = file_after(e, until) + 1; f-- > e->files;) {
		struct err err;

		if (open_file(e, f, &err))
			return false;
		if (store_reader_find_checkpoint(f->reader, until - f->chunks_before, ret)) {
			ret->chunk += f->chunks_before;
			return true;
		}
	}
	return false;
}

bool store_earlier_checkpoint(struct store_earlier *e, enum checkpoint_kind kind, uint64_t chunk,
			      struct buffer *ret)
{
	struct earlier_file *f = file_after(e, chunk);
	struct err err;

	return !open_file(e, f, &err) &&
	       store_reader_checkpoint(f->reader, kind, chunk - f->chunks_before, ret);
}

uint64_t store_earlier_chunk_at(struct store_earlier *e, uint64_t t_ns)
{
	size_t i = e->n - 1;
	struct err err;

	/* one without events has none that begins before */
	while (i && (!e->files[i].extent.events || e->files[i].extent.first_ns > t_ns))
		i--;
	if (open_file(e, &e->files[i], &err))
		return e->files[i].chunks_before;
	return e->files[i].chunks_before + store_reader_chunk_at(e->files[i].reader, t_ns);
}

/* ---- snapshots ----------------------------------------------------------------------- */

struct listing {
	store_reader_snapshot_info *each;
	void *arg;
	uint64_t before;
};

static void list_one(void *arg, const struct snapshot_info *i)
{
	const struct listing *l = arg;
	struct snapshot_info numbered = *i;

	numbered.id += l->before;
	l->each(l->arg, &numbered);
}

int store_earlier_list_snapshots(struct store_earlier *e, store_reader_snapshot_info *each,
				 void *arg, struct err *err)
{
	struct listing l = {.each = each, .arg = arg};
	int r = 0;

	for (size_t i = 0; i < e->n && !r; i++) {
		if (!e->files[i].extent.snapshots)
			continue;
		l.before = e->files[i].snapshots_before;
		r = open_file(e, &e->files[i], err);
		if (!r)
			r = store_reader_snapshots(e->files[i].reader, list_one, &l, err);
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
