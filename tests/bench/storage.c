/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What storing events costs: bytes by column, and how fast events are coded, decoded,
 * replayed, and go the whole way from the ring's records to the file, fed from memory.
 * For `make bench`.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/analysis.h"
#include "analyzer/checkpoint.h"
#include "cli/checkpoints.h"
#include "cli/summary.h"
#include "collector/drain.h"
#include "common/clock.h"
#include "common/format.h"
#include "common/hash.h"
#include "common/xalloc.h"
#include "store/checkpoint_pack.h"
#include "store/chunk.h"
#include "store/reader.h"
#include "store/replay.h"
#include "store/writer.h"

#define EVENTS_MAX 16000000u
/* as often as the recorder writes at a high rate */
#define FLUSH_RECORDS 200000

static const char *const column_names[CHUNK_COLUMNS] = {
	[COLUMN_THREADS] = "thread",	   [COLUMN_THREAD] = "thread",
	[COLUMN_TIME_LOW] = "time",	   [COLUMN_TIME_HIGH] = "time",
	[COLUMN_PREDICTED] = "address",	   [COLUMN_ADDRESS] = "address",
	[COLUMN_CALLS] = "call and stack", [COLUMN_CALL_LOW] = "call and stack",
	[COLUMN_CALL_HIGH] = "call and stack", [COLUMN_SIZE_LOW] = "size",
	[COLUMN_SIZE_HIGH] = "size",	   [COLUMN_USABLE] = "usable",
	[COLUMN_BACK_LOW] = "freed block", [COLUMN_BACK_HIGH] = "freed block",
	[COLUMN_SLOT_LOW] = "freed block", [COLUMN_SLOT_MIDDLE] = "freed block",
	[COLUMN_SLOT_HIGH] = "freed block",
};

static struct event *events; /* of one space */
static uint32_t n_events;
static struct catalog catalog;
static uint64_t code;
static struct chunk_info *infos;
static size_t n_infos, cap_infos;

static void fail(const struct err *err)
{
	fprintf(stderr, "storage: %s\n", err->what);
	exit(1);
}

static double million_a_second(uint64_t n, uint64_t ns)
{
	return (double)n * 1e3 / (double)ns;
}

/* The events of the first space that has many, with their slots. */
static void load(const char *path)
{
	struct store_reader *reader;
	struct chunk_info info = {0};
	struct replay replay = {0};
	struct replay_step step;
	struct err err;

	events = xmalloc((EVENTS_MAX + CHUNK_EVENTS_MAX) * sizeof(*events));
	if (store_reader_open(path, &reader, &err) || store_reader_load(reader, &catalog, &err))
		fail(&err);
	while (n_events < EVENTS_MAX &&
	       store_reader_next_chunk(reader, info.id, &info, events + n_events, &err) == 1) {
		if (info.space.v != replay.space.v) {
			memmove(events, events + n_events, info.events * sizeof(*events));
			n_events = 0;
			replay_begin_space(&replay, info.space);
		}
		for (uint32_t i = n_events; i < n_events + info.events; i++) {
			if (replay_feed(&replay, &events[i], &step, &err))
				fail(&err);
			if (step.made || step.ended)
				events[i].slot = step.slot;
			events[i].distance = 0;
		}
		n_events += info.events;
	}
	replay_release(&replay);
	store_reader_close(reader);
}

/* ---- the codec ----------------------------------------------------------------------- */

static void bench_codec(void)
{
	struct chunk_encoder c = {0};
	struct buffer *blobs = xcalloc(n_events / CHUNK_EVENTS_MAX + 1, sizeof(*blobs));
	size_t column_bytes[CHUNK_COLUMNS] = {0};
	struct event *decoded = xmalloc(CHUNK_EVENTS_MAX * sizeof(*decoded));
	uint64_t ns = clock_cpu_ns(), bytes = 0;
	struct err err;

	for (uint32_t i = 0; i < n_events;) {
		uint32_t end = n_events - i < CHUNK_EVENTS_MAX ? n_events : i + CHUNK_EVENTS_MAX;

		chunk_encoder_reset(&c, n_infos + 1, (struct space_id){1});
		for (; i < end; i++)
			chunk_encoder_add(&c, &events[i]);
		chunk_encoder_finish(&c, &blobs[n_infos]);
		for (int k = 0; k < CHUNK_COLUMNS; k++)
			column_bytes[k] += c.column_bytes[k];
		bytes += blobs[n_infos].len;
		ARRAY_GROW(infos, cap_infos, n_infos);
		infos[n_infos++] = c.info;
	}
	ns = clock_cpu_ns() - ns;
	printf("coded %.1f million events a second\n", million_a_second(n_events, ns));
	for (int k = 0; k < CHUNK_COLUMNS; k++) {
		double sum = 0;

		if (k && !strcmp(column_names[k], column_names[k - 1]))
			continue;
		for (int m = k; m < CHUNK_COLUMNS && !strcmp(column_names[m], column_names[k]); m++)
			sum += (double)column_bytes[m];
		printf("column %s: %.3f bytes an event\n", column_names[k], sum / n_events);
	}
	printf("all columns: %.3f bytes an event\n", (double)bytes / n_events);
	ns = clock_cpu_ns();
	for (size_t i = 0; i < n_infos; i++)
		if (chunk_decode(&infos[i], blobs[i].data, blobs[i].len, decoded, &err))
			fail(&err);
	ns = clock_cpu_ns() - ns;
	printf("decoded %.1f million events a second\n", million_a_second(n_events, ns));
	for (size_t i = 0; i < n_infos; i++)
		buffer_release(&blobs[i]);
	free(blobs);
	free(decoded);
	chunk_encoder_release(&c);
}

/* ---- replay -------------------------------------------------------------------------- */

static void nothing(void *arg, const struct event *e, const struct replay_step *step)
{
	(void)arg;
	(void)e;
	(void)step;
}

/* @blocks live ones all the time; which of them is freed next nobody can foresee. */
static void make_live(uint32_t blocks)
{
	struct slots slots = {0};
	uint64_t state = 88172645463325252ull;
	struct event e;

	n_events = 10 * blocks;
	events = xmalloc(n_events * sizeof(*events));
	for (uint32_t i = 0; i < n_events; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		e = (struct event){.thread = {1}, .stack = {1 + (uint32_t)(state >> 40) % 1000},
				   .family = 1, .t_ns = 1000 + i, .size = state >> 50,
				   .usable = USABLE_UNKNOWN, .address = (uint64_t)i * 16};
		if (i >= blocks && i % 2 == 0) {
			e.kind = EVENT_FREE;
			e.slot = (uint32_t)(state >> 20) % blocks;
			slots_give(&slots, e.slot);
		} else {
			e.slot = slots_take(&slots);
		}
		events[i] = e;
	}
	slots_release(&slots);
}

static void take(void *packer, const void *data, size_t len)
{
	checkpoint_packer_add(packer, data, len);
}

/* For how long a checkpoint keeps the ring waiting. */
static void bench_checkpoint(const struct replay *heap)
{
	struct checkpoint_packer packer = {0};
	uint64_t ns, copied_ns;
	struct replay_room room = {0};
	struct replay copy;

	replay_room_make(&room, heap->slots.next, heap->slots.n_freed);
	ns = clock_cpu_ns();
	replay_copy(&copy, heap, &room);
	copied_ns = clock_cpu_ns() - ns;
	replay_room_release(&room);
	replay_release(&copy);
	ns = clock_cpu_ns();
	checkpoint_packer_begin(&packer, CHECKPOINT_HEAP, 1, 1);
	checkpoint_save_heap(heap, take, &packer);
	checkpoint_packer_end(&packer);
	ns = clock_cpu_ns() - ns;
	printf("checkpoint of %" PRIu64 " live blocks: %.0f ms, %.2f bytes a block; to copy "
	       "them takes %.0f ms\n", heap->live_blocks, (double)ns / 1e6,
	       (double)packer.packed.len / (double)heap->live_blocks, (double)copied_ns / 1e6);
	checkpoint_packer_release(&packer);
}

static void bench_replay(void)
{
	struct replay replay = {0};
	uint64_t ns = clock_cpu_ns(), most = 0;
	struct analysis_pass *pass;
	struct err err;

	for (uint32_t i = 0; i < n_events; i += CHUNK_EVENTS_MAX) {
		uint32_t n = n_events - i < CHUNK_EVENTS_MAX ? n_events - i : CHUNK_EVENTS_MAX;

		if (replay_feed_all(&replay, events + i, n, nothing, NULL, &err))
			fail(&err);
		if (replay.live_blocks > most)
			most = replay.live_blocks;
	}
	ns = clock_cpu_ns() - ns;
	printf("replayed %.1f million events a second, at most %" PRIu64 " live blocks\n",
	       million_a_second(n_events, ns), most);
	bench_checkpoint(&replay);
	replay_release(&replay);
	for (unsigned int keys = 1; keys < 16; keys = keys * 16 - 1) {
		pass = analysis_pass_new(keys, 0, NULL, 0);
		ns = clock_cpu_ns();
		if (analysis_pass_feed(pass, (struct space_id){1}, events, n_events, &err))
			fail(&err);
		ns = clock_cpu_ns() - ns;
		printf("summed up by %s: %.1f million events a second\n",
		       keys == 1 ? "stack" : "stack, thread, size and family",
		       million_a_second(n_events, ns));
		analysis_pass_free(pass);
	}
}

/* ---- the whole way ------------------------------------------------------------------- */

struct raw {
	uint8_t *data;
	size_t len, cap;
};

static void append(struct raw *r, const void *record, size_t len)
{
	uint32_t n = (uint32_t)len;

	ARRAY_GROW(r->data, r->cap, r->len + len + sizeof(n));
	memcpy(r->data + r->len, &n, sizeof(n));
	memcpy(r->data + r->len + sizeof(n), record, len);
	r->len += sizeof(n) + len;
}

static size_t record_bytes(const struct raw *r, size_t at)
{
	uint32_t n;

	memcpy(&n, r->data + at, sizeof(n));
	return sizeof(n) + n;
}

/* What the probes would have sent: a stack before its first event, the callers of frees. */
/* Where there is code of ours: what is in none would be looked for again and again. */
static uint64_t find_code(void)
{
	uint64_t start = 0, end = 0, best = 0, most = 0;
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512], how[8];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, how) == 3 &&
		    how[2] == 'x' && strchr(line, '/') && end - start > most) {
			most = end - start;
			best = start;
		}
	if (f)
		fclose(f);
	return best;
}

static size_t frames_of(const struct catalog *c, struct stack_id stack, uint64_t *frames)
{
	size_t n = 0;

	while (n < RING_FRAMES_MAX && stack.v && stack.v < c->n_stacks) {
		frames[n++] = code + 16 * (uint64_t)c->stacks[stack.v].frame.v;
		stack = c->stacks[stack.v].parent;
	}
	return n;
}

static struct raw make_raw(void)
{
	struct ring_stack *s = xcalloc(1, sizeof(*s));
	struct replay replay = {0};
	struct hashmap sent = {0};
	struct replay_step step;
	struct raw raw = {0};

	for (uint32_t i = 0; i < n_events; i++) {
		const struct event *e = &events[i];
		struct ring_head h = {.t_ns = e->t_ns, .thread = e->thread.v, .family = 1};
		uint64_t id = hash_u64(e->stack.v) | 1;

		replay_feed(&replay, e, &step, NULL);
		if (event_allocates(e)) {
			uint32_t *known = hashmap_put(&sent, e->stack.v);

			if (*known == HASHMAP_NONE) {
				*known = 1;
				s->head = h;
				s->head.kind = RING_STACK;
				s->id = id;
				s->n = (ht_u32)frames_of(&catalog, e->stack, s->frames);
				append(&raw, s, RING_STACK_BYTES(s->n));
			}
		}
		if (e->kind == EVENT_ALLOC) {
			struct ring_alloc a = {.head = h, .address = e->address, .size = e->size,
					       .size_word = e->usable + 9, .stack = id,
					       .caller = code};

			a.head.kind = RING_ALLOC;
			append(&raw, &a, sizeof(a));
		} else if (e->kind == EVENT_FREE) {
			struct ring_free f = {.head = h,
					      .address = step.ended ? step.old.address : e->address,
					      .caller = code + e->stack.v % 4096 * 16};

			f.head.kind = RING_FREE;
			append(&raw, &f, sizeof(f));
		} else if (e->kind == EVENT_REALLOC) {
			struct ring_realloc_begin b = {.head = h, .address = step.old.address};
			struct ring_realloc_end r = {.head = h, .old_address = step.old.address,
						     .address = e->address, .size = e->size,
						     .size_word = e->usable + 9, .stack = id,
						     .caller = code};

			b.head.kind = RING_REALLOC_BEGIN;
			r.head.kind = RING_REALLOC_END;
			append(&raw, &b, sizeof(b));
			append(&raw, &r, sizeof(r));
		}
	}
	free(s);
	replay_release(&replay);
	hashmap_release(&sent);
	/* one more is expected than there are */
	ARRAY_GROW(raw.data, raw.cap, raw.len + sizeof(uint32_t) + sizeof(struct ring_alloc));
	return raw;
}

static void feed(struct drain *d, const struct raw *raw, size_t at)
{
	uint32_t len;

	memcpy(&len, raw->data + at, sizeof(len));
	/* as the recorder does: what comes next lies behind */
	drain_expect(d, (const void *)(raw->data + at + 2 * sizeof(len) + len));
	drain_feed(d, (const void *)(raw->data + at + sizeof(len)), len);
}

static struct store_writer *begin(const char *path, struct drain *d)
{
	static const uint64_t no_losses;
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	struct store_writer *w;
	struct err err;

	if (store_writer_create(path, &o, &w, &err))
		fail(&err);
	drain_init(d, w, getpid());
	d->losses_so_far = &no_losses;
	drain_begin_space(d, "bench", events[0].t_ns);
	store_writer_put_number(w, "start_ns", (int64_t)events[0].t_ns);
	return w;
}

/* @sums: with the totals and checkpoints that the recorder makes on the way. */
static void bench_whole_way(const char *path, bool sums)
{
	struct raw raw = make_raw();
	struct checkpoints c;
	struct drain drain;
	struct store_writer *w = begin(path, &drain);
	uint64_t ns, fed = 0;
	struct err err;

	checkpoints_init(&c);
	if (sums)
		drain.observer = checkpoints_observer(&c);
	ns = clock_cpu_ns();
	for (size_t at = 0, len; at < raw.len; at += len) {
		len = record_bytes(&raw, at);
		feed(&drain, &raw, at);
		if (++fed % FLUSH_RECORDS == 0)
			store_writer_flush(w, NULL);
	}
	if (store_writer_flush(w, &err))
		fail(&err);
	ns = clock_cpu_ns() - ns;
	printf("from the ring to the file%s: %.1f million events a second\n",
	       sums ? ", with sums and checkpoints" : "",
	       million_a_second(drain.counts.events, ns));
	if (drain.counts.events != n_events || drain.counts.unknown_frees > n_events / 100)
		fprintf(stderr, "storage: %" PRIu64 " of %u events, %" PRIu64 " unknown\n",
			drain.counts.events, n_events, drain.counts.unknown_frees);
	drain_release(&drain);
	store_writer_close(w, NULL);
	checkpoints_release(&c);
	free(raw.data);
}

/* ---- a long recording ---------------------------------------------------------------- */

/* The same again and again, until there are @wanted events; blocks left over are freed then. */
static void repeat(const char *path, uint64_t wanted, bool cut_off)
{
	struct raw raw = make_raw();
	uint64_t shift = 0, length = events[n_events - 1].t_ns - events[0].t_ns + 1000000, fed = 0;
	struct checkpoints c;
	struct drain drain;
	struct store_writer *w = begin(path, &drain);
	struct analysis all;
	struct err err;

	checkpoints_init(&c);
	drain.observer = checkpoints_observer(&c);
	while (drain.counts.events < wanted) {
		struct replay_block b;
		size_t next = 0;

		for (size_t at = 0, len; at < raw.len; at += len) {
			struct ring_head *h = (void *)(raw.data + at + sizeof(uint32_t));

			len = record_bytes(&raw, at);
			h->t_ns += shift;
			feed(&drain, &raw, at);
			h->t_ns -= shift;
			if (++fed % FLUSH_RECORDS == 0 && store_writer_flush(w, &err))
				fail(&err);
		}
		shift += length;
		while (drain.counts.events < wanted && replay_next_live(&drain.heap, &next, &b)) {
			struct ring_free f = {.head = {.kind = RING_FREE, .family = 1, .thread = 1,
						       .t_ns = drain.last_ns + 100},
					      .address = b.address, .caller = code};

			drain_feed(&drain, &f.head, sizeof(f));
		}
	}
	drain_end_space(&drain, "exit", drain.last_ns);
	if (cut_off) { /* not closed: nothing after the last flush */
		store_writer_flush(w, NULL);
		_exit(0);
	}
	drain_end_events(&drain);
	drain_finish(&drain);
	store_writer_put_number(w, "end_ns", (int64_t)drain.last_ns);
	store_writer_put_number(w, "exited", 1);
	totals_get(&c.totals, GROUP_STACK, NULL, &all);
	if (store_writer_flush(w, &err) || summary_write(w, path, &all, &err))
		fail(&err);
	store_writer_seal(w);
	if (store_writer_close(w, &err))
		fail(&err);
	drain_release(&drain);
	checkpoints_release(&c);
	free(raw.data);
}

int main(int argc, char **argv)
{
	const char *part = argc > 3 ? argv[3] : "";
	uint64_t wanted;

	if (argc < 3) {
		fputs("usage: storage RECORDING NEW-FILE [codec | replay | way]\n"
		      "       storage RECORDING NEW-FILE repeat EVENTS [cut-off]\n"
		      "       storage - - live BLOCKS\n", stderr);
		return 2;
	}
	if (!strcmp(part, "live") && argc == 5 && parse_u64(argv[4], 10000000, &wanted)) {
		make_live((uint32_t)wanted);
		bench_replay();
		free(events);
		return 0;
	}
	code = find_code();
	load(argv[1]);
	if (!strcmp(part, "repeat")) {
		if (argc < 5 || !parse_u64(argv[4], UINT64_MAX, &wanted))
			return 2;
		repeat(argv[2], wanted, argc == 6);
		return 0;
	}
	printf("%u events\n", n_events);
	if (!*part || !strcmp(part, "codec"))
		bench_codec();
	if (!*part || !strcmp(part, "replay"))
		bench_replay();
	if (!*part || !strcmp(part, "way")) {
		bench_whole_way(argv[2], false);
		bench_whole_way(argv[2], true);
	}
	catalog_release(&catalog);
	free(events);
	free(infos);
	return 0;
}
