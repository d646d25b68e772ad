/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A heap of 10^6 blocks in a GiB, every fourth of them freed; says "ready" and waits for a line. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 1000000
#define SIZE 1040

static char *blocks[BLOCKS];

int main(void)
{
	char line;

	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(SIZE);
		memset(blocks[i], 1, SIZE);
	}
	for (int i = 0; i < BLOCKS; i += 4)
		free(blocks[i]);
	return write(1, "ready\n", 6) != 6 || read(0, &line, 1) < 0;
}
