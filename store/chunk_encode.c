/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/chunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/xalloc.h"
#include "store/chunk_layout.h"

#define MADE_PLACES (2u * CHUNK_EVENTS_MAX)
#define NUMBER_PLACES_MIN 2048u /* most chunks need no more, and these stay in the cache */
#define VARINT_MAX 10
#define ZSTD_LEVEL 1

/* Numbers things in the order they come up. */
struct numbering {
	struct numbering_entry {
		uint64_t key;
		uint32_t number;
		uint32_t generation; /* another one than the numbering's: empty */
	} *entries;
	uint32_t places; /* a power of two; most of them are empty */
	uint32_t generation, n;
};

struct chunk_scratch {
	struct numbering numbering;
	struct predictor predictor;
	struct buffer columns[CHUNK_COLUMNS];
	uint16_t threads[CHUNK_EVENTS_MAX]; /* of the event, as they are numbered */
	uint16_t order[CHUNK_EVENTS_MAX];
	uint32_t starts[CHUNK_EVENTS_MAX];
	ZSTD_CCtx *zstd;
};

uint64_t chunk_usual_usable(uint64_t size)
{
	uint64_t chunk = (size + 8 + 15) & ~(uint64_t)15;

	return (chunk < 32 ? 32 : chunk) - 8;
}

uint32_t chunk_crc(const struct chunk_info *i, const void *data, size_t len)
{
	uint64_t numbers[] = {i->id,	   i->space.v,	i->events,	i->allocs,
			      i->frees,	   i->first_ns, i->last_ns,	i->min_size,
			      i->max_size, i->codec,	i->min_address, i->max_address,
			      i->families};
	uLong crc = crc32(0, (const Bytef *)numbers, sizeof(numbers));

	return (uint32_t)crc32_z(crc, data, len);
}

/* ---- collecting ---------------------------------------------------------------------- */

void chunk_encoder_release(struct chunk_encoder *c)
{
	struct chunk_scratch *s = c->scratch;

	if (s) {
		for (int i = 0; i < CHUNK_COLUMNS; i++)
			buffer_release(&s->columns[i]);
		free(s->numbering.entries);
		ZSTD_freeCCtx(s->zstd);
		free(s);
	}
	free(c->events);
	free(c->made);
	memset(c, 0, sizeof(*c));
}

void chunk_encoder_reset(struct chunk_encoder *c, uint64_t id, struct space_id space)
{
	memset(&c->info, 0, sizeof(c->info));
	c->info.id = id;
	c->info.space = space;
	c->info.min_size = UINT64_MAX;
	c->info.min_address = UINT64_MAX;
	c->first_number += CHUNK_EVENTS_MAX;
	if (c->made && c->first_number < CHUNK_EVENTS_MAX) /* they come again: forget all */
		memset(c->made, 0, MADE_PLACES * sizeof(*c->made));
	if (!c->first_number) /* 0 is none */
		c->first_number = CHUNK_EVENTS_MAX;
	if (c->events)
		return;
	c->events = xmalloc(CHUNK_EVENTS_MAX * sizeof(*c->events));
	c->made = xcalloc(MADE_PLACES, sizeof(*c->made));
}

/*
 * How many events ago the block in @slot was made, 0: in another chunk.  Whoever put a
 * block into that slot in this chunk said so in that place; another slot's may have done
 * so later.
 */
static uint32_t distance_of(const struct chunk_encoder *c, uint32_t slot)
{
	const struct chunk_made *m = &c->made[slot % MADE_PLACES];

	return m->slot == slot && m->number >= c->first_number
		       ? c->first_number + c->info.events - m->number
		       : 0;
}

void chunk_encoder_add(struct chunk_encoder *c, const struct event *e)
{
	struct chunk_info *info = &c->info;
	uint32_t i = info->events;

	c->events[i] = *e;
	c->events[i].distance = event_frees(e) ? distance_of(c, e->slot) : 0;
	if (event_makes(e))
		c->made[e->slot % MADE_PLACES] = (struct chunk_made){e->slot, c->first_number + i};
	info->allocs += event_allocates(e);
	info->frees += event_frees(e);
	if (!i)
		info->first_ns = e->t_ns;
	info->last_ns = e->t_ns;
	if (chunk_has_address(e->kind, e->free_class)) {
		if (e->address < info->min_address)
			info->min_address = e->address;
		if (e->address > info->max_address)
			info->max_address = e->address;
	}
	if (chunk_has_size(e->kind)) {
		if (e->size < info->min_size)
			info->min_size = e->size;
		if (e->size > info->max_size)
			info->max_size = e->size;
	}
	info->families |= 1ull << (e->family & 63);
	info->events++;
}

/* ---- the columns --------------------------------------------------------------------- */

static struct chunk_scratch *scratch_of(struct chunk_encoder *c)
{
	if (!c->scratch) {
		c->scratch = xcalloc(1, sizeof(*c->scratch));
		c->scratch->zstd = ZSTD_createCCtx();
	}
	return c->scratch;
}

static void numbering_begin(struct numbering *n)
{
	n->n = 0;
	if (!n->entries) {
		n->places = NUMBER_PLACES_MIN;
		n->entries = xcalloc(n->places, sizeof(*n->entries));
	}
	if (!++n->generation) { /* after very many */
		memset(n->entries, 0, n->places * sizeof(*n->entries));
		n->generation = 1;
	}
}

/* The entry of @key, or the empty one where it would go. */
static inline struct numbering_entry *numbering_find(const struct numbering *n, uint64_t key)
{
	uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 40) & (n->places - 1);

	while (n->entries[i].generation == n->generation && n->entries[i].key != key)
		i = (i + 1) & (n->places - 1);
	return &n->entries[i];
}

static void numbering_grow(struct numbering *n)
{
	struct numbering old = *n;

	n->places *= 2;
	n->entries = xcalloc(n->places, sizeof(*n->entries));
	for (uint32_t i = 0; i < old.places; i++)
		if (old.entries[i].generation == old.generation)
			*numbering_find(n, old.entries[i].key) = old.entries[i];
	free(old.entries);
}

/* Whether it is a new one. */
static inline bool numbering_get(struct numbering *n, uint64_t key, uint32_t *ret)
{
	struct numbering_entry *e = numbering_find(n, key);

	if (e->generation == n->generation) {
		*ret = e->number;
		return false;
	}
	*ret = n->n++;
	*e = (struct numbering_entry){key, *ret, n->generation};
	if (n->n > n->places / 4)
		numbering_grow(n);
	return true;
}

/* Empty, with room for @bytes, which then are put without looking: memory that is not used. */
static void reserve(struct buffer *column, size_t bytes)
{
	buffer_reset(column);
	if (column->cap >= bytes)
		return;
	free(column->data);
	column->data = xmalloc(bytes);
	column->cap = bytes;
}

static inline void put_byte(struct buffer *column, uint8_t byte)
{
	column->data[column->len++] = byte;
}

static inline void put_number(struct buffer *column, uint64_t v)
{
	uint8_t *p = column->data + column->len;

	while (v >= 0x80) {
		*p++ = (uint8_t)v | 0x80;
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	column->len = (size_t)(p - column->data);
}

static inline void code_time(struct chunk_scratch *s, uint64_t delta)
{
	put_byte(&s->columns[COLUMN_TIME_LOW], (uint8_t)delta);
	put_number(&s->columns[COLUMN_TIME_HIGH], delta >> 8);
}

static inline void code_difference(struct buffer *column, uint64_t address, uint64_t guess)
{
	uint64_t delta = address - guess;

	if (delta & 15) {
		put_number(column, 1);
		put_number(column, address);
	} else {
		put_number(column, zigzag((int64_t)delta / 16) << 1);
	}
}

static inline void code_address(struct chunk_scratch *s, const struct event *e, uint32_t thread)
{
	struct predictor *p = &s->predictor;
	const struct event *ended = e - e->distance;

	if (e->distance)
		predictor_free(predictor_line(p, thread, ended), ended->address);
	if (event_makes(e)) {
		struct predictor_line *l = predictor_line(p, thread, e);
		uint32_t depth = predictor_find(l, e->address);

		put_byte(&s->columns[COLUMN_PREDICTED], (uint8_t)depth);
		if (depth < PREDICTOR_DEPTH)
			predictor_take(l, depth);
		else
			code_difference(&s->columns[COLUMN_ADDRESS], e->address,
					predictor_guess(p, l));
		predictor_made(p, l, e);
	} else if (chunk_has_address(e->kind, e->free_class)) {
		code_difference(&s->columns[COLUMN_ADDRESS], e->address, p->next);
	}
}

static void code_in_order(struct chunk_scratch *s, const struct event *events, uint32_t n)
{
	uint32_t last = 0, number = 0;
	uint64_t last_ns = n ? events[0].t_ns : 0;

	numbering_begin(&s->numbering);
	predictor_reset(&s->predictor);
	for (uint32_t i = 0; i < n; i++) {
		const struct event *e = &events[i];

		if ((!i || e->thread.v != last) &&
		    numbering_get(&s->numbering, e->thread.v, &number))
			put_number(&s->columns[COLUMN_THREADS], e->thread.v);
		last = e->thread.v;
		s->threads[i] = (uint16_t)number;
		code_time(s, e->t_ns - last_ns);
		last_ns = e->t_ns;
		code_address(s, e, number);
	}
	if (s->numbering.n > 1)
		for (uint32_t i = 0; i < n; i++)
			put_number(&s->columns[COLUMN_THREAD], s->threads[i]);
	chunk_order(s->threads, n, s->starts, s->numbering.n, s->order);
}

static inline void code_call(struct chunk_scratch *s, const struct event *e, uint32_t *last_stack)
{
	uint32_t call;

	if (numbering_get(&s->numbering,
			  (uint64_t)e->stack.v << 16 | (uint64_t)e->family << 8 |
				  (uint64_t)e->free_class << 4 | e->kind, &call)) {
		struct buffer *calls = &s->columns[COLUMN_CALLS];

		put_byte(calls, (uint8_t)(e->kind | e->free_class << 4));
		put_byte(calls, e->family);
		put_number(calls, zigzag((int64_t)e->stack.v - *last_stack));
		*last_stack = e->stack.v;
	}
	put_byte(&s->columns[COLUMN_CALL_LOW], (uint8_t)call);
	put_number(&s->columns[COLUMN_CALL_HIGH], call >> 8);
}

static inline void code_size(struct chunk_scratch *s, const struct event *e)
{
	uint64_t delta = zigzag((int64_t)(e->usable - chunk_usual_usable(e->size)));
	struct buffer *usable = &s->columns[COLUMN_USABLE];

	put_byte(&s->columns[COLUMN_SIZE_LOW], (uint8_t)e->size);
	put_number(&s->columns[COLUMN_SIZE_HIGH], e->size >> 8);
	if (e->usable == USABLE_UNKNOWN) {
		put_number(usable, 0);
	} else if (delta > UINT64_MAX - 2) { /* nothing real */
		put_number(usable, 1);
		put_number(usable, e->usable);
	} else {
		put_number(usable, 2 + delta);
	}
}

static void code_by_thread(struct chunk_scratch *s, const struct event *events, uint32_t n)
{
	uint32_t last_stack = 0;

	numbering_begin(&s->numbering);
	for (uint32_t i = 0; i < n; i++) {
		const struct event *e = &events[s->order[i]];

		code_call(s, e, &last_stack);
		if (chunk_has_size(e->kind))
			code_size(s, e);
		if (!event_frees(e))
			continue;
		put_byte(&s->columns[COLUMN_BACK_LOW], (uint8_t)e->distance);
		put_number(&s->columns[COLUMN_BACK_HIGH], e->distance >> 8);
		if (e->distance)
			continue;
		put_byte(&s->columns[COLUMN_SLOT_LOW], (uint8_t)e->slot);
		put_byte(&s->columns[COLUMN_SLOT_MIDDLE], (uint8_t)(e->slot >> 8));
		put_number(&s->columns[COLUMN_SLOT_HIGH], e->slot >> 16);
	}
}

static void reserve_columns(struct chunk_scratch *s)
{
	for (enum chunk_column i = 0; i < CHUNK_COLUMNS; i++) {
		size_t most = chunk_column_is_bytes(i) ? 1 : VARINT_MAX;

		if (i == COLUMN_ADDRESS || i == COLUMN_USABLE || i == COLUMN_CALLS)
			most = 2 * VARINT_MAX;
		reserve(&s->columns[i], (CHUNK_EVENTS_MAX + 1) * most);
	}
}

/* As it is where that is no longer. */
static void append_column(struct chunk_scratch *s, const struct buffer *column, struct buffer *out)
{
	uint8_t head[2 * VARINT_MAX];
	struct buffer h = {.data = head, .cap = sizeof(head)};
	size_t bound = ZSTD_compressBound(column->len), n = 0, at = out->len + sizeof(head);

	if (column->len && s->zstd) {
		ARRAY_GROW(out->data, out->cap, at + bound);
		n = ZSTD_compressCCtx(s->zstd, out->data + at, bound, column->data, column->len,
				      ZSTD_LEVEL);
		if (ZSTD_isError(n) || n >= column->len) /* the former for want of memory */
			n = 0;
	}
	put_number(&h, column->len);
	put_number(&h, n);
	buffer_append(out, head, h.len);
	if (!n) {
		buffer_append(out, column->data, column->len);
		return;
	}
	memmove(out->data + out->len, out->data + at, n);
	out->len += n;
}

void chunk_encoder_finish(struct chunk_encoder *c, struct buffer *out)
{
	struct chunk_scratch *s = scratch_of(c);
	uint32_t n = c->info.events;

	reserve_columns(s);
	code_in_order(s, c->events, n);
	code_by_thread(s, c->events, n);
	buffer_reset(out);
	for (int i = 0; i < CHUNK_COLUMNS; i++) {
		size_t before = out->len;

		append_column(s, &s->columns[i], out);
		c->column_bytes[i] = out->len - before;
	}
	c->info.codec = CODEC_COLUMNS;
	c->info.crc = chunk_crc(&c->info, out->data, out->len);
}
