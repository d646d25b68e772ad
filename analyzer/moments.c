/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/moments.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/moment_changes.h"
#include "common/buffer.h"
#include "common/xalloc.h"
#include "store/pack.h"

/* A whole is made after so many times its own bytes of differences, and a few more. */
#define WHOLE_AFTER 1
#define WHOLE_BYTES 16384
/* So many chunks are thinned out while one is added, so that nobody waits. */
#define THINNED_AT_ONCE 4

/* Of the blocks from before a chunk that end in it, one after the other. */
enum ended_column {
	ENDED_STACK,
	ENDED_SIZE,
	ENDED_THREAD, /* and the lowest bit: it was temporary */
	ENDED_FAMILY,
	ENDED_COLUMNS
};

struct entry {
	struct chunk_info info;
	struct moment_sums before;
	struct packed changes; /* from its beginning to that of the next that is known */
	struct packed ended;
	struct packed whole; /* the groups before it; .data NULL: there is none */
	bool is_gone;	     /* its changes are with those of one before it */
};

struct moments {
	size_t max_bytes, bytes;
	struct entry *entries; /* of chunks without a gap */
	size_t n, cap, n_gone;
	bool is_open; /* the last entry's events are coming */
	uint64_t last_id; /* of the chunk that was closed last … */
	bool is_over;	  /* … which is the recording's last */
	struct totals quick; /* what was asked for last */
	struct totals last;  /* as what was noted says, after the last entry that is closed */
	struct space_id last_space;
	size_t since_whole, whole; /* bytes, not packed */
	/* every how many chunks are to be kept, a power of two, and how far that was done */
	uint64_t every;
	size_t thinned;
	int to_thin; /* that are to be looked at before the open chunk ends */
	struct buffer columns[ENDED_COLUMNS];
	struct buffer scratch, scratch2, scratch3;
	struct packing packing;
};

struct moments *moments_new(size_t max_bytes)
{
	struct moments *m = xcalloc(1, sizeof(*m));

	m->max_bytes = max_bytes;
	return m;
}

static size_t entry_bytes(const struct entry *e)
{
	return sizeof(*e) + e->changes.len + e->ended.len + e->whole.len;
}

static void release_entry(struct moments *m, struct entry *e)
{
	m->bytes -= entry_bytes(e);
	packed_release(&e->changes);
	packed_release(&e->ended);
	packed_release(&e->whole);
}

static void clear(struct moments *m)
{
	for (size_t i = 0; i < m->n; i++)
		release_entry(m, &m->entries[i]);
	m->n = m->n_gone = m->thinned = m->since_whole = m->whole = 0;
	m->is_open = m->is_over = false;
	m->every = 1;
	totals_release(&m->last);
	totals_release(&m->quick);
}

void moments_free(struct moments *m)
{
	if (!m)
		return;
	clear(m);
	free(m->entries);
	for (int i = 0; i < ENDED_COLUMNS; i++)
		buffer_release(&m->columns[i]);
	buffer_release(&m->scratch);
	buffer_release(&m->scratch2);
	buffer_release(&m->scratch3);
	packing_release(&m->packing);
	free(m);
}

size_t moments_bytes(const struct moments *m)
{
	return m->bytes;
}

size_t moments_chunks(const struct moments *m)
{
	return m->n - m->n_gone - m->is_open;
}

/* ---- noting -------------------------------------------------------------------------- */

static unsigned int keys_of(const struct totals *t)
{
	unsigned int keys = 0;

	for (int k = 0; k < GROUP_KEYS; k++)
		keys |= (unsigned int)t->tallies[k].is_wanted << k;
	return keys;
}

static void mark_all(struct totals *t)
{
	for (int k = 0; k < GROUP_KEYS; k++) {
		struct tally *y = &t->tallies[k];

		for (y->n_changed = 0; y->n_changed < y->n; y->n_changed++) {
			ARRAY_GROW(y->changed, y->cap_changed, y->n_changed);
			y->changed[y->n_changed] = (uint32_t)y->n_changed;
		}
	}
}

/* All groups of @t, in m->scratch. */
static void put_whole(struct moments *m, struct totals *t)
{
	static const struct totals none;

	mark_all(t);
	buffer_reset(&m->scratch);
	moment_changes_put(t, &none, &m->scratch);
}

void moments_begin(struct moments *m, struct totals *t, struct space_id space)
{
	struct moment_sums sums;

	clear(m);
	totals_note_changes(t);
	put_whole(m, t);
	totals_note_changes(t);
	totals_init(&m->last, keys_of(t), 0);
	totals_init(&m->quick, keys_of(t), 0);
	m->quick.families = t->families;
	moment_sums_of(t, space, &sums);
	moment_changes_apply(&m->last, &sums, &m->scratch);
	m->last_space = space;
}

static void add_whole(struct moments *m, struct entry *e)
{
	put_whole(m, &m->last);
	m->whole = m->scratch.len;
	m->since_whole = 0;
	e->whole = pack(&m->packing, m->scratch.data, m->scratch.len);
}

static void thin_out(struct moments *m, int n);

void moments_begin_chunk(struct moments *m, const struct chunk_info *info)
{
	struct entry *e;

	if (m->is_open) {
		m->entries[m->n - 1].info = *info;
		/* a part of it */
		if (m->to_thin > 0) {
			m->to_thin--;
			thin_out(m, 1);
		}
		return;
	}
	ARRAY_GROW(m->entries, m->cap, m->n);
	e = &m->entries[m->n++];
	*e = (struct entry){.info = *info};
	moment_sums_of(&m->last, m->last_space, &e->before);
	if (m->n == 1 || m->since_whole > WHOLE_AFTER * m->whole + WHOLE_BYTES)
		add_whole(m, e);
	m->bytes += entry_bytes(e);
	m->is_open = true;
	m->to_thin = THINNED_AT_ONCE;
	for (int i = 0; i < ENDED_COLUMNS; i++)
		buffer_reset(&m->columns[i]);
}

void moments_note(struct moments *m, const struct event *e, const struct replay_step *step)
{
	const struct replay_block *b = &step->old;

	if (!step->ended || e->distance)
		return;
	buffer_append_varint(&m->columns[ENDED_STACK], b->stack.v);
	buffer_append_varint(&m->columns[ENDED_SIZE], b->size);
	buffer_append_varint(&m->columns[ENDED_THREAD],
			     (uint64_t)b->thread.v << 1 | step->was_temporary);
	buffer_append_varint(&m->columns[ENDED_FAMILY], b->family);
}

static struct packed pack_columns(struct moments *m)
{
	buffer_reset(&m->scratch);
	for (int i = 0; i < ENDED_COLUMNS; i++) {
		buffer_append_varint(&m->scratch, m->columns[i].len);
		buffer_append(&m->scratch, m->columns[i].data, m->columns[i].len);
	}
	return pack(&m->packing, m->scratch.data, m->scratch.len);
}

void moments_end_chunk(struct moments *m, struct totals *t)
{
	struct entry *e = &m->entries[m->n - 1];
	struct moment_sums sums;

	if (!m->is_open)
		return;
	m->is_open = false;
	m->bytes -= entry_bytes(e);
	e->ended = pack_columns(m);
	buffer_reset(&m->scratch);
	totals_settle(t);
	moment_changes_put(t, &m->last, &m->scratch);
	totals_note_changes(t);
	moment_sums_of(t, e->info.space, &sums);
	moment_changes_apply(&m->last, &sums, &m->scratch);
	m->last_space = e->info.space;
	m->last_id = e->info.id;
	e->changes = pack(&m->packing, m->scratch.data, m->scratch.len);
	m->since_whole += m->scratch.len;
	m->bytes += entry_bytes(e);
	thin_out(m, m->to_thin);
}

void moments_end(struct moments *m)
{
	m->is_over = true;
}

/* ---- less of it ---------------------------------------------------------------------- */

/* The next that is known, from @i on; m->n where there is none. */
static size_t known_from(const struct moments *m, size_t i)
{
	while (i < m->n && m->entries[i].is_gone)
		i++;
	return i;
}

static void sums_after(const struct moments *m, size_t i, struct moment_sums *ret)
{
	size_t next = known_from(m, i + 1);

	if (next < m->n)
		*ret = m->entries[next].before;
	else
		moment_sums_of(&m->last, m->last_space, ret);
}

/* Entry @i goes, its changes to @before, the one that is known before it. */
static void merge_into(struct moments *m, size_t before, size_t i)
{
	struct entry *a = &m->entries[before], *b = &m->entries[i];
	struct moment_sums after;

	sums_after(m, i, &after);
	buffer_reset(&m->scratch3);
	if (!unpack(&m->packing, &a->changes, &m->scratch) ||
	    !unpack(&m->packing, &b->changes, &m->scratch2) ||
	    !moment_changes_merge(&m->scratch, &m->scratch2, &a->before, &b->before, &after,
				  &m->scratch3))
		return;
	m->bytes -= entry_bytes(a) + entry_bytes(b);
	packed_release(&a->changes);
	a->changes = pack(&m->packing, m->scratch3.data, m->scratch3.len);
	packed_release(&b->changes);
	packed_release(&b->ended);
	packed_release(&b->whole);
	b->is_gone = true;
	m->n_gone++;
	m->bytes += entry_bytes(a) + entry_bytes(b);
}

/* Those that are gone take no more room; @from: the first that stays. */
static void compact(struct moments *m, size_t from)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		if (i < from || m->entries[i].is_gone) {
			m->n_gone -= m->entries[i].is_gone;
			m->thinned -= i < m->thinned;
			release_entry(m, &m->entries[i]);
		} else {
			m->entries[n++] = m->entries[i];
		}
	}
	m->n = n;
}

/* So many steps of it. */
static void thin_out(struct moments *m, int n)
{
	size_t end = m->n - m->is_open;

	for (; n > 0 && m->thinned + 1 < end; n--) {
		size_t at = m->thinned++ + 1, before = at - 1;

		if (m->every == 1 || m->entries[at].info.id % m->every == 0)
			continue;
		while (before && m->entries[before].is_gone)
			before--;
		merge_into(m, before, at);
	}
	if (m->bytes > m->max_bytes && m->thinned + 1 >= end) {
		m->every *= 2;
		m->thinned = 0;
		compact(m, 0);
	}
}

void moments_forget(struct moments *m, uint64_t first)
{
	size_t from = 0;

	for (size_t i = 0; i < m->n && m->entries[i].info.id <= first; i++)
		if (m->entries[i].whole.data)
			from = i;
	if (from)
		compact(m, from);
}

/* ---- a moment ------------------------------------------------------------------------ */

/* The last entry that begins before that or then; m->n where none does. */
static size_t place_of(const struct moments *m, uint64_t at_ns)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->entries[middle].info.first_ns <= at_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : m->n;
}

bool moments_find(const struct moments *m, uint64_t at_ns, struct chunk_info *ret)
{
	size_t i = place_of(m, at_ns), end = m->n - m->is_open;

	if (i >= end || m->entries[i].is_gone)
		return false;
	*ret = m->entries[i].info;
	/* is there nothing more of that moment, between it and what comes next? */
	return at_ns < ret->last_ns || (m->is_over && ret->id == m->last_id) ||
	       (i + 1 < m->n && m->entries[i + 1].info.id == ret->id + 1);
}

static bool restore(struct moments *m, size_t i)
{
	struct totals *ret = &m->quick;
	size_t from = i;

	while (from && !m->entries[from].whole.data)
		from--;
	totals_clear(ret);
	if (!m->entries[from].whole.data ||
	    !unpack(&m->packing, &m->entries[from].whole, &m->scratch) ||
	    !moment_changes_apply(ret, &m->entries[from].before, &m->scratch))
		return false;
	for (; from < i; from = known_from(m, from + 1)) {
		struct moment_sums after;

		sums_after(m, from, &after);
		if (!unpack(&m->packing, &m->entries[from].changes, &m->scratch) ||
		    !moment_changes_apply(ret, &after, &m->scratch))
			return false;
	}
	return true;
}

static void block_of(const struct event *e, struct replay_block *ret)
{
	*ret = (struct replay_block){.t_ns = e->t_ns,
				     .size = e->size,
				     .stack = e->stack,
				     .thread = e->thread,
				     .family = e->family};
}

/* What has to be known of events to count them. */
struct counting {
	struct cursor ended[ENDED_COLUMNS];
	uint32_t *last_made; /* [thread]: the event that made its last block + 1, if its last did */
};

static bool begin_counting(struct moments *m, const struct entry *e, const struct event *events,
			   size_t n, struct counting *c)
{
	struct cursor all;
	uint32_t most = 0;

	if (!unpack(&m->packing, &e->ended, &m->scratch))
		return false;
	all = (struct cursor){.p = m->scratch.data, .end = m->scratch.data + m->scratch.len};
	for (int i = 0; i < ENDED_COLUMNS; i++) {
		uint64_t len = cursor_varint(&all);

		if (all.bad || len > (size_t)(all.end - all.p))
			return false;
		c->ended[i] = (struct cursor){.p = all.p, .end = all.p + len};
		all.p += len;
	}
	for (size_t i = 0; i < n; i++)
		if (events[i].thread.v > most)
			most = events[i].thread.v;
	c->last_made = xcalloc((size_t)most + 1, sizeof(*c->last_made));
	return true;
}

/* The block that the event ends. */
static void end_block(struct counting *c, const struct event *e, uint32_t number,
		      struct replay_step *step)
{
	uint64_t thread;

	step->ended = true;
	if (e->distance) {
		block_of(e - e->distance, &step->old);
		step->was_temporary = step->old.thread.v == e->thread.v &&
				      c->last_made[e->thread.v] == number - e->distance + 1 &&
				      !event_ends_uncalled(e);
		return;
	}
	thread = cursor_varint(&c->ended[ENDED_THREAD]);
	step->old = (struct replay_block){
		.stack = {(uint32_t)cursor_varint(&c->ended[ENDED_STACK])},
		.size = cursor_varint(&c->ended[ENDED_SIZE]),
		.thread = {(uint32_t)(thread >> 1)},
		.family = (uint8_t)cursor_varint(&c->ended[ENDED_FAMILY])};
	step->was_temporary = thread & 1;
}

static bool count(struct counting *c, struct totals *t, const struct event *events, size_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct event *e = &events[i];
		struct replay_step step;
		struct replay_block made;

		step.made = NULL;
		step.ended = step.was_temporary = false;
		if (event_frees(e)) {
			if (e->distance > i)
				return false;
			end_block(c, e, i, &step);
		}
		if (event_makes(e)) {
			block_of(e, &made);
			step.made = &made;
		}
		totals_count(t, e, &step);
		/* as in replay_feed(); layers do not see each other */
		if (!(t->families >> e->family % 64 & 1))
			continue;
		if (e->kind != EVENT_FREE ||
		    (e->free_class != FREE_IMPLIED && e->free_class != FREE_INTERNAL))
			c->last_made[e->thread.v] = step.made ? i + 1 : 0;
	}
	return !c->ended[ENDED_SIZE].bad;
}

struct totals *moments_totals(struct moments *m, uint64_t chunk, const struct event *events,
			      size_t n)
{
	struct counting c = {0};
	struct entry *e;
	size_t i = 0;
	bool good;

	while (i < m->n && m->entries[i].info.id != chunk)
		i++;
	if (i >= m->n - m->is_open || m->entries[i].is_gone || !restore(m, i))
		return NULL;
	e = &m->entries[i];
	if (n && e->info.space.v != e->before.space.v)
		totals_begin_space(&m->quick);
	good = begin_counting(m, e, events, n, &c) && count(&c, &m->quick, events, n);
	free(c.last_made);
	return good ? &m->quick : NULL;
}
