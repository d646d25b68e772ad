/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that tells how fast it is: eight threads keep blocks of fixed sizes and
 * replace one after the other, with a check of what stood in them.  Answers to each
 * line on its standard input:
 *
 *   sample	the blocks replaced so far, and its threads' CPU time in ns
 *   full	from now on at full speed		gentle	with pauses
 *   threads	from now on threads are made and end	stop	no more of them
 *   code	addresses of the functions that are probed
 *
 * At the end of its input it prints "right", or "WRONG" if a block was damaged, and
 * how many threads there were.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define WINDOW 32
#define BLOCK 256 /* bytes */

static atomic_int stop, is_full, is_threading;
static atomic_ullong wrong, made;
static struct worker {
	_Alignas(64) atomic_ullong blocks; /* replaced */
	pthread_t thread;
} workers[THREADS];

static void fill(uint64_t *block, uint64_t seed)
{
	uint64_t sum = 0;

	for (int i = 0; i < BLOCK / 8 - 1; i++)
		sum += block[i] = seed * 0x9e3779b97f4a7c15 + (uint64_t)i;
	block[BLOCK / 8 - 1] = sum;
}

static void check(const uint64_t *block)
{
	uint64_t sum = 0;

	for (int i = 0; i < BLOCK / 8 - 1; i++)
		sum += block[i];
	if (block[BLOCK / 8 - 1] != sum)
		wrong++;
}

/* One block more, in the place of an older one. */
static void replace(uint64_t **place, uint64_t n)
{
	if (*place) {
		check(*place);
		free(*place);
	}
	switch (n % 8) {
	case 0:
		*place = calloc(BLOCK / 8, 8);
		break;
	case 1:
		*place = malloc(BLOCK / 2);
		*place = realloc(*place, BLOCK);
		break;
	default:
		*place = malloc(BLOCK);
		break;
	}
	fill(*place, n);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t *window[WINDOW] = {NULL};

	for (uint64_t n = 0; !stop; n++) {
		replace(&window[n % WINDOW], n);
		atomic_store_explicit(&w->blocks, n, memory_order_relaxed);
		if (n % 256 == 0 && !is_full)
			usleep(5000); /* there are others on this machine */
	}
	for (int i = 0; i < WINDOW; i++)
		free(window[i]);
	return NULL;
}

static void *work_shortly(void *arg)
{
	uint64_t *window[WINDOW] = {NULL};

	for (uint64_t n = 0; n < 100; n++)
		replace(&window[n % WINDOW], n);
	for (int i = 0; i < WINDOW; i++)
		free(window[i]);
	return arg;
}

static void *make_threads(void *arg)
{
	while (!stop) {
		pthread_t t[4];

		if (is_threading) {
			for (int i = 0; i < 4; i++)
				if (pthread_create(&t[i], NULL, work_shortly, NULL))
					abort();
			for (int i = 0; i < 4; i++)
				pthread_join(t[i], NULL);
			made += 4;
		}
		usleep(10000);
	}
	return arg;
}

static void sample(void)
{
	unsigned long long blocks = 0, ns = 0;

	for (int i = 0; i < THREADS; i++) {
		struct timespec t = {0, 0};
		clockid_t clock;

		if (!pthread_getcpuclockid(workers[i].thread, &clock))
			clock_gettime(clock, &t);
		blocks += workers[i].blocks;
		ns += (unsigned long long)t.tv_sec * 1000000000 + (unsigned long long)t.tv_nsec;
	}
	printf("%llu %llu\n", blocks, ns);
}

int main(void)
{
	char line[64];
	pthread_t maker;

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 2;
	if (pthread_create(&maker, NULL, make_threads, NULL))
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, "full") || !strcmp(line, "gentle"))
			is_full = line[0] == 'f';
		else if (!strcmp(line, "threads") || !strcmp(line, "stop"))
			is_threading = line[0] == 't';
		if (!strcmp(line, "sample"))
			sample();
		else if (!strcmp(line, "code"))
			printf("%p %p %p %p %p\n", (void *)(uintptr_t)malloc,
			       (void *)(uintptr_t)free, (void *)(uintptr_t)calloc,
			       (void *)(uintptr_t)realloc, (void *)(uintptr_t)memalign);
		else
			puts("ok");
		fflush(stdout);
	}
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_join(maker, NULL);
	printf("%s %llu\n", wrong ? "WRONG" : "right", made);
	return wrong != 0;
}
