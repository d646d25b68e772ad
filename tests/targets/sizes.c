/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sizes MIN CALLS [MS] [pause]: so many random calls, of blocks on both sides of MIN bytes, and
 * what they come to, as JSON: "all", and "large", of the blocks that have MIN bytes or more.  A
 * realloc frees a block of the one kind and makes one of the other.  Nobody else allocates in
 * this process.  The calls are spread evenly over MS milliseconds, by the clock: it lasts so
 * long on the fastest machine.  With "pause" it waits at its end for standard input to
 * close.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCKS 5000
#define BATCH_MS 10

static struct {
	unsigned long long allocs, frees, bytes, live_blocks, live_bytes;
} all, large;
static struct {
	void *p;
	size_t size;
} blocks[BLOCKS];
static size_t min_size;
static uint32_t state = 12345;

static uint32_t below(uint32_t n)
{
	state = state * 1664525 + 1013904223;
	return (state >> 8) % n;
}

static void born(size_t size)
{
	all.allocs++;
	all.bytes += size;
	all.live_blocks++;
	all.live_bytes += size;
	if (size < min_size)
		return;
	large.allocs++;
	large.bytes += size;
	large.live_blocks++;
	large.live_bytes += size;
}

static void died(size_t size)
{
	all.frees++;
	all.live_blocks--;
	all.live_bytes -= size;
	if (size < min_size)
		return;
	large.frees++;
	large.live_blocks--;
	large.live_bytes -= size;
}

static void call(void)
{
	uint32_t i = below(BLOCKS);
	size_t size = 1 + below((uint32_t)min_size * (below(20) ? 2 : 50));
	void *p;

	if (!blocks[i].p) {
		p = below(2) ? malloc(size) : calloc(1, size);
	} else if (below(2)) {
		died(blocks[i].size);
		free(blocks[i].p);
		blocks[i].p = NULL;
		return;
	} else {
		died(blocks[i].size);
		p = realloc(blocks[i].p, size);
	}
	if (!p)
		_exit(2);
	born(size);
	blocks[i].p = p;
	blocks[i].size = size;
}

/* Not before so many ms after start. */
static void wait_until(const struct timespec *start, long ms)
{
	struct timespec t = *start;

	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void calls(long n, long ms)
{
	long batches = ms / BATCH_MS + 1, done = 0;
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long i = 1; i <= batches; i++) {
		for (; done < n * i / batches; done++)
			call();
		wait_until(&start, ms * i / batches);
	}
}

int main(int argc, char **argv)
{
	long n = argc > 2 ? strtol(argv[2], NULL, 10) : 100000;
	int is_paused = argc > 3 && !strcmp(argv[argc - 1], "pause");
	char text[512];
	int len;

	min_size = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
	calls(n, argc - is_paused > 3 ? strtol(argv[3], NULL, 10) : 0);
	/* without stdio's buffer */
	len = snprintf(text, sizeof(text),
		       "{\"all\": [%llu, %llu, %llu, %llu, %llu], "
		       "\"large\": [%llu, %llu, %llu, %llu, %llu]}\n",
		       all.allocs, all.frees, all.bytes, all.live_blocks, all.live_bytes,
		       large.allocs, large.frees, large.bytes, large.live_blocks, large.live_bytes);
	if (write(STDOUT_FILENO, text, (size_t)len) != len)
		return 2;
	return is_paused && read(STDIN_FILENO, text, 1) < 0;
}
