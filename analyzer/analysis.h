/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_ANALYSIS_H
#define ANALYZER_ANALYSIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/replay.h"
#include "common/err.h"
#include "store/reader.h"
#include "store/record.h"

/*
 * Totals of a whole recording, and of its parts: each group's share of the peak
 * is what it had live at that very moment.
 */
enum group_key {
	GROUP_STACK,  /* key: stack id */
	GROUP_THREAD, /* key: thread id */
	GROUP_SIZE,   /* key: the smallest size of the class, see size_class() */
	GROUP_FAMILY, /* key: family id */
	GROUP_KEYS
};

struct group {
	uint64_t key;
	struct heap_totals totals;
	uint64_t oldest_ns, newest_ns; /* of the blocks live at the end; 0: none */
	uint64_t peaks_seen;	       /* while it is made: the peak its share is of */
};

/* How often a stack allocated. */
struct stack_calls {
	struct stack_id stack; /* may be one that is not in the catalog */
	uint64_t alloc_calls;
};

struct analysis {
	struct heap_totals totals;
	uint64_t free_calls;
	uint64_t usable_bytes; /* of the blocks live at the end, where it is known */
	uint64_t peak_time_ns; /* CLOCK_MONOTONIC */
	uint64_t events;
	uint64_t first_ns, last_ns;
	uint64_t ended_by_exec_blocks, ended_by_exec_bytes;
	uint64_t frees[FREE_CLASSES];
	struct group *groups; /* in no order */
	size_t n_groups, cap_groups;
	struct stack_calls *stacks; /* in no order; whatever the groups are */
	size_t n_stacks, cap_stacks;
};

/* Told now and then how many events have been read; may be NULL. */
typedef void analysis_progress(uint64_t events);

int analysis_make(struct store_reader *reader, enum group_key key, analysis_progress *progress,
		  struct analysis *ret, struct err *err);
void analysis_release(struct analysis *a);

/*
 * The same in steps: for recordings that grow, and for several groupings at once.  Only
 * blocks count that were allocated at @since_ns or later (0: all).
 */
struct analysis_pass;

/* @keys: a bit (1 << enum group_key) for each that analysis_pass_get() is to give. */
struct analysis_pass *analysis_pass_new(unsigned int keys, uint64_t since_ns);
void analysis_pass_free(struct analysis_pass *p);
/* The next @n events, all of @space.  -EBADMSG with @err where they contradict those before. */
int analysis_pass_feed(struct analysis_pass *p, struct space_id space, const struct event *events,
		       size_t n, struct err *err);
/*
 * What has come so far.  Its arrays are the pass's, until the next feed: not to be released;
 * how often stacks allocated is only told with the groups by stack, where these are wanted.
 * Takes as long as walking over the groups, with @ages also over all live blocks.
 */
void analysis_pass_get(struct analysis_pass *p, enum group_key key, bool ages,
		       struct analysis *ret);
/* The heap as it is then; blocks from before the window are in it too. */
const struct replay *analysis_pass_replay(const struct analysis_pass *p);

/* Sizes are classed by powers of two: 0, 1, 2-3, 4-7, …; returns the smallest of @size's class. */
uint64_t size_class(uint64_t size);

/* Events that the recording lacks, for whatever reason. */
uint64_t lost_events(const struct catalog *c);

/* Adds @from to @to, all columns. */
void heap_totals_add(struct heap_totals *to, const struct heap_totals *from);

#endif
