/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_BIND_H
#define STORE_BIND_H

#include <sqlite3.h>
#include <stdint.h>

#include "store/record.h"

/* Values of a row that the writer puts; columns count from 1. */

static inline void bind_text(sqlite3_stmt *s, int i, const char *text)
{
	sqlite3_bind_text(s, i, text, -1, SQLITE_TRANSIENT);
}

static inline void bind_u64(sqlite3_stmt *s, int i, uint64_t v)
{
	sqlite3_bind_int64(s, i, (sqlite3_int64)v);
}

/* 0 stands for "not yet". */
static inline void bind_time(sqlite3_stmt *s, int i, uint64_t t_ns)
{
	if (t_ns)
		bind_u64(s, i, t_ns);
}

static inline void bind_totals(sqlite3_stmt *s, int i, const struct heap_totals *t)
{
	bind_u64(s, i, t->alloc_calls);
	bind_u64(s, i + 1, t->allocated_bytes);
	bind_u64(s, i + 2, t->live_blocks);
	bind_u64(s, i + 3, t->live_bytes);
	bind_u64(s, i + 4, t->peak_blocks);
	bind_u64(s, i + 5, t->peak_bytes);
	bind_u64(s, i + 6, t->temporary_allocs);
}

#endif
