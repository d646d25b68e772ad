/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eight threads that hand blocks of an allocator of their own to each other, under a lock; what
 * it has done, as JSON: [alloc calls, free calls, live blocks, times that the lock was taken].
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8
#define CALLS 5000
#define BLOCKS 64
#define HIDDEN __attribute__((noinline, noclone))
#define KEEP() __asm__ volatile("" ::: "memory")

static void *blocks[BLOCKS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long allocs, frees, locks;

HIDDEN void *mt_get(size_t size)
{
	void *p = malloc(size);

	KEEP();
	return p;
}

HIDDEN void mt_put(void *p)
{
	KEEP();
	free(p);
	KEEP();
}

HIDDEN void *mt_change(void *p, size_t size)
{
	p = realloc(p, size);
	KEEP();
	return p;
}

static void count_free(void)
{
	pthread_mutex_lock(&mutex);
	frees++;
	locks++;
	pthread_mutex_unlock(&mutex);
}

/* Puts @p there, and counts; returns what was there. */
static void *exchange(uint32_t i, void *p, unsigned long made, unsigned long ended)
{
	void *old;

	pthread_mutex_lock(&mutex);
	old = blocks[i];
	blocks[i] = p;
	allocs += made;
	frees += ended;
	locks++;
	pthread_mutex_unlock(&mutex);
	return old;
}

static void *run(void *arg)
{
	uint32_t state = (uint32_t)(uintptr_t)arg * 7919 + 1;

	for (int n = 0; n < CALLS; n++) {
		uint32_t i = (state = state * 1664525 + 1013904223) >> 8 & (BLOCKS - 1);
		size_t size = 1 + (state >> 4) % 500;
		void *p = exchange(i, NULL, 0, 0);

		if (p && state >> 20 & 1) {
			mt_put(p);
			count_free();
			continue;
		}
		if (p)
			p = exchange(i, mt_change(p, size), 1, 1);
		else
			p = exchange(i, mt_get(size), 1, 0);
		if (p) {
			mt_put(p);
			count_free();
		}
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	unsigned long live = 0;

	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < BLOCKS; i++)
		live += blocks[i] != NULL;
	printf("[%lu, %lu, %lu, %lu]\n", allocs, frees, live, locks);
	return 0;
}
