/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/checkpoints.h"

#include <string.h>

#include "analyzer/checkpoint.h"
#include "collector/family.h"
#include "common/buffer.h"
#include "store/writer.h"

/*
 * Of the events' size, more where these are small: an event shall take less than three bytes
 * in all.  And so many chunks lie between two at least.
 */
#define SHARE_PERCENT_MIN 8
#define SHARE_PERCENT_MAX 18
#define EVENT_CENTIBYTES 285
#define CHUNKS_BETWEEN 4
/* A tenth of a microsecond each: the ring has room for what comes meanwhile. */
#define BLOCKS_AT_ONCE 250000
/* What a block or a group takes, until there is one to go by. */
#define ENTRY_BYTES 7

void checkpoints_init(struct checkpoints *c)
{
	memset(c, 0, sizeof(*c));
	totals_init(&c->totals, GROUPS_ALL, 0);
	c->totals.families = ~families_above_heap();
	c->blocks_at_once = BLOCKS_AT_ONCE;
	c->most_entries = UINT64_MAX;
}

/* Nobody wants it any more. */
static void drop_job(struct checkpoints *c)
{
	checkpoint_job_free(c->job);
	c->job = NULL;
	c->job_has_copy = c->job_is_unwanted = false;
	buffer_release(&c->job_totals);
}

void checkpoints_release(struct checkpoints *c)
{
	drop_job(c);
	totals_release(&c->totals);
	bound_release(&c->bound);
}

static void count(void *arg, struct space_id space, const struct event *e,
		  const struct replay_step *step)
{
	struct checkpoints *c = arg;

	if (space.v != c->space.v) {
		totals_begin_space(&c->totals);
		c->space = space;
	}
	totals_count(&c->totals, e, step);
}

static uint64_t count_entries(const struct checkpoints *c, const struct replay *heap)
{
	uint64_t n = heap->slots.next;

	for (int k = 0; k < GROUP_KEYS; k++)
		n += c->totals.tallies[k].n;
	return n;
}

static bool put_totals(const struct buffer *totals, struct store_writer *w, uint64_t chunk,
		       uint64_t t_ns)
{
	store_writer_begin_checkpoint(w, CHECKPOINT_TOTALS, chunk, t_ns);
	store_writer_add_to_checkpoint(w, totals->data, totals->len);
	return store_writer_end_checkpoint(w);
}

static bool put_heap(const struct checkpoints *c, struct store_writer *w, uint64_t chunk,
		     const struct replay *heap)
{
	store_writer_begin_checkpoint(w, CHECKPOINT_HEAP, chunk, c->totals.sums.last_ns);
	checkpoint_save_heap(heap, store_writer_add_to_checkpoint, w);
	return store_writer_end_checkpoint(w);
}

static bool put(struct checkpoints *c, struct store_writer *w, uint64_t chunk,
		const struct replay *heap)
{
	uint64_t before = store_writer_sizes(w).checkpoints;
	struct buffer totals = {0};
	bool is_whole;

	checkpoint_save_totals(&c->totals, &totals);
	is_whole = put_totals(&totals, w, chunk, c->totals.sums.last_ns) &&
		   put_heap(c, w, chunk, heap);
	buffer_release(&totals);
	c->last_chunk = chunk;
	c->last_bytes = store_writer_sizes(w).checkpoints - before;
	c->last_entries = count_entries(c, heap);
	if (is_whole)
		bound_mark(&c->bound, store_writer_sizes(w).chunks,
			   &(struct dropped_events){.chunks = chunk,
						    .events = c->totals.sums.events,
						    .until_ns = c->totals.sums.last_ns},
			   before);
	return is_whole;
}

/* ---- of very many blocks ------------------------------------------------------------- */

/* After a full chunk: it is of the state behind it. */
static void copy_for_job(struct checkpoints *c, struct store_writer *w, uint64_t chunk,
			 const struct replay *heap)
{
	checkpoint_job_copy(c->job, heap, chunk, c->totals.sums.last_ns);
	checkpoint_save_totals(&c->totals, &c->job_totals);
	c->job_has_copy = true;
	c->last_chunk = chunk;
	c->job_info = (struct checkpoint_info){.chunk = chunk, .t_ns = c->totals.sums.last_ns};
	c->job_before = (struct dropped_events){.chunks = chunk,
						.events = c->totals.sums.events,
						.until_ns = c->totals.sums.last_ns};
	c->job_chunk_bytes = store_writer_sizes(w).chunks;
	c->job_entries = count_entries(c, heap);
}

/* Waits for it, if need be: what there is of both goes into the same transaction. */
static void end_job(struct checkpoints *c, struct store_writer *w)
{
	uint64_t before = store_writer_sizes(w).checkpoints;
	struct checkpoint_packer *packer;

	if (!c->job_has_copy) {
		drop_job(c);
		return;
	}
	packer = checkpoint_job_wait(c->job);
	if (packer->is_good &&
	    put_totals(&c->job_totals, w, c->job_info.chunk, c->job_info.t_ns) &&
	    store_writer_put_checkpoint(w, packer)) {
		c->last_bytes = store_writer_sizes(w).checkpoints - before;
		c->last_entries = c->job_entries;
		bound_mark(&c->bound, c->job_chunk_bytes, &c->job_before, before);
	} else if (c->job_entries < c->most_entries) {
		c->most_entries = c->job_entries;
	}
	drop_job(c);
}

/* What there is to do for it after a full chunk. */
static void serve_job(struct checkpoints *c, struct store_writer *w, uint64_t chunk,
		      const struct replay *heap)
{
	if (c->job_is_unwanted && checkpoint_job_is_done(c->job))
		drop_job(c);
	else if (c->job_is_unwanted)
		return;
	else if (c->job_has_copy && checkpoint_job_is_done(c->job))
		end_job(c, w);
	else if (c->job && checkpoint_job_has_room(c->job))
		copy_for_job(c, w, chunk, heap);
}

/* ---- when ---------------------------------------------------------------------------- */

static bool put_state(void *arg, struct store_writer *w, const struct replay *heap, uint64_t chunk,
		      struct dropped_events *ret)
{
	struct checkpoints *c = arg;
	bool is_whole;

	end_job(c, w);
	*ret = (struct dropped_events){.events = c->totals.sums.events,
				       .until_ns = c->totals.sums.last_ns};
	is_whole = put(c, w, chunk, heap);
	if (!chunk)
		bound_begin_file(&c->bound);
	return is_whole;
}

/* Bytes that checkpoints may have. */
static uint64_t allowance(const struct checkpoints *c, uint64_t chunk_bytes)
{
	uint64_t least = chunk_bytes * SHARE_PERCENT_MIN / 100;
	uint64_t most = chunk_bytes * SHARE_PERCENT_MAX / 100;
	uint64_t all = c->totals.sums.events * EVENT_CENTIBYTES / 100;
	uint64_t rest = all > chunk_bytes ? all - chunk_bytes : 0;

	return rest < least ? least : rest > most ? most : rest;
}

/* There is no room for more without one: that of the job, or one that is made at once. */
static void make_mark(struct checkpoints *c, struct store_writer *w, uint64_t chunk,
		      const struct replay *heap, uint64_t bytes)
{
	if (c->job_has_copy) {
		end_job(c, w);
		if (!bound_keep(&c->bound, w, bytes, true))
			return;
	} else if (c->job) { /* to wait until it has room would take longer than this */
		checkpoint_job_leave(c->job);
		c->job_is_unwanted = true;
	}
	put(c, w, chunk, heap);
	bound_keep(&c->bound, w, bytes, false);
}

static void chunk_is_full(void *arg, struct store_writer *w, uint64_t chunk,
			  const struct replay *heap)
{
	struct checkpoints *c = arg;
	uint64_t entries = count_entries(c, heap), bytes = entries * ENTRY_BYTES;
	struct store_writer_sizes sizes;
	bool is_due, is_wanted;

	serve_job(c, w, chunk, heap);
	sizes = store_writer_sizes(w);
	if (c->last_entries)
		bytes = (uint64_t)((double)c->last_bytes / (double)c->last_entries *
				   (double)entries);
	is_due = !c->job && chunk >= c->last_chunk + CHUNKS_BETWEEN &&
		 sizes.checkpoints + bytes <= allowance(c, sizes.chunks);
	is_wanted = !c->job && bound_wants_mark(&c->bound, w, bytes);
	if ((is_due || is_wanted) && heap->live_blocks <= c->blocks_at_once)
		put(c, w, chunk, heap);
	else if (!c->job && entries < c->most_entries / 8 * 7 &&
		 ((is_due && !c->bound.max_size) || is_wanted ||
		  bound_will_want_mark(&c->bound, w, bytes)))
		c->job = checkpoint_job_start(heap);
	if (bound_keep(&c->bound, w, bytes, true))
		make_mark(c, w, chunk, heap, bytes);
}

/* What there is at the end is not read event by event again. */
static void end(void *arg, struct store_writer *w, const struct replay *heap)
{
	struct checkpoints *c = arg;
	uint64_t chunk = store_writer_sizes(w).last_chunk;

	if (heap->space.v != c->space.v) { /* a program that never allocated */
		totals_begin_space(&c->totals);
		c->space = heap->space;
	}
	end_job(c, w);
	bound_end(&c->bound, w);
	if (chunk)
		put(c, w, chunk, heap);
}

struct drain_observer checkpoints_observer(struct checkpoints *c)
{
	return (struct drain_observer){.arg = c, .step = count, .chunk = chunk_is_full,
				       .state = put_state, .end = end};
}
