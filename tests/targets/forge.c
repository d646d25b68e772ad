/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests: writes a recording of a program that never ran, whose stacks are
 * of all kinds.  forge KIND FILE, KIND being one of
 *
 * stacks   complete ones, recursive ones, long and truncated ones
 * callers  of each stack only the caller
 * hostile  what no recorder writes: circles, stacks that are not there, evil names
 * odd      200,000 events of all kinds and classes, in three spaces, with checkpoints;
 *          HEAPTRAIL_SEED says which, HEAPTRAIL_EVENTS how many
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/checkpoint.h"
#include "common/xalloc.h"
#include "store/writer.h"

enum { PROGRAM = 1, LIBRARY, LIBC, PLUGIN, MODULES };

static struct store_writer *writer;
static uint32_t n_frames, n_stacks, n_blocks;

/* A frame; @function NULL: without a name. */
static uint32_t frame(uint32_t module, const char *function)
{
	struct frame_id id = {++n_frames};

	store_writer_put_frame(writer, id, (struct module_id){module}, 0x1000 + 16 * n_frames);
	if (function)
		store_writer_put_symbol(
			writer, &(struct symbol_record){.frame = id, .function = function});
	return id.v;
}

/* @frame called from the stack @parent. */
static uint32_t push(uint32_t parent, uint32_t frame, enum stack_end end)
{
	store_writer_put_stack(writer, (struct stack_id){++n_stacks}, (struct stack_id){parent},
			       (struct frame_id){frame}, end);
	return n_stacks;
}

/* What every stack of a main thread begins with. */
static uint32_t begin(enum stack_end end)
{
	uint32_t s = push(0, frame(PROGRAM, "_start"), end);

	s = push(s, frame(LIBC, "__libc_start_main_impl"), end);
	s = push(s, frame(LIBC, "__libc_start_call_main"), end);
	return push(s, frame(PROGRAM, "main"), end);
}

static uint32_t call(uint32_t parent, const char *function, enum stack_end end)
{
	return push(parent, frame(PROGRAM, function), end);
}

static void event(uint8_t kind, uint32_t stack, uint64_t size, uint32_t slot)
{
	static uint64_t t_ns = 1000000000;

	t_ns += 1000000;
	store_writer_put_event(writer, (struct space_id){1},
			       &(struct event){.kind = kind,
					       .family = 1,
					       .thread = {1},
					       .stack = {stack},
					       .slot = slot,
					       .t_ns = t_ns,
					       .address = 0x10000 + 64 * (uint64_t)slot,
					       .size = size,
					       .usable = USABLE_UNKNOWN});
}

/* @n blocks of @size bytes. */
static void allocate(uint32_t stack, unsigned int n, uint64_t size)
{
	while (n--)
		event(EVENT_ALLOC, stack, size, n_blocks++);
}

static void put_complete_stacks(void)
{
	uint32_t s = begin(STACK_COMPLETE), parse, eval, apply;

	/* the same functions by other return addresses: one row */
	parse = call(s, "parse_file(std::string const&)", STACK_COMPLETE);
	allocate(push(parse, frame(LIBRARY, "arena_grow"), STACK_COMPLETE), 100, 4096);
	allocate(push(parse, frame(LIBRARY, "arena_grow"), STACK_COMPLETE), 50, 4096);
	/* without names other addresses are other places: two rows */
	allocate(push(parse, frame(PLUGIN, NULL), STACK_COMPLETE), 3, 5000);
	allocate(push(parse, frame(PLUGIN, NULL), STACK_COMPLETE), 2, 5000);
	/* a stack that others grow from is one, too */
	allocate(parse, 1, 77);
	for (int i = 0; i < 60; i++)
		parse = call(parse, "walk_directory", STACK_COMPLETE);
	allocate(call(parse, "remember_name", STACK_COMPLETE), 1000, 24);
	for (int i = 0; i < 20; i++) {
		apply = call(s, "apply", STACK_COMPLETE);
		s = eval = call(apply, "eval", STACK_COMPLETE);
	}
	allocate(push(eval, frame(LIBC, "cons"), STACK_COMPLETE), 500, 16);
}

static void put_long_stacks(void)
{
	static const char name[] = "std::_Rb_tree<std::string, std::pair<std::string const, "
				   "std::vector<int> >, std::less<std::string> >::_M_insert_%d";
	uint32_t s = begin(STACK_COMPLETE);
	char text[200];

	for (int i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), i % 7 == 3 ? name : "layer_%d", i);
		s = push(s, frame(i % 5 ? LIBRARY : PROGRAM, text), STACK_COMPLETE);
	}
	allocate(s, 10, 100000);
}

static void put_truncated_stacks(void)
{
	uint32_t s = 0;
	char text[32];

	for (int i = 0; i < 127; i++) {
		snprintf(text, sizeof(text), "descend_%d", i);
		s = push(s, frame(LIBRARY, text), STACK_TOO_DEEP);
	}
	allocate(s, 200, 300);
	s = push(0, frame(PLUGIN, NULL), STACK_NO_UNWIND_INFO);
	allocate(push(s, frame(LIBRARY, "callback"), STACK_NO_UNWIND_INFO), 13, 2048);
	allocate(push(0, frame(0, NULL), STACK_NOT_READY), 1, 10);
	/* reads like a complete one, but is none */
	s = push(0, frame(PROGRAM, "main"), STACK_UNREADABLE);
	allocate(push(s, frame(LIBRARY, "arena_grow"), STACK_UNREADABLE), 2, 64);
}

static void put_callers(void)
{
	allocate(push(0, frame(LIBRARY, "arena_grow"), STACK_CALLER), 150, 4096);
	allocate(push(0, frame(PROGRAM, "remember_name"), STACK_CALLER), 1000, 24);
	allocate(push(0, frame(PLUGIN, NULL), STACK_CALLER), 5, 5000);
}

static void put_stack_as(uint32_t id, uint32_t parent, uint32_t frame, unsigned int end)
{
	store_writer_put_stack(writer, (struct stack_id){id}, (struct stack_id){parent},
			       (struct frame_id){frame}, (enum stack_end)end);
}

static void put_hostile(void)
{
	uint32_t a = frame(PROGRAM, "round"), b = frame(PROGRAM, "and_round");
	uint32_t evil = frame(PROGRAM, "evil\033]0;pwned\007;\"quoted\"\n\xff" "end");

	put_stack_as(1, 2, a, 0); /* a circle */
	put_stack_as(2, 1, b, 0);
	put_stack_as(3, 3, a, 0);	   /* its own caller */
	put_stack_as(4, 4000000000, a, 0); /* a caller that is not there */
	put_stack_as(5, 9, a, 0);	   /* nor is this one: a gap */
	put_stack_as(6, 0, evil, 0);
	put_stack_as(7, 0, 4000000000, 0); /* a frame that is not there */
	put_stack_as(8, 0, a, 200);	   /* a reason that nobody knows */
	put_stack_as(10, 0, 0, 0);	   /* no frame */
	for (uint32_t id = 0; id <= 11; id++)
		allocate(id, 1 + id, 100);
	allocate(4294967295u, 20, 100);
	n_stacks = 11;
	for (uint32_t i = 0, s = 0; i < 3000; i++) {
		s = push(s, i % 2 ? a : b, STACK_COMPLETE);
		if (i == 1023 || i == 1024 || i == 2999)
			allocate(s, 1, 50);
	}
}

/* ---- odd events ----------------------------------------------------------------------- */

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_u64(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
	return random_u64() % n;
}

/* What the recorder knows of its own events. */
static struct {
	struct replay heap;
	struct totals totals;
	uint32_t *live, n_live; /* slots */
	uint64_t t_ns;
} odd;

static uint64_t odd_address(void)
{
	switch (below(9)) {
	case 0:
		return random_u64();
	case 1:
		return below(1 << 20);
	default: /* such as come again */
		return 0x7f0000000000 + below(64) * 16;
	}
}

static void make_odd(struct event *e)
{
	uint32_t stack = (uint32_t)(below(30) ? below(40) : below(9) ? below(9000) : random_u64());

	*e = (struct event){.family = (uint8_t)(below(20) ? 1 + below(3) : below(256)),
			    .thread = {(uint32_t)(below(3) ? 1 : 1 + below(12))},
			    .stack = {stack},
			    .t_ns = odd.t_ns += below(9) ? below(3) * 500 : random_u64() >> 30};
	if (odd.n_live && below(100) < 48) {
		uint64_t newest = below(odd.n_live < 20 ? odd.n_live : 20);
		uint32_t *at = &odd.live[below(2) ? below(odd.n_live) : odd.n_live - 1 - newest];

		e->slot = *at;
		e->kind = below(5) ? EVENT_FREE : EVENT_REALLOC;
		if (e->kind == EVENT_FREE) {
			e->free_class = below(9) ? FREE_OF_BLOCK : FREE_IMPLIED;
			*at = odd.live[--odd.n_live];
		}
	} else if (!below(20)) {
		e->kind = EVENT_FREE;
		e->free_class = (uint8_t)(FREE_UNKNOWN + below(3));
	} else if (!below(40)) {
		e->kind = EVENT_IN_POOL;
	}
	if (event_allocates(e)) {
		e->size = below(20) ? below(3) * 16 : below(5) ? below(5000) : random_u64() >> 20;
		e->usable = below(7) ? (e->size | 15) + 9 : below(2) ? USABLE_UNKNOWN : random_u64();
	}
	if (!event_frees(e) || e->kind == EVENT_REALLOC)
		e->address = odd_address();
}

static void put_state(uint64_t chunk)
{
	struct buffer b = {0};

	checkpoint_save_totals(&odd.totals, &b);
	store_writer_begin_checkpoint(writer, CHECKPOINT_TOTALS, chunk, odd.t_ns);
	store_writer_add_to_checkpoint(writer, b.data, b.len);
	store_writer_end_checkpoint(writer);
	store_writer_begin_checkpoint(writer, CHECKPOINT_HEAP, chunk, odd.t_ns);
	checkpoint_save_heap(&odd.heap, store_writer_add_to_checkpoint, writer);
	store_writer_end_checkpoint(writer);
	buffer_release(&b);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void put_odd(void)
{
	uint64_t n = setting("HEAPTRAIL_EVENTS", 200000), space_events = n / 3 + n / 10;
	struct space_id space = {0};
	struct replay_step step;
	struct err err;

	random_state = setting("HEAPTRAIL_SEED", 1);
	odd.live = xcalloc(n, sizeof(*odd.live));
	odd.t_ns = 1000000000;
	totals_init(&odd.totals, GROUPS_ALL, 0);
	for (uint64_t i = 0; i < n; i++) {
		struct event e;
		uint64_t full;

		if (i % space_events == 0) {
			if (space.v++) {
				put_state(store_writer_sizes(writer).last_chunk);
				store_writer_put_space(writer, &(struct space_record){
					.id = space, .process = 1, .start_ns = odd.t_ns});
			}
			totals_begin_space(&odd.totals);
			replay_begin_space(&odd.heap, space);
			odd.n_live = 0;
		}
		make_odd(&e);
		if (replay_feed(&odd.heap, &e, &step, &err))
			abort();
		totals_count(&odd.totals, &e, &step);
		if (e.kind == EVENT_ALLOC)
			odd.live[odd.n_live++] = e.slot = step.slot;
		full = store_writer_put_event(writer, space, &e);
		if (full)
			put_state(full);
	}
	put_state(store_writer_sizes(writer).last_chunk);
	totals_release(&odd.totals);
	replay_release(&odd.heap);
	free(odd.live);
}

static void put_world(const char *stack_mode)
{
	static const char *const paths[] = {
		[PROGRAM] = "/usr/bin/forged", [LIBRARY] = "/usr/lib/libarena.so.1.2.3",
		[LIBC] = "/usr/lib/libc.so.6", [PLUGIN] = "/opt/vendor/plugin.so"};

	store_writer_put_text(writer, "command", "[\"forged\",\"--all\"]");
	store_writer_put_text(writer, "engine", "forge");
	store_writer_put_text(writer, "stack_mode", stack_mode);
	store_writer_put_number(writer, "pid", 4242);
	store_writer_put_number(writer, "start_realtime_ns", 1800000000000000000);
	store_writer_put_number(writer, "start_ns", 1000000000);
	store_writer_put_number(writer, "end_ns", 4000000000);
	store_writer_put_number(writer, "exited", 1);
	store_writer_put_process(writer, &(struct process_record){.id = 1,
								  .pid = 4242,
								  .command = "[\"forged\"]",
								  .start_ns = 1000000000,
								  .end_ns = 4000000000,
								  .ended = true});
	store_writer_put_space(writer, &(struct space_record){.id = {1},
							      .process = 1,
							      .executable = paths[PROGRAM],
							      .start_ns = 1000000000,
							      .end_ns = 4000000000,
							      .end = "exit"});
	store_writer_put_thread(writer, &(struct thread_record){.id = {1},
								.process = 1,
								.tid = 4242,
								.name = "forged",
								.start_ns = 1000000000});
	store_writer_put_family(writer, &(struct family_record){1, "libc malloc", "heap"});
	for (uint32_t i = 1; i < MODULES; i++)
		store_writer_put_module(writer, &(struct module_record){{i}, paths[i], NULL});
}

int main(int argc, char **argv)
{
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	const char *kind = argc == 3 ? argv[1] : "";
	struct err err;

	if (argc != 3 || store_writer_create(argv[2], &o, &writer, &err)) {
		fprintf(stderr, "forge: %s\n", argc == 3 ? err.what : "KIND FILE");
		return 1;
	}
	put_world(strcmp(kind, "callers") ? "unwind" : "caller");
	if (!strcmp(kind, "stacks")) {
		put_complete_stacks();
		put_long_stacks();
		put_truncated_stacks();
	} else if (!strcmp(kind, "callers")) {
		put_callers();
	} else if (!strcmp(kind, "odd")) {
		put_odd();
	} else {
		put_hostile();
	}
	for (uint32_t i = 0; i < n_blocks; i += 3)
		event(EVENT_FREE, 0, 0, i);
	store_writer_seal(writer);
	if (store_writer_close(writer, &err)) {
		fprintf(stderr, "forge: %s\n", err.what);
		return 1;
	}
	return 0;
}
