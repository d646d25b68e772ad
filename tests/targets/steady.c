/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program to attach to: each of its threads allocates blocks whose sizes count
 * up, and frees each block after WINDOW later ones.  So from any piece of its
 * event stream it can be told whether something is missing.  Says "ready", runs
 * until its standard input ends, and prints "right" if no block was damaged.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 8
#define WINDOW 64
#define CYCLE 4096
#define FIRST_SIZE 100 /* sizes are FIRST_SIZE .. FIRST_SIZE + CYCLE - 1 */

static atomic_int stop;
static atomic_ullong wrong, pairs;

static void *work(void *arg)
{
	unsigned char *window[WINDOW] = {NULL};
	uint64_t n;

	for (n = 0; !stop; n++) {
		size_t size = FIRST_SIZE + n % CYCLE;
		unsigned char **place = &window[n % WINDOW];
		unsigned char mark = (unsigned char)(n - WINDOW);
		size_t old_size = FIRST_SIZE + (n - WINDOW) % CYCLE;

		if (*place) {
			if ((*place)[0] != mark || (*place)[old_size - 1] != mark)
				wrong++;
			free(*place);
		}
		*place = malloc(size);
		(*place)[0] = (*place)[size - 1] = (unsigned char)n;
		if (n % 64 == 0 && arg)
			usleep(50); /* two cores are shared by all */
	}
	pairs += n;
	for (int i = 0; i < WINDOW; i++)
		free(window[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	void *gentle = argc > 1 && !strcmp(argv[1], "--gentle") ? argv[1] : NULL;
	pthread_t t[THREADS];
	char c;

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, work, gentle))
			return 2;
	printf("ready %p %p\n", (void *)(uintptr_t)malloc, (void *)(uintptr_t)free);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("%s %llu\n", wrong ? "WRONG" : "right", pairs);
	return wrong != 0;
}
