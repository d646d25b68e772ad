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

/*
 * Blocks are sorted by when they were made, as numbers: the upper half is the time, as
 * finely as it goes, the lower one the slot.
 */
#define DIGIT_BITS 11
#define DIGITS (1u << DIGIT_BITS)
/* Blocks of the same upper half are few, most of the time. */
#define FEW 16

struct sorting {
	uint64_t *items, *other; /* @other: scratch */
	size_t n;
	uint64_t first_ns;
	unsigned int shift;
};

static uint32_t slot_of(uint64_t item)
{
	return (uint32_t)item;
}

static int compare_made(const void *a, const void *b, void *arg)
{
	const struct replay *heap = arg;
	uint32_t x = slot_of(*(const uint64_t *)a), y = slot_of(*(const uint64_t *)b);
	uint64_t t = replay_at(heap, x)->t_ns, u = replay_at(heap, y)->t_ns;

	if (t != u)
		return t > u ? 1 : -1;
	return (x > y) - (x < y);
}

static void list_live(const struct replay *heap, struct sorting *s)
{
	uint64_t last_ns = 0;

	s->first_ns = UINT64_MAX;
	for (uint32_t i = 0; i < heap->slots.next; i++) {
		const struct replay_cell *c = replay_at(heap, i);

		if (!c->is_live)
			continue;
		s->first_ns = c->t_ns < s->first_ns ? c->t_ns : s->first_ns;
		last_ns = c->t_ns > last_ns ? c->t_ns : last_ns;
		s->n++;
	}
	while (s->n && (last_ns - s->first_ns) >> s->shift > UINT32_MAX)
		s->shift++;
	s->items = xmalloc((s->n + 1) * sizeof(*s->items));
	s->other = xmalloc((s->n + 1) * sizeof(*s->other));
	for (uint32_t i = 0, n = 0; i < heap->slots.next; i++) {
		const struct replay_cell *c = replay_at(heap, i);

		if (c->is_live)
			s->items[n++] = (c->t_ns - s->first_ns) >> s->shift << 32 | i;
	}
}

/* By the bits from @bit on; of equal ones the order stays as it is. */
static void sort_by_digit(struct sorting *s, unsigned int bit)
{
	size_t starts[DIGITS] = {0}, at = 0;
	uint64_t *sorted = s->other;

	for (size_t i = 0; i < s->n; i++)
		starts[s->items[i] >> bit & (DIGITS - 1)]++;
	for (size_t i = 0; i < DIGITS; i++) {
		size_t n = starts[i];

		starts[i] = at;
		at += n;
	}
	for (size_t i = 0; i < s->n; i++)
		sorted[starts[s->items[i] >> bit & (DIGITS - 1)]++] = s->items[i];
	s->other = s->items;
	s->items = sorted;
}

/* Those from @from until @to have the same upper half. */
static void sort_run(const struct replay *heap, uint64_t *items, size_t n)
{
	if (n > FEW) {
		qsort_r(items, n, sizeof(*items), compare_made, (void *)heap);
		return;
	}
	for (size_t i = 1; i < n; i++)
		for (size_t k = i;
		     k && compare_made(&items[k - 1], &items[k], (void *)heap) > 0; k--) {
			uint64_t item = items[k];

			items[k] = items[k - 1];
			items[k - 1] = item;
		}
}

/*
 * The slots of the live blocks as they were made, in the lower halves: what comes together is
 * alike.  To be freed.
 */
static uint64_t *sort_blocks(const struct replay *heap)
{
	struct sorting s = {0};

	list_live(heap, &s);
	for (unsigned int bit = 32; bit < 64; bit += DIGIT_BITS)
		sort_by_digit(&s, bit);
	free(s.other);
	for (size_t i = 0, end; s.shift && i < s.n; i = end) {
		for (end = i + 1; end < s.n && s.items[end] >> 32 == s.items[i] >> 32;)
			end++;
		sort_run(heap, s.items + i, end - i);
	}
	return s.items;
}

/* Most addresses are multiples of 16. */
static uint64_t turn(uint64_t address)
{
	return address >> 4 | address << 60;
}

/* ---- numbers, put where there is room for them */

#define NUMBER_BYTES_MAX 10

static inline void put_byte(struct buffer *column, uint8_t byte)
{
	column->data[column->len++] = byte;
}

static inline void put_number(struct buffer *column, uint64_t v)
{
	uint8_t *p = column->data + column->len;

	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)v | 0x80;
	*p++ = (uint8_t)v;
	column->len = (size_t)(p - column->data);
}

static void make_room(struct buffer *column, size_t numbers)
{
	ARRAY_GROW(column->data, column->cap, column->len + numbers * NUMBER_BYTES_MAX);
}

static void put_block(struct buffer *col, const struct replay_block *b,
		      const struct replay_block *before)
{
	uint64_t age = b->t_ns - before->t_ns;
	struct buffer *usable = &col[HEAP_USABLE];

	put_byte(&col[HEAP_TIME_LOW], (uint8_t)age);
	put_number(&col[HEAP_TIME_HIGH], age >> 8);
	put_number(&col[HEAP_ADDRESS],
		   zigzag((int64_t)(turn(b->address) - turn(before->address))));
	put_number(&col[HEAP_SIZE], b->size);
	put_number(usable, b->usable != USABLE_UNKNOWN);
	if (b->usable != USABLE_UNKNOWN)
		put_number(usable, zigzag((int64_t)(b->usable - chunk_usual_usable(b->size))));
	put_number(&col[HEAP_STACK], b->stack.v);
	put_number(&col[HEAP_THREAD], b->thread.v);
	put_byte(&col[HEAP_FAMILY], b->family);
}

/* Blocks lie anywhere: so many ahead they are brought into the cache, … */
#define AHEAD 16
/* … and after so many there is room made for their numbers. */
#define AT_ONCE 4096

static void put_blocks(const struct replay *heap, struct buffer *col)
{
	struct replay_block before = {0}, b;
	uint64_t *order = sort_blocks(heap), n = heap->live_blocks;
	uint32_t slot_before = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint32_t slot = slot_of(order[i]);

		for (int c = 0; i % AT_ONCE == 0 && c < HEAP_COLUMNS; c++)
			make_room(&col[c], 2 * AT_ONCE);
		if (i + AHEAD < n)
			__builtin_prefetch(replay_at(heap, slot_of(order[i + AHEAD])));
		b = replay_block_in(heap, slot);
		put_number(&col[HEAP_SLOTS], zigzag((int64_t)slot - slot_before));
		put_block(col, &b, &before);
		before = b;
		slot_before = slot;
	}
	free(order);
}

static void put_freed(const struct slots *slots, struct buffer *column)
{
	uint32_t before = 0;

	make_room(column, slots->n_freed);
	for (size_t i = 0; i < slots->n_freed; i++) {
		put_number(column, zigzag((int64_t)slots->freed[i] - before));
		before = slots->freed[i];
	}
}

static void put_last(const struct replay *heap, struct buffer *column)
{
	for (uint32_t i = 0; i < heap->n_threads; i++)
		for (uint8_t layer = 0; layer <= heap->layers.n; layer++) {
			uint32_t last = replay_last(heap, i, layer);

			if (!last)
				continue;
			make_room(column, 2);
			put_number(column, i + (uint64_t)layer * THREADS_MAX);
			put_number(column, last - 1);
		}
}

uint64_t checkpoint_save_heap(const struct replay *heap, checkpoint_put *put, void *arg)
{
	struct buffer col[HEAP_COLUMNS] = {0}, head = {0};
	uint64_t bytes = 0;

	put_blocks(heap, col);
	put_freed(&heap->slots, &col[HEAP_FREED]);
	put_last(heap, &col[HEAP_LAST]);
	buffer_append_varint(&head, heap->space.v);
	buffer_append_varint(&head, heap->ordinal);
	buffer_append_varint(&head, heap->live_blocks);
	buffer_append_varint(&head, heap->slots.n_freed);
	for (int i = 0; i < HEAP_COLUMNS; i++) {
		buffer_append_varint(&head, col[i].len);
		put(arg, head.data, head.len);
		put(arg, col[i].data, col[i].len);
		bytes += head.len + col[i].len;
		buffer_reset(&head);
		buffer_release(&col[i]);
	}
	buffer_release(&head);
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
