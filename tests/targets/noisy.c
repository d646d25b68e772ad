/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocates and frees as fast as it can: THREADS threads, PAIRS pairs each. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static long pairs;

static void *work(void *arg)
{
	for (long i = 0; i < pairs; i++) {
		void *p = malloc(64);

		__asm__ volatile("" : : "r"(p) : "memory");
		free(p);
	}
	return arg;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
	pthread_t threads[64];

	pairs = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;
	for (long i = 0; i < n && i < 64; i++)
		if (pthread_create(&threads[i], NULL, work, NULL))
			return 2;
	for (long i = 0; i < n && i < 64; i++)
		pthread_join(threads[i], NULL);
	puts("done");
	return 0;
}
