/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_EH_FRAME_ROWS_H
#define TESTS_UNIT_EH_FRAME_ROWS_H

/* All rows of an .eh_frame, kept. */
#include <stdlib.h>

#include "common/xalloc.h"
#include "image/eh_frame.h"

struct eh_frame_row {
	uint64_t address, rule;
};

struct eh_frame_rows {
	struct eh_frame_row *rows;
	size_t n, cap;
	size_t skipped;
};

static inline void keep_row(void *arg, uint64_t address, uint64_t rule)
{
	struct eh_frame_rows *r = arg;

	ARRAY_GROW(r->rows, r->cap, r->n);
	r->rows[r->n++] = (struct eh_frame_row){.address = address, .rule = rule};
}

/* On success @ret is to be released; it is empty where no function is described. */
static inline int eh_frame_parse(const uint8_t *data, size_t len, uint64_t address,
				 struct eh_frame_rows *ret)
{
	struct eh_frame_rows rows = {0};
	int r = eh_frame_walk(data, len, address, keep_row, &rows, &rows.skipped);

	if (r == 0)
		*ret = rows;
	return r;
}

static inline void eh_frame_rows_release(struct eh_frame_rows *r)
{
	if (!r)
		return;
	free(r->rows);
	*r = (struct eh_frame_rows){0};
}

/* 0 where nothing is known. */
static inline uint64_t eh_frame_rule_at(const struct eh_frame_rows *r, uint64_t address)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) { /* the first above @address */
		size_t mid = lo + (hi - lo) / 2;

		if (r->rows[mid].address <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? r->rows[lo - 1].rule : 0;
}

#endif
