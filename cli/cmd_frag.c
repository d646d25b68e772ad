/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/growth_windows.h"
#include "cli/frag.h"
#include "cli/one_shot.h"
#include "cli/recording.h"
#include "cli/rotated.h"
#include "cli/snapshots.h"
#include "collector/family.h"
#include "common/format.h"
#include "common/hash.h"
#include "common/xalloc.h"
#include "store/earlier.h"

#define ROWS_DEFAULT 10
/* Of a map: sixteen lines of a terminal. */
#define MAP_CELLS 1024
/* As where a condition is met: nothing failed. */
#define STATUS_NONE ((enum err_class)1)

static const char help[] =
	"usage: heaptrail frag [OPTION...] FILE...\n"
	"       heaptrail frag [OPTION...] -p PID [-d TIME]\n"
	"       heaptrail frag [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"\n"
	"Shows where the resident memory of a process goes: what live blocks requested,\n"
	"what the allocator added, what is free on pages in use, pages that are all free,\n"
	"and what is no heap; the parts add up to what the kernel counts.  And who pins:\n"
	"whose blocks keep pages that are mostly empty.\n"
	"\n"
	"It takes a snapshot of the memory, for which the process stands still for some\n"
	"milliseconds.  A recording of a command has one of its exit; more with\n"
	"--frag-every and --frag-peaks of `record`.\n"
	"\n"
	"      --at TIME     by the last snapshot until then: such as 90s, 1.5m or 250ms;\n"
	"                    or 'peak': that of the most live bytes (default: the last)\n"
	"      --map         also the heap by address, shaded by what is live\n"
	"      --lifetimes   also how long blocks of who pins usually live; reads all\n"
	"                    events\n"
	"      --rows N      at most N rows of each table (default 10; 0: all)\n"
	"      --skip NAME   a wrapper: blocks are its callers' (a pattern as of the\n"
	"                    shell; may be given several times)\n"
	"      --bytes       exact bytes instead of KiB and MiB\n"
	"      --ascii       no characters but ASCII\n"
	"      --no-symbolize  do not look up names that the recording lacks\n"
	"      --json        JSON, schema heaptrail-frag/1\n"
	"\n"
	"With COMMAND or PID:\n"
	"  -o, --output FILE  keep the recording; %p is the pid, %c the program's name\n"
	"      --force       overwrite a recording of that name\n"
	"  -p, --pid PID     attach to a running process; what was there before is\n"
	"                    not known to be free or in use, but with --walk-heap\n"
	"      --walk-heap   with -p: also the blocks that it has already, see `record`\n"
	"      --max-pause TIME  for that it stands still so long at most (default: 50ms)\n"
	"      --mmap        also who maps memory that is no heap\n"
	"  -d, --duration TIME  record so long before the snapshot (default 10s)\n"
	"      --frag-every TIME, --frag-peaks  more of them, as with `record`\n"
	"      --as-root     under sudo, run COMMAND as root\n"
	"\n"
	"Several FILEs are those of one recording with --every: they are read as one.\n"
	"\n"
	"Exit status: with COMMAND its own (128 + n if a signal ended it), 125 if\n"
	"recording failed, 126 or 127 if COMMAND could not be started; otherwise 0; 1 if\n"
	"there is no snapshot; 2 usage; 3 without the rights; 4 if FILE is not a readable\n"
	"recording.\n"
	"\n"
	"Examples:\n"
	"  heaptrail frag server.trail\n"
	"  heaptrail frag --map -p \"$(pidof server)\" -d 30s\n"
	"  heaptrail record --frag-every 10s -- ./server\n";

enum { OPTION_MAP = OPTION_FIRST_LONG, OPTION_LIFETIMES, OPTION_ROWS, OPTION_SKIP,
       OPTION_BYTES, OPTION_ASCII, OPTION_NO_SYMBOLIZE, OPTION_JSON, OPTION_FORCE, OPTION_AS_ROOT };

static const struct option options[] = {
	{"at", required_argument, NULL, OPTION_AT},
	{"map", no_argument, NULL, OPTION_MAP},
	{"lifetimes", no_argument, NULL, OPTION_LIFETIMES},
	{"rows", required_argument, NULL, OPTION_ROWS},
	{"skip", required_argument, NULL, OPTION_SKIP},
	{"bytes", no_argument, NULL, OPTION_BYTES},
	{"ascii", no_argument, NULL, OPTION_ASCII},
	{"no-symbolize", no_argument, NULL, OPTION_NO_SYMBOLIZE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"output", required_argument, NULL, 'o'},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"pid", required_argument, NULL, 'p'},
	{"duration", required_argument, NULL, 'd'},
	{"as-root", no_argument, NULL, OPTION_AS_ROOT},
	MEMORY_OPTIONS,
	SNAPSHOTS_OPTIONS,
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct options {
	struct frag_options show;
	struct when when;
	const char **skip;
	size_t n_skip, cap_skip;
	bool json, no_symbolize, lifetimes, done, as_root;
	struct session_options session;
	struct snapshots snapshots;
	char *const *paths;
	size_t n_paths;
};

/* ---- which snapshot ------------------------------------------------------------------ */

static int choose(struct frag *f, const struct when *when, uint64_t start_ns, struct err *err)
{
	f->at = f->list.n - 1;
	if (when->is_peak)
		f->at = fragmentation_list_peak(&f->list);
	if (!when->has_until)
		return 0;
	f->at = fragmentation_list_at(&f->list, start_ns + when->until_ns);
	if (f->at < f->list.n)
		return 0;
	err_set(err, ERR_USAGE, 0, "there is no snapshot so early");
	err_hint(err, "the first is of %s", format_duration((char[FORMAT_MAX]){0},
							     f->list.items[0].t_ns - start_ns));
	return -EINVAL;
}

/* Chooses one, and reads it.  -ENODATA: there is none. */
static int find(struct frag *f, const char *path, const struct options *o, struct when *ret,
		struct err *err)
{
	struct store_reader *reader;
	uint64_t start;
	int r = store_reader_open_after(path, o->when.earlier, &reader, err);

	if (r)
		return r;
	start = (uint64_t)store_reader_number(reader, "start_ns", 0);
	r = fragmentation_list_read(&f->list, reader, err);
	if (!r && !f->list.n) {
		err_set(err, ERR_FAILED, 0, "'%s' has no snapshot of the memory", path);
		err->class = STATUS_NONE;
		err_hint(err, "there is one of a command whose exit was seen; of others, and of "
			      "other moments, with record --frag-every or --frag-peaks, or by "
			      "heaptrail frag -p PID");
		r = -ENODATA;
	}
	if (!r)
		r = choose(f, &o->when, start, err);
	if (!r)
		r = store_reader_snapshot(reader, f->list.items[f->at].id, &f->snapshot, err);
	store_reader_close(reader);
	*ret = (struct when){.has_until = true, .earlier = o->when.earlier};
	if (!r) {
		ret->until_ns = f->list.items[f->at].t_ns - start;
		ret->space = f->list.items[f->at].space;
	}
	return r;
}

/* ---- all of it ----------------------------------------------------------------------- */

static void forget_blocks(void *arg)
{
	struct fragmentation_blocks *b = arg;

	b->n = b->usable_unknown = 0;
}

/* How long blocks of each site live, those that ended: nineteen in twenty not longer. */
static uint64_t *find_lifetimes(const struct fragmentation *f, const struct growth_windows *w,
				const uint32_t *sites, size_t n_stacks)
{
	struct growth_lifetimes *all = xcalloc(f->n_sites + 1, sizeof(*all));
	uint64_t *ret = xcalloc(f->n_sites + 1, sizeof(*ret));
	struct hashmap places = {0};

	for (size_t i = 0; i < f->n_sites; i++)
		*hashmap_put(&places, f->sites[i].site) = (uint32_t)i;
	for (size_t i = 0; i < growth_windows_stacks(w); i++) {
		uint32_t stack = growth_windows_stack(w, i).v;
		uint32_t at = hashmap_get(&places, stack < n_stacks ? sites[stack] : stack);

		if (at != HASHMAP_NONE)
			growth_windows_add_lifetimes(w, i, &all[at]);
	}
	for (size_t i = 0; i < f->n_sites; i++)
		ret[i] = growth_usual_ns(&all[i]);
	hashmap_release(&places);
	free(all);
	return ret;
}

static void take_apart(struct frag *f, struct fragmentation_blocks *blocks,
		       struct fragmentation_blocks *mappings,
		       const struct growth_windows *windows, const struct options *o)
{
	uint32_t *sites = fragmentation_sites(&f->view->catalog, f->own);
	struct fragmentation_options fo = {.has_unknown = f->unknown != NULL, .sites = sites,
					   .n_sites = f->view->catalog.n_stacks,
					   .mappings = mappings};

	if (o->show.map) {
		f->map.pages_each = heap_map_pages_each(&f->snapshot, MAP_CELLS);
		fo.visit = heap_map_add;
		fo.arg = &f->map;
	}
	fragmentation_make(&f->f, &f->snapshot, blocks, &fo);
	if (windows)
		f->usual_ns = find_lifetimes(&f->f, windows, sites, fo.n_sites);
	if (o->json)
		frag_json(f, &o->show, stdout);
	else
		frag_print(f, &o->show);
	fragmentation_release(&f->f);
	heap_map_release(&f->map);
	free(f->usual_ns);
	free(sites);
}

static int report(void *arg, const char *path)
{
	const struct options *o = arg;
	struct fragmentation_blocks blocks = {0}, mappings = {0};
	struct growth_windows *windows = o->lifetimes ? growth_windows_new(GROWTH_BYTES) : NULL;
	struct view_visitor visitor = {forget_blocks, fragmentation_add, &blocks, windows};
	struct frag f = {0};
	struct when when;
	struct view v;
	struct own own;
	struct err err;
	int r = find(&f, path, o, &when, &err);

	if (!r)
		r = view_open_visit(&v, path, &when, &visitor, &err);
	if (!r) {
		r = fragmentation_read_mappings(&mappings, v.reader, f.list.items[f.at].t_ns, &err);
		if (r)
			view_close(&v);
	}
	if (!r) {
		if (!o->no_symbolize)
			view_complete_names(&v);
		own_init(&own, &v.catalog, o->skip, o->n_skip);
		f.view = &v;
		f.own = &own;
		f.unknown = fragmentation_unknown(&v.catalog);
		take_apart(&f, &blocks, &mappings, windows, o);
		if (o->json)
			view_warn_if_incomplete(&v);
		fflush(stdout);
		free(f.unknown);
		own_release(&own);
		view_close(&v);
	}
	fragmentation_blocks_release(&blocks);
	fragmentation_blocks_release(&mappings);
	snapshot_release(&f.snapshot);
	fragmentation_list_release(&f.list);
	growth_windows_free(windows);
	return r ? print_error(&err) : 0;
}

/* ---- the command line ---------------------------------------------------------------- */

static int parse_option(const struct command *c, struct options *o, int option)
{
	switch (option) {
	case OPTION_AT:
		return when_parse(&o->when, option, optarg)
			       ? 0 : usage_error(c, "'%s' is no time", optarg);
	case OPTION_MAP:
		o->show.map = true;
		return 0;
	case OPTION_LIFETIMES:
		o->lifetimes = true;
		return 0;
	case OPTION_ROWS:
		return parse_u64(optarg, UINT32_MAX, &o->show.rows)
			       ? 0 : usage_error(c, "--rows is a number, not '%s'", optarg);
	case OPTION_SKIP:
		ARRAY_GROW(o->skip, o->cap_skip, o->n_skip);
		o->skip[o->n_skip++] = optarg;
		return 0;
	case OPTION_BYTES:
		o->show.exact_bytes = true;
		return 0;
	case OPTION_ASCII:
		o->show.ascii = true;
		return 0;
	case OPTION_NO_SYMBOLIZE:
		o->no_symbolize = true;
		return 0;
	case OPTION_JSON:
		o->json = true;
		return 0;
	case OPTION_FORCE:
		o->session.overwrite = true;
		return 0;
	case OPTION_AS_ROOT:
		o->as_root = true;
		return 0;
	case OPTION_FRAG_EVERY:
	case OPTION_FRAG_PEAKS:
		return snapshots_parse(c, &o->snapshots, option);
	case 'o':
	case 'p':
	case 'd':
	case OPTION_WALK_HEAP:
	case OPTION_MMAP:
	case OPTION_MAX_PAUSE:
		return recording_parse(c, &o->session, option);
	default:
		o->done = true;
		return other_option(c, option);
	}
}

static int parse(const struct command *c, int argc, char **argv, struct options *o)
{
	int option, status, n = 1;

	*o = (struct options){.show = {.rows = ROWS_DEFAULT,
				       .ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0}};
	while (n < argc && strcmp(argv[n], "--")) /* what comes behind it is a command */
		n++;
	while ((option = getopt_long(n, argv, "o:p:d:", options, NULL)) != -1) {
		status = parse_option(c, o, option);
		if (status || o->done)
			return status;
	}
	o->paths = argv + optind;
	o->n_paths = (size_t)(n - optind);
	if (n + 1 < argc)
		o->session.argv = argv + n + 1;
	if ((o->n_paths > 0) + (o->session.argv != NULL) + (o->session.pid != 0) != 1)
		return usage_error(c, "give one of FILE, -p PID and -- COMMAND");
	if (o->n_paths && (o->session.output || o->session.overwrite || o->session.duration_ns ||
			   o->as_root || o->snapshots.is_asked || o->session.walk_heap ||
			   o->session.max_pause_ns || n_mapping_families))
		return usage_error(c, "-o, --force, -d, --as-root, --walk-heap, --mmap, "
				      "--max-pause, --frag-every and --frag-peaks are for -p PID "
				      "or -- COMMAND");
	return recording_check(c, &o->session);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct options o;
	const char *path;
	struct err err;
	int status = parse(c, argc, argv, &o);

	if (!status && !o.done && o.n_paths) {
		status = rotated_find(o.paths, o.n_paths, &o.when, &path, &err)
				 ? print_error(&err) : report(&o, path);
	} else if (!status && !o.done) {
		if (o.session.pid && !o.session.duration_ns)
			o.session.duration_ns = 10 * 1000000000ull;
		o.snapshots.at_end = o.snapshots.is_asked = true;
		snapshots_begin(&o.snapshots, &o.session);
		status = one_shot_record(&o.session, o.as_root, report, &o);
		snapshots_release(&o.snapshots);
	}
	store_earlier_close(o.when.earlier);
	free(o.skip);
	return status;
}

const struct command command_frag = {
	.name = "frag",
	.summary = "where resident memory goes, and who pins it",
	.help = help,
	.run = run,
};
