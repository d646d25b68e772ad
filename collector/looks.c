/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/looks.h"

#include <errno.h>

#include "common/clock.h"

#define TIMEOUT_NS_DEFAULT 500000000ull
/* A thread that waits for the recorder, at a hook of ld.so say, does not stop: it is served. */
#define TRY_NS 10000000ull

void looks_add(struct looks *l, const struct look_observer *o)
{
	if (l->n < LOOKS_MAX)
		l->of[l->n++] = *o;
}

static int hold(const struct look_observer *o, const struct look_context *c, enum look_when when,
		struct hold *ret, struct err *err)
{
	uint64_t timeout = o->timeout_ns ? o->timeout_ns : TIMEOUT_NS_DEFAULT;
	int r;

	if (when != LOOK_AT_EXIT) {
		uint64_t deadline = clock_now_ns() + timeout, try = TRY_NS;

		while ((r = hold_start(c->target, try, ret, err)) == -ETIMEDOUT &&
		       clock_now_ns() < deadline) {
			c->serve(c->session);
			try *= 2;
		}
		return r;
	}
	if (timeout < TIMEOUT_NS_DEFAULT)
		timeout = TIMEOUT_NS_DEFAULT; /* threads that are killed: nobody waits for them */
	r = hold_at_exit(c->target, timeout, ret);
	return r ? err_set(err, ERR_FAILED, -r, "cannot look at process %d at its exit: other "
			   "threads outlive its main thread", (int)c->target->pid) : 0;
}

static void take(const struct look_observer *o, const struct look_context *c, enum look_when when)
{
	struct look look = {.when = when, .drain = c->drain, .writer = c->writer};
	struct hold h = {0};
	struct err err;
	int r = hold(o, c, when, &h, &err);

	if (r == -ESRCH && when != LOOK_AT_EXIT)
		return; /* its end comes up next */
	look.t_ns = clock_now_ns();
	if (!r) {
		look.hold = &h;
		if (o->needs_heap)
			c->empty_ring(c->session);
		o->held(o->arg, &look);
		look.hold = NULL;
	}
	o->after(o->arg, &look, hold_end(&h), r ? &err : NULL);
}

void looks_take_due(struct looks *l, const struct look_context *c, uint64_t now_ns)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct look_observer *o = &l->of[i];

		if (o->is_due && o->is_due(o->arg, c->drain, now_ns))
			take(o, c, LOOK_NOW);
	}
}

void looks_take(struct looks *l, const struct look_context *c, enum look_when when)
{
	if (l->taken & when)
		return;
	l->taken |= when & (LOOK_AT_EXIT | LOOK_AT_END);
	for (size_t i = 0; i < l->n; i++) {
		if (l->of[i].at & when)
			take(&l->of[i], c, when);
	}
}

void looks_end(struct looks *l, const struct look_context *c)
{
	struct look look = {.when = LOOK_AT_EXIT, .t_ns = clock_now_ns(), .drain = c->drain,
			    .writer = c->writer};
	struct err err;

	if (l->taken & LOOK_AT_EXIT)
		return;
	l->taken |= LOOK_AT_EXIT;
	err_set(&err, ERR_FAILED, 0, "process %d ended without a stop in its exit: there was no "
		"last look at its memory", (int)c->target->pid);
	err_hint(&err, "there is one where heaptrail started the program and traces it, and it is "
		       "not killed by SIGKILL");
	for (size_t i = 0; i < l->n; i++) {
		if (l->of[i].at & LOOK_AT_EXIT)
			l->of[i].after(l->of[i].arg, &look, 0, &err);
	}
}
