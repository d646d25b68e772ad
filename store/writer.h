/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "store/checkpoint_pack.h"
#include "store/reachability.h"
#include "store/record.h"
#include "store/snapshot.h"

/*
 * The one writer of a recording.
 *
 * What is put becomes visible to readers, and safe from our own death, with the
 * next store_writer_flush().  A failure (the disk is full, say) is kept: further
 * puts do nothing, and store_writer_flush() and _close() return it.
 */
struct store_writer;
struct seal_parts;

struct store_writer_options {
	bool overwrite; /* an existing file that is a recording, or empty, may go */
	uid_t uid;	/* who shall own the file, if it is not the effective user */
	gid_t gid;
	uint64_t max_size; /* what it is to be kept below, by store_writer_drop(); 0: it may grow */
};

/*
 * Creates the recording @path: mode 0600, never through a symbolic link.
 * Returns 0, or a negative errno with @err filled in.
 */
int store_writer_create(const char *path, const struct store_writer_options *options,
			struct store_writer **ret, struct err *err);

/*
 * Opens the recording @path to complete it: one that was cut off, and that nobody
 * writes any more.  It must have been read before: this checks nothing.
 */
int store_writer_open(const char *path, struct store_writer **ret, struct err *err);

/* The chunk put last gets no more events: the next is of another.  Its number, or 0. */
uint64_t store_writer_end_chunk(struct store_writer *w);
/*
 * @w goes on in the new file @path, with an empty one that has all that later events may refer
 * to; chunks count from 1 again.  A checkpoint of both kinds is to be put of chunk 0, if there
 * are @earlier events.  What was put before is in the old file, which must have been
 * flushed and is to be closed by @ret_old.  After an error @w is as it was.
 */
int store_writer_continue(struct store_writer *w, const char *path,
			  const struct store_writer_options *o,
			  const struct dropped_events *earlier, struct store_writer **ret_old,
			  struct err *err);

/* Removes a file that was made with these options, and what SQLite may have beside it. */
void store_writer_remove(const char *path, const struct store_writer_options *o);

/*
 * After a failure: goes back to what was last flushed and, if there is room for
 * that much, writes down why it failed (fact "stopped").  Events are not taken any
 * more; the rest can be put again.  Returns whether it worked; true where nothing
 * had failed.
 */
bool store_writer_give_up_events(struct store_writer *w);

/*
 * The recording gets other names: it is not to be taken for the one that its seal was made
 * for.  Nothing is put then but names, facts and sites: the other tables stay as
 * they were when that seal, of @parts, was found right.
 */
void store_writer_rename(struct store_writer *w, const struct seal_parts *parts);
/* Removes the names of a frame: others are to be put. */
void store_writer_clear_symbols(struct store_writer *w, struct frame_id frame);
/* Removes the sites, which are to be put anew. */
void store_writer_clear_sites(struct store_writer *w);
/* All that belongs into the recording has been put: it is to be closed with a seal. */
void store_writer_seal(struct store_writer *w);

/*
 * Completes the file: with a seal one file without a WAL, where no reader prevents it.
 * Frees @w in any case; NULL is fine.  Returns the first failure of all.
 */
int store_writer_close(struct store_writer *w, struct err *err);

void store_writer_put_text(struct store_writer *w, const char *key, const char *value);
void store_writer_put_number(struct store_writer *w, const char *key, int64_t value);

/* Rows with an id that is there already are replaced. */
void store_writer_put_process(struct store_writer *w, const struct process_record *p);
void store_writer_put_space(struct store_writer *w, const struct space_record *s);
void store_writer_put_thread(struct store_writer *w, const struct thread_record *t);
void store_writer_put_family(struct store_writer *w, const struct family_record *f);
void store_writer_put_module(struct store_writer *w, const struct module_record *m);
void store_writer_put_mapping(struct store_writer *w, const struct mapping_record *m);
void store_writer_put_frame(struct store_writer *w, struct frame_id id, struct module_id module,
			    uint64_t offset);
/* @end is the same for a stack and its parents: it is about the outermost frame. */
void store_writer_put_stack(struct store_writer *w, struct stack_id id, struct stack_id parent,
			    struct frame_id frame, enum stack_end end);
void store_writer_put_symbol(struct store_writer *w, const struct symbol_record *s);
void store_writer_put_loss(struct store_writer *w, const char *kind, uint64_t count);
void store_writer_put_rss(struct store_writer *w, struct space_id space, uint64_t t_ns,
			  uint64_t bytes);
void store_writer_put_timeline(struct store_writer *w, const struct timeline_bucket *buckets,
			       size_t n, uint64_t start_ns, uint64_t width_ns);
/* @frame and @depth: whose the stack is, as catalog_places() has it. */
void store_writer_put_site(struct store_writer *w, struct stack_id stack, struct frame_id frame,
			   uint32_t depth, const struct heap_totals *t);

/* Left out where it is too large, which nobody could read: false. */
bool store_writer_put_reachability(struct store_writer *w, const struct reachability_record *r);

/*
 * Events of one space in their order; of another space only after its last.  Their slots
 * must be right, of allocs too.  Returns the chunk that is full with it, or 0.
 */
uint64_t store_writer_put_event(struct store_writer *w, struct space_id space,
				const struct event *e);

/*
 * The state after chunk @chunk, which must be full or the last, and whose last event is of
 * @t_ns: begun, its bytes in any number of parts (@writer is a struct store_writer), ended.
 * One that is too large is left out (false): but in bounded space it saves time, no more.
 * Nothing else may be put meanwhile.
 */
void store_writer_begin_checkpoint(struct store_writer *w, enum checkpoint_kind kind,
				   uint64_t chunk, uint64_t t_ns);
void store_writer_add_to_checkpoint(void *writer, const void *data, size_t len);
bool store_writer_end_checkpoint(struct store_writer *w);
/* The same at once, of one that was packed elsewhere; it is empty then. */
bool store_writer_put_checkpoint(struct store_writer *w, struct checkpoint_packer *p);
/* @i->id does not matter. */
void store_writer_put_snapshot(struct store_writer *w, const struct snapshot_info *i,
			       const struct snapshot *snapshot);
/* Bytes of all chunks that are full, and of checkpoints, so far; the chunk put last. */
struct store_writer_sizes {
	uint64_t chunks, checkpoints, last_chunk;
};
struct store_writer_sizes store_writer_sizes(const struct store_writer *w);

/* Of all that is in the file, also what was not flushed yet. */
uint64_t store_writer_used_bytes(struct store_writer *w);
/*
 * The chunks until @d->chunks, behind which a checkpoint of both kinds was put, are gone for
 * readers with the next flush, and older checkpoints; each call drops more than the one before.
 */
void store_writer_drop(struct store_writer *w, const struct dropped_events *d);
/* Deletes @max chunks that were dropped, which takes a while; true if there are more. */
bool store_writer_drop_rows(struct store_writer *w, uint64_t max);

/* Commits all that was put.  Returns 0, or the failure that was kept. */
int store_writer_flush(struct store_writer *w, struct err *err);

#endif
