/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/sparkline.h"

#include <string.h>

#include "common/xalloc.h"

static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const char *const letters[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
#define LEVELS COUNT_OF(blocks)

const char *sparkline(char *buf, const double *values, size_t n, size_t columns, bool ascii)
{
	double low = n ? values[0] : 0, high = low;
	char *to = buf;

	columns = columns > SPARKLINE_COLUMNS_MAX ? SPARKLINE_COLUMNS_MAX : columns;
	columns = columns > n ? n : columns;
	for (size_t i = 1; i < n; i++) {
		low = values[i] < low ? values[i] : low;
		high = values[i] > high ? values[i] : high;
	}
	for (size_t i = 0; i < columns; i++) {
		size_t from = i * n / columns, until = (i + 1) * n / columns, level = 0;
		double sum = 0;
		const char *c;

		for (size_t k = from; k < until; k++)
			sum += values[k];
		if (high - low > high / 50)
			level = (size_t)((sum / (double)(until - from) - low) / (high - low) *
					 ((double)LEVELS - 0.01));
		else if (high > 0)
			level = LEVELS / 2;
		c = ascii ? letters[level] : blocks[level];
		memcpy(to, c, strlen(c));
		to += strlen(c);
	}
	*to = '\0';
	return buf;
}
