/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A library that allocates before main() begins, and after it ended. */
#include <stdlib.h>

void *constructor_blocks[100];

__attribute__((constructor)) static void construct(void)
{
	for (int i = 0; i < 100; i++)
		constructor_blocks[i] = malloc(123);
}

__attribute__((destructor)) static void destruct(void)
{
	for (int i = 0; i < 90; i++)
		free(constructor_blocks[i]);
	constructor_blocks[0] = malloc(77);
}
