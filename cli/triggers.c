/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/triggers.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/marks.h"
#include "cli/gates.h"
#include "common/format.h"
#include "common/xalloc.h"

/* ---- the command line ----------------------------------------------------------------- */

/* "exec CMD" in one word, or CMD in the next. */
static const char *parse_command(const char *action, int argc, char **argv)
{
	if (action[4])
		return action[5 + strspn(action + 5, " ")] ? action + 5 : NULL;
	return optind < argc && strcmp(argv[optind], "--") ? argv[optind++] : NULL;
}

static int parse_action(const struct command *c, struct trigger *t, int argc, char **argv)
{
	const char *action = optind < argc ? argv[optind] : "";

	if (!strcmp(action, "mark")) {
		t->action = TRIGGER_MARK;
	} else if (!strcmp(action, "stop")) {
		t->action = TRIGGER_STOP;
	} else if (!strcmp(action, "exec") || !strncmp(action, "exec ", 5)) {
		optind++;
		t->action = TRIGGER_EXEC;
		t->command = parse_command(action, argc, argv);
		if (!t->command)
			return usage_error(c, "--when '%s' exec: which command?", t->gate.text);
		return 0;
	} else {
		return usage_error(c, "after --when '%s' comes 'mark', 'stop' or "
				      "'exec COMMAND'%s%s%s", t->gate.text,
				   *action ? ", not '" : "", action, *action ? "'" : "");
	}
	optind++;
	return 0;
}

int triggers_parse(const struct command *c, struct triggers *t, int argc, char **argv)
{
	struct trigger trigger = {0};
	struct err err;
	int status;

	if (gate_parse(optarg, &trigger.gate, &err) < 0)
		return print_error(&err);
	if (trigger.gate.metric <= GATE_REACHABLE || trigger.gate.metric == GATE_GROWTH)
		return usage_error(c, "--when '%s': what is leaked or grows is known at the end "
				      "only; 'live' is known before", optarg);
	status = parse_action(c, &trigger, argc, argv);
	if (status)
		return status;
	ARRAY_GROW(t->items, t->cap, t->n);
	t->items[t->n++] = trigger;
	return 0;
}

int triggers_start(struct triggers *t, const struct target_identity *id)
{
	bool runs_commands = false;
	struct err err;

	for (size_t i = 0; i < t->n; i++)
		runs_commands |= t->items[i].action == TRIGGER_EXEC;
	if (runs_commands && trigger_commands_start(&t->commands, id, &err) < 0)
		return print_error(&err);
	return 0;
}

void triggers_release(struct triggers *t)
{
	trigger_commands_stop(&t->commands);
	free(t->items);
	memset(t, 0, sizeof(*t));
}

/* ---- while it is recorded ------------------------------------------------------------- */

static struct gate_range exact(uint64_t n)
{
	return (struct gate_range){(long double)n, (long double)n, (long double)n};
}

/* As --fail-if has them; a peak since the last turn was live, too, however briefly. */
static struct gate_values values_of(const struct triggers *t, enum gate_metric metric,
				    const struct session_turn *turn)
{
	const struct heap_totals *sums = &t->totals->sums.totals;
	bool is_peak = t->totals->peaks != t->peaks_seen;
	struct gate_values v = {.whole = exact(t->totals->sums.free_calls)};

	switch (metric) {
	case GATE_LEAKED:
	case GATE_DEFINITE:
	case GATE_INDIRECT:
	case GATE_POSSIBLE:
	case GATE_REACHABLE:
	case GATE_LIVE:
	case GATE_GROWTH:
		v.whole = exact(sums->allocated_bytes);
		v.whole_is_bytes = true;
		v.count = exact(is_peak ? sums->peak_blocks : t->totals->live_blocks);
		v.bytes = exact(is_peak ? sums->peak_bytes : t->totals->live_bytes);
		break;
	case GATE_PEAK:
		v.count = exact(sums->peak_blocks);
		v.bytes = exact(sums->peak_bytes);
		break;
	case GATE_TEMPORARY:
		v.whole = exact(sums->alloc_calls);
		v.count = exact(sums->temporary_allocs);
		break;
	case GATE_ALLOCS:
		v.count = exact(sums->alloc_calls);
		v.bytes = exact(sums->allocated_bytes);
		break;
	case GATE_MISMATCHED:
		v.count = exact(turn->counts->mismatched_frees);
		break;
	case GATE_DOUBLE_FREES:
		v.count = exact(turn->counts->double_frees);
		break;
	case GATE_LOST:
	case GATE_METRICS:
		v.whole = exact(turn->counts->events + turn->lost_events);
		v.count = exact(turn->lost_events);
		break;
	}
	return v;
}

static bool run_command(struct triggers *t, const struct trigger *x, long double value,
			const struct session_turn *turn)
{
	char *environment[] = {
		xasprintf("HEAPTRAIL_PID=%d", (int)turn->pid),
		xasprintf("HEAPTRAIL_FILE=%s", turn->path),
		xasprintf("HEAPTRAIL_CONDITION=%s", x->gate.text),
		xasprintf(x->gate.unit == GATE_COUNT || x->gate.unit == GATE_BYTES ? "%s%.0Lf"
										     : "%s%.4Lf",
			  "HEAPTRAIL_VALUE=", value),
		xasprintf("HEAPTRAIL_TIME_NS=%" PRIu64, turn->last_ns - turn->start_ns),
		NULL,
	};
	bool is_run = trigger_commands_run(&t->commands, x->command, environment);

	for (size_t i = 0; environment[i]; i++)
		free(environment[i]);
	return is_run;
}

/* Returns whether the recording is to end. */
static bool fire(struct triggers *t, const struct trigger *x, long double value,
		 const struct session_turn *turn)
{
	static const char *const done[] = {
		[TRIGGER_MARK] = "", [TRIGGER_STOP] = "; recording stopped",
		[TRIGGER_EXEC] = "; command started",
	};
	char *is = gates_describe_value(&x->gate, value), *text, at[FORMAT_MAX];
	const char *what = done[x->action];

	if (x->action == TRIGGER_EXEC && !run_command(t, x, value, turn))
		what = "; the command could not be started";
	text = xasprintf("'%s': %s%s", x->gate.text, is, what);
	if (t->marks < MARKS_MAX)
		mark_put(turn->writer, ++t->marks, turn->last_ns, text);
	if (!t->quiet || (x->action == TRIGGER_EXEC && what != done[x->action]))
		say("at %s: %s", format_duration(at, turn->last_ns > turn->start_ns
							     ? turn->last_ns - turn->start_ns : 0),
		    text);
	free(text);
	free(is);
	return x->action == TRIGGER_STOP;
}

bool triggers_turn(void *triggers, const struct session_turn *turn)
{
	struct triggers *t = triggers;
	bool is_over = false;

	for (size_t i = 0; i < t->n; i++) {
		struct trigger *x = &t->items[i];
		struct gate_values v = values_of(t, x->gate.metric, turn);
		long double value = gate_range(&x->gate, &v).value;

		if (gate_crosses(&x->gate, value, &x->is_beyond))
			is_over |= fire(t, x, value, turn);
	}
	t->peaks_seen = t->totals->peaks;
	return is_over;
}
