/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/checkpoints.h"

#include <errno.h>
#include <sys/stat.h>

#include "analyzer/dropped.h"
#include "analyzer/history.h"
#include "tests/unit/stream_fixture.h"

/* What the recorder does with the events of a whole stream, a part at a time. */
struct recorder {
	struct store_writer *w;
	struct checkpoints sums;
	struct replay heap;
	size_t at;
	uint64_t most_bytes; /* of the file and its WAL, whenever it was looked at */
	char path[256];
};

static void start(struct recorder *r, const char *path, uint64_t max_size)
{
	struct store_writer_options o = {
		.overwrite = true, .uid = geteuid(), .gid = getegid(), .max_size = max_size};

	memset(r, 0, sizeof(*r));
	snprintf(r->path, sizeof(r->path), "%s", path);
	if (store_writer_create(path, &o, &r->w, &err))
		bail_out("%s", err.what);
	store_writer_put_number(r->w, "start_ns", (int64_t)stream[0].t_ns - 1);
	checkpoints_init(&r->sums);
	r->sums.bound.max_size = max_size;
}

/* Until event @to. */
static void put(struct recorder *r, size_t to)
{
	struct drain_observer o = checkpoints_observer(&r->sums);
	struct replay_step step;

	for (; r->at < to; r->at++) {
		const struct event *e = &stream[r->at];
		struct space_id space = {spaces[r->at]};
		uint64_t chunk, bytes;

		if (r->heap.space.v != space.v) {
			replay_begin_space(&r->heap, space);
			store_writer_put_space(r->w, &(struct space_record){.id = space,
									    .process = 1});
		}
		if (replay_feed(&r->heap, e, &step, &err))
			bail_out("%s", err.what);
		o.step(o.arg, space, e, &step);
		chunk = store_writer_put_event(r->w, space, e);
		if (chunk)
			o.chunk(o.arg, r->w, chunk, &r->heap);
		if (r->at % 20000)
			continue;
		if (store_writer_flush(r->w, &err))
			bail_out("%s", err.what);
		bytes = store_bytes_on_disk(r->path);
		if (bytes > r->most_bytes)
			r->most_bytes = bytes;
	}
}

static void finish(struct recorder *r)
{
	struct drain_observer o = checkpoints_observer(&r->sums);

	o.end(o.arg, r->w, &r->heap);
	store_writer_seal(r->w);
	if (store_writer_close(r->w, &err))
		bail_out("%s", err.what);
	checkpoints_release(&r->sums);
	replay_release(&r->heap);
}

static void record(const char *path, uint64_t max_size)
{
	struct recorder r;

	start(&r, path, max_size);
	put(&r, n_stream);
	finish(&r);
}

static struct dropped_events dropped_of(const char *path)
{
	struct store_reader *r = open_reader(path);
	struct dropped_events d = store_reader_dropped(r);

	store_reader_close(r);
	return d;
}

static bool same(const char *a_path, const char *b_path, enum group_key key,
		 const struct analysis_window *w)
{
	struct analysis a = {0}, b = {0};
	bool equal = analyse(a_path, key, w, &a) && analyse(b_path, key, w, &b) &&
		     are_equal_sums(&a, &b) && are_equal_groups(&a, &b);

	analysis_release(&a);
	analysis_release(&b);
	return equal;
}

static bool is_refused(const char *path, const struct analysis_window *w, const char *words)
{
	struct store_reader *r = open_reader(path);
	struct analysis a = {0};
	int result = analysis_make(r, GROUP_STACK, w, NULL, &a, &err);

	store_reader_close(r);
	analysis_release(&a);
	return result == -ERANGE && strstr(err.what, words) && err.hint[0];
}

/* The same as of a recording of the same events that has all of them. */
static void test_end_and_windows(void)
{
	char *plain = xstrdup(in_folder("plain")), *bounded = xstrdup(in_folder("bounded"));
	size_t good_ends = 0, good_windows = 0, windows = 0, refused = 0, gone = 0, rounds = 4;
	size_t with_drops = 0;

	for (size_t i = 0; i < rounds; i++) {
		struct dropped_events d;
		uint64_t last;

		make_stream(700000, i % 2 ? 2 : 0);
		last = stream[n_stream - 1].t_ns;
		record(plain, 0);
		record(bounded, BOUND_MIN + random_below(3 << 20));
		d = dropped_of(bounded);
		with_drops += d.chunks > 1 && d.events < n_stream &&
			      d.until_ns == stream[d.events - 1].t_ns;
		for (int k = 0; k < GROUP_KEYS; k++)
			good_ends += same(plain, bounded, (enum group_key)k, NULL);
		for (int k = 0; k < 12; k++) {
			uint64_t behind = last - d.until_ns;
			struct analysis_window w = {
				.until_ns = d.until_ns + random_below(behind)};

			if (!k)
				w.until_ns = d.until_ns; /* just what the checkpoint has */
			else if (k % 2)
				w = (struct analysis_window){
					.since_ns = d.until_ns + 1 + random_below(behind),
					.until_ns = UINT64_MAX};
			windows++;
			good_windows += same(plain, bounded, (enum group_key)(k % 4), &w);
			/* and what begins or ends before it */
			w = (struct analysis_window){
				.until_ns = d.until_ns - 1 - random_below(1000)};
			if (k % 2)
				w = (struct analysis_window){
					.since_ns = d.until_ns - random_below(1000),
					.until_ns = UINT64_MAX};
			gone++;
			refused += is_refused(bounded, &w, "were dropped");
		}
		drop_stream();
	}
	ok(with_drops == rounds, "%zu of %zu recordings have dropped events, and say until when",
	   with_drops, rounds);
	ok(good_ends == rounds * GROUP_KEYS, "%zu of %zu ends are those of the whole recordings",
	   good_ends, rounds * GROUP_KEYS);
	ok(good_windows == windows, "%zu of %zu windows behind what was dropped are, too",
	   good_windows, windows);
	ok(refused == gone, "%zu of %zu in what was dropped are refused, with a hint", refused,
	   gone);
	free(plain);
	free(bounded);
}

/* How many there are of a heap before the end, and at which chunks. */
static size_t count_checkpoints(const char *path, uint64_t *ret_chunks, size_t max)
{
	struct store_reader *r = open_reader(path);
	struct checkpoint_info c = {.chunk = 0};
	size_t n = 0;

	if (store_reader_chunk_at(r, UINT64_MAX, &c.chunk, &err))
		bail_out("%s", err.what);
	while (c.chunk && n < max && store_reader_find_checkpoint(r, c.chunk - 1, &c, &err) == 1)
		ret_chunks[n++] = c.chunk;
	store_reader_close(r);
	return n;
}

/* Of the checkpoint after @chunk. */
static uint64_t moment_of(const char *path, uint64_t chunk)
{
	struct store_reader *r = open_reader(path);
	struct checkpoint_info c = {0};

	store_reader_find_checkpoint(r, chunk, &c, &err);
	store_reader_close(r);
	return c.t_ns;
}

/* All of the stream; a recorder is not as quick, either. */
static void put_slowly(struct recorder *r, useconds_t pause_us)
{
	for (size_t to = 1; to < n_stream; to += 10000) {
		put(r, to);
		usleep(pause_us);
	}
	put(r, n_stream);
}

/* Checkpoints of very many blocks are made while recording goes on: they are as others. */
static void test_meanwhile(void)
{
	char *plain = xstrdup(in_folder("plain")), *path = xstrdup(in_folder("meanwhile"));
	uint64_t chunks[64];
	size_t n, equal = 0, good = 0, windows = 40;
	struct recorder r;

	stream_live_max = 10000;
	make_stream(1500000, 1);
	stream_live_max = UINT32_MAX;
	record(plain, 0);
	start(&r, path, 0);
	r.sums.blocks_at_once = 0;
	put_slowly(&r, 500);
	finish(&r);
	n = count_checkpoints(path, chunks, COUNT_OF(chunks));
	ok(n >= 2, "%zu checkpoints were made meanwhile", n);
	for (size_t i = 0; i < n; i++) {
		struct analysis_window w = {.until_ns = moment_of(path, chunks[i])};

		equal += same(plain, path, (enum group_key)(i % GROUP_KEYS), &w);
	}
	ok(equal == n, "%zu of %zu have what there was at their moments", equal, n);
	for (size_t i = 0; i < windows; i++) {
		struct analysis_window w = {.until_ns = stream[random_below(n_stream)].t_ns};

		good += same(plain, path, (enum group_key)(i % GROUP_KEYS), &w);
	}
	ok(good == windows, "%zu of %zu moments behind them are right", good, windows);
	/* one is left in the middle */
	start(&r, path, 0);
	r.sums.blocks_at_once = 0;
	for (size_t to = 1; to < n_stream && !r.sums.job; to += 1000)
		put(&r, to);
	ok(r.sums.job, "one is under way");
	checkpoints_release(&r.sums);
	replay_release(&r.heap);
	store_writer_close(r.w, NULL);
	drop_stream();
	free(plain);
	free(path);
}

/* The same in bounded space: what is dropped is dropped behind such checkpoints. */
static void test_bounded_meanwhile(void)
{
	char *plain = xstrdup(in_folder("plain")), *path = xstrdup(in_folder("bounded"));
	struct analysis_window w = {.until_ns = UINT64_MAX};
	uint64_t max_size = 3 << 20, chunks[64];
	struct dropped_events d;
	size_t good = 0, n = 0;
	struct recorder r;

	stream_live_max = 10000;
	make_stream(2500000, 0);
	stream_live_max = UINT32_MAX;
	record(plain, 0);
	start(&r, path, max_size);
	r.sums.blocks_at_once = 0;
	put_slowly(&r, 200);
	finish(&r);
	d = dropped_of(path);
	ok(d.events && d.chunks && d.events < n_stream && count_checkpoints(path, chunks, 64),
	   "%" PRIu64 " of %zu events were dropped", d.events, n_stream);
	ok(r.most_bytes < max_size + max_size / 10 + (2 << 20) &&
	   store_bytes_on_disk(path) < max_size + max_size / 10,
	   "%" PRIu64 " bytes at most, of a bound of %" PRIu64, r.most_bytes, max_size);
	for (enum group_key key = 0; key < GROUP_KEYS; key++)
		good += same(plain, path, key, &w);
	for (; n < 20; n++) {
		w.until_ns = d.until_ns +
			     random_below((uint32_t)(stream[n_stream - 1].t_ns - d.until_ns));
		good += same(plain, path, (enum group_key)(n % GROUP_KEYS), &w);
	}
	ok(good == n + GROUP_KEYS, "%zu of %zu moments behind are right, and the end", good,
	   n + GROUP_KEYS);
	drop_stream();
	free(plain);
	free(path);
}

static void test_size(void)
{
	char *path = xstrdup(in_folder("size"));
	struct recorder r;
	uint64_t max_size = 3 << 20, all;

	stream_live_max = 10000;
	make_stream(2500000, 0);
	stream_live_max = UINT32_MAX;
	record(path, 0);
	all = store_bytes_on_disk(path);
	start(&r, path, max_size);
	put(&r, n_stream);
	finish(&r);
	ok(all > 2 * max_size && r.most_bytes > max_size / 2 &&
	   r.most_bytes < max_size + max_size / 10 + (2 << 20),
	   "of %" PRIu64 " bytes at most %" PRIu64 " were there, of a bound of %" PRIu64, all,
	   r.most_bytes, max_size);
	ok(store_bytes_on_disk(path) < max_size + max_size / 10, "%" PRIu64 " are there at the end",
	   store_bytes_on_disk(path));
	drop_stream();
	free(path);
}

/* A heap whose state has no room: events are few, the totals right, and it is said. */
static uint64_t told_state, told_max;
static unsigned int times_told;

static void tell(uint64_t state, uint64_t max)
{
	told_state = state;
	told_max = max;
	times_told++;
}

static void test_too_small(void)
{
	char *plain = xstrdup(in_folder("plain")), *path = xstrdup(in_folder("small"));
	struct store_reader *reader;
	struct recorder r;
	struct catalog c;
	struct dropped d;
	char *text;

	make_stream(900000, 0);
	for (size_t i = 0; i < n_stream; i++) /* every block stays */
		stream[i] = (struct event){.kind = EVENT_ALLOC, .thread = {1}, .family = 1,
					   .stack = {1}, .t_ns = 1000 + i, .slot = (uint32_t)i,
					   .size = random_below(1 << 20), .usable = USABLE_UNKNOWN,
					   .address = random_u64()};
	record(plain, 0);
	start(&r, path, BOUND_MIN);
	r.sums.bound.on_too_small = tell;
	put(&r, n_stream);
	finish(&r);
	ok(times_told == 1 && told_state > BOUND_MIN / 3 && told_max == BOUND_MIN,
	   "that the heap's state is too large is said once");
	ok(dropped_of(path).chunks > 5 && same(plain, path, GROUP_STACK, NULL),
	   "events are dropped all the same, and the totals right");
	reader = open_reader(path);
	if (store_reader_load(reader, &c, &err))
		bail_out("%s", err.what);
	ok(dropped_read(&c, &d) && d.state_bytes == told_state, "the recording has it as a fact");
	text = dropped_text(&d);
	ok(strstr(text, "Events before ") && strstr(text, "--max-size 1.00 MiB was too small"),
	   "and it is said of it: %s", text);
	free(text);
	catalog_release(&c);
	store_reader_close(reader);
	drop_stream();
	free(plain);
	free(path);
}

static bool shows(struct history *h, size_t n_events)
{
	struct analysis a;

	history_analysis(h, GROUP_THREAD, false, &a);
	return a.events == n_events;
}

static bool read_all(struct history *h)
{
	int r;

	while ((r = history_read(h, 1000000, &err)) == 1)
		;
	if (r)
		diag("%s", err.what);
	return !r;
}

/* Who reads while it is recorded, and much more slowly than events are dropped. */
static void test_growing(void)
{
	char *path = xstrdup(in_folder("growing"));
	size_t right = 0, tried = 0, parts = 30;
	struct recorder r;
	struct history *h;
	uint64_t marked;

	make_stream(1500000, 1);
	start(&r, path, BOUND_MIN);
	put(&r, 10000);
	if (store_writer_flush(r.w, &err) || history_open(path, &h, &err))
		bail_out("%s", err.what);
	marked = stream[5000].t_ns;
	for (size_t i = 1; i <= parts; i++) {
		put(&r, 10000 + (n_stream - 10000) / parts * i);
		if (store_writer_flush(r.w, &err))
			bail_out("%s", err.what);
		if (i % 3)
			continue;
		tried++;
		if (i % 2) /* of what is gone the first moment that there is */
			history_show(h, i % 4 == 1 ? marked : 0, marked);
		else
			history_show_end(h);
		right += read_all(h);
		if (i % 2)
			right -= dropped_of(path).chunks &&
				 history_now_ns(h) != dropped_of(path).until_ns;
		else
			right -= !shows(h, r.at);
	}
	ok(right == tried, "%zu of %zu times it is shown as it is", right, tried);
	ok(dropped_of(path).chunks > 10 && history_first_ns(h) == dropped_of(path).until_ns,
	   "%" PRIu64 " chunks were dropped meanwhile, and where it begins is known",
	   dropped_of(path).chunks);
	history_show_end(h);
	finish(&r);
	ok(read_all(h) && shows(h, r.at), "at its end all is in it");
	history_close(h);
	drop_stream();
	free(path);
}

/* The facts come with what they are about: whatever was committed last can be read. */
static void test_killed(void)
{
	char *path = xstrdup(in_folder("killed")), *copy = xstrdup(in_folder("copy"));
	size_t good = 0, tried = 0, rest = 0;
	struct recorder r;

	make_stream(900000, 1);
	start(&r, path, 2 << 20);
	for (size_t at = 1; at < n_stream; at += 1 + random_below(40000)) {
		struct store_reader *reader;
		struct analysis a = {0};
		char command[1024];

		put(&r, at);
		if (store_writer_flush(r.w, &err))
			bail_out("%s", err.what);
		snprintf(command, sizeof(command),
			 "rm -f '%s' '%s-wal' '%s-shm'; cp '%s' '%s' && cp '%s-wal' '%s-wal'", copy, copy,
			 copy, path, copy, path, copy);
		if (system(command))
			bail_out("cannot copy");
		tried++;
		reader = open_reader(copy);
		good += analysis_make(reader, GROUP_STACK, NULL, NULL, &a, &err) == 0 &&
			a.events == at;
		rest += store_reader_dropped(reader).chunks != 0;
		store_reader_close(reader);
		analysis_release(&a);
	}
	ok(good == tried && rest, "%zu of %zu moments (%zu after a drop) can be read", good, tried,
	   rest);
	finish(&r);
	drop_stream();
	free(path);
	free(copy);
}

/* In the next file from now on. */
static void turn(struct recorder *r, const char *path)
{
	struct store_writer_options o = {.overwrite = true, .uid = geteuid(), .gid = getegid()};
	struct drain_observer observer = checkpoints_observer(&r->sums);
	struct dropped_events earlier;
	struct store_writer *old;

	if (!observer.state(observer.arg, r->w, &r->heap, store_writer_end_chunk(r->w), &earlier) ||
	    store_writer_flush(r->w, &err) ||
	    store_writer_continue(r->w, path, &o, &earlier, &old, &err) ||
	    !observer.state(observer.arg, r->w, &r->heap, 0, &earlier))
		bail_out("%s", err.what);
	store_writer_seal(old);
	if (store_writer_close(old, &err))
		bail_out("%s", err.what);
}

#define FILES 6

static void test_files(void)
{
	char *plain = xstrdup(in_folder("plain")), *files[FILES];
	size_t ends = 0, windows = 0, refused = 0, at = 0;
	uint64_t until[FILES];
	struct recorder r;

	make_stream(500000, 2);
	record(plain, 0);
	for (int i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file%d", i);
		files[i] = xstrdup(in_folder(name));
		if (i)
			turn(&r, files[i]);
		else
			start(&r, files[i], 0);
		at = i + 1 < FILES ? at + 1 + random_below(i % 3 ? 150000 : 900) : n_stream;
		while (at < n_stream && stream[at].t_ns == stream[at - 1].t_ns)
			at++; /* a window ends with all events of its last moment */
		put(&r, at);
		until[i] = stream[at - 1].t_ns;
	}
	finish(&r);
	for (int i = 0; i < FILES; i++) {
		struct analysis_window then = {.until_ns = until[i]};

		for (int k = 0; k < GROUP_KEYS; k++)
			ends += same(plain, files[i], (enum group_key)k, &then);
		for (int k = 0; k < 8 && i; k++) {
			uint64_t t = until[i - 1] + random_below(until[i] - until[i - 1] + 1);
			struct analysis_window w = {.since_ns = k % 2 ? t + 1 : 0,
						    .until_ns = k % 2 ? until[i] : t};

			windows += same(plain, files[i], (enum group_key)(k % 4), &w);
			w.since_ns = k % 2 ? until[i - 1] - random_below(100) : 0;
			w.until_ns = k % 2 ? UINT64_MAX : until[i - 1] - 1 - random_below(100);
			refused += is_refused(files[i], &w, "are in earlier files");
		}
	}
	ok(ends == FILES * GROUP_KEYS, "%zu of %d files know what was until their end", ends,
	   FILES * GROUP_KEYS);
	ok(windows == (FILES - 1) * 8, "%zu of %d windows in them", windows, (FILES - 1) * 8);
	ok(refused == (FILES - 1) * 8, "%zu of %d before them are refused", refused,
	   (FILES - 1) * 8);
	for (int i = 0; i < FILES; i++)
		free(files[i]);
	drop_stream();
	free(plain);
}

/* Without the state behind what was dropped there is nothing to begin with. */
static void test_damage(void)
{
	char *path = xstrdup(in_folder("damage"));
	struct store_reader *reader;
	struct analysis a = {0};
	struct recorder r;
	sqlite3 *db = NULL;

	make_stream(400000, 0);
	start(&r, path, BOUND_MIN);
	put(&r, n_stream);
	if (store_writer_close(r.w, &err) || sqlite3_open(path, &db) != SQLITE_OK)
		bail_out("cannot open it");
	sqlite3_exec(db, "UPDATE checkpoint SET crc = crc + 1", NULL, NULL, NULL);
	sqlite3_close(db);
	reader = open_reader(path);
	ok(analysis_make(reader, GROUP_STACK, NULL, NULL, &a, &err) == -EBADMSG &&
	   strstr(err.what, "state at "), "a damaged state is said to be: %s", err.what);
	store_reader_close(reader);
	analysis_release(&a);
	checkpoints_release(&r.sums);
	replay_release(&r.heap);
	drop_stream();
	free(path);
}

int main(void)
{
	set_up("bounded");
	seed_random();
	test_end_and_windows();
	test_meanwhile();
	test_bounded_meanwhile();
	test_size();
	test_too_small();
	test_growing();
	test_killed();
	test_files();
	test_damage();
	empty_folder();
	ok(tear_down(), "nothing is left behind");
	return done();
}
