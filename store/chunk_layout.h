/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CHUNK_LAYOUT_H
#define STORE_CHUNK_LAYOUT_H

/* What encoding and decoding a chunk have in common. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "store/chunk.h"

/* ---- which event has what ------------------------------------------------------------ */

static inline bool chunk_has_address(unsigned int kind, unsigned int free_class)
{
	return kind != EVENT_FREE || !free_class_ends(free_class);
}

static inline bool chunk_has_size(unsigned int kind)
{
	return kind == EVENT_ALLOC || kind == EVENT_REALLOC || kind == EVENT_PIECE;
}

/* The first of the columns with one byte for each value; the others are numbers as LEB128. */
static inline bool chunk_column_is_bytes(enum chunk_column column)
{
	switch (column) {
	case COLUMN_TIME_LOW:
	case COLUMN_PREDICTED:
	case COLUMN_CALL_LOW:
	case COLUMN_SIZE_LOW:
	case COLUMN_BACK_LOW:
	case COLUMN_SLOT_LOW:
	case COLUMN_SLOT_MIDDLE:
		return true;
	default:
		return false;
	}
}

/* ---- addresses ----------------------------------------------------------------------- */

/*
 * Allocators hand out again first what was freed last.  For each thread and size there is
 * a line of addresses freed in this chunk: an address is the how manieth of these, or, if
 * it is none, the distance from where the last block of the line ended.
 */
#define PREDICTOR_LINES 1024
#define PREDICTOR_DEPTH 16

struct predictor_line {
	uint64_t freed[PREDICTOR_DEPTH]; /* round and round */
	uint64_t next;			 /* the end of the block made last, 0: none was */
	uint32_t head;			 /* where the address freed last is */
	uint32_t n;
};

struct predictor {
	struct predictor_line lines[PREDICTOR_LINES];
	uint64_t next; /* of the block made last in any line */
};

static inline void predictor_reset(struct predictor *p)
{
	for (int i = 0; i < PREDICTOR_LINES; i++)
		p->lines[i].n = p->lines[i].next = 0;
	p->next = 0;
}

static inline uint64_t predictor_room(const struct event *e)
{
	return e->usable == USABLE_UNKNOWN || e->kind == EVENT_PIECE ? e->size : e->usable;
}

/* @thread: which one of the chunk's. */
static inline struct predictor_line *predictor_line(struct predictor *p, uint32_t thread,
						    const struct event *e)
{
	return &p->lines[(predictor_room(e) / 16 + (uint64_t)thread * 61) % PREDICTOR_LINES];
}

static inline void predictor_free(struct predictor_line *l, uint64_t address)
{
	l->head = (l->head + 1) % PREDICTOR_DEPTH;
	l->freed[l->head] = address;
	l->n += l->n < PREDICTOR_DEPTH;
}

/* The address freed as the @depth th last, from 0: it is handed out. */
static inline uint64_t predictor_take(struct predictor_line *l, uint32_t depth)
{
	uint64_t address = l->freed[(l->head - depth) % PREDICTOR_DEPTH];

	for (uint32_t i = depth; i > 0; i--)
		l->freed[(l->head - i) % PREDICTOR_DEPTH] =
			l->freed[(l->head - i + 1) % PREDICTOR_DEPTH];
	l->head = (l->head - 1) % PREDICTOR_DEPTH;
	l->n--;
	return address;
}

/* Its place, or PREDICTOR_DEPTH. */
static inline uint32_t predictor_find(const struct predictor_line *l, uint64_t address)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->freed[(l->head - i) % PREDICTOR_DEPTH] == address)
			return i;
	return PREDICTOR_DEPTH;
}

static inline uint64_t predictor_guess(const struct predictor *p, const struct predictor_line *l)
{
	return l->next ? l->next : p->next;
}

static inline void predictor_made(struct predictor *p, struct predictor_line *l,
				  const struct event *e)
{
	l->next = p->next = e->address + predictor_room(e) + 8;
}

/* ---- the order of columns by thread -------------------------------------------------- */

/* The events of the first thread, then those of the second …: @order gets their numbers. */
static inline void chunk_order(const uint16_t *thread_of, uint32_t n, uint32_t *starts,
			       uint32_t threads, uint16_t *order)
{
	uint32_t at = 0;

	memset(starts, 0, threads * sizeof(*starts));
	for (uint32_t i = 0; i < n; i++)
		starts[thread_of[i]]++;
	for (uint32_t i = 0; i < threads; i++) {
		uint32_t of_thread = starts[i];

		starts[i] = at;
		at += of_thread;
	}
	for (uint32_t i = 0; i < n; i++)
		order[starts[thread_of[i]]++] = (uint16_t)i;
}

/* Covers the numbers of the row too: a flipped bit there must be seen as well. */
uint32_t chunk_crc(const struct chunk_info *i, const void *data, size_t len);

#endif
