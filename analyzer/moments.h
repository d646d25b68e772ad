/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_MOMENTS_H
#define ANALYZER_MOMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/totals.h"
#include "store/record.h"
#include "store/replay.h"

/*
 * The totals at any moment without replaying the heap: an index in memory, made while events
 * are replayed once.  It has the totals before each chunk, as differences from chunk to chunk
 * and a whole now and then, and what is not in a chunk itself of the blocks that end in it:
 * those that were made before.  So the totals after any event take one pass over the events of
 * one chunk.
 *
 * Where it would become too large it forgets every second chunk, evenly, and then every second
 * of those that are left.
 */
struct moments;

/* @max_bytes: about as much memory as it takes. */
struct moments *moments_new(size_t max_bytes);
void moments_free(struct moments *m);

/*
 * From here on, anew: @t is all that was before, for all times, with groups by stack, and
 * @space that of the events before.  Which groups change is noted in @t from now on.
 */
void moments_begin(struct moments *m, struct totals *t, struct space_id space);
/* The events that come are this chunk's; it may be the same once more, which has grown. */
void moments_begin_chunk(struct moments *m, const struct chunk_info *info);
/* The next event of the chunk, with what it did. */
void moments_note(struct moments *m, const struct event *e, const struct replay_step *step);
/* All of its events have been counted in @t. */
void moments_end_chunk(struct moments *m, struct totals *t);
/* The chunk that ended last is the recording's last. */
void moments_end(struct moments *m);
/* Chunks before @first are not there any more. */
void moments_forget(struct moments *m, uint64_t first);

/*
 * The chunk in which moment @at_ns is, in *@ret: its number, how many events it had, and their
 * checksum.  False where it is not known.
 */
bool moments_find(const struct moments *m, uint64_t at_ns, struct chunk_info *ret);
/*
 * The totals after the first @n events of that chunk; NULL where that is not known after all.
 * They stay the index's, until they are asked for again or it begins anew.
 */
struct totals *moments_totals(struct moments *m, uint64_t chunk, const struct event *events,
			      size_t n);

/* Of memory; and how many chunks it knows. */
size_t moments_bytes(const struct moments *m);
size_t moments_chunks(const struct moments *m);

#endif
