/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an analysis makes of recordings of known events. */
#include "config.h"
#include "analyzer/analysis.h"

#include <errno.h>
#include <string.h>

#include "common/xalloc.h"
#include "store/reader.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tests/unit/files.h"
#include "tests/unit/store_fixture.h"
#include "tests/unit/tap.h"

static const struct group *group(const struct analysis *a, uint64_t key)
{
	static const struct group none;

	for (size_t i = 0; i < a->n_groups; i++)
		if (a->groups[i].key == key)
			return &a->groups[i];
	return &none;
}

/* Totals in their order. */
static void expect_totals(const char *name, const struct heap_totals *t, uint64_t alloc_calls,
			  uint64_t allocated, uint64_t live_blocks, uint64_t live_bytes,
			  uint64_t peak_blocks, uint64_t peak_bytes, uint64_t temporary)
{
	struct heap_totals e = {alloc_calls, allocated,	 live_blocks, live_bytes,
				peak_blocks, peak_bytes, temporary};

	if (!ok(!memcmp(t, &e, sizeof(e)), "%s", name))
		diag("it was %" PRIu64 " calls %" PRIu64 " bytes, live %" PRIu64 " %" PRIu64
		     ", peak %" PRIu64 " %" PRIu64 ", temporary %" PRIu64,
		     t->alloc_calls, t->allocated_bytes, t->live_blocks, t->live_bytes,
		     t->peak_blocks, t->peak_bytes, t->temporary_allocs);
}

static void put_known(struct store_writer *w)
{
	static const struct {
		uint32_t space;
		struct event e;
	} stream[] = {
#define E(...) .e = {__VA_ARGS__}
		/* the same peak three times: with two blocks, with three, with one less known */
		{1, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 10,
		      .address = 0x10, .size = 100, .usable = 104)}, /* slot 0 */
		{1, E(.kind = EVENT_ALLOC, .thread = {2}, .stack = {2}, .family = 1, .t_ns = 20,
		      .address = 0x20, .size = 50, .usable = 56)}, /* slot 1; 150 bytes */
		{1, E(.kind = EVENT_FREE, .thread = {2}, .slot = 0, .t_ns = 30)}, /* 50 */
		{1, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 40,
		      .address = 0x30, .size = 60, .usable = 72)}, /* slot 0; 110 */
		{1, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {3}, .family = 2, .t_ns = 50,
		      .address = 0x40, .size = 40, .usable = 40)}, /* slot 2; 150, the peak */
		{1, E(.kind = EVENT_FREE, .thread = {1}, .slot = 2, .t_ns = 60)}, /* temporary */
		{1, E(.kind = EVENT_FREE, .free_class = FREE_UNKNOWN, .thread = {1}, .t_ns = 61,
		      .address = 0x99)},
		{1, E(.kind = EVENT_FREE, .free_class = FREE_DOUBLE, .thread = {1}, .t_ns = 62,
		      .address = 0x40)},
		{1, E(.kind = EVENT_REALLOC, .thread = {2}, .stack = {2}, .family = 1, .slot = 1,
		      .t_ns = 70, .address = 0x50, .size = 80, .usable = 88)}, /* 140 */
		/* exec: 2 blocks of 140 bytes end with it */
		{2, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 80,
		      .address = 0x60, .size = 10, .usable = 24)}, /* slot 0 */
		{2, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {4}, .family = 1, .t_ns = 90,
		      .address = 0x70, .size = 5, .usable = USABLE_UNKNOWN)}, /* slot 1 */
		{2, E(.kind = EVENT_ALLOC, .thread = {1}, .stack = {1}, .family = 1, .t_ns = 95,
		      .address = 0x80, .size = 0, .usable = 24)}, /* slot 2 */
		{2, E(.kind = EVENT_FREE, .free_class = FREE_IMPLIED, .thread = {3}, .slot = 0,
		      .t_ns = 99)},
#undef E
	};

	for (size_t i = 0; i < COUNT_OF(stream); i++)
		put_event(w, stream[i].space, stream[i].e);
}

static void test_analysis(void)
{
	const char *path = in_folder("known");
	struct store_writer *w = create(path, false);
	struct store_reader *r;
	struct analysis a;
	const struct group *g;

	put_known(w);
	store_writer_close(w, NULL);
	r = open_reader(path);
	if (!ok(analysis_make(r, GROUP_STACK, NULL, NULL, &a, &err) == 0, "a known stream is analysed"))
		return;
	expect_totals("all totals; of equal peaks the last", &a.totals, 8, 345, 2, 5, 3, 150, 1);
	ok(a.peak_time_ns == 50, "the time of the peak");
	ok(a.free_calls == 4, "frees that ended a block");
	ok(a.frees[FREE_OF_BLOCK] == 2 && a.frees[FREE_IMPLIED] == 1 &&
		   a.frees[FREE_UNKNOWN] == 1 && a.frees[FREE_DOUBLE] == 1 &&
		   a.frees[FREE_INTERNAL] == 0,
	   "frees by what they turned out to be");
	ok(a.ended_by_exec_blocks == 2 && a.ended_by_exec_bytes == 140,
	   "what ended by the exec is told, and is not live");
	ok(a.usable_bytes == 24 && !a.usable_requested_bytes, "the usable bytes that are known");
	ok(a.events == 13 && a.first_ns == 10 && a.last_ns == 99, "events and times");
	ok(a.n_groups == 4, "four stacks");
	expect_totals("the share of stack 1", &group(&a, 1)->totals, 4, 170, 1, 0, 1, 60, 0);
	expect_totals("the share of stack 2", &group(&a, 2)->totals, 2, 130, 0, 0, 1, 50, 0);
	expect_totals("the share of stack 3", &group(&a, 3)->totals, 1, 40, 0, 0, 1, 40, 1);
	expect_totals("the share of stack 4", &group(&a, 4)->totals, 1, 5, 1, 5, 0, 0, 0);
	g = group(&a, 1);
	ok(g->oldest_ns == 95 && g->newest_ns == 95, "the times of a stack's live blocks");
	ok(!group(&a, 2)->oldest_ns && !group(&a, 2)->newest_ns, "none where none is live");
	analysis_release(&a);

	ok(analysis_make(r, GROUP_THREAD, NULL, NULL, &a, &err) == 0 && a.n_groups == 2, "by thread");
	expect_totals("thread 1", &group(&a, 1)->totals, 6, 215, 2, 5, 2, 100, 1);
	expect_totals("thread 2", &group(&a, 2)->totals, 2, 130, 0, 0, 1, 50, 0);
	analysis_release(&a);
	ok(analysis_make(r, GROUP_FAMILY, NULL, NULL, &a, &err) == 0 && a.n_groups == 2, "by family");
	expect_totals("family 2", &group(&a, 2)->totals, 1, 40, 0, 0, 1, 40, 1);
	analysis_release(&a);
	ok(analysis_make(r, GROUP_SIZE, NULL, NULL, &a, &err) == 0 && a.n_groups == 5, "by size");
	expect_totals("sizes 32 to 63", &group(&a, 32)->totals, 3, 150, 0, 0, 3, 150, 1);
	expect_totals("sizes of 0", &group(&a, 0)->totals, 1, 0, 1, 0, 0, 0, 0);
	analysis_release(&a);
	analysis_release(&a);
	store_reader_close(r);
	empty_folder();

	w = create(path, false);
	for (uint32_t i = 1; i <= 4; i++)
		put_event(w, i, (struct event){
			.kind = EVENT_ALLOC, .thread = {1}, .t_ns = i, .size = 10 * i});
	store_writer_close(w, NULL);
	r = open_reader(path);
	ok(analysis_make(r, GROUP_STACK, NULL, NULL, &a, &err) == 0 && a.ended_by_exec_blocks == 3 &&
		   a.ended_by_exec_bytes == 60 && a.totals.live_bytes == 40 &&
		   a.totals.peak_bytes == 40 && a.peak_time_ns == 4,
	   "three execs, each ends a block");
	analysis_release(&a);
	store_reader_close(r);
	empty_folder();
	ok(size_class(0) == 0 && size_class(1) == 1 && size_class(3) == 2 && size_class(4) == 4 &&
		   size_class(UINT64_MAX) == 1ull << 63,
	   "size classes");
}

/* A peak far into the second chunk; then a stream that contradicts itself. */
static void test_analysis_large(void)
{
	enum { N = 100000 };
	const char *path = in_folder("large");
	struct store_writer *w = create(path, false);
	struct store_reader *r;
	struct analysis a;

	for (uint64_t i = 0; i < N; i++) {
		struct event e = numbered_event(i);

		e.size = 16;
		e.stack.v = 1 + i % 2;
		if (i >= 80000) /* the peak is the 80,000th event */
			e = (struct event){.kind = EVENT_FREE, .thread = {1}, .t_ns = e.t_ns,
					   .slot = (uint32_t)(i - 80000)};
		put_event(w, 1, e);
	}
	store_writer_flush(w, NULL);
	r = open_reader(path);
	ok(analysis_make(r, GROUP_STACK, NULL, NULL, &a, &err) == 0, "a recording that is being written");
	expect_totals("its totals", &a.totals, 80000, 1280000, 60000, 960000, 80000, 1280000, 0);
	expect_totals("a share", &group(&a, 2)->totals, 40000, 640000, 30000, 480000, 40000, 640000,
		      0);
	ok(a.peak_time_ns == 1000 + 79999 * 3, "the peak in the second chunk");
	analysis_release(&a);
	put_event(w, 1, (struct event){
		.kind = EVENT_FREE, .thread = {1}, .t_ns = 1ull << 40, .slot = 5});
	store_writer_flush(w, NULL);
	err.what[0] = '\0';
	ok(analysis_make(r, GROUP_STACK, NULL, NULL, &a, &err) == -EBADMSG && err.what[0] && !a.groups,
	   "a second free of a block makes it unreadable");
	store_reader_close(r);
	store_writer_close(w, NULL);

	store_writer_close(create(in_folder("empty"), false), NULL);
	r = open_reader(in_folder("empty"));
	ok(analysis_make(r, GROUP_STACK, NULL, NULL, &a, &err) == 0 && a.events == 0 && !a.n_groups,
	   "a recording without events");
	expect_totals("it has nothing", &a.totals, 0, 0, 0, 0, 0, 0, 0);
	analysis_release(&a);
	store_reader_close(r);
	empty_folder();
}

int main(void)
{
	set_up("analysis");
	test_analysis();
	test_analysis_large();
	return tear_down() ? done() : 1;
}
