/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools of APR, and what is in them at the end, as JSON: [blocks in pools and pools, bytes]. */
#include <apr_general.h>
#include <apr_pools.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long blocks, bytes;

static void fill(apr_pool_t *p, int n, int counts)
{
	for (int i = 0; i < n; i++)
		apr_palloc(p, (apr_size_t)(100 + i));
	for (int i = 0; counts && i < n; i++) {
		blocks++;
		bytes += (unsigned long)(100 + i);
	}
}

int main(void)
{
	apr_pool_t *root, *child, *grandchild;

	apr_initialize();
	apr_pool_create(&root, NULL);
	blocks++;
	for (int i = 0; i < 30; i++) {
		apr_pool_create(&child, root);
		apr_pool_create(&grandchild, child);
		fill(child, 40, 0);
		fill(grandchild, 40, 0);
		if (i % 2)
			apr_pool_destroy(child);
		else
			apr_pool_clear(child);
		if (i % 10 == 9)
			apr_pool_clear(root);
	}
	apr_pool_create(&child, root);
	blocks++;
	fill(child, 25, 1);
	fill(root, 15, 1);
	printf("[%lu, %lu]\n", blocks, bytes);
	fflush(stdout);
	_Exit(0);
}
