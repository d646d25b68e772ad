/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server to attach to: growing HOW [PAUSE].  Its threads handle requests, each of which allocates and
 * frees; from the first line of its standard input on, it also does one thing over time:
 *
 * leak      some requests forget a block
 * wrapper   the same, of blocks that all get from one function
 * cache     fills in a second or so, then replaces what is in it
 * sawtooth  collects, and lets go of all, again and again
 *
 * PAUSE is that between requests, in microseconds (1000).
 * It says "ready", "enough" after so many requests that a machine of any speed has seen what
 * it does, and runs until its standard input ends.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 3
#define CACHE 1500
#define TOOTH 700
#define ENOUGH 15000 /* 10 times the cache, 21 teeth */

static atomic_int has_begun, requests;
static const char *how;
static useconds_t pause_us = 1000;
static void *volatile sink;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((noinline)) static void *buffer_get(size_t size)
{
	void *p = malloc(size);

	memset(p, 1, 8);
	return p;
}

__attribute__((noinline)) static void forget_one(int n)
{
	sink = malloc(48 + (size_t)n % 64);
}

__attribute__((noinline)) static void forget_buffer(int n)
{
	sink = buffer_get(48 + (size_t)n % 64);
}

__attribute__((noinline)) static void parse(int n)
{
	void *p = buffer_get(100 + (size_t)n % 200);

	sink = p;
	free(p);
}

__attribute__((noinline)) static void answer(int n)
{
	void *p = buffer_get(1000 + (size_t)n % 3000);

	sink = p;
	free(p);
}

__attribute__((noinline)) static void cache_put(int n)
{
	static void *cache[CACHE];
	static size_t n_cached;
	size_t place;

	pthread_mutex_lock(&lock);
	place = n_cached < CACHE ? n_cached++ : (size_t)rand() % CACHE;
	free(cache[place]);
	cache[place] = malloc(200 + (size_t)n % 500);
	pthread_mutex_unlock(&lock);
}

__attribute__((noinline)) static void collect(int n)
{
	static void *tooth[TOOTH];
	static size_t n_collected;

	pthread_mutex_lock(&lock);
	tooth[n_collected++] = malloc(200 + (size_t)n % 500);
	while (n_collected >= TOOTH)
		for (; n_collected; n_collected--)
			free(tooth[n_collected - 1]);
	pthread_mutex_unlock(&lock);
}

__attribute__((noinline)) static void handle_request(int n)
{
	parse(n);
	answer(n);
	if (!has_begun)
		return;
	if (!strcmp(how, "leak") && n % 10 == 0)
		forget_one(n);
	else if (!strcmp(how, "wrapper") && n % 10 == 0)
		forget_buffer(n);
	else if (!strcmp(how, "cache"))
		cache_put(n);
	else if (!strcmp(how, "sawtooth"))
		collect(n);
	if (atomic_fetch_add(&requests, 1) + 1 == ENOUGH && write(STDOUT_FILENO, "enough\n", 7) != 7)
		_exit(2);
}

static void *serve(void *arg)
{
	(void)arg;
	for (int n = 0;; n++) {
		handle_request(n);
		usleep(pause_us);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	char line[80];

	how = argc > 1 ? argv[1] : "";
	if (argc > 2)
		pause_us = (useconds_t)strtoul(argv[2], NULL, 10);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, serve, NULL);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		has_begun = 1;
	return 0;
}
