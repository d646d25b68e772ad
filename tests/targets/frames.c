/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frames DEPTH: a block allocated from so many calls, in code with frame pointers. */
#include <stdlib.h>

static void *block;

__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void descend(long depth)
{
	if (depth > 1)
		descend(depth - 1);
	else
		block = malloc(12345);
	__asm__ volatile("" : : : "memory");
}

__attribute__((optimize("no-omit-frame-pointer"))) int main(int argc, char **argv)
{
	descend(argc > 1 ? strtol(argv[1], NULL, 10) : 1);
	free(block);
	return 0;
}
