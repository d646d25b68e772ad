/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_DRAIN_FIXTURE_H
#define TESTS_UNIT_DRAIN_FIXTURE_H

#include <string.h>

#include "store/replay.h"
#include "collector/drain.h"
#include "common/xalloc.h"
#include "store/reader.h"
#include "tests/unit/files.h"
#include "tests/unit/tap.h"

/*
 * Every case feeds raw events to a drain that writes a real recording, then
 * looks at what a reader of that recording makes of it.
 */
enum { GLIBC = 1 }; /* the id of its family */

static char path[96];
static struct store_writer *writer;
static struct drain drain;
static uint64_t losses, now_ns, caller;
static uint16_t generation; /* of the code that the events tell of */

/* What was read, once the recording was finished. */
static struct {
	struct event *events;
	size_t n, cap;
	struct catalog catalog;
	struct replay replay;
	size_t contradictions;
} got;

/* ---- feeding ------------------------------------------------------------------------ */

static inline struct ring_head head(enum ring_kind kind, uint32_t thread)
{
	now_ns += 1000;
	return (struct ring_head){
		.kind = (uint8_t)kind, .family = GLIBC, .generation = generation,
		.thread = thread, .t_ns = now_ns};
}

static inline void feed_alloc(uint32_t thread, uint64_t address, uint64_t size)
{
	struct ring_alloc e = {.head = head(RING_ALLOC, thread), .address = address, .size = size,
			       .size_word = ((size + 8 + 15) & ~15ull) | 1, .caller = caller};

	drain_feed(&drain, &e.head, sizeof(e));
}

static inline void feed_free(uint32_t thread, uint64_t address)
{
	struct ring_free e = {.head = head(RING_FREE, thread), .address = address,
			      .caller = caller};

	drain_feed(&drain, &e.head, sizeof(e));
}

static inline void feed_begin(uint32_t thread, uint64_t address)
{
	struct ring_realloc_begin e = {.head = head(RING_REALLOC_BEGIN, thread),
				       .address = address};

	drain_feed(&drain, &e.head, sizeof(e));
}

static inline void feed_end(uint32_t thread, uint64_t old_address, uint64_t address, uint64_t size)
{
	struct ring_realloc_end e = {.head = head(RING_REALLOC_END, thread),
				     .old_address = old_address, .address = address, .size = size,
				     .caller = caller};

	drain_feed(&drain, &e.head, sizeof(e));
}

static inline void feed_thread(enum ring_kind kind, uint32_t thread, const char *name, int tid)
{
	struct ring_thread e = {.head = head(kind, thread), .tid = (uint32_t)tid,
				.pid = (uint32_t)getpid(), .start_ns = 77};

	memcpy(e.name, name, strnlen(name, sizeof(e.name)));
	drain_feed(&drain, &e.head, sizeof(e));
}

static inline void feed_mark(enum ring_kind kind)
{
	struct ring_mark e = {.head = head(kind, 1)};

	drain_feed(&drain, &e.head, sizeof(e));
}

/* ---- a recording, from beginning to end --------------------------------------------- */

static inline void begin(void)
{
	struct store_writer_options o = {
		.overwrite = true, .uid = geteuid(), .gid = getegid()};
	struct err err;

	if (store_writer_create(path, &o, &writer, &err))
		bail_out("%s", err.what);
	losses = 0;
	generation = 0;
	now_ns = 1000000000;
	caller = (uint64_t)(uintptr_t)&begin;
	drain_init(&drain, writer, getpid());
	drain.losses_so_far = &losses;
	drain_begin_space(&drain, "/bin/true", now_ns);
}

static inline void forget(void)
{
	catalog_release(&got.catalog);
	replay_release(&got.replay);
	free(got.events);
	memset(&got, 0, sizeof(got));
}

static inline void read_back(void)
{
	struct event *events = xcalloc(CHUNK_EVENTS_MAX, sizeof(*events));
	struct store_reader *r = NULL;
	struct chunk_info info = {0};
	struct replay_step step;
	struct err err = {.what = ""};

	forget();
	if (store_reader_open(path, &r, &err) || store_reader_load(r, &got.catalog, &err))
		bail_out("%s", err.what);
	while (store_reader_next_chunk(r, info.id, &info, events, &err) == 1) {
		if (info.space.v != got.replay.space.v)
			replay_begin_space(&got.replay, info.space);
		for (uint32_t i = 0; i < info.events; i++) {
			got.contradictions += !!replay_feed(&got.replay, &events[i], &step, &err);
			if (step.ended)
				events[i].slot = step.slot;
			ARRAY_GROW(got.events, got.cap, got.n);
			got.events[got.n++] = events[i];
		}
	}
	if (got.contradictions)
		diag("%s", err.what);
	store_reader_close(r);
	free(events);
}

/* @drain's counts stay for a look. */
static inline void finish(void)
{
	struct drain_counts counts = drain.counts;
	struct err err;

	drain_end_space(&drain, "exit", now_ns);
	drain_finish(&drain);
	drain_release(&drain);
	drain.counts = counts;
	store_writer_seal(writer);
	if (store_writer_close(writer, &err))
		diag("%s", err.what);
	read_back();
}

/* The slot of the live block at @address, or NO_SLOT. */
static inline uint32_t live_slot(uint64_t address)
{
	struct replay_block b;
	size_t at = 0;

	while (replay_next_live(&got.replay, &at, &b))
		if (b.address == address)
			return (uint32_t)at - 1;
	return NO_SLOT;
}

/* Valid until the next call; NULL where there is none. */
static inline const struct replay_block *live(uint64_t address)
{
	static struct replay_block b;
	uint32_t slot = live_slot(address);

	if (slot == NO_SLOT)
		return NULL;
	b = replay_block_in(&got.replay, slot);
	return &b;
}

/* So many blocks and bytes are live at the end, and nothing contradicts itself. */
static inline bool is_live(uint64_t blocks, uint64_t bytes)
{
	if (got.replay.live_blocks != blocks || got.replay.live_bytes != bytes)
		diag("live are %" PRIu64 " blocks, %" PRIu64 " bytes", got.replay.live_blocks,
		     got.replay.live_bytes);
	return !got.contradictions && got.replay.live_blocks == blocks &&
	       got.replay.live_bytes == bytes;
}

/* The kinds of all events: A alloc, R realloc, and F I U N D the frees by class. */
static inline bool kinds_are(const char *kinds)
{
	char text[64] = "";

	for (size_t i = 0; i < got.n && i + 1 < sizeof(text); i++)
		text[i] = got.events[i].kind == EVENT_ALLOC	? 'A'
			  : got.events[i].kind == EVENT_REALLOC ? 'R'
			  : got.events[i].kind == EVENT_FREE	? "FIUNDP"[got.events[i].free_class]
			  : got.events[i].kind == EVENT_IN_POOL ? 'i'
								: '?';
	if (strcmp(text, kinds))
		diag("the events are %s, not %s", text, kinds);
	return !strcmp(text, kinds);
}

/* Of what was set right there is nothing but this. */
static inline bool counts_are(uint64_t implied, uint64_t unknown, uint64_t internal, uint64_t twice,
			      uint64_t unfinished)
{
	const struct drain_counts *c = &drain.counts;

	if (c->implied_frees == implied && c->unknown_frees == unknown &&
	    c->internal_frees == internal && c->double_frees == twice &&
	    c->unfinished_reallocs == unfinished && c->malformed == 0)
		return true;
	diag("implied %" PRIu64 ", unknown %" PRIu64 ", internal %" PRIu64 ", double %" PRIu64
	     ", unfinished %" PRIu64 ", malformed %" PRIu64,
	     c->implied_frees, c->unknown_frees, c->internal_frees, c->double_frees,
	     c->unfinished_reallocs, c->malformed);
	return false;
}

/* ---- the whole test ----------------------------------------------------------------- */

static inline void set_up(const char *test)
{
	make_folder(test);
	snprintf(path, sizeof(path), "%s/recording", folder);
}

/* False if a recording was more than one file. */
static inline bool tear_down(void)
{
	forget();
	unlink(path);
	return remove_folder();
}

#endif
