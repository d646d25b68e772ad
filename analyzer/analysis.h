/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_ANALYSIS_H
#define ANALYZER_ANALYSIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/totals.h"
#include "common/err.h"
#include "store/reader.h"
#include "store/record.h"

/* Told now and then how many events have been read; may be NULL. */
typedef void analysis_progress(uint64_t events);

int analysis_make(struct store_reader *reader, enum group_key key, analysis_progress *progress,
		  struct analysis *ret, struct err *err);

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

/* Events that the recording lacks, for whatever reason. */
uint64_t lost_events(const struct catalog *c);

#endif
