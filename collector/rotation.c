/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/rotation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "store/reader.h"

#define SUFFIX ".trail"

static char *name(const struct rotation *r, unsigned int number)
{
	size_t n = strlen(r->pattern), end = strlen(SUFFIX);

	if (n > end && r->pattern[n - end - 1] != '/' && !strcmp(r->pattern + n - end, SUFFIX))
		return xasprintf("%.*s.%u" SUFFIX, (int)(n - end), r->pattern, number);
	return xasprintf("%s.%u", r->pattern, number);
}

void rotation_release(struct rotation *r)
{
	free(r->pattern);
	r->pattern = NULL;
}

char *rotation_begin(struct rotation *r, char *path)
{
	if (!r->every_ns)
		return path;
	r->pattern = path;
	r->number = 1;
	return name(r, 1);
}

void rotation_put_facts(const struct rotation *r, struct store_writer *w)
{
	char *id;

	if (!r->every_ns)
		return;
	store_writer_put_number(w, "rotation_number", r->number);
	if (r->number > 1) /* the id was copied */
		return;
	id = xasprintf("%llx-%x", (unsigned long long)clock_realtime_ns(), (unsigned int)getpid());
	store_writer_put_text(w, "rotation_id", id);
	free(id);
}

void rotation_keep_user(const struct rotation *r, const struct target_identity *id)
{
	/* as saved ids: one may become that without any right, and be oneself again */
	if (r->every_ns && id->change &&
	    (setresgid((gid_t)-1, (gid_t)-1, id->gid) < 0 ||
	     setresuid((uid_t)-1, (uid_t)-1, id->uid) < 0))
		abort(); /* root may */
}

bool rotation_is_due(struct rotation *r, uint64_t start_ns, uint64_t now)
{
	if (!r->every_ns)
		return false;
	if (!r->next_ns)
		r->next_ns = start_ns + r->every_ns;
	if (now < r->next_ns)
		return false;
	r->next_ns += (now - r->next_ns) / r->every_ns * r->every_ns + r->every_ns;
	return true;
}

void rotation_files(const struct rotation *r, unsigned int *ret_n, unsigned int *ret_removed)
{
	*ret_n = r->number;
	*ret_removed = r->removed;
}

/* What all may grow by until they are looked at again. */
#define SPARE_SHARE 8
#define SPARE_BYTES ((uint64_t)2 << 20)
/* There may be thousands, and somebody waits for us: looking takes a thousandth of the time. */
#define LOOK_NS_A_FILE 10000000ull

/* There shall be room for @bytes more. */
static void make_room(struct rotation *r, const struct store_writer_options *o, uint64_t bytes)
{
	uint64_t spare = r->max_bytes / SPARE_SHARE;
	unsigned int i = r->number, removed;

	if (!r->every_ns || !r->max_bytes)
		return;
	spare = spare < SPARE_BYTES ? spare : SPARE_BYTES;
	for (; i > r->removed; i--) {
		char *path = name(r, i);

		bytes += store_bytes_on_disk(path);
		free(path);
		if (bytes > r->max_bytes - spare)
			break;
	}
	removed = i < r->number ? i : r->number - 1;
	while (r->removed < removed) {
		char *path = name(r, ++r->removed);

		store_writer_remove(path, o);
		free(path);
	}
}

void rotation_keep_below(struct rotation *r, const struct store_writer_options *o)
{
	uint64_t now = clock_now_ns();

	if (now < r->look_ns)
		return;
	r->look_ns = now + (r->number - r->removed) * LOOK_NS_A_FILE;
	make_room(r, o, 0);
}

/* What the old file says of its end. */
static void put_end(struct store_writer *w, const struct drain *d)
{
	store_writer_put_number(w, "end_ns", (int64_t)clock_now_ns());
	store_writer_put_number(w, "exited", 0);
	store_writer_put_number(w, "events", (int64_t)d->counts.events);
}

static int turn(struct rotation *r, struct drain *d, const struct store_writer_options *o,
		const char *next, struct err *err)
{
	uint64_t last = store_writer_end_chunk(d->writer);
	const struct drain_observer *observer = &d->observer;
	struct dropped_events earlier;
	struct store_writer *old;
	int e;

	if (!observer->state(observer->arg, d->writer, &d->heap, last, &earlier))
		return err_set(err, ERR_FAILED, 0, "cannot begin '%s': the state of the heap is "
			       "too large to be stored", next);
	e = store_writer_flush(d->writer, err);
	make_room(r, o, 2 * r->begin_bytes); /* it is in the WAL, too */
	if (!e)
		e = store_writer_continue(d->writer, next, o, &earlier, &old, err);
	if (e)
		return e;
	r->number++;
	observer->state(observer->arg, d->writer, &d->heap, 0, &earlier);
	rotation_put_facts(r, d->writer);
	/* the end is put last: until the next one is there it goes on */
	put_end(old, d);
	if (store_writer_close(old, err) && r->on_failure)
		r->on_failure(err);
	e = store_writer_flush(d->writer, err);
	r->begin_bytes = store_bytes_on_disk(next);
	return e;
}

int rotation_turn(struct rotation *r, struct drain *d, const struct store_writer_options *o,
		  char **path, struct err *err)
{
	unsigned int before = r->number;
	char *next = name(r, before + 1);
	int e = turn(r, d, o, next, err);

	if (r->number == before) {
		free(next);
		if (e && !store_writer_flush(d->writer, NULL)) { /* in the old one it goes on */
			if (r->on_failure)
				r->on_failure(err);
			return 0;
		}
		return e;
	}
	if (r->on_closed)
		r->on_closed(*path);
	free(*path);
	*path = next;
	return e;
}
