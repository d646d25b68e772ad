/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_MOMENT_CHANGES_H
#define ANALYZER_MOMENT_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/totals.h"
#include "common/buffer.h"
#include "store/record.h"

/*
 * What happened to totals from one moment to a later one, as bytes: their sums as they were
 * then, and the differences of the groups that changed.  The groups stay in the order in which
 * they came up, and are known by their places.  For totals of all times, with groups by stack.
 */
struct moment_sums {
	struct analysis sums; /* all but its arrays */
	uint64_t peaks, live_bytes, live_blocks;
	struct space_id space;
	uint32_t n_groups[GROUP_KEYS];
};

void moment_sums_of(const struct totals *t, struct space_id space, struct moment_sums *ret);
/* @t: with the groups that have changed since it was as @before is: see totals_note_changes(). */
void moment_changes_put(const struct totals *t, const struct totals *before, struct buffer *out);
/* Takes @t to @after; false where they do not fit together. */
bool moment_changes_apply(struct totals *t, const struct moment_sums *after,
			  const struct buffer *changes);
/*
 * Two that follow each other as one: @first from @before to @between, @second from there to
 * @after.
 */
bool moment_changes_merge(const struct buffer *first, const struct buffer *second,
			  const struct moment_sums *before, const struct moment_sums *between,
			  const struct moment_sums *after, struct buffer *out);

#endif
