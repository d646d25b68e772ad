/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/bound.h"
#include "cli/gates.h"
#include "cli/invoker.h"
#include "cli/probes.h"
#include "cli/recording.h"
#include "cli/snapshots.h"
#include "cli/suppression_files.h"
#include "cli/triggers.h"
#include "collector/pairing.h"
#include "collector/session.h"
#include "common/format.h"

#define EVERY_MIN_NS 1000000000ull

static const char help[] =
	"usage: heaptrail record [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"       heaptrail record [OPTION...] -p PID\n"
	"\n"
	"Records the heap events of a process: of COMMAND from its first allocation to\n"
	"its exit, or of a running process from now on.\n"
	"\n"
	"  -o, --output FILE     the recording; %p is the pid, %c the program's name\n"
	"                        (default: heaptrail.%c.%p.trail)\n"
	"      --force           overwrite a recording of that name\n"
	"  -p, --pid PID         attach to a running process; it is not stopped\n"
	"      --walk-heap       with -p: also record the blocks that are there already\n"
	"                        (glibc's malloc); for that the process is stopped once,\n"
	"                        for --max-pause at most (50ms), or it is given up\n"
	"  -d, --duration TIME   record so long (10s, 5m, 1h), then let go of it\n"
	"      --reachable       at the end, look at what points to each block that is\n"
	"                        live then; 'heaptrail leaks' tells lost from reachable\n"
	"      --max-pause TIME  the process stands still for it, at most so long, or\n"
	"                        the look is given up (default: 1s; at its exit any)\n"
	"      --every TIME      a new file each TIME (10m, 1h): FILE.1.trail, then\n"
	"                        FILE.2.trail; each has the totals since the start;\n"
	"                        with --max-size the oldest files are removed\n"
	"      --call-graph=HOW  how call stacks are taken: auto (default: by the files'\n"
	"                        unwind information), fp (by frame pointers alone),\n"
	"                        caller (only who called the allocator), none\n"
	"      --frag-every TIME  a snapshot of what is resident every TIME (10s, 1m) for\n"
	"                        `heaptrail frag`; the process stands still for some\n"
	"                        milliseconds; COMMAND has always one in its exit\n"
	"      --frag-peaks      … and near peaks: a tenth more is live than before\n"
	"      --free-stacks     take the stacks of frees, too, not only their callers:\n"
	"                        frees cost as much as allocations then\n"
	"      --min-size SIZE   count blocks below SIZE (64, 4K; 1G at most), but do not\n"
	"                        record them: a smaller recording of the larger blocks\n"
	"      --probe SPEC      also record an allocator of the program's own, such as\n"
	"                        'my_malloc: alloc size=arg1'; several times\n"
	"      --probe-file FILE  such specs, one a line\n"
	"      --mmap            also record what the program maps: mmap, munmap, mremap,\n"
	"                        brk, shmat, in layer mmap (report --layer mmap)\n"
	"      --max-size SIZE   keep the recording below SIZE (200M, 2G; 1M at least):\n"
	"                        the oldest events are dropped, totals stay exact\n"
	"      --on-full=wait    when events come faster than they can be written, make\n"
	"                        the process wait (default for COMMAND)\n"
	"      --on-full=drop    … lose events, counted (default for -p)\n"
	"      --ring-size MIB   room for events not yet written; a power of two\n"
	"                        (default 8)\n"
	"      --as-root         under sudo, run COMMAND as root; otherwise it runs, and\n"
	"                        the recording belongs to, the user who called sudo\n"
	"      --no-demangle     store names of functions as linkers know them\n"
	"      --no-ptrace       follow COMMAND by signals, as where a debugger has it\n"
	"      --when 'EXPR' ACTION  when, for example, 'live > 64MiB' comes to be met:\n"
	"                        mark the moment, stop recording, or exec COMMAND (by\n"
	"                        the shell, see the manual); several times\n"
	"      --fail-if 'EXPR'  exit with status 1 if COMMAND's is 0 and, for example,\n"
	"                        'leaked > 0', 'peak > 100MiB' or 'lost': see the manual;\n"
	"                        several times\n"
	"      --suppressions FILE, --no-default-suppressions  what is not 'leaked' for\n"
	"                        --fail-if: as of heaptrail leaks\n"
	"  -q, --quiet           say nothing but errors\n"
	"  -v, --verbose         libbpf's messages too\n"
	"\n"
	"Ctrl-C ends an attached recording.  With COMMAND it goes to COMMAND; a second\n"
	"one stops recording and lets it run on.\n"
	"\n"
	"Exit status: that of COMMAND (128 + n if a signal ended it); 125 if recording\n"
	"failed, 126 or 127 if COMMAND could not be started.  With -p: 0, 3 without the\n"
	"rights, 125 otherwise.  In place of 0, 1 if a condition of --fail-if is met.\n"
	"\n"
	"Examples:\n"
	"  heaptrail record -- ./server --port 8080\n"
	"  heaptrail record -o today.trail -p \"$(pidof server)\" -d 60s\n"
	"  heaptrail record --when 'live > 1GiB' stop -p \"$(pidof server)\"\n";

enum { OPTION_FORCE = OPTION_FIRST_LONG, OPTION_EVERY, OPTION_CALL_GRAPH,
       OPTION_FREE_STACKS, OPTION_MIN_SIZE, OPTION_PROBE,
       OPTION_PROBE_FILE, OPTION_MAX_SIZE, OPTION_ON_FULL, OPTION_RING_SIZE,
       OPTION_AS_ROOT, OPTION_NO_DEMANGLE, OPTION_NO_PTRACE, OPTION_WHEN, OPTION_KEEPER };

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"pid", required_argument, NULL, 'p'},
	{"duration", required_argument, NULL, 'd'},
	{"every", required_argument, NULL, OPTION_EVERY},
	REACHABLE_OPTIONS,
	MEMORY_OPTIONS,
	{"call-graph", required_argument, NULL, OPTION_CALL_GRAPH},
	{"free-stacks", no_argument, NULL, OPTION_FREE_STACKS},
	{"min-size", required_argument, NULL, OPTION_MIN_SIZE},
	{"probe", required_argument, NULL, OPTION_PROBE},
	{"probe-file", required_argument, NULL, OPTION_PROBE_FILE},
	{"max-size", required_argument, NULL, OPTION_MAX_SIZE},
	{"on-full", required_argument, NULL, OPTION_ON_FULL},
	{"ring-size", required_argument, NULL, OPTION_RING_SIZE},
	{"as-root", no_argument, NULL, OPTION_AS_ROOT},
	{"no-demangle", no_argument, NULL, OPTION_NO_DEMANGLE},
	{"no-ptrace", no_argument, NULL, OPTION_NO_PTRACE},
	{"keeper", required_argument, NULL, OPTION_KEEPER}, /* `top` uses it: recorder.c */
	SNAPSHOTS_OPTIONS,
	{"when", required_argument, NULL, OPTION_WHEN}, /* and its action: see triggers.h */
	GATES_OPTION,
	SUPPRESSION_OPTIONS,
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct record_options {
	struct session_options session;
	struct probe_specs probes;
	struct gates gates;
	struct suppression_files suppression_files;
	struct suppressions suppressions;
	struct triggers triggers;
	struct snapshots snapshots;
	bool as_root, quiet, done;
};

/* How much is recorded, and kept. */
static int parse_amount(const struct command *c, struct record_options *o, int option)
{
	switch (option) {
	case OPTION_EVERY:
		if (!parse_duration(optarg, &o->session.rotation.every_ns) ||
		    o->session.rotation.every_ns < EVERY_MIN_NS)
			return usage_error(c, "--every is a time such as 10m or 1h, 1s at least, "
					      "not '%s'", optarg);
		return 0;
	case OPTION_MIN_SIZE:
		if (!parse_bytes(optarg, &o->session.min_size) ||
		    o->session.min_size > PAIRING_SMALL_MAX)
			return usage_error(c, "--min-size is a size such as 64 or 4K, 1G at most, "
					      "not '%s'", optarg);
		return 0;
	case OPTION_MAX_SIZE:
		if (!parse_bytes(optarg, &o->session.max_size) ||
		    o->session.max_size < BOUND_MIN || o->session.max_size > INT64_MAX)
			return usage_error(c, "--max-size is a size such as 200M or 2G, 1M at "
					      "least, not '%s'", optarg);
		return 0;
	}
	return 0;
}

/* What an option switches on that has no argument; NULL: it is another one. */
static bool *flag_of(struct record_options *o, int option)
{
	switch (option) {
	case OPTION_FORCE:
		return &o->session.overwrite;
	case OPTION_FREE_STACKS:
		return &o->session.free_stacks;
	case OPTION_AS_ROOT:
		return &o->as_root;
	case OPTION_NO_DEMANGLE:
		return &o->session.linkage_names;
	case OPTION_NO_PTRACE:
		return &o->session.no_ptrace;
	case 'q':
		return &o->quiet;
	case 'v':
		return &o->session.verbose;
	default:
		return NULL;
	}
}

static int parse_option(const struct command *c, struct record_options *o, int option)
{
	bool *flag = flag_of(o, option);
	uint64_t n;

	if (flag) {
		*flag = true;
		return 0;
	}
	switch (option) {
	case 'o':
	case 'p':
	case 'd':
	case OPTION_REACHABLE:
	case OPTION_MAX_PAUSE:
	case OPTION_WALK_HEAP:
	case OPTION_MMAP:
		return recording_parse(c, &o->session, option);
	case OPTION_CALL_GRAPH:
		if (!stack_mode_by_name(optarg, &o->session.stack_mode))
			return usage_error(c, "--call-graph is 'auto', 'fp', 'caller' or 'none', "
					      "not '%s'", optarg);
		return 0;
	case OPTION_PROBE:
	case OPTION_PROBE_FILE:
		return probes_parse(&o->probes, option == OPTION_PROBE_FILE, optarg);
	case OPTION_EVERY:
	case OPTION_MIN_SIZE:
	case OPTION_MAX_SIZE:
		return parse_amount(c, o, option);
	case OPTION_ON_FULL:
		if (!strcmp(optarg, "wait"))
			o->session.on_full = ON_FULL_WAIT;
		else if (!strcmp(optarg, "drop"))
			o->session.on_full = ON_FULL_DROP;
		else
			return usage_error(c, "--on-full is 'wait' or 'drop', not '%s'", optarg);
		return 0;
	case OPTION_RING_SIZE:
		if (!parse_u64(optarg, 1024, &n) || !n || (n & (n - 1)))
			return usage_error(c,
					   "--ring-size is a power of two from 1 to 1024 (MiB), "
					   "not '%s'",
					   optarg);
		o->session.ring_bytes = (size_t)n << 20;
		return 0;
	case OPTION_FRAG_EVERY:
	case OPTION_FRAG_PEAKS:
		return snapshots_parse(c, &o->snapshots, option);
	case OPTION_FAIL_IF:
		return gates_add(&o->gates, optarg);
	case OPTION_SUPPRESSIONS:
	case OPTION_NO_DEFAULT_SUPPRESSIONS:
		suppression_files_add(&o->suppression_files, option, optarg);
		return 0;
	case OPTION_KEEPER:
		if (!parse_u64(optarg, INT_MAX, &n) || n <= STDERR_FILENO ||
		    fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
			return usage_error(c, "'%s' is no open file of a keeper", optarg);
		prctl(PR_SET_NAME, "heaptrail"); /* it was run as /proc/self/exe */
		o->session.keeper = (int)n;
		return 0;
	default:
		o->done = true;
		return other_option(c, option);
	}
}

static int parse(const struct command *c, int argc, char **argv, struct record_options *o)
{
	struct err err;
	int option, status;

	while ((option = getopt_long(argc, argv, "+o:p:d:qv", options, NULL)) != -1) {
		status = option == OPTION_WHEN ? triggers_parse(c, &o->triggers, argc, argv)
					       : parse_option(c, o, option);
		if (status || o->done)
			return status;
	}
	if (optind < argc)
		o->session.argv = argv + optind;
	if (!o->session.argv && !o->session.pid)
		return usage_error(c, "nothing to record: give -p PID or -- COMMAND");
	o->session.rotation.max_bytes = o->session.max_size;
	if (o->session.argv && o->session.pid)
		return usage_error(c, "give either -p PID or a command, not both");
	if ((status = recording_check(c, &o->session)))
		return status;
	/* what is wrong with them is said before anything runs */
	if ((o->gates.n || o->suppression_files.n) &&
	    suppression_files_read(&o->suppressions, &o->suppression_files, &err) < 0)
		return print_error(&err);
	o->session.probes = &o->probes;
	return probes_finish(&o->probes);
}

/* The recording is whole without it. */
static void say_no_look(const struct err *e)
{
	say("warning: %s", e->what);
	if (e->hint[0])
		fprintf(stderr, "hint: %s\n", e->hint);
}

static void release(struct record_options *o)
{
	triggers_release(&o->triggers);
	gates_release(&o->gates);
	suppression_files_release(&o->suppression_files);
	suppressions_release(&o->suppressions);
	probe_specs_release(&o->probes);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct record_options o = {0};
	struct recording_end end;
	char path[4096];
	bool failed = false;
	int status, judged = 0;

	status = parse(c, argc, argv, &o);
	if (status || o.done) {
		release(&o);
		return status;
	}
	if (!o.as_root)
		invoker_find(&o.session.identity);
	status = triggers_start(&o.triggers, &o.session.identity);
	if (status) {
		release(&o);
		return status;
	}
	snapshots_begin(&o.snapshots, &o.session);
	status = recording_make(&o.session, &o.triggers, o.quiet, &end);
	snapshots_release(&o.snapshots);
	if (end.lacks_look && end.is_there)
		say_no_look(&o.session.reach.failure);
	if (!o.quiet && end.is_there) {
		recording_say_end(&end);
		fprintf(stderr, "next: heaptrail report %s\n",
			format_safe(path, sizeof(path), end.result.path));
	}
	if (end.is_there && !end.result.abandoned)
		judged = gates_judge_recording(&o.gates, &o.suppressions, end.result.path,
					       &(struct when){0}, &failed);
	if (!status)
		status = judged ? ERR_FAILED : failed ? GATES_FAILED : 0;
	recording_release(&end);
	release(&o);
	return status;
}

const struct command command_record = {
	.name = "record",
	.summary = "record a command or a running process",
	.help = help,
	.run = run,
};
