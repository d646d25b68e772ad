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
/* More live blocks would keep the ring waiting for too long: only at the end, or in need. */
#define BLOCKS_AT_ONCE 250000
/* What a block or a group takes, until there is one to go by. */
#define ENTRY_BYTES 7

void checkpoints_init(struct checkpoints *c)
{
	memset(c, 0, sizeof(*c));
	totals_init(&c->totals, GROUPS_ALL, 0);
	c->totals.families = ~families_above_heap();
}

void checkpoints_release(struct checkpoints *c)
{
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

static bool put_totals(struct checkpoints *c, struct store_writer *w, uint64_t chunk)
{
	struct buffer b = {0};

	checkpoint_save_totals(&c->totals, &b);
	store_writer_begin_checkpoint(w, CHECKPOINT_TOTALS, chunk, c->totals.sums.last_ns);
	store_writer_add_to_checkpoint(w, b.data, b.len);
	buffer_release(&b);
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
	bool is_whole = put_totals(c, w, chunk) && put_heap(c, w, chunk, heap);

	c->last_chunk = chunk;
	c->last_bytes = store_writer_sizes(w).checkpoints - before;
	c->last_entries = count_entries(c, heap);
	if (is_whole)
		bound_mark(&c->bound, w,
			   &(struct dropped_events){.chunks = chunk,
						    .events = c->totals.sums.events,
						    .until_ns = c->totals.sums.last_ns},
			   before);
	return is_whole;
}

static bool put_state(void *arg, struct store_writer *w, const struct replay *heap, uint64_t chunk,
		      struct dropped_events *ret)
{
	struct checkpoints *c = arg;

	*ret = (struct dropped_events){.events = c->totals.sums.events,
				       .until_ns = c->totals.sums.last_ns};
	return put(c, w, chunk, heap);
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

static void chunk_is_full(void *arg, struct store_writer *w, uint64_t chunk,
			  const struct replay *heap)
{
	struct checkpoints *c = arg;
	struct store_writer_sizes sizes = store_writer_sizes(w);
	uint64_t entries = count_entries(c, heap), bytes = entries * ENTRY_BYTES;

	if (c->last_entries)
		bytes = (uint64_t)((double)c->last_bytes / (double)c->last_entries *
				   (double)entries);
	if ((chunk >= c->last_chunk + CHUNKS_BETWEEN && heap->live_blocks <= BLOCKS_AT_ONCE &&
	     sizes.checkpoints + bytes <= allowance(c, sizes.chunks)) ||
	    bound_wants_mark(&c->bound, w, bytes))
		put(c, w, chunk, heap);
	if (bound_keep(&c->bound, w, bytes, true)) {
		put(c, w, chunk, heap);
		bound_keep(&c->bound, w, bytes, false);
	}
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
	bound_end(&c->bound, w);
	if (chunk)
		put(c, w, chunk, heap);
}

struct drain_observer checkpoints_observer(struct checkpoints *c)
{
	return (struct drain_observer){.arg = c, .step = count, .chunk = chunk_is_full,
				       .state = put_state, .end = end};
}
