/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the benchmark: a server's loop in eight threads.  Requests with strings and a buffer
 * that grows, and a cache that all threads share, so that blocks live long and others free
 * them.  server [REQUESTS-A-THREAD]
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8
#define CACHED 4096
#define HEADERS 6

struct request {
	char *url, *body, *headers[HEADERS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *cache[CACHED];
static long requests = 60000;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static char *make_string(size_t n)
{
	char *s = malloc(n);

	if (!s)
		abort();
	memset(s, 'x', n);
	return s;
}

static char *read_body(uint64_t *state)
{
	char *body = malloc(64);

	for (int i = 0; i < 4; i++) {
		char *larger = realloc(body, (size_t)64 << next_random(state) % 6);

		if (!larger)
			abort();
		body = larger;
	}
	return body;
}

static void put_into_cache(uint64_t *state)
{
	char *entry = make_string(100 + next_random(state) % 900), **place, *old;

	place = &cache[next_random(state) % CACHED];
	pthread_mutex_lock(&lock);
	old = *place;
	*place = entry;
	pthread_mutex_unlock(&lock);
	free(old);
}

static void *serve(void *number)
{
	uint64_t state = (uint64_t)(uintptr_t)number * 7919 + 1;

	for (long n = requests; n > 0; n--) {
		struct request *r = malloc(sizeof(*r));

		r->url = make_string(20 + next_random(&state) % 100);
		r->body = read_body(&state);
		for (int i = 0; i < HEADERS; i++)
			r->headers[i] = make_string(8 + next_random(&state) % 60);
		if (next_random(&state) % 8 == 0)
			put_into_cache(&state);
		for (int i = 0; i < HEADERS; i++)
			free(r->headers[i]);
		free(r->url);
		free(r->body);
		free(r);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	if (argc > 1)
		requests = strtol(argv[1], NULL, 10);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, serve, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
