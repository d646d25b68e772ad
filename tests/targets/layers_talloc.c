/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trees of talloc, where each block may have others, and what it says itself: [blocks, bytes]. */
#include <stdio.h>
#include <stdlib.h>
#include <talloc.h>

int main(void)
{
	void *top = talloc_named_const(NULL, 10, "top");
	unsigned long blocks, bytes;

	for (int i = 0; i < 50; i++) {
		void *a = talloc_named_const(top, 100, "a");
		void *b = talloc_named_const(a, 50 + (size_t)i, "b");

		for (int k = 0; k < 10; k++)
			talloc_named_const(k % 2 ? a : b, 20, "c");
		if (i % 3 == 0)
			talloc_free(b);
		if (i % 3 == 1)
			talloc_free(a);
		if (i % 3 == 2)
			talloc_free_children(a);
	}
	blocks = talloc_total_blocks(top);
	bytes = talloc_total_size(top);
	printf("[%lu, %lu]\n", blocks, bytes);
	fflush(stdout);
	_Exit(0);
}
