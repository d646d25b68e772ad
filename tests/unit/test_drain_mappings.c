/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that map, unmap and move pages of one address space, and tell it some time after: what
 * one has given up another may have been given, and have told, before.
 */
#include "config.h"

#include <linux/mman.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "tests/unit/drain_fixture.h"

enum { PAGES = 120, THREADS = 4, STEPS = 60000, PAGE = 4096, NOBODY = -1 };
#define BASE 0x700000000000ull

static struct {
	int owner[PAGES]; /* a thread */
	int block[PAGES]; /* the number of the block, or NOBODY */
	int next_block;
	struct {
		bool is_untold;
		struct ring_mapping told;
	} threads[THREADS];
	uint64_t calls, pages;
} world;

static uint64_t address_of(int page)
{
	return BASE + (uint64_t)page * PAGE;
}

/* ---- what the kernel does ---------------------------------------------------------------- */

static bool is_free(int page, int n)
{
	if (page + n > PAGES)
		return false;
	for (int i = page; i < page + n; i++)
		if (world.block[i] != NOBODY)
			return false;
	return true;
}

/* Where @n pages are free: the first place, so that what was given up is soon another's. */
static int place_for(int n)
{
	for (int page = 0; page + n <= PAGES; page++)
		if (is_free(page, n))
			return page;
	return NOBODY;
}

static void take(int thread, int page, int n, int block)
{
	for (int i = page; i < page + n; i++) {
		world.owner[i] = thread;
		world.block[i] = block;
	}
}

/* Another block on each side of it, if it was within one. */
static void give_up(int page, int n)
{
	int block = world.block[page];

	take(NOBODY, page, n, NOBODY);
	for (int i = page + n; i < PAGES && world.block[i] == block; i++)
		world.block[i] = world.next_block;
	world.next_block++;
}

static void come(int thread, int page, int n)
{
	take(thread, page, n, world.next_block++);
	world.calls++;
	world.pages += (uint64_t)n;
}

/* Some pages of one block of that thread. */
static bool choose(int thread, int *ret_page, int *ret_n, bool *ret_is_whole)
{
	int page = (int)random_below(PAGES), start, end;

	for (int i = 0; i < PAGES && world.owner[page] != thread; i++)
		page = (page + 1) % PAGES;
	if (world.owner[page] != thread)
		return false;
	for (start = page; start > 0 && world.block[start - 1] == world.block[page];)
		start--;
	for (end = page + 1; end < PAGES && world.block[end] == world.block[page];)
		end++;
	*ret_page = random_below(2) ? start : start + (int)random_below((uint64_t)(end - start));
	*ret_n = random_below(2) ? end - *ret_page
				 : 1 + (int)random_below((uint64_t)(end - *ret_page));
	*ret_is_whole = *ret_page == start && *ret_page + *ret_n == end;
	return true;
}

static bool map(int thread, struct ring_mapping *e)
{
	int n = 1 + (int)random_below(12), page = place_for(n);

	if (page == NOBODY)
		return false;
	come(thread, page, n);
	*e = (struct ring_mapping){.op = MAPPING_MAP, .flags = MAP_PRIVATE | MAP_ANONYMOUS,
				   .address = address_of(page),
				   .bytes = (uint64_t)(n * PAGE) - random_below(PAGE)};
	return true;
}

static bool map_over(int thread, struct ring_mapping *e)
{
	int page, n;

	if (!choose(thread, &page, &n, &(bool){false}))
		return false;
	give_up(page, n);
	come(thread, page, n);
	*e = (struct ring_mapping){.op = MAPPING_MAP, .address = address_of(page),
				   .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				   .bytes = (uint64_t)(n * PAGE)};
	return true;
}

static bool unmap(int thread, struct ring_mapping *e)
{
	int page, n;

	if (!choose(thread, &page, &n, &(bool){false}))
		return false;
	give_up(page, n);
	*e = (struct ring_mapping){.op = MAPPING_UNMAP, .address = address_of(page),
				   .bytes = (uint64_t)(n * PAGE)};
	return true;
}

static bool remap(int thread, struct ring_mapping *e)
{
	int page, n, wish = 1 + (int)random_below(16), to;
	bool is_whole;

	if (!choose(thread, &page, &n, &is_whole))
		return false;
	to = page;
	if (wish > n && !is_free(page + n, wish - n)) {
		to = place_for(wish);
		if (to == NOBODY)
			return false;
	}
	if (to != page || is_whole) {
		give_up(page, n);
		come(thread, to, wish);
	} else if (wish < n) {
		give_up(page + wish, n - wish);
	} else if (wish > n) {
		come(thread, page + n, wish - n);
	}
	*e = (struct ring_mapping){.op = MAPPING_REMAP, .flags = MREMAP_MAYMOVE,
				   .old_address = address_of(page),
				   .old_bytes = (uint64_t)(n * PAGE), .address = address_of(to),
				   .bytes = (uint64_t)(wish * PAGE)};
	return true;
}

/* ---- what is told ------------------------------------------------------------------------ */

static void tell(int thread)
{
	struct ring_mapping *e = &world.threads[thread].told;

	e->head = head(RING_MAPPING, (uint32_t)thread + 1);
	e->caller = caller;
	drain_feed(&drain, &e->head, sizeof(*e));
	world.threads[thread].is_untold = false;
}

/* At once, but for one of @late: then after some more of the others' steps. */
static void step(int thread, uint64_t late)
{
	static bool (*const calls[])(int, struct ring_mapping *) = {map, map, map_over, unmap,
								    remap, remap, remap};

	if (!world.threads[thread].is_untold)
		world.threads[thread].is_untold = calls[random_below(COUNT_OF(calls))](
			thread, &world.threads[thread].told);
	else if (random_below(8))
		return;
	if (world.threads[thread].is_untold && random_below(late))
		tell(thread);
}

static bool is_as_in_the_world(void)
{
	struct replay_block b;
	size_t at = 0;
	int owner[PAGES], wrong = 0;

	for (int i = 0; i < PAGES; i++)
		owner[i] = NOBODY;
	for (int n = 0; replay_next_live(&got.replay, &at, &b); n++) {
		int page = (int)((b.address - BASE) / PAGE), end = page + (int)(b.size / PAGE);

		if (b.address < BASE || end > PAGES) {
			wrong++;
			continue;
		}
		for (int i = page; i < end; i++) {
			wrong += owner[i] != NOBODY || world.block[i] != world.block[page];
			owner[i] = n;
		}
		wrong += page > 0 && world.block[page - 1] == world.block[page];
	}
	for (int i = 0; i < PAGES; i++)
		wrong += (owner[i] == NOBODY) != (world.block[i] == NOBODY);
	return !wrong && !got.contradictions;
}

/* Differ by so much at most. */
static bool is_near(uint64_t a, uint64_t b, uint64_t most)
{
	return a < b + most + 1 && b < a + most + 1;
}

/* Where three threads or more have had the same pages meanwhile, a call may be taken for another. */
static void test_late(uint64_t late, bool is_exact)
{
	uint64_t calls = 0, pages = 0;

	memset(&world, 0, sizeof(world));
	for (int i = 0; i < PAGES; i++)
		world.owner[i] = world.block[i] = NOBODY;
	begin();
	for (int i = 0; i < STEPS; i++)
		step((int)random_below(THREADS), late);
	for (int i = 0; i < THREADS; i++)
		if (world.threads[i].is_untold)
			tell(i);
	finish();
	for (size_t i = 0; i < got.n; i++)
		if (got.events[i].kind == EVENT_ALLOC || got.events[i].kind == EVENT_REALLOC) {
			calls++;
			pages += got.events[i].size / PAGE;
		}
	ok(is_as_in_the_world(), "one of %d is told late: blocks are the kernel's", (int)late);
	ok(world.calls > STEPS / 10 && is_near(calls, world.calls, is_exact ? 0 : world.calls / 1000) &&
		   is_near(pages, world.pages, is_exact ? 0 : world.pages / 1000),
	   "%+d calls of %d, %+d pages of %d", (int)(calls - world.calls), (int)world.calls,
	   (int)(pages - world.pages), (int)world.pages);
}

/* Where the probe could not ask how much it is, the mappings still say. */
static void test_segment(void)
{
	int id = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
	void *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	struct ring_mapping e = {.op = MAPPING_SEGMENT, .address = (uint64_t)(uintptr_t)at};

	if (at == (void *)-1)
		bail_out("no shared memory");
	shmctl(id, IPC_RMID, NULL);
	begin();
	e.head = head(RING_MAPPING, 1);
	drain_feed(&drain, &e.head, sizeof(e));
	shmdt(at);
	e.head = head(RING_MAPPING, 1);
	e.address += 1ull << 40; /* nothing, or nothing of that kind */
	drain_feed(&drain, &e.head, sizeof(e));
	finish();
	ok(is_live(1, 5 * PAGE) && live((uint64_t)(uintptr_t)at), "how much shared memory it is");
	ok(drain.counts.unknown_segments == 1, "and what nobody knows any more is counted");
}

int main(void)
{
	set_up("drain_mappings");
	seed_random();
	test_late(UINT32_MAX, true);
	for (uint64_t late = 64; late > 1; late /= 4)
		test_late(late, false);
	test_segment();
	return tear_down() ? done() : 1;
}
