/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/before.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/glibc_threads.h"
#include "collector/hold.h"
#include "common/clock.h"
#include "common/format.h"
#include "common/xalloc.h"

/* Threads that wait inside malloc() may be elsewhere next time. */
#define ATTEMPTS 4
#define BETWEEN_NS 5000000 /* calls go on meanwhile */

/* For people, and where a block has no stack. */
static const char from_before[] = "[from before]";

void before_note(struct before *b, const struct plan *plan, const struct process_maps *maps)
{
	b->has_malloc = malloc_code_find(plan, maps, &b->code);
	b->other = plan->other_allocator ? "another allocator" : NULL;
	for (size_t i = 0; i < plan->n_objects; i++)
		for (size_t k = 0; k < plan->objects[i].n_points; k++) {
			const struct family *f = plan->objects[i].points[k].family;

			if (f && f->id != FAMILY_LIBC && f->id < FAMILY_USER_FIRST)
				b->other = f->name;
		}
}

static void fail(struct before *b, const char *why)
{
	free(b->why_not);
	b->why_not = xstrdup(why);
}

/* Calls that are under way are let end, until @deadline_ns at most. */
static bool finish_calls(struct before *b, struct hold *h, uint64_t deadline_ns)
{
	struct process_maps maps;
	struct err err;
	size_t left;

	if (process_maps_read(h->target->pid, &maps, &err) < 0) {
		fail(b, err.what);
		return false;
	}
	left = under_way_finish(h, &maps, &b->code, deadline_ns);
	process_maps_release(&maps);
	if (left)
		fail(b, "a thread stays in the middle of a call of malloc or free");
	return !left;
}

/* All threads stand still, until @deadline_ns at most, and none is in malloc. */
static void read_held(struct before *b, struct hold *h, uint64_t deadline_ns)
{
	struct glibc_thread *threads;
	struct process_maps maps;
	struct err err;
	size_t n;
	int r;

	/* calls that ended may have mapped something */
	r = process_maps_read(h->target->pid, &maps, &err);
	if (r) {
		fail(b, err.what);
		return;
	}
	threads = glibc_threads(h, &n);
	b->t_ns = clock_now_ns();
	r = glibc_walk_read(h->target->pid, &maps, threads, n, deadline_ns, &b->walk, &err);
	if (r == -ETIME)
		fail(b, "the process would have to stand still for longer than --max-pause");
	else if (r)
		fail(b, err.what);
	free(threads);
	process_maps_release(&maps);
}

void before_take(struct before *b, struct target *t, uint64_t max_pause_ns,
		 void (*arm)(void *arg), void *arg)
{
	bool is_through = false;

	if (!b->has_malloc)
		fail(b, "its malloc is not glibc's");
	for (int i = 0; i < ATTEMPTS && !is_through && b->has_malloc; i++) {
		struct hold h = {0};
		struct err err;

		int r;

		if (i)
			nanosleep(&(struct timespec){.tv_nsec = BETWEEN_NS}, NULL);
		r = hold_start(t, max_pause_ns, &h, &err);

		if (r < 0) {
			fail(b, r == -ETIMEDOUT ? "its threads do not all stop within --max-pause"
						: err.what);
			break;
		}
		/* reading takes its time, too; an attempt that failed leaves the others some */
		is_through = finish_calls(b, &h, h.start_ns + max_pause_ns / 2);
		if (is_through)
			read_held(b, &h, h.start_ns + max_pause_ns);
		if (b->walk) { /* until here no call was seen, from here on all are */
			arm(arg);
			free(b->why_not); /* of an attempt before */
			b->why_not = NULL;
		}
		b->held_ns += hold_end(&h);
	}
	if (!b->walk)
		arm(arg);
}

static void put_blocks(const struct glibc_heap *heap, struct drain *d, uint64_t t_ns)
{
	struct stack_id stack = call_sites_name(&d->sites, from_before);

	for (size_t i = 0; i < heap->n_chunks; i++) {
		const struct glibc_chunk *c = &heap->chunks[i];

		if (c->state == GLIBC_IN_USE || c->state == GLIBC_MMAPPED)
			drain_add_before(d, FAMILY_LIBC, stack, glibc_block(c), glibc_usable(c),
					 t_ns);
	}
}

char *before_put(struct before *b, struct drain *d)
{
	struct store_writer *w = d->writer;
	struct glibc_heap heap = {0};

	if (b->walk) {
		glibc_walk_finish(b->walk, &heap);
		b->walk = NULL;
		if (!glibc_heap_is_whole(&heap))
			fail(b, glibc_heap_left_out(&heap));
		put_blocks(&heap, d, b->t_ns);
	}
	if (b->other && !b->why_not)
		b->why_not = xasprintf("those of %s cannot be read", b->other);
	d->before.are_all = !b->why_not;
	store_writer_put_number(w, "from_before_blocks", (int64_t)d->before.blocks);
	store_writer_put_number(w, "from_before_bytes", (int64_t)d->before.bytes);
	store_writer_put_number(w, "from_before_held_ns", (int64_t)b->held_ns);
	if (b->why_not)
		store_writer_put_text(w, "from_before_error", b->why_not);
	glibc_heap_release(&heap);
	if (!b->why_not)
		return NULL;
	return xasprintf("blocks from before the attach are not %s in the recording: %s",
			 d->before.blocks ? "all" : "there", b->why_not);
}

void before_release(struct before *b)
{
	glibc_walk_free(b->walk);
	free(b->why_not);
	*b = (struct before){0};
}
