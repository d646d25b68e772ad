/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the benchmark measures: rounds of malloc+free pairs, each at a line on
 * standard input ("N\n": so many pairs), answered by the CPU time of the thread
 * and the time on the clock, in ns, and whether malloc had a breakpoint.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* As deep as a call usually is; a frame each. */
static __attribute__((noinline)) void at_depth(int depth, long pairs)
{
	if (depth) {
		at_depth(depth - 1, pairs);
		__asm__ volatile("");
		return;
	}
	for (long i = 0; i < pairs; i++) {
		void *p = malloc(16 + (size_t)(i & 7) * 24);

		__asm__ volatile("" : : "r"(p) : "memory");
		free(p);
	}
}

int main(void)
{
	void *(*volatile function)(size_t) = malloc;
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 4096);
	while (fgets(line, sizeof(line), stdin)) {
		long pairs = strtol(line, NULL, 10);
		uint64_t cpu = now(CLOCK_THREAD_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);

		at_depth(5, pairs);
		cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
		wall = now(CLOCK_MONOTONIC) - wall;
		printf("%llu %llu %d\n", (unsigned long long)cpu, (unsigned long long)wall,
		       *(const unsigned char *)(uintptr_t)function == 0xcc);
	}
	return 0;
}
