/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that knows its heap: heap_blocks SCENARIO THREADS SEED [BLOCKS].  Allocates, says
 * what glibc says of its arenas (malloc_info), then each of its live blocks and how much of it
 * is usable, as "block ADDRESS USABLE", then "ready", and stands still until its standard input
 * ends.  While it says all that it calls no allocator.  Scenario busy: says "busy" first, and goes
 * on allocating and freeing in all threads until it gets a line.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 64
static unsigned int n_threads, n_blocks = 4000;
static const char *scenario;
static uint64_t seed;

static void **blocks[THREADS_MAX + 1];
static pthread_barrier_t all_done;
static char output[1 << 16];
static size_t n_output;
static char xml_buffer[1 << 20];

static int is(const char *name)
{
	return !strcmp(scenario, name) || !strcmp(scenario, "all");
}

static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static size_t random_size(uint64_t *state)
{
	uint64_t kind = next(state) % 100;

	if (is("even")) /* a million of them is a GiB */
		return 1 + next(state) % 2000;
	if (kind < 60)
		return 1 + next(state) % 200;
	if (kind < 95)
		return 1 + next(state) % 3000;
	return 1 + next(state) % 60000;
}

static void *make(uint64_t *state)
{
	uint64_t kind = next(state) % 100;
	size_t size = random_size(state);
	void *p;

	if ((is("mmapped") || is("shrunk") || (is("busy") && next(state) % 64 == 0)) && kind < 2) {
		size += 140000 + next(state) % 400000;
		p = kind ? malloc(size) : memalign((size_t)32 << next(state) % 14, size);
	} else if (kind < 10) {
		p = memalign((size_t)32 << next(state) % 8, size);
	} else {
		p = kind < 20 ? calloc(1, size) : malloc(size);
	}
	if (!p)
		abort();
	if (kind >= 20) /* calloc's stay zeroes: they look like an empty cache, say */
		memset(p, (int)kind, size < 64 ? size : 64);
	return p;
}

static atomic_bool is_enough;

static void churn(void **mine, uint64_t *state, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int k = (unsigned int)(next(state) % n_blocks);

		if (!mine[k]) {
			mine[k] = make(state);
		} else if (next(state) % 8 == 0) {
			mine[k] = realloc(mine[k], random_size(state));
		} else {
			free(mine[k]);
			mine[k] = NULL;
		}
	}
}

static void work(unsigned int number)
{
	void **mine = blocks[number];
	uint64_t state = seed * 1000 + number;

	for (unsigned int i = 0; i < n_blocks; i++) {
		mine[i] = make(&state);
		if (is("foreign") && !number && i % 500 == 250) /* somebody else's, of any size */
			memset(sbrk((intptr_t)(i * 10 + next(&state) % 9000)), (int)i, i);
		if (is("scattered") && !number && i == n_blocks / 2)
			mmap(sbrk(0), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			     -1, 0);
	}
	if (is("shrunk")) /* mappings that are smaller than what they are multiples of */
		for (unsigned int i = 0; i < n_blocks; i++)
			if (malloc_usable_size(mine[i]) >= 140000)
				mine[i] = realloc(mine[i], random_size(&state));
	if (is("zeroes"))
		for (unsigned int i = 0; i < 50; i++) {
			free(mine[i]);
			mine[i] = calloc(1, 640);
		}
	if (is("second") || is("trim"))
		for (unsigned int i = 0; i < n_blocks; i += 2) {
			free(mine[i]);
			mine[i] = NULL;
		}
	if (is("churn"))
		churn(mine, &state, 20 * n_blocks);
	while (is("busy") && number && !is_enough) {
		churn(mine, &state, 64);
		if (!getenv("HASTE"))
			usleep(50); /* two cores are shared by all */
	}
	if (is("fragments")) /* much is free, in many places */
		for (unsigned int i = 0; i < n_blocks; i++)
			if (next(&state) % 10) {
				free(mine[i]);
				mine[i] = NULL;
			}
}

static void *thread(void *arg)
{
	work((unsigned int)(uintptr_t)arg);
	if (is("exit") && (uintptr_t)arg % 2)
		return NULL;
	pthread_barrier_wait(&all_done);
	for (;;)
		pause();
}

static void flush(void)
{
	for (size_t i = 0; i < n_output;) {
		ssize_t n = write(STDOUT_FILENO, output + i, n_output - i);

		if (n <= 0)
			_exit(3);
		i += (size_t)n;
	}
	n_output = 0;
}

static void say(FILE *xml)
{
	struct mallinfo2 m = mallinfo2();
	char c;

	malloc_info(0, xml);
	fflush(xml);
	n_output += (size_t)snprintf(output, sizeof(output), "mallinfo2 %zu %zu %zu %zu\n", m.arena,
				     m.uordblks, m.fordblks, m.fsmblks);
	for (unsigned int t = 0; t <= n_threads; t++)
		for (unsigned int i = 0; i < n_blocks; i++) {
			if (!blocks[t][i])
				continue;
			if (n_output > sizeof(output) - 100)
				flush();
			n_output += (size_t)snprintf(output + n_output, 100, "block %lx %zu\n",
						     (unsigned long)blocks[t][i],
						     malloc_usable_size(blocks[t][i]));
		}
	n_output += (size_t)snprintf(output + n_output, 100, "ready %d\n", (int)getpid());
	flush();
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS_MAX + 1];
	unsigned int stay;
	FILE *xml;

	if (argc < 4)
		return 2;
	scenario = argv[1];
	n_threads = (unsigned int)strtoul(argv[2], NULL, 10);
	seed = strtoull(argv[3], NULL, 10);
	if (argc > 4)
		n_blocks = (unsigned int)strtoul(argv[4], NULL, 10);
	if (n_threads > THREADS_MAX)
		return 2;
	xml = fdopen(dup(STDOUT_FILENO), "w");
	setvbuf(xml, xml_buffer, _IOFBF, sizeof(xml_buffer));
	for (unsigned int i = 0; i <= n_threads; i++)
		blocks[i] = mmap(NULL, n_blocks * sizeof(void *), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stay = is("exit") ? n_threads - (n_threads + 1) / 2 : n_threads;
	pthread_barrier_init(&all_done, NULL, stay + 1);
	for (uintptr_t i = 1; i <= n_threads; i++)
		if (pthread_create(&t[i], NULL, thread, (void *)i))
			return 2;
	work(0);
	if (is("busy")) {
		char line[16];

		if (write(STDOUT_FILENO, "busy\n", 5) != 5 || read(STDIN_FILENO, line, 5) <= 0)
			return 3;
		is_enough = true;
	}
	for (unsigned int i = 1; is("exit") && i <= n_threads; i += 2)
		pthread_join(t[i], NULL);
	pthread_barrier_wait(&all_done);
	if (is("trim"))
		malloc_trim(0);
	if (is("fork")) { /* its child has the arenas and caches of threads that it does not have */
		pid_t child = fork();

		if (!child) {
			void *p = malloc(100);

			free(blocks[0][0]);
			blocks[0][0] = p;
			say(xml);
			_exit(0);
		}
		return waitpid(child, NULL, 0) != child;
	}
	say(xml);
	return 0;
}
