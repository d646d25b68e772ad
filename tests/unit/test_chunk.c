/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/chunk.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"

static struct event *decoded; /* room for CHUNK_EVENTS_MAX */

/* What remains of an event in a chunk; see chunk.h. */
static struct event as_stored(const struct event *e)
{
	struct event s = *e;

	if (e->kind == EVENT_FREE) {
		s.size = s.usable = 0;
		if (event_frees(e))
			s.address = 0;
	}
	if (!event_frees(e))
		s.slot = 0;
	return s;
}

static bool same_event(const struct event *a, const struct event *b)
{
	return a->kind == b->kind && a->free_class == b->free_class && a->family == b->family &&
	       a->thread.v == b->thread.v && a->stack.v == b->stack.v && a->slot == b->slot &&
	       a->t_ns == b->t_ns && a->address == b->address && a->size == b->size &&
	       a->usable == b->usable;
}

/* Encodes @n events, decodes them; the number of the first that differs, @n if none does. */
static size_t first_different(const struct event *events, size_t n)
{
	struct chunk_encoder c = {0};
	struct buffer blob = {0};
	struct err err;
	size_t i = 0;

	chunk_encoder_reset(&c, 1, (struct space_id){1});
	for (size_t j = 0; j < n; j++)
		chunk_encoder_add(&c, &events[j]);
	chunk_encoder_finish(&c, &blob);
	memset(decoded, 0x5a, n * sizeof(*decoded));
	if (!chunk_decode(&c.info, blob.data, blob.len, decoded, &err))
		for (; i < n; i++) {
			struct event e = as_stored(&events[i]);

			if (!same_event(&e, &decoded[i]))
				break;
		}
	else
		diag("%s", err.what);
	buffer_release(&blob);
	chunk_encoder_release(&c);
	return i;
}

/* ---- random streams ---------------------------------------------------------------- */

/* Numbers of all magnitudes. */
static uint64_t random_number(void)
{
	return random_u64() >> random_below(64);
}

static struct event random_event(uint64_t t_ns)
{
	struct event e = {
		.kind = (uint8_t)random_below(EVENT_KINDS),
		.family = (uint8_t)random_u64(),
		.thread = {(uint32_t)random_number()},
		.stack = {(uint32_t)random_number()},
		.slot = (uint32_t)random_number(),
		.t_ns = t_ns,
		.address = random_number(),
		.size = random_number(),
	};

	if (random_below(4))
		e.kind = (uint8_t)random_below(EVENT_REALLOC + 1);
	if (random_below(2))
		e.address &= ~(uint64_t)15;
	if (e.kind == EVENT_FREE)
		e.free_class = (uint8_t)random_below(FREE_CLASSES);
	switch (random_below(3)) {
	case 0:
		e.usable = USABLE_UNKNOWN;
		break;
	case 1:
		e.usable = chunk_usual_usable(e.size);
		break;
	case 2:
		e.usable = e.size + random_below(5000);
		break;
	}
	return e;
}

/* To be freed. */
static struct event *random_stream(size_t n)
{
	struct event *events = xcalloc(n, sizeof(*events));
	uint64_t t = random_number() / 4;

	for (size_t i = 0; i < n; i++) {
		/* not beyond the end of time */
		t += random_below(2) ? random_number() >> 20 : random_below(300);
		events[i] = random_event(t);
	}
	return events;
}

static void test_random(void)
{
	int good = 0;

	for (int i = 0; i < 300; i++) {
		size_t n = 1 + random_below(i % 10 ? 200 : 5000);
		struct event *events = random_stream(n);
		size_t at = first_different(events, n);

		if (at == n)
			good++;
		else
			diag("stream %d differs at event %zu of %zu", i, at, n);
		free(events);
	}
	ok(good == 300, "300 random streams are decoded as they were encoded");
}

/* ---- extremes ---------------------------------------------------------------------- */

static void test_addresses(void)
{
	static const uint64_t addresses[] = {
		0, 16, 0, UINT64_MAX, 0, UINT64_MAX - 15, 1, 17, 15, 1ull << 63, (1ull << 63) - 16,
		UINT64_MAX, UINT64_MAX, 0x7ffffffff000, 8, 24, 1ull << 63 | 1, 1, 1,
	};
	struct event events[COUNT_OF(addresses)];

	for (size_t i = 0; i < COUNT_OF(addresses); i++)
		events[i] = (struct event){
			.kind = EVENT_ALLOC, .address = addresses[i], .usable = 24};
	ok(first_different(events, COUNT_OF(addresses)) == COUNT_OF(addresses),
	   "addresses 0, UINT64_MAX, unaligned, and all differences between them");
}

static void test_compact(void)
{
	struct chunk_encoder c = {0};

	chunk_encoder_reset(&c, 1, (struct space_id){1});
	for (uint64_t i = 0; i < 100; i++)
		chunk_encoder_add(&c, &(struct event){.kind = EVENT_ALLOC, .address = i % 2 * 256,
						      .size = 100, .usable = 104});
	ok(c.columns[COLUMN_ADDRESS].len == 100 && c.columns[COLUMN_USABLE].len == 100,
	   "small steps of the address, up or down, and usual usable sizes are one byte each");
	chunk_encoder_release(&c);
}

static void test_sizes(void)
{
	static const uint64_t sizes[] = {
		0, 1, 23, 24, 25, 40, 41, 4096, 1ull << 32, 1ull << 63, UINT64_MAX - 23,
		UINT64_MAX - 8, UINT64_MAX - 1, UINT64_MAX,
	};
	static const uint64_t usables[] = {
		0, 1, 24, 1000, 1ull << 62, (1ull << 63) - 1, 1ull << 63, UINT64_MAX - 1,
		USABLE_UNKNOWN,
	};
	struct event events[COUNT_OF(sizes) * COUNT_OF(usables)], e = {.kind = EVENT_REALLOC};
	size_t n = 0;

	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		for (size_t j = 0; j < COUNT_OF(usables); j++)
			events[n++] = (struct event){.kind = EVENT_ALLOC, .size = sizes[i],
						     .usable = usables[j]};
	ok(first_different(events, n) == n, "sizes from 0 to UINT64_MAX with all usable sizes");
	ok(chunk_usual_usable(0) == 24 && chunk_usual_usable(24) == 24 &&
		   chunk_usual_usable(25) == 40 && chunk_usual_usable(1000) == 1000 &&
		   chunk_usual_usable(1001) == 1016,
	   "what glibc gives for a size");
	/* its difference, and 2, have no room in 64 bits */
	e.usable = chunk_usual_usable(0) + (1ull << 63);
	ok(first_different(&e, 1) == 1, "the usable size farthest from the usual one");
}

static void test_kinds(void)
{
	struct event events[EVENT_KINDS + FREE_CLASSES];
	size_t n = 0;

	for (uint8_t i = 0; i < EVENT_KINDS; i++)
		events[n++] = (struct event){.kind = i, .family = 255, .slot = UINT32_MAX,
					     .thread = {UINT32_MAX}, .stack = {UINT32_MAX},
					     .address = 0x1234, .size = 100, .usable = 104};
	for (uint8_t i = 0; i < FREE_CLASSES; i++)
		events[n++] = (struct event){.kind = EVENT_FREE, .free_class = i, .slot = 70000,
					     .t_ns = UINT64_MAX, .address = 0x5678};
	for (size_t i = 0; i < n; i++)
		ok(first_different(&events[i], 1) == 1, "an event of kind %d, free class %d alone",
		   events[i].kind, events[i].free_class);
	ok(first_different(events, n) == n, "all kinds and free classes, from time 0 to the last");
}

static void test_full(void)
{
	struct event *events = xcalloc(CHUNK_EVENTS_MAX, sizeof(*events));

	/* each column at its longest */
	for (uint32_t i = 0; i < CHUNK_EVENTS_MAX; i++)
		events[i] = (struct event){.kind = EVENT_REALLOC, .family = 255,
					   .thread = {UINT32_MAX}, .stack = {UINT32_MAX},
					   .slot = UINT32_MAX - i, .address = UINT64_MAX - 2 * i,
					   .size = UINT64_MAX - i, .usable = 1ull << 63,
					   .t_ns = i < 2 ? 0 : UINT64_MAX};
	ok(first_different(events, CHUNK_EVENTS_MAX) == CHUNK_EVENTS_MAX,
	   "a full chunk of the longest events");
	memset(events, 0, CHUNK_EVENTS_MAX * sizeof(*events));
	ok(first_different(events, CHUNK_EVENTS_MAX) == CHUNK_EVENTS_MAX,
	   "a full chunk of the shortest events");
	free(events);
}

static void test_overfull(void)
{
	struct chunk_encoder c = {0};
	struct buffer blob = {0};
	struct err err;

	chunk_encoder_reset(&c, 1, (struct space_id){1});
	for (int i = 0; i < CHUNK_EVENTS_MAX + 1; i++)
		chunk_encoder_add(&c, &(struct event){.kind = EVENT_ALLOC});
	chunk_encoder_finish(&c, &blob);
	ok(chunk_decode(&c.info, blob.data, blob.len, decoded, &err) == -EBADMSG,
	   "a chunk with one event too many is refused");
	buffer_release(&blob);
	chunk_encoder_release(&c);
}

static void test_info(void)
{
	const struct event events[] = {
		{.kind = EVENT_ALLOC, .family = 1, .t_ns = 100, .address = 0x1000, .size = 50},
		{.kind = EVENT_REALLOC, .family = 3, .t_ns = 110, .address = 0x900, .size = 7},
		{.kind = EVENT_FREE, .family = 1, .t_ns = 120, .address = 1, .size = 1},
		{.kind = EVENT_FREE, .free_class = FREE_IMPLIED, .t_ns = 130, .address = 1},
		{.kind = EVENT_FREE, .free_class = FREE_UNKNOWN, .t_ns = 130, .address = 0x5000},
		{.kind = EVENT_FREE, .free_class = FREE_DOUBLE, .t_ns = 130, .address = 0x4000},
		{.kind = EVENT_ALLOC, .family = 1, .t_ns = 200, .address = 0x2000, .size = 90},
	};
	struct chunk_encoder c = {0};
	const struct chunk_info *i = &c.info;

	chunk_encoder_reset(&c, 9, (struct space_id){4});
	ok(i->id == 9 && i->space.v == 4 && i->events == 0, "an empty chunk");
	for (size_t j = 0; j < COUNT_OF(events); j++)
		chunk_encoder_add(&c, &events[j]);
	ok(i->events == 7 && i->allocs == 3 && i->frees == 3, "a chunk counts events and calls");
	ok(i->first_ns == 100 && i->last_ns == 200, "a chunk's times");
	ok(i->min_size == 7 && i->max_size == 90, "a chunk's sizes");
	ok(i->min_address == 0x900 && i->max_address == 0x5000, "a chunk's addresses");
	ok(i->families == (1 << 0 | 1 << 1 | 1 << 3), "a chunk's families");
	chunk_encoder_release(&c);
}

static void test_continued(void)
{
	enum { N = 2000, HALF = 700 };
	struct event *events = random_stream(N);
	struct chunk_encoder c = {0};
	struct buffer first = {0}, second = {0};
	struct chunk_info half;
	struct event e;
	size_t same = 0;
	struct err err;

	chunk_encoder_reset(&c, 1, (struct space_id){1});
	for (size_t i = 0; i < HALF; i++)
		chunk_encoder_add(&c, &events[i]);
	chunk_encoder_finish(&c, &first);
	half = c.info;
	for (size_t i = HALF; i < N; i++)
		chunk_encoder_add(&c, &events[i]);
	buffer_append(&second, "what was in it goes", 19);
	chunk_encoder_finish(&c, &second);

	ok(half.events == HALF && !chunk_decode(&half, first.data, first.len, decoded, &err),
	   "a chunk finished half way is decoded");
	for (size_t i = 0; i < HALF; i++) {
		e = as_stored(&events[i]);
		same += same_event(&e, &decoded[i]);
	}
	ok(same == HALF, "with the events so far");
	ok(c.info.events == N && !chunk_decode(&c.info, second.data, second.len, decoded, &err),
	   "finished again after more events it is decoded, too");
	same = 0;
	for (size_t i = 0; i < N; i++) {
		e = as_stored(&events[i]);
		same += same_event(&e, &decoded[i]);
	}
	ok(same == N, "with all events");
	ok(chunk_decode(&half, second.data, second.len, decoded, &err) == -EBADMSG &&
		   chunk_decode(&c.info, first.data, first.len, decoded, &err) == -EBADMSG,
	   "the numbers of one do not go with the bytes of the other");

	chunk_encoder_reset(&c, 2, (struct space_id){1});
	/* the address before is of the other chunk */
	chunk_encoder_add(&c, &(struct event){.kind = EVENT_ALLOC, .address = 0x1000});
	events[0] = (struct event){.kind = EVENT_ALLOC, .address = 0x2000, .t_ns = 5};
	chunk_encoder_reset(&c, 2, (struct space_id){1});
	chunk_encoder_add(&c, &events[0]);
	chunk_encoder_finish(&c, &first);
	e = as_stored(&events[0]);
	ok(c.info.events == 1 && c.info.id == 2 &&
		   !chunk_decode(&c.info, first.data, first.len, decoded, &err) &&
		   same_event(&e, &decoded[0]),
	   "a reset encoder begins anew");
	buffer_release(&first);
	buffer_release(&second);
	chunk_encoder_release(&c);
	free(events);
}

/* ---- damage ------------------------------------------------------------------------ */

struct sample {
	struct chunk_encoder encoder;
	struct chunk_info info;
	struct buffer blob;
};

static void sample_init(struct sample *s, size_t n)
{
	struct event *events = random_stream(n);

	memset(s, 0, sizeof(*s));
	chunk_encoder_reset(&s->encoder, 3, (struct space_id){2});
	for (size_t i = 0; i < n; i++)
		chunk_encoder_add(&s->encoder, &events[i]);
	chunk_encoder_finish(&s->encoder, &s->blob);
	s->info = s->encoder.info;
	free(events);
}

static void sample_release(struct sample *s)
{
	chunk_encoder_release(&s->encoder);
	buffer_release(&s->blob);
}

static void test_flipped(void)
{
	struct sample s;
	struct err err;
	size_t seen = 0;

	sample_init(&s, 500);
	for (size_t i = 0; i < s.blob.len; i++) {
		uint8_t flip = (uint8_t)(1 + random_below(255));

		s.blob.data[i] ^= flip;
		seen += chunk_decode(&s.info, s.blob.data, s.blob.len, decoded, &err) == -EBADMSG;
		s.blob.data[i] ^= flip;
	}
	ok(seen == s.blob.len, "each of %zu bytes changed is seen", s.blob.len);
	seen = 0;
	for (size_t len = 0; len < s.blob.len; len++) {
		/* exactly so large, so that a read beyond is found */
		uint8_t *copy = xmalloc(len);

		memcpy(copy, s.blob.data, len);
		err.what[0] = '\0';
		seen += chunk_decode(&s.info, copy, len, decoded, &err) == -EBADMSG &&
			err.class == ERR_RECORDING && err.what[0];
		free(copy);
	}
	ok(seen == s.blob.len, "the chunk cut off at each of %zu bytes is seen", s.blob.len);
	buffer_append(&s.blob, "", 1);
	ok(chunk_decode(&s.info, s.blob.data, s.blob.len, decoded, &err) == -EBADMSG,
	   "a byte too many is seen");
	ok(chunk_decode(&s.info, s.blob.data, s.blob.len - 1, decoded, NULL) == 0,
	   "the undamaged chunk is decoded");
	sample_release(&s);
}

static void test_numbers(void)
{
#define FIELD(name) \
	{#name, offsetof(struct chunk_info, name), sizeof(((struct chunk_info *)0)->name)}
	static const struct {
		const char *name;
		size_t offset, size;
	} fields[] = {
		FIELD(id),	  FIELD(space),	      FIELD(events),	  FIELD(allocs),
		FIELD(frees),	  FIELD(first_ns),    FIELD(last_ns),	  FIELD(min_size),
		FIELD(max_size),  FIELD(min_address), FIELD(max_address), FIELD(families),
		FIELD(codec),	  FIELD(crc),
	};
#undef FIELD
	struct sample s;
	struct err err;

	sample_init(&s, 100);
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		size_t bits = fields[i].size * 8, seen = 0;

		for (size_t bit = 0; bit < bits; bit++) {
			struct chunk_info info = s.info;

			((uint8_t *)&info)[fields[i].offset + bit / 8] ^= (uint8_t)(1 << bit % 8);
			seen += chunk_decode(&info, s.blob.data, s.blob.len, decoded, &err) ==
				-EBADMSG;
		}
		ok(seen == bits, "a changed bit in %s is seen", fields[i].name);
	}
	sample_release(&s);
}

/* ---- damage with a checksum that is right ------------------------------------------- */

/* As the codec does it, so that what it checks beyond the checksum is reached. */
static uint32_t checksum(const struct chunk_info *i, const void *data, size_t len)
{
	uint64_t numbers[] = {i->id,	   i->space.v,	i->events,	i->allocs,
			      i->frees,	   i->first_ns, i->last_ns,	i->min_size,
			      i->max_size, i->codec,	i->min_address, i->max_address,
			      i->families};

	return (uint32_t)crc32_z(crc32(0, (const Bytef *)numbers, sizeof(numbers)), data, len);
}

/* Decodes a copy of exactly @len bytes with the checksum set right. */
static int decode_forged(struct chunk_info info, const void *data, size_t len)
{
	uint8_t *copy = xmalloc(len);
	struct err err;
	int r;

	memcpy(copy, data, len);
	info.crc = checksum(&info, data, len);
	r = chunk_decode(&info, copy, len, decoded, &err);
	free(copy);
	return r;
}

/* The columns of @s without zstd, to be freed; @s->info then says so. */
static uint8_t *raw_columns(struct sample *s, size_t *ret_len)
{
	size_t len = ZSTD_getFrameContentSize(s->blob.data, s->blob.len);
	uint8_t *raw = xmalloc(len);

	*ret_len = ZSTD_decompress(raw, len, s->blob.data, s->blob.len);
	s->info.codec = CODEC_COLUMNS;
	return raw;
}

static void test_forged_columns(void)
{
	struct sample s;
	struct chunk_info info;
	size_t len, bad = 0, other = 0;
	uint8_t *raw;

	sample_init(&s, 300);
	ok(checksum(&s.info, s.blob.data, s.blob.len) == s.info.crc,
	   "the test computes the checksum as the codec does");
	raw = raw_columns(&s, &len);
	ok(decode_forged(s.info, raw, len) == 0, "columns without zstd are decoded");
	for (size_t i = 0; i < len; i++) {
		for (int times = 0; times < 8; times++) {
			uint8_t flip = (uint8_t)(1 + random_below(255));
			int r;

			raw[i] ^= flip;
			r = decode_forged(s.info, raw, len);
			other += r && r != -EBADMSG;
			raw[i] ^= flip;
		}
		bad += decode_forged(s.info, raw, i) == -EBADMSG;
	}
	ok(other == 0, "changed bytes with a right checksum are decoded or damage, nothing else");
	ok(bad == len, "columns cut off at each byte are damage");

	info = s.info;
	info.events--;
	bad = decode_forged(info, raw, len) == -EBADMSG;
	info.events += 2;
	bad += decode_forged(info, raw, len) == -EBADMSG;
	info.events = CHUNK_EVENTS_MAX;
	bad += decode_forged(info, raw, len) == -EBADMSG;
	ok(bad == 3, "another number of events than the columns have");
	info.events = CHUNK_EVENTS_MAX + 1;
	bad = decode_forged(info, raw, len) == -EBADMSG;
	info.events = UINT32_MAX;
	bad += decode_forged(info, raw, len) == -EBADMSG;
	info.events = 0;
	bad += decode_forged(info, raw, len) == -EBADMSG;
	bad += decode_forged(info, "\0\0\0\0\0\0\0\0\0", 9) == -EBADMSG;
	ok(bad == 4, "a number of events that no chunk has");
	info = s.info;
	info.last_ns++;
	ok(decode_forged(info, raw, len) == -EBADMSG, "another end than the columns have");
	free(raw);
	sample_release(&s);
}

/* Of a decoded chunk: times in order, and nothing that an array is indexed with out of its range. */
static bool is_within_bounds(const struct chunk_info *info)
{
	for (uint32_t i = 0; i < info->events; i++)
		if (decoded[i].kind >= EVENT_KINDS || decoded[i].free_class >= FREE_CLASSES)
			return false;
	return decoded[info->events - 1].t_ns == info->last_ns;
}

/* Some bytes changed, and one put in or left out, of @len in @data, which has room for it. */
static size_t forge(uint8_t *data, size_t len)
{
	size_t at = random_below(len);

	for (uint64_t i = random_below(4); i; i--)
		data[random_below(len)] = (uint8_t)(random_below(3) ? random_u64() : 0xff);
	switch (random_below(4)) {
	case 0:
		memmove(data + at + 1, data + at, len - at);
		data[at] = (uint8_t)random_u64();
		return len + 1;
	case 1:
		memmove(data + at, data + at + 1, len - at - 1);
		return len - 1;
	}
	return len;
}

static void test_forged_much(void)
{
	enum { SAMPLES = 100, TIMES = 200 };
	size_t bad = 0, good = 0, other = 0, len, n;

	for (int i = 0; i < SAMPLES; i++) {
		struct chunk_info info;
		struct sample s;
		uint8_t *raw, *forged;

		sample_init(&s, 1 + random_below(100));
		raw = raw_columns(&s, &len);
		forged = xmalloc(len + 1);
		for (int j = 0; j < TIMES; j++) {
			int r;

			memcpy(forged, raw, len);
			n = forge(forged, len);
			info = s.info;
			if (random_below(8) == 0)
				info.events = (uint32_t)(random_u64() >> random_below(64));
			r = decode_forged(info, forged, n);
			good += !r && is_within_bounds(&info);
			bad += r == -EBADMSG;
			other += r ? r != -EBADMSG : !is_within_bounds(&info);
		}
		free(forged);
		free(raw);
		sample_release(&s);
	}
	ok(bad && good && !other, "forged columns: %zu decoded within bounds, %zu refused, %zu else",
	   good, bad, other);
}

static void test_forged_kinds(void)
{
	/* one event: kind, time, thread, family, stack; then address, size, usable, slot */
	uint8_t raw[] = {1, EVENT_MARK, 1, 0, 1, 1, 1, 1, 1, 1, 1, 32, 1, 5, 1, 0, 0};
	const struct chunk_info info = {.events = 1, .codec = CODEC_COLUMNS};
	struct chunk_info other = info;

	ok(decode_forged(info, raw, sizeof(raw)) == 0 && decoded[0].kind == EVENT_MARK &&
		   decoded[0].size == 5 && decoded[0].usable == USABLE_UNKNOWN &&
		   decoded[0].address == 128,
	   "columns made by hand");
	raw[1] = EVENT_KINDS;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "a kind that there is not");
	raw[1] = EVENT_MARK | FREE_CLASSES << 4;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "a free class that there is not");
	raw[1] = EVENT_MARK;
	raw[0] = 0xff;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "a column longer than the chunk");
	raw[0] = 1;
	ok(decode_forged(info, (uint8_t[]){2, EVENT_MARK, EVENT_MARK, 1, 0, 1, 1, 1, 1, 1, 1, 1, 32,
					   1, 5, 1, 0, 0}, 18) == -EBADMSG,
	   "a column with more than the events need");
	other.codec = 3;
	ok(decode_forged(other, raw, sizeof(raw)) == -EBADMSG, "a codec that there is not");
	other.codec = CODEC_COLUMNS_ZSTD;
	ok(decode_forged(other, raw, sizeof(raw)) == -EBADMSG, "what is no zstd frame");
}

static void test_forged_zstd(void)
{
	enum { LARGE = 16 << 20 };
	struct sample s;
	uint8_t *raw;
	size_t other = 0, n, bound = ZSTD_compressBound(LARGE);
	uint8_t *large = xcalloc(1, LARGE), *packed = xmalloc(bound);

	sample_init(&s, 300);
	for (size_t i = 0; i < s.blob.len; i++) {
		uint8_t flip = (uint8_t)(1 + random_below(255));
		int r;

		s.blob.data[i] ^= flip;
		r = decode_forged(s.info, s.blob.data, s.blob.len);
		other += r && r != -EBADMSG;
		s.blob.data[i] ^= flip;
		other += decode_forged(s.info, s.blob.data, i) != -EBADMSG;
	}
	ok(other == 0, "a damaged zstd frame is decoded or damage, nothing else");
	raw = raw_columns(&s, &n);
	memcpy(large, raw, n); /* good columns, and nothing but zeros behind them */
	free(raw);
	n = ZSTD_compress(packed, bound, large, LARGE, 1);
	s.info.codec = CODEC_COLUMNS_ZSTD;
	ok(decode_forged(s.info, packed, n) == -EBADMSG, "a frame that would become too large");
	free(large);
	free(packed);
	sample_release(&s);
}

int main(void)
{
	decoded = xcalloc(CHUNK_EVENTS_MAX, sizeof(*decoded));
	seed_random();
	test_random();
	test_addresses();
	test_compact();
	test_sizes();
	test_kinds();
	test_full();
	test_overfull();
	test_info();
	test_continued();
	test_flipped();
	test_numbers();
	test_forged_columns();
	test_forged_much();
	test_forged_kinds();
	test_forged_zstd();
	free(decoded);
	return done();
}
