/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "store/stack_end.h"

/*
 * What a recording is made of, as the parts of heaptrail hand it to each other.
 * The ids are those of the tables (schema.sql), from 1 on; 0 is "none".
 */

#define RECORDING_APPLICATION_ID 0x48545231 /* "HTR1" */
#define RECORDING_VERSION 2

struct space_id {
	uint32_t v;
};
struct thread_id {
	uint32_t v;
};
struct module_id {
	uint32_t v;
};
struct frame_id {
	uint32_t v;
};
struct stack_id {
	uint32_t v;
};

/* Stored as they are numbered: never renumber. */
enum event_kind {
	EVENT_ALLOC = 0,
	EVENT_FREE = 1,
	EVENT_REALLOC = 2, /* a linked free and alloc: the block keeps its slot */
	/* blocks of its thread in its layer are of the pool at @address from here on; 0: of none */
	EVENT_IN_POOL = 3,
	/* 4 and 5 are not used: blocks that end with their pool end one by one */
	/* what stays of a mapping of which a part went: as old as that, with its stack */
	EVENT_PIECE = 6,
	/* 7 is not used */
	EVENT_MARK = 8,
	EVENT_KINDS
};

/* What a free turned out to be: see free_class_ends(). */
enum free_class {
	FREE_OF_BLOCK = 0,
	FREE_IMPLIED = 1,  /* its free was lost: the address was handed out again */
	FREE_UNKNOWN = 2,  /* of a block from before the recording, or whose alloc was lost */
	FREE_INTERNAL = 3, /* the allocator's own call on memory that is no block */
	FREE_DOUBLE = 4,   /* of a block already freed */
	FREE_WITH_POOL = 5, /* the pool that it was of was emptied, or ended: no free call */
	FREE_MISMATCHED = 6, /* of a block, but not by the function that belongs to it */
	FREE_OF_OTHER = 7,   /* by a layer's function, of a block of another: it ends none */
	FREE_PARTED = 8,     /* a part of the mapping went: no free call; what stays comes next */
	FREE_CLASSES
};

#define USABLE_UNKNOWN UINT64_MAX

struct event {
	uint8_t kind;	    /* enum event_kind */
	uint8_t free_class; /* enum free_class, of EVENT_FREE */
	uint8_t family;	    /* id */
	struct thread_id thread;
	struct stack_id stack; /* of the alloc; of a free: its caller */
	uint32_t slot;	       /* see slots.h; of an alloc it is implied by the order */
	/* in what was decoded: so many events ago the block that ends was made; 0: see slot */
	uint32_t distance;
	uint64_t t_ns;
	uint64_t address;
	uint64_t size;	 /* requested bytes */
	/* bytes the allocator gave, or USABLE_UNKNOWN; of EVENT_PIECE when its mapping was made */
	uint64_t usable;
};

/* Does a free of that class end a block? */
static inline bool free_class_ends(unsigned int free_class)
{
	return free_class <= FREE_IMPLIED || free_class == FREE_WITH_POOL ||
	       free_class == FREE_MISMATCHED || free_class == FREE_PARTED;
}

/* Does the event make a block, by a call or as a piece of another? */
static inline bool event_makes(const struct event *e)
{
	return e->kind == EVENT_ALLOC || e->kind == EVENT_REALLOC || e->kind == EVENT_PIECE;
}

/* Is it a call that makes a block, does it end one? (valgrind's counting: realloc does both) */
static inline bool event_allocates(const struct event *e)
{
	return e->kind == EVENT_ALLOC || e->kind == EVENT_REALLOC;
}

/*
 * A block that was there before the recording is an EVENT_ALLOC of no thread: of no call.  Its
 * size is what is usable: more is not known.
 */
#define THREAD_OF_BEFORE 0u

static inline bool event_is_alloc_call(const struct event *e)
{
	return event_allocates(e) && e->thread.v != THREAD_OF_BEFORE;
}

static inline bool event_frees(const struct event *e)
{
	return e->kind == EVENT_REALLOC ||
	       (e->kind == EVENT_FREE && free_class_ends(e->free_class));
}

/* Does the block that it ends end without a call that frees it? */
static inline bool event_ends_uncalled(const struct event *e)
{
	return e->kind == EVENT_FREE &&
	       (e->free_class == FREE_WITH_POOL || e->free_class == FREE_PARTED);
}

#define CHUNK_EVENTS_MAX 65536

/* 1 and 2 were those of format version 1. */
enum chunk_codec {
	CODEC_COLUMNS = 3,
};

struct chunk_info {
	uint64_t id;
	struct space_id space;
	uint32_t events, allocs, frees;
	uint64_t first_ns, last_ns;
	uint64_t min_size, max_size;
	uint64_t min_address, max_address;
	uint64_t families; /* bit set */
	uint32_t codec;
	uint32_t crc;
};

/* What a checkpoint has of the state after a chunk. */
enum checkpoint_kind {
	CHECKPOINT_TOTALS = 1,
	CHECKPOINT_HEAP = 2,
};

struct checkpoint_info {
	uint64_t chunk, t_ns; /* of the chunk's last event */
	uint64_t bytes;	      /* unpacked */
};

/*
 * Of a recording in bounded space: its chunks until this one are gone; a checkpoint has the
 * state behind them.  Of one that goes on from another file: 0 chunks, but the events of the
 * files before.  No events: it is whole.
 */
struct dropped_events {
	uint64_t chunks, events, until_ns; /* until_ns: of the last event that is gone */
};
#define DROPPED_CHUNKS_KEY "dropped_chunks"
#define DROPPED_EVENTS_KEY "dropped_events"
#define DROPPED_UNTIL_KEY "dropped_until_ns"

/* A fact "form:STACK": by which form the stack made a block, or gave one back (a name of forms). */
#define FORM_KEY "form:"

/* Strings are the giver's, and valid for the call, or as the reader's call says. */
struct process_record {
	uint32_t id;
	int pid;
	const char *command; /* JSON array */
	uint64_t start_ns, end_ns;
	bool ended;
	int exit_status; /* -1: none */
	int exit_signal; /* 0: none */
};

struct space_record {
	struct space_id id;
	uint32_t process;
	uint32_t exec_count;
	const char *executable;
	uint64_t start_ns, end_ns;
	const char *end; /* "exit", "exec", "detach" or NULL */
};

struct thread_record {
	struct thread_id id;
	uint32_t process;
	int tid;
	const char *name;
	uint64_t start_ns, end_ns; /* end 0: it had not ended */
};

/* The id of glibc's malloc in all recordings; others are in collector/family.c alone. */
#define FAMILY_LIBC 1

struct family_record {
	uint32_t id;
	const char *name, *layer;
};

struct module_record {
	struct module_id id;
	const char *path, *build_id; /* build_id may be NULL */
};

struct mapping_record {
	struct space_id space;
	struct module_id module;
	uint64_t start, end, bias, first_ns;
};

struct symbol_record {
	struct frame_id frame;
	uint32_t depth;
	const char *function, *file; /* may be NULL */
	uint32_t line;
};

struct timeline_bucket {
	uint64_t allocs, frees, allocated_bytes, live_bytes, max_live_bytes;
};

/* Totals of some part of the heap; the same in every table and report. */
struct heap_totals {
	uint64_t alloc_calls, allocated_bytes;
	uint64_t live_blocks, live_bytes;
	uint64_t peak_blocks, peak_bytes; /* at the moment of the whole heap's peak */
	uint64_t temporary_allocs;
};

#endif
