/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two raw events of a realloc, and what may come between them or not at all. */
#include "config.h"
#include "collector/drain.h"

#include "tests/unit/drain_fixture.h"
#include "tests/unit/tap.h"

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
		   live_slot(0x3000) == 0,
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
		   drain.timeline.buckets[0].live_bytes == 0,
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

int main(void)
{
	set_up("drain_realloc");
	test_realloc();
	test_realloc_unknown();
	test_realloc_handed_on();
	test_realloc_halves();
	test_realloc_exit();
	return tear_down() ? done() : 1;
}
