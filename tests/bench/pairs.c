/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the benchmark measures: rounds of malloc+free pairs, as C++ of new+delete,
 * each at a line on standard input ("N FRAMES\n": so many pairs, called from so deep
 * a stack), answered by the CPU time of the thread and the time on the clock, in ns,
 * and whether malloc had a breakpoint.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __cplusplus
#include <new>
#define ALLOCATE(size) operator new(size)
#define RELEASE(p) operator delete(p)
#else
#define ALLOCATE(size) malloc(size)
#define RELEASE(p) free(p)
#endif

#define CODE_BYTES 32 /* a probe is somewhere at the function's beginning */

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A frame each; below them are the first of these, main() and three of the C library's start. */
#define OTHER_FRAMES 5
static __attribute__((noinline)) void at_depth(int depth, long pairs)
{
	if (depth) {
		at_depth(depth - 1, pairs);
		__asm__ volatile("");
		return;
	}
	for (long i = 0; i < pairs; i++) {
		void *p = ALLOCATE(16 + (size_t)(i & 7) * 24);

		__asm__ volatile("" : : "r"(p) : "memory");
		RELEASE(p);
	}
}

int main(void)
{
	void *(*volatile function)(size_t) = malloc; /* operator new may be in libstdc++ */
	unsigned char before[CODE_BYTES];
	const unsigned char *code = (const unsigned char *)(uintptr_t)function;
	char line[64];

	memcpy(before, code, sizeof(before));
	setvbuf(stdout, NULL, _IOLBF, 4096);
	while (fgets(line, sizeof(line), stdin)) {
		char *rest;
		long pairs = strtol(line, &rest, 10), frames = strtol(rest, NULL, 10);
		uint64_t cpu = now(CLOCK_THREAD_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);

		at_depth(frames > OTHER_FRAMES ? (int)frames - OTHER_FRAMES : 0, pairs);
		cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
		wall = now(CLOCK_MONOTONIC) - wall;
		printf("%llu %llu %d\n", (unsigned long long)cpu, (unsigned long long)wall,
		       *code == 0xcc || memcmp(before, code, sizeof(before)) != 0);
	}
	return 0;
}
