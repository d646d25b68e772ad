/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/reachability.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

struct marking {
	const struct pointers *pointers;
	uint8_t *kinds;
	uint32_t *stack; /* each block comes onto it once a walk, so there is room */
	size_t n;
};

static inline void mark(struct marking *m, uint32_t block, enum block_kind kind)
{
	m->kinds[block] = (uint8_t)kind;
	m->stack[m->n++] = block;
}

/* ---- from the roots ------------------------------------------------------------------- */

static void mark_starts(struct marking *m, const uint32_t *edges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(edges[i] & POINTERS_INSIDE) && !m->kinds[edges[i]])
			mark(m, edges[i], BLOCK_REACHABLE);
}

static void mark_reachable(struct marking *m)
{
	const struct pointers_part *roots = &m->pointers->roots;

	mark_starts(m, roots->edges, roots->n_edges);
	while (m->n) {
		size_t n;
		const uint32_t *edges = pointers_of(m->pointers, m->stack[--m->n], &n);

		mark_starts(m, edges, n);
	}
}

static void mark_possible_by(struct marking *m, const uint32_t *edges, size_t n,
			     enum block_kind kind)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t to = edges[i] & ~POINTERS_INSIDE;

		if (!m->kinds[to])
			mark(m, to, kind);
	}
}

static void follow_possible(struct marking *m, enum block_kind kind)
{
	while (m->n) {
		size_t n;
		const uint32_t *edges = pointers_of(m->pointers, m->stack[--m->n], &n);

		mark_possible_by(m, edges, n, kind);
	}
}

/* What is left over of the first walk: pointers to insides, and all that follows from those. */
static void mark_possible(struct marking *m)
{
	const struct pointers *p = m->pointers;

	mark_possible_by(m, p->roots.edges, p->roots.n_edges, BLOCK_POSSIBLE);
	for (size_t i = 0; i < p->n; i++) {
		size_t n;
		const uint32_t *edges;

		if (m->kinds[i] != BLOCK_REACHABLE)
			continue;
		edges = pointers_of(p, i, &n);
		mark_possible_by(m, edges, n, BLOCK_POSSIBLE);
	}
	follow_possible(m, BLOCK_POSSIBLE);
}

static void mark_doubtful(struct marking *m)
{
	const enum block_kind kind = BLOCK_POSSIBLE | REACHABILITY_DOUBT;

	mark_possible_by(m, m->pointers->doubtful.edges, m->pointers->doubtful.n_edges, kind);
	follow_possible(m, kind);
}

/* ---- what is lost --------------------------------------------------------------------- */

/* The first of a clique before it, too: that is then no first one any more. */
static void mark_clique(struct marking *m, uint32_t first)
{
	m->stack[m->n++] = first;
	while (m->n) {
		size_t n;
		const uint32_t *edges = pointers_of(m->pointers, m->stack[--m->n], &n);

		for (size_t i = 0; i < n; i++) {
			uint32_t to = edges[i] & ~POINTERS_INSIDE;

			if (to == first)
				continue;
			if (!m->kinds[to])
				mark(m, to, BLOCK_INDIRECT);
			else if (m->kinds[to] == BLOCK_DEFINITE)
				m->kinds[to] = BLOCK_INDIRECT; /* what it leads to is known */
		}
	}
	m->kinds[first] = BLOCK_DEFINITE;
}

void reachability_judge(const struct pointers *p, uint8_t *ret_kinds)
{
	struct marking m = {.pointers = p, .kinds = ret_kinds};

	memset(ret_kinds, 0, p->n);
	m.stack = xcalloc(p->n + 1, sizeof(*m.stack));
	mark_reachable(&m);
	mark_possible(&m);
	mark_doubtful(&m);
	for (size_t i = 0; i < p->n; i++)
		if (!ret_kinds[i])
			mark_clique(&m, (uint32_t)i);
	free(m.stack);
}
