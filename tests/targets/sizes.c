/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sizes MIN CALLS [pause]: so many random calls, of blocks on both sides of MIN bytes, and what
 * they come to, as JSON: "all", and "large", of the blocks that have MIN bytes or more.  A
 * realloc frees a block of the one kind and makes one of the other.  Nobody else allocates in
 * this process.  With "pause" it waits at its end for standard input to close.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 5000

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

int main(int argc, char **argv)
{
	long n = argc > 2 ? strtol(argv[2], NULL, 10) : 100000;
	char text[512];
	int len;

	min_size = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
	while (n--)
		call();
	/* without stdio's buffer */
	len = snprintf(text, sizeof(text),
		       "{\"all\": [%llu, %llu, %llu, %llu, %llu], "
		       "\"large\": [%llu, %llu, %llu, %llu, %llu]}\n",
		       all.allocs, all.frees, all.bytes, all.live_blocks, all.live_bytes,
		       large.allocs, large.frees, large.bytes, large.live_blocks, large.live_bytes);
	if (write(STDOUT_FILENO, text, (size_t)len) != len)
		return 2;
	return argc > 3 && !strcmp(argv[3], "pause") && read(STDIN_FILENO, text, 1) < 0;
}
