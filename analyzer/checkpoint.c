/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "store/chunk.h"

/* ---- totals -------------------------------------------------------------------------- */

/* The sums in the order that they are stored in. */
#define SUMS 14

/* What ends with a pool is in other layers than the heap's. */
#define SAVED_FREE_CLASSES FREE_WITH_POOL

static void list_sums(struct totals *t, uint64_t *ret[SUMS])
{
	struct analysis *a = &t->sums;
	uint64_t *const sums[SUMS] = {
		&a->events, &a->first_ns, &a->last_ns, &a->totals.alloc_calls,
		&a->totals.allocated_bytes, &a->totals.temporary_allocs, &a->totals.peak_blocks,
		&a->totals.peak_bytes, &a->peak_time_ns, &a->peak_event, &a->free_calls,
		&a->ended_by_exec_blocks, &a->ended_by_exec_bytes, &t->live_blocks};

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

void checkpoint_save_totals(struct totals *t, struct buffer *out)
{
	uint64_t *sums[SUMS];

	totals_settle(t);
	list_sums(t, sums);
	for (int i = 0; i < SUMS; i++)
		buffer_append_varint(out, *sums[i]);
	buffer_append_varint(out, t->live_bytes);
	for (int i = 0; i < SAVED_FREE_CLASSES; i++)
		buffer_append_varint(out, t->sums.frees[i]);
	for (int k = 0; k < GROUP_KEYS; k++) {
		const struct tally *y = &t->tallies[k];

		buffer_append_varint(out, y->n);
		for (size_t i = 0; i < y->n; i++)
			save_group(t, &y->groups[i], i ? y->groups[i - 1].key : 0, out);
	}
	if (!t->sums.frees[FREE_MISMATCHED] && !t->sums.frees[FREE_OF_OTHER])
		return; /* as it is nearly always */
	buffer_append_varint(out, t->sums.frees[FREE_MISMATCHED]);
	buffer_append_varint(out, t->sums.frees[FREE_OF_OTHER]);
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

bool checkpoint_restore_totals(struct totals *t, uint64_t most_events, const void *data, size_t len)
{
	struct cursor c = {.p = data, .end = (const uint8_t *)data + len};
	uint64_t *sums[SUMS];

	list_sums(t, sums);
	for (int i = 0; i < SUMS; i++)
		*sums[i] = cursor_varint(&c);
	t->live_bytes = cursor_varint(&c);
	for (int i = 0; i < SAVED_FREE_CLASSES; i++)
		t->sums.frees[i] = cursor_varint(&c);
	if (t->sums.events > most_events)
		return false;
	for (int k = 0; k < GROUP_KEYS; k++) {
		uint64_t n = cursor_varint(&c), key = 0;

		if (n > t->sums.events)
			return false;
		while (n-- && !c.bad) {
			key += (uint64_t)unzigzag(cursor_varint(&c));
			restore_group(t, (enum group_key)k, key, &c);
		}
	}
	if (!c.bad && c.p < c.end) {
		t->sums.frees[FREE_MISMATCHED] = cursor_varint(&c);
		t->sums.frees[FREE_OF_OTHER] = cursor_varint(&c);
	}
	return !c.bad && c.p == c.end;
}

/* More there are never: a larger number is damage. */
#define THREADS_MAX (1u << 24)
#define THREAD_GAP_MAX 65536 /* as in replay.c */

/* ---- the heap ------------------------------------------------------------------------ */

enum heap_column {
	HEAP_FREED,   /* the slots that are free, the next one last */
	HEAP_SLOTS,   /* of the live blocks, as they were made */
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

/* ---- the heap: saving ----------------------------------------------------------------- */

/* Bytes on their way: counted only, or handed on. */
struct outlet {
	checkpoint_put *put; /* NULL: counted only */
	void *arg;
	uint64_t bytes; /* so far */
	size_t n;
	uint8_t data[16384];
};

static void flush(struct outlet *o)
{
	if (o->put)
		o->put(o->arg, o->data, o->n);
	o->bytes += o->n;
	o->n = 0;
}

static void out_byte(struct outlet *o, uint8_t byte)
{
	if (o->n == sizeof(o->data))
		flush(o);
	o->data[o->n++] = byte;
}

static void out_number(struct outlet *o, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		out_byte(o, (uint8_t)v | 0x80);
	out_byte(o, (uint8_t)v);
}

static void out_difference(struct outlet *o, uint64_t to, uint64_t from)
{
	out_number(o, zigzag((int64_t)(to - from)));
}

static int compare_made(const void *a, const void *b, void *arg)
{
	const struct replay *heap = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	uint64_t t = replay_at(heap, x)->t_ns, u = replay_at(heap, y)->t_ns;

	if (t != u)
		return t > u ? 1 : -1;
	return (x > y) - (x < y);
}

/* The slots of the live blocks as they were made: what comes together is alike.  To be freed. */
static uint32_t *sort_blocks(const struct replay *heap)
{
	uint32_t *slots = xcalloc(heap->live_blocks + 1, sizeof(*slots));
	size_t n = 0;

	for (uint32_t i = 0; i < heap->slots.next; i++)
		if (replay_at(heap, i)->is_live)
			slots[n++] = i;
	if (n)
		qsort_r(slots, n, sizeof(*slots), compare_made, (void *)heap);
	return slots;
}

/* Most addresses are multiples of 16. */
static uint64_t turn(uint64_t address)
{
	return address >> 4 | address << 60;
}

static void out_usable(struct outlet *o, const struct replay_block *b)
{
	out_number(o, b->usable == USABLE_UNKNOWN ? 0 : 1);
	if (b->usable != USABLE_UNKNOWN)
		out_difference(o, b->usable, chunk_usual_usable(b->size));
}

static void out_value(struct outlet *o, enum heap_column column, const struct replay_block *b,
		      const struct replay_block *before)
{
	switch (column) {
	case HEAP_TIME_LOW:
		out_byte(o, (uint8_t)(b->t_ns - before->t_ns));
		break;
	case HEAP_TIME_HIGH:
		out_number(o, (b->t_ns - before->t_ns) >> 8);
		break;
	case HEAP_ADDRESS:
		out_difference(o, turn(b->address), turn(before->address));
		break;
	case HEAP_SIZE:
		out_number(o, b->size);
		break;
	case HEAP_USABLE:
		out_usable(o, b);
		break;
	case HEAP_STACK:
		out_number(o, b->stack.v);
		break;
	case HEAP_THREAD:
		out_number(o, b->thread.v);
		break;
	case HEAP_FAMILY:
		out_byte(o, b->family);
		break;
	case HEAP_FREED:
	case HEAP_SLOTS:
	case HEAP_LAST:
	case HEAP_COLUMNS:
		break;
	}
}

static void out_slots(struct outlet *o, const uint32_t *slots, size_t n)
{
	uint32_t last = 0;

	for (size_t i = 0; i < n; i++) {
		out_difference(o, slots[i], last);
		last = slots[i];
	}
}

static void out_last(struct outlet *o, const struct replay *heap)
{
	for (uint32_t i = 0; i < heap->n_threads; i++)
		for (uint8_t layer = 0; layer <= heap->layers.n; layer++) {
			uint32_t last = replay_last(heap, i, layer);

			if (!last)
				continue;
			out_number(o, i + (uint64_t)layer * THREADS_MAX);
			out_number(o, last - 1);
		}
}

/* So many blocks ahead: they lie anywhere. */
#define AHEAD 16

/* @slots: of the live blocks, as they were made; the @i th of them. */
static const struct replay_block *block_at(const struct replay *heap, const uint32_t *slots,
					   uint64_t i)
{
	if (i + AHEAD < heap->live_blocks)
		__builtin_prefetch(replay_at(heap, slots[i + AHEAD]));
	return replay_at(heap, slots[i]);
}

static bool is_of_blocks(enum heap_column column)
{
	return column != HEAP_FREED && column != HEAP_SLOTS && column != HEAP_LAST;
}

static void out_column(struct outlet *o, enum heap_column column, const struct replay *heap,
		       const uint32_t *slots)
{
	static const struct replay_block none;
	const struct replay_block *before = &none;

	switch (column) {
	case HEAP_FREED:
		out_slots(o, heap->slots.freed, heap->slots.n_freed);
		break;
	case HEAP_SLOTS:
		out_slots(o, slots, heap->live_blocks);
		break;
	case HEAP_LAST:
		out_last(o, heap);
		break;
	default:
		for (uint64_t i = 0; i < heap->live_blocks; i++) {
			const struct replay_block *b = block_at(heap, slots, i);

			out_value(o, column, b, before);
			before = b;
		}
	}
}

/* More bytes than the values of a block take. */
#define BLOCK_BYTES_MAX 256

/* How long the columns will be: of all that have a value for each block, in one pass. */
static void count_columns(const struct replay *heap, const uint32_t *slots,
			  uint64_t ret[HEAP_COLUMNS])
{
	static const struct replay_block none;
	struct outlet *o = xcalloc(1, sizeof(*o));
	const struct replay_block *before = &none;

	for (int c = 0; c < HEAP_COLUMNS; c++) {
		o->bytes = 0;
		if (!is_of_blocks((enum heap_column)c))
			out_column(o, (enum heap_column)c, heap, slots);
		flush(o);
		ret[c] = o->bytes;
	}
	for (uint64_t i = 0; i < heap->live_blocks; i++) {
		const struct replay_block *b = block_at(heap, slots, i);

		if (o->n > sizeof(o->data) - BLOCK_BYTES_MAX)
			o->n = 0;
		for (int c = 0; c < HEAP_COLUMNS; c++) {
			size_t n = o->n;

			out_value(o, (enum heap_column)c, b, before);
			ret[c] += o->n - n;
		}
		before = b;
	}
	free(o);
}

/* One column after the other, so that the heap is never there twice. */
uint64_t checkpoint_save_heap(const struct replay *heap, checkpoint_put *put, void *arg)
{
	uint64_t bytes, column_bytes[HEAP_COLUMNS];
	struct outlet *o = xcalloc(1, sizeof(*o));
	uint32_t *slots = sort_blocks(heap);

	o->put = put;
	o->arg = arg;
	out_number(o, heap->space.v);
	out_number(o, heap->ordinal);
	out_number(o, heap->live_blocks);
	out_number(o, heap->slots.n_freed);
	count_columns(heap, slots, column_bytes);
	for (int i = 0; i < HEAP_COLUMNS; i++) {
		out_number(o, column_bytes[i]);
		out_column(o, (enum heap_column)i, heap, slots);
	}
	flush(o);
	bytes = o->bytes;
	free(o);
	free(slots);
	return bytes;
}

/* ---- the heap: restoring -------------------------------------------------------------- */

static uint64_t restore_difference(struct cursor *column, uint64_t from)
{
	return from + (uint64_t)unzigzag(cursor_varint(column));
}

static void restore_block(struct cursor *col, struct replay_block *b)
{
	uint64_t low = cursor_byte(&col[HEAP_TIME_LOW]), turned;

	b->t_ns += cursor_varint(&col[HEAP_TIME_HIGH]) << 8 | low;
	turned = restore_difference(&col[HEAP_ADDRESS], turn(b->address));
	b->address = turned << 4 | turned >> 60;
	b->size = cursor_varint(&col[HEAP_SIZE]);
	b->usable = USABLE_UNKNOWN;
	if (cursor_varint(&col[HEAP_USABLE]))
		b->usable = restore_difference(&col[HEAP_USABLE], chunk_usual_usable(b->size));
	b->stack.v = (uint32_t)cursor_varint(&col[HEAP_STACK]);
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

bool checkpoint_restore_heap(struct replay *heap, uint64_t most_events, const void *data,
			     size_t len)
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
	/* an event takes no more than one slot */
	if (ordinal > most_events || live + freed > ordinal)
		return false;
	replay_begin_space(heap, space);
	heap->ordinal = ordinal;
	for (uint64_t i = 0; i < live && good; i++) {
		restore_block(col, &b);
		slot = restore_difference(&col[HEAP_SLOTS], slot);
		good = slot < live + freed && replay_put(heap, (uint32_t)slot, &b);
	}
	good = good && restore_freed(heap, &col[HEAP_FREED], freed);
	while (good && col[HEAP_LAST].p < col[HEAP_LAST].end) {
		uint64_t thread = cursor_varint(&col[HEAP_LAST]), layer = thread / THREADS_MAX;

		slot = cursor_varint(&col[HEAP_LAST]);
		good = layer <= heap->layers.n && slot < live + freed &&
		       thread % THREADS_MAX <= ordinal + THREAD_GAP_MAX;
		if (good)
			replay_put_last(heap, (struct thread_id){(uint32_t)(thread % THREADS_MAX)},
					(uint8_t)layer, (uint32_t)slot);
	}
	for (int i = 0; i < HEAP_COLUMNS; i++)
		good = good && !col[i].bad && col[i].p == col[i].end;
	return good && !c.bad;
}
