/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The index of moments against totals that were counted one event after the other. */
#include "config.h"
#include "analyzer/moments.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/stream_fixture.h"

#define ROUNDS 60
#define MOMENTS 25

/* ---- chunks of the stream ------------------------------------------------------------- */

static struct chunk_info chunks[4096]; /* .id: from 1 on */
static size_t n_chunks;
/* Family 3 is of a layer with pools, and of one layer all totals are. */
static const struct replay_layers layers = {.of_family = {[3] = 1}, .n = 1};
static uint64_t families;

/*
 * Blocks end in the layer that they are of, some of them with their pools; the totals are of
 * layer @layer.
 */
static void make_layers(uint8_t layer)
{
	uint8_t *of_slot = NULL;
	size_t cap = 0;

	families = layer ? 1ull << 3 : ~(1ull << 3);
	for (size_t i = 0; i < n_stream; i++) {
		struct event *e = &stream[i];

		if (!event_frees(e) && !event_makes(e))
			continue;
		ARRAY_GROW(of_slot, cap, e->slot);
		if (event_frees(e))
			e->family = of_slot[e->slot];
		of_slot[e->slot] = e->family;
		if (e->kind == EVENT_FREE && e->family == 3 && !random_below(3))
			e->free_class = FREE_WITH_POOL;
	}
	free(of_slot);
}

/* Cuts the stream, and tells blocks that end in the chunk where they were made by distance. */
static void cut_stream(size_t longest)
{
	uint32_t *made = NULL;
	size_t cap = 0;

	n_chunks = 0;
	for (size_t from = 0; from < n_stream;) {
		size_t n = 1 + random_below((uint32_t)longest), to = from;

		for (; to < n_stream && to < from + n && spaces[to] == spaces[from]; to++) {
			struct event *e = &stream[to];
			bool ends = event_frees(e), makes = event_makes(e);

			e->distance = 0;
			if (ends || makes)
				ARRAY_GROW(made, cap, e->slot);
			if (ends && made[e->slot] > from)
				e->distance = (uint32_t)(to + 1 - made[e->slot]);
			if (ends || makes)
				made[e->slot] = makes ? (uint32_t)to + 1 : 0;
		}
		chunks[n_chunks] = (struct chunk_info){.id = n_chunks + 1,
						       .space = {spaces[from]},
						       .events = (uint32_t)(to - from),
						       .first_ns = stream[from].t_ns,
						       .last_ns = stream[to - 1].t_ns};
		n_chunks++;
		from = to;
	}
	free(made);
}

static size_t begin_of(size_t chunk)
{
	size_t n = 0;

	for (size_t i = 0; i < chunk; i++)
		n += chunks[i].events;
	return n;
}

/* ---- counting, with and without an index ---------------------------------------------- */

static void count(struct totals *t, struct replay *heap, struct moments *m, size_t i)
{
	struct replay_step step;

	if (heap->space.v != spaces[i]) {
		totals_begin_space(t);
		replay_begin_space(heap, (struct space_id){spaces[i]});
	}
	if (replay_feed(heap, &stream[i], &step, &err))
		bail_out("%s", err.what);
	totals_count(t, &stream[i], &step);
	if (m)
		moments_note(m, &stream[i], &step);
}

/* From chunk number @from on; now and then one is known before all of it has come. */
static struct moments *make_index(size_t max_bytes, size_t from)
{
	struct moments *m = moments_new(max_bytes);
	struct replay heap = {.layers = layers};
	struct totals t;
	size_t at = 0;

	totals_init(&t, GROUPS_ALL, 0);
	t.families = families;
	for (size_t i = 0; i < n_chunks; i++) {
		size_t end = at + chunks[i].events, grown = at + random_below(chunks[i].events);
		struct chunk_info part = chunks[i];

		part.events = (uint32_t)(grown - at);
		if (i == from)
			moments_begin(m, &t, heap.space);
		if (i >= from)
			moments_begin_chunk(m, &part);
		for (; at < end; at++) {
			struct analysis a;

			if (at == grown && i >= from)
				moments_begin_chunk(m, &chunks[i]);
			count(&t, &heap, i >= from ? m : NULL, at);
			if (!random_below(5000)) /* whoever looks changes nothing */
				totals_get(&t, (enum group_key)random_below(GROUP_KEYS), NULL, &a);
		}
		if (i >= from)
			moments_end_chunk(m, &t);
	}
	moments_end(m);
	totals_release(&t);
	replay_release(&heap);
	return m;
}

static bool are_equal(struct totals *a, struct totals *b)
{
	bool equal = a->peaks == b->peaks;

	for (int k = 0; k < GROUP_KEYS && equal; k++) {
		struct analysis x, y;

		totals_get(a, (enum group_key)k, NULL, &x);
		totals_get(b, (enum group_key)k, NULL, &y);
		/* the order of a state's own groups stays as it is */
		x.groups = memcpy(xcalloc(x.n_groups + 1, sizeof(*x.groups)), x.groups,
				  x.n_groups * sizeof(*x.groups));
		y.groups = memcpy(xcalloc(y.n_groups + 1, sizeof(*y.groups)), y.groups,
				  y.n_groups * sizeof(*y.groups));
		equal = are_equal_sums(&x, &y) && are_equal_groups(&x, &y) &&
			x.first_ns == y.first_ns && x.peak_event == y.peak_event;
		free(x.groups);
		free(y.groups);
	}
	return equal;
}

/* The totals after the first @n events. */
static void count_until(struct totals *t, size_t n)
{
	struct replay heap = {.layers = layers};

	totals_init(t, GROUPS_ALL, 0);
	t->families = families;
	for (size_t i = 0; i < n; i++)
		count(t, &heap, NULL, i);
	replay_release(&heap);
}

struct found {
	size_t known, equal, unknown;
};

/* At random events: what the index knows of them must be right. */
static void compare(struct moments *m, struct found *f)
{
	struct totals right, *quick;

	for (int i = 0; i < MOMENTS; i++) {
		size_t chunk = random_below((uint32_t)n_chunks), begin = begin_of(chunk);
		size_t n = random_below(chunks[chunk].events + 1);

		quick = moments_totals(m, chunks[chunk].id, stream + begin, n);
		if (!quick) {
			f->unknown++;
			continue;
		}
		count_until(&right, begin + n);
		f->known++;
		f->equal += are_equal(&right, quick);
		totals_release(&right);
	}
}

/* The chunk that has the last event until then. */
static bool finds(const struct moments *m, uint64_t at_ns, bool *ret_known)
{
	struct chunk_info info;
	size_t last = 0;

	for (size_t i = 0; i < n_chunks; i++)
		if (chunks[i].first_ns <= at_ns)
			last = i;
	*ret_known = moments_find(m, at_ns, &info);
	return !*ret_known || (chunks[0].first_ns <= at_ns && info.id == chunks[last].id &&
			       info.events == chunks[last].events);
}

static void find_moments(const struct moments *m, size_t *right, size_t *known)
{
	uint64_t from = stream[0].t_ns, to = stream[n_stream - 1].t_ns;

	for (int i = 0; i < 200; i++) {
		bool is_known;

		*right += finds(m, from - 5 + random_below((uint32_t)(to - from) + 10), &is_known);
		*known += is_known;
	}
}

/* ---- tests ---------------------------------------------------------------------------- */

static void test_all(void)
{
	struct found f = {0};
	size_t right = 0, known = 0;

	for (size_t i = 0; i < ROUNDS; i++) {
		struct moments *m;

		make_stream(1 + random_below(i % 4 ? 3000 : 40000), (unsigned int)(i % 4));
		make_layers(i % 5 > 2);
		cut_stream(i % 3 ? 300 : 4000);
		m = make_index(SIZE_MAX, 0);
		if (moments_chunks(m) != n_chunks)
			diag("%zu chunks of %zu", moments_chunks(m), n_chunks);
		compare(m, &f);
		find_moments(m, &right, &known);
		moments_free(m);
		drop_stream();
	}
	ok(f.equal == f.known, "%zu of %zu moments are as they were counted", f.equal, f.known);
	ok(!f.unknown, "all are known");
	ok(right == 200 * ROUNDS && known > 190 * ROUNDS, "%zu found in time, %zu rightly", known,
	   right);
}

/* A recording in bounded space: it begins with a state, and loses chunks. */
static void test_dropped(void)
{
	struct found f = {0};
	size_t forgotten = 0;

	for (size_t i = 0; i < ROUNDS / 2; i++) {
		struct moments *m;
		size_t from, before;

		make_stream(20000, (unsigned int)(i % 3));
		make_layers(i % 2);
		cut_stream(200);
		from = random_below((uint32_t)n_chunks / 2);
		m = make_index(SIZE_MAX, from);
		before = moments_chunks(m);
		moments_forget(m, from + random_below((uint32_t)(n_chunks - from)));
		forgotten += before - moments_chunks(m);
		compare(m, &f);
		moments_free(m);
		drop_stream();
	}
	ok(f.equal == f.known && f.known > 100, "%zu of %zu of one that was cut", f.equal, f.known);
	ok(f.unknown && forgotten, "%zu chunks are forgotten", forgotten);
}

static void test_thinned(void)
{
	struct found f = {0};
	size_t right = 0, known = 0, most = 0, least = SIZE_MAX;

	for (size_t i = 0; i < ROUNDS; i++) {
		size_t max = 80000u << random_below(3), over;
		struct moments *m;

		make_stream(30000, (unsigned int)(i % 3));
		make_layers(i % 2);
		cut_stream(100);
		m = make_index(max, 0);
		over = moments_bytes(m) * 100 / max;
		most = over > most ? over : most;
		least = moments_chunks(m) < least ? moments_chunks(m) : least;
		compare(m, &f);
		find_moments(m, &right, &known);
		moments_free(m);
		drop_stream();
	}
	ok(f.equal == f.known && f.known > 100, "thinned out: %zu of %zu moments are right", f.equal,
	   f.known);
	ok(f.unknown > 100 && right == 200 * ROUNDS, "%zu are not known, %zu found", f.unknown,
	   known);
	ok(most < 300, "it takes %zu %% of what it may at most; %zu chunks at least", most, least);
}

int main(void)
{
	stream_has_parts = true;
	set_up("moments");
	test_all();
	test_dropped();
	test_thinned();
	return tear_down() ? done() : 1;
}
