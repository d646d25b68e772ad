/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests of what grows: writes recordings of servers that never ran, by a clock that is
 * simulated.  streams FOLDER SEED [N]: N of them (60), FOLDER/00.trail and so on; a line for each
 * goes to standard output: its name, what it is about, and the functions that leak.
 *
 * Each has busy places that come to nothing, and one or more that do something over time;
 * sizes, rates, noise, lengths, the number of places and their mix are random.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xalloc.h"
#include "tests/growth/simulation.h"

/* ---- the program ---------------------------------------------------------------------------- */

static uint32_t roots[THREADS + 1]; /* stacks: the main function's, and those of worker threads */
static const char *wrapper;	    /* that all allocate through, or NULL */
static char leaks[256];		    /* the functions that do */

static void begin_program(void)
{
	roots[0] = call(call(0, "_start"), "main");
	for (int i = 1; i <= THREADS; i++)
		roots[i] = call(call(call(0, "clone3"), "worker_main"), "run_task");
}

/* A place named @name, called from some depth: @stacks of them. */
static struct site *add_site(const char *name, int n)
{
	static int number;
	struct site *s = &sites[n_sites++];
	int where = whole(0, THREADS);

	*s = (struct site){.n_stacks = n < STACKS_MAX ? n : STACKS_MAX, .until = 1e9, .batch = 1,
			   .size_low = scaled(16, 256)};
	s->size_high = s->size_low * scaled(1, 16);
	for (int i = 0; i < s->n_stacks; i++) {
		uint32_t at = call(roots[where], "handle_request");
		char caller[64];

		for (int k = whole(0, 3); k > 0; k--) {
			snprintf(caller, sizeof(caller), "step_%d", whole(1, 9));
			at = call(at, caller);
		}
		snprintf(caller, sizeof(caller), "caller_%d", number++);
		at = call(call(at, caller), name);
		s->stacks[i] = wrapper ? call(at, wrapper) : at;
	}
	return s;
}

static void note_leak(const char *name)
{
	size_t n = strlen(leaks);

	snprintf(leaks + n, sizeof(leaks) - n, "%s%s", n ? "," : "", name);
}

static double busy_rate; /* of all that comes to nothing, a second */
static double busy_bytes;

static void add_busy(double calls, int n)
{
	double shares[SITES_MAX], sum = 0;

	for (int i = 0; i < n; i++)
		sum += shares[i] = scaled(0.05, 1);
	busy_rate = calls / length;
	busy_bytes = 0;
	for (int i = 0; i < n; i++) {
		char name[32];
		struct site *s;

		snprintf(name, sizeof(name), "busy_%d", i);
		s = add_site(name, whole(1, 4));
		s->rate = busy_rate * shares[i] / sum;
		s->lifetime = length * scaled(1e-5, 5e-3);
		if (whole(0, 3) == 0) {
			s->period = length * scaled(0.02, 0.3);
			s->depth = uniform(0.2, 0.9);
		}
		busy_bytes += s->rate * (s->size_low + s->size_high) / 2;
	}
}

/* ---- what grows for a while, or comes and goes ------------------------------------------------ */

static void add_cache(double full_at, bool replacing)
{
	struct site *s = add_site("cache_put", whole(1, 3));

	s->fate = FATE_CACHED;
	s->most = (size_t)whole(50, 800);
	s->rate = (double)s->most / (full_at * length);
	s->is_replacing = replacing;
}

/* Hits become more as it fills: the nearer to full, the slower. */
static void add_warm_cache(void)
{
	int n = whole(100, 600);
	double time = length * uniform(0.05, 0.18);

	for (int i = 0; i < 6; i++) {
		struct site *s = add_site("warm_put", 1);

		/* each has a part of the keys, of which it meets some more often than others */
		s->fate = FATE_CACHED;
		s->most = (size_t)(n / 6);
		s->rate = (double)s->most / (time * (0.4 + 0.3 * i));
	}
}

static void add_tooth(void)
{
	struct site *s = add_site("batch_add", whole(1, 4));

	s->fate = FATE_TOOTH;
	s->most = (size_t)whole(60, 500);
	s->share = uniform(0, 0.1);
	s->rate = (double)s->most * uniform(1.6, 12) / length;
}

static void add_rhythm(void)
{
	struct site *s = add_site("session_new", whole(1, 3));

	s->period = length / uniform(1.6, 6);
	s->depth = uniform(0.6, 1);
	s->phase = uniform(0, 1);
	s->lifetime = s->period * uniform(0.02, 0.15);
	s->rate = uniform(400, 3000) / length;
}

static void add_queue(void)
{
	struct site *s = add_site("queue_push", whole(1, 3));
	double full_at = uniform(0.2, 0.6), calls = uniform(800, 4000);

	s->fate = FATE_QUEUED;
	s->share = uniform(0.3, 0.9);
	s->rate = calls / length;
	s->most = (size_t)(calls * full_at * (1 - s->share));
}

static void add_burst(void)
{
	struct site *s = add_site("load_tables", whole(1, 3));

	s->from = length * uniform(0.05, 0.7);
	s->until = s->from + length * uniform(0.005, 0.03);
	s->rate = uniform(100, 1000) / (s->until - s->from);
	s->share = 1;
}

static void add_start(void)
{
	struct site *s = add_site("init_module", whole(1, 5));

	s->until = length * uniform(0.05, 0.45);
	s->rate = uniform(100, 800) / s->until;
	s->share = 1;
}

/* One part of the program after the other is used for the first time. */
static void add_lazy(void)
{
	int n = whole(2, 4);

	for (int i = 0; i < n; i++) {
		char name[32];
		struct site *s;

		snprintf(name, sizeof(name), "lazy_%d", i);
		s = add_site(name, 1);
		s->from = length * uniform(0.6 * i / n, 0.6 * (i + 1) / n);
		s->until = s->from + length * uniform(0.02, 0.12);
		s->rate = uniform(60, 400) / (s->until - s->from);
		s->share = 1;
	}
}

static void add_sessions(void)
{
	struct site *s = add_site("connection_new", whole(1, 3));

	s->lifetime = length * scaled(0.01, 0.08);
	s->rate = uniform(300, 3000) / length;
}

static void add_walk(void)
{
	struct site *s = add_site("worker_push", whole(1, 2));

	s->fate = FATE_WALK;
	s->most = (size_t)whole(4, 16);
	s->rate = uniform(3000, 8000) / length;
}

static void add_snapshot(void)
{
	struct site *s = add_site("snapshot_make", whole(1, 3));

	s->fate = FATE_REPLACED;
	s->most = (size_t)whole(5, 60);
	s->rate = uniform(8, 80) / length;
}

/* Something that is large, and no leak. */
static void add_distraction(void)
{
	switch (whole(0, 10)) {
	case 0: add_cache(uniform(0.1, 0.6), false); break;
	case 1: add_cache(uniform(0.1, 0.5), true); break;
	case 2: add_tooth(); break;
	case 3: add_rhythm(); break;
	case 4: add_queue(); break;
	case 5: add_burst(); break;
	case 6: add_start(); break;
	case 7: add_lazy(); break;
	case 8: add_sessions(); break;
	case 9: add_walk(); break;
	default: add_snapshot(); break;
	}
}

/* ---- what leaks ------------------------------------------------------------------------------- */

/* A leak of so many blocks over the whole. */
static struct site *add_leak(const char *name, double blocks, int n)
{
	struct site *s = add_site(name, n);

	note_leak(name);
	s->share = 1;
	s->rate = blocks / length;
	return s;
}

/* Of the traffic, in calls. */
static double part_of_traffic(double part)
{
	return busy_rate * length * part;
}

static void kind_steady(void)
{
	add_leak("leak_steady", part_of_traffic(0.01), 1);
}

static void kind_late(void)
{
	struct site *s = add_leak("leak_late", part_of_traffic(0.01), 1);

	s->from = length * uniform(0.4, 0.6);
}

static void kind_after_start(void)
{
	struct site *s = add_site("leak_after_start", 1);

	add_start();
	note_leak("leak_after_start");
	s->share = 1;
	s->rate = part_of_traffic(0.01) / length;
	s->from = length * uniform(0.05, 0.2);
}

static void kind_scattered(void)
{
	add_leak("leak_scattered", part_of_traffic(0.015), STACKS_MAX);
}

/* Some blocks of a busy place, as on a path that forgets to free. */
static void kind_forgotten(void)
{
	struct site *s = add_site("leak_forgotten", whole(1, 2));

	note_leak("leak_forgotten");
	s->rate = busy_rate * uniform(0.1, 0.4);
	s->share = uniform(0.02, 0.05);
	s->lifetime = length * scaled(1e-5, 2e-3);
}

static void kind_in_rhythm(void)
{
	struct site *s = add_leak("leak_in_rhythm", part_of_traffic(0.02), 1);

	add_rhythm();
	s->period = length / uniform(3, 8);
	s->depth = uniform(0.3, 0.8);
}

static void kind_enlarged(void)
{
	struct site *s = add_leak("leak_enlarged", part_of_traffic(0.01), 1);

	s->fate = FATE_ENLARGED;
}

/* All of a table is made anew, larger each time. */
static void kind_rebuilt(void)
{
	struct site *s = add_leak("leak_rebuilt", 0, 1);

	s->fate = FATE_REPLACED;
	s->most = (size_t)whole(1, 20);
	s->more = (size_t)whole(1, 4);
	s->rate = uniform(30, 90) / length;
	s->is_regular = true;
}

static void kind_some_sessions(void)
{
	struct site *s = add_site("leak_session", whole(1, 2));

	note_leak("leak_session");
	s->rate = uniform(500, 3000) / length;
	s->lifetime = length * scaled(0.001, 0.015);
	s->share = uniform(0.05, 0.2);
}

static void kind_two(void)
{
	add_leak("leak_first", part_of_traffic(0.01), 1);
	add_leak("leak_second", part_of_traffic(0.005), 1);
}

static void kind_slow_start(void)
{
	struct site *s = add_leak("leak_slow_start", part_of_traffic(0.015), 1);

	s->ramp = length * uniform(0.2, 0.8);
}

static void kind_batches(void)
{
	struct site *s = add_leak("leak_batches", part_of_traffic(0.01), 1);

	s->batch = s->rate * length / uniform(16, 40);
	s->rate /= s->batch;
}

static void kind_pool(void)
{
	add_leak("leak_task", part_of_traffic(0.01), 3);
}

static void kind_nothing(void)
{
	add_distraction();
	add_distraction();
}

static void kind_cache(void)
{
	add_cache(uniform(0.15, 0.6), whole(0, 1));
}

static const struct {
	const char *name;
	void (*add)(void);
	const char *wrapper;
	bool is_tiny;
} kinds[] = {
	{"steady leak at 1 % of traffic", kind_steady, NULL, false},
	{"cache that fills", kind_cache, NULL, false},
	{"sawtooth", add_tooth, NULL, false},
	{"leak behind a shared wrapper", kind_steady, "buffer_alloc", false},
	{"leak in a thread pool", kind_pool, "pool_refill", false},
	{"16 bytes/s under 100,000 allocations/s", NULL, NULL, true},
	{"daily rhythm", add_rhythm, NULL, false},
	{"slow start of a leak", kind_slow_start, NULL, false},
	{"leak that begins half way", kind_late, NULL, false},
	{"burst, then flat", add_burst, NULL, false},
	{"queue that grows, but is bounded", add_queue, NULL, false},
	{"start, then flat", add_start, NULL, false},
	{"start, then a leak", kind_after_start, NULL, false},
	{"leak from many places", kind_scattered, NULL, false},
	{"leak of some blocks of a busy place", kind_forgotten, NULL, false},
	{"leak in a rhythm", kind_in_rhythm, NULL, false},
	{"block that is always enlarged", kind_enlarged, NULL, false},
	{"table that is rebuilt larger each time", kind_rebuilt, NULL, false},
	{"sessions, some of which stay", kind_some_sessions, NULL, false},
	{"two leaks", kind_two, "xnew", false},
	{"leak in batches", kind_batches, NULL, false},
	{"warm cache", add_warm_cache, NULL, false},
	{"one part after the other", add_lazy, "buffer_alloc", false},
	{"connections", add_sessions, NULL, false},
	{"random walk", add_walk, NULL, false},
	{"snapshots", add_snapshot, NULL, false},
	{"nothing but distractions", kind_nothing, "xnew", false},
};

/* At 100,000 allocations a second one block of 16 bytes in a second stays. */
static void add_tiny(void)
{
	struct site *s;

	length = uniform(10, 13);
	add_busy(100000 * length, whole(4, 12));
	s = add_leak("leak_tiny", length, 1);
	s->size_low = s->size_high = 16;
	s->is_regular = true;
}

static void put_world(void)
{
	uint64_t end = START_NS + (uint64_t)(length * 1e9);

	store_writer_put_text(writer, "command", "[\"server\"]");
	store_writer_put_text(writer, "engine", "streams");
	store_writer_put_number(writer, "pid", 4242);
	store_writer_put_number(writer, "start_realtime_ns", 4000000000000000000);
	store_writer_put_number(writer, "start_ns", (int64_t)START_NS);
	store_writer_put_number(writer, "end_ns", (int64_t)end);
	store_writer_put_number(writer, "exited", 0);
	store_writer_put_process(writer, &(struct process_record){.id = 1, .pid = 4242,
								  .command = "[\"server\"]",
								  .start_ns = START_NS});
	store_writer_put_space(writer, &(struct space_record){.id = {1}, .process = 1,
							      .executable = "/usr/bin/server",
							      .start_ns = START_NS,
							      .end_ns = end, .end = "detach"});
	for (uint32_t i = 1; i <= THREADS; i++)
		store_writer_put_thread(writer, &(struct thread_record){.id = {i}, .process = 1,
									.tid = 4241 + (int)i,
									.start_ns = START_NS});
	store_writer_put_family(writer, &(struct family_record){1, "libc malloc", "heap"});
	store_writer_put_module(writer, &(struct module_record){{1}, "/usr/bin/server", NULL});
}

static int write_stream(const char *folder, uint64_t seed, int number)
{
	size_t kind = (size_t)number % COUNT_OF(kinds);
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	char *path = xasprintf("%s/%02d.trail", folder, number);
	struct err err;
	int status;

	seed_chance(seed * 1000003 + (uint64_t)number);
	leaks[0] = '\0';
	if (number >= 2 * (int)COUNT_OF(kinds)) /* the rest by chance, but none that takes long */
		do
			kind = next_random() % COUNT_OF(kinds);
		while (kinds[kind].is_tiny);
	if (store_writer_create(path, &o, &writer, &err)) {
		fprintf(stderr, "streams: %s\n", err.what);
		free(path);
		return 1;
	}
	wrapper = kinds[kind].wrapper;
	begin_program();
	if (kinds[kind].is_tiny) {
		add_tiny();
	} else {
		length = scaled(5, 7200);
		add_busy(uniform(8000, 25000), whole(4, 24));
		kinds[kind].add();
		for (int i = whole(0, 3); i > 0; i--)
			add_distraction();
	}
	put_world();
	simulate();
	store_writer_seal(writer);
	status = store_writer_close(writer, &err);
	if (status)
		fprintf(stderr, "streams: %s\n", err.what);
	printf("%02d.trail\t%s\t%s\n", number, kinds[kind].name, leaks);
	forget_simulation();
	free(path);
	return status != 0;
}

int main(int argc, char **argv)
{
	int n = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 60;

	if (argc < 3) {
		fprintf(stderr, "streams: FOLDER SEED [N]\n");
		return 2;
	}
	for (int i = 0; i < n; i++)
		if (write_stream(argv[1], strtoull(argv[2], NULL, 0), i))
			return 1;
	return 0;
}
