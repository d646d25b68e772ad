/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "store/chunk.h"

/* ---- totals -------------------------------------------------------------------------- */

/* The sums in the order that they are stored in. */
#define SUMS 13

static void list_sums(struct totals *t, uint64_t *ret[SUMS])
{
	struct analysis *a = &t->sums;
	uint64_t *const sums[SUMS] = {
		&a->events, &a->first_ns, &a->last_ns, &a->totals.alloc_calls,
		&a->totals.allocated_bytes, &a->totals.temporary_allocs, &a->totals.peak_blocks,
		&a->totals.peak_bytes, &a->peak_time_ns, &a->free_calls, &a->ended_by_exec_blocks,
		&a->ended_by_exec_bytes, &t->live_blocks};

	memcpy(ret, sums, sizeof(sums));
}

static void save_difference(struct buffer *column, uint64_t to, uint64_t from)
{
	buffer_append_varint(column, zigzag((int64_t)(to - from)));
}

static void save_group(const struct totals *t, const struct group *g, uint64_t key_before,
		       struct buffer *out)
{
	const struct heap_totals *h = &g->totals;
	bool is_noted = g->peaks_seen == t->peaks; /* if not, its share is what is live */

	buffer_append_varint(out, zigzag((int64_t)(g->key - key_before)));
	buffer_append_varint(out, h->alloc_calls);
	buffer_append_varint(out, h->allocated_bytes);
	buffer_append_varint(out, h->temporary_allocs);
	buffer_append_varint(out, h->live_blocks);
	buffer_append_varint(out, h->live_bytes);
	save_difference(out, is_noted ? h->peak_blocks : h->live_blocks, h->live_blocks);
	save_difference(out, is_noted ? h->peak_bytes : h->live_bytes, h->live_bytes);
}

void checkpoint_save_totals(const struct totals *t, struct buffer *out)
{
	uint64_t *sums[SUMS];

	list_sums((struct totals *)t, sums);
	for (int i = 0; i < SUMS; i++)
		buffer_append_varint(out, *sums[i]);
	buffer_append_varint(out, t->live_bytes);
	for (int i = 0; i < FREE_CLASSES; i++)
		buffer_append_varint(out, t->sums.frees[i]);
	for (int k = 0; k < GROUP_KEYS; k++) {
		const struct tally *y = &t->tallies[k];

		buffer_append_varint(out, y->n);
		for (size_t i = 0; i < y->n; i++)
			save_group(t, &y->groups[i], i ? y->groups[i - 1].key : 0, out);
	}
}

static void restore_group(struct totals *t, enum group_key kind, uint64_t key, struct cursor *c)
{
	struct heap_totals h = {0};

	h.alloc_calls = cursor_varint(c);
	h.allocated_bytes = cursor_varint(c);
	h.temporary_allocs = cursor_varint(c);
	h.live_blocks = cursor_varint(c);
	h.live_bytes = cursor_varint(c);
	h.peak_blocks = h.live_blocks + (uint64_t)unzigzag(cursor_varint(c));
	h.peak_bytes = h.live_bytes + (uint64_t)unzigzag(cursor_varint(c));
	if (c->bad)
		return;
	if (t->tallies[kind].is_wanted) {
		struct group *g = totals_group(t, kind, key);

		g->totals = h;
		g->peaks_seen = t->peaks;
	} else if (kind == GROUP_STACK) {
		totals_count_stack(t, (struct stack_id){(uint32_t)key}, h.alloc_calls);
	}
}

bool checkpoint_restore_totals(struct totals *t, const void *data, size_t len)
{
	struct cursor c = {.p = data, .end = (const uint8_t *)data + len};
	uint64_t *sums[SUMS];

	list_sums(t, sums);
	for (int i = 0; i < SUMS; i++)
		*sums[i] = cursor_varint(&c);
	t->live_bytes = cursor_varint(&c);
	for (int i = 0; i < FREE_CLASSES; i++)
		t->sums.frees[i] = cursor_varint(&c);
	for (int k = 0; k < GROUP_KEYS; k++) {
		uint64_t n = cursor_varint(&c), key = 0;

		while (n-- && !c.bad) {
			key += (uint64_t)unzigzag(cursor_varint(&c));
			restore_group(t, (enum group_key)k, key, &c);
		}
	}
	return !c.bad && c.p == c.end;
}

/* More there are never: a larger number is damage. */
#define THREADS_MAX (1u << 24)

/* ---- the heap ------------------------------------------------------------------------ */

enum heap_column {
	HEAP_FREED,   /* the slots that are free, the next one last */
	HEAP_SLOTS,   /* of the live blocks: the difference to the one before */
	HEAP_TIME_LOW, HEAP_TIME_HIGH,
	HEAP_ADDRESS,
	HEAP_SIZE,
	HEAP_USABLE,
	HEAP_STACK,
	HEAP_THREAD,
	HEAP_FAMILY,
	HEAP_LAST,    /* threads whose last event made a block, and in which slot that is */
	HEAP_COLUMNS
};

static uint64_t restore_difference(struct cursor *column, uint64_t from)
{
	return from + (uint64_t)unzigzag(cursor_varint(column));
}

static void save_block(struct buffer *col, const struct replay_block *b,
		       const struct replay_block *before)
{
	uint64_t time = zigzag((int64_t)(b->t_ns - before->t_ns));
	uint8_t low = (uint8_t)time;

	buffer_append(&col[HEAP_TIME_LOW], &low, 1);
	buffer_append_varint(&col[HEAP_TIME_HIGH], time >> 8);
	/* most are multiples of 16 */
	save_difference(&col[HEAP_ADDRESS], b->address >> 4 | b->address << 60,
			before->address >> 4 | before->address << 60);
	buffer_append_varint(&col[HEAP_SIZE], b->size);
	buffer_append_varint(&col[HEAP_USABLE], b->usable == USABLE_UNKNOWN ? 0 : 1);
	if (b->usable != USABLE_UNKNOWN)
		save_difference(&col[HEAP_USABLE], b->usable, chunk_usual_usable(b->size));
	save_difference(&col[HEAP_STACK], b->stack.v, before->stack.v);
	buffer_append_varint(&col[HEAP_THREAD], b->thread.v);
	buffer_append(&col[HEAP_FAMILY], &b->family, 1);
}

void checkpoint_save_heap(const struct replay *heap, struct buffer *out)
{
	struct buffer col[HEAP_COLUMNS] = {0};
	struct replay_block before = {0};
	uint32_t last = 0;

	for (size_t i = 0; i < heap->slots.n_freed; i++) {
		save_difference(&col[HEAP_FREED], heap->slots.freed[i], last);
		last = heap->slots.freed[i];
	}
	last = 0;
	for (uint32_t i = 0; i < heap->slots.next; i++) {
		const struct replay_block *b = replay_at(heap, i);

		if (!b->is_live)
			continue;
		buffer_append_varint(&col[HEAP_SLOTS], i - last);
		last = i;
		save_block(col, b, &before);
		before = *b;
	}
	for (uint32_t i = 0; i < heap->n_threads; i++)
		if (heap->last_made[i]) {
			buffer_append_varint(&col[HEAP_LAST], i);
			buffer_append_varint(&col[HEAP_LAST], heap->last_made[i] - 1);
		}
	buffer_append_varint(out, heap->space.v);
	buffer_append_varint(out, heap->ordinal);
	buffer_append_varint(out, heap->live_blocks);
	buffer_append_varint(out, heap->slots.n_freed);
	for (int i = 0; i < HEAP_COLUMNS; i++) {
		buffer_append_varint(out, col[i].len);
		buffer_append(out, col[i].data, col[i].len);
		buffer_release(&col[i]);
	}
}

static void restore_block(struct cursor *col, struct replay_block *b)
{
	uint64_t low = cursor_byte(&col[HEAP_TIME_LOW]), turned;

	b->t_ns += (uint64_t)unzigzag(cursor_varint(&col[HEAP_TIME_HIGH]) << 8 | low);
	turned = restore_difference(&col[HEAP_ADDRESS], b->address >> 4 | b->address << 60);
	b->address = turned << 4 | turned >> 60;
	b->size = cursor_varint(&col[HEAP_SIZE]);
	b->usable = USABLE_UNKNOWN;
	if (cursor_varint(&col[HEAP_USABLE]))
		b->usable = restore_difference(&col[HEAP_USABLE], chunk_usual_usable(b->size));
	b->stack.v = (uint32_t)restore_difference(&col[HEAP_STACK], b->stack.v);
	b->thread.v = (uint32_t)cursor_varint(&col[HEAP_THREAD]);
	b->family = cursor_byte(&col[HEAP_FAMILY]);
}

static bool find_columns(struct cursor *c, struct cursor *col)
{
	for (int i = 0; i < HEAP_COLUMNS; i++) {
		uint64_t len = cursor_varint(c);

		if (c->bad || len > (size_t)(c->end - c->p))
			return false;
		col[i] = (struct cursor){.p = c->p, .end = c->p + len};
		c->p += len;
	}
	return c->p == c->end;
}

static bool restore_freed(struct replay *heap, struct cursor *c, uint64_t n)
{
	uint32_t *freed = xcalloc(n + 1, sizeof(*freed)), last = 0;
	bool good;

	for (uint64_t i = 0; i < n; i++)
		freed[i] = last = (uint32_t)restore_difference(c, last);
	good = replay_restored(heap, freed, n);
	free(freed);
	return good;
}

bool checkpoint_restore_heap(struct replay *heap, const void *data, size_t len)
{
	struct cursor c = {.p = data, .end = (const uint8_t *)data + len}, col[HEAP_COLUMNS];
	struct space_id space = {(uint32_t)cursor_varint(&c)};
	uint64_t ordinal = cursor_varint(&c), live = cursor_varint(&c), freed = cursor_varint(&c);
	struct replay_block b = {0};
	uint64_t slot = 0;
	bool good = find_columns(&c, col);

	/* each has a byte at least */
	if (!good || live > (size_t)(col[HEAP_SLOTS].end - col[HEAP_SLOTS].p) ||
	    freed > (size_t)(col[HEAP_FREED].end - col[HEAP_FREED].p))
		return false;
	replay_begin_space(heap, space);
	heap->ordinal = ordinal;
	for (uint64_t i = 0; i < live && good; i++) {
		uint64_t gap = cursor_varint(&col[HEAP_SLOTS]);

		restore_block(col, &b);
		slot += gap;
		good = gap < live + freed && slot < live + freed && (gap || !i);
		if (good)
			replay_put(heap, (uint32_t)slot, &b);
	}
	good = good && restore_freed(heap, &col[HEAP_FREED], freed);
	while (good && col[HEAP_LAST].p < col[HEAP_LAST].end) {
		uint64_t thread = cursor_varint(&col[HEAP_LAST]);

		slot = cursor_varint(&col[HEAP_LAST]);
		good = thread < THREADS_MAX &&
		       slot < live + freed;
		if (good)
			replay_put_last(heap, (struct thread_id){(uint32_t)thread},
					(uint32_t)slot);
	}
	for (int i = 0; i < HEAP_COLUMNS; i++)
		good = good && !col[i].bad && col[i].p == col[i].end;
	return good && !c.bad;
}
