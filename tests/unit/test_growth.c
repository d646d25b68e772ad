/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What grows: shapes of series, windows that become wider, stacks behind a shared function. */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/growth_noting.h"
#include "analyzer/growth_sites.h"
#include "common/sparkline.h"
#include "common/xalloc.h"
#include "tests/unit/catalog_fixture.h"
#include "tests/unit/tap.h"

#define N GROWTH_WINDOWS_MAX

/* ---- shapes --------------------------------------------------------------------------------- */

static double series[N], lower[N];

static struct growth judge(size_t n)
{
	struct growth g;

	for (size_t i = 0; i < n; i++)
		lower[i] = i && series[i - 1] < series[i] ? series[i - 1] : series[i];
	growth_judge(lower, series, n, GROWTH_SHAPE, &g);
	return g;
}

static bool is(enum growth_shape shape)
{
	struct growth g = judge(N);

	if (g.shape != shape)
		diag("it is said to be %s, by %g", growth_shape_text(g.shape), g.slope);
	return g.shape == shape && g.is_growing == (shape == GROWTH_STEADY || shape == GROWTH_LATE);
}

#define FILL(expression) \
	for (int i = 0; i < N; i++) \
		series[i] = (expression)

static void test_shapes(void)
{
	struct growth g;

	FILL(0);
	ok(is(GROWTH_FLAT), "nothing");
	FILL(5000);
	ok(is(GROWTH_FLAT), "the same all the time");
	FILL(1000 + 3 * i);
	ok(is(GROWTH_STEADY), "a line");
	g = judge(N);
	ok(fabs(g.slope - 3) < 0.01 && g.low <= g.slope && g.high >= g.slope && g.confidence > 0.999,
	   "its slope: %g, %g to %g, %g", g.slope, g.low, g.high, g.confidence);
	FILL(1000 - 3 * i);
	ok(is(GROWTH_FALLING), "a line downwards");
	FILL(i < N / 2 ? 1000 : 1000 + 20 * (i - N / 2));
	ok(is(GROWTH_LATE), "a line that begins half way");
	FILL(i < 6 ? 1000 * i : 6000 + 10 * i);
	ok(is(GROWTH_STEADY), "a start, then a line");
	FILL(i < N / 2 ? 100 * i : 100 * N / 2);
	ok(is(GROWTH_LEVELLED), "a cache that fills");
	FILL(5000 * (1 - exp(-i * 5.0 / N)));
	ok(is(GROWTH_LEVELLED), "a cache that fills the slower the fuller it is");
	FILL(i < 20 ? 100 : 9000);
	ok(is(GROWTH_STEP), "a step");
	FILL(i % 13 * 100);
	ok(is(GROWTH_SAWTOOTH), "a sawtooth");
	FILL(i % 29 * 100);
	ok(is(GROWTH_SAWTOOTH), "a sawtooth of two teeth");
	FILL(3000 + 1000 * sin(i * 6.283 / 16));
	ok(is(GROWTH_WAVES), "a rhythm");
	FILL(3000 + 1000 * sin(i * 6.283 / 30));
	ok(!judge(N).is_growing, "a rhythm that ends as it rises");
	FILL(i * i);
	ok(is(GROWTH_STEADY) || is(GROWTH_LATE), "growth that becomes faster");
	FILL(1000 + 3 * i);
	series[10] = series[30] = 100000;
	ok(judge(N).is_growing && fabs(judge(N).slope - 3) < 0.5, "two windows that are wrong");
	FILL(i);
	ok(judge(GROWTH_WINDOWS_MIN - 1).shape == GROWTH_SHORT, "too short");
	ok(judge(0).shape == GROWTH_SHORT, "nothing at all");
}

static void test_noise(void)
{
	int flagged = 0, found = 0;

	seed_random();
	for (int round = 0; round < 500; round++) {
		FILL(10000 + (double)random_below(1000));
		flagged += judge(N).is_growing;
		FILL(10000 + 200.0 * i + (double)random_below(1000));
		found += judge(N).is_growing;
	}
	ok(flagged <= 2, "noise does not grow: %d of 500", flagged);
	ok(found >= 490, "a line in noise does: %d of 500", found);
}

/* ---- windows -------------------------------------------------------------------------------- */

static struct totals totals;
static struct growth_windows *windows;

static void begin(uint64_t end_ns)
{
	growth_windows_free(windows);
	totals_release(&totals);
	totals_init(&totals, 1u << GROUP_STACK, 0);
	windows = growth_windows_new(GROWTH_BYTES);
	growth_windows_begin(windows, &totals, 0, end_ns);
}

static void note(uint64_t t_ns, const struct replay_block *made, const struct replay_block *old)
{
	growth_noting_advance(windows, t_ns);
	if (old)
		growth_noting_end(windows, growth_noting_number(windows, old->stack), old->size,
				  old->t_ns, t_ns, made != NULL);
	if (made)
		growth_noting_make(windows, growth_noting_number(windows, made->stack), made->size,
				   old ? old->size : 0, old ? old->t_ns : 0);
}

static void allocate(uint32_t stack, uint64_t t_ns, uint64_t size)
{
	note(t_ns, &(struct replay_block){.t_ns = t_ns, .size = size, .stack = {stack}}, NULL);
}

static void release(uint32_t stack, uint64_t since_ns, uint64_t t_ns, uint64_t size)
{
	note(t_ns, NULL, &(struct replay_block){.t_ns = since_ns, .size = size, .stack = {stack}});
}

static struct growth_span load(uint32_t stack, uint64_t until_ns, size_t max)
{
	struct growth_span span = growth_windows_span(windows, 0, until_ns, max);

	memset(series, 0, sizeof(series));
	memset(lower, 0, sizeof(lower));
	for (size_t i = 0; i < growth_windows_stacks(windows); i++)
		if (growth_windows_stack(windows, i).v == stack)
			growth_windows_add(windows, i, &span, lower, series);
	return span;
}

#define SECOND 1000000000ull

/* Of a known length, of an unknown one, and with wide gaps: each time the same curve. */
static void test_windows(uint64_t end_ns, uint64_t step_ns, const char *name)
{
	struct growth_span span;
	bool right = true;

	begin(end_ns);
	for (uint64_t t = 0; t < 100 * SECOND; t += step_ns) {
		allocate(1, t, 10);
		allocate(2, t, 1000000);
		release(2, t, t + 5, 1000000);
	}
	growth_windows_advance(windows, 100 * SECOND);
	span = load(1, 100 * SECOND, 40);
	for (size_t i = 0; i < span.n; i++) {
		uint64_t end = span.start_ns + (i + 1) * span.width_ns;
		double live = (double)((end - 1) / step_ns + 1) * 10;

		right &= fabs(series[i] - live) < 11 && lower[i] <= series[i];
	}
	ok(span.n >= 20 && span.n <= 40 && right, "%s: %zu windows", name, span.n);
	ok(span.start_ns + span.n * span.width_ns > 98 * SECOND, "%s: to the end", name);
	load(2, 100 * SECOND, 40);
	right = true;
	for (size_t i = 0; i < span.n; i++)
		right &= lower[i] <= 0;
	ok(right, "%s: what comes and goes is not in the floors", name);
	span = load(1, 30 * SECOND, 40);
	ok(span.start_ns + span.n * span.width_ns <= 30 * SECOND && span.n >= 10,
	   "%s: up to a moment", name);
	span = growth_windows_span(windows, 40 * SECOND, 100 * SECOND, 40);
	ok(span.start_ns >= 40 * SECOND && span.n >= 12, "%s: without a warm-up", name);
}

static void test_accounts(void)
{
	struct growth_lifetimes l = {0};
	struct replay_block old = {.t_ns = SECOND, .size = 500, .stack = {1}};
	struct replay_block made = {.t_ns = 50 * SECOND, .size = 700, .stack = {1}};

	begin(100 * SECOND);
	allocate(1, SECOND, 500);
	note(50 * SECOND, &made, &old);
	growth_windows_advance(windows, 100 * SECOND);
	load(1, 100 * SECOND, 20);
	ok(series[5] >= 500 && series[5] <= 500 && lower[10] >= 500 && series[12] >= 700 &&
		   lower[12] >= 700,
	   "a block that is enlarged is as old as it was");
	growth_windows_add_lifetimes(windows, 0, &l);
	ok(l.blocks == 2 && l.bytes == 1200 && !growth_usual_ns(&l),
	   "what was allocated; none of it ended");
	for (uint64_t i = 0; i < 100; i++) {
		allocate(2, (60 + i) * SECOND, 8);
		release(2, (60 + i) * SECOND, (60 + i) * SECOND + 3000000, 8);
	}
	l = (struct growth_lifetimes){0};
	growth_windows_add_lifetimes(windows, 1, &l);
	ok(l.blocks == 100 && growth_usual_ns(&l) >= 3000000 && growth_usual_ns(&l) <= 6000000,
	   "how long blocks live: %" PRIu64, growth_usual_ns(&l));
	begin(0);
	ok(growth_windows_span(windows, 0, UINT64_MAX, 48).n == 0, "no window yet");
	allocate(UINT32_MAX, SECOND, 8);
	allocate(7, 400ull * 86400 * SECOND, 8);
	growth_windows_advance(windows, 401ull * 86400 * SECOND);
	load(UINT32_MAX, UINT64_MAX, 48);
	ok(growth_windows_stacks(windows) == 2 && series[20] >= 8 && series[20] <= 8,
	   "a year in which nothing happens, and a stack of any number");
	growth_windows_begin_space(windows);
	growth_windows_advance(windows, 800ull * 86400 * SECOND);
	load(7, UINT64_MAX, 48);
	ok(series[30] <= 0, "what was there before an exec is gone");
}

static void test_memory(void)
{
	begin(0);
	growth_windows_free(windows);
	windows = growth_windows_new(100000);
	growth_windows_begin(windows, &totals, 0, 0);
	for (uint64_t t = 0; t < 400; t++)
		for (uint32_t s = 1; s <= 1000; s++)
			allocate(s, t << 20, s);
	ok(growth_windows_bytes(windows) < 400000, "memory is bounded: %zu bytes",
	   growth_windows_bytes(windows));
	load(5, UINT64_MAX, 48);
	ok(series[0] > 0 && judge(24).is_growing, "and the curve is there");
}

/* ---- places --------------------------------------------------------------------------------- */

static struct module_record modules[] = {[1] = {.path = "/bin/server"}};
static struct growth_sites sites;

/* So many callers of one function that all allocate through; of those the first @leaking leak. */
static void call_through(int n, int leaking, int stacks_each, uint64_t step_ns)
{
	struct growth_span span;
	struct own own;
	uint32_t through, base, ids[64], n_ids = 0;

	forget();
	catalog.modules = modules;
	catalog.n_modules = COUNT_OF(modules);
	through = frame(1, "pool_refill");
	base = push(0, frame(1, "main"), STACK_COMPLETE);
	for (int i = 0; i < n; i++) {
		uint32_t caller = frame(1, i >= leaking ? "is_busy" : i ? "leaks_too" : "leaks");

		for (int k = 0; k < stacks_each; k++)
			ids[n_ids++] = push(push(push(base, frame(1, "request"), STACK_COMPLETE),
						 caller, STACK_COMPLETE),
					    through, STACK_COMPLETE);
	}
	begin(100 * SECOND);
	for (uint64_t t = 0, i = 0; t < 100 * SECOND; t += step_ns, i++) {
		uint32_t which = (uint32_t)random_below(n_ids);

		allocate(ids[which], t, 64);
		if (which >= (uint32_t)(leaking * stacks_each) || i % 10)
			release(ids[which], t, t + 1000, 64);
	}
	growth_windows_advance(windows, 100 * SECOND);
	span = growth_windows_span(windows, 0, UINT64_MAX, GROWTH_WINDOWS_MAX);
	own_init(&own, &catalog, NULL, 0);
	growth_sites_release(&sites);
	growth_sites_make(&sites, windows, &span, &own, 100);
	own_release(&own);
}

static bool is_of(size_t i, const char *function)
{
	struct stack_walk w;
	bool found = false;

	if (i >= sites.n_growing)
		return false;
	stacks_walk(&catalog, sites.growing[i].stack, &w);
	for (size_t k = 0; k < w.n && k < sites.growing[i].depth; k++)
		found |= !strcmp(catalog_frame(&catalog, w.frames[k])->function, function);
	return found;
}

static void test_sites(void)
{
	struct growth_sum sum;

	call_through(20, 0, 1, SECOND / 100);
	ok(sites.n_growing == 0, "20 busy callers of one function");
	call_through(20, 1, 1, SECOND / 100);
	sum = growth_sites_sum(&sites);
	ok(sites.n_growing == 1 && is_of(0, "leaks") && sites.growing[0].n_stacks == 1,
	   "one of them leaks");
	/* 5 allocations a second, a tenth of which stay */
	ok(sum.slope > 20 && sum.slope < 45, "so fast: %g bytes/s", sum.slope);
	for (uint32_t i = 0; i < 10; i++)
		growth_sites_count_live(&sites, sites.growing[0].stack, i * SECOND, 64);
	ok(sites.growing[0].live_blocks == 10 && sites.growing[0].live_bytes == 640 &&
		   sites.growing[0].outlived_blocks == 9,
	   "nine of ten blocks are older than those that are freed");
	call_through(10, 2, 1, SECOND / 100);
	ok(sites.n_growing == 2 && is_of(0, "leaks") + is_of(1, "leaks") == 1 &&
		   is_of(0, "leaks_too") + is_of(1, "leaks_too") == 1,
	   "two of them leak");
	call_through(2, 1, 30, SECOND / 100);
	ok(sites.n_growing == 1 && is_of(0, "leaks") && sites.growing[0].n_stacks == 30,
	   "a leak of a little by each of 30 stacks is one: %zu", sites.n_growing);
	call_through(1, 1, 1, SECOND / 100);
	ok(sites.n_growing == 1 && is_of(0, "leaks"), "there is nothing else");
	call_through(2, 1, 1, 50 * SECOND);
	ok(!sites.n_growing, "hardly any events");
	growth_sites_release(&sites);
}

static void test_sparkline(void)
{
	static const double rising[] = {0, 1, 2, 3, 4, 5, 6, 7}, level[] = {5, 5, 5};
	char buf[SPARKLINE_MAX];

	ok(!strcmp(sparkline(buf, rising, 8, 8, false), "▁▂▃▄▅▆▇█"), "a curve: %s", buf);
	ok(!strcmp(sparkline(buf, rising, 8, 8, true), "_.:-=+*#"), "in ASCII: %s", buf);
	ok(!strcmp(sparkline(buf, rising, 8, 4, true), "_:+#"), "narrower: %s", buf);
	ok(!strcmp(sparkline(buf, level, 3, 8, true), "==="), "level: %s", buf);
	ok(!*sparkline(buf, level, 0, 8, false), "nothing");
	ok(strlen(sparkline(buf, series, N, 1000, false)) < SPARKLINE_MAX, "wide");
}

int main(void)
{
	test_shapes();
	test_noise();
	test_windows(100 * SECOND, SECOND / 50, "known length");
	test_windows(0, SECOND / 50, "unknown length");
	test_windows(0, 3 * SECOND, "with gaps");
	test_accounts();
	test_memory();
	test_sites();
	test_sparkline();
	growth_windows_free(windows);
	totals_release(&totals);
	return done();
}
