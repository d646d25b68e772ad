/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_READER_H
#define STORE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"
#include "store/catalog.h"
#include "store/reachability.h"
#include "store/record.h"
#include "store/snapshot.h"

/*
 * Reads a recording, finished or still being written, without ever writing to
 * it.  Every read transaction is short.  The file is untrusted input.
 */
struct store_reader;
struct seal_parts;

int store_reader_open(const char *path, struct store_reader **ret, struct err *err);
/*
 * The same of one that goes on from @earlier (see earlier.h; NULL: from none), which outlives
 * the reader: it reads all of them as if they were one.
 */
struct store_earlier;

int store_reader_open_after(const char *path, struct store_earlier *earlier,
			    struct store_reader **ret, struct err *err);
void store_reader_close(struct store_reader *r);

/*
 * Was it closed properly?  Then the checksum over its tables was found right when
 * it was opened.  If not, it was cut off, or is being written.
 */
bool store_reader_is_sealed(const struct store_reader *r);
/* What it was made of, for store_writer_rename(). */
const struct seal_parts *store_reader_seal_parts(const struct store_reader *r);
/* Was it cut off, and is the file FILE-wal, which has its last part, missing beside it? */
bool store_reader_lacks_wal(const struct store_reader *r);

/* From now on events are decoded without their addresses, in less time; or with them again. */
void store_reader_leave_out_addresses(struct store_reader *r, bool leave_out);
/*
 * The next chunk after number @after, decoded: 1, 0 at the end, or a negative errno; -ESTALE:
 * it was dropped meanwhile, store_reader_dropped() tells what there is now.
 */
int store_reader_next_chunk(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
			    struct event *ret_events, struct err *err);

/* The same in brief: see chunk_decode_brief(), to whose @ret it hands it. */
struct chunk_brief;
int store_reader_next_brief(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
			    struct chunk_brief *ret, struct err *err);

/* The last checkpoint after chunk @until or before: 1, 0 if there is none, or a negative errno. */
int store_reader_find_checkpoint(struct store_reader *r, uint64_t until,
				 struct checkpoint_info *ret, struct err *err);
/* What it has of @kind, unpacked (what was in @ret goes): 1, 0 if that is not whole. */
int store_reader_checkpoint(struct store_reader *r, enum checkpoint_kind kind, uint64_t chunk,
			    struct buffer *ret, struct err *err);
/* What was dropped to keep it small, by now: it may become more while it is being written. */
struct dropped_events store_reader_dropped(struct store_reader *r);
/* The last chunk that begins at @t_ns or before; the one before the first if none does. */
int store_reader_chunk_at(struct store_reader *r, uint64_t t_ns, uint64_t *ret, struct err *err);

/* A fact that is a number, without the rest of the catalog; @otherwise where it is not there. */
int64_t store_reader_number(struct store_reader *r, const char *key, int64_t otherwise);
/* The space begun last; it may have no events.  {0} where there is none. */
struct space_id store_reader_last_space(struct store_reader *r);

/* Table family, by ids, without the rest of the catalog; what is no text is left out. */
typedef void store_reader_family(void *arg, uint64_t id, const char *layer);
void store_reader_families(struct store_reader *r, store_reader_family *each, void *arg);

int store_reader_load(struct store_reader *r, struct catalog *ret, struct err *err);
/*
 * Brings a catalog up to date with a recording that has grown since; @r may be another
 * reader of it.  Frames and stacks keep their ids, but not those that functions are
 * inlined into; all strings but names of functions and files are new ones.  Frames that
 * were there get no names: those come at the end, and are loaded anew.  After an error
 * the catalog is empty.
 */
int store_reader_update(struct store_reader *r, struct catalog *c, struct err *err);

/*
 * Who pointed to the blocks of the space that was recorded last: 1 with @ret, to be released;
 * 0 where nobody looked, or -EBADMSG with @err.
 */
int store_reader_reachability(struct store_reader *r, struct reachability_record *ret,
			      struct err *err);
/* Snapshots of the process's memory, in their order. */
typedef void store_reader_snapshot_info(void *arg, const struct snapshot_info *i);

int store_reader_snapshots(struct store_reader *r, store_reader_snapshot_info *each, void *arg,
			   struct err *err);
/* One of them; -EBADMSG with @err where it is damaged.  To be released. */
int store_reader_snapshot(struct store_reader *r, uint64_t id, struct snapshot *ret,
			  struct err *err);

/* The heap over time, in buckets of equal width, as it was recorded. */
struct timeline {
	uint64_t start_ns, width_ns; /* 0: there is none */
	struct timeline_bucket *buckets;
	size_t n, cap;
	struct timeline_rss {
		uint64_t t_ns, bytes;
	} *rss; /* as they were recorded */
	size_t n_rss, cap_rss;
	uint64_t last_rss; /* the row; later ones are added */
	bool has_earlier_rss; /* that of the files before is in it, which changes no more */
};

/*
 * @ret is zero, or one from before of the same recording, which it brings up to date.  To be
 * released, but after an error.
 */
int store_reader_timeline(struct store_reader *r, struct timeline *ret, struct err *err);
void timeline_release(struct timeline *t);
/*
 * Totals by allocating stack, as they were summed up when the recording was completed; none
 * where it was not.  0, or a negative errno with @err.
 */
typedef void store_reader_site(void *arg, struct stack_id stack, const struct heap_totals *totals);

int store_reader_sites(struct store_reader *r, store_reader_site *each, void *arg,
		       struct err *err);

/* ---- for earlier.c ------------------------------------------------------------------ */

/* What is in one file. */
struct store_extent {
	uint64_t chunks, events; /* the number of the last chunk; of the events that are there */
	uint64_t snapshots;	 /* the number of the last */
	uint64_t first_ns;	 /* of the events */
};

int store_reader_extent(struct store_reader *r, struct store_extent *ret, struct err *err);
/* As store_reader_snapshots(), of one file, with @before of them in others. */
int store_reader_list_snapshots(struct store_reader *r, uint64_t before,
				store_reader_snapshot_info *each, void *arg, struct err *err);
/* Adds the samples of the RSS that are later than those in @t. */
int store_reader_add_rss(struct store_reader *r, struct timeline *t, struct err *err);
/* Table symbol, by frames and depths. */
typedef void store_reader_symbol(void *arg, const struct symbol_record *s);

int store_reader_symbols(struct store_reader *r, store_reader_symbol *each, void *arg,
			 struct err *err);
/* The catalog will not be asked for. */
void store_reader_spare_memory(struct store_reader *r);

/* Bytes of the recording on disk, its WAL included. */
uint64_t store_bytes_on_disk(const char *path);

#endif
