/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_CHUNK_H
#define STORE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"
#include "store/record.h"

/*
 * The chunk codec: up to CHUNK_EVENTS_MAX events, column by column.  What the bytes
 * mean is in heaptrail-recording(5); chunk_layout.h has what both directions share.
 */
enum chunk_column {
	/* in the order of the events */
	COLUMN_THREADS,	   /* the threads that there are, in the order they come */
	COLUMN_THREAD,	   /* which of these; nothing if there is one only */
	COLUMN_TIME_LOW,   /* ns since the event before: the low byte … */
	COLUMN_TIME_HIGH,  /* … and the rest */
	COLUMN_PREDICTED,  /* how the address was foreseen */
	COLUMN_ADDRESS,	   /* where it was not: the difference to another */
	/* thread after thread */
	COLUMN_CALLS,	   /* (kind, class, family, stack) that there are */
	COLUMN_CALL_LOW,   /* which of these */
	COLUMN_CALL_HIGH,
	COLUMN_SIZE_LOW,
	COLUMN_SIZE_HIGH,
	COLUMN_USABLE,
	COLUMN_BACK_LOW,   /* how many events ago the block that ends was made, 0: in … */
	COLUMN_BACK_HIGH,
	COLUMN_SLOT_LOW,   /* … another chunk, in this slot */
	COLUMN_SLOT_MIDDLE,
	COLUMN_SLOT_HIGH,
	CHUNK_COLUMNS
};

struct chunk_scratch;

struct chunk_encoder {
	struct chunk_info info;
	struct event *events; /* [CHUNK_EVENTS_MAX], with their slots and distances */
	/* [slot modulo its size]: the slot, and the event that put a block there last */
	struct chunk_made {
		uint32_t slot, number; /* of all events of this encoder, modulo 2^32 */
	} *made;
	uint32_t first_number; /* of the chunk's events */
	struct chunk_scratch *scratch;
	size_t column_bytes[CHUNK_COLUMNS]; /* in what chunk_encoder_finish() gave last */
};

void chunk_encoder_release(struct chunk_encoder *c);
/* Begins an empty chunk of @space. */
void chunk_encoder_reset(struct chunk_encoder *c, uint64_t id, struct space_id space);
/*
 * @e->t_ns must not be before the event added last; @e->slot must be right for allocs too.
 * No more than CHUNK_EVENTS_MAX.
 */
void chunk_encoder_add(struct chunk_encoder *c, const struct event *e);
/*
 * Puts the chunk as it is now into @out (what was in it goes) and completes
 * @c->info with codec and crc.  More events may be added afterwards.
 */
void chunk_encoder_finish(struct chunk_encoder *c, struct buffer *out);

/*
 * Decodes @len bytes at @data, which are untrusted, into @ret_events (room for
 * CHUNK_EVENTS_MAX).  Where the block that an event ends was made in the same chunk,
 * its distance is set, else its slot; the slot of an EVENT_ALLOC is left 0 (replay.h
 * knows all of them).  Returns 0, or -EBADMSG with @err filled in.
 */
int chunk_decode(const struct chunk_info *info, const void *data, size_t len,
		 struct event *ret_events, struct err *err);

/* The same in less time: addresses are 0, and what they are made of is not looked at. */
int chunk_decode_but_addresses(const struct chunk_info *info, const void *data, size_t len,
			       struct event *ret_events, struct err *err);

/*
 * The same in less time still, for who sums up what becomes of blocks: which ones are made and
 * which end.  The rest is not looked at.  Zero-initialised is empty; to be released.
 */
struct chunk_step {
	uint64_t t_ns;
	uint64_t size;	/* of the block that it makes */
	uint32_t block; /* that it ends: is_recent: distance, else slot, see struct event */
	uint16_t call;	/* which of the chunk's */
	bool is_recent;
};

struct chunk_call {
	uint8_t kind, free_class, family; /* as in struct event */
	struct stack_id stack;
};

struct chunk_brief {
	struct chunk_step *steps; /* one an event */
	struct chunk_call *calls;
	uint32_t n_calls;
	uint64_t *births; /* [step] of EVENT_PIECE: its usable; NULL: none is one */
	uint64_t *births_room;
	struct chunk_decoder *decoder;
};

void chunk_brief_release(struct chunk_brief *b);
int chunk_decode_brief(const struct chunk_info *info, const void *data, size_t len,
		       struct chunk_brief *ret, struct err *err);

/* What glibc gives for a request of @size bytes from a heap (not mmapped). */
uint64_t chunk_usual_usable(uint64_t size);

#endif
