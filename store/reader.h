/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_READER_H
#define STORE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "store/record.h"

/*
 * Reads a recording, finished or still being written, without ever writing to
 * it.  Every read transaction is short.  The file is untrusted input.
 */
struct store_reader;

int store_reader_open(const char *path, struct store_reader **ret, struct err *err);
void store_reader_close(struct store_reader *r);

/*
 * Was it closed properly?  Then the checksum over its tables was found right when
 * it was opened.  If not, it was cut off, or is being written.
 */
bool store_reader_is_sealed(const struct store_reader *r);
/* Was it cut off, and is the file FILE-wal, which has its last part, missing beside it? */
bool store_reader_lacks_wal(const struct store_reader *r);

/* The next chunk after number @after, decoded: 1, 0 at the end, or a negative errno. */
int store_reader_next_chunk(struct store_reader *r, uint64_t after, struct chunk_info *ret_info,
			    struct event *ret_events, struct err *err);

/* The space begun last; it may have no events.  {0} where there is none. */
struct space_id store_reader_last_space(struct store_reader *r);

/*
 * All of a recording but its events and summaries.  The arrays are indexed by
 * id where the record has one: element 0 is unused, and an id may be missing
 * (its element is all zero).  Strings belong to the catalog.
 */
struct catalog {
	struct {
		char *key, *text; /* numbers are kept as text too */
	} *facts;
	size_t n_facts, cap_facts;

	struct process_record *processes;
	size_t n_processes, cap_processes;
	struct space_record *spaces;
	size_t n_spaces, cap_spaces;
	struct thread_record *threads;
	size_t n_threads, cap_threads;
	struct family_record *families;
	size_t n_families, cap_families;
	struct module_record *modules;
	size_t n_modules, cap_modules;
	struct catalog_frame {
		struct module_id module;
		uint64_t offset;
		const char *function, *file;
		uint32_t line;
		bool is_inlined;	/* @function is, into @outer */
		struct frame_id outer;	/* the next function at the same place; 0: none */
	} *frames; /* those of the recording, then the outer ones: functions inlined into */
	size_t n_frames, n_recorded_frames, cap_frames;
	struct catalog_stack {
		struct stack_id parent;
		struct frame_id frame;
		uint8_t end; /* enum stack_end; may be out of its range */
	} *stacks;
	size_t n_stacks, cap_stacks;
	struct catalog_loss {
		const char *kind;
		uint64_t count;
	} *losses;
	size_t n_losses, cap_losses;

	struct catalog_strings {
		char **items;
		size_t n, cap;
	} strings, names; /* owned; @names are those of frames */
};

int store_reader_load(struct store_reader *r, struct catalog *ret, struct err *err);
/*
 * Brings a catalog up to date with a recording that has grown since; @r may be another
 * reader of it.  Frames and stacks keep their ids, but not those that functions are
 * inlined into; all strings but names of functions and files are new ones.  Frames that
 * were there get no names: those come at the end, and are loaded anew.  After an error
 * the catalog is empty.
 */
int store_reader_update(struct store_reader *r, struct catalog *c, struct err *err);

/* The heap over time, in buckets of equal width, as it was recorded. */
struct timeline {
	uint64_t start_ns, width_ns; /* 0: there is none */
	struct timeline_bucket *buckets;
	size_t n, cap;
	struct timeline_rss {
		uint64_t t_ns, bytes;
	} *rss; /* by time */
	size_t n_rss, cap_rss;
};

/* @ret is zero, or one from before, which it replaces.  To be released, but after an error. */
int store_reader_timeline(struct store_reader *r, struct timeline *ret, struct err *err);
void timeline_release(struct timeline *t);
void catalog_release(struct catalog *c);
/* NULL where there is no such fact. */
const char *catalog_text(const struct catalog *c, const char *key);
int64_t catalog_number(const struct catalog *c, const char *key, int64_t otherwise);
uint64_t catalog_loss(const struct catalog *c, const char *kind);
/* Never NULL: an empty record where @id is out of range. */
const struct catalog_frame *catalog_frame(const struct catalog *c, struct frame_id id);
const struct catalog_stack *catalog_stack(const struct catalog *c, struct stack_id id);
const char *catalog_module_path(const struct catalog *c, struct module_id id);

/* Bytes of the recording on disk, its WAL included. */
uint64_t store_bytes_on_disk(const char *path);

#endif
