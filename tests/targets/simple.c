/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does what its arguments say, in order:
 *   malloc N S	N blocks of S bytes, kept		free N	frees the N newest
 *   exec …	becomes the command that follows	exit N	ends with that status
 *   signal N	ends by that signal			stop	stops itself (SIGSTOP)
 *   sleep MS	sleeps					say X	prints X
 *   double	frees a block twice, of a size that glibc does not notice
 *   corrupt	damages a block so that glibc aborts when it is freed
 *   leave	ends the main thread; another one goes on
 *   catch	prints "interrupted" at a SIGINT, and goes on
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS_MAX 4000000

static void *blocks[BLOCKS_MAX];
static long n_blocks;

static void interrupted(int signal)
{
	static const char text[] = "interrupted\n";

	(void)signal;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(9);
}

static void double_free(void)
{
	volatile char *p = malloc(100);
	void *volatile block = (void *)p;

	free(block);
	for (int i = 0; i < 16; i++)
		p[i] = 0; /* without the tcache's mark glibc does not notice */
	free(block);
}

static long number(char **argv, int i)
{
	return argv[i] ? strtol(argv[i], NULL, 10) : 0;
}

static int run(int argc, char **argv, int first);

static char **rest;
static int n_rest, first_of_rest;

static void *run_rest(void *arg)
{
	usleep(200000); /* the main thread is gone by then */
	exit(run(n_rest, rest, first_of_rest));
	return arg;
}

/* The main thread ends; another does the rest. */
static void leave(int argc, char **argv, int next)
{
	pthread_t thread;

	n_rest = argc;
	rest = argv;
	first_of_rest = next;
	if (pthread_create(&thread, NULL, run_rest, NULL))
		exit(2);
	pthread_exit(NULL);
}

/* glibc finds the size of the last block damaged, and aborts within free(). */
static void corrupt(void)
{
	volatile size_t *block = blocks[n_blocks - 1];

	block[-1] = 1;
	free((void *)block);
}

static int run(int argc, char **argv, int first)
{
	for (int i = first; i < argc; i++) {
		const char *verb = argv[i];

		if (!strcmp(verb, "malloc")) {
			for (long n = number(argv, i + 1); n && n_blocks < BLOCKS_MAX; n--)
				blocks[n_blocks++] = malloc((size_t)number(argv, i + 2));
			i += 2;
		} else if (!strcmp(verb, "free")) {
			for (long n = number(argv, ++i); n && n_blocks; n--)
				free(blocks[--n_blocks]);
		} else if (!strcmp(verb, "exec")) {
			execvp(argv[i + 1], argv + i + 1);
			return 127;
		} else if (!strcmp(verb, "exit")) {
			_exit((int)number(argv, i + 1));
		} else if (!strcmp(verb, "signal")) {
			raise((int)number(argv, ++i));
		} else if (!strcmp(verb, "stop")) {
			raise(SIGSTOP);
		} else if (!strcmp(verb, "sleep")) {
			usleep((useconds_t)number(argv, ++i) * 1000);
		} else if (!strcmp(verb, "say")) {
			dprintf(STDOUT_FILENO, "%s\n", argv[++i]);
		} else if (!strcmp(verb, "double")) {
			double_free();
		} else if (!strcmp(verb, "corrupt")) {
			corrupt();
		} else if (!strcmp(verb, "leave")) {
			leave(argc, argv, i + 1);
		} else if (!strcmp(verb, "catch")) {
			signal(SIGINT, interrupted);
		} else {
			return 64;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	return run(argc, argv, 1);
}
