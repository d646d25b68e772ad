/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is put into a recording is read from it; test_store_errors.c has what goes wrong. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/earlier.h"
#include "store/reader.h"
#include "store/writer.h"
#include "tests/unit/files.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/tap.h"

/* ---- all that is no event ----------------------------------------------------------- */

static void put_all(struct store_writer *w)
{
	struct timeline_bucket buckets[] = {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}, {0, 0, 0, 0, 1}};
	struct heap_totals totals = {1, 2, 3, 4, 5, 6, 7};

	store_writer_put_text(w, "version", "1.0");
	store_writer_put_text(w, "empty", NULL);
	store_writer_put_number(w, "low", INT64_MIN);
	store_writer_put_number(w, "again", 1);
	store_writer_put_number(w, "again", 2);
	store_writer_put_process(w, &(struct process_record){
		.id = 1, .pid = 4242, .command = "[\"ls\"]", .start_ns = 5});
	store_writer_put_process(w, &(struct process_record){
		.id = 2, .pid = 4243, .start_ns = 5, .end_ns = 6, .ended = true,
		.exit_status = 3});
	store_writer_put_process(w, &(struct process_record){
		.id = 3, .pid = 4244, .ended = true, .exit_status = -1, .exit_signal = 9});
	store_writer_put_space(w, &(struct space_record){
		.id = {1}, .process = 1, .executable = "/bin/ls", .start_ns = 10});
	store_writer_put_space(w, &(struct space_record){
		.id = {2}, .process = 1, .exec_count = 1, .start_ns = 20, .end_ns = 30,
		.end = "exit"});
	store_writer_put_thread(w, &(struct thread_record){
		.id = {1}, .process = 1, .tid = 4242, .name = "main", .start_ns = 1, .end_ns = 9});
	store_writer_put_thread(w, &(struct thread_record){.id = {4}, .process = 1, .tid = 4250});
	store_writer_put_family(w, &(struct family_record){63, "libc malloc", "heap"});
	store_writer_put_module(w, &(struct module_record){{1}, "/bin/ls", "c0ffee"});
	store_writer_put_module(w, &(struct module_record){{2}, "[anonymous]", NULL});
	store_writer_put_mapping(w, &(struct mapping_record){
		.space = {1}, .module = {1}, .start = 0xffffffffff600000, .end = UINT64_MAX,
		.bias = 4096, .first_ns = 11});
	store_writer_put_frame(w, (struct frame_id){1}, (struct module_id){1}, 0x1234);
	store_writer_put_frame(w, (struct frame_id){2}, (struct module_id){0}, UINT64_MAX);
	store_writer_put_stack(w, (struct stack_id){1}, (struct stack_id){0}, (struct frame_id){2},
			       STACK_TOO_DEEP);
	store_writer_put_stack(w, (struct stack_id){2}, (struct stack_id){1}, (struct frame_id){1},
			       STACK_TOO_DEEP);
	store_writer_put_symbol(w, &(struct symbol_record){{1}, 0, "inner", "ls.c", 12});
	store_writer_put_symbol(w, &(struct symbol_record){{1}, 1, "outer", NULL, 0});
	store_writer_put_loss(w, "lost_alloc", 1ull << 40);
	store_writer_put_rss(w, (struct space_id){1}, 100, 1 << 20);
	store_writer_put_timeline(w, buckets, 3, 1000, 50);
	store_writer_put_timeline(w, buckets, 2, 1000, 100);
	store_writer_put_site(w, (struct stack_id){2}, (struct frame_id){1}, 1, &totals);
	store_writer_put_site(w, (struct stack_id){1}, (struct frame_id){2}, 0, &totals);
}

/* Names that are added in memory. */
static void check_added_names(struct catalog *c)
{
	const struct symbol_record names[] = {
		{{2}, 0, "innermost", "a.h", 3}, {{2}, 1, "between", NULL, 0},
		{{2}, 2, "around", "b.c", 9}};
	size_t n = c->n_frames;
	struct catalog_place *places;
	struct frame_id id = {2};
	bool added = true;

	ok(!catalog_add_symbol(c, &names[1]) && c->n_frames == n,
	   "no function without the one that is inlined into it");
	for (size_t i = 0; i < COUNT_OF(names); i++)
		added &= catalog_add_symbol(c, &names[i]);
	ok(added && c->n_frames == n + 2, "names that are added in memory");
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const struct catalog_frame *f = catalog_frame(c, id);

		ok(!strcmp(f->function, names[i].function) && f->function != names[i].function &&
			   (names[i].file ? !strcmp(f->file, names[i].file) : !f->file) &&
			   f->line == names[i].line && f->is_inlined == (i < 2) &&
			   f->offset == c->frames[2].offset,
		   "'%s' is one of them", names[i].function);
		id = f->outer;
	}
	ok(!id.v, "and no more");
	places = catalog_places(c);
	id = c->frames[2].outer;
	ok(places[2].frame.v == 2 && !places[2].depth && places[id.v].frame.v == 2 &&
		   places[id.v].depth == 1 && places[c->frames[id.v].outer.v].depth == 2 &&
		   places[c->frames[1].outer.v].frame.v == 1 &&
		   places[c->frames[1].outer.v].depth == 1,
	   "where the recording has them");
	free(places);
	ok(!catalog_add_symbol(c, &names[1]) && !catalog_add_symbol(c, &names[2]), "nor twice");
	ok(!catalog_add_symbol(c, &(struct symbol_record){{2}, 4, "far", NULL, 0}) &&
		   !catalog_add_symbol(c, &(struct symbol_record){{2}, UINT32_MAX, "x", NULL, 0}) &&
		   !catalog_add_symbol(c, &(struct symbol_record){{0}, 0, "none", NULL, 0}) &&
		   !catalog_add_symbol(c, &(struct symbol_record){{3}, 0, "outer", NULL, 0}),
	   "nor where there is no frame, or none before it");
}

static void check_catalog(const struct catalog *c)
{
	const struct catalog_frame *f;

	ok(!strcmp(catalog_text(c, "version"), "1.0") && !catalog_text(c, "empty") &&
		   !catalog_text(c, "nothing"),
	   "texts");
	ok(catalog_number(c, "low", 0) == INT64_MIN && catalog_number(c, "again", 0) == 2 &&
		   catalog_number(c, "nothing", 42) == 42,
	   "numbers; one put again is replaced");
	ok(c->n_processes == 4 && c->processes[1].id == 1 && c->processes[1].pid == 4242 &&
		   !strcmp(c->processes[1].command, "[\"ls\"]") && c->processes[1].start_ns == 5 &&
		   !c->processes[1].end_ns && !c->processes[1].ended,
	   "a process that has not ended");
	ok(c->processes[2].ended && c->processes[2].exit_status == 3 &&
		   !c->processes[2].exit_signal && c->processes[2].end_ns == 6 &&
		   !c->processes[2].command,
	   "a process that exited");
	ok(c->processes[3].ended && c->processes[3].exit_status == -1 &&
		   c->processes[3].exit_signal == 9,
	   "a process that was killed");
	ok(c->n_spaces == 3 && c->spaces[1].id.v == 1 &&
		   !strcmp(c->spaces[1].executable, "/bin/ls") &&
		   c->spaces[1].start_ns == 10 && !c->spaces[1].end && !c->spaces[1].end_ns,
	   "a space that has not ended");
	ok(c->spaces[2].exec_count == 1 && !strcmp(c->spaces[2].end, "exit") &&
		   c->spaces[2].end_ns == 30 && c->spaces[2].process == 1 &&
		   !c->spaces[2].executable,
	   "a space that ended");
	ok(c->n_threads == 5 && c->threads[1].tid == 4242 && !strcmp(c->threads[1].name, "main") &&
		   c->threads[1].start_ns == 1 && c->threads[1].end_ns == 9 &&
		   c->threads[4].tid == 4250 && !c->threads[4].name && !c->threads[4].end_ns,
	   "threads");
	ok(c->threads[2].id.v == 0 && c->threads[2].tid == 0, "an id that is missing is empty");
	ok(c->n_families == 64 && !strcmp(c->families[63].name, "libc malloc") &&
		   !strcmp(c->families[63].layer, "heap"),
	   "a family");
	ok(!strcmp(catalog_module_path(c, (struct module_id){1}), "/bin/ls") &&
		   !strcmp(c->modules[1].build_id, "c0ffee") && !c->modules[2].build_id &&
		   !catalog_module_path(c, (struct module_id){0}) &&
		   !catalog_module_path(c, (struct module_id){99}),
	   "modules");
	f = catalog_frame(c, (struct frame_id){1});
	ok(f->module.v == 1 && f->offset == 0x1234 && !strcmp(f->function, "inner") &&
		   !strcmp(f->file, "ls.c") && f->line == 12,
	   "a frame with the symbol of depth 0");
	f = catalog_frame(c, (struct frame_id){2});
	ok(f->module.v == 0 && f->offset == UINT64_MAX && !f->function && !f->file && !f->line,
	   "a frame without a symbol");
	ok(!catalog_frame(c, (struct frame_id){99})->offset &&
		   !catalog_stack(c, (struct stack_id){UINT32_MAX})->frame.v,
	   "a frame and a stack that there are not are empty");
	ok(catalog_stack(c, (struct stack_id){2})->parent.v == 1 &&
		   catalog_stack(c, (struct stack_id){2})->frame.v == 1 &&
		   catalog_stack(c, (struct stack_id){1})->frame.v == 2 &&
		   catalog_stack(c, (struct stack_id){1})->end == STACK_TOO_DEEP,
	   "stacks");
	ok(catalog_loss(c, "lost_alloc") == 1ull << 40 && catalog_loss(c, "nothing") == 0,
	   "losses");
}

static void test_catalog(void)
{
	const char *path = in_folder("catalog");
	struct store_writer *w = create(path, false);
	struct store_reader *r;
	struct catalog c = {0};
	struct stat st;

	ok(w, "a recording is created");
	put_all(w);
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0, "all that is no event is put and closed");
	ok(!stat(path, &st) && (st.st_mode & 07777) == 0600 &&
		   store_bytes_on_disk(path) == (uint64_t)st.st_size,
	   "the file is its owner's alone");
	r = open_reader(path);
	if (ok(r && store_reader_load(r, &c, &err) == 0, "and it is loaded"))
		check_catalog(&c);
	if (c.n_recorded_frames == 3)
		check_added_names(&c);
	catalog_release(&c);
	catalog_release(&c);
	store_reader_close(r);
	store_reader_close(NULL);
	expect_rows("mappings", path,
		    "SELECT space, module, start, end, bias, first_ns FROM mapping",
		    "1|1|-10485760|-1|4096|11|");
	expect_rows("the timeline, rewritten with fewer buckets", path, "SELECT * FROM timeline",
		    "0|1|2|3|4|5|1|6|7|8|9|10|");
	expect_rows("its width", path,
		    "SELECT value FROM recording WHERE key LIKE 'timeline%' ORDER BY key",
		    "1000|100|");
	expect_rows("resident memory", path, "SELECT * FROM rss", "100|1|1048576|");
	expect_rows("sites", path, "SELECT * FROM site",
		    "1|2|0|1|2|3|4|5|6|7|2|1|1|1|2|3|4|5|6|7|");
	expect_rows("whose they are", path,
		    "SELECT stack, function, file, line, module, module_id FROM own",
		    "1|0xffffffffffffffff|NULL|NULL|NULL|0|2|outer|NULL|NULL|/bin/ls|1|");
	expect_rows("files", path, "SELECT file, module, alloc_calls, temporary_allocs FROM file",
		    "NULL|NULL|1|7|NULL|/bin/ls|1|7|");
	expect_rows("functions", path, "SELECT function, module, peak_bytes FROM function",
		    "0xffffffffffffffff|NULL|6|outer|/bin/ls|6|");
	expect_rows("leaks", path, "SELECT * FROM leak ORDER BY function",
		    "0xffffffffffffffff|NULL|NULL|NULL|4|3|outer|NULL|NULL|/bin/ls|4|3|");
	expect_rows("symbols", path, "SELECT * FROM symbol",
		    "1|0|inner|ls.c|12|1|1|outer|NULL|NULL|");
	ok(empty_folder() == 1, "it is one file");
}

/* ---- stacks ------------------------------------------------------------------------ */

static struct stack_id parent_of(uint32_t id)
{
	return (struct stack_id){(id * 7u) % id};
}

/* Of [@first, @end); a flush after each of which @flush_at is a divisor. */
static void put_stacks(struct store_writer *w, uint32_t first, uint32_t end, uint32_t flush_at)
{
	for (uint32_t id = first; id < end; id++) {
		store_writer_put_stack(w, (struct stack_id){id}, parent_of(id),
				       (struct frame_id){1 + id % 100},
				       id % 3 ? STACK_COMPLETE : STACK_TOO_DEEP);
		if (id % flush_at == 0)
			store_writer_flush(w, NULL);
	}
}

/* Stacks that are as they were put, of those in [1, @end). */
static uint32_t right_stacks(const char *path, uint32_t end)
{
	struct store_reader *r = open_reader(path);
	struct catalog c = {0};
	uint32_t right = 0;

	if (r && store_reader_load(r, &c, &err) == 0)
		for (uint32_t id = 1; id < end && id < c.n_stacks; id++)
			right += c.stacks[id].parent.v == parent_of(id).v &&
				 c.stacks[id].frame.v == 1 + id % 100 &&
				 c.stacks[id].end == (id % 3 ? STACK_COMPLETE : STACK_TOO_DEEP);
	catalog_release(&c);
	store_reader_close(r);
	return right;
}

static void test_stacks(void)
{
	enum { FIRST = 1000, MOST = 3000 };
	const char *path = in_folder("stacks"), *next_path = in_folder("next-stacks");
	struct store_writer_options o = {.uid = geteuid(), .gid = getegid()};
	const struct dropped_events earlier = {0};
	struct store_writer *w = create(path, false), *old;

	for (uint32_t i = 1; i <= 100; i++)
		store_writer_put_frame(w, (struct frame_id){i}, (struct module_id){0}, i);
	put_stacks(w, 1, FIRST, 170);
	store_writer_flush(w, NULL);
	ok(store_writer_continue(w, next_path, &o, &earlier, &old, &err) == 0,
	   "a file that goes on from one with stacks");
	put_stacks(w, FIRST, 2 * FIRST, MOST);
	put_stacks(w, FIRST / 2, FIRST, MOST); /* once more */
	put_stacks(w, 2 * FIRST, MOST, MOST);
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0 && store_writer_close(old, &err) == 0,
	   "stacks in a row, at once and one by one, and some of them again");
	ok(right_stacks(path, MOST) == FIRST - 1, "the first file has its own");
	ok(right_stacks(next_path, MOST) == MOST - 1, "the second has all");
	unlink(path);
	unlink(next_path);
}

/* So many that two threads read them. */
static void test_many_stacks(void)
{
	enum { MANY = 150000 };
	static const char *const changes[] = {
		"UPDATE stack SET frame = frame + 1 WHERE id = 5",
		"UPDATE stack SET frame = frame + 1 WHERE id = 74999",
		"UPDATE stack SET frame = frame + 1 WHERE id = 75000",
		"UPDATE stack SET frame = frame + 1 WHERE id = 149999",
		"DELETE FROM stack WHERE id = 149999",
		"DELETE FROM stack WHERE id > 60000",
		"DELETE FROM stack WHERE id BETWEEN 1 AND 140000",
		"INSERT INTO stack VALUES (150000, 1, 1, 0)",
		"INSERT INTO stack VALUES (1000000, 1, 1, 0)",
		"INSERT INTO stack VALUES (9223372036854775807, 1, 1, 0)",
		"INSERT INTO stack VALUES (-5, 1, 1, 0)",
	};
	const char *path = in_folder("many-stacks"), *changed = in_folder("changed-stacks");
	struct store_writer *w = create(path, false);
	size_t refused = 0;
	struct bytes whole;

	for (uint32_t i = 1; i <= 100; i++)
		store_writer_put_frame(w, (struct frame_id){i}, (struct module_id){0}, i);
	put_stacks(w, 1, MANY, MANY);
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0 && right_stacks(path, MANY) == MANY - 1,
	   "many stacks are all right");
	if (!read_file(path, &whole))
		bail_out("%s cannot be read", path);
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		struct store_reader *r = NULL;

		write_file(changed, whole.data, whole.len);
		if (run_sql(changed, changes[i]) && store_reader_open(changed, &r, &err) == -EBADMSG)
			refused++;
		else
			diag("%s is not noticed", changes[i]);
		store_reader_close(r);
		unlink(changed);
	}
	ok(refused == COUNT_OF(changes), "and what is not is noticed, in either half");
	free(whole.data);
	unlink(path);
}

/* ---- events ------------------------------------------------------------------------ */

static void test_events(void)
{
	enum { FIRST = 70000, ALL = 70010, SECOND_SPACE = 100 };
	const char *path = in_folder("events");
	struct store_writer *w = create(path, false);
	uint64_t after = 0, wrong = 0;
	struct chunk_info info;
	struct store_reader *r;

	for (uint64_t i = 0; i < FIRST; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){1}, &e);
	}
	ok(store_writer_flush(w, &err) == 0, "70,000 events are put and flushed");
	r = open_reader(path);
	ok(read_events(r, &after, 0, &wrong) == FIRST && !wrong && after == 2,
	   "they are read, while the writer is open, from two chunks");
	for (uint64_t i = FIRST; i < ALL; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){1}, &e);
	}
	after = 0;
	ok(read_events(r, &after, 0, &wrong) == FIRST && !wrong,
	   "what is put but not flushed is not seen");
	ok(store_writer_flush(w, &err) == 0 && store_writer_flush(w, &err) == 0,
	   "flushed, and once more for nothing");
	after = 1;
	ok(read_events(r, &after, CHUNK_EVENTS_MAX, &wrong) == ALL - CHUNK_EVENTS_MAX && !wrong,
	   "then the reader finds them in the chunk that was not full");
	for (uint64_t i = ALL; i < ALL + SECOND_SPACE; i++) {
		struct event e = numbered_event(i);

		store_writer_put_event(w, (struct space_id){2}, &e);
	}
	store_writer_flush(w, &err);
	ok(read_events(r, &after, ALL, &wrong) == SECOND_SPACE && !wrong && after == 3,
	   "another space begins another chunk");
	ok(store_reader_next_chunk(r, 2, &info, events, &err) == 1 && info.space.v == 2 &&
		   info.events == SECOND_SPACE && info.first_ns == 1000 + ALL * 3,
	   "with its own numbers");
	ok(store_reader_next_chunk(r, 3, &info, events, &err) == 0, "there is none after it");
	store_reader_close(r);
	store_writer_put_event(w, (struct space_id){3}, &(struct event){
		.kind = EVENT_ALLOC, .t_ns = 1, .usable = USABLE_UNKNOWN});
	store_writer_seal(w);
	ok(store_writer_close(w, &err) == 0, "the recording is closed, after a single event more");
	after = 0;
	r = open_reader(path);
	ok(read_events(r, &after, 0, &wrong) == ALL + SECOND_SPACE + 1 && wrong == 1 &&
		   events[0].t_ns == 1,
	   "closed, it has all events");
	store_reader_close(r);
	ok(empty_folder() == 1, "in one file");
}

/* ---- a file that another goes on from ------------------------------------------------- */

static uint8_t journal_mode(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint8_t mode = 0;

	if (pread(fd, &mode, 1, 18) != 1)
		bail_out("cannot read %s", path);
	close(fd);
	return mode;
}

/* So many events, not closed. */
static struct store_writer *begin_with(const char *path, uint64_t n)
{
	struct store_writer *w = create(path, true);

	for (uint64_t i = 0; i < n; i++)
		put_event(w, 1, (struct event){.kind = EVENT_ALLOC, .t_ns = 1 + i,
					       .usable = USABLE_UNKNOWN});
	store_writer_flush(w, &err);
	return w;
}

static void test_earlier(void)
{
	char *first = xstrdup(in_folder("1.trail")), *last = xstrdup(in_folder("2.trail"));
	struct store_writer *w = begin_with(first, 10), *next = create(last, true);
	struct checkpoint_info found;
	struct store_earlier *e = NULL;
	struct store_reader *r = NULL;
	struct chunk_info info;

	store_writer_put_number(next, DROPPED_EVENTS_KEY, 10);
	store_writer_put_number(next, DROPPED_UNTIL_KEY, 10);
	store_writer_close(next, &err);
	ok(!store_earlier_open((const char *const[]){first}, 1, last, &e, &err) &&
		   !store_reader_open_after(last, e, &r, &err) &&
		   store_reader_next_chunk(r, 0, &info, events, &err) == 1 && info.events == 10,
	   "events of a file that is not complete yet");
	ok(store_reader_next_chunk(r, 1, &info, events, &err) == 0, "then of the last");
	store_writer_seal(w);
	ok(!store_writer_close(w, &err) && journal_mode(first) == 1,
	   "the first may become one file meanwhile");
	ok(store_reader_next_chunk(r, 0, &info, events, &err) == 1 && info.events == 10,
	   "and is read on");
	store_reader_close(r);
	store_earlier_close(e);
	unlink(first);
	w = begin_with(first, 10);
	if (!ok(!store_earlier_open((const char *const[]){first}, 1, last, &e, &err) &&
			!store_reader_open_after(last, e, &r, &err), "once more"))
		return;
	store_writer_close(w, &err);
	unlink(first);
	ok(store_reader_next_chunk(r, 0, &info, events, &err) < 0 && strstr(err.hint, "oldest"),
	   "it was removed: %s", err.what);
	memset(&err, 0, sizeof(err));
	ok(store_reader_find_checkpoint(r, 1, &found, &err) < 0 && strstr(err.hint, "oldest"),
	   "which a checkpoint says, too: %s", err.what);
	store_reader_close(r);
	store_earlier_close(e);
	empty_folder();
	free(first);
	free(last);
}

int main(void)
{
	set_up("store");
	test_catalog();
	test_stacks();
	test_many_stacks();
	test_events();
	test_earlier();
	ok(tear_down(), "nothing is left behind");
	return done();
}
