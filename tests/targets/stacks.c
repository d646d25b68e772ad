/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program whose allocations come from stacks that are hard to unwind: its argument says
 * from which.  Says "ready", waits for a byte of its standard input, then goes on until it
 * is killed.  Without an argument it names the ways there are.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef IS_STATIC
#include <dlfcn.h>
#endif

#define NOINLINE __attribute__((noinline))
#define THREADS 8

static volatile int sink;
static __thread unsigned int calls;
static const char *plug_in;

NOINLINE static int leaf(int size)
{
	char *volatile p = malloc((size_t)size);

	p[0] = 1;
	free(p);
	if (++calls % 256 == 0) /* leave time to others */
		usleep(100);
	return size;
}

/* ---- frames of every shape, one calling the other ------------------------------------ */

static int down(int depth);

NOINLINE static int plain(int depth)
{
	return down(depth - 1) + 1;
}

/* Many values live across the call: every register that is saved by the callee is pushed. */
NOINLINE static int saving(int depth)
{
	int a = depth * 3 + sink, b = depth * 5 ^ sink, c = depth * 7 - sink, d = depth * 11 + sink,
	    e = depth * 13 ^ sink, f = depth * 17 - sink, g = depth * 19 + sink;

	int r = down(depth - 1);

	return r + (a ^ b ^ c ^ d ^ e ^ f ^ g);
}

NOINLINE static int big(int depth)
{
	volatile char room[6000];

	room[depth] = (char)depth;
	return down(depth - 1) + room[depth];
}

NOINLINE static int varying(int depth)
{
	size_t size = 16 + calls % 61 * 40;
	char *volatile room = alloca(size);

	memset(room, depth, size);
	return down(depth - 1) + room[size / 2];
}

NOINLINE static int aligned(int depth)
{
	_Alignas(64) volatile char room[128];

	room[depth % 128] = (char)depth;
	return down(depth - 1) + room[depth % 128];
}

/* Realigned, with arguments on the stack and alloca: the frame is found by an expression. */
NOINLINE static int aligned_and_varying(int a, int b, int c, int d, int e, int f, int g, int depth)
{
	_Alignas(64) volatile char room[192];
	size_t size = 16 + calls % 17 * 24;
	char *volatile more = alloca(size);

	memset(more, a + b + c, size);
	room[depth % 192] = (char)(d + e + f + g);
	return down(depth - 1) + room[depth % 192] + more[size / 2];
}

NOINLINE static int with_many_arguments(int depth)
{
	return aligned_and_varying(depth, 2, 3, 4, 5, 6, 7, depth) + 1;
}

static int (*const shapes[])(int depth) = {plain,   saving,  big,
					   varying, aligned, with_many_arguments};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static int down(int depth)
{
	if (depth <= 0)
		return leaf(40);
	return shapes[(unsigned int)depth % SHAPES](depth) + 1;
}

/* ---- the ways ------------------------------------------------------------------------ */

#ifndef IS_STATIC
int stacks_through(int depth, int (*back)(int depth));

static int (*through)(int depth, int (*back)(int depth));

NOINLINE static int back_and_forth(int depth)
{
	if (depth <= 0)
		return leaf(48);
	/* three frames in two modules */
	return through(depth, back_and_forth) + 1;
}

static void by_library(void)
{
	through = stacks_through;
	sink = back_and_forth(13);
}

static void by_plug_in(void)
{
	if (!through) {
		void *handle = dlopen(plug_in, RTLD_NOW);
		void *f = handle ? dlsym(handle, "stacks_through") : NULL;

		if (!f) {
			fprintf(stderr, "stacks: %s\n", dlerror());
			exit(1);
		}
		memcpy(&through, &f, sizeof(through));
	}
	sink = back_and_forth(5);
}
#endif

static void handle(int signal)
{
	(void)signal;
	sink = down((int)(calls % 5));
}

static void raise_from(int depth)
{
	_Alignas(32) volatile char room[32];

	room[0] = (char)depth;
	if (depth)
		raise_from(depth - 1);
	else
		raise(SIGUSR1);
	sink = room[0];
}

static void by_handler(void)
{
	struct sigaction action = {.sa_handler = handle};

	sigaction(SIGUSR1, &action, NULL);
	raise_from(3);
}

static void use_sigaltstack(void)
{
	static _Alignas(16) char room[256 << 10];
	stack_t stack = {.ss_sp = room, .ss_size = sizeof(room)};

	sigaltstack(&stack, NULL);
}

static void by_sigaltstack(void)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};

	use_sigaltstack();
	sigaction(SIGUSR1, &action, NULL);
	raise_from(3);
}

/* Computes, so that a signal finds it at any instruction, in prologues and epilogues too. */
NOINLINE static int compute(int n)
{
	volatile char room[64];
	int a = n + sink, b = n * 3, c = n ^ 5, d = n - 7;

	room[n & 63] = (char)n;
	if (n <= 0)
		return a;
	a += compute(n - 1);
	b += compute(n - 2);
	return a + b + c + d + room[n & 63];
}

static void interrupted(int flags)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = flags | SA_RESTART};
	struct itimerval every = {{0, 200}, {0, 200}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (;;)
		sink = compute(12);
}

static void by_timer(void)
{
	interrupted(0);
}

static void by_timer_on_sigaltstack(void)
{
	use_sigaltstack();
	interrupted(SA_ONSTACK);
}

static jmp_buf out;
static volatile int jumps = 1;

NOINLINE static int dive(int depth)
{
	volatile char room[100];

	room[0] = (char)depth;
	sink = leaf(24 + depth);
	if (!depth && jumps)
		longjmp(out, 1);
	return depth < 0 ? 0 : dive(depth - 1) + room[0];
}

static void by_longjmp(void)
{
	if (!setjmp(out))
		sink = dive(5 + (int)(calls % 30));
	sink = leaf(64);
}

static void by_alloca(void)
{
	sink = varying((int)(calls % 3) * (int)SHAPES);
}

static void by_realignment(void)
{
	sink = calls % 2 ? aligned(0) : with_many_arguments(0);
}

static int compare(const void *a, const void *b)
{
	sink = down((int)(calls % 3));
	return *(const int *)a - *(const int *)b;
}

static void by_qsort(void)
{
	int numbers[64];

	for (int i = 0; i < 64; i++)
		numbers[i] = i * 37 % 64;
	qsort(numbers, 64, sizeof(numbers[0]), compare);
}

static void *work(void *arg)
{
	for (;;)
		sink = down(1 + (int)(calls % 11));
	return arg;
}

static void by_threads(void)
{
	pthread_t t;

	for (int i = 1; i < THREADS; i++)
		if (pthread_create(&t, NULL, work, NULL))
			exit(1);
	work(NULL);
}

NOINLINE static int recurse(int depth)
{
	return depth ? recurse(depth - 1) + sink : leaf(32);
}

static void by_recursion(void)
{
	sink = recurse(300);
}

static const struct {
	const char *name;
	void (*once)(void);
} ways[] = {
#ifndef IS_STATIC
	{"library", by_library},       {"plug-in", by_plug_in},
#endif
	{"handler", by_handler},       {"sigaltstack", by_sigaltstack},
	{"timer", by_timer},	       {"timer-on-sigaltstack", by_timer_on_sigaltstack},
	{"longjmp", by_longjmp},       {"alloca", by_alloca},
	{"realigned", by_realignment}, {"qsort", by_qsort},
	{"threads", by_threads},       {"recursion", by_recursion},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

int main(int argc, char **argv)
{
	char c;

	if (argc > 2)
		plug_in = argv[2];
	for (size_t i = 0; i < WAYS; i++) {
		if (argc < 2) {
			puts(ways[i].name);
			continue;
		}
		if (strcmp(argv[1], ways[i].name))
			continue;
		puts("ready");
		fflush(stdout);
		if (read(STDIN_FILENO, &c, 1) != 1)
			return 2;
		for (;;)
			ways[i].once();
	}
	return argc >= 2;
}
