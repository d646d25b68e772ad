/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_RING_BACKLOG_H
#define COLLECTOR_RING_BACKLOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/probes.h"

/*
 * Events that come while others have to be put before them: a thread takes them out of the ring
 * meanwhile, so that it does not fill up, and keeps them as they are.  It keeps
 * RING_BACKLOG_BYTES_MAX at most; from then on they wait in the ring.
 */
#define RING_BACKLOG_BYTES_MAX ((size_t)512 << 20)

struct ring_backlog {
	struct probes *probes;
	pthread_t thread;
	bool has_thread; /* else events wait in the ring */
	atomic_bool shall_end;
	/* of pieces that are full, by their order; the thread is at the last one */
	pthread_mutex_t lock;
	struct ring_piece *first, *last;
	size_t bytes; /* of all of them */
};

/* From now on until the end nobody else may drain the ring.  @b must stay where it is. */
void ring_backlog_begin(struct ring_backlog *b, struct probes *p);
/*
 * Gives all of them to @each, in order, while others come, until the rest is small; the sink of
 * @b->probes is to be set anew then.  @each gets at least as many bytes as a struct ring_alloc
 * has.  @between is called after every megabyte of them.
 */
void ring_backlog_end(struct ring_backlog *b,
		      void (*each)(void *arg, const struct ring_head *e, size_t len), void *arg,
		      void (*between)(void *arg), void *between_arg);

#endif
