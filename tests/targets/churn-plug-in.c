/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in of churn's.  Compiled several times with another NUMBER: the files are
 * alike, but the frames at the same places in them are of different sizes.
 */
#include <stdlib.h>

__attribute__((noinline)) static void *descend(int depth, size_t size, void **blocks)
{
	volatile char frame[32 + NUMBER * 48];

	frame[0] = 1;
	frame[sizeof(frame) - 1] = (char)depth;
	if (depth)
		blocks = descend(depth - 1, size, blocks);
	else
		*blocks++ = malloc(size);
	__asm__ volatile("" : : "r"(frame) : "memory");
	return blocks;
}

/* Allocates a block from that many frames below this one; returns it. */
void *plug_in_allocate(int depth, size_t size)
{
	void *block = NULL;

	descend(depth, size, &block);
	return block;
}
