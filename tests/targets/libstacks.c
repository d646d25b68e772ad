/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the program stacks: frames of a shared library between its own.  Built twice: as a
 * library that it is linked with, and as a plug-in that it opens while it runs.
 */
#include <alloca.h>
#include <string.h>

int stacks_through(int depth, int (*back)(int depth));

static __attribute__((noinline)) int narrow(int depth, int (*back)(int depth))
{
	return back(depth - 1) + 1;
}

static __attribute__((noinline)) int wide(int depth, int (*back)(int depth))
{
	volatile char room[5000];

	room[depth] = (char)depth;
	return back(depth - 1) + room[depth];
}

static __attribute__((noinline)) int varying(int depth, int (*back)(int depth))
{
	size_t size = 16 + (size_t)depth % 7 * 48;
	char *volatile room = alloca(size);

	memset(room, depth, size);
	return back(depth - 1) + room[size / 2];
}

int stacks_through(int depth, int (*back)(int depth))
{
	int (*const ways[])(int, int (*)(int)) = {narrow, wide, varying};

	return ways[depth / 2 % 3](depth, back) + 1;
}
