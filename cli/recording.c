/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/recording.h"

#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/checkpoints.h"
#include "cli/progress.h"
#include "cli/rotated.h"
#include "cli/summary.h"
#include "collector/family.h"
#include "collector/refusal.h"
#include "common/format.h"
#include "common/xalloc.h"

#define PAUSE_MIN_NS 1000000ull
#define PAUSE_MAX_NS 60000000000ull

void recording_say_end(const struct recording_end *end)
{
	const struct session_result *r = &end->result;
	char events[FORMAT_MAX], bytes[FORMAT_MAX], lost[FORMAT_MAX], path[4096];
	char held[FORMAT_MAX];

	format_safe(path, sizeof(path), r->path);
	say("recorded %s events in '%s' (%s), %s lost", format_count(events, r->events), path,
	    format_bytes(bytes, store_bytes_on_disk(r->path)), format_count(lost, r->lost_events));
	if (end->dropped)
		say("dropped the oldest %s of them (--max-size); totals are exact",
		    format_count(events, end->dropped));
	if (r->files.n > 1)
		say("in %u files, of which it is the last, with the totals of all", r->files.n);
	if (r->files.removed)
		say("removed the oldest %u of these (--max-size)", r->files.removed);
	if (r->small_alloc_calls)
		say("counted %s allocations below --min-size, which are not recorded",
		    format_count(events, r->small_alloc_calls));
	if (r->lost_events)
		say("warning: numbers made from this recording are incomplete; %s",
		    r->lost_in_ring ? "a larger --ring-size or --on-full=wait prevents that"
				    : "'heaptrail info' says what is missing, and why");
	if (r->only_callers)
		say("warning: only callers were recorded, no stacks: %s", r->only_callers);
	if (r->warning)
		say("warning: %s", r->warning);
	if (end->held_ns)
		say("the process stood still for %s, to look at what points to its blocks",
		    format_duration(held, end->held_ns));
	if (!r->events && !r->small_alloc_calls)
		say("note: no heap event was seen");
}

/* The recorded command's own status, where there is one. */
static int command_status(const struct session_result *r)
{
	if (!r->launched || r->end != SESSION_TARGET_ENDED)
		return 0;
	if (WIFSIGNALED(r->wait_status))
		return 128 + WTERMSIG(r->wait_status);
	return WEXITSTATUS(r->wait_status);
}

static int fail(const struct session_options *o, int errnum, struct err *e)
{
	int status;

	refusal_explain(REFUSED_OUTPUT, errnum, e);
	status = print_error(e);
	if (o->argv && status != ERR_NOT_FOUND && status != ERR_NOT_EXECUTABLE)
		status = ERR_FAILED;
	return status;
}

static void say_it_goes_on(void)
{
	say("recording until the command ends; interrupt again to stop recording and let it "
	    "run on");
}

static void say_no_next_file(const struct err *e)
{
	say("warning: %s; recording goes on in the file before", e->what);
}

static void say_bound_is_too_small(uint64_t state_bytes, uint64_t max_size)
{
	char state[FORMAT_MAX], max[FORMAT_MAX];

	say("warning: --max-size %s is too small for this process: the state of its heap alone "
	    "takes %s; as little as can be is kept besides", format_bytes(max, max_size),
	    format_bytes(state, state_bytes));
}

/*
 * Buffers come and go as large as they are: among the small blocks they would leave
 * holes, and the recorder would grow for hours.
 */
#define LARGE_BLOCK_BYTES (128 * 1024)

int recording_parse(const struct command *c, struct session_options *o, int option)
{
	uint64_t n;

	if (option == 'o') {
		o->output = optarg;
	} else if (option == 'p') {
		if (!parse_u64(optarg, INT_MAX, &n) || !n)
			return usage_error(c, "'%s' is not a process id", optarg);
		o->pid = (pid_t)n;
	} else if (option == OPTION_REACHABLE) {
		o->wants_reach = true;
	} else if (option == OPTION_WALK_HEAP) {
		o->walk_heap = true;
	} else if (option == OPTION_MMAP) {
		families_set_mappings(true);
	} else if (option == OPTION_MAX_PAUSE) {
		if (!parse_duration(optarg, &o->max_pause_ns) || o->max_pause_ns < PAUSE_MIN_NS ||
		    o->max_pause_ns > PAUSE_MAX_NS)
			return usage_error(c, "--max-pause is a time from 1ms to 1m, not '%s'",
					   optarg);
	} else if (!parse_duration(optarg, &o->duration_ns) || !o->duration_ns) {
		return usage_error(c, "'%s' is not a duration such as 10s, 500ms or 5m", optarg);
	}
	return 0;
}

int recording_check(const struct command *c, const struct session_options *o)
{
	if (o->walk_heap && !o->pid)
		return usage_error(c, "--walk-heap is for running processes (-p): of a command "
				      "all blocks are recorded");
	if (o->max_pause_ns && !o->walk_heap && !o->wants_reach)
		return usage_error(c, "--max-pause goes with --walk-heap or --reachable");
	return 0;
}

static void begin_look(struct session_options *o)
{
	struct look_observer reach;

	o->reach.max_pause_ns = o->max_pause_ns;
	reach = reach_look_observer(&o->reach);
	if (o->wants_reach)
		looks_add(&o->looks, &reach);
}

int recording_make(struct session_options *o, struct triggers *triggers, bool quiet,
		   struct recording_end *ret)
{
	struct checkpoints sums;
	struct session *session;
	struct analysis all;
	struct err err;
	int status, r, close_r;

	memset(ret, 0, sizeof(*ret));
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
	o->on_interrupt = quiet ? NULL : say_it_goes_on;
	o->on_names = quiet ? NULL : progress_names;
	rotated_begin(&o->identity);
	o->rotation.on_closed = rotated_complete;
	o->rotation.on_failure = say_no_next_file;
	checkpoints_init(&sums);
	sums.bound.max_size = o->max_size;
	sums.bound.on_too_small = quiet ? NULL : say_bound_is_too_small;
	o->observer = checkpoints_observer(&sums);
	begin_look(o);
	if (triggers && triggers->n) {
		triggers->totals = &sums.totals;
		triggers->quiet = quiet;
		o->on_turn = triggers_turn;
		o->on_turn_arg = triggers;
	}
	r = session_start(o, &session, &err);
	if (r < 0) {
		checkpoints_release(&sums);
		return fail(o, -r, &err);
	}
	if (!quiet && o->pid)
		say("recording process %d%s; Ctrl-C stops", (int)o->pid,
		    o->duration_ns ? " for the time given" : "");
	ret->result.path = "";
	r = session_run(session, &ret->result, &err);
	progress_end();
	if (r >= 0 && o->wants_reach && !ret->result.abandoned)
		ret->lacks_look = !reach_look_put(&o->reach, session_writer(session));
	reach_look_release(&o->reach);
	ret->held_ns = o->reach.held_ns;
	totals_get(&sums.totals, GROUP_STACK, NULL, &all);
	if (r >= 0 && !ret->result.abandoned)
		r = summary_write(session_writer(session), ret->result.path, &all, &err);
	if (r >= 0 && !ret->result.abandoned)
		store_writer_seal(session_writer(session));
	status = r < 0 ? fail(o, -r, &err) : command_status(&ret->result);
	ret->dropped = sums.bound.base.before.events;
	checkpoints_release(&sums);
	/* the size and the name to print are those of the closed file */
	ret->result.path = xstrdup(ret->result.path);
	ret->result.warning = ret->result.warning ? xstrdup(ret->result.warning) : NULL;
	close_r = session_close(session, &err);
	if (close_r < 0 && r >= 0)
		status = fail(o, -close_r, &err);
	rotated_wait();
	ret->is_there = r >= 0;
	return status;
}

void recording_release(struct recording_end *end)
{
	free((char *)end->result.path);
	free((char *)end->result.warning);
	memset(end, 0, sizeof(*end));
}
