/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/bound.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* Deleted with each full chunk, so that nothing takes long. */
#define ROWS_AT_ONCE 4
/* What SQLite has beside the file, of its size; no more than … */
#define WAL_SHARE 8
#define WAL_BYTES ((uint64_t)2 << 20)

void bound_release(struct bound *b)
{
	free(b->marks);
	b->marks = NULL;
	b->n_marks = b->cap_marks = 0;
}

void bound_begin_file(struct bound *b)
{
	b->n_marks = 0;
	b->base = (struct bound_mark){0};
	b->last_chunk_bytes = 0;
	b->is_too_small = false; /* each file says so itself */
}

static uint64_t room(const struct bound *b)
{
	uint64_t wal = b->max_size / WAL_SHARE;

	return b->max_size - (wal < WAL_BYTES ? wal : WAL_BYTES);
}

/* What pays to be dropped. */
static uint64_t least(const struct bound *b, uint64_t state_bytes)
{
	uint64_t part = room(b) / 8;

	return part > state_bytes / 2 ? part : state_bytes / 2;
}

void bound_mark(struct bound *b, uint64_t chunk_bytes, const struct dropped_events *before,
		uint64_t checkpoint_bytes)
{
	if (!b->max_size)
		return;
	ARRAY_GROW(b->marks, b->cap_marks, b->n_marks);
	b->marks[b->n_marks++] = (struct bound_mark){
		*before, .chunk_bytes = chunk_bytes, .bytes = chunk_bytes + checkpoint_bytes};
}

/* Of chunks behind the last checkpoint. */
static uint64_t bytes_since_mark(const struct bound *b, const struct store_writer *w)
{
	const struct bound_mark *last = b->n_marks ? &b->marks[b->n_marks - 1] : &b->base;

	return store_writer_sizes(w).chunks - last->chunk_bytes;
}

bool bound_wants_mark(const struct bound *b, const struct store_writer *w, uint64_t state_bytes)
{
	uint64_t bytes = bytes_since_mark(b, w);

	return b->max_size && bytes >= room(b) / 8 && bytes >= 2 * state_bytes;
}

/* Until mark @i. */
static void drop(struct bound *b, struct store_writer *w, size_t i)
{
	b->base = b->marks[i];
	store_writer_drop(w, &b->base.before);
	b->n_marks -= i + 1;
	memmove(b->marks, b->marks + i + 1, b->n_marks * sizeof(*b->marks));
}

/* The first behind which enough goes, or the last if that is not nothing; false: neither. */
static bool choose(const struct bound *b, uint64_t state_bytes, size_t *ret)
{
	uint64_t enough = least(b, state_bytes);

	for (size_t i = 0; i < b->n_marks; i++) {
		uint64_t bytes = b->marks[i].bytes - b->base.bytes;

		*ret = i;
		if (bytes >= enough)
			return true;
		if (i + 1 == b->n_marks)
			return bytes >= enough / 2;
	}
	return false;
}

/* One that is made while recording goes on may take as long as so many chunks do. */
#define CHUNKS_AHEAD 16

bool bound_will_want_mark(const struct bound *b, struct store_writer *w, uint64_t state_bytes)
{
	uint64_t ahead = CHUNKS_AHEAD * (store_writer_sizes(w).chunks - b->last_chunk_bytes);
	size_t i;

	return b->max_size && state_bytes <= b->max_size / 3 &&
	       bytes_since_mark(b, w) + ahead >= least(b, state_bytes) &&
	       !choose(b, state_bytes, &i) &&
	       store_writer_used_bytes(w) + state_bytes + ahead > room(b);
}

static void say_it_is_too_small(struct bound *b, struct store_writer *w, uint64_t state_bytes)
{
	if (b->is_too_small)
		return;
	b->is_too_small = true;
	store_writer_put_number(w, "max_size_too_small", (int64_t)state_bytes);
	if (b->on_too_small)
		b->on_too_small(state_bytes, b->max_size);
}

bool bound_keep(struct bound *b, struct store_writer *w, uint64_t state_bytes, bool may_mark)
{
	uint64_t chunks = store_writer_sizes(w).chunks, last = chunks - b->last_chunk_bytes;
	size_t i;

	if (!b->max_size)
		return false;
	if (may_mark)
		b->last_chunk_bytes = chunks;
	/* more goes than comes: room is made until what was dropped is gone */
	if (store_writer_drop_rows(w, ROWS_AT_ONCE) ||
	    store_writer_used_bytes(w) + state_bytes + last + last / 4 <= room(b))
		return false;
	if (state_bytes > b->max_size / 3)
		say_it_is_too_small(b, w, state_bytes);
	if (choose(b, state_bytes, &i)) {
		drop(b, w, i);
		store_writer_drop_rows(w, ROWS_AT_ONCE);
		return false;
	}
	/* one takes its time: not after every chunk */
	if (may_mark && bytes_since_mark(b, w) >= least(b, state_bytes))
		return true;
	if (store_writer_used_bytes(w) > b->max_size)
		say_it_is_too_small(b, w, state_bytes);
	return false;
}

void bound_end(struct bound *b, struct store_writer *w)
{
	size_t i;

	if (!b->max_size)
		return;
	while (store_writer_drop_rows(w, 16 * ROWS_AT_ONCE))
		;
	if (store_writer_used_bytes(w) > room(b) && choose(b, 0, &i)) {
		drop(b, w, i);
		while (store_writer_drop_rows(w, 16 * ROWS_AT_ONCE))
			;
	}
}
