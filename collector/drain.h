/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_H
#define COLLECTOR_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/call_sites.h"
#include "collector/family.h"
#include "collector/mappings.h"
#include "collector/page_set.h"
#include "collector/pairing.h"
#include "collector/pools.h"
#include "collector/ring_events.h"
#include "collector/stack_mode.h"
#include "collector/usable.h"
#include "common/hash.h"
#include "store/record.h"
#include "store/replay.h"
#include "store/timeline_buckets.h"
#include "store/writer.h"

/*
 * From the raw events of the ring to the events of the recording: pairs frees
 * with allocs, tells the frees of no live block apart, keeps the time monotonic,
 * names the threads.
 *
 * A realloc is two raw events.  From the first on, the address is free to come
 * up again elsewhere; the block itself, with its slot, lives on until the second
 * says what became of it.
 *
 * Blocks that are smaller than the user wants to see are paired as all others, but they are
 * counted instead of recorded: no event is written of them, and they take no slot.  One that
 * a realloc makes large is an alloc in the recording, one that it makes small a free.
 * So it is with blocks of layer heap: those of others are all recorded.
 *
 * An address is paired within its layer, since a wrapper hands out the very block of the heap
 * below; and there blocks, pools and countable things each for themselves.
 */

/* What was set right or could not be told; the probes' own counters come on top. */
struct drain_counts {
	uint64_t events;
	uint64_t free_calls, alloc_calls;
	uint64_t implied_frees;	  /* an address was handed out while it was live */
	uint64_t unknown_frees, internal_frees, double_frees;
	uint64_t mismatched_frees;
	uint64_t unfinished_reallocs; /* their end was not seen */
	uint64_t unknown_segments;    /* shared memory of which nobody could say how much */
	uint64_t malformed;	      /* raw events of the wrong size or kind */
	uint64_t guessed_frames;      /* in different stacks: found by the frame pointer */
};

/* Whoever wants to know what becomes of the heap; any of them may be NULL. */
struct drain_observer {
	void *arg;
	/* after each event */
	void (*step)(void *arg, struct space_id space, const struct event *e,
		     const struct replay_step *step);
	/* after the last event of a full chunk */
	void (*chunk)(void *arg, struct store_writer *w, uint64_t chunk, const struct replay *heap);
	/*
	 * The state after chunk @chunk, the last one, or 0 at the beginning of a file that goes on
	 * from another; @ret has what was until there.  False: it is too large.
	 */
	bool (*state)(void *arg, struct store_writer *w, const struct replay *heap, uint64_t chunk,
		      struct dropped_events *ret);
	/* when there are no more: what is to be put belongs to the chunk that is the last */
	void (*end)(void *arg, struct store_writer *w, const struct replay *heap);
};

/* Of the blocks that are not recorded. */
struct drain_small {
	uint64_t alloc_calls, free_calls, allocated_bytes;
	uint64_t live_blocks, live_bytes; /* in this space */
};

struct drain {
	struct store_writer *writer;
	struct drain_observer observer;
	struct call_sites sites;
	struct pairing pairing; /* of the blocks of layer heap */
	struct pairing *others[PROBE_LAYERS][FAMILY_KINDS]; /* NULL: not needed yet */
	struct pools pools;
	struct mappings mappings; /* layer mmap's */
	/* wanted by who tells an allocator's memory from the program's: that had blocks, ever */
	bool keeps_block_pages;
	struct page_set block_pages; /* of others than glibc's malloc */
	struct usable usable;
	/* of countable things, slot -> the slot that its address led to before; or NO_SLOT - 1 */
	struct hashmap acquired_before;
	struct replay heap;
	uint64_t live_bytes; /* of layer heap */
	struct drain_counts counts;
	uint64_t min_size; /* smaller blocks are counted only */
	struct drain_small small;
	bool small_is_written; /* as it is now */
	struct {
		uint64_t blocks, bytes;
		bool are_all; /* there are no others */
	} before; /* of the heap, from before the recording */
	/* events lost in the kernel: where there are any, nothing is called a double free */
	const uint64_t *losses_so_far; /* at first there are none */
	/* blocks of layer heap from before may have been handed out by a layer above, unseen */
	uint64_t judged_from_ns;
	pid_t pid;
	enum stack_mode stack_mode;
	/* the probes' id -> stack; and of those from before code last came or went in numbers */
	struct hashmap stacks, older_stacks;
	uint16_t generation, forgot_generation; /* of the last event; when stacks were forgotten */
	struct space_record space;
	uint64_t last_ns;
	/* [serial]; NULL for one never seen, or ended: then its row is written */
	struct drain_thread {
		int tid, pid;
		char name[RING_NAME_BYTES * 4 + 1];
		uint64_t start_ns, end_ns;
		bool is_known; /* its raw event came */
		struct drain_realloc {
			bool is_under_way;
			uint8_t family;
			uint64_t old_address, pool; /* pool: 0: none */
			enum pairing_found found; /* what the old address was */
			uint32_t place; /* … and its slot, or size: see pairing_find() */
		} reallocs[PROBE_LAYERS];
	} **threads;
	size_t n_threads, cap_threads;
	struct timeline_buckets timeline; /* of layer heap */
	/* called for a RING_EXEC, after the old space was closed and a new one begun */
	void (*on_exec)(void *arg);
	/* called for a RING_MAPS */
	void (*on_maps)(void *arg);
	void *on_arg;
};

/*
 * Families are those that family.h has now.  Until drain_set_stacks(): whole stacks, in code
 * that never comes nor goes.
 */
void drain_init(struct drain *d, struct store_writer *writer, pid_t pid);
/* @generation tells how often code has come or gone; NULL: it never does. */
void drain_set_stacks(struct drain *d, enum stack_mode mode, uint16_t (*generation)(void *arg),
		      void *arg);
/* Blocks below @min_size bytes (PAIRING_SMALL_MAX at most) are counted, not recorded; 0: none. */
void drain_set_min_size(struct drain *d, uint64_t min_size);
void drain_release(struct drain *d);
/* No more events come: lets go of what only they need, which is most of the memory. */
void drain_end_events(struct drain *d);
/* The recording of a space begins. */
void drain_begin_space(struct drain *d, const char *executable, uint64_t t_ns);
/* It ended: "exit", "exec" or "detach". */
void drain_end_space(struct drain *d, const char *how, uint64_t t_ns);
/*
 * @e will be fed soon, most likely.  It may be anything, half written too, but there must be
 * as many bytes as a struct ring_alloc has.
 */
static inline void drain_expect(void *drain, const struct ring_alloc *e)
{
	const struct drain *d = drain;

	pairing_expect(&d->pairing, e->address); /* they all have an address there, that have one */
	if (e->head.kind == RING_ALLOC)
		hashmap_expect(&d->stacks, e->stack);
}
/* One raw event, of @len bytes. */
void drain_feed(struct drain *d, const struct ring_head *e, size_t len);
static inline void drain_take(void *drain, const struct ring_head *e, size_t len)
{
	drain_feed(drain, e, len);
}
/*
 * A block of the heap that was there at @t_ns, before the first raw event: an event of no call.
 * All that is known of its size is what is usable.  Where it is known already, nothing happens.
 */
void drain_add_before(struct drain *d, uint8_t family, struct stack_id stack, uint64_t address,
		      uint64_t usable, uint64_t t_ns);
/* For its other files: an event of now, of what the kernel side says; the rest is to be set. */
struct event drain_event(const struct drain *d, const struct ring_head *h, enum event_kind kind,
			 struct stack_id stack);
/* Records it.  Returns its slot, or NO_SLOT where it contradicts others. */
uint32_t drain_emit(struct drain *d, struct event *e);
/* Code came or went: what was learnt of addresses is void. */
void drain_code_changed(struct drain *d);
/* Writes what there was of blocks that are not recorded (table recording), if it has changed. */
void drain_write_small(struct drain *d);
/* Writes all threads and counts; those that live are asked for their names. */
void drain_finish(struct drain *d);

#endif
