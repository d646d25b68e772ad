/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/sort.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

void sort_u64(uint64_t *numbers, size_t n)
{
	if (n)
		qsort(numbers, n, sizeof(*numbers), by_value);
}
