/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/session.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/drain_write.h"
#include "collector/losses.h"
#include "collector/naming.h"
#include "collector/privileges.h"
#include "collector/process_facts.h"
#include "collector/session_state.h"
#include "common/clock.h"
#include "common/xalloc.h"

#define SLOW_NS 1000000000ull
/* Events taken at once, before signals and the target are looked at again. */
#define DRAIN_EVENTS 16384

/* ---- the drain ------------------------------------------------------------------------ */

/* Empties the ring, with a bound: a target that never rests must not hold us here. */
void session_drain_all(struct session *s)
{
	for (int i = 0; i < 64; i++) {
		s->losses = losses_count(s->probes, &s->drain);
		if (!probes_drain(s->probes, DRAIN_EVENTS))
			break;
	}
}

/* ---- running -------------------------------------------------------------------------- */

static void empty_ring(void *session)
{
	struct session *s = session;

	do /* it is held: nothing comes in */
		s->losses = losses_count(s->probes, &s->drain);
	while (probes_drain(s->probes, DRAIN_EVENTS));
}

static void serve(void *session)
{
	struct session *s = session;

	session_drain_all(s);
	session_follow_mappings(s);
	code_watch_mind(&s->code);
}

static struct look_context look_context(struct session *s)
{
	return (struct look_context){.target = &s->target, .drain = &s->drain, .writer = s->writer,
				     .empty_ring = empty_ring, .serve = serve, .session = s};
}

static void look_if_due(struct session *s, uint64_t now)
{
	struct look_context c = look_context(s);

	if (!s->options.looks.n || !s->is_armed || s->target.ended)
		return;
	looks_take_due(&s->options.looks, &c, now);
	if (s->interrupts.asks_look)
		looks_take(&s->options.looks, &c, LOOK_ASKED);
	s->interrupts.asks_look = false;
}

static void look(struct session *s, enum look_when when)
{
	struct look_context c = look_context(s);

	if (s->options.looks.n && !s->is_abandoned)
		looks_take(&s->options.looks, &c, when);
}

/* Its exit stop: the last look at its memory. */
static void look_at_exit(struct session *s)
{
	uint64_t peak = process_status_bytes(s->target.pid, "VmHWM");

	if (peak > s->peak_rss_bytes)
		s->peak_rss_bytes = peak;
	session_drain_all(s);
	call_sites_read_maps(&s->drain.sites, clock_now_ns());
	look(s, LOOK_AT_EXIT);
}

/*
 * It stands still, at the probes' wish.  What they wished is forgotten just before
 * the target goes on: if we die before, the guard knows of it.
 */
static void handle_hold(struct session *s, struct err *err, int *ret_error)
{
	if (s->is_held_at_exec) {
		s->is_held_at_exec = false;
		*ret_error = session_prepare_program(s, err);
	} else if (s->awaiting_hook) {
		*ret_error = session_finish_hook(s, err);
	}
	session_follow_mappings(s);
	probes_end_hold(s->probes);
}

/* Returns false when the target has ended. */
static bool follow_target(struct session *s, struct err *err, int *ret_error)
{
	enum target_event e;

	if (!s->target.launched && s->options.on_full == ON_FULL_WAIT &&
	    process_state(s->target.pid) == 'T' && session_is_hold_wanted(s)) {
		probes_end_hold(s->probes);
		kill(s->target.pid, SIGCONT);
	}
	while ((e = target_poll(&s->target)) != TARGET_NOTHING) {
		switch (e) {
		case TARGET_EXEC:
			session_drain_all(s);
			*ret_error = session_prepare_program(s, err);
			break;
		case TARGET_HELD:
			handle_hold(s, err, ret_error);
			break;
		case TARGET_EXITING:
			look_at_exit(s);
			break;
		case TARGET_ENDED:
			return false;
		case TARGET_NOTHING:
			break;
		}
		target_continue(&s->target);
		if (*ret_error)
			break;
	}
	return true;
}

static void read_signals(struct session *s)
{
	enum interrupt i = interrupts_read(&s->interrupts, s->target.launched);

	if (i == INTERRUPT_FIRST && s->options.on_interrupt)
		s->options.on_interrupt();
	if (i == INTERRUPT_STOP || i == INTERRUPT_ABANDON)
		s->wants_stop = true;
	s->is_abandoned |= i == INTERRUPT_ABANDON;
}

static void sample_rss(struct session *s)
{
	uint64_t rss = process_status_bytes(s->target.pid, "VmRSS");
	uint64_t peak = process_status_bytes(s->target.pid, "VmHWM");

	if (peak > s->peak_rss_bytes)
		s->peak_rss_bytes = peak;
	if (rss)
		store_writer_put_rss(s->writer, s->drain.space.id, clock_now_ns(), rss);
}

static int write_out(struct session *s, uint64_t now, struct err *err)
{
	if (now - s->last_flush_ns < FLUSH_NS)
		return 0;
	if (now - s->last_slow_ns >= SLOW_NS) {
		s->last_slow_ns = now;
		sample_rss(s);
		drain_write_slow(&s->drain);
		unwind_tables_put(s->code.tables, s->writer);
		s->losses_written = ~0ull; /* kinds that do not count are due as well */
	}
	if (s->losses != s->losses_written) { /* also if we die: never fewer than there were */
		s->losses_written = s->losses;
		losses_put(s->writer, s->probes, &s->drain);
	}
	drain_write_small(&s->drain);
	s->last_flush_ns = now;
	rotation_keep_below(&s->options.rotation, &s->file);
	return store_writer_flush(s->writer, err);
}

/* The next file, where it is time for one. */
static int begin_next_file(struct session *s, uint64_t now, struct err *err)
{
	if (!s->is_armed || !rotation_is_due(&s->options.rotation, s->armed_ns, now))
		return 0;
	drain_finish(&s->drain);
	losses_put(s->writer, s->probes, &s->drain);
	return rotation_turn(&s->options.rotation, &s->drain, &s->file, &s->path, err);
}

/* How long may we sleep?  The fuller the ring was last time, the shorter. */
static int sleep_ms(const struct session *s, uint64_t events, uint64_t now)
{
	int ms = events > DRAIN_EVENTS / 2 ? 1 : events ? 5 : 20;

	if (s->options.duration_ns && s->is_armed) {
		uint64_t end = s->armed_ns + s->options.duration_ns;

		if (now >= end)
			return 0;
		if ((end - now) / 1000000 < (uint64_t)ms)
			ms = (int)((end - now) / 1000000) + 1;
	}
	return ms;
}

/* What the ring gave, recorded or not. */
static uint64_t calls_seen(const struct session *s)
{
	return s->drain.counts.events + s->drain.small.alloc_calls + s->drain.small.free_calls;
}

/* Whoever the recording is for may have something to do, or want no more of it. */
static void tell_turn(struct session *s)
{
	const struct session_turn turn = {
		.writer = s->writer,
		.path = s->path,
		.pid = s->target.pid,
		.start_ns = s->start_ns,
		.last_ns = s->drain.last_ns,
		.counts = &s->drain.counts,
		.lost_events = s->losses,
	};

	if (s->options.on_turn && s->drain.last_ns)
		s->wants_stop |= s->options.on_turn(s->options.on_turn_arg, &turn);
}

static enum session_end loop(struct session *s, struct err *err, int *ret_error)
{
	struct pollfd fds[3] = {{.fd = s->interrupts.fd, .events = POLLIN},
				{.fd = s->target.pidfd, .events = POLLIN},
				{.fd = probes_wakeup_fd(s->probes), .events = POLLIN}};

	*ret_error = 0;
	for (;;) {
		uint64_t before = calls_seen(s), now = clock_now_ns();
		bool more;

		s->losses = losses_count(s->probes, &s->drain);
		probes_take_wakeup(s->probes);
		more = probes_drain(s->probes, DRAIN_EVENTS);
		tell_turn(s);
		session_follow_mappings(s);
		code_watch_mind(&s->code);
		session_settle(s);
		if (!follow_target(s, err, ret_error))
			return SESSION_TARGET_ENDED;
		look_if_due(s, now);
		if (!*ret_error)
			*ret_error = write_out(s, now, err);
		if (!*ret_error)
			*ret_error = begin_next_file(s, now, err);
		read_signals(s);
		if (*ret_error || s->wants_stop)
			return *ret_error ? SESSION_FAILED : SESSION_INTERRUPTED;
		if (s->options.duration_ns && s->is_armed &&
		    now >= s->armed_ns + s->options.duration_ns)
			return SESSION_DURATION_OVER;
		if (!more)
			poll(fds, 3, sleep_ms(s, calls_seen(s) - before, now));
	}
}

/* Takes everything off the target, and takes what is left in the ring. */
static void let_go(struct session *s, bool ended)
{
	probes_arm(s->probes, false);
	probes_hold_at_debug_hook(s->probes, false);
	probes_hold_at_exec(s->probes, false);
	s->end_ns = clock_now_ns();
	if (!ended) { /* else the guard takes them off when we are gone: nobody need wait */
		sample_rss(s);
		usleep(LAST_CALLS_US);
		probes_close(s->probes);
		target_release(&s->target);
		guard_end_holds(&s->guard, s->probes, s->target.pid);
		guard_stop(&s->guard);
		probes_detach(s->probes);
	}
	do /* nothing comes in any more: all of it, however large the ring is */
		s->losses = losses_count(s->probes, &s->drain);
	while (probes_drain(s->probes, DRAIN_EVENTS));
	tell_turn(s);
	session_note_no_allocator(s);
	user_probes_put(&s->user, s->writer, &s->warning);
	if (probes_counter(s->probes, COUNTER_MAIN_THREAD_GONE) && !s->warning)
		s->warning = xstrdup("the main thread ended before others: what those did "
				     "afterwards is not in the recording");
}

/* How it ended.  May be put once more, after a failure. */
static void put_end(struct session *s, bool ended)
{
	drain_end_space(&s->drain, ended ? "exit" : "detach", s->end_ns);
	drain_finish(&s->drain);
	losses_put(s->writer, s->probes, &s->drain);
	unwind_tables_put(s->code.tables, s->writer);
	store_writer_put_number(s->writer, "code_changes", probes_code_generation(s->probes));
	session_put_process(s, ended, s->end_ns);
	store_writer_put_number(s->writer, "end_ns", (int64_t)s->end_ns);
	store_writer_put_number(s->writer, "exited", ended);
	store_writer_put_number(s->writer, "events", (int64_t)s->drain.counts.events);
	store_writer_put_number(s->writer, "peak_rss_bytes", (int64_t)s->peak_rss_bytes);
}

/* All else is on the disk by now. */
static int write_names(struct session *s, struct err *err)
{
	if (!naming_run(&s->drain.sites) && !s->warning)
		s->warning = xstrdup("names of functions and files are missing: `heaptrail "
				     "symbolize` looks them up");
	return store_writer_flush(s->writer, err);
}

static int finish(struct session *s, bool ended, struct err *err)
{
	struct look_context c = look_context(s);
	int r;

	if (ended)
		looks_end(&s->options.looks, &c);
	else
		look(s, LOOK_AT_END);
	let_go(s, ended);
	drain_end_events(&s->drain); /* the summaries need the room */
	probes_end_ring(s->probes);
	malloc_trim(0);
	target_release(&s->target);
	put_end(s, ended);
	r = store_writer_flush(s->writer, err);
	call_sites_read_jit_names(&s->drain.sites);
	privileges_keep_writing(s->path);
	if (!r && !s->is_abandoned)
		r = write_names(s, err);
	if (r && store_writer_give_up_events(s->writer)) {
		put_end(s, ended);
		store_writer_flush(s->writer, NULL);
	}
	return r;
}

int session_run(struct session *s, struct session_result *ret, struct err *err)
{
	int r, finished;

	ret->end = loop(s, err, &r);
	if (r && s->user.is_refused) { /* before it began: nothing is left */
		target_kill(&s->target);
		session_undo_recording(s);
		return r;
	}
	if (r)
		store_writer_give_up_events(s->writer);
	finished = finish(s, ret->end == SESSION_TARGET_ENDED, r ? NULL : err);
	ret->wait_status = s->target.wait_status;
	ret->events = s->drain.counts.events;
	ret->small_alloc_calls = s->drain.small.alloc_calls;
	ret->lost_events = s->losses;
	ret->lost_in_ring = losses_in_ring(s->probes);
	ret->launched = s->target.launched;
	ret->abandoned = s->is_abandoned;
	ret->path = s->path;
	rotation_files(&s->options.rotation, &ret->files.n, &ret->files.removed);
	ret->only_callers = probes_stack_mode_reason(s->probes);
	ret->warning = s->warning;
	return r ? r : finished;
}

struct store_writer *session_writer(struct session *s)
{
	return s->writer;
}

int session_close(struct session *s, struct err *err)
{
	int r;

	if (!s)
		return 0;
	if (!s->target.ended) /* after a failed start: else it would hold the probes a while */
		guard_stop(&s->guard);
	before_release(&s->before);
	code_watch_release(&s->code);
	user_probes_release(&s->user);
	probes_free(s->probes);
	target_release(&s->target);
	if (s->drain.writer)
		drain_release(&s->drain);
	r = store_writer_close(s->writer, err);
	interrupts_end(&s->interrupts);
	rotation_release(&s->options.rotation);
	free(s->path);
	free(s->command);
	free(s->warning);
	free(s);
	return r;
}
