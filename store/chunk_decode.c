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

struct chunk_decoder {
	const struct chunk_info *info;
	struct event *events;
	struct cursor columns[CHUNK_COLUMNS];
	struct buffer bytes; /* what was compressed */
	ZSTD_DCtx *zstd;
	struct predictor predictor;
	uint32_t n_threads, n_calls;
	uint32_t threads[CHUNK_EVENTS_MAX];
	uint16_t thread_of[CHUNK_EVENTS_MAX], order[CHUNK_EVENTS_MAX];
	uint32_t starts[CHUNK_EVENTS_MAX];
	struct chunk_call calls[CHUNK_EVENTS_MAX];
	uint32_t unwanted; /* a bit for each column that is not looked at */
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

/* Only addresses come of these, and nothing else needs them. */
#define COLUMNS_OF_ADDRESSES (1u << COLUMN_ADDRESS | 1u << COLUMN_PREDICTED)

static bool is_wanted(const struct chunk_decoder *d, int column)
{
	return !(d->unwanted >> column & 1);
}

static struct chunk_decoder *new_decoder(void)
{
	struct chunk_decoder *d = xmalloc(sizeof(*d));

	d->bytes = (struct buffer){0};
	d->zstd = NULL;
	return d;
}

static void free_decoder(struct chunk_decoder *d)
{
	if (!d)
		return;
	buffer_release(&d->bytes);
	ZSTD_freeDCtx(d->zstd);
	free(d);
}

static const char *unpack(struct chunk_decoder *d, const struct column_place *places, size_t bytes)
{
	uint8_t *at;

	if (!d->zstd && !(d->zstd = ZSTD_createDCtx()))
		return "there is no memory to unpack it";
	ARRAY_GROW(d->bytes.data, d->bytes.cap, bytes);
	at = d->bytes.data;
	for (int i = 0; i < CHUNK_COLUMNS; i++) {
		const struct column_place *p = &places[i];
		struct cursor *c = &d->columns[i];

		*c = (struct cursor){.p = p->data, .end = p->data + p->bytes};
		if (!p->coded || !is_wanted(d, i))
			continue;
		if (ZSTD_decompressDCtx(d->zstd, at, p->bytes, p->data, p->coded) != p->bytes)
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

static const char *decode_threads(struct chunk_decoder *d)
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

/* To @to, and as many bytes further each time. */
static const char *decode_times(struct chunk_decoder *d, uint64_t *to, size_t bytes)
{
	struct cursor low = d->columns[COLUMN_TIME_LOW], high = d->columns[COLUMN_TIME_HIGH];
	uint64_t t = d->info->first_ns;

	for (uint32_t i = 0; i < d->info->events; i++) {
		t += cursor_varint(&high) << 8 | cursor_byte(&low);
		*to = t;
		to = (uint64_t *)((uint8_t *)to + bytes);
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
static const char *decode_addresses(struct chunk_decoder *d)
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

static const char *decode_calls(struct chunk_decoder *d)
{
	struct cursor *c = &d->columns[COLUMN_CALLS];
	uint32_t stack = 0;

	while (c->p < c->end && !c->bad && d->n_calls < d->info->events) {
		uint8_t kind = cursor_byte(c), family = cursor_byte(c);

		stack += (uint32_t)unzigzag(cursor_varint(c));
		if ((kind & 15) >= EVENT_KINDS || kind >> 4 >= FREE_CLASSES)
			return "unknown kind of event";
		d->calls[d->n_calls++] =
			(struct chunk_call){kind & 15, kind >> 4, family, {stack}};
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

/* @columns: the three of slots. */
static inline uint32_t decode_slot(struct cursor *columns)
{
	return (uint32_t)(cursor_byte(&columns[0]) | cursor_byte(&columns[1]) << 8 |
			  cursor_varint(&columns[2]) << 16);
}

/* Which block it ends. */
static bool decode_ended(struct chunk_decoder *d, struct cursor *col, uint32_t i)
{
	struct event *e = &d->events[i];
	uint64_t back = decode_split(&col[COLUMN_BACK_LOW], &col[COLUMN_BACK_HIGH]);

	if (back > i)
		return false;
	e->distance = (uint32_t)back;
	if (!back)
		e->slot = decode_slot(&col[COLUMN_SLOT_LOW]);
	return true;
}

static const char *decode_by_thread(struct chunk_decoder *d)
{
	struct cursor col[CHUNK_COLUMNS];

	memcpy(col, d->columns, sizeof(col));
	for (uint32_t k = 0; k < d->info->events; k++) {
		uint32_t i = d->order[k];
		struct event *e = &d->events[i];
		uint64_t which = decode_split(&col[COLUMN_CALL_LOW], &col[COLUMN_CALL_HIGH]);
		const struct chunk_call *call;

		if (which >= d->n_calls)
			return "an event of no kind";
		call = &d->calls[which];
		*e = (struct event){.kind = call->kind,
				    .free_class = call->free_class,
				    .family = call->family,
				    .thread = {d->threads[d->thread_of[i]]},
				    .stack = call->stack};
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
static bool are_distances_right(const struct chunk_decoder *d)
{
	for (uint32_t i = 0; i < d->info->events; i++) {
		const struct event *e = &d->events[i];

		if (e->distance && !event_makes(e - e->distance))
			return false;
	}
	return true;
}

/* Columns that were read to their ends say the same of how much there is. */
static const char *check_ends(const struct chunk_decoder *d)
{
	for (int i = 0; i < CHUNK_COLUMNS; i++)
		if (is_wanted(d, i) && !is_at_end(&d->columns[i]))
			return "the columns do not agree";
	return NULL;
}

static const char *decode_columns(struct chunk_decoder *d)
{
	const char *bad = decode_threads(d);

	if (!bad)
		bad = decode_calls(d);
	if (!bad)
		bad = decode_by_thread(d);
	if (!bad && !are_distances_right(d))
		bad = "it frees what is no block";
	if (!bad)
		bad = decode_times(d, &d->events[0].t_ns, sizeof(*d->events));
	if (!bad && is_wanted(d, COLUMN_ADDRESS))
		bad = decode_addresses(d);
	return bad ? bad : check_ends(d);
}

/* Is it a chunk at all?  Then its columns are @d's. */
static int begin(struct chunk_decoder *d, const struct chunk_info *info, const void *data,
		 size_t len, uint32_t unwanted, struct err *err)
{
	struct column_place places[CHUNK_COLUMNS];
	const char *bad;
	size_t bytes;

	if (chunk_crc(info, data, len) != info->crc)
		return bad_chunk(info, "the checksum is wrong", err);
	if (!info->events || info->events > CHUNK_EVENTS_MAX)
		return bad_chunk(info, "impossible number of events", err);
	if (info->codec != CODEC_COLUMNS)
		return bad_chunk(info, "unknown codec", err);
	d->info = info;
	d->unwanted = unwanted;
	d->n_threads = d->n_calls = 0;
	bad = find_columns((struct cursor){.p = data, .end = (const uint8_t *)data + len},
			   info->events, places, &bytes);
	if (!bad)
		bad = unpack(d, places, bytes);
	return bad ? bad_chunk(info, bad, err) : 0;
}

static int decode(const struct chunk_info *info, const void *data, size_t len, uint32_t unwanted,
		  struct event *ret, struct err *err)
{
	struct chunk_decoder *d = new_decoder();
	int r = begin(d, info, data, len, unwanted, err);

	if (!r) {
		const char *bad;

		d->events = ret;
		bad = decode_columns(d);
		r = bad ? bad_chunk(info, bad, err) : 0;
	}
	free_decoder(d);
	return r;
}

int chunk_decode(const struct chunk_info *info, const void *data, size_t len,
		 struct event *ret_events, struct err *err)
{
	return decode(info, data, len, 0, ret_events, err);
}

int chunk_decode_but_addresses(const struct chunk_info *info, const void *data, size_t len,
			       struct event *ret_events, struct err *err)
{
	return decode(info, data, len, COLUMNS_OF_ADDRESSES, ret_events, err);
}

/* ---- in brief --------------------------------------------------------------------------- */

/* What a call has in the columns. */
enum has { HAS_SIZE = 1, HAS_END = 2, HAS_BIRTH = 4 };

static unsigned int has_what(const struct chunk_call *c)
{
	const struct event e = {.kind = c->kind, .free_class = c->free_class};

	return (chunk_has_size(c->kind) ? HAS_SIZE : 0u) | (event_frees(&e) ? HAS_END : 0u) |
	       (c->kind == EVENT_PIECE ? HAS_BIRTH : 0u);
}

/* By far most blocks are no pieces, and their usable bytes nobody asks for. */
static bool has_pieces(const struct chunk_decoder *d)
{
	for (uint32_t i = 0; i < d->n_calls; i++)
		if (d->calls[i].kind == EVENT_PIECE)
			return true;
	return false;
}

static const char *brief_calls(struct chunk_decoder *d, struct chunk_step *steps, uint8_t *has)
{
	struct cursor low = d->columns[COLUMN_CALL_LOW], high = d->columns[COLUMN_CALL_HIGH];

	for (uint32_t i = 0; i < d->n_calls; i++)
		has[i] = (uint8_t)has_what(&d->calls[i]);
	for (uint32_t k = 0; k < d->info->events; k++) {
		uint64_t which = decode_split(&low, &high);

		if (which >= d->n_calls)
			return "an event of no kind";
		steps[d->order[k]].call = (uint16_t)which;
	}
	d->columns[COLUMN_CALL_LOW] = low;
	d->columns[COLUMN_CALL_HIGH] = high;
	return NULL;
}

static void brief_sizes(struct chunk_decoder *d, const struct chunk_brief *b, const uint8_t *has)
{
	struct cursor low = d->columns[COLUMN_SIZE_LOW], high = d->columns[COLUMN_SIZE_HIGH];
	struct cursor *usable = &d->columns[COLUMN_USABLE];

	for (uint32_t k = 0; k < d->info->events; k++) {
		uint32_t i = d->order[k];
		struct chunk_step *s = &b->steps[i];

		if (!(has[s->call] & HAS_SIZE))
			continue;
		s->size = decode_split(&low, &high);
		if (b->births)
			b->births[i] = decode_usable(usable, s->size);
	}
	d->columns[COLUMN_SIZE_LOW] = low;
	d->columns[COLUMN_SIZE_HIGH] = high;
}

static const char *brief_ends(struct chunk_decoder *d, struct chunk_step *steps, const uint8_t *has)
{
	struct cursor low = d->columns[COLUMN_BACK_LOW], high = d->columns[COLUMN_BACK_HIGH];
	struct cursor *slots = &d->columns[COLUMN_SLOT_LOW];

	for (uint32_t k = 0; k < d->info->events; k++) {
		uint32_t i = d->order[k];
		struct chunk_step *s = &steps[i];
		uint64_t back;

		if (!(has[s->call] & HAS_END))
			continue;
		back = decode_split(&low, &high);
		if (back > i)
			return "it frees a block from before its beginning";
		s->is_recent = back != 0;
		if (back && !(has[s[-(ptrdiff_t)back].call] & HAS_SIZE))
			return "it frees what is no block";
		s->block = back ? (uint32_t)back : decode_slot(slots);
	}
	d->columns[COLUMN_BACK_LOW] = low;
	d->columns[COLUMN_BACK_HIGH] = high;
	return NULL;
}

static const char *brief_columns(struct chunk_decoder *d, struct chunk_brief *b)
{
	uint8_t has[CHUNK_EVENTS_MAX];
	const char *bad = decode_threads(d);

	if (!bad)
		bad = brief_calls(d, b->steps, has);
	if (!bad)
		brief_sizes(d, b, has);
	if (!bad)
		bad = brief_ends(d, b->steps, has);
	if (!bad)
		bad = decode_times(d, &b->steps[0].t_ns, sizeof(*b->steps));
	return bad ? bad : check_ends(d);
}

void chunk_brief_release(struct chunk_brief *b)
{
	free_decoder(b->decoder);
	free(b->steps);
	free(b->births_room);
	memset(b, 0, sizeof(*b));
}

int chunk_decode_brief(const struct chunk_info *info, const void *data, size_t len,
		       struct chunk_brief *ret, struct err *err)
{
	struct chunk_decoder *d = ret->decoder;
	const char *bad;
	int r;

	if (!d) {
		d = ret->decoder = new_decoder();
		ret->steps = xmalloc(CHUNK_EVENTS_MAX * sizeof(*ret->steps));
		ret->calls = d->calls;
	}
	r = begin(d, info, data, len, COLUMNS_OF_ADDRESSES | 1u << COLUMN_USABLE, err);
	if (r)
		return r;
	bad = decode_calls(d);
	ret->n_calls = d->n_calls;
	ret->births = NULL;
	if (!bad && has_pieces(d)) {
		if (!ret->births_room)
			ret->births_room = xmalloc(CHUNK_EVENTS_MAX * sizeof(*ret->births));
		ret->births = ret->births_room;
		r = begin(d, info, data, len, COLUMNS_OF_ADDRESSES, err);
		bad = r ? NULL : decode_calls(d);
	}
	if (!bad && !r)
		bad = brief_columns(d, ret);
	return bad ? bad_chunk(info, bad, err) : r;
}
