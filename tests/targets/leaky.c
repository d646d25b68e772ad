/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * leaky [pause]: leaks so much in each of its functions as it says, as JSON; some of them are
 * inlined, others call wrappers, one leaks on two lines.  With "pause" it waits at its end for
 * standard input to close.  main() has what pthread_create() allocates, and no more.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

static void *volatile last;
static struct {
	const char *function;
	unsigned long long bytes, blocks;
} leaks[8];
static unsigned long long temporary;

static void *leak(const char *function, void *p, size_t size)
{
	int i = 0;

	while (leaks[i].function && strcmp(leaks[i].function, function))
		i++;
	leaks[i].function = function;
	leaks[i].bytes += size;
	leaks[i].blocks++;
	last = p;
	return p;
}

/* A well-known name: whose its blocks are, its callers decide. */
INLINE void *xmalloc(size_t size)
{
	void *p = malloc(size);

	if (!p)
		abort();
	return p;
}

NOINLINE void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

INLINE void make_node(size_t size)
{
	leak("make_node", malloc(size), size);
}

NOINLINE void build_tree(int nodes)
{
	for (int i = 0; i < nodes; i++)
		make_node(48);
	leak("build_tree", malloc(5000), 5000);
}

NOINLINE void read_config(void)
{
	leak("read_config", xmalloc(3000), 3000); /* inlined there: depth 1 */
	leak("read_config", xcalloc(10, 100), 1000);
}

INLINE void load_image(void)
{
	leak("load_image", xmalloc(70000), 70000); /* inlined twice */
}

NOINLINE void open_window(void)
{
	load_image();
	last = malloc(200000); /* for the peak: before the rest */
	free((void *)last);
}

NOINLINE void print_line(void)
{
	void *volatile p = malloc(300);

	temporary++;
	free((void *)p);
}

static void *work(void *arg)
{
	pthread_setname_np(pthread_self(), "worker");
	leak("work", malloc(777), 777);
	return arg;
}

int main(int argc, char **argv)
{
	const char *between = "";
	pthread_t thread;
	char end;

	setvbuf(stdout, NULL, _IONBF, 0); /* no block of the C library's for it */
	open_window();
	build_tree(100);
	read_config();
	for (int i = 0; i < 50; i++)
		print_line();
	if (pthread_create(&thread, NULL, work, NULL) || pthread_join(thread, NULL))
		return 2;
	printf("{\"leaks\": {");
	for (int i = 0; leaks[i].function; i++, between = ", ")
		printf("%s\"%s\": [%llu, %llu]", between, leaks[i].function, leaks[i].bytes,
		       leaks[i].blocks);
	printf("}, \"temporary\": %llu}\n", temporary);
	return argc > 1 && !strcmp(argv[1], "pause") && read(STDIN_FILENO, &end, 1) < 0;
}
