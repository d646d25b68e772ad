/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of a process from outside: which pages are there, what is in them, and heaps of
 * glibc's arenas in it.  The process is this one, with memory made for it.
 */
#include "config.h"
#include "collector/process_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "collector/glibc_heap_info.h"
#include "collector/page_set.h"
#include "common/clock.h"
#include "common/xalloc.h"
#include "tests/unit/tap.h"

#define PAGES 600
#define PAGE PAGE_MAP_BYTES
#define ROUNDS 200
#define TIB ((uint64_t)1 << 40)

static uint64_t state;

static uint64_t below(uint64_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % n;
}

static char *reserve(uint64_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		bail_out("cannot reserve memory");
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

static uint64_t address_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* ---- pages --------------------------------------------------------------------------- */

enum { ABSENT, WRITTEN, READ };
static char *memory;
static char is_there[PAGES];

static void make_pages(void)
{
	memory = reserve(PAGES * PAGE);
	for (size_t i = 0, how = 0; i < PAGES; i++) {
		how = below(3) ? how : below(3);
		is_there[i] = (char)how;
		if (how == WRITTEN)
			memset(memory + i * PAGE, (int)(1 + i % 255), PAGE);
		else if (how == READ)
			*(volatile char *)(memory + i * PAGE);
	}
}

/* What @p says of the pages between both, a letter each; "" where it fails. */
static const char *say(const struct page_map *p, size_t from, size_t end, size_t max)
{
	static char text[PAGES + 1];
	uint64_t at = address_of(memory) + from * PAGE, limit = address_of(memory) + end * PAGE;

	memset(text, '.', sizeof(text));
	while (at < limit) {
		struct page_run runs[16];
		uint64_t looked;
		size_t n;

		if (page_map_read(p, at, limit, runs, max, &n, &looked) || looked <= at)
			return "";
		for (size_t i = 0; i < n; i++)
			for (uint64_t a = runs[i].start; a < runs[i].end; a += PAGE)
				text[(a - address_of(memory)) / PAGE] =
					runs[i].state == PAGE_RESIDENT ? 'w' : 'z';
		at = looked;
	}
	text[PAGES] = '\0';
	return text;
}

static void check_pages(const struct page_map *p, const char *how)
{
	size_t bad = 0;

	for (int round = 0; round < ROUNDS; round++) {
		size_t from = below(PAGES), end = from + 1 + below(PAGES - from);
		const char *text = say(p, from, end, 1 + below(16));

		for (size_t i = 0; i < PAGES; i++)
			bad += text[0] == '\0' ||
			       text[i] != (i < from || i >= end || is_there[i] == ABSENT ? '.'
					   : is_there[i] == WRITTEN			    ? 'w'
											    : 'z');
	}
	ok(!bad, "which pages are there, %s: %zu wrong", how, bad);
}

static void test_pages(void)
{
	struct page_map p;
	uint64_t start, end;

	page_map_open(&p, getpid(), 0);
	check_pages(&p, p.can_scan ? "by a scan" : "as the kernel can");
	p.can_scan = false;
	check_pages(&p, "by entries");
	p.deadline_ns = 1;
	ok(page_map_next(&p, address_of(memory), address_of(memory) + PAGE, &start, &end) == -ETIME,
	   "not after the deadline");
	page_map_close(&p);
	p.deadline_ns = 0;
	ok(page_map_next(&p, 4096, 8192, &start, &end) == 1 && start == 4096 && end == 8192,
	   "where nobody knows, all may be there");
}

static void test_reserved(void)
{
	uint64_t bytes = 16 * TIB, start, end, from = clock_now_ns();
	char *p = reserve(bytes);
	struct page_map m;

	p[bytes - 5 * PAGE] = 1;
	page_map_open(&m, getpid(), 0);
	if (m.can_scan)
		ok(page_map_next(&m, address_of(p), address_of(p) + bytes, &start, &end) == 1 &&
			   start == address_of(p) + bytes - 5 * PAGE && end == start + PAGE,
		   "the page at the end of 16 TiB, in %" PRIu64 " us",
		   (clock_now_ns() - from) / 1000);
	m.can_scan = false;
	m.deadline_ns = clock_now_ns() + 5000000;
	ok(page_map_next(&m, address_of(p), address_of(p) + bytes, &start, &end) == -ETIME,
	   "without a scan it is given up in time");
	page_map_close(&m);
	munmap(p, bytes);
}

/* ---- what is in them ------------------------------------------------------------------ */

static void test_ranges(void)
{
	struct process_memory m;
	static char got[PAGES * PAGE], want[PAGES * PAGE];
	size_t bad = 0;

	process_memory_open(&m, getpid(), 0);
	for (int round = 0; round < ROUNDS; round++) {
		struct pointers_range ranges[40];
		size_t n = 1 + below(40), bytes = 0;

		for (size_t i = 0; i < n; i++) { /* they need not rise */
			uint64_t start = below(PAGES * PAGE - 1);
			uint64_t len = 1 + below(below(2) ? 200 : 50000);

			if (start + len > PAGES * PAGE)
				len = PAGES * PAGE - start;
			if (bytes + len > sizeof(got))
				len = 1;
			ranges[i] = (struct pointers_range){address_of(memory) + start,
							    address_of(memory) + start + len};
			for (size_t k = 0; k < len; k++)
				want[bytes + k] = is_there[(start + k) / PAGE] == WRITTEN
							  ? (char)(1 + (start + k) / PAGE % 255)
							  : 0;
			bytes += len;
		}
		memset(got, 0x5a, bytes);
		bad += process_memory_ranges(&m, ranges, n, got) || memcmp(got, want, bytes);
	}
	ok(!bad, "ranges are read, what is not there is zeros: %zu of %d wrong", bad, ROUNDS);
	check_pages(&m.pages, "after all has been read");
	mprotect(memory, 20 * PAGE, PROT_NONE);
	ok(!process_memory_ranges(&m, &(struct pointers_range){address_of(memory),
							       address_of(memory) + 40 * PAGE},
				  1, got) &&
		   got[0] == 0 && got[19 * PAGE] == 0 &&
		   got[30 * PAGE] == (is_there[30] == WRITTEN ? 31 : 0),
	   "what must not be read is zeros, too");
	mprotect(memory, 20 * PAGE, PROT_READ | PROT_WRITE);
	process_memory_close(&m);
}

static void test_exact(void)
{
	struct process_memory m;
	char *p = reserve(64 * PAGE), got[3 * PAGE];
	uint64_t at = address_of(p), words[4];
	uint64_t addresses[] = {(uint64_t)1 << 47, 0, 0xffff800000000000, 16};
	static const uint64_t table[] = {123, 456};

	memset(p, 7, 2 * PAGE);
	process_memory_open(&m, getpid(), 0);
	ok(!process_memory_read(&m, at + 100, got, 2 * PAGE - 100) && got[0] == 7, "all of it");
	ok(process_memory_read(&m, at + PAGE, got, PAGE + 1) == -EFAULT &&
		   process_memory_read(&m, at + 5 * PAGE, got, 8) == -EFAULT &&
		   process_memory_read(&m, UINT64_MAX - 3, got, 8) == -EFAULT &&
		   process_memory_read(&m, 8, got, 8) == -EFAULT &&
		   process_memory_read(&m, ((uint64_t)1 << 47) - 8, got, 8) == -EFAULT &&
		   process_memory_read(&m, 0xffffffffff600000, got, 8) == -EFAULT,
	   "or none");
	addresses[1] = at + 8;
	ok(!process_memory_gather(&m, addresses, COUNT_OF(addresses), words, 8) &&
		   words[1] == 0x0707070707070707 && !words[0] && !words[2] && !words[3],
	   "pieces at addresses of which most cannot be");
	process_memory_constants(&m, address_of(table), 2, words);
	ok(words[0] == table[0] && words[1] == table[1], "constants");
	process_memory_constants(&m, (uint64_t)1 << 62, 2, words);
	ok(!words[0] && !words[1], "or zeros");
	ok(process_memory_read_some(&m, at + PAGE, got, 2 * PAGE) == (ssize_t)PAGE,
	   "as much as there is");
	m.deadline_ns = 1;
	ok(process_memory_read(&m, at, got, 8) == -ETIME, "not after the deadline");
	process_memory_close(&m);
	munmap(p, 64 * PAGE);
}

/* ---- heaps ---------------------------------------------------------------------------- */

static void put_heap(char *at, uint64_t arena, const char *before, uint64_t bytes)
{
	memcpy(at, (uint64_t[]){arena, address_of(before), bytes, bytes}, 32);
}

static void test_heaps(void)
{
	char *all = reserve(TIB), *p = all + (-address_of(all) & (((uint64_t)64 << 20) - 1));
	char *second = p + GLIBC_HEAP_ALIGN, *old = p + 20 * GLIBC_HEAP_ALIGN;
	uint64_t arena = address_of(p) + 48, end = address_of(all) + TIB, at;
	struct glibc_heap_info i;
	struct process_memory m;

	process_memory_open(&m, getpid(), 0);
	ok(!glibc_heap_next(&m, address_of(all), end, &at, &i), "there is none in what is reserved");
	put_heap(p, arena, NULL, 3 * PAGE);
	put_heap(second, arena, p, 5 * PAGE);
	put_heap(old, address_of(old) + 32, NULL, PAGE);
	put_heap(p + 30 * GLIBC_HEAP_ALIGN, arena, old, PAGE); /* of another arena */
	put_heap(p + 31 * GLIBC_HEAP_ALIGN, arena, p, PAGE + 1);
	put_heap(p + 32 * GLIBC_HEAP_ALIGN, arena + 16, p, PAGE);
	put_heap(p + 33 * GLIBC_HEAP_ALIGN, arena, NULL, PAGE);
	put_heap(p + 34 * GLIBC_HEAP_ALIGN + PAGE, arena, p, PAGE);
	at = address_of(all);
	ok(glibc_heap_next(&m, at, end, &at, &i) == 1 && at == address_of(p) && i.arena == arena &&
		   i.bytes == 3 * PAGE,
	   "the first heap of an arena");
	ok(glibc_heap_next(&m, at + 3 * PAGE, end, &at, &i) == 1 && at == address_of(second) &&
		   i.before == address_of(p),
	   "the second, which is 8 MiB behind, as with huge pages");
	ok(glibc_heap_next(&m, at + PAGE, end, &at, &i) == 1 && at == address_of(old),
	   "one with a shorter record, of before 2.35");
	ok(!glibc_heap_next(&m, at + PAGE, end, &at, &i), "and no other: %" PRIx64,
	   at - address_of(p));
	ok(glibc_heap_holding(&m, arena, address_of(second) + 4 * PAGE, &at, &i) == 1 &&
		   at == address_of(second) &&
		   glibc_heap_holding(&m, arena, address_of(p) + PAGE, &at, &i) == 1 &&
		   at == address_of(p) &&
		   !glibc_heap_holding(&m, arena, address_of(p) + 4 * PAGE, &at, &i),
	   "which of them holds an address");
	ok(glibc_heap_of_arena(arena) == address_of(p) && !glibc_heap_of_arena(arena + 16) &&
		   glibc_heap_of_arena(address_of(old) + 32) == address_of(old),
	   "where the head of an arena lies");
	process_memory_close(&m);
	munmap(all, TIB);
}

/* ---- sets of pages ---------------------------------------------------------------------- */

static void test_set(void)
{
	const uint64_t base = ((uint64_t)7 << 30) - 300 * PAGE; /* over the end of a leaf */
	static char naive[PAGES];
	struct page_set s = {0};
	uint64_t start, end;
	size_t bad = 0;

	ok(!page_set_next(&s, 0, UINT64_MAX / 2, &start, &end), "an empty set");
	for (int round = 0; round < 60; round++) {
		uint64_t from = below(PAGES * PAGE - 1), len = 1 + below(3 * PAGE);

		if (from + len > PAGES * PAGE)
			len = PAGES * PAGE - from;
		page_set_add(&s, base + from, base + from + len);
		for (uint64_t k = from / PAGE; k <= (from + len - 1) / PAGE; k++)
			naive[k] = 1;
		if (round % 3)
			continue;
		from = below(PAGES * PAGE - 1);
		len = below(40 * PAGE); /* those that are in it whole */
		page_set_remove(&s, base + from, base + from + len);
		for (uint64_t k = 0; k < PAGES; k++)
			naive[k] &= k * PAGE < from || (k + 1) * PAGE > from + len;
	}
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t from = below(PAGES * PAGE - 1), limit = from + 1 + below(100 * PAGE);
		uint64_t k = from / PAGE, last;
		bool found = page_set_next(&s, base + from, base + limit, &start, &end);

		while (k < PAGES && !naive[k])
			k++;
		for (last = k; last < PAGES && naive[last]; last++)
			;
		if (k == PAGES || k * PAGE >= limit)
			bad += found;
		else
			bad += !found || start != base + (k * PAGE > from ? k * PAGE : from) ||
			       end != base + (last * PAGE < limit ? last * PAGE : limit);
	}
	ok(!bad, "pages of a set, run by run: %zu of %d wrong", bad, ROUNDS);
	page_set_add(&s, 0, 5 * TIB / 1024 + 1);
	ok(page_set_next(&s, 17, UINT64_MAX / 2, &start, &end) && start == 17 &&
		   end == 5 * TIB / 1024 + PAGE,
	   "a large one");
	page_set_release(&s);
}

int main(void)
{
	const char *seed = getenv("HEAPTRAIL_SEED");

	state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	diag("seed %" PRIu64, state);
	make_pages();
	test_pages();
	test_reserved();
	test_ranges();
	test_exact();
	test_heaps();
	test_set();
	return done();
}
