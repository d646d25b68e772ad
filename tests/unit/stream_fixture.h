/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random events of a program, and whether two analyses of them are the same. */
#ifndef TESTS_UNIT_STREAM_FIXTURE_H
#define TESTS_UNIT_STREAM_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "analyzer/analysis.h"
#include "common/xalloc.h"
#include "store/slots.h"
#include "tests/unit/store_fixture.h"

/* ---- events as a program makes them --------------------------------------------------- */

static struct event *stream; /* @n_stream, one space after the other */
static uint32_t *spaces;
static size_t n_stream;
/* As pieces come in recordings, which never have them in layer heap: checkpoints count on that. */
static bool stream_has_parts;
static uint32_t stream_live_max = UINT32_MAX; /* so many blocks are live at once, about */

static inline void make_stream(size_t n, unsigned int execs)
{
	struct slots slots = {0};
	uint32_t *live = xcalloc(n, sizeof(*live)), n_live = 0, space = 1, threads = 12, pieces = 0;
	uint64_t t = 1000;

	stream = xcalloc(n, sizeof(*stream));
	spaces = xcalloc(n, sizeof(*spaces));
	n_stream = n;
	for (size_t i = 0; i < n; i++) {
		struct event *e = &stream[i];
		uint32_t at = n_live ? (uint32_t)random_below(n_live) : 0;
		bool grows = i / 30000 % 3 != 2 && n_live < stream_live_max;

		if (execs && i && i % (n / (execs + 1) + 1) == 0) {
			slots_reset(&slots);
			n_live = pieces = 0;
			space++;
		}
		spaces[i] = space;
		*e = (struct event){.thread = {1 + (uint32_t)random_below(threads)},
				    .family = (uint8_t)(1 + random_below(3)),
				    .stack = {(uint32_t)random_below(random_below(9) ? 40 : 9000)},
				    .t_ns = t += random_below(3) * 500};
		if (pieces) {
			pieces--;
			e->kind = EVENT_PIECE;
		} else if (n_live && random_below(100) < (grows ? 40 : 60)) {
			e->kind = random_below(5) ? EVENT_FREE : EVENT_REALLOC;
			e->free_class = e->kind == EVENT_FREE && !random_below(9) ? FREE_IMPLIED : 0;
			if (e->kind == EVENT_FREE && !random_below(20)) {
				e->free_class = stream_has_parts ? FREE_PARTED : FREE_OF_BLOCK;
				pieces = 1 + (uint32_t)random_below(2);
			}
			e->slot = live[at];
		} else if (!random_below(50)) {
			e->kind = EVENT_FREE;
			e->free_class = (uint8_t)(FREE_UNKNOWN + random_below(3));
			e->address = random_u64();
		}
		if (event_makes(e)) {
			e->size = random_below(20) ? random_below(2000) : random_u64() >> 20;
			e->usable = random_below(7) ? (e->size | 15) + 9 : USABLE_UNKNOWN;
			e->address = random_below(30) ? random_below(1 << 30) * 16 : random_u64();
		}
		if (e->kind == EVENT_PIECE) /* how old it is */
			e->usable = random_below(9) ? random_below(t) : random_u64();
		if (e->kind == EVENT_ALLOC || e->kind == EVENT_PIECE) {
			e->slot = slots_take(&slots);
			live[n_live++] = e->slot;
		} else if (e->kind == EVENT_FREE && event_frees(e)) {
			slots_give(&slots, e->slot);
			live[at] = live[--n_live];
		}
	}
	slots_release(&slots);
	free(live);
}

static inline void drop_stream(void)
{
	free(stream);
	free(spaces);
}

/* ---- analyses ------------------------------------------------------------------------- */

static inline int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static inline bool are_equal_groups(const struct analysis *a, const struct analysis *b)
{
	if (a->n_groups != b->n_groups)
		return false;
	if (a->n_groups) {
		qsort(a->groups, a->n_groups, sizeof(*a->groups), compare_groups);
		qsort(b->groups, b->n_groups, sizeof(*b->groups), compare_groups);
	}
	for (size_t i = 0; i < a->n_groups; i++)
		if (a->groups[i].key != b->groups[i].key ||
		    memcmp(&a->groups[i].totals, &b->groups[i].totals,
			   sizeof(a->groups[i].totals)) ||
		    a->groups[i].oldest_ns != b->groups[i].oldest_ns ||
		    a->groups[i].newest_ns != b->groups[i].newest_ns)
			return false;
	return true;
}

static inline bool are_equal_sums(const struct analysis *a, const struct analysis *b)
{
	return !memcmp(&a->totals, &b->totals, sizeof(a->totals)) &&
	       a->free_calls == b->free_calls && a->usable_bytes == b->usable_bytes &&
	       a->peak_time_ns == b->peak_time_ns && a->events == b->events &&
	       a->last_ns == b->last_ns && a->ended_by_exec_blocks == b->ended_by_exec_blocks &&
	       a->ended_by_exec_bytes == b->ended_by_exec_bytes &&
	       !memcmp(a->frees, b->frees, sizeof(a->frees));
}

static inline bool analyse(const char *path, enum group_key key, const struct analysis_window *w,
		    struct analysis *ret)
{
	struct store_reader *r = open_reader(path);
	bool good = analysis_make(r, key, w, NULL, ret, &err) == 0;

	if (!good)
		diag("%s", err.what);
	store_reader_close(r);
	return good;
}

#endif
