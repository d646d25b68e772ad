/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/leak_options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/recording.h"
#include "cli/stack_view.h"
#include "collector/family.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/earlier.h"

const char leak_options_help[] =
	"usage: heaptrail leaks [OPTION...] FILE...\n"
	"       heaptrail leaks [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"       heaptrail leaks [OPTION...] -p PID -d TIME\n"
	"\n"
	"Shows the blocks that were never freed, by the call stack that allocated them:\n"
	"of a recording, of COMMAND when it has ended, or of what a running process\n"
	"allocates from now on.  They are called leaked where the exit of the process was\n"
	"seen, else unfreed.\n"
	"\n"
	"      --by KEY      stack (default), line, function, file or module\n"
	"      --growth      what grows instead, the steepest first: places whose live\n"
	"                    bytes rise as long as it was recorded, told from caches\n"
	"                    that fill, sawteeth and rhythms\n"
	"      --warmup TIME  with --growth: so much of the start does not count\n"
	"      --older TIME  only blocks that old, or older, at the end (10s, 5m)\n"
	"      --min-size SIZE  only blocks of so many bytes, or more (64, 4K)\n"
	"      --kinds LIST  only blocks that are definite, indirect, possible, reachable\n"
	"                    (with commas between), where that was looked at\n"
	"      --since TIME, --until TIME  only blocks that were allocated between these\n"
	"                    times since the recording began\n"
	"      --at TIME     what was live then: such as 90s, 1.5m, 250ms or 'peak'\n"
	"      --layer NAME  of an allocator of the program's own, see record --probe\n"
	"      --skip NAME   a wrapper: blocks are its callers' (a pattern as of the\n"
	"                    shell; may be given several times)\n"
	"      --suppressions FILE  do not show leaks that it names, in the syntax of\n"
	"                    LeakSanitizer or of valgrind; may be given several times\n"
	"      --no-default-suppressions  not those that are built in, nor those of\n"
	"                    ~/.config/heaptrail/suppressions\n"
	"      --gen-suppressions  print only suppressions, for all that would be shown\n"
	GATES_HELP
	"      --error-exit N  exit with status N if there are leaks (1 to 255)\n"
	"      --rows N      at most N records (default 20; 0: all)\n"
	"      --frames N    of a stack at most N lines (default 15; 0 or all: all)\n"
	"      --bytes       exact bytes instead of KiB and MiB\n"
	"  -w, --wide        do not shorten names to the width of the terminal\n"
	"      --no-symbolize  do not look up names that the recording lacks\n"
	"      --json[=FILE]  JSON, schema heaptrail-leaks/1; all records and frames.\n"
	"                    With FILE it is written there, beside the text\n"
	"      --sarif[=FILE]  the same as SARIF 2.1.0, for code scanning\n"
	"      --source-root DIR  files in SARIF are named from there (default: here)\n"
	"\n"
	"With COMMAND or PID:\n"
	"  -o, --output FILE  keep the recording; %p is the pid, %c the program's name\n"
	"      --force       overwrite a recording of that name\n"
	"  -p, --pid PID     attach to a running process; it is not stopped, but\n"
	"                    for --reachable and --walk-heap\n"
	"  -d, --duration TIME  record so long, then let go of it\n"
	"      --walk-heap   with -p: also the blocks that it has already, see `record`\n"
	"      --mmap        also what the program maps (--layer mmap)\n"
	"      --reachable   look at what points to each block: at the exit of COMMAND,\n"
	"                    or when the time is over.  Then they are definitely,\n"
	"                    indirectly or possibly lost, or still reachable, as\n"
	"                    valgrind's memcheck means it\n"
	"      --max-pause TIME  the process stands still for these, at most so long,\n"
	"                    or it is given up (default: 1s, at the exit any time; 50ms\n"
	"                    for --walk-heap)\n"
	"      --as-root     under sudo, run COMMAND as root\n"
	"The report of COMMAND goes to standard error.  Ctrl-C ends the recording of a\n"
	"PID; with COMMAND it goes to COMMAND, and a second one ends the recording.  The\n"
	"report is given in any case.\n"
	"\n"
	"ALLOCATED BY names the function that asked for a block: the innermost of its\n"
	"stack that is not the allocator, the C library, a language's runtime or a\n"
	"wrapper around malloc.\n"
	"\n"
	"Several FILEs are those of one recording with --every: they are read as one.\n"
	"\n"
	"Exit status: with COMMAND its own (128 + n if a signal ended it), 125 if\n"
	"recording failed, 126 or 127 if COMMAND could not be started; otherwise, and if\n"
	"COMMAND's is 0: 0, 1 if a condition of --fail-if is met; 2 usage; 3 without the\n"
	"rights; 4 if FILE is not a readable recording.  N of --error-exit goes before\n"
	"that of COMMAND.\n"
	"\n"
	"Examples:\n"
	"  heaptrail leaks server.trail\n"
	"  heaptrail leaks --error-exit 99 -- ./test\n"
	"  heaptrail leaks --growth -p \"$(pidof server)\" -d 60s\n"
	"  heaptrail leaks --older 30s -p \"$(pidof server)\" -d 60s\n";

enum { OPTION_ROWS = OPTION_FIRST_LONG, OPTION_FRAMES, OPTION_SKIP, OPTION_BYTES, OPTION_BY,
       OPTION_OLDER, OPTION_MIN_SIZE, OPTION_KINDS,
       OPTION_GEN_SUPPRESSIONS, OPTION_ERROR_EXIT, OPTION_NO_SYMBOLIZE, OPTION_JSON, OPTION_SARIF,
       OPTION_SOURCE_ROOT, OPTION_GROWTH, OPTION_WARMUP,
       OPTION_FORCE, OPTION_AS_ROOT };

static const struct option options[] = {
	{"by", required_argument, NULL, OPTION_BY},
	{"growth", no_argument, NULL, OPTION_GROWTH},
	{"warmup", required_argument, NULL, OPTION_WARMUP},
	{"older", required_argument, NULL, OPTION_OLDER},
	{"min-size", required_argument, NULL, OPTION_MIN_SIZE},
	{"kinds", required_argument, NULL, OPTION_KINDS},
	REACHABLE_OPTIONS,
	MEMORY_OPTIONS,
	{"rows", required_argument, NULL, OPTION_ROWS},
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"frames", required_argument, NULL, OPTION_FRAMES},
	{"bytes", no_argument, NULL, OPTION_BYTES},
	WHEN_OPTIONS,
	SUPPRESSION_OPTIONS,
	{"gen-suppressions", no_argument, NULL, OPTION_GEN_SUPPRESSIONS},
	GATES_OPTION,
	{"error-exit", required_argument, NULL, OPTION_ERROR_EXIT},
	{"no-symbolize", no_argument, NULL, OPTION_NO_SYMBOLIZE},
	{"wide", no_argument, NULL, 'w'},
	{"json", optional_argument, NULL, OPTION_JSON},
	{"sarif", optional_argument, NULL, OPTION_SARIF},
	{"source-root", required_argument, NULL, OPTION_SOURCE_ROOT},
	{"output", required_argument, NULL, 'o'},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"pid", required_argument, NULL, 'p'},
	{"duration", required_argument, NULL, 'd'},
	{"as-root", no_argument, NULL, OPTION_AS_ROOT},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static int parse_when(const struct command *c, struct leak_options *o, int option)
{
	if (!when_parse(&o->when, option, optarg))
		return usage_error(c, "'%s' is no time", optarg);
	if (option == OPTION_UNTIL)
		o->when.later_is_in = true;
	return 0;
}

/* What is to be recorded. */
static int parse_recording(const struct command *c, struct leak_options *o, int option)
{
	switch (option) {
	case OPTION_FORCE:
		o->session.overwrite = true;
		return 0;
	case OPTION_AS_ROOT:
		o->as_root = true;
		return 0;
	default:
		return recording_parse(c, &o->session, option);
	}
}

static int parse_kinds(const struct command *c, struct leak_options *o)
{
	const char *bad;
	int len;

	if (block_kinds_parse(optarg, &o->kinds, &bad, &len) && o->kinds)
		return 0;
	return usage_error(c, "--kinds are definite, indirect, possible and reachable, or all, "
			      "with commas between, not '%s'", optarg);
}

/* Which blocks are shown. */
static int parse_filter(const struct command *c, struct leak_options *o, int option)
{
	switch (option) {
	case OPTION_OLDER:
		if (!parse_duration(optarg, &o->older_ns))
			return usage_error(c, "'%s' is not an age such as 10s, 500ms or 5m",
					   optarg);
		return 0;
	case OPTION_MIN_SIZE:
		if (!parse_bytes(optarg, &o->min_size))
			return usage_error(c, "'%s' is not a size such as 64 or 4K", optarg);
		return 0;
	case OPTION_KINDS:
		return parse_kinds(c, o);
	case OPTION_SKIP:
		ARRAY_GROW(o->skip, o->cap_skip, o->n_skip);
		o->skip[o->n_skip++] = optarg;
		return 0;
	default:
		suppression_files_add(&o->suppressions, option, optarg);
		return 0;
	}
}

static int parse_growth(const struct command *c, struct leak_options *o, int option)
{
	o->growth |= option == OPTION_GROWTH;
	if (option == OPTION_WARMUP && !parse_duration(optarg, &o->warmup_ns))
		return usage_error(c, "'%s' is not a time such as 10s, 500ms or 5m", optarg);
	return 0;
}

/* What is written for machines. */
static int parse_format(struct leak_options *o, int option)
{
	if (option == OPTION_JSON) {
		o->json = true;
		o->json_path = optarg;
	} else if (option == OPTION_SARIF) {
		o->sarif = true;
		o->sarif_path = optarg;
	} else {
		o->source_root = optarg;
	}
	return 0;
}

static int parse_option(const struct command *c, struct leak_options *o, int option)
{
	uint64_t n;

	switch (option) {
	case OPTION_BY:
		if (rows_by_name(optarg, &o->by) && rows_group_key(o->by) == GROUP_STACK)
			return 0;
		return usage_error(c, "cannot report leaks by '%s'", optarg);
	case OPTION_ROWS:
		if (!parse_u64(optarg, UINT32_MAX, &o->rows))
			return usage_error(c, "'%s' is not a number of rows", optarg);
		return 0;
	case OPTION_FRAMES:
		if (!stack_view_parse_frames(optarg, &o->frames))
			return usage_error(c, "'%s' is not a number of frames", optarg);
		return 0;
	case OPTION_BYTES:
		o->bytes = true;
		return 0;
	case OPTION_GEN_SUPPRESSIONS:
		o->generate = true;
		return 0;
	case OPTION_FAIL_IF:
		return gates_add(&o->gates, optarg);
	case OPTION_ERROR_EXIT:
		if (!parse_u64(optarg, 255, &n) || !n)
			return usage_error(c, "--error-exit is a status from 1 to 255, not '%s'",
					   optarg);
		o->error_exit = (int)n;
		return 0;
	case OPTION_NO_SYMBOLIZE:
		o->no_symbolize = true;
		return 0;
	case 'w':
		o->wide = true;
		return 0;
	case OPTION_JSON:
	case OPTION_SARIF:
	case OPTION_SOURCE_ROOT:
		return parse_format(o, option);
	case OPTION_GROWTH:
	case OPTION_WARMUP:
		return parse_growth(c, o, option);
	case OPTION_OLDER:
	case OPTION_MIN_SIZE:
	case OPTION_KINDS:
	case OPTION_SKIP:
	case OPTION_SUPPRESSIONS:
	case OPTION_NO_DEFAULT_SUPPRESSIONS:
		return parse_filter(c, o, option);
	case OPTION_AT:
	case OPTION_SINCE:
	case OPTION_UNTIL:
	case OPTION_LAYER:
		return parse_when(c, o, option);
	case 'o':
	case 'p':
	case 'd':
	case OPTION_FORCE:
	case OPTION_AS_ROOT:
	case OPTION_REACHABLE:
	case OPTION_MAX_PAUSE:
	case OPTION_WALK_HEAP:
	case OPTION_MMAP:
		return parse_recording(c, o, option);
	default:
		o->done = true;
		return other_option(c, option);
	}
}

/* What does not go together. */
static int check(const struct command *c, const struct leak_options *o, bool has_at)
{
	const struct session_options *s = &o->session;

	if (!o->n_paths && !s->argv && !s->pid)
		return usage_error(c, "which recording?");
	if (!!o->n_paths + !!s->argv + !!s->pid > 1)
		return usage_error(c, "give one of these: a recording, -p PID, or -- COMMAND");
	if (o->n_paths && (s->output || s->overwrite || s->duration_ns || o->as_root))
		return usage_error(c, "-o, --force, -d and --as-root are for -p PID or "
				      "-- COMMAND");
	if (o->n_paths && (s->wants_reach || s->walk_heap || s->max_pause_ns || n_mapping_families))
		return usage_error(c, "--reachable, --walk-heap, --mmap and --max-pause are for -p "
				      "PID or -- COMMAND; of a recording that was made with them "
				      "all is known");
	if (recording_check(c, s))
		return ERR_USAGE;
	if (o->kinds && !o->n_paths && !s->wants_reach)
		return usage_error(c, "--kinds goes with --reachable");
	if (o->growth && o->kinds)
		return usage_error(c, "--growth is of all blocks: not with --kinds");
	if (o->warmup_ns && !o->growth)
		return usage_error(c, "--warmup is for --growth");
	if (o->growth && (o->older_ns || o->min_size || o->when.later_is_in))
		return usage_error(c, "--growth is of all blocks: not with --older, --min-size or "
				      "--until; --at ends it earlier");
	if (o->growth && (o->sarif || o->generate))
		return usage_error(c, "neither --sarif nor --gen-suppressions goes with --growth");
	if (has_at && o->when.later_is_in)
		return usage_error(c, "either --at or --until");
	if (o->sarif && o->by != ROWS_BY_STACK)
		return usage_error(c, "--sarif is of stacks");
	if (o->json && o->sarif && !o->json_path && !o->sarif_path)
		return usage_error(c, "give --json or --sarif a file");
	if (o->generate && (o->json || o->sarif || o->by != ROWS_BY_STACK))
		return usage_error(c, "--gen-suppressions is of stacks, and not with --json or "
				      "--sarif");
	return 0;
}

int leak_options_parse(const struct command *c, int argc, char **argv, struct leak_options *o)
{
	int option, status, n = 1;
	bool has_at = false;

	*o = (struct leak_options){.by = ROWS_BY_STACK, .rows = 20, .frames = STACK_VIEW_FRAMES};
	while (n < argc && strcmp(argv[n], "--"))
		n++;
	while ((option = getopt_long(n, argv, "wo:p:d:", options, NULL)) != -1) {
		has_at |= option == OPTION_AT;
		status = parse_option(c, o, option);
		if (status || o->done)
			return status;
	}
	o->paths = argv + optind;
	o->n_paths = (size_t)(n - optind);
	if (n < argc && n + 1 == argc)
		return usage_error(c, "which command?");
	if (n < argc)
		o->session.argv = argv + n + 1;
	return check(c, o, has_at);
}

void leak_options_release(struct leak_options *o)
{
	free(o->skip);
	store_earlier_close(o->when.earlier);
	suppression_files_release(&o->suppressions);
	gates_release(&o->gates);
}
