/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/chunk.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/xalloc.h"
#include "store/slots.h"
#include "tests/unit/tap.h"

static struct event *decoded; /* room for CHUNK_EVENTS_MAX */

/* Is event @i of @events what was decoded there?  See chunk.h. */
static bool is_decoded(const struct event *events, size_t i)
{
	const struct event *e = &events[i], *d = &decoded[i];

	if (e->kind != d->kind || e->free_class != d->free_class || e->family != d->family ||
	    e->thread.v != d->thread.v || e->stack.v != d->stack.v || e->t_ns != d->t_ns)
		return false;
	if ((e->kind != EVENT_FREE || !event_frees(e)) && e->address != d->address)
		return false;
	if (event_makes(e) && (e->size != d->size || e->usable != d->usable))
		return false;
	if (!event_frees(e))
		return d->slot == 0 && d->distance == 0;
	if (!d->distance)
		return d->slot == e->slot;
	/* the block was made there, and no other came into its slot since */
	if (d->distance > i || !event_makes(e - d->distance) ||
	    e[-(int64_t)d->distance].slot != e->slot)
		return false;
	for (const struct event *o = e - d->distance + 1; o < e; o++)
		if (event_makes(o) && o->slot == e->slot)
			return false;
	return true;
}

/* The same but for addresses, in the order of @decoded?  The number of the first that is not. */
static size_t first_without(const struct chunk_info *info, const struct buffer *blob, size_t n)
{
	static struct event without[CHUNK_EVENTS_MAX];
	size_t i = 0;

	if (chunk_decode_but_addresses(info, blob->data, blob->len, without, NULL))
		return 0;
	while (i < n) {
		struct event e = decoded[i];

		e.address = 0;
		if (memcmp(&e, &without[i], sizeof(e)))
			break;
		i++;
	}
	return i;
}

static struct chunk_brief brief;

/* Does event @i say the same in brief as in @decoded? */
static bool is_in_brief(uint32_t i)
{
	const struct event *d = &decoded[i];
	const struct chunk_step *s = &brief.steps[i];
	const struct chunk_call *c = &brief.calls[s->call];

	return s->call < brief.n_calls && s->t_ns == d->t_ns && c->kind == d->kind &&
	       c->free_class == d->free_class && c->family == d->family &&
	       c->stack.v == d->stack.v && (!event_makes(d) || s->size == d->size) &&
	       (!event_frees(d) ||
		(s->is_recent == (d->distance != 0) &&
		 s->block == (d->distance ? d->distance : d->slot))) &&
	       (d->kind != EVENT_PIECE || (brief.births && brief.births[i] == d->usable));
}

/* What was decoded, decoded in brief: the number of the first event that differs. */
static uint32_t first_brief(const struct chunk_info *info, const void *data, size_t len)
{
	uint32_t i = 0;

	if (chunk_decode_brief(info, data, len, &brief, NULL))
		return 0;
	while (i < info->events && is_in_brief(i))
		i++;
	return i;
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
		while (i < n && is_decoded(events, i))
			i++;
	else
		diag("%s", err.what);
	if (i == n && first_without(&c.info, &blob, n) < n)
		i = first_without(&c.info, &blob, n);
	if (i == n)
		i = first_brief(&c.info, blob.data, blob.len);
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

/* As a program makes it: blocks are freed, also by other threads, and addresses come again. */
static struct event *heap_stream(size_t n)
{
	struct event *events = xcalloc(n, sizeof(*events)), *live = xcalloc(n + 1, sizeof(*live));
	struct slots slots = {0};
	uint64_t t = random_number() / 4, sizes = 1 + random_below(40);
	uint32_t threads = 1 + (uint32_t)random_below(8), n_live = 0, n_freed = 0;
	uint64_t freed[64];

	for (size_t i = 0; i < n; i++) {
		struct event *e = &events[i];
		uint32_t at = n_live ? (uint32_t)random_below(n_live) : 0;

		*e = (struct event){.thread = {1 + (uint32_t)random_below(threads)}, .family = 1,
				    .stack = {1 + (uint32_t)random_below(50)},
				    .size = 16 * random_below(sizes), .t_ns = t += random_below(3000)};
		e->usable = random_below(9) ? chunk_usual_usable(e->size) : USABLE_UNKNOWN;
		e->address = n_freed && random_below(4) ? freed[random_below(n_freed)]
							: 0x10000 + 16 * random_below(100000);
		if (!n_live || random_below(100) < 52) {
			e->slot = slots_take(&slots);
			live[n_live++] = *e;
			continue;
		}
		e->kind = random_below(6) ? EVENT_FREE : EVENT_REALLOC;
		e->slot = live[at].slot;
		freed[n_freed < COUNT_OF(freed) ? n_freed++ : random_below(n_freed)] =
			live[at].address;
		if (e->kind == EVENT_REALLOC) {
			live[at] = *e;
			continue;
		}
		slots_give(&slots, e->slot);
		live[at] = live[--n_live];
	}
	slots_release(&slots);
	free(live);
	return events;
}

static void test_random(void)
{
	int good = 0;

	for (int i = 0; i < 300; i++) {
		size_t n = 1 + random_below(i % 10 ? 200 : 5000);
		struct event *events = i % 2 ? heap_stream(n) : random_stream(n);
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

/* What the first @n of such events take in a chunk, in bytes. */
static size_t coded_bytes(bool freed, size_t n)
{
	struct chunk_encoder c = {0};
	struct buffer blob = {0};
	size_t bytes;

	chunk_encoder_reset(&c, 1, (struct space_id){1});
	for (uint32_t i = 0; i < n; i++)
		chunk_encoder_add(&c, &(struct event){
			.kind = freed && i % 2 ? EVENT_FREE : EVENT_ALLOC, .thread = {1},
			.t_ns = i * 100, .slot = freed ? 0 : i, .stack = {i % 2},
			.address = 0x10000 + (freed ? 0 : 48 * (uint64_t)i), .size = 40,
			.usable = 40});
	chunk_encoder_finish(&c, &blob);
	bytes = blob.len;
	chunk_encoder_release(&c);
	buffer_release(&blob);
	return bytes;
}

static void test_compact(void)
{
	size_t n = 60000, blocks = coded_bytes(false, n), pairs = coded_bytes(true, n);

	ok(blocks < 1000 && pairs < 1000, "what repeats takes next to nothing: %zu blocks in a "
	   "row %zu bytes, pairs %zu", n, blocks, pairs);
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
	for (size_t i = 0; i < HALF; i++)
		same += is_decoded(events, i);
	ok(same == HALF, "with the events so far");
	ok(c.info.events == N && !chunk_decode(&c.info, second.data, second.len, decoded, &err),
	   "finished again after more events it is decoded, too");
	same = 0;
	for (size_t i = 0; i < N; i++)
		same += is_decoded(events, i);
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
	ok(c.info.events == 1 && c.info.id == 2 &&
		   !chunk_decode(&c.info, first.data, first.len, decoded, &err) &&
		   is_decoded(events, 0),
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
	if (!r && first_brief(&info, copy, len) != info.events)
		r = -EPROTO;
	if (r == -EBADMSG) /* there may be less to object to, but it stays within bounds */
		chunk_decode_brief(&info, copy, len, &brief, &err);
	free(copy);
	return r;
}

/* The columns of @s as they are, not compressed, to be freed. */
static uint8_t *raw_columns(struct sample *s, size_t *ret_len)
{
	struct cursor c = {.p = s->blob.data, .end = s->blob.data + s->blob.len};
	struct buffer raw = {0};

	while (c.p < c.end) {
		uint64_t bytes = cursor_varint(&c), coded = cursor_varint(&c);

		buffer_append_varint(&raw, bytes);
		buffer_append_varint(&raw, 0);
		if (!coded) {
			buffer_append(&raw, c.p, bytes);
			c.p += bytes;
			continue;
		}
		if (bytes)
			ARRAY_GROW(raw.data, raw.cap, raw.len + bytes - 1);
		raw.len += ZSTD_decompress(raw.data + raw.len, bytes, c.p, coded);
		c.p += coded;
	}
	*ret_len = raw.len;
	return raw.data;
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
	ok(decode_forged(s.info, raw, len) == 0, "columns that are not compressed are decoded");
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
		if (decoded[i].kind >= EVENT_KINDS || decoded[i].free_class >= FREE_CLASSES ||
		    decoded[i].distance > i)
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
	/* one event, each column as it is: threads, (thread), time, (predicted), address … */
	enum { CALL = 2 * 4 + 3 + 2 + 3 };
	uint8_t raw[] = {1, 0, 1,	  0, 0,	 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 32,
			 /* … the call: kind, family, stack; which; size, usable */
			 3, 0, EVENT_MARK, 7, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
			 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	const struct chunk_info info = {.events = 1, .codec = CODEC_COLUMNS};
	struct chunk_info other = info;

	ok(decode_forged(info, raw, sizeof(raw)) == 0 && decoded[0].kind == EVENT_MARK &&
		   decoded[0].family == 7 && decoded[0].stack.v == 2 && decoded[0].size == 0 &&
		   decoded[0].address == 128,
	   "columns made by hand");
	raw[CALL + 2] = EVENT_KINDS;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "a kind that there is not");
	raw[CALL + 2] = EVENT_MARK | FREE_CLASSES << 4;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "a free class that there is not");
	raw[CALL + 2] = EVENT_MARK;
	raw[0] = 0x7f;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "a column longer than the chunk");
	raw[0] = 1;
	ok(decode_forged(info, raw, sizeof(raw) - 1) == -EBADMSG, "a column too few");
	other.codec = 1;
	ok(decode_forged(other, raw, sizeof(raw)) == -EBADMSG, "a codec that there is not");
	raw[1] = 1;
	ok(decode_forged(info, raw, sizeof(raw)) == -EBADMSG, "what is no zstd frame");
}

static void test_forged_zstd(void)
{
	enum { LARGE = 16 << 20 };
	struct sample s;
	struct buffer column = {0};
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
	n = ZSTD_compress(packed, bound, large, LARGE, 1);
	buffer_append_varint(&column, LARGE);
	buffer_append_varint(&column, n);
	buffer_append(&column, packed, n);
	ok(decode_forged(s.info, column.data, column.len) == -EBADMSG,
	   "a column that would become too large");
	buffer_release(&column);
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
	test_info();
	test_continued();
	test_flipped();
	test_numbers();
	test_forged_columns();
	test_forged_much();
	test_forged_kinds();
	test_forged_zstd();
	chunk_brief_release(&brief);
	free(decoded);
	return done();
}
