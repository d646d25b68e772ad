/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/analysis.h"
#include "common/xalloc.h"
#include "tests/unit/stream_fixture.h"

/* ---- two states ----------------------------------------------------------------------- */

struct state {
	struct totals totals;
	struct replay heap;
};

static void feed(struct state *s, size_t from, size_t to)
{
	struct replay_step step;

	for (size_t i = from; i < to; i++) {
		if (s->heap.space.v != spaces[i]) {
			totals_begin_space(&s->totals);
			replay_begin_space(&s->heap, (struct space_id){spaces[i]});
		}
		if (replay_feed(&s->heap, &stream[i], &step, &err))
			bail_out("%s", err.what);
		totals_count(&s->totals, &stream[i], &step);
	}
}

static void release(struct state *s)
{
	totals_release(&s->totals);
	replay_release(&s->heap);
}

static bool are_equal(struct state *a, struct state *b)
{
	bool equal = a->heap.ordinal == b->heap.ordinal && a->heap.space.v == b->heap.space.v;

	for (int k = 0; k < GROUP_KEYS && equal; k++) {
		struct analysis x, y;

		/* not in the order of the totals' own: copies are sorted */
		totals_get(&a->totals, (enum group_key)k, &a->heap, &x);
		totals_get(&b->totals, (enum group_key)k, &b->heap, &y);
		x.groups = memcpy(xcalloc(x.n_groups + 1, sizeof(*x.groups)), x.groups,
				  x.n_groups * sizeof(*x.groups));
		y.groups = memcpy(xcalloc(y.n_groups + 1, sizeof(*y.groups)), y.groups,
				  y.n_groups * sizeof(*y.groups));
		equal = are_equal_sums(&x, &y) && are_equal_groups(&x, &y);
		free(x.groups);
		free(y.groups);
	}
	return equal;
}

static void collect(void *arg, const void *data, size_t len)
{
	buffer_append(arg, data, len);
}

static bool restore(struct state *s, unsigned int keys, const struct buffer *totals,
		    const struct buffer *heap)
{
	memset(s, 0, sizeof(*s));
	totals_init(&s->totals, keys, 0);
	return checkpoint_restore_totals(&s->totals, n_stream, totals->data, totals->len) &&
	       checkpoint_restore_heap(&s->heap, n_stream, heap->data, heap->len);
}

static void test_states(void)
{
	size_t same = 0, after = 0, calls = 0, rounds = 40;

	for (size_t i = 0; i < rounds; i++) {
		struct state whole = {0}, again, few;
		struct buffer totals = {0}, heap = {0};
		struct analysis x, y;
		size_t at;

		make_stream(1 + random_below(i % 4 ? 3000 : 60000), (unsigned int)(i % 3));
		at = random_below(n_stream + 1);
		totals_init(&whole.totals, GROUPS_ALL, 0);
		feed(&whole, 0, at);
		checkpoint_save_totals(&whole.totals, &totals);
		checkpoint_save_heap(&whole.heap, collect, &heap);
		same += restore(&again, GROUPS_ALL, &totals, &heap) && are_equal(&whole, &again);
		feed(&whole, at, n_stream);
		feed(&again, at, n_stream);
		after += are_equal(&whole, &again);
		/* of fewer groups only these, and how often stacks allocated */
		if (restore(&few, 1u << GROUP_THREAD, &totals, &heap)) {
			feed(&few, at, n_stream);
			totals_get(&whole.totals, GROUP_STACK, NULL, &x);
			totals_get(&few.totals, GROUP_THREAD, NULL, &y);
			calls += x.n_stacks == y.n_stacks && !few.totals.tallies[GROUP_SIZE].n;
		}
		release(&whole);
		release(&again);
		release(&few);
		buffer_release(&totals);
		buffer_release(&heap);
		drop_stream();
	}
	ok(same == rounds, "%zu of %zu states are the same when they are restored", same, rounds);
	ok(after == rounds, "%zu after all that comes then, too", after);
	ok(calls == rounds, "%zu of some groups only", calls);
}

static void test_damage(void)
{
	struct buffer totals = {0}, heap = {0}, *blobs[] = {&totals, &heap};
	size_t refused = 0, taken = 0;
	struct state whole = {0};

	make_stream(2000, 1);
	totals_init(&whole.totals, GROUPS_ALL, 0);
	feed(&whole, 0, n_stream);
	checkpoint_save_totals(&whole.totals, &totals);
	checkpoint_save_heap(&whole.heap, collect, &heap);
	for (int i = 0; i < 6000; i++) {
		const struct buffer *from = blobs[i % 2];
		size_t len = random_below(4) ? from->len : random_below(from->len);
		/* exactly so large, so that a read beyond is found */
		uint8_t *copy = xmalloc(len + 1);
		struct state s = {0};
		bool good;

		memcpy(copy, from->data, len);
		for (uint64_t k = random_below(4); k && len; k--)
			copy[random_below(random_below(2) && len > 12 ? 12 : len)] =
				(uint8_t)(random_below(3) ? random_u64() : 0xff);
		totals_init(&s.totals, GROUPS_ALL, 0);
		good = from == &totals ? checkpoint_restore_totals(&s.totals, n_stream, copy, len)
				       : checkpoint_restore_heap(&s.heap, n_stream, copy, len);
		if (good && from == &heap) /* what was taken can be gone on with */
			for (size_t k = 0; k < 200; k++) {
				struct replay_step step;

				replay_feed(&s.heap, &stream[k], &step, &err);
			}
		refused += !good;
		taken += good;
		release(&s);
		free(copy);
	}
	ok(refused > 1000 && refused + taken == 6000, "damaged states are refused (%zu) or are "
	   "states (%zu)", refused, taken);
	release(&whole);
	buffer_release(&totals);
	buffer_release(&heap);
	drop_stream();
}

/* ---- recordings ------------------------------------------------------------------------ */

/* Of a whole stream, with checkpoints after full chunks, or some of them, or none. */
static void write_recording(const char *path, unsigned int one_in)
{
	struct store_writer *w = create(path, true);
	struct state s = {0};

	totals_init(&s.totals, GROUPS_ALL, 0);
	for (size_t i = 0; i < n_stream; i++) {
		uint64_t chunk;

		feed(&s, i, i + 1);
		chunk = store_writer_put_event(w, (struct space_id){spaces[i]}, &stream[i]);
		if (chunk && one_in && !random_below(one_in)) {
			struct buffer b = {0};

			checkpoint_save_totals(&s.totals, &b);
			store_writer_begin_checkpoint(w, CHECKPOINT_TOTALS, chunk, stream[i].t_ns);
			store_writer_add_to_checkpoint(w, b.data, b.len);
			buffer_release(&b);
			store_writer_end_checkpoint(w);
			store_writer_begin_checkpoint(w, CHECKPOINT_HEAP, chunk, stream[i].t_ns);
			checkpoint_save_heap(&s.heap, store_writer_add_to_checkpoint, w);
			store_writer_end_checkpoint(w);
		}
	}
	release(&s);
	if (store_writer_close(w, &err))
		bail_out("%s", err.what);
}

static void test_windows(void)
{
	char *plain = xstrdup(in_folder("plain")), *with = xstrdup(in_folder("with"));
	size_t same = 0, tried = 0;
	struct store_reader *r;
	struct checkpoint_info info;

	make_stream(420000, 1);
	write_recording(plain, 0);
	write_recording(with, 2);
	r = open_reader(with);
	ok(store_reader_find_checkpoint(r, UINT64_MAX, &info, &err) == 1 && info.chunk && info.t_ns,
	   "there are checkpoints");
	store_reader_close(r);
	for (int i = 0; i < 24; i++) {
		uint64_t first = stream[0].t_ns, last = stream[n_stream - 1].t_ns;
		struct analysis_window w = {.until_ns = UINT64_MAX};
		struct analysis a = {0}, b = {0};
		enum group_key key = (enum group_key)random_below(GROUP_KEYS);

		if (i % 3)
			w.until_ns = i % 7 ? first + random_below(last - first)
					   : stream[CHUNK_EVENTS_MAX * (size_t)random_below(5)].t_ns;
		if (i % 2)
			w.since_ns = i % 5 ? first + random_below(last - first)
					   : stream[CHUNK_EVENTS_MAX * (size_t)random_below(5)].t_ns;
		tried++;
		if (analyse(plain, key, &w, &a) && analyse(with, key, &w, &b))
			same += are_equal_sums(&a, &b) && are_equal_groups(&a, &b);
		analysis_release(&a);
		analysis_release(&b);
	}
	ok(same == tried, "%zu of %zu windows are the same with and without checkpoints", same,
	   tried);
	run_sql(with, "UPDATE checkpoint SET data = zeroblob(100) WHERE kind = 2 AND chunk ="
		      " (SELECT max(chunk) FROM checkpoint)");
	{
		struct analysis a = {0}, b = {0};

		ok(analyse(plain, GROUP_STACK, NULL, &a) && analyse(with, GROUP_STACK, NULL, &b) &&
			   are_equal_sums(&a, &b) && are_equal_groups(&a, &b),
		   "a damaged checkpoint costs time only");
		analysis_release(&a);
		analysis_release(&b);
	}
	drop_stream();
	free(plain);
	free(with);
}

int main(void)
{
	set_up("checkpoint");
	seed_random();
	test_states();
	test_damage();
	test_windows();
	empty_folder();
	ok(tear_down(), "nothing is left behind");
	return done();
}
