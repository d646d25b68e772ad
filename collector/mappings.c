/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/mappings.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* Those that overlap count as equal: so any of them is found by a range. */
static int compare(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return x->end <= y->start ? -1 : x->start >= y->end;
}

void mappings_release(struct mappings *m)
{
	tdestroy(m->tree, free);
	free(m->debts);
	memset(m, 0, sizeof(*m));
}

const struct mapping *mappings_find(const struct mappings *m, uint64_t start, uint64_t end)
{
	struct mapping range = {start, end, 0};
	void *const *found = start < end ? tfind(&range, &m->tree, compare) : NULL;

	return found ? *found : NULL;
}

void mappings_add(struct mappings *m, uint64_t start, uint64_t end, uint32_t slot)
{
	struct mapping *one = xmalloc(sizeof(*one));
	void *const *place;

	*one = (struct mapping){start, end, slot};
	place = tsearch(one, &m->tree, compare);
	if (!place || *place != one) /* no memory; or it overlaps, which is the caller's mistake */
		free(one);
}

struct mapping mappings_remove(struct mappings *m, const struct mapping *found)
{
	struct mapping one = *found;

	tdelete(found, &m->tree, compare);
	free((void *)found);
	return one;
}

/* ---- debts ------------------------------------------------------------------------------- */

/* More are owed only where those who were to tell were lost. */
#define DEBTS_MAX 1024

void mappings_add_debt(struct mappings *m, struct mapping_debt debt)
{
	if (m->n_debts == DEBTS_MAX) {
		memmove(m->debts, m->debts + 1, (DEBTS_MAX - 1) * sizeof(*m->debts));
		m->n_debts--;
	}
	ARRAY_GROW(m->debts, m->cap_debts, m->n_debts);
	m->debts[m->n_debts++] = debt;
}

bool mappings_owe(const struct mappings *m, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < m->n_debts; i++)
		if (m->debts[i].start < end && start < m->debts[i].end)
			return true;
	return false;
}

bool mappings_owe_of_block(const struct mappings *m, uint64_t start, uint64_t cut, uint64_t end)
{
	for (size_t i = 0; i < m->n_debts; i++)
		if (m->debts[i].block_start == start && m->debts[i].block_end == end &&
		    m->debts[i].start >= cut)
			return true;
	return false;
}

/* The rest of @d. */
static void add_rest(struct mappings *m, struct mapping_debt d, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	d.start = start;
	d.end = end;
	mappings_add_debt(m, d);
}

bool mappings_take_debt(struct mappings *m, uint64_t start, uint64_t end, uint64_t since_ns,
			struct mapping_debt *ret)
{
	for (size_t i = 0; i < m->n_debts;) {
		struct mapping_debt d = m->debts[i];

		if (d.t_ns >= since_ns && (d.start >= end || d.end <= start)) {
			i++;
			continue;
		}
		m->debts[i] = m->debts[--m->n_debts];
		if (d.t_ns < since_ns)
			continue;
		*ret = d;
		ret->start = d.start < start ? start : d.start;
		ret->end = d.end > end ? end : d.end;
		add_rest(m, d, d.start, start);
		add_rest(m, d, end, d.end);
		return true;
	}
	return false;
}
