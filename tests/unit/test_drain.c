/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain.h"

#include <gnu/libc-version.h>
#include <link.h>
#include <string.h>
#include <sys/prctl.h>

#include "analyzer/analysis.h"
#include "collector/family.h"
#include "common/xalloc.h"
#include "store/reader.h"
#include "tests/unit/tap.h"

/*
 * Every case feeds raw events to a drain that writes a real recording, then
 * looks at what a reader of that recording makes of it.
 */
enum { GLIBC = 1 }; /* the id of its family */

static char folder[64], path[80];
static struct store_writer *writer;
static struct drain drain;
static uint64_t losses, now_ns, caller;

/* What was read, once the recording was finished. */
static struct {
	struct event *events;
	size_t n, cap;
	struct catalog catalog;
	struct replay replay;
	size_t contradictions;
} got;

/* ---- feeding ------------------------------------------------------------------------ */

static struct ring_head head(enum ring_kind kind, uint32_t thread)
{
	now_ns += 1000;
	return (struct ring_head){
		.kind = (uint8_t)kind, .family = GLIBC, .thread = thread, .t_ns = now_ns};
}

static void feed_alloc(uint32_t thread, uint64_t address, uint64_t size)
{
	struct ring_alloc e = {.head = head(RING_ALLOC, thread), .address = address, .size = size,
			       .size_word = ((size + 8 + 15) & ~15ull) | 1, .caller = caller};

	drain_feed(&drain, &e.head, sizeof(e));
}

static void feed_free(uint32_t thread, uint64_t address)
{
	struct ring_free e = {.head = head(RING_FREE, thread), .address = address,
			      .caller = caller};

	drain_feed(&drain, &e.head, sizeof(e));
}

static void feed_begin(uint32_t thread, uint64_t address)
{
	struct ring_realloc_begin e = {.head = head(RING_REALLOC_BEGIN, thread),
				       .address = address};

	drain_feed(&drain, &e.head, sizeof(e));
}

static void feed_end(uint32_t thread, uint64_t old_address, uint64_t address, uint64_t size)
{
	struct ring_realloc_end e = {.head = head(RING_REALLOC_END, thread),
				     .old_address = old_address, .address = address, .size = size,
				     .caller = caller};

	drain_feed(&drain, &e.head, sizeof(e));
}

static void feed_thread(enum ring_kind kind, uint32_t thread, const char *name, int tid)
{
	struct ring_thread e = {.head = head(kind, thread), .tid = (uint32_t)tid,
				.pid = (uint32_t)getpid(), .start_ns = 77};

	memcpy(e.name, name, strnlen(name, sizeof(e.name)));
	drain_feed(&drain, &e.head, sizeof(e));
}

static void feed_mark(enum ring_kind kind)
{
	struct ring_mark e = {.head = head(kind, 1)};

	drain_feed(&drain, &e.head, sizeof(e));
}

/* ---- a recording, from beginning to end --------------------------------------------- */

static void begin(void)
{
	struct store_writer_options o = {true, geteuid(), getegid()};
	struct err err;

	if (store_writer_create(path, &o, &writer, &err)) {
		printf("Bail out! %s\n", err.what);
		exit(1);
	}
	losses = 0;
	now_ns = 1000000000;
	caller = (uint64_t)(uintptr_t)&begin;
	drain_init(&drain, writer, getpid());
	drain.losses_so_far = &losses;
	drain_begin_space(&drain, "/bin/true", now_ns);
}

static void forget(void)
{
	catalog_release(&got.catalog);
	replay_release(&got.replay);
	free(got.events);
	memset(&got, 0, sizeof(got));
}

static void read_back(void)
{
	struct event *events = xcalloc(CHUNK_EVENTS_MAX, sizeof(*events));
	struct store_reader *r = NULL;
	struct chunk_info info = {0};
	struct replay_step step;
	struct err err = {.what = ""};

	forget();
	if (store_reader_open(path, &r, &err) || store_reader_load(r, &got.catalog, &err)) {
		printf("Bail out! %s\n", err.what);
		exit(1);
	}
	while (store_reader_next_chunk(r, info.id, &info, events, &err) == 1) {
		if (info.space.v != got.replay.space.v)
			replay_begin_space(&got.replay, info.space);
		for (uint32_t i = 0; i < info.events; i++) {
			got.contradictions += !!replay_feed(&got.replay, &events[i], &step, &err);
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
static void finish(void)
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

static const struct replay_block *live(uint64_t address)
{
	const struct replay_block *b;
	size_t at = 0;

	while ((b = replay_next_live(&got.replay, &at)))
		if (b->address == address)
			return b;
	return NULL;
}

/* So many blocks and bytes are live at the end, and nothing contradicts itself. */
static bool is_live(uint64_t blocks, uint64_t bytes)
{
	if (got.replay.live_blocks != blocks || got.replay.live_bytes != bytes)
		diag("live are %" PRIu64 " blocks, %" PRIu64 " bytes", got.replay.live_blocks,
		     got.replay.live_bytes);
	return !got.contradictions && got.replay.live_blocks == blocks &&
	       got.replay.live_bytes == bytes;
}

/* The kinds of all events: A alloc, R realloc, and F I U N D the frees by class. */
static bool kinds_are(const char *kinds)
{
	char text[64] = "";

	for (size_t i = 0; i < got.n && i + 1 < sizeof(text); i++)
		text[i] = got.events[i].kind == EVENT_ALLOC	? 'A'
			  : got.events[i].kind == EVENT_REALLOC ? 'R'
			  : got.events[i].kind == EVENT_FREE	? "FIUND"[got.events[i].free_class]
								: '?';
	if (strcmp(text, kinds))
		diag("the events are %s, not %s", text, kinds);
	return !strcmp(text, kinds);
}

/* Of what was set right there is nothing but this. */
static bool counts_are(uint64_t implied, uint64_t unknown, uint64_t internal, uint64_t twice,
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

/* ---- allocs and frees --------------------------------------------------------------- */

static void test_alloc_free(void)
{
	const struct event *e;

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(2, 0x2000, 50);
	feed_free(2, 0x1000);
	feed_alloc(1, 0x1000, 30);
	finish();
	e = got.events;
	ok(kinds_are("AAFA") && is_live(2, 80) && counts_are(0, 0, 0, 0, 0),
	   "allocs and a free are paired");
	ok(drain.counts.events == 4 && drain.counts.alloc_calls == 3 &&
		   drain.counts.free_calls == 1,
	   "and counted");
	ok(e[0].address == 0x1000 && e[0].size == 100 && e[0].usable == 104 &&
		   e[0].thread.v == 1 && e[0].family == GLIBC && e[0].t_ns == 1000001000,
	   "an alloc as it was fed");
	ok(e[2].slot == 0 && e[2].thread.v == 2 && e[2].t_ns == 1000003000,
	   "a free, by its slot and its own thread");
	ok(live(0x1000) == &got.replay.blocks[0] && live(0x1000)->size == 30 &&
		   live(0x2000) == &got.replay.blocks[1],
	   "the slots are those of the reader");
	ok(got.catalog.n_spaces == 2 && !strcmp(got.catalog.spaces[1].end, "exit") &&
		   !strcmp(got.catalog.spaces[1].executable, "/bin/true") &&
		   got.catalog.spaces[1].start_ns == 1000000000 &&
		   got.catalog.spaces[1].end_ns == 1000004000,
	   "the space has its begin and end");
	ok(got.catalog.n_losses == 7 && catalog_loss(&got.catalog, "implied_frees") == 0,
	   "the losses are all there, and 0");
}

static void test_implied(void)
{
	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(2, 0x2000, 7);
	feed_alloc(2, 0x1000, 30);
	feed_free(2, 0x1000);
	finish();
	ok(kinds_are("AAIAF") && is_live(1, 7) && counts_are(1, 0, 0, 0, 0),
	   "an address handed out twice: the free between is implied");
	ok(got.events[2].slot == 0 && got.events[2].thread.v == 2 &&
		   got.events[2].t_ns == got.events[3].t_ns && drain.counts.free_calls == 2,
	   "by the thread that got it, at that time");
	ok(catalog_loss(&got.catalog, "implied_frees") == 1, "and the recording says so");
}

static void test_frees_of_none(void)
{
	begin();
	feed_free(1, 0x9000);
	feed_alloc(1, 0x1000, 100);
	feed_free(1, 0x1000);
	feed_free(1, 0x1000);
	feed_free(2, 0x1000);
	finish();
	ok(kinds_are("UAFDD") && is_live(0, 0) && counts_are(0, 1, 0, 2, 0),
	   "a free of an unknown address is unknown; of a freed one double");
	ok(got.events[0].address == 0x9000 && got.events[3].address == 0x1000,
	   "these keep their address");
	ok(drain.counts.free_calls == 1 && drain.counts.events == 5,
	   "and are events, but no calls that ended a block");
	ok(catalog_loss(&got.catalog, "unknown_frees") == 1 &&
		   catalog_loss(&got.catalog, "double_frees") == 2,
	   "the recording counts them");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_free(1, 0x1000);
	losses = 1;
	feed_free(1, 0x1000);
	finish();
	ok(kinds_are("AFU") && counts_are(0, 1, 0, 0, 0),
	   "after a loss a second free is not called double");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(1, 0x1000, 100);
	feed_free(1, 0x1000);
	feed_free(1, 0x1000);
	finish();
	ok(kinds_are("AIAFU") && counts_are(1, 1, 0, 0, 0), "nor after an implied free");

	begin();
	caller = (uint64_t)(uintptr_t)&gnu_get_libc_version;
	feed_free(1, 0x9000);
	feed_alloc(1, 0x1000, 100);
	feed_free(1, 0x1000);
	finish();
	ok(kinds_are("NAF") && counts_are(0, 0, 1, 0, 0) &&
		   catalog_loss(&got.catalog, "internal_frees") == 1,
	   "the allocator's own free of no block is internal; of a block it is a free");
}

/* ---- realloc ------------------------------------------------------------------------ */

static void test_realloc(void)
{
	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(1, 0x2000, 10);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0x3000, 200);
	feed_alloc(1, 0x1000, 1);
	finish();
	ok(kinds_are("AARA") && is_live(3, 211) && counts_are(0, 0, 0, 0, 0),
	   "a realloc that moves its block");
	ok(got.events[2].slot == 0 && got.events[2].address == 0x3000 &&
		   got.events[2].size == 200 && got.events[2].usable == USABLE_UNKNOWN &&
		   live(0x3000) == &got.replay.blocks[0],
	   "the block keeps its slot");
	ok(drain.counts.alloc_calls == 4 && drain.counts.free_calls == 1,
	   "it counts as an alloc and a free");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(2, 0x2000, 10);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0x2000, 200);
	finish();
	ok(kinds_are("AAIR") && is_live(1, 200) && counts_are(1, 0, 0, 0, 0) &&
		   got.events[2].slot == 1 && live(0x2000),
	   "a realloc to an address that was live: that one's free is implied");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0x1000, 200);
	feed_free(1, 0x1000);
	feed_free(1, 0x1000);
	finish();
	ok(kinds_are("ARFD") && is_live(0, 0), "a realloc in place");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0, 1ull << 60);
	finish();
	ok(kinds_are("A") && is_live(1, 100) && live(0x1000) && counts_are(0, 0, 0, 0, 0),
	   "a realloc that fails leaves the block with its size");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0, 1ull << 60);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0x2000, 5);
	feed_free(1, 0x2000);
	finish();
	ok(kinds_are("ARF") && is_live(0, 0) && counts_are(0, 0, 0, 0, 0) &&
		   drain.timeline[0].live_bytes == 0,
	   "it can be reallocated again, and freed");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_end(1, 0x1000, 0, 0);
	feed_free(1, 0x1000);
	finish();
	ok(kinds_are("AFD") && is_live(0, 0) && counts_are(0, 0, 0, 1, 0) &&
		   drain.counts.free_calls == 1 && drain.counts.alloc_calls == 1,
	   "realloc(p, 0) frees, and is no alloc");
}

static void test_realloc_unknown(void)
{
	begin();
	feed_begin(1, 0x9000);
	feed_end(1, 0x9000, 0x1000, 20);
	finish();
	ok(kinds_are("UA") && is_live(1, 20) && live(0x1000) && counts_are(0, 1, 0, 0, 0),
	   "a realloc of an unknown block: an unknown free, and an alloc");
	ok(got.events[0].address == 0x9000, "the old address is told");

	begin();
	feed_begin(1, 0x9000);
	feed_end(1, 0x9000, 0x9000, 20);
	feed_free(1, 0x9000);
	finish();
	ok(kinds_are("UAF") && is_live(0, 0) && counts_are(0, 1, 0, 0, 0), "in place, too");

	begin();
	feed_begin(1, 0x9000);
	feed_end(1, 0x9000, 0, 20);
	finish();
	ok(kinds_are("") && counts_are(0, 0, 0, 0, 0), "if it fails nothing happened");

	begin();
	feed_begin(1, 0x9000);
	feed_end(1, 0x9000, 0, 0);
	finish();
	ok(kinds_are("U") && counts_are(0, 1, 0, 0, 0), "realloc(p, 0) of it: an unknown free");
}

/* From its begin on, another thread may get the old block's address. */
static void test_realloc_handed_on(void)
{
	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_alloc(2, 0x1000, 30);
	feed_end(1, 0x1000, 0x2000, 200);
	finish();
	ok(kinds_are("AAR") && is_live(2, 230) && counts_are(0, 0, 0, 0, 0) && live(0x1000) &&
		   live(0x1000)->size == 30 && live(0x1000)->thread.v == 2 && live(0x2000),
	   "a realloc that moves, its old address handed on before its end");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(2, 0x2000, 50);
	feed_begin(1, 0x1000);
	feed_begin(2, 0x2000);
	feed_end(2, 0x2000, 0x1000, 60);
	feed_end(1, 0x1000, 0x2000, 110);
	finish();
	ok(kinds_are("AARR") && is_live(2, 170) && counts_are(0, 0, 0, 0, 0) &&
		   live(0x1000)->size == 60 && live(0x2000)->size == 110,
	   "two reallocs that change places");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_alloc(2, 0x1000, 30);
	feed_free(2, 0x1000);
	feed_end(1, 0x1000, 0x2000, 200);
	feed_free(1, 0x2000);
	finish();
	ok(kinds_are("AAFRF") && is_live(0, 0) && counts_are(0, 0, 0, 0, 0),
	   "handed on and freed before its end");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_alloc(2, 0x1000, 30);
	feed_end(1, 0x1000, 0, 0);
	finish();
	ok(kinds_are("AAF") && is_live(1, 30) && counts_are(0, 0, 0, 0, 0) && live(0x1000) &&
		   live(0x1000)->thread.v == 2,
	   "realloc(p, 0), its address handed on before its end: the new block lives");

	begin();
	feed_begin(1, 0x9000);
	feed_alloc(2, 0x9000, 30);
	feed_end(1, 0x9000, 0x1000, 20);
	finish();
	ok(is_live(2, 50) && counts_are(0, 1, 0, 0, 0) && live(0x9000) &&
		   live(0x9000)->thread.v == 2,
	   "a realloc of an unknown block, its address handed on: the new block lives");
}

static void test_realloc_halves(void)
{
	begin();
	feed_alloc(1, 0x1000, 100);
	feed_end(1, 0x1000, 0x2000, 200);
	finish();
	ok(kinds_are("AR") && is_live(1, 200) && live(0x2000) && counts_are(0, 0, 0, 0, 0),
	   "the end of a realloc without its begin");

	begin();
	feed_end(1, 0x1000, 0x2000, 200);
	finish();
	ok(kinds_are("UA") && is_live(1, 200) && counts_are(0, 1, 0, 0, 0),
	   "the same of an unknown block");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(1, 0x2000, 10);
	feed_begin(1, 0x1000);
	feed_begin(1, 0x2000);
	feed_end(1, 0x2000, 0x3000, 20);
	finish();
	ok(kinds_are("AAIR") && is_live(1, 20) && counts_are(0, 0, 0, 0, 1) &&
		   got.events[2].slot == 0,
	   "the begin of a realloc without its end: its block is gone");
	ok(catalog_loss(&got.catalog, "unfinished_reallocs") == 1, "and the recording says so");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_alloc(1, 0x2000, 10);
	feed_begin(1, 0x1000);
	feed_end(1, 0x2000, 0x3000, 20);
	finish();
	ok(kinds_are("AAIR") && is_live(1, 20) && counts_are(0, 0, 0, 0, 1),
	   "a begin and the end of another");

	begin();
	feed_begin(1, 0x9000);
	feed_begin(1, 0x9000);
	feed_end(1, 0x9000, 0, 5);
	finish();
	ok(kinds_are("") && counts_are(0, 0, 0, 0, 1), "an unfinished realloc of an unknown block");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_alloc(1, 0x2000, 10);
	feed_free(1, 0x2000);
	finish();
	ok(kinds_are("AAF") && is_live(1, 100) && counts_are(0, 0, 0, 0, 0),
	   "a realloc under way at the end of the recording: the block lives");
}

static void test_realloc_exit(void)
{
	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_thread(RING_THREAD_EXIT, 1, "t", 5);
	feed_free(2, 0x1000);
	finish();
	ok(kinds_are("AF") && is_live(0, 0) && counts_are(0, 0, 0, 0, 0),
	   "a thread that ends in a realloc leaves its block");

	begin();
	feed_alloc(1, 0x1000, 100);
	feed_begin(1, 0x1000);
	feed_alloc(2, 0x1000, 7);
	feed_thread(RING_THREAD_EXIT, 1, "t", 5);
	finish();
	ok(kinds_are("AAI") && is_live(1, 7) && counts_are(0, 0, 0, 0, 1) && live(0x1000) &&
		   live(0x1000)->thread.v == 2,
	   "unless its address was handed on");
}

/* ---- time, threads, exec, maps ------------------------------------------------------- */

static void test_time(void)
{
	bool good = true;

	begin();
	feed_alloc(1, 0x1000, 1);
	now_ns -= 500000;
	feed_alloc(2, 0x2000, 1);
	now_ns = 0;
	feed_free(2, 0x2000);
	now_ns = 1000005000;
	feed_alloc(1, 0x3000, 1);
	finish();
	for (size_t i = 1; i < got.n; i++)
		good = good && got.events[i].t_ns >= got.events[i - 1].t_ns;
	ok(good && kinds_are("AAFA") && got.events[1].t_ns == 1000001000 &&
		   got.events[2].t_ns == 1000001000 && got.events[3].t_ns == 1000006000,
	   "time that runs back stands still");
}

static void test_threads(void)
{
	const struct thread_record *t;
	char name[17] = "", expected[17] = "drain \033[1m";

	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, expected);
	begin();
	feed_thread(RING_THREAD, 1, "old name", getpid());
	feed_alloc(1, 0x1000, 1);
	feed_thread(RING_THREAD, 2, "sixteen letters!", 1 << 30);
	feed_thread(RING_THREAD, 3, "a\033[31m\xff", 1 << 30);
	feed_thread(RING_THREAD_EXIT, 3, "gone\n", 1 << 30);
	feed_alloc(5, 0x2000, 1);
	finish();
	prctl(PR_SET_NAME, name);
	t = got.catalog.threads;
	ok(got.catalog.n_threads == 4, "threads that were told of are in the recording");
	ok(t[1].tid == getpid() && t[1].start_ns == 77 && !t[1].end_ns && t[1].process == 1 &&
		   !strcmp(t[1].name, "drain ?[1m"),
	   "one that lives is asked for its name, which is made safe");
	ok(t[2].tid == 1 << 30 && !strcmp(t[2].name, "sixteen letters!") && !t[2].end_ns,
	   "one that cannot be asked keeps the name it had");
	ok(!strcmp(t[3].name, "gone?") && t[3].end_ns == 1000005000 && t[3].start_ns == 77,
	   "one that ended has its last name, and its end");
	ok(kinds_are("AA") && got.events[1].thread.v == 5,
	   "one that was not told of can have events");
}

static int execs;

static void on_exec(void *arg)
{
	execs += arg == &execs && drain.space.id.v == 2;
}

static void test_exec(void)
{
	struct analysis a;
	struct store_reader *r;
	struct err err;

	begin();
	drain.on_exec = on_exec;
	drain.on_arg = &execs;
	feed_alloc(1, 0x1000, 100);
	feed_alloc(1, 0x2000, 10);
	feed_begin(1, 0x1000);
	feed_mark(RING_EXEC);
	feed_free(1, 0x2000);
	feed_alloc(1, 0x1000, 5);
	feed_end(1, 0x1000, 0x3000, 6);
	finish();
	ok(execs == 1, "an exec is told to the session, in the new space");
	ok(kinds_are("AAUAR") && is_live(1, 6) && counts_are(0, 1, 0, 0, 0) && live(0x3000),
	   "in the new space nothing of the old one is known");
	ok(got.replay.space.v == 2 && got.replay.slots.next == 1, "slots begin anew");
	ok(got.catalog.n_spaces == 3 && !strcmp(got.catalog.spaces[1].end, "exec") &&
		   got.catalog.spaces[1].end_ns == got.catalog.spaces[2].start_ns &&
		   got.catalog.spaces[2].exec_count == 1 && got.catalog.spaces[2].process == 1 &&
		   !strcmp(got.catalog.spaces[2].end, "exit"),
	   "both spaces are in the recording");
	if (store_reader_open(path, &r, &err) == 0) {
		ok(analysis_make(r, GROUP_THREAD, NULL, &a, &err) == 0 &&
			   a.ended_by_exec_blocks == 2 && a.ended_by_exec_bytes == 110 &&
			   a.totals.live_blocks == 1 && a.totals.peak_bytes == 110,
		   "an analysis tells what the exec ended");
		analysis_release(&a);
		store_reader_close(r);
	}
}

/* The program itself is the first object. */
static int bias_of_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_addr;
	return 1;
}

static void test_stacks(void)
{
	const struct catalog_frame *f[2];
	char exe[256] = "";
	uint64_t caller_offset;
	const char *file;

	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		diag("cannot read the name of the program");
	begin();
	dl_iterate_phdr(bias_of_program, &caller_offset);
	caller_offset = caller - caller_offset;
	feed_alloc(1, 0x1000, 1);
	caller += 8;
	feed_alloc(1, 0x2000, 1);
	caller -= 8;
	feed_alloc(1, 0x3000, 1);
	feed_mark(RING_MAPS);
	feed_alloc(1, 0x4000, 1);
	caller = 0x10;
	feed_alloc(1, 0x5000, 1);
	finish();
	ok(got.n == 5 && got.events[0].stack.v && got.events[1].stack.v &&
		   got.events[0].stack.v != got.events[1].stack.v,
	   "two callers are two stacks");
	ok(got.events[2].stack.v == got.events[0].stack.v &&
		   got.events[3].stack.v == got.events[0].stack.v,
	   "one caller is one stack, also after the maps were read anew");
	for (int i = 0; i < 2; i++)
		f[i] = catalog_frame(&got.catalog,
				     catalog_stack(&got.catalog, got.events[i].stack)->frame);
	file = catalog_module_path(&got.catalog, f[0]->module);
	ok(file && !strcmp(file, exe) && f[1]->module.v == f[0]->module.v &&
		   f[1]->offset == f[0]->offset + 8 && f[0]->offset == caller_offset,
	   "they lie in this very program, at an address of the file's own");
	f[0] = catalog_frame(&got.catalog,
			     catalog_stack(&got.catalog, got.events[4].stack)->frame);
	ok(f[0]->module.v == 0 && f[0]->offset == 0x10, "a caller in no mapping keeps its address");
}

/* ---- malformed ----------------------------------------------------------------------- */

static void test_malformed(void)
{
	static const size_t lengths[RING_KINDS] = {
		[RING_ALLOC] = 48, [RING_FREE] = 32, [RING_REALLOC_BEGIN] = 24,
		[RING_REALLOC_END] = 56, [RING_THREAD] = 48, [RING_THREAD_EXIT] = 48,
		[RING_EXEC] = 24, [RING_MAPS] = 24,
	};
	uint64_t fed = 0;

	begin();
	feed_alloc(1, 0x1000, 10);
	for (unsigned int kind = 0; kind < 256; kind++)
		for (size_t len = 0; len < (kind < RING_KINDS ? lengths[kind] : 64); len++) {
			/* exactly so large, so that a read beyond is found */
			struct ring_head *raw = xcalloc(1, len), h = head(kind, 1);

			h.t_ns += 1ull << 40;
			memcpy(raw, &h, len < sizeof(h) ? len : sizeof(h));
			drain_feed(&drain, raw, len);
			free(raw);
			fed++;
		}
	feed_free(1, 0x1000);
	finish();
	ok(drain.counts.malformed == fed && catalog_loss(&got.catalog, "malformed_events") == fed,
	   "raw events too short or of no kind are counted");
	ok(kinds_are("AF") && is_live(0, 0) && got.catalog.n_spaces == 2 &&
		   got.catalog.n_threads == 0 && got.events[1].t_ns < 2000000000,
	   "and change nothing");
}

static void test_serial(void)
{
	begin();
	feed_alloc(1, 0x1000, 10);
	feed_alloc(UINT32_MAX, 0x2000, 10);
	feed_begin(UINT32_MAX, 0x2000);
	feed_end(UINT32_MAX, 0x2000, 0x3000, 10);
	feed_thread(RING_THREAD_EXIT, UINT32_MAX, "x", 1);
	feed_free(1, 0x1000);
	finish();
	ok(got.contradictions == 0,
	   "a serial number that is no thread's leaves a readable recording");
}

/* ---- the timeline --------------------------------------------------------------------- */

static void test_timeline(void)
{
	uint64_t allocs = 0, frees = 0, bytes = 0, highest = 0, lowest = UINT64_MAX;
	uint64_t last_live = 0, used, width;

	begin();
	feed_alloc(1, 0x1000, 1000);
	now_ns += 10000000; /* ten buckets */
	feed_alloc(1, 0x2000, 500);
	ok(drain.timeline_used == 11 && drain.timeline_width_ns == 1000000 &&
		   drain.timeline[5].live_bytes == 1000 &&
		   drain.timeline[5].max_live_bytes == 1000 &&
		   drain.timeline[5].allocs == 0 && drain.timeline[10].live_bytes == 1500,
	   "the timeline: buckets without events keep what is live");
	feed_free(1, 0x2000);
	ok(drain.timeline[10].live_bytes == 1000 && drain.timeline[10].max_live_bytes == 1500 &&
		   drain.timeline[10].frees == 1,
	   "a bucket knows its highest");
	for (int i = 0; i < 500; i++) {
		now_ns += 20000000;
		feed_begin(1, 0x1000);
		feed_end(1, 0x1000, 0x1000, 1000 + i);
	}
	used = drain.timeline_used;
	width = drain.timeline_width_ns;
	for (size_t i = 0; i < used; i++) {
		allocs += drain.timeline[i].allocs;
		frees += drain.timeline[i].frees;
		bytes += drain.timeline[i].allocated_bytes;
		last_live = drain.timeline[i].live_bytes;
		if (last_live < lowest)
			lowest = last_live;
		if (drain.timeline[i].max_live_bytes > highest)
			highest = drain.timeline[i].max_live_bytes;
	}
	ok(width == 16000000 && used <= TIMELINE_BUCKETS && used == 10010000000 / 16000000 + 1,
	   "after ten seconds its buckets are 16 ms wide");
	ok(allocs == drain.counts.alloc_calls && frees == drain.counts.free_calls &&
		   allocs == 502 && bytes == 1500 + 500 * 1000 + 499 * 500 / 2,
	   "nothing of it got lost");
	ok(last_live == 1499 && highest == 1500 && lowest == 1000,
	   "what is live at the end, at most and at least");
	finish();
	ok(catalog_number(&got.catalog, "timeline_start_ns", 0) == 1000001000 &&
		   catalog_number(&got.catalog, "timeline_width_ns", 0) == 16000000,
	   "the recording says where it begins and how wide the buckets are");
}

/* ---- long random streams --------------------------------------------------------------- */

enum { ADDRESSES = 300, OLD_BLOCKS = 40, THREADS = 6 };

/* What the allocator of a made-up process does: it never loses anything. */
static struct {
	enum { UNUSED, OURS, OLD, RESERVED } state[ADDRESSES]; /* OLD: from before the recording */
	uint64_t size[ADDRESSES];
	struct {
		bool under_way, was_old;
		int from, to;	/* to -1: it fails; -2: it frees */
		uint64_t old_size, new_size;
	} calls[THREADS];
	uint64_t allocs, frees, unknown;
} world;

static uint64_t address_of(int i)
{
	return 0x7f0000000000 + (uint64_t)i * 48;
}

static int pick(int state)
{
	int start = (int)random_below(ADDRESSES);

	for (int i = 0; i < ADDRESSES; i++)
		if ((int)world.state[(start + i) % ADDRESSES] == state)
			return (start + i) % ADDRESSES;
	return -1;
}

static void world_begin_realloc(int t)
{
	int from = pick(random_below(20) ? OURS : OLD);

	if (from < 0)
		return;
	world.calls[t].under_way = true;
	world.calls[t].was_old = world.state[from] == OLD;
	world.calls[t].from = from;
	world.calls[t].old_size = world.size[from];
	world.calls[t].new_size = 1 + random_below(5000);
	world.state[from] = RESERVED;
	feed_begin((uint32_t)t + 1, address_of(from));
	switch (random_below(4)) {
	case 0: /* in place */
		world.calls[t].to = from;
		break;
	case 1:
		world.calls[t].to = -1;
		break;
	case 2: /* from now on others may get the address */
		world.calls[t].to = -2;
		world.calls[t].new_size = 0;
		world.state[from] = UNUSED;
		break;
	case 3:
		world.calls[t].to = pick(UNUSED);
		if (world.calls[t].to >= 0) {
			world.state[world.calls[t].to] = RESERVED;
			world.state[from] = UNUSED;
		}
		break;
	}
}

static void world_end_realloc(int t)
{
	int from = world.calls[t].from, to = world.calls[t].to;

	world.calls[t].under_way = false;
	feed_end((uint32_t)t + 1, address_of(from), to < 0 ? 0 : address_of(to),
		 world.calls[t].new_size);
	if (to == -1) {
		world.state[from] = world.calls[t].was_old ? OLD : OURS;
		return;
	}
	if (world.calls[t].was_old)
		world.unknown++;
	else
		world.frees++;
	if (to >= 0) {
		world.state[to] = OURS;
		world.size[to] = world.calls[t].new_size;
		world.allocs++;
	}
}

static void world_step(void)
{
	int t = (int)random_below(THREADS), i;

	if (world.calls[t].under_way) {
		world_end_realloc(t);
		return;
	}
	switch (random_below(3)) {
	case 0:
		i = pick(UNUSED);
		if (i < 0)
			return;
		world.state[i] = OURS;
		world.size[i] = random_below(3000);
		world.allocs++;
		feed_alloc((uint32_t)t + 1, address_of(i), world.size[i]);
		break;
	case 1:
		i = pick(random_below(20) ? OURS : OLD);
		if (i < 0)
			return;
		if (world.state[i] == OLD)
			world.unknown++;
		else
			world.frees++;
		world.state[i] = UNUSED;
		feed_free((uint32_t)t + 1, address_of(i));
		break;
	case 2:
		world_begin_realloc(t);
		break;
	}
}

static void test_world(void)
{
	uint64_t blocks = 0, bytes = 0;
	bool same = true;

	memset(&world, 0, sizeof(world));
	for (int i = 0; i < OLD_BLOCKS; i++)
		world.state[i * 7] = OLD;
	begin();
	for (int i = 0; i < 150000; i++)
		world_step();
	for (int t = 0; t < THREADS; t++)
		if (world.calls[t].under_way)
			world_end_realloc(t);
	finish();
	for (int i = 0; i < ADDRESSES; i++) {
		const struct replay_block *b = live(address_of(i));

		if (world.state[i] == OURS) {
			blocks++;
			bytes += world.size[i];
			same = same && b && b->size == world.size[i];
		} else {
			same = same && !b;
		}
	}
	ok(counts_are(0, world.unknown, 0, 0, 0), "a world without losses: nothing is set right");
	ok(drain.counts.alloc_calls == world.allocs && drain.counts.free_calls == world.frees,
	   "all its calls are counted");
	ok(is_live(blocks, bytes) && same, "what is live is live in the recording");
}

/* Whatever comes, what is written does not contradict itself. */
static void test_chaos(void)
{
	uint64_t under_way = 0, pairing_live, live_bytes;

	begin();
	for (int i = 0; i < 150000; i++) {
		uint32_t t = (uint32_t)random_below(THREADS);
		uint64_t a = address_of((int)random_below(60));
		uint64_t b = address_of((int)random_below(60));

		switch (random_below(9)) {
		case 0:
		case 1:
			feed_alloc(t, a, random_below(3000));
			break;
		case 2:
		case 3:
			feed_free(t, a);
			break;
		case 4:
		case 5:
			feed_begin(t, a);
			break;
		case 6:
		case 7:
			feed_end(t, t < drain.n_threads && drain.threads[t] && random_below(3)
					    ? drain.threads[t]->old_address : a,
				 random_below(4) ? b : 0, random_below(4) ? random_below(3000) : 0);
			break;
		case 8:
			if (random_below(20))
				feed_thread(RING_THREAD_EXIT, t, "x", 1);
			else if (!random_below(200))
				feed_mark(RING_EXEC);
			else
				now_ns -= random_below(5000);
			break;
		}
	}
	for (size_t i = 0; i < drain.n_threads; i++)
		under_way += drain.threads[i] && drain.threads[i]->is_reallocating &&
			     drain.threads[i]->slot != NO_SLOT;
	pairing_live = drain.pairing.live;
	live_bytes = drain.live_bytes;
	finish();
	ok(got.contradictions == 0, "random raw events: the recording does not contradict itself");
	ok(is_live(pairing_live + under_way, live_bytes), "and has the drain's own totals");
	ok(drain.counts.events == got.n && drain.counts.malformed == 0, "and all events");
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/test_drain.XXXXXX",
		 tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(folder)) {
		printf("Bail out! cannot make a folder for the test\n");
		return 1;
	}
	snprintf(path, sizeof(path), "%s/recording", folder);
	seed_random();
	test_alloc_free();
	test_implied();
	test_frees_of_none();
	test_realloc();
	test_realloc_unknown();
	test_realloc_handed_on();
	test_realloc_halves();
	test_realloc_exit();
	test_time();
	test_threads();
	test_exec();
	test_stacks();
	test_malformed();
	test_timeline();
	test_world();
	test_chaos();
	test_serial();
	forget();
	unlink(path);
	ok(rmdir(folder) == 0, "each recording was one file");
	return done();
}
