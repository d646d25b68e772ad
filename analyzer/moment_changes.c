/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/moment_changes.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* A group's share of the peak, at the later moment. */
enum share {
	SHARE_LIVE, /* there was a peak since it changed: what is live */
	SHARE_SAME, /* as it was at the moment before */
	SHARE_NEW,  /* by how much it is not what is live */
};
#define SHARE_BITS 2

struct change {
	uint32_t place;
	enum share share;
	uint64_t key; /* of a group that is new */
	uint64_t alloc_calls, allocated_bytes, temporary_allocs;
	int64_t live_blocks, live_bytes;
	int64_t peak_blocks, peak_bytes; /* SHARE_NEW */
};

void moment_sums_of(const struct totals *t, struct space_id space, struct moment_sums *ret)
{
	*ret = (struct moment_sums){.sums = t->sums,
				    .peaks = t->peaks,
				    .live_bytes = t->live_bytes,
				    .live_blocks = t->live_blocks,
				    .space = space};
	for (int k = 0; k < GROUP_KEYS; k++)
		ret->n_groups[k] = (uint32_t)t->tallies[k].n;
}

/* ---- bytes --------------------------------------------------------------------------- */

/* @n_before: so many groups there were at the moment before. */
static void put_change(struct buffer *out, const struct change *c, uint32_t place_before,
		       uint32_t n_before)
{
	buffer_append_varint(out, (uint64_t)(c->place - place_before) << SHARE_BITS | c->share);
	if (c->place >= n_before)
		buffer_append_varint(out, c->key);
	buffer_append_varint(out, c->alloc_calls);
	buffer_append_varint(out, c->allocated_bytes);
	buffer_append_varint(out, c->temporary_allocs);
	buffer_append_varint(out, zigzag(c->live_blocks));
	buffer_append_varint(out, zigzag(c->live_bytes));
	if (c->share != SHARE_NEW)
		return;
	buffer_append_varint(out, zigzag(c->peak_blocks));
	buffer_append_varint(out, zigzag(c->peak_bytes));
}

static void get_change(struct cursor *from, struct change *c, uint32_t n_before)
{
	uint64_t head = cursor_varint(from);

	c->place += (uint32_t)(head >> SHARE_BITS);
	c->share = (enum share)(head & ((1 << SHARE_BITS) - 1));
	c->key = c->place >= n_before ? cursor_varint(from) : 0;
	c->alloc_calls = cursor_varint(from);
	c->allocated_bytes = cursor_varint(from);
	c->temporary_allocs = cursor_varint(from);
	c->live_blocks = unzigzag(cursor_varint(from));
	c->live_bytes = unzigzag(cursor_varint(from));
	c->peak_blocks = c->peak_bytes = 0;
	if (c->share != SHARE_NEW)
		return;
	c->peak_blocks = unzigzag(cursor_varint(from));
	c->peak_bytes = unzigzag(cursor_varint(from));
}

/* ---- from totals, and to them --------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void put_group(const struct totals *t, const struct group *g, const struct totals *before,
		      const struct group *old, struct change *c)
{
	const struct heap_totals *h = &g->totals;
	struct group was = {0};

	if (old) {
		was = *old;
		totals_note_share(before, &was);
	}
	c->key = g->key;
	c->alloc_calls = h->alloc_calls - was.totals.alloc_calls;
	c->allocated_bytes = h->allocated_bytes - was.totals.allocated_bytes;
	c->temporary_allocs = h->temporary_allocs - was.totals.temporary_allocs;
	c->live_blocks = (int64_t)(h->live_blocks - was.totals.live_blocks);
	c->live_bytes = (int64_t)(h->live_bytes - was.totals.live_bytes);
	c->peak_blocks = (int64_t)(h->peak_blocks - h->live_blocks);
	c->peak_bytes = (int64_t)(h->peak_bytes - h->live_bytes);
	if (g->peaks_seen != t->peaks)
		c->share = SHARE_LIVE;
	else if (h->peak_blocks == was.totals.peak_blocks && h->peak_bytes == was.totals.peak_bytes)
		c->share = SHARE_SAME;
	else
		c->share = SHARE_NEW;
}

void moment_changes_put(const struct totals *t, const struct totals *before, struct buffer *out)
{
	for (int k = 0; k < GROUP_KEYS; k++) {
		const struct tally *y = &t->tallies[k], *z = &before->tallies[k];
		uint32_t place_before = 0;

		if (y->n_changed)
			qsort(y->changed, y->n_changed, sizeof(*y->changed), by_place);
		buffer_append_varint(out, y->n_changed);
		for (size_t i = 0; i < y->n_changed; i++) {
			struct change c = {.place = y->changed[i]};

			put_group(t, &y->groups[c.place], before,
				  c.place < z->n ? &z->groups[c.place] : NULL, &c);
			put_change(out, &c, place_before, (uint32_t)z->n);
			place_before = c.place;
		}
	}
}

static bool apply_change(struct totals *t, enum group_key kind, const struct change *c,
			 uint64_t peaks)
{
	struct tally *y = &t->tallies[kind];
	struct heap_totals *h;
	struct group *g;

	if (c->place > y->n)
		return false;
	g = c->place < y->n ? &y->groups[c->place] : totals_add_group(t, kind, c->key);
	if (g != &y->groups[c->place]) /* it was there already */
		return false;
	totals_note_share(t, g);
	h = &g->totals;
	h->alloc_calls += c->alloc_calls;
	h->allocated_bytes += c->allocated_bytes;
	h->temporary_allocs += c->temporary_allocs;
	h->live_blocks += (uint64_t)c->live_blocks;
	h->live_bytes += (uint64_t)c->live_bytes;
	if (c->share == SHARE_NEW) {
		h->peak_blocks = h->live_blocks + (uint64_t)c->peak_blocks;
		h->peak_bytes = h->live_bytes + (uint64_t)c->peak_bytes;
	}
	g->peaks_seen = c->share == SHARE_LIVE ? peaks - 1 : peaks;
	return true;
}

bool moment_changes_apply(struct totals *t, const struct moment_sums *after,
			  const struct buffer *changes)
{
	struct cursor from = {.p = changes->data, .end = changes->data + changes->len};

	for (int k = 0; k < GROUP_KEYS; k++) {
		uint32_t n_before = (uint32_t)t->tallies[k].n;
		uint64_t n = cursor_varint(&from);
		struct change c = {0};

		while (n--) {
			get_change(&from, &c, n_before);
			if (from.bad || !apply_change(t, (enum group_key)k, &c, after->peaks))
				return false;
		}
	}
	t->sums = after->sums;
	t->peaks = after->peaks;
	t->live_bytes = after->live_bytes;
	t->live_blocks = after->live_blocks;
	return from.p == from.end;
}

/* ---- two as one ---------------------------------------------------------------------- */

/* @b follows @a, of the same group. */
static struct change merge(const struct change *a, const struct change *b)
{
	struct change c = *b;

	c.key = a->key;
	c.alloc_calls += a->alloc_calls;
	c.allocated_bytes += a->allocated_bytes;
	c.temporary_allocs += a->temporary_allocs;
	c.live_blocks += a->live_blocks;
	c.live_bytes += a->live_bytes;
	if (b->share != SHARE_SAME || a->share == SHARE_SAME)
		return c;
	/* as it was between them, but told by what is live after both */
	c.share = SHARE_NEW;
	c.peak_blocks = a->peak_blocks - b->live_blocks;
	c.peak_bytes = a->peak_bytes - b->live_bytes;
	return c;
}

/* What @c says is the same is so since a moment at which what was live was the share. */
static void tell_by_live(struct change *c)
{
	if (c->share != SHARE_SAME)
		return;
	c->share = SHARE_NEW;
	c->peak_blocks = -c->live_blocks;
	c->peak_bytes = -c->live_bytes;
}

struct merging {
	struct cursor from[2];
	bool has_peak[2];
	uint64_t left[2];
	struct change next[2];
	uint32_t n_before[2];
};

static void take(struct merging *m, int which)
{
	if (m->left[which]-- > 1)
		get_change(&m->from[which], &m->next[which], m->n_before[which]);
}

static uint64_t merge_groups(struct merging *m, struct buffer *out)
{
	uint32_t place = 0;
	uint64_t n = 0;

	for (int i = 0; i < 2; i++) {
		m->next[i] = (struct change){0};
		m->left[i] = cursor_varint(&m->from[i]);
		if (m->left[i])
			get_change(&m->from[i], &m->next[i], m->n_before[i]);
	}
	for (; (m->left[0] || m->left[1]) && !m->from[0].bad && !m->from[1].bad; n++) {
		bool first = m->left[0] && (!m->left[1] || m->next[0].place <= m->next[1].place);
		bool second = m->left[1] && (!m->left[0] || m->next[1].place <= m->next[0].place);
		struct change c = m->next[!first];

		if (first && second)
			c = merge(&m->next[0], &m->next[1]);
		else if (first && m->has_peak[1])
			c.share = SHARE_LIVE;
		else if (second && m->has_peak[0])
			tell_by_live(&c);
		put_change(out, &c, place, m->n_before[0]);
		place = c.place;
		if (first)
			take(m, 0);
		if (second)
			take(m, 1);
	}
	return n;
}

bool moment_changes_merge(const struct buffer *first, const struct buffer *second,
			  const struct moment_sums *before, const struct moment_sums *between,
			  const struct moment_sums *after, struct buffer *out)
{
	struct merging m = {.from = {{.p = first->data, .end = first->data + first->len},
				     {.p = second->data, .end = second->data + second->len}},
			    .has_peak = {between->peaks != before->peaks,
					 after->peaks != between->peaks}};
	struct buffer groups = {0};

	for (int k = 0; k < GROUP_KEYS; k++) {
		m.n_before[0] = before->n_groups[k];
		m.n_before[1] = between->n_groups[k];
		buffer_reset(&groups);
		buffer_append_varint(out, merge_groups(&m, &groups));
		buffer_append(out, groups.data, groups.len);
	}
	buffer_release(&groups);
	return !m.from[0].bad && !m.from[1].bad && m.from[0].p == m.from[0].end &&
	       m.from[1].p == m.from[1].end;
}
