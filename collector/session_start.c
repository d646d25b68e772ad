/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/session_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/losses.h"
#include "collector/naming.h"
#include "collector/plan.h"
#include "collector/privileges.h"
#include "collector/process_facts.h"
#include "collector/refusal.h"
#include "collector/ring_backlog.h"
#include "common/clock.h"
#include "common/xalloc.h"

#define OUTPUT_DEFAULT "heaptrail.%c.%p.trail"
#define RING_BYTES_DEFAULT ((size_t)8 << 20)
/* After the probes' last wish for a stop, a stop is still theirs for so long. */
#define HOLD_MEMORY_NS 1000000000ull
/* An attached process that changed its program is looked at for so long. */
#define SETTLE_NS 5000000000ull
#define SETTLE_EVERY_NS 10000000ull
/* Calls of layers that were under way as we attached have so long to hand out their block. */
#define JUDGED_AFTER_NS 1000000000ull

/* ---- facts ---------------------------------------------------------------------------- */

void session_put_process(struct session *s, bool ended, uint64_t end_ns)
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
	session_put_process(s, false, 0);
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
void session_note_no_allocator(struct session *s)
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
	if (!r && *ret_found)
		put_plan(s, &plan);
	if (!r && *ret_found)
		r = user_probes_check(&s->user, s->target.pid, &maps, err);
	if (!r)
		begin_code_watch(s);
	if (s->options.walk_heap)
		before_note(&s->before, &plan, &maps);
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
int session_prepare_program(struct session *s, struct err *err)
{
	char *executable = process_executable(s->target.pid);
	bool found;
	int r = target_check_rights(&s->target, err);

	if (r) {
		free(executable);
		probes_close(s->probes); /* its calls are none of ours, from the first on */
		return r;
	}
	session_note_no_allocator(s); /* of the program before */
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
int session_finish_hook(struct session *s, struct err *err)
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
void session_follow_mappings(struct session *s)
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

void session_settle(struct session *s)
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
	for (size_t i = 0; i < s->options.looks.n; i++)
		s->drain.keeps_block_pages |= s->options.looks.of[i].needs_block_pages;
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
				   .mappings = n_mapping_families != 0,
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
bool session_is_hold_wanted(void *arg)
{
	struct session *s = arg;
	uint64_t now;

	session_drain_all(s); /* an exec may be in the ring */
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
	s->target.is_hold = session_is_hold_wanted;
	s->target.is_hold_arg = s;
	r = target_exec(&s->target, s->options.argv[0], err);
	if (r)
		return r;
	session_drain_all(s); /* the exec is in the ring: it opens the first space */
	s->is_held_at_exec = false;
	if (!s->drain.space.id.v)
		drain_begin_space(&s->drain, NULL, clock_now_ns());
	r = session_prepare_program(s, err);
	if (r)
		return r;
	probes_end_hold(s->probes);
	target_continue(&s->target);
	return 0;
}

struct beginning {
	struct session *session;
	struct ring_backlog backlog; /* what comes until the blocks from before are put */
	bool is_begun;
};

/* It stands still yet: nothing is in the ring. */
static void arm_it(void *beginning)
{
	struct beginning *b = beginning;

	arm(b->session);
	ring_backlog_begin(&b->backlog, b->session->probes);
	b->is_begun = true;
}

/* As in the loop that records: what is lost is known before what it makes doubtful. */
static void mind_backlog(void *session)
{
	struct session *s = session;
	uint64_t now = clock_now_ns();

	s->losses = losses_count(s->probes, &s->drain);
	if (now - s->last_flush_ns < FLUSH_NS)
		return;
	s->last_flush_ns = now;
	store_writer_flush(s->writer, NULL); /* that it failed is said by the next one */
}

/* The blocks from before are the first events: what comes meanwhile has to wait. */
static void begin_with_heap(struct session *s)
{
	uint64_t pause = s->options.max_pause_ns ? s->options.max_pause_ns : BEFORE_PAUSE_NS;
	struct beginning b = {.session = s};
	char *warning;

	before_take(&s->before, &s->target, pause, arm_it, &b);
	warning = before_put(&s->before, &s->drain);
	s->losses = losses_count(s->probes, &s->drain);
	if (b.is_begun)
		ring_backlog_end(&b.backlog, drain_take, &s->drain, mind_backlog, s);
	probes_set_sink(s->probes, drain_expect, drain_take, &s->drain);
	if (!s->warning)
		s->warning = warning;
	else
		free(warning);
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
	if (s->options.walk_heap)
		begin_with_heap(s);
	else
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

void session_undo_recording(struct session *s)
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
	session_undo_recording(s);
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
