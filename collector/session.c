/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/session.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collector/code_watch.h"
#include "collector/drain.h"
#include "collector/guard.h"
#include "collector/interrupts.h"
#include "collector/losses.h"
#include "collector/naming.h"
#include "collector/plan.h"
#include "collector/privileges.h"
#include "collector/probes.h"
#include "collector/process_facts.h"
#include "collector/refusal.h"
#include "collector/stack_mode.h"
#include "collector/user_probes.h"
#include "common/clock.h"
#include "common/xalloc.h"

#define OUTPUT_DEFAULT "heaptrail.%c.%p.trail"
#define RING_BYTES_DEFAULT ((size_t)8 << 20)
#define FLUSH_NS 200000000ull
#define SLOW_NS 1000000000ull
/* Events taken at once, before signals and the target are looked at again. */
#define DRAIN_EVENTS 16384
/* After the probes' last wish for a stop, a stop is still theirs for so long. */
#define HOLD_MEMORY_NS 1000000000ull
/* An attached process that changed its program is looked at for so long. */
#define SETTLE_NS 5000000000ull
#define SETTLE_EVERY_NS 10000000ull

/* What was called before the probes were disarmed has so long to return. */
#define LAST_CALLS_US 10000
/* Calls of layers that were under way as we attached have so long to hand out their block. */
#define JUDGED_AFTER_NS 1000000000ull

struct session {
	struct session_options options;
	struct target target;
	struct probes *probes;
	struct store_writer *writer;
	struct store_writer_options file; /* of each */
	struct drain drain;
	struct code_watch code;
	char *path;
	char *command; /* JSON; later the process may be gone */
	char *warning;
	struct guard guard;
	struct interrupts interrupts;
	uint64_t start_ns, armed_ns, last_flush_ns, last_slow_ns;
	uint64_t end_ns;
	uint64_t losses, losses_written;
	uint64_t last_hold_ns;
	uint64_t settle_until_ns; /* attached, after an exec: look for the allocator … */
	uint64_t next_settle_ns;  /* … now and then */
	bool awaiting_hook;	  /* launched, after an exec: ld.so will stop at its hook */
	bool is_held_at_exec;	  /* launched, not traced: the probes have stopped it */
	bool is_armed;
	bool has_hook; /* ld.so is mapped */
	bool lacks_allocator; /* none is in the program that runs now */
	struct user_probes user;
	uint64_t peak_rss_bytes;
	bool wants_stop;
	bool is_abandoned; /* nobody wants the recording any more */
};

/* ---- facts ---------------------------------------------------------------------------- */

static void put_process(struct session *s, bool ended, uint64_t end_ns)
{
	if (!s->command)
		s->command = process_command(s->target.pid, s->options.argv);
	target_put(&s->target, s->writer, s->command, s->start_ns, ended, end_ns);
}

static void put_facts(struct session *s)
{
	char *recorder = process_identity();

	store_writer_put_text(s->writer, "recorder", recorder);
	free(recorder);
	s->start_ns = clock_now_ns();
	store_writer_put_text(s->writer, "engine", "uprobe");
	store_writer_put_text(s->writer, "version", PACKAGE_VERSION);
	store_writer_put_text(s->writer, "mode", s->target.launched ? "launch" : "attach");
	if (s->target.launched)
		store_writer_put_text(s->writer, "stops", s->target.traced ? "ptrace" : "signals");
	store_writer_put_number(s->writer, "pid", s->target.pid);
	store_writer_put_number(s->writer, "start_ns", (int64_t)s->start_ns);
	store_writer_put_number(s->writer, "start_realtime_ns", (int64_t)clock_realtime_ns());
	store_writer_put_number(s->writer, "ring_bytes", (int64_t)s->options.ring_bytes);
	process_put_system(s->writer);
	families_put(s->writer);
	put_process(s, false, 0);
}

static void put_plan(struct session *s, const struct plan *plan)
{
	plan_put(plan, s->writer);
	if (plan->other_allocator) {
		free(s->warning);
		s->warning = xasprintf("'%s' takes malloc's place in this process, and is not "
				       "known: its blocks are not in the recording",
				       plan->other_allocator);
	}
}

/* ---- attaching ------------------------------------------------------------------------ */

/* The program that runs, or ran, has no allocator that is known: nothing of it is recorded. */
static void note_no_allocator(struct session *s)
{
	const char *program = s->drain.space.executable ? s->drain.space.executable : "?";

	if (!s->lacks_allocator || s->warning)
		return;
	store_writer_put_text(s->writer, "no_allocator", program);
	s->warning = xasprintf("no allocator was found in '%s' (is it stripped and statically "
			       "linked, or 32-bit?): nothing of it is recorded", program);
}

static void begin_code_watch(struct session *s)
{
	int r = code_watch_begin(&s->code);

	if (!r)
		return;
	store_writer_put_text(s->writer, "unwind_error", strerror(-r));
	if (!s->warning)
		s->warning = xasprintf("the code of process %d could not be listed (%s): stacks "
				       "are cut off", (int)s->target.pid, strerror(-r));
}

/* Puts probes on all that the target's mappings show.  @ret_found: an allocator is among it. */
static int attach_to_maps(struct session *s, bool *ret_found, struct err *err)
{
	struct process_maps maps;
	struct plan plan;
	int r;

	r = process_maps_read(s->target.pid, &maps, err);
	if (r)
		return r;
	plan_make(s->target.pid, &maps, &plan);
	s->has_hook = plan_has_hook(&plan);
	*ret_found = user_probes_are_in_place(&s->user, &plan);
	s->lacks_allocator = !*ret_found;
	usable_learn(&s->drain.usable, &plan);
	r = probes_attach(s->probes, &plan, err);
	guard_keep(&s->guard, s->probes);
	if (!r && *ret_found) {
		put_plan(s, &plan);
		r = user_probes_check(&s->user, s->target.pid, &maps, err);
	}
	if (!r)
		begin_code_watch(s);
	plan_release(&plan);
	process_maps_release(&maps);
	return r;
}

static void arm(struct session *s)
{
	call_sites_begin_recording(&s->drain.sites);
	if (s->is_armed)
		return;
	probes_arm(s->probes, true);
	s->is_armed = true;
	s->armed_ns = clock_now_ns();
	store_writer_put_number(s->writer, "armed_ns", (int64_t)s->armed_ns);
	if (!s->target.launched)
		s->drain.judged_from_ns = s->armed_ns + JUDGED_AFTER_NS;
}

/*
 * The target has just got a new program.  ld.so will stop at its hook, with all
 * libraries mapped and before any of their code runs; a static program has its
 * allocator already.
 */
static int prepare_program(struct session *s, struct err *err)
{
	char *executable = process_executable(s->target.pid);
	bool found;
	int r = target_check_rights(&s->target, err);

	if (r) {
		free(executable);
		probes_close(s->probes); /* its calls are none of ours, from the first on */
		return r;
	}
	note_no_allocator(s); /* of the program before */
	user_probes_begin_program(&s->user);
	free((char *)s->drain.space.executable);
	s->drain.space.executable = executable;
	store_writer_put_space(s->writer, &s->drain.space);
	r = attach_to_maps(s, &found, err);
	if (r)
		return r;
	if (found)
		arm(s);
	s->awaiting_hook = !found && s->has_hook;
	probes_hold_at_debug_hook(s->probes, s->awaiting_hook);
	return 0;
}

/* ld.so stands at its hook. */
static int finish_hook(struct session *s, struct err *err)
{
	bool found;
	int r;

	s->awaiting_hook = false;
	s->user.hook_calls++;
	probes_hold_at_debug_hook(s->probes, false);
	r = attach_to_maps(s, &found, err);
	if (r)
		return r;
	if (found) {
		arm(s);
		return 0;
	}
	/* the hook is called once before the libraries are mapped: wait for the next time */
	s->awaiting_hook = true;
	probes_hold_at_debug_hook(s->probes, true);
	return 0;
}

static void after_maps(void *arg)
{
	struct session *s = arg;

	if (!s->is_armed)
		return;
	code_watch_mark(&s->code);
	s->user.maps_changed = true;
}

/* A library has come for which the user has probes, before its code runs; or a child. */
static void follow_mappings(struct session *s)
{
	bool found;

	probes_sweep(s->probes);
	if (!s->awaiting_hook && user_probes_take_change(&s->user))
		attach_to_maps(s, &found, NULL);
}

static void after_exec(void *arg)
{
	struct session *s = arg;

	if (!s->target.launched) /* nothing stops it: look until the new program is in place */
		s->settle_until_ns = clock_now_ns() + SETTLE_NS;
	else if (!s->target.traced)
		s->is_held_at_exec = true;
}

static void settle(struct session *s)
{
	uint64_t now = clock_now_ns();
	bool found;

	if (!s->settle_until_ns || now < s->next_settle_ns)
		return;
	s->next_settle_ns = now + SETTLE_EVERY_NS;
	if (target_check_rights(&s->target, NULL) < 0) {
		probes_close(s->probes);
		s->wants_stop = true;
		free(s->warning);
		s->warning = xstrdup("the process became one with rights of its own (setuid): the "
				     "recording ends there");
	} else if (now > s->settle_until_ns || attach_to_maps(s, &found, NULL) < 0) {
		s->settle_until_ns = 0;
	} else if (found) {
		s->settle_until_ns = 0;
		call_sites_begin_recording(&s->drain.sites);
		free((char *)s->drain.space.executable);
		s->drain.space.executable = process_executable(s->target.pid);
		store_writer_put_space(s->writer, &s->drain.space);
	}
}

/* ---- the drain ------------------------------------------------------------------------ */

/* Empties the ring, with a bound: a target that never rests must not hold us here. */
static void drain_all(struct session *s)
{
	for (int i = 0; i < 64; i++) {
		s->losses = losses_count(s->probes, &s->drain);
		if (!probes_drain(s->probes, DRAIN_EVENTS))
			break;
	}
}

/* ---- starting ------------------------------------------------------------------------- */

static int open_target(struct session *s, struct err *err)
{
	const struct session_options *o = &s->options;

	if (!o->argv)
		return target_attach(&s->target, o->pid, err);
	return target_launch(&s->target,
			     &(struct target_launch_options){.argv = o->argv,
							     .identity = o->identity,
							     .allow_trace = !o->no_ptrace,
							     .mask = &s->interrupts.old_mask,
							     .one_output = o->keeper},
			     err);
}

static int open_recording(struct session *s, struct err *err)
{
	const struct target_identity *id = &s->options.identity;
	int r;

	s->file = (struct store_writer_options){.overwrite = s->options.overwrite,
						.uid = id->change ? id->uid : geteuid(),
						.gid = id->change ? id->gid : getegid(),
						.max_size = s->options.max_size};
	s->path = rotation_begin(&s->options.rotation,
				 process_output_path(s->options.output ? s->options.output
								       : OUTPUT_DEFAULT,
						     s->target.pid, s->options.argv));
	r = store_writer_create(s->path, &s->file, &s->writer, err);
	if (r) {
		refusal_explain(REFUSED_OUTPUT, -r, err);
		return r;
	}
	drain_init(&s->drain, s->writer, s->target.pid);
	s->drain.observer = s->options.observer;
	s->drain.losses_so_far = &s->losses;
	drain_set_min_size(&s->drain, s->options.min_size);
	naming_begin(&s->drain.sites, s->options.linkage_names, s->options.on_names);
	s->drain.on_exec = after_exec;
	s->drain.on_maps = after_maps;
	s->drain.on_arg = s;
	put_facts(s);
	rotation_put_facts(&s->options.rotation, s->writer);
	rotation_keep_user(&s->options.rotation, &s->options.identity);
	return 0;
}

static int load(struct session *s, struct err *err)
{
	bool wait = s->options.on_full == ON_FULL_WAIT ||
		    (s->options.on_full == ON_FULL_DEFAULT && s->target.launched);
	struct probes_options o = {.pid = s->target.pid,
				   .wait_when_full = wait,
				   .stop_at_libraries = user_probes_may_come(s->options.probes),
				   .verbose = s->options.verbose,
				   .stack_mode = s->options.stack_mode,
				   .free_stacks = s->options.free_stacks,
				   .ring_bytes = s->options.ring_bytes};
	int r = probes_load(&o, &s->probes, err);

	if (r)
		return r;
	probes_set_sink(s->probes, drain_expect, drain_take, &s->drain);
	code_watch_init(&s->code, s->probes, &s->drain);
	user_probes_init(&s->user, s->options.probes, s->target.launched, s->probes);
	probes_put_facts(s->probes, s->writer);
	return 0;
}

/*
 * Have the probes asked for a stop, just now or a moment ago?  Several threads may
 * each have asked for one, and the last of them comes late.
 */
static bool is_hold_wanted(void *arg)
{
	struct session *s = arg;
	uint64_t now;

	drain_all(s); /* an exec may be in the ring */
	now = clock_now_ns();
	if (s->awaiting_hook || s->is_held_at_exec)
		return true;
	if (probes_is_held(s->probes))
		s->last_hold_ns = now;
	return s->last_hold_ns && now - s->last_hold_ns < HOLD_MEMORY_NS;
}

static int begin_launched(struct session *s, struct err *err)
{
	int r;

	probes_hold_at_exec(s->probes, !s->target.traced);
	s->target.is_hold = is_hold_wanted;
	s->target.is_hold_arg = s;
	r = target_exec(&s->target, s->options.argv[0], err);
	if (r)
		return r;
	drain_all(s); /* the exec is in the ring: it opens the first space */
	s->is_held_at_exec = false;
	if (!s->drain.space.id.v)
		drain_begin_space(&s->drain, NULL, clock_now_ns());
	r = prepare_program(s, err);
	if (r)
		return r;
	probes_end_hold(s->probes);
	target_continue(&s->target);
	return 0;
}

static int begin_attached(struct session *s, struct err *err)
{
	char *executable = process_executable(s->target.pid);
	bool found;
	int r;

	drain_begin_space(&s->drain, executable, clock_now_ns());
	free(executable);
	r = attach_to_maps(s, &found, err);
	if (r)
		return r;
	if (!found)
		return plan_explain_no_allocator(s->target.pid, err);
	arm(s);
	return 0;
}

/* Until this is on the disk there is no recording: it is removed where it fails. */
static int write_beginning(struct session *s, struct err *err)
{
	int r = store_writer_flush(s->writer, err);

	if (r == -ENOSPC || r == -EDQUOT) {
		r = err_set(err, ERR_FAILED, -r, "cannot create '%s'", s->path);
		err_hint(err, "make room, or record to another place with -o");
	}
	return r;
}

static void undo_recording(struct session *s)
{
	if (!s->writer)
		return;
	store_writer_close(s->writer, NULL);
	unlink(s->path);
	s->writer = NULL;
}

/* Nothing was recorded: what was begun is undone, and no file left behind. */
static void give_up_start(struct session *s, struct err *err)
{
	target_explain_end(&s->target, err);
	target_kill(&s->target);
	if (s->guard.pid && !s->target.launched) { /* the ring may have filled meanwhile */
		probes_give_up(s->probes);
		usleep(LAST_CALLS_US);
		guard_end_holds(&s->guard, s->probes, s->target.pid);
	}
	undo_recording(s);
	session_close(s, NULL);
}

int session_start(const struct session_options *options, struct session **ret, struct err *err)
{
	struct session *s = xcalloc(1, sizeof(*s));
	int r;

	s->options = *options;
	if (!s->options.ring_bytes)
		s->options.ring_bytes = RING_BYTES_DEFAULT;
	s->target.gate = s->target.exec_error = s->target.pidfd = -1;
	r = interrupts_begin(&s->interrupts, options->keeper, err);
	if (!r)
		r = open_target(s, err);
	if (!r)
		r = privileges_begin(err);
	if (!r)
		r = open_recording(s, err);
	if (!r)
		r = load(s, err);
	if (!r)
		privileges_keep_recording(s->path);
	if (!r)
		r = guard_start(&s->guard, s->probes, s->target.pid, err);
	if (!r)
		r = s->target.launched ? begin_launched(s, err) : begin_attached(s, err);
	if (!r)
		r = write_beginning(s, err);
	if (!r) {
		*ret = s;
		return 0;
	}
	give_up_start(s, err);
	return r;
}

/* ---- running -------------------------------------------------------------------------- */

static void sample_rss(struct session *s)
{
	process_put_rss(s->target.pid, s->drain.space.id, s->writer, &s->peak_rss_bytes);
}

/* Its exit stop: the last look at its memory. */
static void look_at_exit(struct session *s)
{
	sample_rss(s);
	drain_all(s);
	call_sites_read_maps(&s->drain.sites, clock_now_ns());
}

/*
 * It stands still, at the probes' wish.  What they wished is forgotten just before
 * the target goes on: if we die before, the guard knows of it.
 */
static void handle_hold(struct session *s, struct err *err, int *ret_error)
{
	if (s->is_held_at_exec) {
		s->is_held_at_exec = false;
		*ret_error = prepare_program(s, err);
	} else if (s->awaiting_hook) {
		*ret_error = finish_hook(s, err);
	}
	follow_mappings(s);
	probes_end_hold(s->probes);
}

/* Returns false when the target has ended. */
static bool follow_target(struct session *s, struct err *err, int *ret_error)
{
	enum target_event e;

	if (!s->target.launched && s->options.on_full == ON_FULL_WAIT &&
	    process_state(s->target.pid) == 'T' && is_hold_wanted(s)) {
		probes_end_hold(s->probes);
		kill(s->target.pid, SIGCONT);
	}
	while ((e = target_poll(&s->target)) != TARGET_NOTHING) {
		switch (e) {
		case TARGET_EXEC:
			drain_all(s);
			*ret_error = prepare_program(s, err);
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

/* Whoever the recording is for may have something to do, or want no more of it. */
static void tell_turn(struct session *s)
{
	const struct session_turn turn = {s->writer, s->path, s->target.pid, s->start_ns,
					  s->drain.last_ns, &s->drain.counts, s->losses};

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
		uint64_t before = drain_calls_seen(&s->drain), now = clock_now_ns();
		bool more;

		s->losses = losses_count(s->probes, &s->drain);
		probes_take_wakeup(s->probes);
		more = probes_drain(s->probes, DRAIN_EVENTS);
		tell_turn(s);
		follow_mappings(s);
		code_watch_mind(&s->code);
		settle(s);
		if (!follow_target(s, err, ret_error))
			return SESSION_TARGET_ENDED;
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
			poll(fds, 3, sleep_ms(s, drain_calls_seen(&s->drain) - before, now));
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
	note_no_allocator(s);
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
	put_process(s, ended, s->end_ns);
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
	int r;

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
		undo_recording(s);
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
