/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/ring_backlog.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/xalloc.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define EVENTS_AT_ONCE 4096
#define PAUSE_NS 200000
/* So often what has come meanwhile is given on before the thread ends. */
#define ROUNDS 8

/* Events one after the other: the length, in eight bytes, and as many as that rounded up. */
struct ring_piece {
	struct ring_piece *next;
	size_t used;
	uint64_t data[(PIECE_BYTES - 16) / 8];
};

static size_t room_for(size_t len)
{
	size_t bytes = len > sizeof(struct ring_alloc) ? len : sizeof(struct ring_alloc);

	return 8 + ((bytes + 7) & ~(size_t)7);
}

static void expect_nothing(void *backlog, const struct ring_alloc *next)
{
	(void)backlog, (void)next;
}

static void keep(void *backlog, const struct ring_head *e, size_t len)
{
	struct ring_backlog *b = backlog;
	size_t room = room_for(len);
	char *to;

	if (room > sizeof(b->last->data))
		return; /* none is */
	if (!b->last || b->last->used + room > sizeof(b->last->data)) {
		struct ring_piece *piece = xmalloc(sizeof(*piece));

		piece->next = NULL;
		piece->used = 0;
		pthread_mutex_lock(&b->lock);
		*(b->last ? &b->last->next : &b->first) = piece;
		b->last = piece;
		b->bytes += sizeof(*piece);
		pthread_mutex_unlock(&b->lock);
	}
	to = (char *)b->last->data + b->last->used;
	memset(to + room - 8, 0, 8);
	memcpy(to, &(uint64_t){len}, 8);
	memcpy(to + 8, e, len);
	b->last->used += room;
}

static bool has_room(struct ring_backlog *b)
{
	bool has;

	pthread_mutex_lock(&b->lock);
	has = b->bytes < RING_BACKLOG_BYTES_MAX;
	pthread_mutex_unlock(&b->lock);
	return has;
}

static void *take_all(void *backlog)
{
	struct ring_backlog *b = backlog;

	while (!atomic_load(&b->shall_end)) {
		if (!has_room(b) || !probes_drain(b->probes, EVENTS_AT_ONCE))
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	return NULL;
}

void ring_backlog_begin(struct ring_backlog *b, struct probes *p)
{
	sigset_t all, before;

	*b = (struct ring_backlog){.probes = p};
	pthread_mutex_init(&b->lock, NULL);
	probes_set_sink(p, expect_nothing, keep, b);
	sigfillset(&all); /* they are for the one that started it */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	b->has_thread = !pthread_create(&b->thread, NULL, take_all, b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The first piece, if the thread is through with it, or has ended. */
static struct ring_piece *take_piece(struct ring_backlog *b, bool has_ended)
{
	struct ring_piece *piece;

	pthread_mutex_lock(&b->lock);
	piece = b->first;
	if (piece && (piece != b->last || has_ended)) {
		b->first = piece->next;
		b->bytes -= sizeof(*piece);
		if (!b->first)
			b->last = NULL;
	} else {
		piece = NULL;
	}
	pthread_mutex_unlock(&b->lock);
	return piece;
}

static void give_piece(struct ring_piece *p,
		       void (*each)(void *arg, const struct ring_head *e, size_t len), void *arg)
{
	for (size_t at = 0; at < p->used;) {
		const uint64_t *e = p->data + at / 8;

		each(arg, (const struct ring_head *)(e + 1), (size_t)*e);
		at += room_for((size_t)*e);
	}
	free(p);
}

void ring_backlog_end(struct ring_backlog *b,
		      void (*each)(void *arg, const struct ring_head *e, size_t len), void *arg,
		      void (*between)(void *arg), void *between_arg)
{
	struct ring_piece *piece;
	size_t n = 1;

	/* each round takes as long as what came in the round before was much */
	for (int i = 0; i < ROUNDS && n; i++) {
		pthread_mutex_lock(&b->lock);
		n = b->bytes / sizeof(*piece);
		pthread_mutex_unlock(&b->lock);
		for (; n && (piece = take_piece(b, false)); n--) {
			give_piece(piece, each, arg);
			between(between_arg);
		}
	}
	atomic_store(&b->shall_end, true);
	if (b->has_thread)
		pthread_join(b->thread, NULL);
	while ((piece = take_piece(b, true))) {
		give_piece(piece, each, arg);
		between(between_arg);
	}
	pthread_mutex_destroy(&b->lock);
}
