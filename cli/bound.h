/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_BOUND_H
#define CLI_BOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/writer.h"

#define BOUND_MIN ((uint64_t)1 << 20)

/*
 * Keeps a recording below a size: its oldest events are dropped, behind a checkpoint, which
 * has what they sum up to.  What is not events (names, stacks, threads) is kept.
 *
 * Between two checkpoints lies an eighth of the bound, or twice a checkpoint where that is more:
 * so much is dropped at a time, the least that pays.  Where the state itself is so large that
 * there is no room for that, one is made when it is needed, and little remains behind it.
 */
struct bound {
	uint64_t max_size; /* 0: there is none, and nothing is ever dropped */
	struct bound_mark { /* a checkpoint behind the one that the recording begins with */
		struct dropped_events before;
		uint64_t chunk_bytes; /* of all chunks until there, the dropped ones too */
		uint64_t bytes;	      /* of these, and of all checkpoints before it */
	} *marks; /* the oldest first */
	size_t n_marks, cap_marks;
	struct bound_mark base;
	uint64_t last_chunk_bytes; /* all chunks, when there was one less */
	bool is_too_small;	   /* it cannot be kept: this was said */
	/* told of that once; @state_bytes: what a checkpoint takes.  May be NULL. */
	void (*on_too_small)(uint64_t state_bytes, uint64_t max_size);
};

void bound_release(struct bound *b);
/* The next file begins: of the one before nothing is to be dropped any more. */
void bound_begin_file(struct bound *b);
/*
 * A checkpoint was put behind @before, until where all chunks have @chunk_bytes; older ones have
 * @checkpoint_bytes.
 */
void bound_mark(struct bound *b, uint64_t chunk_bytes, const struct dropped_events *before,
		uint64_t checkpoint_bytes);
/* Is one of @state_bytes due after the last full chunk, so that it can be dropped there later? */
bool bound_wants_mark(const struct bound *b, const struct store_writer *w, uint64_t state_bytes);
/* Will bound_keep() ask for one in some chunks' time?  To be asked before it. */
bool bound_will_want_mark(const struct bound *b, struct store_writer *w, uint64_t state_bytes);
/*
 * After a full chunk; a checkpoint would have @state_bytes.  Drops what there is no room for.
 * True: there must be a checkpoint here first, then it is to be called again.
 */
bool bound_keep(struct bound *b, struct store_writer *w, uint64_t state_bytes, bool may_mark);
/* After the last event. */
void bound_end(struct bound *b, struct store_writer *w);

#endif
