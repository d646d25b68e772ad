/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moments of a recording, finished and growing, against a heap that the test keeps itself. */
#include "config.h"
#include "analyzer/history.h"

#include <fcntl.h>

#include "analyzer/call_tree.h"
#include "store/slots.h"
#include "tests/unit/stream_fixture.h"

#define EVENTS 150000 /* more than two chunks */
#define SLICE 1000000ull

struct known {
	uint64_t t_ns, freed_ns, size;
	uint32_t stack;
	uint8_t family;
};

#define POOLS 40 /* the family of another layer than the heap's */

static struct known *known; /* every block there ever was */
static size_t n_known;
static uint32_t *block_of_slot; /* [slot] place in known */
static size_t cap_block_of_slot;
static struct slots slots;
static uint64_t now_ns;
static uint32_t live[1 << 17];
static bool has_layers;
static size_t n_live;
static bool without_blocks; /* by the index of moments */
static uint8_t family = 1;  /* whose blocks are shown */

static void put_random_event(struct store_writer *w)
{
	struct event e = {.thread = {1 + random_below(3)}, .family = 1};

	now_ns += random_below(3) * 1000; /* some at the same time */
	e.t_ns = now_ns;
	if (n_live && random_below(100) < 45) {
		uint32_t place = random_below((uint32_t)n_live), slot = live[place];

		live[place] = live[--n_live];
		known[block_of_slot[slot]].freed_ns = now_ns;
		slots_give(&slots, slot);
		e.kind = EVENT_FREE;
		e.slot = slot;
		e.family = known[block_of_slot[slot]].family;
		if (e.family == POOLS && random_below(2))
			e.free_class = FREE_WITH_POOL;
	} else {
		uint32_t slot = slots_take(&slots);

		ARRAY_GROW(block_of_slot, cap_block_of_slot, slot);
		block_of_slot[slot] = (uint32_t)n_known;
		e.kind = EVENT_ALLOC;
		e.size = random_below(1000);
		e.stack.v = 1 + random_below(50);
		e.address = 0x1000 + 16 * (uint64_t)n_known;
		e.usable = USABLE_UNKNOWN;
		if (has_layers && random_below(3) == 0)
			e.family = POOLS;
		known[n_known++] =
			(struct known){now_ns, UINT64_MAX, e.size, e.stack.v, e.family};
		live[n_live++] = e.slot = slot;
	}
	store_writer_put_event(w, (struct space_id){1}, &e);
}

/* Until all is there. */
static int read_all(struct history *h)
{
	int r;

	do
		r = history_read(h, SLICE, &err);
	while (r == 1);
	return r;
}

/* Is what is shown what the test knows of that moment? */
static bool is_right(struct history *h, uint64_t since_ns, uint64_t at_ns)
{
	uint64_t calls = 0, bytes = 0, blocks = 0, of_stack = 0, sum = 0;
	struct analysis a;

	for (size_t i = 0; i < n_known; i++) {
		const struct known *k = &known[i];
		bool is_live = k->freed_ns > at_ns;

		if (k->t_ns < since_ns || k->t_ns > at_ns || k->family != family)
			continue;
		calls++;
		blocks += is_live;
		bytes += is_live ? k->size : 0;
		of_stack += is_live && k->stack == 7 ? k->size : 0;
	}
	history_analysis(h, GROUP_STACK, !without_blocks, &a);
	for (size_t i = 0; i < a.n_groups; i++) {
		sum += a.groups[i].totals.live_bytes;
		if (a.groups[i].key == 7)
			of_stack -= a.groups[i].totals.live_bytes;
	}
	if (a.totals.alloc_calls == calls && a.totals.live_bytes == bytes && sum == bytes &&
	    a.totals.live_blocks == blocks && !of_stack)
		return true;
	diag("at %" PRIu64 ": calls %" PRIu64 " not %" PRIu64 ", live %" PRIu64 " not %" PRIu64,
	     at_ns, a.totals.alloc_calls, calls, a.totals.live_bytes, bytes);
	return false;
}

/* Moments of all blocks, now and then with the blocks themselves. */
static bool by_index(struct history *h)
{
	size_t quick = 0;
	bool right = true;

	while (history_prepare(h, SLICE))
		;
	for (int i = 0; i < 40 && right; i++) {
		uint64_t at = random_below((uint32_t)now_ns);

		without_blocks = true;
		history_want_blocks(h, false);
		history_show(h, 0, at);
		/* at once, whatever time there is */
		quick += history_read(h, 0, &err) == 0 && history_progress(h) == 1;
		right = read_all(h) == 0 && is_right(h, 0, at);
		without_blocks = false;
		history_want_blocks(h, true);
		if (random_below(3))
			continue;
		right = right && history_progress(h) < 1 && read_all(h) == 0 &&
			is_right(h, 0, at) && history_progress(h) == 1;
	}
	return ok(quick == 40, "%zu moments at once", quick) && right;
}

/* What the stacks had at the last window's end that is before @at_ns, by what is known. */
static bool is_growth_right(struct history *h, uint64_t at_ns)
{
	uint64_t until_ns = 0, end_ns;
	const struct growth_windows *g = history_growth(h, &until_ns);
	double floors[48] = {0}, ends[48] = {0}, bytes = 0;
	struct growth_span span;

	if (!g || until_ns != at_ns)
		return false;
	span = growth_windows_span(g, history_first_ns(h), until_ns, COUNT_OF(ends));
	if (span.n < 5)
		return false;
	for (size_t i = 0; i < growth_windows_stacks(g); i++)
		growth_windows_add(g, i, &span, floors, ends);
	end_ns = span.start_ns + span.n * span.width_ns;
	for (size_t i = 0; i < n_known; i++)
		if (known[i].t_ns < end_ns && known[i].freed_ns >= end_ns)
			bytes += (double)known[i].size;
	if (bytes > ends[span.n - 1] || bytes < ends[span.n - 1])
		diag("at %" PRIu64 ": %g not %g", end_ns, ends[span.n - 1], bytes);
	return bytes <= ends[span.n - 1] && bytes >= ends[span.n - 1] &&
	       floors[span.n - 1] <= bytes;
}

/* All at once; at the end and at moments. */
static void by_windows(struct history *h)
{
	bool right;

	history_show_end(h);
	history_want_growth(h, true);
	right = read_all(h) == 0 && is_growth_right(h, now_ns);
	for (int i = 0; i < 20 && right; i++) {
		uint64_t at = now_ns / 4 + random_below((uint32_t)(now_ns / 2));

		history_show(h, 0, at);
		right = read_all(h) == 0 && is_growth_right(h, at);
	}
	ok(right, "what each stack had over time, up to 20 moments");
	history_want_growth(h, false);
}

static void test_moments(void)
{
	struct store_writer *w = create(in_folder("m.trail"), true);
	struct history *h;
	bool right = true;

	for (size_t i = 0; i < EVENTS; i++)
		put_random_event(w);
	store_writer_put_number(w, "start_ns", 1);
	store_writer_put_number(w, "end_ns", (int64_t)now_ns);
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0, "a recording of %d events", EVENTS);
	if (!ok(history_open(in_folder("m.trail"), &h, &err) == 0, "opens"))
		return;
	ok(history_progress(h) < 0.01 && !history_is_open_ended(h), "nothing has been read");
	ok(history_read(h, 0, &err) == 1 && read_all(h) == 0 && history_progress(h) == 1,
	   "it is read in slices");
	ok(is_right(h, 0, now_ns), "the end");
	ok(history_read(h, SLICE, &err) == 0, "and then there is nothing more to read");
	for (int i = 0; i < 40 && right; i++) {
		uint64_t since = i % 2 ? random_below((uint32_t)now_ns) : 0;
		uint64_t at = since + random_below((uint32_t)(now_ns - since));

		history_show(h, since, at);
		right = read_all(h) == 0 && history_now_ns(h) == at && is_right(h, since, at);
	}
	ok(right, "40 moments, of all blocks and of those since another");
	right = by_index(h);
	ok(right, "40 moments by the index, and the blocks when they are wanted");
	by_windows(h);
	history_show(h, 0, 0);
	ok(read_all(h) == 0 && is_right(h, 0, 0), "before the first event");
	for (uint64_t t = 0; t < now_ns && right; t += now_ns / 50) { /* on and on */
		history_show(h, 0, t);
		right = read_all(h) == 0 && is_right(h, 0, t);
	}
	ok(right, "one moment after the other");
	history_show_end(h);
	ok(history_shows_end(h) && is_right(h, 0, now_ns), "back at the end at once");
	history_close(h);
	history_close(NULL);
}

static void put_frame(struct store_writer *w, uint32_t id, const char *name)
{
	store_writer_put_frame(w, (struct frame_id){id}, (struct module_id){1}, 16 * id);
	if (name)
		store_writer_put_symbol(w, &(struct symbol_record){.frame = {id}, .function = name});
}

/* What grows until a moment of the past: drawn again where there is more of it. */
static void test_growth_stays(struct history *h, struct store_writer *w)
{
	uint64_t version;

	history_want_growth(h, true);
	history_show(h, 0, now_ns / 2);
	ok(read_all(h) == 0 && is_growth_right(h, now_ns / 2), "what grows, until a moment");
	version = history_version(h);
	for (int i = 0; i < 5; i++)
		read_all(h);
	ok(history_version(h) == version, "stays while nothing happens");
	put_random_event(w);
	store_writer_flush(w, &err);
	ok(read_all(h) == 0 && history_version(h) > version, "and may change with what does");
	history_want_growth(h, false);
	history_show_end(h);
	read_all(h);
}

static void test_growth(void)
{
	struct store_writer *w = create(in_folder("g.trail"), true);
	const struct catalog *c;
	struct history *h;
	uint64_t since, held, version;
	uint8_t mode = 0;
	int fd;

	n_known = n_live = 0;
	now_ns = 0;
	slots_reset(&slots);
	store_writer_put_module(w, &(struct module_record){{1}, "/bin/x", NULL});
	put_frame(w, 1, NULL);
	store_writer_put_stack(w, (struct stack_id){1}, (struct stack_id){0}, (struct frame_id){1},
			       STACK_COMPLETE);
	store_writer_flush(w, &err);
	if (!ok(history_open(in_folder("g.trail"), &h, &err) == 0 && history_is_open_ended(h),
		"a recording that is being written"))
		return;
	c = history_catalog(h);
	for (int round = 0; round < 60; round++) {
		uint64_t before = history_version(h);

		for (int i = 0; i < 3000; i++)
			put_random_event(w);
		put_frame(w, 2 + (uint32_t)round, NULL);
		store_writer_flush(w, &err);
		if (read_all(h) || !is_right(h, 0, now_ns) || history_version(h) == before ||
		    c->n_recorded_frames != 3 + (size_t)round) {
			ok(false, "round %d", round);
			break;
		}
	}
	ok(n_known > 90000, "is followed: %zu blocks", n_known);
	since = now_ns / 2;
	history_show(h, since, UINT64_MAX);
	ok(read_all(h) == 0 && is_right(h, since, now_ns), "blocks since a moment");
	put_random_event(w);
	put_random_event(w);
	store_writer_flush(w, &err);
	ok(read_all(h) == 0 && history_since_ns(h) == since && is_right(h, since, now_ns),
	   "they are followed, too");
	history_show_end(h);
	ok(read_all(h) == 0 && is_right(h, 0, now_ns), "the end");
	test_growth_stays(h, w);
	history_hold(h, true);
	held = now_ns++; /* what comes is later */
	version = history_version(h);
	for (int i = 0; i < 5000; i++)
		put_random_event(w);
	store_writer_flush(w, &err);
	ok(read_all(h) == 0 && is_right(h, 0, held) && history_version(h) == version &&
		   history_now_ns(h) == history_end_ns(h), "while it is held it stands still");
	history_show(h, 0, held / 2);
	ok(read_all(h) == 0 && is_right(h, 0, held / 2), "moments before can be looked at");
	history_want_blocks(h, false);
	without_blocks = true;
	history_show(h, 0, held / 3);
	ok(read_all(h) == 0 && is_right(h, 0, held / 3), "by the index, too");
	without_blocks = false;
	history_want_blocks(h, true);
	history_show(h, since, UINT64_MAX);
	ok(read_all(h) == 0 && is_right(h, since, held), "to where it stands");
	history_hold(h, false);
	ok(read_all(h) == 0 && is_right(h, since, now_ns), "then it is followed again");
	ok(!c->frames[1].function, "functions have no names yet");
	put_frame(w, 1, "first");
	put_frame(w, 2, "second");
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0, "it is finished");
	fd = open(in_folder("g.trail"), O_RDONLY);
	ok(pread(fd, &mode, 1, 18) == 1 && mode == 1, "the reader did not keep it in WAL mode");
	close(fd);
	ok(read_all(h) == 0 && !history_is_open_ended(h), "which is seen");
	ok(c->frames[1].function && !strcmp(c->frames[1].function, "first") &&
		   !strcmp(c->frames[2].function, "second"), "and the names have come");
	history_show_end(h);
	ok(read_all(h) == 0 && is_right(h, 0, now_ns), "with the last events");
	history_close(h);
}

/* ---- layers --------------------------------------------------------------------------- */

/* All that is said of the moment, next to what a report says; @until_ns: UINT64_MAX at the end. */
static bool is_as_reported(struct history *h, const char *path, uint64_t until_ns)
{
	const struct layer *shown = &history_layers(h)->layers[history_layer(h)];
	bool equal = true;

	for (int k = 0; k < GROUP_FAMILY; k++) {
		struct analysis_window w = {.until_ns = until_ns,
					    .families = history_layer(h) ? shown->families : 0};
		struct analysis right, a;

		if (!analyse(path, (enum group_key)k, &w, &right))
			return false;
		history_analysis(h, (enum group_key)k, false, &a);
		equal = equal && a.totals.live_bytes == right.totals.live_bytes &&
			!memcmp(&a.totals, &right.totals, sizeof(a.totals)) &&
			a.free_calls == right.free_calls && a.peak_time_ns == right.peak_time_ns &&
			a.n_groups == right.n_groups;
		analysis_release(&right);
	}
	return equal;
}

/* The largest of its timeline is the peak, the last what is live; and all that was allocated. */
static bool has_timeline(struct history *h)
{
	struct timeline t = history_timeline(h);
	uint64_t most = 0, bytes = 0;
	struct analysis a;

	history_analysis(h, GROUP_THREAD, false, &a);
	for (size_t i = 0; i < t.n; i++) {
		bytes += t.buckets[i].allocated_bytes;
		most = t.buckets[i].max_live_bytes > most ? t.buckets[i].max_live_bytes : most;
	}
	return t.n && most == a.totals.peak_bytes && bytes == a.totals.allocated_bytes &&
	       t.buckets[t.n - 1].live_bytes == a.totals.live_bytes;
}

static void show_layer(struct history *h, uint8_t layer)
{
	history_show_layer(h, layer);
	family = layer ? POOLS : 1;
}

static struct store_writer *begin_layers(const char *path)
{
	struct store_writer *w = create(path, true);

	n_known = n_live = 0;
	now_ns = 0;
	slots_reset(&slots);
	has_layers = true;
	store_writer_put_family(w, &(struct family_record){1, "libc", "heap"});
	store_writer_put_family(w, &(struct family_record){POOLS, "pools", "pools"});
	store_writer_put_number(w, "start_ns", 1);
	return w;
}

static void test_layers(void)
{
	const char *path = in_folder("l.trail");
	struct store_writer *w = begin_layers(path);
	struct history *h;
	bool right = true;

	for (size_t i = 0; i < EVENTS; i++)
		put_random_event(w);
	store_writer_put_number(w, "end_ns", (int64_t)now_ns);
	store_writer_seal(w);
	store_writer_close(w, &err);
	if (!ok(history_open(path, &h, &err) == 0 && history_layers(h)->n == 2, "two layers"))
		return;
	ok(read_all(h) == 0 && is_right(h, 0, now_ns), "at first the heap's blocks");
	show_layer(h, 1);
	ok(history_progress(h) < 1 && read_all(h) == 0 && is_right(h, 0, now_ns) &&
		   is_as_reported(h, path, UINT64_MAX), "those of the other layer");
	ok(has_timeline(h), "its time line");
	for (int i = 0; i < 30 && right; i++) {
		uint64_t since = i % 2 ? random_below((uint32_t)now_ns) : 0;
		uint64_t at = since + random_below((uint32_t)(now_ns - since));

		history_show(h, since, at);
		right = read_all(h) == 0 && is_right(h, since, at) &&
			(since || is_as_reported(h, path, at));
	}
	ok(right, "30 moments, of all blocks and of those since another");
	right = by_index(h);
	ok(right, "40 moments by the index");
	without_blocks = true;
	history_want_blocks(h, false);
	for (int i = 0; i < 20 && right; i++) {
		uint64_t at = random_below((uint32_t)now_ns);

		show_layer(h, i % 3 == 0 ? 0 : 1);
		history_show(h, 0, at);
		right = read_all(h) == 0 && is_right(h, 0, at) && is_as_reported(h, path, at);
	}
	ok(right, "from one to the other");
	without_blocks = false;
	history_want_blocks(h, true);
	show_layer(h, 0);
	ok(read_all(h) == 0 && history_shows_end(h) && is_right(h, 0, now_ns), "back to the heap");
	history_close(h);
}

static void test_layers_growing(void)
{
	struct store_writer *w = begin_layers(in_folder("p.trail"));
	struct history *h;
	uint64_t held;
	bool right = true;

	store_writer_flush(w, &err);
	if (!ok(history_open(in_folder("p.trail"), &h, &err) == 0, "a recording that grows"))
		return;
	for (int round = 0; round < 40 && right; round++) {
		for (int i = 0; i < 3000; i++)
			put_random_event(w);
		store_writer_flush(w, &err);
		if (round % 7 == 3)
			show_layer(h, !history_layer(h));
		right = read_all(h) == 0 && is_right(h, 0, now_ns);
	}
	ok(right, "is followed, now the one, now the other");
	show_layer(h, 1);
	read_all(h);
	ok(is_right(h, 0, now_ns) && has_timeline(h), "with its time line");
	show_layer(h, 0);
	read_all(h);
	history_hold(h, true);
	held = now_ns++;
	for (int i = 0; i < 5000; i++)
		put_random_event(w);
	store_writer_flush(w, &err);
	show_layer(h, 1);
	ok(read_all(h) == 0 && is_right(h, 0, held) && has_timeline(h),
	   "while it is held, to where it stands");
	history_show(h, 0, held / 2);
	ok(read_all(h) == 0 && is_right(h, 0, held / 2), "and before");
	history_show_end(h);
	history_hold(h, false);
	ok(read_all(h) == 0 && is_right(h, 0, now_ns) && has_timeline(h), "then it is followed");
	store_writer_seal(w);
	store_writer_close(w, &err);
	ok(read_all(h) == 0 && !history_is_open_ended(h) && is_right(h, 0, now_ns) &&
		   is_as_reported(h, in_folder("p.trail"), UINT64_MAX), "to its end");
	history_close(h);
	has_layers = false;
	family = 1;
}

static void test_errors(void)
{
	struct history *h = NULL;
	struct store_writer *w = create(in_folder("e.trail"), true);

	ok(history_open(in_folder("none.trail"), &h, &err) < 0 && err.what[0] && !h,
	   "one that is not there: %s", err.what);
	for (int i = 0; i < 10; i++)
		store_writer_put_event(w, (struct space_id){1},
				       &(struct event){.kind = i == 5 ? EVENT_FREE : EVENT_ALLOC,
						       .slot = i == 5 ? 77 : (uint32_t)i,
						       .t_ns = 10 + (uint64_t)i,
						       .thread = {1}, .size = 10});
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0 && history_open(in_folder("e.trail"), &h, &err) == 0,
	   "one with a contradiction opens");
	err.what[0] = '\0';
	ok(read_all(h) < 0 && err.what[0], "and says what it is: %s", err.what);
	history_close(h);
}

/* main calls a and b; a calls malloc's wrapper; and b in another place. */
static void test_call_tree(void)
{
	static struct catalog_frame frames[] = {
		{.function = NULL}, {.module = {1}, .offset = 1, .function = "main"},
		{.module = {1}, .offset = 2, .function = "a"}, {.module = {1}, .offset = 3, .function = "b"},
		{.module = {1}, .offset = 4, .function = "b"}, {.module = {1}, .offset = 5, .function = "xmalloc"}};
	static struct catalog_stack stacks[] = {
		{{0}, {0}, 0}, {{0}, {1}, 0}, {{1}, {2}, 0}, {{1}, {3}, 0}, {{1}, {4}, 0}, {{2}, {5}, 0}};
	struct catalog c = {.frames = frames, .n_frames = 6, .n_recorded_frames = 6, .stacks = stacks,
			    .n_stacks = 6};
	struct group groups[] = {{.key = 3, .totals = {.live_bytes = 10}},
				 {.key = 4, .totals = {.live_bytes = 20}},
				 {.key = 5, .totals = {.live_bytes = 100}},
				 {.key = 9, .totals = {.live_bytes = 7}}}; /* not there */
	struct analysis a = {.groups = groups, .n_groups = 4};
	struct call_tree t;
	struct own own;
	uint32_t i;

	own_init(&own, &c, NULL, 0);
	call_tree_init(&t, &c, &own, false);
	call_tree_count(&t, &a);
	call_tree_sort(&t, offsetof(struct heap_totals, live_bytes));
	for (i = 0; i < t.n; i++)
		call_tree_open(&t, i);
	i = t.nodes[0].first_child;
	ok(t.nodes[0].totals.live_bytes == 137 && t.nodes[i].frame.v == 1 &&
		   t.nodes[i].totals.live_bytes == 130, "top down: main");
	ok(!t.nodes[t.nodes[i].next_sibling].frame.v &&
		   t.nodes[t.nodes[i].next_sibling].totals.live_bytes == 7, "what has no stack");
	i = t.nodes[i].first_child;
	ok(t.nodes[i].frame.v == 2 && t.nodes[i].totals.live_bytes == 100 &&
		   t.nodes[t.nodes[i].first_child].frame.v == 5, "a, and the wrapper in it");
	i = t.nodes[i].next_sibling;
	ok((t.nodes[i].frame.v == 3 || t.nodes[i].frame.v == 4) &&
		   t.nodes[i].totals.live_bytes == 30 && !t.nodes[i].next_sibling,
	   "b, from two places");
	a.n_groups = 2;
	call_tree_count(&t, &a);
	call_tree_open(&t, 0);
	i = t.nodes[0].first_child;
	call_tree_open(&t, i);
	ok(t.nodes[i].totals.live_bytes == 30 && !t.nodes[i].next_sibling &&
		   !t.nodes[t.nodes[t.nodes[i].first_child].next_sibling].frame.v,
	   "of another moment: what has nothing of it is not shown");
	a.n_groups = 4;
	call_tree_count(&t, &a);
	call_tree_open(&t, 0);
	call_tree_open(&t, i);
	ok(t.nodes[0].totals.live_bytes == 137 && t.nodes[t.nodes[i].first_child].frame.v == 2 &&
		   t.nodes[i].next_sibling, "and is, when it has");
	call_tree_release(&t);
	call_tree_init(&t, &c, &own, true);
	call_tree_count(&t, &a);
	call_tree_sort(&t, offsetof(struct heap_totals, live_bytes));
	call_tree_open(&t, 0);
	i = t.nodes[0].first_child;
	ok(t.nodes[i].has_children && !t.nodes[i].first_child, "bottom up callers are made later");
	call_tree_open(&t, i);
	ok(t.nodes[i].frame.v == 2 && t.nodes[t.nodes[i].first_child].frame.v == 1,
	   "bottom up: a, without the wrapper, called by main");
	call_tree_release(&t);
	call_tree_release(&t);
	own_release(&own);
}

int main(void)
{
	set_up("history");
	known = xcalloc(4 * EVENTS, sizeof(*known));
	test_moments();
	test_growth();
	test_layers();
	test_layers_growing();
	test_errors();
	test_call_tree();
	free(known);
	free(block_of_slot);
	slots_release(&slots);
	return tear_down() ? done() : 1;
}
