/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fragmenter MODE [N]: makes a heap with holes of a known kind, says which blocks are live
 * ("block ADDRESS REQUESTED USABLE FUNCTION"), what malloc says of itself ("mallinfo ARENA
 * MAPPED USED FREE"), and "ready"; then it waits for a line and ends, without another call of
 * malloc.  It writes without one, too.
 *
 * half: every second block is freed.  survivor: one small block a page remains.  mapped: large
 * blocks with mappings of their own, touched in part, every second freed.  retained: all is
 * freed but the last.  trimmed: the same, and given back by malloc_trim(3).  arenas: as half, in
 * four threads, which live on.  zero: blocks that are read before they are written.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIDDEN __attribute__((noinline, noclone))
#define BLOCKS_MAX (1 << 20)
#define THREADS 4

static struct block {
	char *p;
	size_t size;
	const char *made_by;
} blocks[BLOCKS_MAX];
static size_t n_blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char out[1 << 16];
static size_t out_len;

static void flush(void)
{
	for (size_t done = 0; done < out_len;) {
		ssize_t n = write(1, out + done, out_len - done);

		if (n <= 0)
			_exit(3);
		done += (size_t)n;
	}
	out_len = 0;
}

__attribute__((format(printf, 1, 2))) static void put(const char *fmt, ...)
{
	va_list ap;

	if (out_len > sizeof(out) - 256)
		flush();
	va_start(ap, fmt);
	out_len += (size_t)vsnprintf(out + out_len, 256, fmt, ap);
	va_end(ap);
}

static char *note(char *p, size_t size, const char *made_by)
{
	if (!p)
		_exit(4);
	pthread_mutex_lock(&lock);
	blocks[n_blocks++] = (struct block){p, size, made_by};
	pthread_mutex_unlock(&lock);
	return p;
}

static void forget(char *p)
{
	pthread_mutex_lock(&lock);
	for (size_t i = n_blocks; i-- > 0;) {
		if (blocks[i].p == p) {
			blocks[i].p = NULL;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	free(p);
}

HIDDEN static char *keep(size_t size)
{
	char *p = note(malloc(size), size, __func__);

	memset(p, 1, size);
	return p;
}

HIDDEN static char *fill(size_t size)
{
	char *p = note(malloc(size), size, __func__);

	memset(p, 2, size);
	return p;
}

HIDDEN static char *map(size_t size, size_t touched)
{
	char *p = note(malloc(size), size, __func__);

	memset(p, 3, touched);
	return p;
}

static char *some[BLOCKS_MAX];

static void half(size_t n)
{
	for (size_t i = 0; i < n; i++)
		some[i] = i % 2 ? fill(1500) : keep(1500);
	for (size_t i = 1; i < n; i += 2)
		forget(some[i]);
}

static void survivor(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		keep(100);
		some[i] = fill(4000);
	}
	for (size_t i = 0; i < n; i++)
		forget(some[i]);
}

static void mapped(size_t n)
{
	for (size_t i = 0; i < n; i++)
		some[i] = map((1 << 20) + i * 1000, (1 << 19) + i * 5000);
	for (size_t i = 1; i < n; i += 2)
		forget(some[i]);
}

static void retained(size_t n)
{
	for (size_t i = 0; i < n; i++)
		some[i] = fill(3000);
	keep(100);
	for (size_t i = 0; i < n; i++)
		forget(some[i]);
}

static void zero(size_t n)
{
	volatile char sum = 0;

	for (size_t i = 0; i < n; i++) {
		some[i] = note(malloc(300000), 300000, __func__);
		for (size_t k = 0; k < 300000; k += i % 3 ? 4096 : 8192)
			sum += some[i][k];
		some[i][100000] = sum;
	}
}

static struct {
	size_t n;
	pthread_barrier_t done;
} shared;

static void *in_thread(void *arg)
{
	char **mine = malloc(0); /* makes it the arena of this thread */

	free(mine);
	mine = some + (size_t)arg * shared.n;
	for (size_t i = 0; i < shared.n; i++)
		mine[i] = i % 2 ? fill(700) : keep(700);
	for (size_t i = 1; i < shared.n; i += 2)
		forget(mine[i]);
	pthread_barrier_wait(&shared.done);
	for (;;)
		pause();
	return NULL;
}

static void arenas(size_t n)
{
	shared.n = n / THREADS;
	pthread_barrier_init(&shared.done, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, in_thread, (void *)i))
			_exit(5);
	}
	pthread_barrier_wait(&shared.done);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(size_t n);
		size_t n;
	} modes[] = {
		{"half", half, 20000},	      {"survivor", survivor, 3000}, {"mapped", mapped, 40},
		{"retained", retained, 5000}, {"trimmed", retained, 5000},  {"arenas", arenas, 8000},
		{"zero", zero, 50},
	};
	struct mallinfo2 info;
	char line;

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (argc > 1 && !strcmp(argv[1], modes[i].name))
			modes[i].run(argc > 2 ? strtoul(argv[2], NULL, 0) : modes[i].n);
	if (!n_blocks)
		_exit(2);
	if (!strcmp(argv[1], "trimmed"))
		malloc_trim(0);
	info = mallinfo2();
	for (size_t i = 0; i < n_blocks; i++)
		if (blocks[i].p)
			put("block %zx %zu %zu %s\n", (size_t)blocks[i].p, blocks[i].size,
			    malloc_usable_size(blocks[i].p), blocks[i].made_by);
	put("mallinfo %zu %zu %zu %zu\n", info.arena, info.hblkhd, info.uordblks, info.fordblks);
	put("ready\n");
	flush();
	if (read(0, &line, 1) < 0)
		_exit(6);
	_exit(0);
}
