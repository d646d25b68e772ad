/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a process stands still for a look at what points to its blocks, beside how long it
 * takes to read those once: rounds of both in turn, and the ratio of the medians.
 * A child makes the blocks, 1 GiB in a million unless told otherwise: each points to three
 * others, and the rest is numbers, text and zeros, as in real ones.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/pointers.h"
#include "collector/process_memory.h"
#include "collector/reachability.h"
#include "common/clock.h"
#include "common/sort.h"
#include "common/xalloc.h"

#define ROUNDS 9
#define PIECE ((size_t)512 << 10)

static struct pointers_block *blocks; /* of child and parent */
static size_t n_blocks;

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void make_blocks(size_t bytes)
{
	size_t mean = bytes / n_blocks;

	for (size_t i = 0; i < n_blocks; i++) {
		size_t size = mean / 2 + next_random() % mean;

		blocks[i].size = size;
		blocks[i].address = (uint64_t)(uintptr_t)xmalloc(size);
	}
	for (size_t i = 0; i < n_blocks; i++) {
		uint64_t *words = (void *)(uintptr_t)blocks[i].address;
		size_t n = blocks[i].size / 8;

		for (size_t k = 0; k < n; k++)
			words[k] = k % 4 == 0 ? next_random() % 1000 : k % 4 == 1 ? next_random() : 0;
		for (size_t k = 0; k < 3 && n; k++)
			words[next_random() % n] = blocks[next_random() % n_blocks].address;
	}
}

static _Noreturn void be_child(size_t bytes, int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	make_blocks(bytes);
	if (write(ready, "", 1) == 1)
		pause();
	_exit(0);
}

static int by_address(const void *a, const void *b)
{
	const struct pointers_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* All of it once, in the order of addresses, by one thread. */
static uint64_t read_once(struct process_memory *m, char *to)
{
	uint64_t start = clock_now_ns();
	const struct pointers_block *last = &blocks[n_blocks - 1];

	for (uint64_t at = blocks[0].address; at < last->address + last->size; at += PIECE)
		process_memory_ranges(m, &(struct pointers_range){at, at + PIECE}, 1, to);
	return clock_now_ns() - start;
}

/* The same into memory of its own, to be looked at later: what the other way would take. */
static uint64_t copy_once(struct process_memory *m)
{
	uint64_t start = clock_now_ns(), first = blocks[0].address;
	const struct pointers_block *last = &blocks[n_blocks - 1];
	size_t n = (last->address + last->size - first + PIECE) / PIECE;
	char *all = mmap(NULL, n * PIECE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	for (size_t i = 0; i < n && all != MAP_FAILED; i++) {
		uint64_t at = first + i * PIECE;

		process_memory_ranges(m, &(struct pointers_range){at, at + PIECE}, 1, all + i * PIECE);
	}
	start = clock_now_ns() - start;
	munmap(all, n * PIECE);
	return start;
}

static uint64_t look(const struct pointers_memory *m, unsigned int threads, uint64_t *ret_judge)
{
	struct pointers_options o = {.threads = threads};
	struct pointers p;
	uint8_t *kinds = xmalloc(n_blocks);
	uint64_t start = clock_now_ns(), found, judged;
	uint64_t first[1] = {blocks[0].address};

	pointers_find(&p, blocks, n_blocks, NULL, 0, first, 1, m, &o);
	found = clock_now_ns();
	reachability_judge(&p, kinds);
	judged = clock_now_ns();
	pointers_release(&p);
	free(kinds);
	*ret_judge = judged - found;
	return found - start;
}

static double median_ms(uint64_t *times)
{
	sort_u64(times, ROUNDS);
	return (double)times[ROUNDS / 2] / 1e6;
}

enum { READ, COPY, LOOK_ONE, LOOK_ALL, JUDGE, WAYS };

static void measure(pid_t child)
{
	static const char *const names[WAYS] = {
		"read once, by one thread", "copied, to be looked at later",
		"looked at, by one thread", "looked at, as it is done", "judged, when it runs again"};
	uint64_t times[WAYS][ROUNDS];
	struct process_memory memory;
	struct pointers_memory m = {.arg = &memory, .read = process_memory_ranges};
	char *to = xmalloc(PIECE);
	double ms[WAYS];

	process_memory_open(&memory, child, 0);
	for (int i = 0; i < ROUNDS; i++) {
		times[READ][i] = read_once(&memory, to);
		times[COPY][i] = copy_once(&memory);
		times[LOOK_ONE][i] = look(&m, 1, &times[JUDGE][i]);
		times[LOOK_ALL][i] = look(&m, 0, &times[JUDGE][i]);
	}
	for (int w = 0; w < WAYS; w++)
		ms[w] = median_ms(times[w]);
	for (int w = 0; w < WAYS; w++)
		printf("%-32s %9.1f ms  %5.2f of reading it once\n", names[w], ms[w],
		       ms[w] / ms[READ]);
	process_memory_close(&memory);
	free(to);
}

int main(int argc, char **argv)
{
	size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1024) << 20;
	bool is_target = argc > 3; /* to be recorded, and looked at in its exit */
	int ready[2];
	char c;
	pid_t child;

	n_blocks = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
	blocks = mmap(NULL, n_blocks * sizeof(*blocks), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!n_blocks || bytes / n_blocks < 16 || blocks == MAP_FAILED || pipe(ready) < 0) {
		fprintf(stderr, "usage: pause [MIB] [BLOCKS] [target]\n");
		return 1;
	}
	if (is_target) {
		make_blocks(bytes);
		return 0;
	}
	child = fork();
	if (!child)
		be_child(bytes, ready[1]);
	if (child < 0 || read(ready[0], &c, 1) != 1)
		return 1;
	qsort(blocks, n_blocks, sizeof(*blocks), by_address);
	printf("%zu blocks, %zu MiB\n", n_blocks, bytes >> 20);
	measure(child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
