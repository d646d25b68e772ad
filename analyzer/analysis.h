/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_ANALYSIS_H
#define ANALYZER_ANALYSIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/growth_windows.h"
#include "analyzer/moments.h"
#include "analyzer/totals.h"
#include "common/err.h"
#include "store/layers.h"
#include "store/reader.h"
#include "store/record.h"
#include "store/timeline_buckets.h"

/* Told now and then how many events have been read; may be NULL. */
typedef void analysis_progress(uint64_t events);

/* Blocks that were allocated from @since_ns on, as they were after the events of @until_ns. */
struct analysis_window {
	uint64_t since_ns, until_ns; /* CLOCK_MONOTONIC; 0 and UINT64_MAX: all */
	/* the how manieth of the recording is the last, of several at the same time; 0: all */
	uint64_t until_event;
	struct space_id space; /* that runs then, with or without events; 0: of the last event */
	uint64_t families;    /* bits of ids, as in struct totals; 0: those of layer heap */
};

/*
 * Begins at a checkpoint where there is one.  @window NULL: all.  -ERANGE with @err where it
 * begins, or ends, in a part that was dropped.
 */
int analysis_make(struct store_reader *reader, enum group_key key,
		  const struct analysis_window *window, analysis_progress *progress,
		  struct analysis *ret, struct err *err);

/* The same, by stack; @visit sees each block that is live then and counts, after all events. */
int analysis_make_live(struct store_reader *reader, const struct analysis_window *window,
		       analysis_progress *progress, totals_visitor *visit, void *arg,
		       struct analysis *ret, struct err *err);

/*
 * The same in steps: for recordings that grow, and for several groupings at once.  Only
 * blocks count that were allocated at @since_ns or later (0: all).
 */
struct analysis_pass;
struct growth_scan;

/*
 * @keys: a bit (1 << enum group_key) for each that analysis_pass_get() is to give.  @layers: of
 * the recording, NULL: there is only the heap's; blocks of layer number @layer count.
 */
struct analysis_pass *analysis_pass_new(unsigned int keys, uint64_t since_ns,
					const struct layers *layers, uint8_t layer);
void analysis_pass_free(struct analysis_pass *p);
/* The last checkpoint from which a pass can be fed on to @w: 1; 0 if there is none, or -errno. */
int analysis_find_checkpoint(struct store_reader *reader, const struct analysis_window *w,
			     struct checkpoint_info *ret, struct err *err);
/*
 * Takes @p, which is new, there: @ret has the chunk after which that is, and the time.  Where
 * there is none, or none that is whole, 0: the beginning.  Where that was dropped, -ERANGE if
 * what is wanted is gone with it, -EBADMSG if the recording is damaged, with @err.
 */
int analysis_pass_restore(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			  struct checkpoint_info *ret, struct err *err);
/*
 * What each stack had over time, of all events that are there until the moment that is looked
 * at, into @windows, which is new.  0, or a negative errno with @err.
 */
int analysis_watch_growth(struct store_reader *reader, const struct analysis_window *window,
			  analysis_progress *progress, struct growth_windows *windows,
			  struct err *err);
/*
 * Where that begins: with the first event that is there, or @until_ns, if it is earlier.  @p is
 * new, and with groups by stack; @g begins anew, *@ret reads what goes into it.
 */
int analysis_begin_growth(struct analysis_pass *p, struct store_reader *reader, uint64_t until_ns,
			  struct growth_windows *g, struct growth_scan **ret, struct err *err);
/*
 * What it is fed goes into @t too, from here on: of the blocks that count.  @blocks: what is
 * live is their number, not their bytes.
 */
void analysis_pass_draw(struct analysis_pass *p, struct timeline_buckets *t, bool blocks);
/* The next @n events, all of @space.  -EBADMSG with @err where they contradict those before. */
int analysis_pass_feed(struct analysis_pass *p, struct space_id space, const struct event *events,
		       size_t n, struct err *err);
/*
 * What it is fed goes into @m too, from here on, which forgets what it had: @p is of all times,
 * with groups by stack, and fed whole chunks.  Which one comes is told before it is fed, once
 * more where it has grown; NULL: none does.
 */
void analysis_pass_note(struct analysis_pass *p, struct moments *m);
void analysis_pass_note_chunk(struct analysis_pass *p, const struct chunk_info *info);
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
