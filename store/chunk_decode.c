/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/chunk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/xalloc.h"
#include "store/chunk_layout.h"

/* The most bytes an event can have in a column. */
#define COLUMN_BYTES_MAX 22

struct call {
	uint8_t kind, free_class, family;
	uint32_t stack;
};

struct decoder {
	const struct chunk_info *info;
	struct event *events;
	struct cursor columns[CHUNK_COLUMNS];
	uint8_t *bytes; /* what was compressed */
	struct predictor predictor;
	uint32_t n_threads, n_calls;
	uint32_t threads[CHUNK_EVENTS_MAX];
	uint16_t thread_of[CHUNK_EVENTS_MAX], order[CHUNK_EVENTS_MAX];
	uint32_t starts[CHUNK_EVENTS_MAX];
	struct call calls[CHUNK_EVENTS_MAX];
	bool no_addresses; /* they are not wanted */
};

static int bad_chunk(const struct chunk_info *info, const char *why, struct err *err)
{
	err_set(err, ERR_RECORDING, 0, "events of chunk %" PRIu64 " are damaged: %s", info->id,
		why);
	return -EBADMSG;
}

/* ---- the columns --------------------------------------------------------------------- */

struct column_place {
	const uint8_t *data;
	size_t bytes, coded; /* 0: as it is */
};

/* Where they are, and how many bytes they have in all; NULL, or what is wrong. */
static const char *find_columns(struct cursor all, uint32_t events, struct column_place *places,
				size_t *ret_bytes)
{
	*ret_bytes = 0;
	for (int i = 0; i < CHUNK_COLUMNS; i++) {
		struct column_place *p = &places[i];
		uint64_t bytes = cursor_varint(&all), coded = cursor_varint(&all);
		uint64_t stored = coded ? coded : bytes;

		if (all.bad || stored > (size_t)(all.end - all.p))
			return "a column is cut off";
		if (bytes > (uint64_t)events * COLUMN_BYTES_MAX)
			return "impossible size";
		*p = (struct column_place){all.p, bytes, coded};
		all.p += stored;
		*ret_bytes += coded ? bytes : 0;
	}
	return all.p == all.end ? NULL : "there is more than the columns";
}

/* Only addresses come of it, and nothing else needs them. */
static bool is_of_addresses(int column)
{
	return column == COLUMN_ADDRESS || column == COLUMN_PREDICTED;
}

static const char *unpack(struct decoder *d, const struct column_place *places, size_t bytes)
{
	uint8_t *at = d->bytes = xmalloc(bytes + 1);

	for (int i = 0; i < CHUNK_COLUMNS; i++) {
		const struct column_place *p = &places[i];
		struct cursor *c = &d->columns[i];

		*c = (struct cursor){.p = p->data, .end = p->data + p->bytes};
		if (!p->coded || (d->no_addresses && is_of_addresses(i)))
			continue;
		if (ZSTD_decompress(at, p->bytes, p->data, p->coded) != p->bytes)
			return "it does not decompress";
		*c = (struct cursor){.p = at, .end = at + p->bytes};
		at += p->bytes;
	}
	return NULL;
}

static bool is_at_end(const struct cursor *c)
{
	return !c->bad && c->p == c->end;
}

/* ---- in the order of the events ------------------------------------------------------ */

static const char *decode_threads(struct decoder *d)
{
	struct cursor *threads = &d->columns[COLUMN_THREADS], *which = &d->columns[COLUMN_THREAD];
	uint32_t n = d->info->events;

	while (threads->p < threads->end && !threads->bad && d->n_threads < n)
		d->threads[d->n_threads++] = (uint32_t)cursor_varint(threads);
	if (!d->n_threads)
		return "it has no thread";
	for (uint32_t i = 0; i < n; i++) {
		uint64_t thread = d->n_threads > 1 ? cursor_varint(which) : 0;

		if (thread >= d->n_threads)
			return "an event of no thread";
		d->thread_of[i] = (uint16_t)thread;
	}
	chunk_order(d->thread_of, n, d->starts, d->n_threads, d->order);
	return NULL;
}

static const char *decode_times(struct decoder *d)
{
	struct cursor low = d->columns[COLUMN_TIME_LOW], high = d->columns[COLUMN_TIME_HIGH];
	uint64_t t = d->info->first_ns;

	for (uint32_t i = 0; i < d->info->events; i++) {
		t += cursor_varint(&high) << 8 | cursor_byte(&low);
		d->events[i].t_ns = t;
	}
	d->columns[COLUMN_TIME_LOW] = low;
	d->columns[COLUMN_TIME_HIGH] = high;
	return t == d->info->last_ns ? NULL : "its times do not agree";
}

static uint64_t decode_difference(struct cursor *c, uint64_t guess)
{
	uint64_t v = cursor_varint(c);

	return v & 1 ? cursor_varint(c) : guess + (uint64_t)unzigzag(v >> 1) * 16;
}

/* After all else: what was freed in the chunk is known by then. */
static const char *decode_addresses(struct decoder *d)
{
	struct cursor *address = &d->columns[COLUMN_ADDRESS];
	struct cursor *predicted = &d->columns[COLUMN_PREDICTED];
	struct predictor *p = &d->predictor;

	predictor_reset(p);
	for (uint32_t i = 0; i < d->info->events; i++) {
		struct event *e = &d->events[i];
		const struct event *ended = e - e->distance;

		if (e->distance)
			predictor_free(predictor_line(p, d->thread_of[i], ended), ended->address);
		if (event_makes(e)) {
			struct predictor_line *l = predictor_line(p, d->thread_of[i], e);
			uint8_t depth = cursor_byte(predicted);

			if (depth < l->n)
				e->address = predictor_take(l, depth);
			else if (depth == PREDICTOR_DEPTH)
				e->address = decode_difference(address, predictor_guess(p, l));
			else
				return "an address that was not freed";
			predictor_made(p, l, e);
		} else if (chunk_has_address(e->kind, e->free_class)) {
			e->address = decode_difference(address, p->next);
		}
	}
	return NULL;
}

/* ---- thread after thread ------------------------------------------------------------- */

static const char *decode_calls(struct decoder *d)
{
	struct cursor *c = &d->columns[COLUMN_CALLS];
	uint32_t stack = 0;

	while (c->p < c->end && !c->bad && d->n_calls < d->info->events) {
		uint8_t kind = cursor_byte(c), family = cursor_byte(c);

		stack += (uint32_t)unzigzag(cursor_varint(c));
		if ((kind & 15) >= EVENT_KINDS || kind >> 4 >= FREE_CLASSES)
			return "unknown kind of event";
		d->calls[d->n_calls++] = (struct call){kind & 15, kind >> 4, family, stack};
	}
	return NULL;
}

static uint64_t decode_usable(struct cursor *c, uint64_t size)
{
	uint64_t v = cursor_varint(c);

	if (v == 0)
		return USABLE_UNKNOWN;
	if (v == 1)
		return cursor_varint(c);
	return chunk_usual_usable(size) + (uint64_t)unzigzag(v - 2);
}

static uint64_t decode_split(struct cursor *low, struct cursor *high)
{
	return cursor_varint(high) << 8 | cursor_byte(low);
}

/* Which block it ends. */
static bool decode_ended(struct decoder *d, struct cursor *col, uint32_t i)
{
	struct event *e = &d->events[i];
	uint64_t back = decode_split(&col[COLUMN_BACK_LOW], &col[COLUMN_BACK_HIGH]);

	if (back > i)
		return false;
	e->distance = (uint32_t)back;
	if (!back)
		e->slot = (uint32_t)(cursor_byte(&col[COLUMN_SLOT_LOW]) |
				     cursor_byte(&col[COLUMN_SLOT_MIDDLE]) << 8 |
				     cursor_varint(&col[COLUMN_SLOT_HIGH]) << 16);
	return true;
}

static const char *decode_by_thread(struct decoder *d)
{
	struct cursor col[CHUNK_COLUMNS];

	memcpy(col, d->columns, sizeof(col));
	for (uint32_t k = 0; k < d->info->events; k++) {
		uint32_t i = d->order[k];
		struct event *e = &d->events[i];
		uint64_t which = decode_split(&col[COLUMN_CALL_LOW], &col[COLUMN_CALL_HIGH]);
		const struct call *call;

		if (which >= d->n_calls)
			return "an event of no kind";
		call = &d->calls[which];
		*e = (struct event){.kind = call->kind,
				    .free_class = call->free_class,
				    .family = call->family,
				    .thread = {d->threads[d->thread_of[i]]},
				    .stack = {call->stack}};
		if (chunk_has_size(e->kind)) {
			e->size = decode_split(&col[COLUMN_SIZE_LOW], &col[COLUMN_SIZE_HIGH]);
			e->usable = decode_usable(&col[COLUMN_USABLE], e->size);
		}
		if (event_frees(e) && !decode_ended(d, col, i))
			return "it frees a block from before its beginning";
	}
	memcpy(d->columns, col, sizeof(col));
	return NULL;
}

/* A block that was made in the chunk: was it? */
static bool are_distances_right(const struct decoder *d)
{
	for (uint32_t i = 0; i < d->info->events; i++) {
		const struct event *e = &d->events[i];

		if (e->distance && !event_makes(e - e->distance))
			return false;
	}
	return true;
}

static const char *decode_columns(struct decoder *d)
{
	const char *bad = decode_threads(d);

	if (!bad)
		bad = decode_calls(d);
	if (!bad)
		bad = decode_by_thread(d);
	if (!bad && !are_distances_right(d))
		bad = "it frees what is no block";
	if (!bad)
		bad = decode_times(d);
	if (!bad && !d->no_addresses)
		bad = decode_addresses(d);
	for (int i = 0; i < CHUNK_COLUMNS && !bad; i++)
		if (!is_at_end(&d->columns[i]) && !(d->no_addresses && is_of_addresses(i)))
			bad = "the columns do not agree";
	return bad;
}

static int decode(const struct chunk_info *info, const void *data, size_t len, bool addresses,
		  struct event *ret, struct err *err)
{
	struct column_place places[CHUNK_COLUMNS];
	struct decoder *d;
	const char *bad;
	size_t bytes;

	if (chunk_crc(info, data, len) != info->crc)
		return bad_chunk(info, "the checksum is wrong", err);
	if (!info->events || info->events > CHUNK_EVENTS_MAX)
		return bad_chunk(info, "impossible number of events", err);
	if (info->codec != CODEC_COLUMNS)
		return bad_chunk(info, "unknown codec", err);
	bad = find_columns((struct cursor){.p = data, .end = (const uint8_t *)data + len},
			   info->events, places, &bytes);
	if (bad)
		return bad_chunk(info, bad, err);
	d = xmalloc(sizeof(*d));
	d->info = info;
	d->events = ret;
	d->no_addresses = !addresses;
	d->n_threads = d->n_calls = 0;
	bad = unpack(d, places, bytes);
	if (!bad)
		bad = decode_columns(d);
	free(d->bytes);
	free(d);
	return bad ? bad_chunk(info, bad, err) : 0;
}

int chunk_decode(const struct chunk_info *info, const void *data, size_t len,
		 struct event *ret_events, struct err *err)
{
	return decode(info, data, len, true, ret_events, err);
}

int chunk_decode_but_addresses(const struct chunk_info *info, const void *data, size_t len,
			       struct event *ret_events, struct err *err)
{
	return decode(info, data, len, false, ret_events, err);
}
