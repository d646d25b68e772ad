/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that knows what it allocates: eight threads at a time, blocks freed
 * by other threads, reallocs that move and that do not, realloc(p, 0), calls that
 * fail, threads that exit and are replaced, and a child by fork() that must not
 * be counted.  Prints its own totals as JSON; every call of its own is made from
 * this file, so that they can be told from the C library's own allocations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define GENERATIONS 4
#define ROUNDS 400
#define SHELF 64

static atomic_ullong alloc_calls, free_calls, allocated_bytes, live_bytes, wrong;
static _Atomic(void *) shelf[SHELF]; /* blocks that any thread may free */

/* Every block begins with its size, to check that it is what we think it is. */
static void *born(void *p, size_t size)
{
	if (!p)
		return NULL;
	alloc_calls++;
	allocated_bytes += size;
	live_bytes += size;
	if (size >= sizeof(size_t))
		memcpy(p, &size, sizeof(size));
	return p;
}

static void died(size_t size)
{
	free_calls++;
	live_bytes -= size;
}

static size_t size_of(const void *p)
{
	size_t size;

	memcpy(&size, p, sizeof(size));
	if (size < sizeof(size) || size > 1 << 22)
		wrong++;
	return size;
}

static void release(void *p)
{
	if (!p)
		return;
	died(size_of(p));
	free(p);
}

static unsigned int next(unsigned int *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Puts a block on the shelf; what was there is another thread's to free: ours now. */
static void exchange(void *p, unsigned int *seed)
{
	release(atomic_exchange(&shelf[next(seed) % SHELF], p));
}

static void *grown(void *p, size_t size)
{
	size_t old = size_of(p);
	void *q = realloc(p, size);

	if (!q) {
		wrong++;
		return p;
	}
	died(old);
	return born(q, size);
}

static void do_reallocs(unsigned int *seed)
{
	size_t size = 16 + next(seed) % 500;
	void *p = born(malloc(size), size), *q;

	p = grown(p, size);	    /* the same size */
	p = grown(p, size + 10000); /* a larger one: moves, mostly */
	p = grown(p, size);
	q = born(reallocarray(NULL, 3, size), 3 * size);
	died(size_of(q));
	q = born(reallocarray(q, 5, size), 5 * size);
	release(q);
	died(size_of(p));
	if (realloc(p, 0)) /* frees it */
		wrong++;
}

static void do_aligned(unsigned int *seed)
{
	size_t size = 32 + next(seed) % 300;
	void *p = NULL;

	if (posix_memalign(&p, 256, size))
		wrong++;
	exchange(born(p, size), seed);
	exchange(born(aligned_alloc(64, size / 64 * 64 + 64), size / 64 * 64 + 64), seed);
	exchange(born(memalign(128, size), size), seed);
	exchange(born(valloc(size), size), seed);
	exchange(born(pvalloc(size), size), seed);
}

static void do_failures(void)
{
	volatile size_t huge = SIZE_MAX / 2;
	size_t size = 40;
	void *volatile p = born(malloc(size), size);
	void *none = (void *)1;

	if (malloc(huge) || calloc(huge, 3) || realloc(NULL, huge) || reallocarray(NULL, huge, 7))
		wrong++;
	if (realloc(p, huge) || reallocarray(p, huge, 7)) /* p stays */
		wrong++;
	if (posix_memalign(&none, 3, 8) != EINVAL || posix_memalign(&none, 64, huge) != ENOMEM)
		wrong++;
	free(NULL);
	release(p);
}

static void *work(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg * 7919 + 1;
	char name[16];

	snprintf(name, sizeof(name), "worker-%d", (int)(uintptr_t)arg);
	pthread_setname_np(pthread_self(), name);
	for (int i = 0; i < ROUNDS; i++) {
		size_t size = 8 + next(&seed) % 1000;

		exchange(born(malloc(size), size), &seed);
		size = 8 + next(&seed) % 64;
		exchange(born(calloc(size, 4), size * 4), &seed); /* then its size is written */
		release(born(malloc(24), 24));
		if (i % 8 == 0)
			do_reallocs(&seed);
		if (i % 16 == 0)
			do_aligned(&seed);
		if (i % 100 == 0)
			do_failures();
		if (i % 200 == 0)
			exchange(born(malloc(300000), 300000), &seed); /* mmapped */
	}
	return NULL;
}

int main(void)
{
	int status;
	pid_t child;

	for (int g = 0; g < GENERATIONS; g++) {
		pthread_t t[THREADS];

		for (uintptr_t i = 0; i < THREADS; i++)
			if (pthread_create(&t[i], NULL, work, (void *)(g * THREADS + i + 1)))
				return 2;
		if (g == 1) {
			child = fork();
			if (child == 0) {
				for (int i = 0; i < 1000; i++)
					if (!malloc(77)) /* not for the recording */
						_exit(1);
				_exit(0);
			}
			if (waitpid(child, &status, 0) != child || status)
				wrong++;
		}
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
	}
	/* every other block of the shelf stays: leaked, of a known size */
	for (int i = 0; i < SHELF; i += 2)
		release(atomic_exchange(&shelf[i], NULL));
	printf("{\"alloc_calls\": %llu, \"free_calls\": %llu, \"allocated_bytes\": %llu, "
	       "\"live_bytes\": %llu, \"live_blocks\": %llu, \"wrong\": %llu}\n",
	       alloc_calls, free_calls, allocated_bytes, live_bytes, alloc_calls - free_calls, wrong);
	return wrong != 0;
}
