/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_TOTALS_H
#define ANALYZER_TOTALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/hash.h"
#include "store/record.h"
#include "store/replay.h"

/*
 * What the heap's events sum up to: of all blocks, and of those that have something in
 * common.  Fed with each step of a replay, in the recorder as in a reader.
 *
 * A group's share of the peak is what it had live at that very moment.  It is
 * noted when the group first changes afterwards: until then it is what is live.
 */
enum group_key {
	GROUP_STACK,  /* key: stack id */
	GROUP_THREAD, /* key: thread id */
	GROUP_SIZE,   /* key: the smallest size of the class, see size_class() */
	GROUP_FAMILY, /* key: family id */
	GROUP_KEYS
};
#define GROUPS_ALL ((1u << GROUP_KEYS) - 1)

struct group {
	uint64_t peaks_seen; /* while it is made: the peak its share is of */
	struct heap_totals totals;
	uint64_t key;
	uint64_t oldest_ns, newest_ns; /* of the blocks live at the end; 0: none */
	uint32_t round;		/* of the totals', when it last changed */
};

/* How often a stack allocated. */
struct stack_calls {
	struct stack_id stack; /* may be one that is not in the catalog */
	uint64_t alloc_calls;
};

struct analysis {
	struct heap_totals totals;
	uint64_t free_calls;
	/* of the blocks live at the end of which it is known; and what was asked for of these */
	uint64_t usable_bytes, usable_requested_bytes;
	uint64_t peak_time_ns; /* CLOCK_MONOTONIC */
	uint64_t peak_event;   /* the how manieth of the events, from 1 */
	uint64_t events;       /* from the window's beginning on */
	uint64_t last_event;   /* the how manieth of the recording; for analysis_make() only */
	uint64_t first_ns, last_ns;
	uint64_t ended_by_exec_blocks, ended_by_exec_bytes;
	uint64_t frees[FREE_CLASSES];
	struct group *groups; /* in no order */
	size_t n_groups, cap_groups;
	struct stack_calls *stacks; /* in no order; whatever the groups are */
	size_t n_stacks, cap_stacks;
};

/* Where a key's counts are, + 1; 0: nowhere yet. */
struct places {
	uint32_t *dense; /* [key] */
	size_t cap;
	struct hashmap sparse; /* of keys that are too large for an index */
};

/* The groups of one key, by what their blocks have in common. */
struct tally {
	struct places places;
	struct group *groups;
	size_t n, cap;
	size_t n_before; /* so many more there were before totals_clear(), in their places */
	bool is_wanted;
	uint32_t *changed; /* places of the groups that have, in this round */
	size_t n_changed, cap_changed;
};

/*
 * The blocks of one thread, class of sizes and family: few events need to be counted three
 * times, the groups of these keys are made of such cells when they are asked for.  Each has
 * what came since that was done last.
 */
struct totals_cell {
	uint64_t key; /* all three */
	uint64_t peaks_seen;
	struct heap_totals totals;
};
#define CELLS_RECENT 256

struct totals {
	uint64_t since_ns;
	uint64_t families;     /* bits of the ids, modulo 64, of those whose blocks count */
	const bool *only_stacks; /* [id]: blocks of these stacks count; NULL: of all */
	size_t n_only_stacks;	 /* of others they do not */
	struct analysis sums; /* all but its groups and stacks */
	struct tally tallies[GROUP_KEYS];
	struct stack_calls *stacks; /* where stacks are no groups */
	size_t n_stacks, cap_stacks;
	struct places stack_places;
	struct totals_cell *cells;
	size_t n_cells, cap_cells;
	struct hashmap cell_places;	/* key -> number */
	uint32_t recent[CELLS_RECENT];	/* [part of the key] number; any, if there is no cell */
	bool has_cells;			/* they are wanted */
	uint64_t settled_peaks;		/* @peaks when they last went into the groups */
	uint64_t peaks; /* how often the heap was as large as never before */
	uint64_t live_bytes, live_blocks; /* of the blocks that count */
	uint32_t round; /* 0: nobody asks which groups change */
};

/*
 * @keys: a bit (1 << enum group_key) for each that totals_get() is to give.  Only blocks
 * count that were allocated at @since_ns or later (0: all).  Those of all families do, until
 * totals->families and only_stacks say otherwise; how many events there were, and when, is of
 * all always.
 */
void totals_init(struct totals *t, unsigned int keys, uint64_t since_ns);
void totals_release(struct totals *t);
/* As it was when it was initialised; groups that come up are likely to be the same again. */
void totals_clear(struct totals *t);
/* The blocks of the space before went with it. */
void totals_begin_space(struct totals *t);
void totals_count(struct totals *t, const struct event *e, const struct replay_step *step);
/*
 * What has come so far.  Its arrays are the totals', until the next event: not to be
 * released.  Takes as long as walking over the groups; with @heap (what is live, for ages
 * and usable bytes; may be NULL) also over all live blocks.
 */
void totals_get(struct totals *t, enum group_key key, const struct replay *heap,
		struct analysis *ret);
/* The live blocks that count, one after the other. */
typedef void totals_visitor(void *arg, const struct replay_block *b);

void totals_visit_live(const struct totals *t, const struct replay *heap, totals_visitor *visit,
		       void *arg);
/* The arrays that totals_get() gave last, for @key, are to be released by who has them. */
void totals_give_away(struct totals *t, enum group_key key);

/* The groups of all keys are complete, until the next event. */
void totals_settle(struct totals *t);
/* The group of @key, which comes up if need be.  Valid until the next one does. */
struct group *totals_group(struct totals *t, enum group_key kind, uint64_t key);
/* The next group to come up: quicker than totals_group() where it did before totals_clear(). */
struct group *totals_add_group(struct totals *t, enum group_key kind, uint64_t key);
/* All shares of the peak are noted. */
void totals_note_shares(struct totals *t);
/* That of one group, which may be of an earlier state of the same totals. */
void totals_note_share(const struct totals *t, struct group *g);
/* Which groups change from now on is noted in their tallies; what was noted before goes. */
void totals_note_changes(struct totals *t);
/* Stack @stack allocated @calls times more: where stacks are no groups. */
void totals_count_stack(struct totals *t, struct stack_id stack, uint64_t calls);

/* Sizes are classed by powers of two: 0, 1, 2-3, 4-7, …; returns the smallest of @size's class. */
uint64_t size_class(uint64_t size);

/* Adds @from to @to, all columns. */
void heap_totals_add(struct heap_totals *to, const struct heap_totals *from);

void analysis_release(struct analysis *a);

#endif
