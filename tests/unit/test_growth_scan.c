/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each stack had over time, read in brief, against the same noted in a replay of the heap. */
#include "config.h"
#include "analyzer/growth_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/growth_noting.h"
#include "tests/unit/stream_fixture.h"

#define ROUNDS 40
#define SPAN 40

/* ---- the plain way ------------------------------------------------------------------------ */

static bool counts(const struct analysis_window *w, const struct replay_block *b)
{
	return b->t_ns >= w->since_ns && w->families >> b->family % 64 & 1;
}

static void note(struct growth_windows *g, const struct analysis_window *w, const struct event *e,
		 const struct replay_step *step)
{
	const struct replay_block *made = step->made, *old = &step->old;
	bool ended = step->ended && counts(w, old);

	growth_noting_advance(g, e->t_ns);
	if (ended)
		growth_noting_end(g, growth_noting_number(g, old->stack), old->size, old->t_ns,
				  e->t_ns, e->kind == EVENT_REALLOC);
	if (made && counts(w, made))
		growth_noting_make(g, growth_noting_number(g, made->stack), made->size,
				   ended ? old->size : 0, ended ? old->t_ns : 0);
}

static struct growth_windows *replay_windows(const struct analysis_window *w)
{
	struct growth_windows *g = growth_windows_new(GROWTH_BYTES);
	struct totals none = {.since_ns = 0};
	struct replay heap = {0};
	struct replay_step step;

	totals_init(&none, 1u << GROUP_STACK, 0);
	growth_windows_begin(g, &none, 0, 0);
	for (size_t i = 0; i < n_stream && stream[i].t_ns <= w->until_ns; i++) {
		if (heap.space.v != spaces[i]) {
			growth_windows_begin_space(g);
			replay_begin_space(&heap, (struct space_id){spaces[i]});
		}
		if (replay_feed(&heap, &stream[i], &step, &err))
			bail_out("%s", err.what);
		note(g, w, &stream[i], &step);
	}
	totals_release(&none);
	replay_release(&heap);
	return g;
}

/* ---- comparing ---------------------------------------------------------------------------- */

static bool are_equal(struct growth_windows *a, struct growth_windows *b)
{
	uint64_t end_ns = stream[n_stream - 1].t_ns + 1;
	struct growth_span span;

	growth_windows_advance(a, end_ns);
	growth_windows_advance(b, end_ns);
	span = growth_windows_span(a, 0, end_ns, SPAN);
	if (growth_windows_stacks(a) != growth_windows_stacks(b))
		return false;
	for (size_t i = 0; i < growth_windows_stacks(a); i++) {
		double floors[2][SPAN] = {{0}}, ends[2][SPAN] = {{0}};
		struct growth_lifetimes l[2] = {{0}};

		growth_windows_add(a, i, &span, floors[0], ends[0]);
		growth_windows_add(b, i, &span, floors[1], ends[1]);
		growth_windows_add_lifetimes(a, i, &l[0]);
		growth_windows_add_lifetimes(b, i, &l[1]);
		if (growth_windows_stack(a, i).v != growth_windows_stack(b, i).v ||
		    memcmp(floors[0], floors[1], sizeof(floors[0])) ||
		    memcmp(ends[0], ends[1], sizeof(ends[0])) || memcmp(&l[0], &l[1], sizeof(l[0])))
			return false;
	}
	return true;
}

/* ---- recordings --------------------------------------------------------------------------- */

/* From number @from on, until @to. */
static void put_stream(struct store_writer *w, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		store_writer_put_event(w, (struct space_id){spaces[i]}, &stream[i]);
	store_writer_flush(w, NULL);
}

static struct growth_windows *read_windows(const char *path, const struct analysis_window *w)
{
	struct growth_windows *g = growth_windows_new(GROWTH_BYTES);
	struct store_reader *r = open_reader(path);

	memset(&err, 0, sizeof(err));
	if (analysis_watch_growth(r, w, NULL, g, &err))
		diag("%s", err.what);
	store_reader_close(r);
	return g;
}

static struct analysis_window random_window(void)
{
	uint64_t length = stream[n_stream - 1].t_ns;

	return (struct analysis_window){
		.since_ns = random_below(3) ? 0 : random_below(length),
		.until_ns = random_below(3) ? UINT64_MAX : random_below(length),
		.families = random_below(3) ? UINT64_MAX : 1ull << (1 + random_below(3))};
}

static void test_whole(const char *path)
{
	int equal = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct store_writer *w = create(path, true);
		struct growth_windows *plain, *read;
		struct analysis_window window;

		stream_has_parts = i % 2;
		make_stream(1 + random_below(i % 4 ? 3000 : 200000), i % 3);
		put_stream(w, 0, n_stream);
		if (random_below(2))
			store_writer_seal(w);
		store_writer_close(w, NULL);
		window = random_window();
		plain = replay_windows(&window);
		read = read_windows(path, &window);
		equal += are_equal(plain, read);
		growth_windows_free(plain);
		growth_windows_free(read);
		drop_stream();
	}
	ok(equal == ROUNDS, "%d of %d random recordings, as a replay of them says", equal, ROUNDS);
}

/* Chunks that grow between two looks, and by any number of events. */
static void test_growing(const char *path)
{
	const struct analysis_window all = {.until_ns = UINT64_MAX, .families = UINT64_MAX};
	struct growth_windows *plain, *g = growth_windows_new(GROWTH_BYTES);
	struct store_writer *w = create(path, true);
	struct growth_scan *scan = NULL;
	size_t from = 0, to;
	int r = 0;

	stream_has_parts = true;
	make_stream(300000, 1);
	for (; from < n_stream && !r; from = to) {
		struct analysis_pass *p = analysis_pass_new(1u << GROUP_STACK, 0, NULL, 0);
		struct store_reader *reader;
		int steps = (int)random_below(4);

		to = from + 1 + random_below(random_below(2) ? 100 : 100000);
		to = to < n_stream ? to : n_stream;
		put_stream(w, from, to);
		if (to == n_stream) {
			store_writer_seal(w);
			store_writer_close(w, NULL);
		}
		reader = open_reader(path);
		if (!scan && analysis_begin_growth(p, reader, UINT64_MAX, g, &scan, &err))
			bail_out("%s", err.what);
		if (to == n_stream)
			growth_scan_look_again(scan);
		do
			r = growth_scan_step(scan, reader, &all, &err);
		while (r == 1 && (to == n_stream || steps-- > 0));
		r = r == 1 ? 0 : r;
		analysis_pass_free(p);
		store_reader_close(reader);
	}
	plain = replay_windows(&all);
	ok(r == 0 && growth_scan_last_ns(scan) == stream[n_stream - 1].t_ns &&
		   are_equal(plain, g),
	   "one that is read while it grows");
	growth_windows_free(plain);
	growth_scan_free(scan);
	growth_windows_free(g);
	drop_stream();
}

/* Its checksums are right, but not its events. */
static void test_contradictions(const char *path)
{
	static const struct event wrong[] = {
		{.kind = EVENT_FREE, .slot = 0},
		{.kind = EVENT_FREE, .slot = 5},
		{.kind = EVENT_REALLOC, .slot = UINT32_MAX, .size = 3},
	};
	size_t refused = 0;

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		const struct analysis_window all = {.until_ns = UINT64_MAX};
		struct growth_windows *g = growth_windows_new(GROWTH_BYTES);
		struct store_writer *w = create(path, true);
		struct store_reader *r;

		store_writer_put_event(w, (struct space_id){1}, &wrong[i]);
		store_writer_seal(w);
		store_writer_close(w, NULL);
		r = open_reader(path);
		memset(&err, 0, sizeof(err));
		refused += analysis_watch_growth(r, &all, NULL, g, &err) == -EBADMSG &&
			   strstr(err.what, "contradicts") != NULL;
		store_reader_close(r);
		growth_windows_free(g);
	}
	ok(refused == COUNT_OF(wrong), "%zu of %zu contradictions are told", refused,
	   COUNT_OF(wrong));
}

int main(void)
{
	char *path;

	seed_random();
	set_up("growth_scan");
	path = xasprintf("%s/growth.trail", folder);
	test_whole(path);
	test_growing(path);
	test_contradictions(path);
	free(path);
	ok(tear_down(), "nothing is left behind");
	return done();
}
