/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/leaks.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/sort.h"
#include "common/xalloc.h"

void leak_blocks_add(void *blocks, const struct replay_block *b)
{
	struct leak_blocks *to = blocks;

	ARRAY_GROW(to->items, to->cap, to->n);
	to->items[to->n++] =
		(struct leak_block){b->t_ns, b->address, b->size, b->stack, BLOCK_NOT_LOOKED_AT};
	to->max_size = b->size > to->max_size ? b->size : to->max_size;
}

int leak_blocks_find_kinds(struct leak_blocks *b, struct store_reader *r, struct err *err)
{
	int error = block_kinds_read(&b->kinds, r, err);

	for (size_t i = 0; !error && i < b->n; i++) {
		struct leak_block *x = &b->items[i];

		x->kind = (uint8_t)block_kinds_of(&b->kinds, x->address, x->t_ns);
	}
	return error;
}

void leak_blocks_release(struct leak_blocks *b)
{
	block_kinds_release(&b->kinds);
	free(b->items);
	memset(b, 0, sizeof(*b));
}

static void filter_blocks(struct leak_blocks *b, const struct leak_filter *f)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		const struct leak_block *x = &b->items[i];

		if (x->t_ns >= f->since_ns && x->t_ns <= f->until_ns && x->size >= f->min_size &&
		    (!f->kinds || f->kinds >> x->kind & 1))
			b->items[n++] = *x;
	}
	b->n = n;
}

/* ---- groups: the blocks of one stack -------------------------------------------------- */

/* Those of one set: of one kind and of the stacks that one suppression is of, or none. */
struct leak_set {
	struct suppression *suppression;
	enum block_kind kind;
	struct analysis groups;
};

struct making {
	const struct catalog *catalog;
	struct suppressions *suppressions;
	struct hashmap stacks; /* stack and kind -> number of its place */
	struct leak_place {
		uint32_t set, group;
	} *places;
	size_t n_places, cap_places;
	struct leak_set *sets; /* the first, one a kind: not suppressed */
	size_t n_sets, cap_sets;
	uint32_t *of_blocks; /* [block] the place of its stack */
};

static uint32_t set_of(struct making *m, struct suppression *by, enum block_kind kind)
{
	uint32_t i = 0;

	while (i < m->n_sets && (m->sets[i].suppression != by || m->sets[i].kind != kind))
		i++;
	if (i == m->n_sets) {
		ARRAY_GROW(m->sets, m->cap_sets, m->n_sets);
		m->sets[m->n_sets++] = (struct leak_set){.suppression = by, .kind = kind};
	}
	return i;
}

static void add_place(struct making *m, struct stack_id stack, enum block_kind kind)
{
	struct stack_walk w;
	struct analysis *a;
	struct suppression *by = NULL;
	uint32_t set;

	if (m->suppressions->n) {
		stacks_walk(m->catalog, stack, &w);
		by = suppressions_match(m->suppressions, m->catalog, &w, kind);
	}
	set = set_of(m, by, kind);
	a = &m->sets[set].groups;
	ARRAY_GROW(a->groups, a->cap_groups, a->n_groups);
	ARRAY_GROW(m->places, m->cap_places, m->n_places);
	m->places[m->n_places++] = (struct leak_place){set, (uint32_t)a->n_groups};
	a->groups[a->n_groups++].key = stack.v;
}

static void group_blocks(struct making *m, const struct leak_blocks *blocks)
{
	for (int kind = 0; kind < BLOCK_KINDS; kind++)
		set_of(m, NULL, (enum block_kind)kind);
	m->of_blocks = xcalloc(blocks->n + 1, sizeof(*m->of_blocks));
	for (size_t i = 0; i < blocks->n; i++) {
		const struct leak_block *b = &blocks->items[i];
		uint32_t *place = hashmap_put(&m->stacks, b->stack.v | (uint64_t)b->kind << 32);
		struct group *g;

		if (*place == HASHMAP_NONE) {
			*place = (uint32_t)m->n_places;
			add_place(m, b->stack, (enum block_kind)b->kind);
		}
		m->of_blocks[i] = *place;
		g = &m->sets[m->places[*place].set].groups.groups[m->places[*place].group];
		g->totals.live_blocks++;
		g->totals.live_bytes += b->size;
		if (!g->oldest_ns || b->t_ns < g->oldest_ns)
			g->oldest_ns = b->t_ns;
		if (b->t_ns > g->newest_ns)
			g->newest_ns = b->t_ns;
	}
}

static void release_making(struct making *m)
{
	hashmap_release(&m->stacks);
	for (size_t i = 0; i < m->n_sets; i++)
		analysis_release(&m->sets[i].groups);
	free(m->sets);
	free(m->places);
	free(m->of_blocks);
}

/* ---- records -------------------------------------------------------------------------- */

static uint64_t middle(const uint64_t *sorted, size_t n)
{
	uint64_t low = sorted[(n - 1) / 2], high = sorted[n / 2];

	return low + (high - low) / 2;
}

/* [set] the number of its first record; the last: of all. */
static size_t *begin_records(struct leaks *l, const struct making *m)
{
	size_t *first = xcalloc(m->n_sets + 1, sizeof(*first));

	for (size_t i = 0; i < m->n_sets; i++)
		first[i + 1] = first[i] + l->sets[i].n;
	l->n = first[m->n_sets];
	l->n_shown = first[BLOCK_KINDS];
	l->items = xcalloc(l->n + 1, sizeof(*l->items));
	for (size_t i = 0; i < m->n_sets; i++)
		for (size_t k = 0; k < l->sets[i].n; k++)
			l->items[first[i] + k] = (struct leak){
				.row = &l->sets[i].rows[k], .min_size = UINT64_MAX,
				.suppressed_by = m->sets[i].suppression,
				.kind = m->sets[i].kind};
	return first;
}

/* Sizes and ages, which rows do not have: the times of each record's blocks, next to each other. */
static void measure(struct leaks *l, const struct making *m, const struct leak_blocks *blocks)
{
	size_t *first = begin_records(l, m), *next = xcalloc(l->n + 1, sizeof(*next));
	uint64_t *times = xcalloc(blocks->n + 1, sizeof(*times));

	for (size_t i = 0, at = 0; i < l->n; i++) {
		next[i] = at;
		at += l->items[i].row->totals.live_blocks;
	}
	for (size_t i = 0; i < blocks->n; i++) {
		const struct leak_place *p = &m->places[m->of_blocks[i]];
		size_t number = first[p->set] + l->sets[p->set].of_groups[p->group];
		struct leak *to = &l->items[number];
		uint64_t size = blocks->items[i].size;

		times[next[number]++] = blocks->items[i].t_ns;
		to->min_size = size < to->min_size ? size : to->min_size;
		to->max_size = size > to->max_size ? size : to->max_size;
	}
	for (size_t i = 0; i < l->n; i++) {
		struct leak *x = &l->items[i];
		size_t n = x->row->totals.live_blocks;

		sort_u64(times + next[i] - n, n);
		x->median_ns = middle(times + next[i] - n, n);
	}
	free(times);
	free(next);
	free(first);
}

static void sum_up(struct leaks *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct leak *x = &l->items[i];
		const struct heap_totals *t = &x->row->totals;

		l->bytes += t->live_bytes;
		l->blocks += t->live_blocks;
		if (!x->suppressed_by) {
			l->kinds[x->kind].bytes += t->live_bytes;
			l->kinds[x->kind].blocks += t->live_blocks;
			continue;
		}
		l->suppressed_bytes += t->live_bytes;
		l->suppressed_blocks += t->live_blocks;
		x->suppressed_by->bytes += t->live_bytes;
		x->suppressed_by->blocks += t->live_blocks;
	}
}

/* As memcheck's summary has them; what nobody looked at comes last. */
static int rank(const struct leak *l)
{
	return l->kind == BLOCK_NOT_LOOKED_AT ? BLOCK_KINDS : (int)l->kind;
}

static int by_kind_and_bytes(const void *a, const void *b)
{
	const struct leak *x = a, *y = b;
	const struct row *r = x->row, *s = y->row;

	if (!x->suppressed_by != !y->suppressed_by)
		return x->suppressed_by ? 1 : -1;
	if (x->kind != y->kind)
		return rank(x) - rank(y);
	if (r->totals.live_bytes != s->totals.live_bytes)
		return r->totals.live_bytes < s->totals.live_bytes ? 1 : -1;
	if (r->totals.live_blocks != s->totals.live_blocks)
		return r->totals.live_blocks < s->totals.live_blocks ? 1 : -1;
	if (r->oldest_ns != s->oldest_ns)
		return r->oldest_ns < s->oldest_ns ? -1 : 1;
	return strcmp(r->name, s->name);
}

void leaks_make(struct leaks *ret, const struct catalog *c, const struct own *own,
		struct leak_blocks *blocks, const struct leak_filter *filter,
		struct suppressions *suppressions, enum rows_by by)
{
	struct making m = {.catalog = c, .suppressions = suppressions};

	memset(ret, 0, sizeof(*ret));
	filter_blocks(blocks, filter);
	group_blocks(&m, blocks);
	ret->n_sets = m.n_sets;
	ret->sets = xcalloc(m.n_sets, sizeof(*ret->sets));
	for (size_t i = 0; i < m.n_sets; i++)
		rows_make(&ret->sets[i], c, &m.sets[i].groups, own, by, false);
	measure(ret, &m, blocks);
	release_making(&m);
	sum_up(ret);
	if (ret->n)
		qsort(ret->items, ret->n, sizeof(*ret->items), by_kind_and_bytes);
}

void leaks_release(struct leaks *l)
{
	for (size_t i = 0; i < l->n_sets; i++)
		rows_release(&l->sets[i]);
	free(l->sets);
	free(l->items);
	memset(l, 0, sizeof(*l));
}
