/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the stacks that the probes send to those of the recording. */
#include "config.h"

#include <string.h>

#include "collector/drain.h"
#include "tests/unit/drain_fixture.h"
#include "tests/unit/tap.h"

enum { FRAMES = 4 };

static uint64_t next_address;

static uint16_t current_generation(void *arg)
{
	(void)arg;
	return generation;
}

static void begin_stacks(enum stack_mode mode)
{
	begin();
	next_address = 0x1000;
	drain_set_stacks(&drain, mode, current_generation, NULL);
}

/* As the ring carries it. */
static uint64_t id_of(uint64_t number)
{
	return number << 1 | 1;
}

static void feed_stack_of(uint64_t number, uint32_t n, uint16_t end, const uint64_t *frames, size_t len)
{
	struct ring_stack e = {.head = head(RING_STACK, 1), .id = id_of(number), .n = n, .end = end};

	for (uint32_t i = 0; i < n && i < RING_FRAMES_MAX; i++)
		e.frames[i] = frames[i % FRAMES];
	drain_feed(&drain, &e.head, len);
}

static void feed_stack(uint64_t number, uint32_t n, uint16_t end, const uint64_t *frames)
{
	feed_stack_of(number, n, end, frames, RING_STACK_BYTES(n));
}

static void feed_alloc_of(uint64_t stack, uint64_t return_address)
{
	struct ring_alloc e = {.head = head(RING_ALLOC, 1), .address = next_address += 64,
			       .size = 10, .size_word = 33, .caller = return_address, .stack = stack};

	drain_feed(&drain, &e.head, sizeof(e));
}

/* An alloc by the stack @number, which @return_address is the innermost frame of. */
static void feed_call(uint64_t number, uint64_t return_address)
{
	feed_alloc_of(id_of(number), return_address);
}

/* Is the stack of event @i of these frames' addresses (in no module), and does it end so? */
static bool is_stack(size_t i, const uint64_t *frames, size_t n, enum stack_end end)
{
	struct stack_id at = i < got.n ? got.events[i].stack : (struct stack_id){0};

	for (size_t k = 0; k < n; k++) {
		const struct catalog_stack *s = catalog_stack(&got.catalog, at);

		if (!at.v || s->end != end ||
		    catalog_frame(&got.catalog, s->frame)->offset != frames[k])
			return false;
		at = s->parent;
	}
	return !at.v;
}

static const struct catalog_frame *innermost(struct stack_id id)
{
	return catalog_frame(&got.catalog, catalog_stack(&got.catalog, id)->frame);
}

static const uint64_t frames[FRAMES] = {0x10, 0x20, 0x30, 0x40};

static void test_frames(void)
{
	static const uint64_t others[FRAMES] = {0x11, 0x20, 0x30, 0x40};
	static const struct {
		uint64_t sent;
		enum stack_end stored;
	} reasons[] = {{STACK_UNREADABLE, STACK_UNREADABLE},
		       {STACK_BROKEN, STACK_BROKEN},
		       {STACK_LOST, STACK_LOST},
		       {0, STACK_LOST},
		       {STACK_ENDS, STACK_LOST},
		       {UINT64_MAX >> 1, STACK_LOST}};

	begin_stacks(STACK_MODE_AUTO);
	feed_stack(77, FRAMES, STACK_COMPLETE, frames);
	feed_call(77, 0x10);
	feed_stack(77, FRAMES, STACK_COMPLETE, frames);
	feed_stack(78, FRAMES, STACK_COMPLETE, frames);
	feed_call(78, 0x10);
	feed_stack(79, FRAMES, STACK_COMPLETE, others);
	feed_call(79, 0x11);
	feed_stack(80, FRAMES, STACK_TOO_DEEP, frames);
	feed_call(80, 0x10);
	feed_stack(81, 3, STACK_BROKEN, frames);
	feed_call(81, 0x10);
	feed_call(82, 0x10);
	for (size_t i = 0; i < COUNT_OF(reasons); i++)
		feed_alloc_of(RING_NO_STACK(reasons[i].sent), 0x10);
	finish();
	ok(got.n == 6 + COUNT_OF(reasons) && is_stack(0, frames, FRAMES, STACK_COMPLETE),
	   "a stack's frames, innermost first");
	ok(got.events[1].stack.v == got.events[0].stack.v,
	   "one that is sent again, or by another id, is the same");
	ok(is_stack(2, others, FRAMES, STACK_COMPLETE) &&
		   catalog_stack(&got.catalog, got.events[2].stack)->parent.v ==
			   catalog_stack(&got.catalog, got.events[0].stack)->parent.v,
	   "stacks of the same callers share them");
	ok(is_stack(3, frames, FRAMES, STACK_TOO_DEEP) && is_stack(4, frames, 3, STACK_BROKEN),
	   "why it ends is part of it");
	ok(is_stack(5, frames, 1, STACK_LOST), "of a stack that did not come, the caller is known");
	for (size_t i = 0; i < COUNT_OF(reasons); i++)
		ok(is_stack(6 + i, frames, 1, reasons[i].stored),
		   "and of none that was sent for reason %llu",
		   (unsigned long long)reasons[i].sent);
}

static void test_modes(void)
{
	begin_stacks(STACK_MODE_CALLER);
	feed_call(0, 0x10);
	feed_call(5, 0x20);
	finish();
	ok(is_stack(0, frames, 1, STACK_CALLER) && is_stack(1, frames + 1, 1, STACK_CALLER),
	   "callers only");
	begin_stacks(STACK_MODE_NONE);
	feed_call(0, 0x10);
	finish();
	ok(got.n == 1 && !got.events[0].stack.v && got.catalog.n_stacks <= 1, "no stacks at all");
}

static void test_located(void)
{
	uint64_t located[FRAMES], offset;
	const struct catalog_frame *f;
	const struct process_map *map;

	begin_stacks(STACK_MODE_AUTO);
	call_sites_read_maps(&drain.sites, now_ns);
	map = process_maps_find(&drain.sites.maps, (uint64_t)(uintptr_t)&test_located);
	offset = (uint64_t)(uintptr_t)&test_located - map->start + map->offset;
	call_sites_set_file(&drain.sites, 9, map);
	located[0] = RING_FRAME_IN_FILE | 9ull << RING_FRAME_FILE_SHIFT | offset;
	located[1] = RING_FRAME_IN_NO_FILE | 0x7f0000001234;
	located[2] = RING_FRAME_IN_FILE | 4000ull << RING_FRAME_FILE_SHIFT | 0x55;
	located[3] = (uint64_t)(uintptr_t)&test_located;
	generation++; /* all of it is gone, for all that can be known */
	process_maps_release(&drain.sites.maps);
	feed_stack(1, FRAMES, STACK_COMPLETE, located);
	feed_call(1, 0x10);
	finish();
	f = innermost(got.events[0].stack);
	ok(f->module.v && strstr(catalog_module_path(&got.catalog, f->module), "test_stack_events"),
	   "a frame that tells its file");
	f = innermost(catalog_stack(&got.catalog, got.events[0].stack)->parent);
	ok(f->module.v && !strcmp(catalog_module_path(&got.catalog, f->module), "[anonymous]") &&
		   f->offset == 0x7f0000001234,
	   "one that is in none");
	f = catalog_frame(&got.catalog, (struct frame_id){2});
	ok(!f->module.v && f->offset == 0x55, "a file that nobody knows is none");
	f = catalog_frame(&got.catalog, (struct frame_id){1});
	ok(!f->module.v && f->offset == located[3], "where an address alone would be in none");
}

/* Later marks and events find the mappings changed; earlier ones must not be misunderstood. */
static void test_generations(void)
{
	uint64_t here = (uint64_t)(uintptr_t)&test_generations;
	const struct catalog_frame *f[3];

	begin_stacks(STACK_MODE_CALLER);
	call_sites_read_maps(&drain.sites, now_ns);
	generation = 3;
	call_sites_begin_recording(&drain.sites);
	process_maps_release(&drain.sites.maps); /* as if this program had been loaded just now */
	call_sites_read_maps(&drain.sites, now_ns);
	feed_call(0, here);
	generation = 1;
	feed_call(0, here + 1);
	generation = 3;
	feed_call(0, here + 2);
	finish();
	for (int i = 0; i < 3; i++)
		f[i] = innermost(got.events[i].stack);
	ok(f[0]->module.v && f[2]->module.v == f[0]->module.v && f[2]->offset == f[0]->offset + 2,
	   "an address of the same generation as the mappings");
	ok(!f[1]->module.v && f[1]->offset == here + 1,
	   "of a file that came since, an earlier address is in no module that could be told");
}

static void test_forgetting(void)
{
	uint64_t many[FRAMES] = {0x1000};

	begin_stacks(STACK_MODE_AUTO);
	feed_stack(1, FRAMES, STACK_COMPLETE, frames);
	for (uint64_t i = 0; i < 70000; i++) {
		many[0] = i << 4;
		feed_stack(100 + i, 1, STACK_COMPLETE, many);
	}
	feed_mark(RING_MAPS);
	feed_call(1, 0x10); /* nothing has changed */
	generation = 1;
	feed_mark(RING_MAPS);
	feed_call(1, 0x10); /* a call that was under way */
	for (uint64_t i = 0; i < 70000; i++)
		feed_stack(100000 + i, 1, STACK_COMPLETE, many);
	generation = 2;
	feed_mark(RING_MAPS);
	feed_call(1, 0x10);
	ok(drain.stacks.n + drain.older_stacks.n < 150000,
	   "stacks of code that is gone are forgotten");
	finish();
	ok(is_stack(0, frames, FRAMES, STACK_COMPLETE) &&
		   is_stack(1, frames, FRAMES, STACK_COMPLETE),
	   "not those of calls under way");
	ok(is_stack(2, frames, 1, STACK_LOST), "but later they are");
	begin_stacks(STACK_MODE_AUTO);
	feed_stack(1, FRAMES, STACK_COMPLETE, frames);
	feed_mark(RING_EXEC);
	feed_call(1, 0x10);
	finish();
	ok(is_stack(0, frames, 1, STACK_LOST), "an exec ends all stacks");
}

static void test_malformed(void)
{
	begin_stacks(STACK_MODE_AUTO);
	feed_stack_of(1, 0, STACK_COMPLETE, frames, RING_STACK_BYTES(1));
	feed_stack_of(2, 2, STACK_COMPLETE, frames, RING_STACK_BYTES(2) - 1);
	feed_stack_of(3, RING_FRAMES_MAX + 1, STACK_COMPLETE, frames,
		      RING_STACK_BYTES(RING_FRAMES_MAX + 1));
	feed_stack_of(4, 1, STACK_ENDS, frames, RING_STACK_BYTES(1));
	feed_stack_of(5, UINT32_MAX, STACK_COMPLETE, frames, sizeof(struct ring_stack));
	ok(drain.counts.malformed == 5, "malformed stacks are counted: %d",
	   (int)drain.counts.malformed);
	feed_stack(6, RING_FRAMES_MAX, STACK_TOO_DEEP, frames);
	ok(drain.counts.malformed == 5 && drain.stacks.n == 1, "the longest is not malformed");
	finish();
}

int main(void)
{
	set_up("stack_events");
	test_frames();
	test_modes();
	test_located();
	test_generations();
	test_forgetting();
	test_malformed();
	return tear_down() ? done() : 1;
}
