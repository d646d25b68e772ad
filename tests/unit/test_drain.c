/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of raw events; test_drain_realloc.c has those of a realloc. */
#include "config.h"
#include "collector/drain.h"

#include <gnu/libc-version.h>
#include <link.h>
#include <string.h>
#include <sys/prctl.h>

#include "analyzer/analysis.h"
#include "common/xalloc.h"
#include "store/reader.h"
#include "tests/unit/drain_fixture.h"
#include "tests/unit/tap.h"

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
	ok(live_slot(0x1000) == 0 && live(0x1000)->size == 30 &&
		   live_slot(0x2000) == 1,
	   "the slots are those of the reader");
	ok(got.catalog.n_spaces == 2 && !strcmp(got.catalog.spaces[1].end, "exit") &&
		   !strcmp(got.catalog.spaces[1].executable, "/bin/true") &&
		   got.catalog.spaces[1].start_ns == 1000000000 &&
		   got.catalog.spaces[1].end_ns == 1000004000,
	   "the space has its begin and end");
	ok(got.catalog.n_losses == 8 && catalog_loss(&got.catalog, "implied_frees") == 0,
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
		ok(analysis_make(r, GROUP_THREAD, NULL, NULL, &a, &err) == 0 &&
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
	for (unsigned int kind = 0; kind < 256; kind++) {
		size_t end = kind < RING_KINDS ? lengths[kind] : 64;

		if (kind == (RING_FREE | RING_BY_STACK) ||
		    kind == (RING_POOL_RESET | RING_BY_STACK) ||
		    kind == (RING_POOL_DESTROY | RING_BY_STACK))
			end = sizeof(struct ring_free_by_stack);
		for (size_t len = 0; len < end; len++) {
			/* exactly so large, so that a read beyond is found */
			struct ring_head *raw = xcalloc(1, len), h = head(kind, 1);

			h.t_ns += 1ull << 40;
			memcpy(raw, &h, len < sizeof(h) ? len : sizeof(h));
			drain_feed(&drain, raw, len);
			free(raw);
			fed++;
		}
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
	ok(drain.timeline.n == 11 && drain.timeline.width_ns == 1000000 &&
		   drain.timeline.buckets[5].live_bytes == 1000 &&
		   drain.timeline.buckets[5].max_live_bytes == 1000 &&
		   drain.timeline.buckets[5].allocs == 0 && drain.timeline.buckets[10].live_bytes == 1500,
	   "the timeline: buckets without events keep what is live");
	feed_free(1, 0x2000);
	ok(drain.timeline.buckets[10].live_bytes == 1000 && drain.timeline.buckets[10].max_live_bytes == 1500 &&
		   drain.timeline.buckets[10].frees == 1,
	   "a bucket knows its highest");
	for (int i = 0; i < 500; i++) {
		now_ns += 20000000;
		feed_begin(1, 0x1000);
		feed_end(1, 0x1000, 0x1000, 1000 + i);
	}
	used = drain.timeline.n;
	width = drain.timeline.width_ns;
	for (size_t i = 0; i < used; i++) {
		allocs += drain.timeline.buckets[i].allocs;
		frees += drain.timeline.buckets[i].frees;
		bytes += drain.timeline.buckets[i].allocated_bytes;
		last_live = drain.timeline.buckets[i].live_bytes;
		if (last_live < lowest)
			lowest = last_live;
		if (drain.timeline.buckets[i].max_live_bytes > highest)
			highest = drain.timeline.buckets[i].max_live_bytes;
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

int main(void)
{
	set_up("drain");
	test_alloc_free();
	test_implied();
	test_frees_of_none();
	test_time();
	test_threads();
	test_exec();
	test_stacks();
	test_malformed();
	test_timeline();
	test_serial();
	ok(tear_down(), "each recording was one file");
	return done();
}
