/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/reach_look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/reachability.h"
#include "common/clock.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/reachability.h"

#define STOP_NS 100000000ull /* for the threads to stop, at most */

/* In its exit it is only waited for: mapped files may be endless, though. */
#define EXIT_PAUSE_NS 60000000000ull

static uint64_t max_pause_ns(const struct reach_look *l, enum look_when when)
{
	if (l->max_pause_ns)
		return l->max_pause_ns;
	return when == LOOK_AT_EXIT ? EXIT_PAUSE_NS : REACH_LOOK_PAUSE_NS;
}

/* A block that moves is in two places, of which one is not known yet. */
static bool is_any_moving(const struct drain *d)
{
	for (size_t i = 0; i < d->n_threads; i++)
		for (int k = 0; d->threads[i] && k < PROBE_LAYERS; k++)
			if (d->threads[i]->reallocs[k].is_under_way)
				return true;
	return false;
}

/* May there be blocks that are not known, and lead to others? */
static bool must_be_cautious(const struct look *look)
{
	const struct drain *d = look->drain;
	bool begins_known = look->hold->target->launched ||
			    (d->before.are_all && !d->counts.unknown_frees);

	return !begins_known || (d->losses_so_far && *d->losses_so_far) ||
	       d->counts.implied_frees || d->counts.malformed || is_any_moving(d);
}

static int read_all(struct reach_look *l, const struct look *look, struct err *err)
{
	uint64_t most = max_pause_ns(l, look->when);
	struct pointers_options options = {.deadline_ns = most ? look->hold->start_ns + most : 0};
	const struct roots *roots = &l->roots;
	struct pointers_memory memory;
	int r;

	live_blocks_list(&l->found, look->drain);
	l->is_given_up = options.deadline_ns && clock_now_ns() > options.deadline_ns;
	if (l->is_given_up)
		return -ETIME;
	r = roots_find(&l->roots, look->hold, &l->found, look->drain,
		       l->flags & REACHABILITY_CAUTIOUS, options.deadline_ns, err);
	l->is_given_up = r == -ETIME;
	if (r)
		return r;
	options.doubtful = roots->doubtful.items;
	options.n_doubtful = roots->doubtful.n;
	memory = roots_memory(&l->roots);
	r = pointers_find(&l->pointers, l->found.items, l->found.n, roots->ranges.items,
			  roots->ranges.n, roots->words, roots->n_words, &memory, &options);
	l->is_given_up = r == -ETIME;
	if (r && r != -ETIME)
		err_set(err, r == -EPERM ? ERR_PRIVILEGE : ERR_FAILED, -r,
			"cannot read the memory of process %d", (int)look->hold->target->pid);
	return r;
}

static void held(void *arg, const struct look *look)
{
	struct reach_look *l = arg;

	l->t_ns = look->t_ns;
	l->space = look->drain->space.id;
	l->flags = (look->when == LOOK_AT_EXIT ? REACHABILITY_AT_EXIT : 0) |
		   (must_be_cautious(look) ? REACHABILITY_CAUTIOUS : 0);
	l->is_read = !read_all(l, look, &l->failure);
}

static void after(void *arg, const struct look *look, uint64_t held_ns, const struct err *err)
{
	struct reach_look *l = arg;
	char most[FORMAT_MAX];

	l->held_ns = held_ns;
	if (err) {
		l->failure = *err;
	} else if (l->is_given_up) {
		err_set(&l->failure, ERR_FAILED, 0, "the look at what points to blocks was given "
			"up: it takes longer than %s",
			format_duration(most, max_pause_ns(l, look->when)));
		err_hint(&l->failure, "--max-pause allows more");
	}
}

struct look_observer reach_look_observer(struct reach_look *l)
{
	uint64_t most = l->max_pause_ns;

	l->roots.memory.pages.fd = -EBADF;
	return (struct look_observer){
		.arg = l,
		.at = LOOK_AT_EXIT | LOOK_AT_END,
		.needs_heap = true,
		.needs_block_pages = true,
		.timeout_ns = most && most < STOP_NS ? most : STOP_NS,
		.held = held,
		.after = after,
	};
}

/* How much only doubtful roots lead to: it is said in facts, and the kinds are plain. */
static void settle_doubts(struct reach_look *l, uint8_t *kinds, struct store_writer *w)
{
	uint64_t blocks = 0, bytes = 0;

	for (size_t i = 0; i < l->found.n; i++) {
		bool counts = kinds[i] & REACHABILITY_DOUBT && l->found.flags[i] & LIVE_RECORDED;

		blocks += counts;
		bytes += counts ? l->found.items[i].size : 0;
		kinds[i] &= (uint8_t)~REACHABILITY_DOUBT;
	}
	if (!blocks)
		return;
	l->flags |= REACHABILITY_DOUBTFUL;
	store_writer_put_number(w, REACHABILITY_DOUBTFUL_BLOCKS_KEY, (int64_t)blocks);
	store_writer_put_number(w, REACHABILITY_DOUBTFUL_BYTES_KEY, (int64_t)bytes);
}

static bool put(struct reach_look *l, struct store_writer *w)
{
	struct reachability_record r = {.space = l->space, .t_ns = l->t_ns, .held_ns = l->held_ns,
					.read_bytes = l->pointers.bytes};
	uint8_t *kinds = xmalloc(l->found.n + 1);
	bool is_put;

	reachability_judge(&l->pointers, kinds);
	settle_doubts(l, kinds, w);
	r.flags = l->flags;
	r.addresses = xcalloc(l->found.n_recorded + 1, sizeof(*r.addresses));
	r.kinds = xcalloc(l->found.n_recorded + 1, 1);
	for (size_t i = 0; i < l->found.n; i++) {
		if (!(l->found.flags[i] & LIVE_RECORDED))
			continue;
		r.addresses[r.n] = l->found.items[i].address;
		r.kinds[r.n++] = kinds[i];
	}
	is_put = store_writer_put_reachability(w, &r);
	reachability_release(&r);
	free(kinds);
	if (!is_put)
		err_set(&l->failure, ERR_FAILED, 0, "cannot store what points to so many blocks");
	return is_put;
}

bool reach_look_put(struct reach_look *l, struct store_writer *w)
{
	bool is_put = l->is_read && put(l, w);

	if (!is_put && !l->failure.what[0])
		err_set(&l->failure, ERR_FAILED, 0, "nobody looked at what points to blocks");
	if (!is_put)
		store_writer_put_text(w, REACHABILITY_FAILED_KEY, l->failure.what);
	reach_look_release(l);
	return is_put;
}

void reach_look_release(struct reach_look *l)
{
	pointers_release(&l->pointers);
	roots_release(&l->roots);
	live_blocks_release(&l->found);
}
