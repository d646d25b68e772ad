/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Size classes of allocators, as they are found in a file or in memory that may hold anything. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "collector/usable.h"
#include "common/xalloc.h"
#include "tests/unit/tap.h"

#define WORDS 4096

static uint32_t words[WORDS];
static struct usable_classes found;

/* As tcmalloc has them, at words[@at]: behind a 0; returns their number. */
static size_t put_tcmalloc(size_t at, uint32_t page, uint32_t last)
{
	size_t n = at;

	words[n++] = 0;
	for (uint32_t size = 8; size <= last;) {
		uint32_t step = 1u << (31 - __builtin_clz(size));

		words[n++] = size;
		step = size < 16 ? 8 : size < 128 ? 16 : step / 8;
		size += step > page ? page : step;
	}
	words[n] = 0;
	return n - at - 1;
}

static bool find_tcmalloc(void)
{
	return usable_find_tcmalloc((const uint8_t *)words, sizeof(words), &found);
}

static void test_tcmalloc(void)
{
	size_t n;

	memset(words, 0, sizeof(words));
	ok(!find_tcmalloc(), "nothing but zeros");
	n = put_tcmalloc(100, 8192, 262144);
	ok(find_tcmalloc() && found.n == n && found.sizes[0] == 8 &&
		   found.sizes[n - 1] == 262144 && found.page == 8192, "found, with its pages");
	put_tcmalloc(2000, 8192, 262144);
	ok(find_tcmalloc() && found.n == n, "twice the same");
	words[2010] += 8;
	ok(!find_tcmalloc(), "two that differ");
	memset(words, 0, sizeof(words));
	put_tcmalloc(100, 4096, 32768);
	ok(find_tcmalloc() && found.sizes[found.n - 1] == 32768 && !found.page,
	   "of small classes the page cannot be told");
	put_tcmalloc(100, 65536, 262144);
	ok(find_tcmalloc() && !found.page, "nor of large pages");
	words[100 + found.n / 2] = 9;
	ok(!find_tcmalloc(), "one that does not ascend");
	put_tcmalloc(100, 8192, 200000);
	ok(!find_tcmalloc(), "one without the usual end");
	memset(words, 0, sizeof(words));
	put_tcmalloc(WORDS - 40, 8192, 1024);
	ok(!find_tcmalloc(), "one that is cut off");
	for (uint32_t i = 0; i < WORDS; i++)
		words[i] = i * 8;
	ok(!find_tcmalloc(), "numbers without end");
	ok(!usable_find_tcmalloc((const uint8_t *)words, 3, &found) &&
		   !usable_find_tcmalloc((const uint8_t *)words, 0, &found), "no room");
}

static uint64_t queues[1024];

/* As mimalloc has them, of queues until @largest, of which @most is the last in use. */
static size_t put_mimalloc(size_t at, uint64_t largest, uint64_t most)
{
	size_t n = at;

	queues[n + 2] = 8;
	n += 3;
	for (uint64_t size = 8; size <= largest; n += 3) {
		queues[n + 2] = size;
		size += size < 64 ? 8 : 1ull << (63 - __builtin_clzll(size) - 2);
	}
	queues[n + 2] = most + 8;
	queues[n + 5] = most + 16;
	return n + 6;
}

static bool find_mimalloc(void)
{
	return usable_find_mimalloc((const uint8_t *)queues, sizeof(queues), &found);
}

static void test_mimalloc(void)
{
	bool odd = false;
	size_t end;

	ok(!find_mimalloc(), "no queues");
	end = put_mimalloc(30, 4194304, 131072);
	ok(find_mimalloc() && found.sizes[found.n - 1] == 131072 && found.sizes[0] == 8,
	   "found, until the largest in use");
	for (size_t i = 0; i < found.n; i++)
		odd |= found.sizes[i] == 24 || found.sizes[i] == 40 || found.sizes[i] == 56;
	ok(!odd && found.sizes[1] == 16 && found.sizes[2] == 32, "without odd numbers of words");
	put_mimalloc(500, 4194304, 131072);
	ok(find_mimalloc(), "twice the same");
	put_mimalloc(500, 4194304, 65536);
	ok(!find_mimalloc(), "two that differ");
	memset(queues, 0, sizeof(queues));
	put_mimalloc(30, 4194304, 131072);
	queues[end - 1]++;
	ok(!find_mimalloc(), "without the second mark");
	queues[end - 1]--;
	queues[end - 4] += 8;
	queues[end - 1] += 8;
	ok(!find_mimalloc(), "a mark that belongs to no class");
	memset(queues, 0, sizeof(queues));
	put_mimalloc(1024 - 90, 2048, 1024);
	ok(!find_mimalloc(), "no classes above a KiB");
	for (size_t i = 0; i < 1024; i++)
		queues[i] = i % 3 == 2 ? i / 3 * 8 + 8 : 0;
	queues[5] = 8;
	queues[8] = 16;
	ok(!find_mimalloc(), "numbers without end");
	ok(!usable_find_mimalloc((const uint8_t *)queues, 71, &found), "no room");
}

int main(void)
{
	test_tcmalloc();
	test_mimalloc();
	return done();
}
