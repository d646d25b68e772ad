/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of unfreed blocks: what is one, sizes, ages, filters, suppressions. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/leaks.h"
#include "common/xalloc.h"
#include "tests/unit/catalog_fixture.h"
#include "tests/unit/tap.h"

static struct module_record modules[] = {
	[1] = {.path = "/bin/program"}, [2] = {.path = "/lib/l.so"},
};
static struct leak_blocks blocks;
static struct suppressions suppressions;
static struct leaks leaks;
static const struct leak_filter all = {.until_ns = UINT64_MAX};

static void begin(void)
{
	forget();
	catalog.modules = modules;
	catalog.n_modules = COUNT_OF(modules);
	leaks_release(&leaks);
	leak_blocks_release(&blocks);
	suppressions_release(&suppressions);
}

static void add(uint32_t stack, uint64_t t_ns, uint64_t size)
{
	leak_blocks_add(&blocks, &(struct replay_block){.t_ns = t_ns, .size = size,
							.stack = {stack}});
}

static void make(const struct leak_filter *filter, enum rows_by by)
{
	struct own own;

	leaks_release(&leaks);
	own_init(&own, &catalog, NULL, 0);
	leaks_make(&leaks, &catalog, &own, &blocks, filter, &suppressions, by);
	own_release(&own);
}

static bool is(size_t i, uint64_t bytes, uint64_t n, uint64_t min, uint64_t max)
{
	const struct leak *l = &leaks.items[i];

	return i < leaks.n && l->row->totals.live_bytes == bytes &&
	       l->row->totals.live_blocks == n && l->min_size == min && l->max_size == max;
}

static uint32_t place(const char *function, const char *file, uint32_t line)
{
	uint32_t id = frame(1, function);

	frames[id].file = file;
	frames[id].line = line;
	return id;
}

static void test_inlining(void)
{
	uint32_t top, inlined, called, elsewhere;

	begin();
	top = push(0, place("main", "main.c", 9), 0);
	/* take() inlined into work(), and a copy that is called: the same functions and lines */
	inlined = place("take", "take.c", 3);
	frames[inlined].is_inlined = true;
	frames[inlined].outer.v = place("work", "work.c", 5);
	called = push(push(top, place("work", "work.c", 5), 0), place("take", "take.c", 3), 0);
	elsewhere = push(push(top, place("work", "work.c", 6), 0), place("take", "take.c", 3), 0);
	add(push(top, inlined, 0), 1, 10);
	add(called, 2, 20);
	add(elsewhere, 3, 40);
	make(&all, ROWS_BY_STACK);
	ok(leaks.n == 2 && is(0, 40, 1, 40, 40) && is(1, 30, 2, 10, 20),
	   "an inlined function is one as well as a called one");
	make(&all, ROWS_BY_LINE);
	ok(leaks.n == 1 && is(0, 70, 3, 10, 40) && leaks.items[0].row->line == 3, "by line");
}

static void test_numbers(void)
{
	uint32_t top, a, b, c;

	begin();
	top = push(0, place("main", "main.c", 9), 0);
	a = push(top, place("a", "x.c", 1), 0);
	b = push(top, place("b", "x.c", 2), 0);
	c = push(top, frame(2, "c"), 0);
	for (uint64_t i = 1; i <= 5; i++)
		add(a, 100 * i, 16);
	add(b, 7, 50);
	add(b, 1000, 500);
	add(c, 600, 0);
	add(0, 700, 1);
	add(UINT32_MAX, 800, 2);
	make(&all, ROWS_BY_STACK);
	ok(leaks.n == 5 && leaks.n_shown == 5 && leaks.bytes == 633 && leaks.blocks == 10,
	   "all blocks are in them, also those without a stack");
	ok(is(0, 550, 2, 50, 500) && is(1, 80, 5, 16, 16) && is(4, 0, 1, 0, 0),
	   "by bytes, with sizes");
	ok(leaks.items[1].row->oldest_ns == 100 && leaks.items[1].row->newest_ns == 500 &&
		   leaks.items[1].median_ns == 300 && leaks.items[0].median_ns == 503,
	   "oldest, newest and median, of two their mean");
	make(&all, ROWS_BY_FILE);
	ok(leaks.n == 3 && is(0, 630, 7, 16, 500) && leaks.items[0].median_ns == 300 &&
		   !strcmp(leaks.items[0].row->file, "x.c"), "by file");
	make(&all, ROWS_BY_FUNCTION);
	ok(leaks.n == 4 && is(0, 550, 2, 50, 500), "by function");
	ok(blocks.max_size == 500, "the largest");
	make(&(struct leak_filter){.since_ns = 200, .until_ns = 700, .min_size = 1},
	     ROWS_BY_STACK);
	ok(leaks.n == 2 && is(0, 64, 4, 16, 16) && is(1, 1, 1, 1, 1) && leaks.bytes == 65,
	   "a filter");
	make(&(struct leak_filter){.min_size = UINT64_MAX}, ROWS_BY_STACK);
	ok(!leaks.n && !leaks.bytes && !blocks.n, "nothing is left");
	make(&all, ROWS_BY_STACK);
	ok(!leaks.n, "of nothing there are none");
}

static void test_suppressed(void)
{
	uint32_t top, a, b;

	begin();
	top = push(0, place("main", "main.c", 9), 0);
	a = push(top, place("a", "x.c", 1), 0);
	b = push(top, place("b", "x.c", 2), 0);
	add(a, 1, 10);
	add(a, 2, 10);
	add(b, 3, 5);
	ok(!suppressions_parse(&suppressions, "x", "leak:^a$\nleak:^z$", SUPPRESSION_GIVEN, NULL,
			       NULL), "two suppressions");
	make(&all, ROWS_BY_STACK);
	ok(leaks.n == 2 && leaks.n_shown == 1 && is(0, 5, 1, 5, 5) && is(1, 20, 2, 10, 10) &&
		   !leaks.items[0].suppressed_by &&
		   leaks.items[1].suppressed_by == &suppressions.items[0],
	   "what is suppressed comes last");
	ok(leaks.bytes == 25 && leaks.suppressed_bytes == 20 && leaks.suppressed_blocks == 2 &&
		   suppressions.items[0].bytes == 20 && suppressions.items[0].blocks == 2 &&
		   !suppressions.items[1].blocks,
	   "and is counted");
	make(&all, ROWS_BY_FILE);
	ok(leaks.n == 2 && is(0, 5, 1, 5, 5) && is(1, 20, 2, 10, 10),
	   "a file has what is suppressed in it apart");
}

/* As a look at them has found it: blocks are at multiples of 16. */
static void of_kind(uint32_t stack, uint64_t size, enum block_kind kind)
{
	struct reachability_record *r = &blocks.kinds.record;
	uint64_t address = 16 * (blocks.n + 1);

	leak_blocks_add(&blocks, &(struct replay_block){.t_ns = 1, .size = size, .address = address,
							.stack = {stack}});
	r->addresses = xrealloc(r->addresses, blocks.n * sizeof(*r->addresses));
	r->kinds = xrealloc(r->kinds, blocks.n);
	r->addresses[r->n] = address;
	r->kinds[r->n++] = (uint8_t)kind;
	r->t_ns = 1000;
	blocks.kinds.is_there = true;
	blocks.items[blocks.n - 1].kind =
		(uint8_t)block_kinds_of(&blocks.kinds, address, blocks.items[blocks.n - 1].t_ns);
}

static void test_kinds(void)
{
	uint32_t top, a, b;

	begin();
	top = push(0, place("main", "main.c", 9), 0);
	a = push(top, place("a", "x.c", 1), 0);
	b = push(top, place("b", "x.c", 2), 0);
	of_kind(a, 10, BLOCK_REACHABLE);
	of_kind(a, 10, BLOCK_DEFINITE);
	of_kind(a, 10, BLOCK_REACHABLE);
	of_kind(b, 100, BLOCK_POSSIBLE);
	of_kind(b, 1000, BLOCK_INDIRECT);
	of_kind(b, 5, BLOCK_DEFINITE);
	add(b, 7, 50000);
	ok(block_kinds_of(&blocks.kinds, 32, 1000) == BLOCK_DEFINITE &&
		   !block_kinds_of(&blocks.kinds, 32, 1001) &&
		   !block_kinds_of(&blocks.kinds, 33, 1) && !block_kinds_of(&blocks.kinds, 8, 1) &&
		   !block_kinds_of(&blocks.kinds, 1 << 20, 1),
	   "a block that is later than the look, or was not there, is of no kind");
	make(&all, ROWS_BY_STACK);
	ok(leaks.n == 6 && is(0, 10, 1, 10, 10) && is(1, 5, 1, 5, 5) && is(2, 1000, 1, 1000, 1000) &&
		   is(3, 100, 1, 100, 100) && is(4, 20, 2, 10, 10) && is(5, 50000, 1, 50000, 50000),
	   "definite, indirect, possible, reachable; what nobody looked at last");
	ok(leaks.items[0].kind == BLOCK_DEFINITE && leaks.items[2].kind == BLOCK_INDIRECT &&
		   leaks.items[4].kind == BLOCK_REACHABLE && !leaks.items[5].kind,
	   "a record is of one kind");
	ok(leaks.kinds[BLOCK_DEFINITE].blocks == 2 && leaks.kinds[BLOCK_DEFINITE].bytes == 15 &&
		   leaks.kinds[BLOCK_REACHABLE].bytes == 20 && leaks.kinds[0].bytes == 50000 &&
		   leaks.blocks == 7, "totals of each");
	ok(!suppressions_parse(&suppressions, "x", "{\nb\nMemcheck:Leak\nmatch-leak-kinds: possible,"
			       "definite\nfun:*\nfun:b\n}", SUPPRESSION_GIVEN, NULL, NULL),
	   "a suppression of two kinds");
	make(&all, ROWS_BY_STACK);
	ok(leaks.n == 6 && leaks.n_shown == 3 && is(0, 10, 1, 10, 10) && is(1, 1000, 1, 1000, 1000) &&
		   leaks.kinds[BLOCK_DEFINITE].blocks == 1 && !leaks.kinds[BLOCK_POSSIBLE].blocks &&
		   leaks.suppressed_blocks == 3,
	   "is of these, and of what nobody looked at");
	suppressions_release(&suppressions);
	make(&all, ROWS_BY_FILE);
	ok(leaks.n == 5 && is(0, 15, 2, 5, 10), "by file");
	make(&(struct leak_filter){.until_ns = UINT64_MAX,
				   .kinds = 1 << BLOCK_DEFINITE | 1 << BLOCK_POSSIBLE}, ROWS_BY_STACK);
	ok(leaks.n == 3 && leaks.bytes == 115 && leaks.items[2].kind == BLOCK_POSSIBLE,
	   "a filter of two kinds");
}

static void test_names_of_kinds(void)
{
	unsigned int bits = 77;
	const char *bad;
	int len;

	ok(block_kinds_parse("definite,reachable", &bits, &bad, &len) &&
		   bits == (1 << BLOCK_DEFINITE | 1 << BLOCK_REACHABLE), "names of kinds");
	ok(block_kinds_parse("all", &bits, &bad, &len) && bits == BLOCK_KINDS_ALL &&
		   block_kinds_parse("none", &bits, &bad, &len) && !bits, "all and none");
	ok(!block_kinds_parse("definite,lost,all", &bits, &bad, &len) && !strncmp(bad, "lost", 4) &&
		   len == 4, "what is not one");
	ok(!block_kinds_parse("", &bits, &bad, &len) && !block_kinds_parse("definite,", &bits, &bad, &len) &&
		   !block_kinds_parse("none,all", &bits, &bad, &len), "nothing, and none of several");
}

int main(void)
{
	test_kinds();
	test_names_of_kinds();
	test_inlining();
	test_numbers();
	test_suppressed();
	begin();
	return done();
}
