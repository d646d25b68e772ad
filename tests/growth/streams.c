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

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "store/slots.h"
#include "store/writer.h"

#define START_NS 5000000000ull
#define SITES_MAX 64
#define STACKS_MAX 40
#define THREADS 4

/* ---- chance --------------------------------------------------------------------------------- */

static uint64_t state;

static uint64_t next_random(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static double uniform(double from, double to)
{
	return from + (to - from) * ((double)(next_random() >> 11) * 0x1p-53);
}

/* Each factor between is as likely. */
static double scaled(double from, double to)
{
	return from * pow(to / from, uniform(0, 1));
}

static double exponential(double mean)
{
	return -mean * log(1 - uniform(0, 1));
}

static int whole(int from, int to)
{
	return from + (int)(next_random() % (uint64_t)(to - from + 1));
}

/* ---- places that allocate ------------------------------------------------------------------- */

enum fate {
	FATE_FREED,    /* after a time; some (@share) never */
	FATE_CACHED,   /* up to @most; then one goes for each that comes, or none comes */
	FATE_TOOTH,    /* up to @most, then nearly all go */
	FATE_QUEUED,   /* the oldest goes, less often than one comes, up to @most */
	FATE_WALK,     /* as likely one comes as one goes, between 0 and @most */
	FATE_REPLACED, /* @most at once, in the place of those before; @more each time */
	FATE_ENLARGED, /* one block, by realloc */
};

struct site {
	uint32_t stacks[STACKS_MAX];
	int n_stacks;
	enum fate fate;
	double rate;	   /* a second */
	double from, until; /* seconds in which it does anything */
	double ramp;	   /* it takes so many to come to its rate */
	double period, depth, phase; /* its rate has a rhythm, from 1 - depth to 1 */
	double lifetime;   /* the mean, in seconds */
	double share;	   /* of blocks that are never freed; of a queue: that go */
	double batch;	   /* so many come at once */
	bool is_regular;   /* by a timer, rather than by chance */
	size_t most, more;
	bool is_replacing; /* a cache that is full goes on */
	double size_low, size_high;
	uint32_t *kept; /* slots, the oldest first */
	size_t n_kept, cap_kept, first_kept;
};

static struct site sites[SITES_MAX];
static size_t n_sites;
static double length; /* seconds */

/* ---- the recording -------------------------------------------------------------------------- */

static struct store_writer *writer;
static uint32_t n_frames, n_stacks;
static struct hashmap frames; /* of a function's name */
static struct slots slots;
static uint64_t *sizes; /* [slot] */
static size_t cap_sizes;
static uint64_t now_ns;

/* Each function has one frame. */
static uint32_t frame(const char *function)
{
	uint32_t *place = hashmap_put(&frames, hash_bytes(function, strlen(function)));

	if (*place != HASHMAP_NONE)
		return *place;
	*place = ++n_frames;
	store_writer_put_frame(writer, (struct frame_id){*place}, (struct module_id){1},
			       0x1000 + 16 * n_frames);
	store_writer_put_symbol(writer, &(struct symbol_record){.frame = {*place},
								.function = function,
								.file = "server.c",
								.line = n_frames});
	return *place;
}

static uint32_t call(uint32_t parent, const char *function)
{
	store_writer_put_stack(writer, (struct stack_id){++n_stacks}, (struct stack_id){parent},
			       (struct frame_id){frame(function)}, STACK_COMPLETE);
	return n_stacks;
}

static uint32_t allocate(const struct site *s)
{
	uint32_t slot = slots_take(&slots), stack = s->stacks[whole(0, s->n_stacks - 1)];

	ARRAY_GROW(sizes, cap_sizes, slot);
	sizes[slot] = (uint64_t)scaled(s->size_low, s->size_high);
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_ALLOC,
					       .family = 1,
					       .thread = {(uint32_t)whole(1, THREADS)},
					       .stack = {stack},
					       .slot = slot,
					       .t_ns = now_ns,
					       .address = 0x550000000000 + 4096 * (uint64_t)slot,
					       .size = sizes[slot],
					       .usable = USABLE_UNKNOWN});
	return slot;
}

static void release(uint32_t slot)
{
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_FREE,
					       .family = 1,
					       .thread = {(uint32_t)whole(1, THREADS)},
					       .slot = slot,
					       .t_ns = now_ns});
	slots_give(&slots, slot);
}

static void enlarge(const struct site *s, uint32_t slot)
{
	sizes[slot] += (uint64_t)scaled(s->size_low, s->size_high);
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = EVENT_REALLOC,
					       .family = 1,
					       .thread = {1},
					       .stack = {s->stacks[0]},
					       .slot = slot,
					       .t_ns = now_ns,
					       .address = 0x550000000000 + 4096 * (uint64_t)slot,
					       .size = sizes[slot],
					       .usable = USABLE_UNKNOWN});
}

/* ---- what comes next ------------------------------------------------------------------------ */

/* A heap of moments: of blocks to be freed, and of sites that may allocate. */
struct moment {
	uint64_t t_ns;
	uint32_t what;
	bool is_site;
};

static struct moment *moments;
static size_t n_moments, cap_moments;

static void put_moment(double after, bool is_site, uint32_t what)
{
	struct moment m = {now_ns + (uint64_t)(after * 1e9) + 1, what, is_site};
	size_t i = n_moments++, up;

	ARRAY_GROW(moments, cap_moments, i);
	for (; i && moments[up = (i - 1) / 2].t_ns > m.t_ns; i = up)
		moments[i] = moments[up];
	moments[i] = m;
}

static struct moment take_moment(void)
{
	struct moment ret = moments[0], last = moments[--n_moments];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < n_moments) {
		down += down + 1 < n_moments && moments[down + 1].t_ns < moments[down].t_ns;
		if (moments[down].t_ns >= last.t_ns)
			break;
		moments[i] = moments[down];
		i = down;
	}
	if (n_moments)
		moments[i] = last;
	return ret;
}

static void keep(struct site *s, uint32_t slot)
{
	ARRAY_GROW(s->kept, s->cap_kept, s->first_kept + s->n_kept);
	s->kept[s->first_kept + s->n_kept++] = slot;
}

/* The oldest, or any, goes. */
static void drop(struct site *s, bool any)
{
	size_t i = s->first_kept + (any ? (size_t)whole(0, (int)s->n_kept - 1) : 0);
	uint32_t slot = s->kept[i];

	s->kept[i] = s->kept[s->first_kept++];
	s->n_kept--;
	release(slot);
}

static void drop_down_to(struct site *s, size_t n)
{
	while (s->n_kept > n)
		drop(s, false);
}

static void come(struct site *s)
{
	size_t before = s->n_kept;

	switch (s->fate) {
	case FATE_FREED: {
		uint32_t slot = allocate(s);

		if (uniform(0, 1) >= s->share)
			put_moment(exponential(s->lifetime), false, slot);
		return;
	}
	case FATE_CACHED:
		if (s->n_kept >= s->most) {
			if (!s->is_replacing)
				return;
			drop(s, true);
		}
		keep(s, allocate(s));
		return;
	case FATE_TOOTH:
		keep(s, allocate(s));
		if (s->n_kept >= s->most)
			drop_down_to(s, (size_t)((double)s->most * s->share));
		return;
	case FATE_QUEUED:
		keep(s, allocate(s));
		if (s->n_kept > s->most || uniform(0, 1) < s->share)
			drop(s, false);
		return;
	case FATE_WALK:
		if (s->n_kept && (s->n_kept >= s->most || uniform(0, 1) < 0.5))
			drop(s, false);
		else
			keep(s, allocate(s));
		return;
	case FATE_REPLACED:
		for (size_t i = 0; i < s->most; i++)
			keep(s, allocate(s));
		for (size_t i = 0; i < before; i++)
			drop(s, false);
		s->most += s->more;
		return;
	case FATE_ENLARGED:
		if (s->n_kept)
			enlarge(s, s->kept[s->first_kept]);
		else
			keep(s, allocate(s));
		return;
	}
}

/* How likely it does something when it may. */
static double rate_now(const struct site *s)
{
	double t = (double)(now_ns - START_NS) / 1e9, rate = 1;

	if (t < s->from || t > s->until)
		return 0;
	if (s->ramp > 0 && t - s->from < s->ramp)
		rate = (t - s->from) / s->ramp;
	if (s->period > 0)
		rate *= 1 - s->depth * (1 + sin(6.28318 * (t / s->period + s->phase))) / 2;
	return rate;
}

static void simulate(void)
{
	uint64_t end = START_NS + (uint64_t)(length * 1e9);

	now_ns = START_NS;
	for (size_t i = 0; i < n_sites; i++)
		put_moment(exponential(1 / sites[i].rate), true, (uint32_t)i);
	while (n_moments && moments[0].t_ns < end) {
		struct moment m = take_moment();
		struct site *s = &sites[m.what];

		now_ns = m.t_ns;
		if (!m.is_site) {
			release(m.what);
			continue;
		}
		if (uniform(0, 1) < rate_now(s))
			for (double n = s->batch; n >= 1; n--)
				come(s);
		put_moment(s->is_regular ? uniform(0.3, 1.7) / s->rate : exponential(1 / s->rate),
			   true, m.what);
	}
}

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

static void forget(void)
{
	for (size_t i = 0; i < n_sites; i++)
		free(sites[i].kept);
	free(moments);
	free(sizes);
	hashmap_release(&frames);
	memset(&frames, 0, sizeof(frames));
	slots_release(&slots);
	memset(&slots, 0, sizeof(slots));
	moments = NULL;
	sizes = NULL;
	n_sites = n_moments = cap_moments = cap_sizes = 0;
	n_frames = n_stacks = 0;
	leaks[0] = '\0';
}

static int write_stream(const char *folder, uint64_t seed, int number)
{
	size_t kind = (size_t)number % COUNT_OF(kinds);
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	char *path = xasprintf("%s/%02d.trail", folder, number);
	struct err err;
	int status;

	state = seed * 1000003 + (uint64_t)number;
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
	forget();
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
