/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks that are counted, not recorded: by hand, and random events against a naive model. */
#include "config.h"
#include "collector/drain.h"

#include <string.h>

#include "analyzer/small.h"
#include "tests/unit/drain_fixture.h"
#include "tests/unit/tap.h"

enum { MIN = 64, A = 0x1000, B = 0x2000, C = 0x3000 };

static void begin_with(uint64_t min_size)
{
	begin();
	drain_set_min_size(&drain, min_size);
}

static bool small_is(const struct drain_small *s, uint64_t allocs, uint64_t frees, uint64_t bytes,
		     uint64_t live_blocks, uint64_t live_bytes)
{
	if (s->alloc_calls == allocs && s->free_calls == frees && s->allocated_bytes == bytes &&
	    s->live_blocks == live_blocks && s->live_bytes == live_bytes)
		return true;
	diag("small: %" PRIu64 " allocs, %" PRIu64 " frees, %" PRIu64 " bytes, live %" PRIu64
	     " blocks, %" PRIu64 " bytes", s->alloc_calls, s->free_calls, s->allocated_bytes,
	     s->live_blocks, s->live_bytes);
	return false;
}

/* ---- by hand ------------------------------------------------------------------------ */

/* What the recording itself says of them is what the drain has counted. */
static bool is_told(const struct drain_small *s, uint64_t min_size)
{
	struct small told;

	return small_read(&got.catalog, &told) && told.min_size == min_size &&
	       small_is(s, told.alloc_calls, told.free_calls, told.allocated_bytes,
			told.live_blocks, told.live_bytes);
}

/* Ends the recording; @kinds are its events. */
static bool finish_with(const char *kinds, struct drain_small *ret)
{
	*ret = drain.small;
	finish();
	return kinds_are(kinds) && is_told(ret, MIN);
}

static void test_allocs(void)
{
	struct drain_small s;

	begin_with(MIN);
	feed_alloc(1, A, MIN - 1);
	feed_alloc(1, B, MIN);
	feed_alloc(1, C, 0);
	feed_free(1, A);
	ok(finish_with("A", &s) && small_is(&s, 2, 1, 63, 1, 0) && counts_are(0, 0, 0, 0, 0) &&
		   is_live(1, MIN),
	   "of small blocks there is no event, and their frees are known");
	ok(got.events[0].slot == 0 && got.replay.live_blocks == 1, "they take no slot");
	begin_with(MIN);
	feed_alloc(1, A, 10);
	feed_free(1, A);
	feed_free(1, A);
	ok(finish_with("D", &s) && small_is(&s, 1, 1, 10, 0, 0) && counts_are(0, 0, 0, 1, 0),
	   "one that is freed twice is a double free");
	begin_with(MIN);
	feed_alloc(1, A, 10);
	feed_alloc(1, A, 100);
	feed_alloc(1, A, 20);
	ok(finish_with("AI", &s) && small_is(&s, 2, 1, 30, 1, 20) && counts_are(2, 0, 0, 0, 0),
	   "frees that were not seen are implied, of small blocks and large ones");
	begin();
	feed_alloc(1, A, 0);
	s = drain.small;
	finish();
	ok(kinds_are("A") && small_is(&s, 0, 0, 0, 0, 0) && !catalog_text(&got.catalog, "min_size") &&
		   !catalog_text(&got.catalog, "small_alloc_calls"),
	   "without a bound nothing is small");
}

/* One realloc of a block of @old bytes to @size, which moves or does not. */
static void resize(uint64_t old, uint64_t size, uint64_t to)
{
	begin_with(MIN);
	feed_alloc(1, A, old);
	feed_begin(1, A);
	feed_end(1, A, to, size);
}

static void test_reallocs(void)
{
	struct drain_small s;

	for (uint64_t to = A; to <= B; to += B - A) {
		resize(10, 100, to);
		ok(finish_with("A", &s) && small_is(&s, 1, 1, 10, 0, 0) && is_live(1, 100) &&
			   live(to),
		   "small to large: an alloc event");
		resize(100, 10, to);
		ok(finish_with("AF", &s) && small_is(&s, 1, 0, 10, 1, 10) && is_live(0, 0),
		   "large to small: a free event");
		resize(10, 20, to);
		ok(finish_with("", &s) && small_is(&s, 2, 1, 30, 1, 20), "small to small: none");
		resize(100, 200, to);
		ok(finish_with("AR", &s) && small_is(&s, 0, 0, 0, 0, 0) && is_live(1, 200),
		   "large to large: as ever");
	}
	resize(10, 1 << 30, 0);
	feed_free(1, A);
	ok(finish_with("", &s) && small_is(&s, 1, 1, 10, 0, 0) && counts_are(0, 0, 0, 0, 0),
	   "one that fails leaves a small block as it was");
	resize(10, 0, 0);
	ok(finish_with("", &s) && small_is(&s, 1, 1, 10, 0, 0), "realloc(p, 0) frees one");
	begin_with(MIN);
	feed_begin(1, A);
	feed_end(1, A, B, 10);
	ok(finish_with("U", &s) && small_is(&s, 1, 0, 10, 1, 10) && counts_are(0, 1, 0, 0, 0),
	   "of a block from before to a small one: an unknown free");
}

static void test_ends(void)
{
	struct drain_small s;

	begin_with(MIN);
	feed_alloc(1, A, 10);
	feed_begin(1, A);
	feed_alloc(2, A, 30);
	feed_begin(1, B);
	ok(finish_with("", &s) && small_is(&s, 2, 1, 40, 1, 30) && counts_are(0, 0, 0, 0, 1),
	   "a realloc whose end was not seen has freed a small block");
	begin_with(MIN);
	feed_thread(RING_THREAD, 1, "x", 1);
	feed_alloc(1, A, 10);
	feed_begin(1, A);
	feed_thread(RING_THREAD_EXIT, 1, "x", 1);
	feed_free(2, A);
	ok(finish_with("", &s) && small_is(&s, 1, 1, 10, 0, 0) && counts_are(0, 0, 0, 0, 0),
	   "a thread that ends within one has not done it");
	begin_with(MIN);
	feed_alloc(1, A, 10);
	feed_alloc(1, B, 20);
	feed_mark(RING_EXEC);
	feed_alloc(1, A, 7);
	feed_free(1, B);
	ok(finish_with("U", &s) && small_is(&s, 3, 0, 37, 1, 7) && counts_are(0, 1, 0, 0, 0),
	   "live are those of the last program only");
	begin_with(MIN);
	feed_alloc(1, A, 10);
	drain_write_small(&drain);
	store_writer_flush(writer, NULL);
	read_back();
	ok(is_told(&drain.small, MIN), "they are told of while the recording goes on");
	feed_free(1, A);
	ok(finish_with("", &s), "and at its end");
}

/* ---- random events ------------------------------------------------------------------ */

enum { ADDRESSES = 60, THREADS = 6, STEPS = 60000 };

static uint64_t random_size(void)
{
	static const uint64_t edges[] = {0, 1, MIN - 1, MIN, MIN + 1};

	return random_below(4) ? random_below(2 * MIN) : edges[random_below(COUNT_OF(edges))];
}

static void feed_random(void)
{
	uint64_t under_way[THREADS] = {0}; /* what each thread reallocates */

	for (int i = 0; i < STEPS; i++) {
		uint32_t t = (uint32_t)random_below(THREADS);
		uint64_t a = 0x7f0000000000 + random_below(ADDRESSES) * 48;
		uint64_t b = 0x7f0000000000 + random_below(ADDRESSES) * 48;

		switch (random_below(7)) {
		case 0:
		case 1:
			feed_alloc(t + 1, a, random_size());
			break;
		case 2:
			feed_free(t + 1, a);
			break;
		case 3:
		case 4:
			feed_begin(t + 1, a);
			under_way[t] = a;
			break;
		case 5:
		case 6:
			feed_end(t + 1, random_below(3) ? under_way[t] : a, random_below(4) ? b : 0,
				 random_below(8) ? random_size() : 0);
			break;
		}
		if (!random_below(500))
			feed_thread(RING_THREAD_EXIT, t + 1, "x", 1);
	}
}

/* A recording's events, each with the address and the size of the block that it is about. */
struct story {
	struct event *events;
	size_t n, cap;
	struct drain_small small;
	struct drain_counts counts;
};

static void tell(struct story *s, const struct event *e)
{
	ARRAY_GROW(s->events, s->cap, s->n);
	s->events[s->n] = *e;
	s->events[s->n++].slot = 0;
}

/* Where all is recorded it says of each event what there is to be of it with a bound. */
static void tell_event(struct story *s, const struct event *e, uint64_t old_address,
		       uint64_t old_size, uint64_t min_size)
{
	bool was_small = event_frees(e) && old_size < min_size;
	bool is_small = event_allocates(e) && e->size < min_size;
	struct event told = *e;

	if (e->kind == EVENT_FREE && event_frees(e)) {
		told.address = old_address;
		told.size = old_size;
	}
	if (e->kind == EVENT_REALLOC && was_small) {
		told.kind = EVENT_ALLOC;
	} else if (e->kind == EVENT_REALLOC && is_small) {
		told.kind = EVENT_FREE;
		told.address = old_address;
		told.size = old_size;
	}
	if (is_small) {
		s->small.alloc_calls++;
		s->small.allocated_bytes += e->size;
		s->small.live_blocks++;
		s->small.live_bytes += e->size;
	}
	if (was_small) {
		s->small.free_calls++;
		s->small.live_blocks--;
		s->small.live_bytes -= old_size;
	}
	if ((event_allocates(e) && !is_small) || (event_frees(e) && !was_small) ||
	    (!event_allocates(e) && !event_frees(e)))
		tell(s, &told);
}

/* What was just recorded, as it would be with that bound: blocks are known by their slots. */
static void retell(struct story *s, uint64_t min_size)
{
	struct {
		uint64_t address, size;
	} *blocks = xcalloc(STEPS, sizeof(*blocks));
	struct slots slots = {0};

	for (size_t i = 0; i < got.n; i++) {
		const struct event *e = &got.events[i];
		uint32_t slot = e->kind == EVENT_ALLOC ? slots_take(&slots) : e->slot;
		bool is_of_block = event_allocates(e) || event_frees(e);

		tell_event(s, e, is_of_block ? blocks[slot].address : 0,
			   is_of_block ? blocks[slot].size : 0, min_size);
		if (e->kind == EVENT_FREE && event_frees(e))
			slots_give(&slots, slot);
		if (event_allocates(e)) {
			blocks[slot].address = e->address;
			blocks[slot].size = e->size;
		}
	}
	slots_release(&slots);
	free(blocks);
}

static bool same_events(const struct story *a, const struct story *b)
{
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		const struct event *x = &a->events[i], *y = &b->events[i];

		if (x->kind == y->kind && x->free_class == y->free_class &&
		    x->thread.v == y->thread.v && x->t_ns == y->t_ns && x->address == y->address &&
		    x->size == y->size)
			continue;
		diag("event %zu: kind %d, class %d, %#" PRIx64 ", %" PRIu64 " bytes at %" PRIu64
		     "; should be %d, %d, %#" PRIx64 ", %" PRIu64 " at %" PRIu64, i, y->kind,
		     y->free_class, y->address, y->size, y->t_ns, x->kind, x->free_class,
		     x->address, x->size, x->t_ns);
		return false;
	}
	return a->n == b->n;
}

/* The same raw events once with all recorded, whose events a naive filter then goes through. */
static void test_random(void)
{
	uint64_t seed = tap_random_state;
	struct story model = {0}, real = {0};
	const struct drain_counts *c = &drain.counts;

	begin();
	feed_random();
	finish();
	model.counts = *c;
	retell(&model, MIN);
	tap_random_state = seed;
	begin_with(MIN);
	feed_random();
	real.small = drain.small;
	finish();
	retell(&real, 0);
	ok(!got.contradictions && got.n > STEPS / 10 && real.n == got.n,
	   "random raw events: %zu are recorded, and do not contradict themselves", got.n);
	ok(same_events(&model, &real), "they are those of the naive model");
	ok(small_is(&real.small, model.small.alloc_calls, model.small.free_calls,
		    model.small.allocated_bytes, model.small.live_blocks, model.small.live_bytes) &&
		   real.small.alloc_calls > STEPS / 20,
	   "so are the calls that were counted: %" PRIu64, real.small.alloc_calls);
	ok(counts_are(model.counts.implied_frees, model.counts.unknown_frees,
		      model.counts.internal_frees, model.counts.double_frees,
		      model.counts.unfinished_reallocs),
	   "and what was set right");
	free(model.events);
	free(real.events);
}

/* Blocks of before the recording: live ones, but no calls. */
static void test_from_before(void)
{
	struct stack_id stack;

	begin_with(MIN);
	stack = call_sites_name(&drain.sites, "[from before]");
	drain_add_before(&drain, GLIBC, stack, A, 104, 500);
	drain_add_before(&drain, GLIBC, stack, B, 24, 500);
	drain_add_before(&drain, GLIBC, stack, C, 1000, 500);
	drain_add_before(&drain, GLIBC, stack, C, 1000, 500);
	ok(drain.before.blocks == 3 && drain.before.bytes == 1128 && !drain.counts.alloc_calls &&
		   small_is(&drain.small, 0, 0, 0, 1, 24),
	   "blocks from before are no calls, however small they are, and are there once");
	feed_free(1, B);
	feed_free(1, A);
	feed_begin(1, C);
	feed_end(1, C, C, 2000);
	ok(drain.counts.free_calls == 2 && drain.counts.alloc_calls == 1 &&
		   small_is(&drain.small, 0, 1, 0, 0, 0),
	   "they are freed and reallocated as all others");
	finish();
	ok(kinds_are("AAFR") && is_live(1, 2000) && got.events[0].thread.v == THREAD_OF_BEFORE &&
		   got.events[0].size == 104 && got.events[0].usable == 104 &&
		   !event_is_alloc_call(&got.events[0]) && event_is_alloc_call(&got.events[3]),
	   "in the recording they are of no thread");
}

int main(void)
{
	set_up("drain_small");
	seed_random();
	test_allocs();
	test_reallocs();
	test_ends();
	test_from_before();
	for (int i = 0; i < 5; i++)
		test_random();
	return tear_down() ? done() : 1;
}
