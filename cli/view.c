/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "analyzer/rows.h"
#include "analyzer/command_line.h"
#include "analyzer/dropped.h"
#include "analyzer/marks.h"
#include "analyzer/small.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/stack_view.h"
#include "cli/wrong_free_report.h"
#include "collector/process_facts.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/earlier.h"
#include "store/loss.h"

#define NAMES_SECONDS_MAX 120

/* What a report wants of the events. */
struct wanted {
	enum group_key key;
	const struct view_visitor *visitor; /* NULL, or what sees the blocks that are live then */
};

static int analyse(struct view *v, const struct wanted *w, struct err *err)
{
	const struct view_visitor *visitor = w->visitor;
	struct analysis_window window = v->window;
	int r;

	if (!visitor)
		return analysis_make(v->reader, w->key, &v->window, progress_events, &v->analysis,
				     err);
	visitor->begin(visitor->arg);
	r = analysis_make_live(v->reader, &v->window, progress_events, visitor->visit,
			       visitor->arg, &v->analysis, err);
	if (r || !visitor->windows)
		return r;
	/* so far and no further, whatever a recorder has written meanwhile */
	window.until_event = v->analysis.last_event;
	if (!v->analysis.last_event)
		window.until_ns = 0; /* there was none */
	return analysis_watch_growth(v->reader, &window, progress_events, visitor->windows, err);
}

static int open_once(struct view *v, const char *path, const struct wanted *w,
		     const struct when *when, struct err *err)
{
	int r;

	memset(v, 0, sizeof(*v));
	v->path = path;
	v->earlier = when->earlier;
	r = store_reader_open_after(path, when->earlier, &v->reader, err);
	if (!r)
		layers_read(&v->layers, v->reader);
	if (!r)
		r = when_find(when, v->reader, &v->window, err);
	if (!r)
		v->layer = layers_find(&v->layers, when->layer ? when->layer : LAYERS_HEAP)->name;
	if (!r)
		r = analyse(v, w, err);
	progress_end();
	/* afterwards: names that came while the events were read are in it */
	if (!r)
		r = store_reader_load(v->reader, &v->catalog, err);
	if (r) {
		view_close(v);
		return r;
	}
	v->lacks_names = !catalog_number(&v->catalog, "names_looked_up", 1);
	stacks_count(&v->catalog, &v->analysis, &v->stacks);
	return 0;
}

int view_open(struct view *v, const char *path, enum group_key key, struct err *err)
{
	return view_open_when(v, path, key, &(struct when){0}, err);
}

static int open_whole(struct view *v, const char *path, const struct wanted *w,
		      const struct when *when, struct err *err)
{
	int r = open_once(v, path, w, when, err);

	/* it was finished while it was read: what was read is not all of it */
	if (!r && !store_reader_is_sealed(v->reader) && catalog_text(&v->catalog, "seal")) {
		view_close(v);
		r = open_once(v, path, w, when, err);
	}
	return r;
}

int view_open_when(struct view *v, const char *path, enum group_key key, const struct when *when,
		   struct err *err)
{
	return open_whole(v, path, &(struct wanted){.key = key}, when, err);
}

int view_open_visit(struct view *v, const char *path, const struct when *when,
		    const struct view_visitor *visitor, struct err *err)
{
	return open_whole(v, path,
			  &(struct wanted){GROUP_STACK, visitor}, when, err);
}

static void forget_blocks(void *arg)
{
	struct leak_blocks *blocks = arg;

	blocks->n = blocks->max_size = 0;
}

int view_open_live(struct view *v, const char *path, const struct when *when,
		   struct leak_blocks *blocks, struct err *err)
{
	return view_open_growth(v, path, when, blocks, NULL, err);
}

int view_open_growth(struct view *v, const char *path, const struct when *when,
		     struct leak_blocks *blocks, struct growth_windows *windows, struct err *err)
{
	const struct view_visitor visitor = {forget_blocks, leak_blocks_add, blocks, windows};
	int r = open_whole(v, path, &(struct wanted){GROUP_STACK, &visitor}, when, err);

	/* a layer's blocks may be at the addresses of the heap's */
	if (r || view_is_past(v) || strcmp(v->layer, LAYERS_HEAP))
		return r;
	r = leak_blocks_find_kinds(blocks, v->reader, err);
	if (r)
		view_close(v);
	return r;
}

int view_open_catalog(struct view *v, const char *path, struct err *err)
{
	int r;

	memset(v, 0, sizeof(*v));
	v->path = path;
	r = store_reader_open(path, &v->reader, err);
	if (!r)
		r = store_reader_load(v->reader, &v->catalog, err);
	if (r)
		view_close(v);
	return r;
}

void view_complete_names(struct view *v)
{
	const struct symbolize_options as_usual = {.seconds_max = NAMES_SECONDS_MAX};

	if (!v->lacks_names)
		return;
	symbolize_in_memory(&v->catalog, &as_usual, &v->names);
	v->lacks_names = v->names.missing;
	stacks_count(&v->catalog, &v->analysis, &v->stacks); /* inlined functions are frames, too */
}

/* What names could not be completed, and why; to be freed, or NULL. */
static char *describe_missing_names(const struct view *v)
{
	static const char *const reasons[] = {
		[SYMBOLIZE_GONE] = "is not there, or cannot be read",
		[SYMBOLIZE_OTHER_BUILD] = "is another build than was recorded",
		[SYMBOLIZE_NO_BUILD_ID] = "has no build id to know it by",
		[SYMBOLIZE_NO_TIME] = "takes too long: heaptrail symbolize has patience",
	};
	const struct symbolize_result *n = &v->names;
	char file[256];

	if (!n->missing)
		return NULL;
	format_safe(file, sizeof(file), path_base(n->missing_path));
	if (n->missing == 1)
		return xasprintf("names of functions in '%s' are missing: it %s", file,
				 reasons[n->missing_why]);
	return xasprintf("names of functions in %zu files are missing: '%s' %s", n->missing, file,
			 reasons[n->missing_why]);
}

void view_close(struct view *v)
{
	catalog_release(&v->catalog);
	analysis_release(&v->analysis);
	view_close_file(v);
}

void view_close_file(struct view *v)
{
	store_reader_close(v->reader);
	v->reader = NULL;
}

bool view_may_be_written(const struct view *v)
{
	const char *recorder = catalog_text(&v->catalog, "recorder");

	return !store_reader_is_sealed(v->reader) && recorder &&
	       process_identity_state(recorder) != PROCESS_IS_GONE;
}

enum view_state view_state(const struct view *v)
{
	return catalog_state(&v->catalog, store_reader_is_sealed(v->reader));
}

enum view_state catalog_state(const struct catalog *c, bool sealed)
{
	const char *recorder = catalog_text(c, "recorder");

	if (catalog_text(c, "stopped"))
		return VIEW_STOPPED;
	if (catalog_text(c, "cut_off"))
		return VIEW_CUT_OFF;
	if (sealed)
		return VIEW_COMPLETE;
	switch (recorder ? process_identity_state(recorder) : PROCESS_IS_GONE) {
	case PROCESS_IS_THERE:
		return VIEW_BEING_WRITTEN;
	case PROCESS_IS_ELSEWHERE:
		return VIEW_NOT_CLOSED;
	case PROCESS_IS_GONE:
		break;
	}
	return VIEW_CUT_OFF;
}

const char *view_state_name(enum view_state state)
{
	static const char *const names[] = {
		[VIEW_COMPLETE] = "complete",
		[VIEW_BEING_WRITTEN] = "being recorded",
		[VIEW_CUT_OFF] = "cut off",
		[VIEW_STOPPED] = "stopped early",
		[VIEW_NOT_CLOSED] = "not closed",
	};

	return names[state];
}

bool view_is_complete(const struct view *v)
{
	return view_state(v) == VIEW_COMPLETE;
}

void view_warn_if_incomplete(const struct view *v)
{
	char safe[512], *names = describe_missing_names(v);

	if (!view_is_complete(v))
		say("warning: the recording '%s' is not complete: %s",
		    format_safe(safe, sizeof(safe), v->path), view_state_name(view_state(v)));
	if (store_reader_lacks_wal(v->reader) && view_state(v) != VIEW_STOPPED)
		say("warning: its last part is missing: it was in the file '%s-wal'", safe);
	if (names)
		say("note: %s", names);
	free(names);
}

bool view_exited(const struct view *v)
{
	return catalog_number(&v->catalog, "exited", 0) != 0;
}

uint64_t view_lost_events(const struct view *v)
{
	return lost_events(&v->catalog);
}

uint64_t view_start_ns(const struct view *v)
{
	return (uint64_t)catalog_number(&v->catalog, "start_ns", (int64_t)v->analysis.first_ns);
}

uint64_t view_since_start(const struct view *v, uint64_t t_ns)
{
	return t_ns > view_start_ns(v) ? t_ns - view_start_ns(v) : 0;
}

uint64_t view_duration_ns(const struct view *v)
{
	uint64_t start = view_start_ns(v);
	uint64_t end =
		(uint64_t)catalog_number(&v->catalog, "end_ns", (int64_t)v->analysis.last_ns);

	return end > start ? end - start : 0;
}

const char *view_leak_word(const struct view *v)
{
	return view_is_past(v) ? "live" : view_exited(v) ? "leaked" : "unfreed";
}

const char *view_leak_title(const struct view *v)
{
	return view_is_past(v) ? "LIVE" : view_exited(v) ? "LEAKED" : "UNFREED";
}

bool view_is_past(const struct view *v)
{
	return v->window.until_ns != UINT64_MAX;
}

char *view_command(const struct view *v)
{
	return command_line(&v->catalog, false);
}

/* ---- text --------------------------------------------------------------------------- */

const char *view_bytes(char *buf, uint64_t bytes, bool exact)
{
	return exact ? format_count(buf, bytes) : format_bytes(buf, bytes);
}

bool output_has_color(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && (!no || !*no);
}

int output_width(void)
{
	struct winsize w;

	if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col >= 40)
		return w.ws_col;
	return 80;
}

void print_wrapped(const char *text, int indent)
{
	for (;;) {
		int n = (int)strlen(text), most = 80 - indent;

		if (n > most) {
			for (n = most; n && (text[n] != ' ' || text[n + 1] == '%'); n--)
				;
			if (!n) /* a word that is too long for any line */
				n = (int)strcspn(text, " ");
		}
		printf("%.*s\n", n, text);
		text += n;
		if (!*text++)
			return;
		printf("%*s", indent, "");
	}
}

int print_cut(const char *text, int width)
{
	char *safe = xmalloc(strlen(text) + 1);
	size_t columns = 0, seen = 0, head = width > 3 ? (size_t)(width - 1) / 2 : 0, tail;

	format_safe(safe, strlen(text) + 1, text);
	for (const char *p = safe; *p; p += utf8_length(p))
		columns++;
	if (!width || columns <= (size_t)width) {
		fputs(safe, stdout);
		free(safe);
		return (int)columns;
	}
	tail = (size_t)width - 1 - head;
	for (const char *p = safe; *p; p += utf8_length(p), seen++) {
		if (seen == head)
			fputs("~", stdout);
		if (seen < head || seen >= columns - tail)
			fwrite(p, 1, utf8_length(p), stdout);
	}
	free(safe);
	return width;
}

static void print_command(const struct view *v)
{
	char *command = view_command(v);

	printf("  Command     ");
	print_cut(command, output_width() - 14);
	putchar('\n');
	free(command);
}

static void print_end(const struct view *v)
{
	const struct process_record *p =
		v->catalog.n_processes > 1 ? &v->catalog.processes[1] : NULL;

	if (!view_is_complete(v))
		printf(", %s", view_state_name(view_state(v)));
	else if (!view_exited(v))
		printf(", still running at the end");
	else if (p && p->ended && p->exit_signal)
		printf(", ended by signal %d (%s)", p->exit_signal, strsignal(p->exit_signal));
	else if (p && p->ended)
		printf(", exit status %d", p->exit_status);
	else
		printf(", ended");
}

static void print_recorded(const struct view *v)
{
	char when[FORMAT_MAX], how_long[FORMAT_MAX];
	uint64_t start = (uint64_t)catalog_number(&v->catalog, "start_realtime_ns", 0);

	printf("  Recorded    %s, %s, pid %" PRId64, format_utc(when, start),
	       format_duration(how_long, view_duration_ns(v)),
	       catalog_number(&v->catalog, "pid", 0));
	print_end(v);
	putchar('\n');
}

void view_print_state_warnings(const struct view *v)
{
	char safe[600], *names = describe_missing_names(v);

	switch (view_state(v)) {
	case VIEW_COMPLETE:
		break;
	case VIEW_BEING_WRITTEN:
		printf("  Note        it is being recorded: these are the numbers up to now\n");
		break;
	case VIEW_NOT_CLOSED:
		printf("  WARNING     it was not closed: it was cut off, or is being recorded\n");
		break;
	case VIEW_CUT_OFF:
		printf("  WARNING     cut off: the recorder died; what came later is missing\n");
		break;
	case VIEW_STOPPED:
		printf("  WARNING     stopped early, what came afterwards is missing:\n"
		       "              %s\n",
		       format_safe(safe, sizeof(safe), catalog_text(&v->catalog, "stopped")));
		break;
	}
	if (!store_reader_is_sealed(v->reader) && view_state(v) != VIEW_BEING_WRITTEN)
		printf("              (heaptrail repair adds names and summaries)\n");
	if (store_reader_lacks_wal(v->reader) && view_state(v) != VIEW_STOPPED)
		printf("  WARNING     its last part is missing: it was in FILE-wal beside it\n");
	if (names) {
		fputs("  Note        ", stdout);
		print_wrapped(names, 14);
	}
	free(names);
}

void view_print_no_allocator(const struct view *v, const char *head)
{
	const char *program = catalog_text(&v->catalog, "no_allocator");
	int indent = (int)strlen(head);

	if (!program)
		return;
	printf("%sno allocator was found: nothing is recorded of\n%*s", head, indent, "");
	print_cut(program, output_width() - indent);
	putchar('\n');
}

void view_print_small(const struct view *v, const char *head)
{
	struct small small;
	char *text;

	if (!small_read(&v->catalog, &small))
		return;
	text = small_text(&small);
	fputs(head, stdout);
	print_wrapped(text, (int)strlen(head));
	free(text);
}

static void print_from_before(const struct view *v, const char *head)
{
	struct from_before before;
	char *text;

	if (!from_before_read(&v->catalog, &before))
		return;
	text = from_before_text(&before);
	fputs(head, stdout);
	print_wrapped(text, (int)strlen(head));
	free(text);
}

void view_print_dropped(const struct view *v, const char *head)
{
	struct dropped dropped;
	char *text;

	if (!dropped_read(&v->catalog, &dropped))
		return;
	text = dropped_text(&dropped);
	fputs(head, stdout);
	print_wrapped(text, (int)strlen(head));
	free(text);
}

static void print_warnings(const struct view *v)
{
	const struct analysis *a = &v->analysis;
	const char *other = catalog_text(&v->catalog, "other_allocator");
	const char *not_probed = catalog_text(&v->catalog, "not_probed");
	char n[FORMAT_MAX], safe[512];

	view_print_state_warnings(v);
	if (view_lost_events(v))
		printf("  WARNING     %s events were lost: all numbers are incomplete\n",
		       format_count(n, view_lost_events(v)));
	if (catalog_loss(&v->catalog, loss_kinds[LOSS_MAIN_THREAD_GONE].name))
		printf("  WARNING     the main thread ended before others: what those did\n"
		       "              afterwards is missing\n");
	if (other)
		printf("  WARNING     '%s' took malloc's place: its blocks are missing\n",
		       format_safe(safe, sizeof(safe), other));
	if (not_probed)
		printf("  WARNING     calls are missing of %s\n",
		       format_safe(safe, sizeof(safe), not_probed));
	view_print_no_allocator(v, "  WARNING     ");
	if (a->frees[FREE_DOUBLE])
		printf("  Double      %s frees of blocks that were freed already\n",
		       format_count(n, a->frees[FREE_DOUBLE]));
	if (wrong_free_report_mismatched(v))
		printf("  Mismatched  %s frees by functions that do not belong to the block\n",
		       format_count(n, wrong_free_report_mismatched(v)));
	if (a->frees[FREE_UNKNOWN])
		printf("  Unknown     %s frees of blocks from before the recording\n",
		       format_count(n, a->frees[FREE_UNKNOWN]));
	if (a->ended_by_exec_blocks)
		printf("  Exec        %s blocks went with an address space that ended by exec\n",
		       format_count(n, a->ended_by_exec_blocks));
}

static void print_window(const struct view *v)
{
	uint64_t since = v->window.since_ns, until = v->window.until_ns;
	char x[FORMAT_MAX], y[FORMAT_MAX];

	if (since)
		printf("  Window      blocks allocated from %s on",
		       format_duration(x, view_since_start(v, since)));
	if (since && view_is_past(v))
		printf(", as it was at %s", format_duration(y, view_since_start(v, until)));
	else if (view_is_past(v))
		printf("  Moment      as it was at %s",
		       format_duration(y, view_since_start(v, until)));
	if (since || view_is_past(v))
		putchar('\n');
}

/* What the allocator gave for the live blocks, and how much of that is internal fragmentation. */
static void print_usable(const struct analysis *a, bool exact)
{
	uint64_t usable = a->usable_bytes, requested = a->usable_requested_bytes;
	bool is_partial = requested < a->totals.live_bytes;
	char x[FORMAT_MAX], y[FORMAT_MAX];

	if (!usable)
		return;
	printf("\n  Usable      %s", view_bytes(x, usable, exact));
	if (is_partial)
		printf(" for %s of it, as far as it is known", view_bytes(y, requested, exact));
	printf(", internal fragmentation %s",
	       format_percent(x, usable > requested ? usable - requested : 0, usable));
}

#define MARKS_SHOWN 5

/* What record --when marked; the last ones, where there are many. */
static void print_marks(const struct view *v)
{
	char safe[160], t[FORMAT_MAX];
	size_t at = 0, n = 0, seen = 0;
	struct mark m;

	while (marks_next(&v->catalog, &at, &m))
		n++;
	if (n > MARKS_SHOWN)
		printf("  Marked      %zu earlier moments: heaptrail info\n", n - MARKS_SHOWN);
	for (at = 0; marks_next(&v->catalog, &at, &m); seen++)
		if (seen + MARKS_SHOWN >= n)
			printf("  Marked      at %s: %s\n",
			       format_duration(t, view_since_start(v, m.t_ns)),
			       format_safe(safe, sizeof(safe), m.text));
}

void view_print_head(const struct view *v, bool exact)
{
	const struct analysis *a = &v->analysis;
	const struct heap_totals *t = &a->totals;
	char x[FORMAT_MAX], y[FORMAT_MAX], z[FORMAT_MAX];
	uint64_t peak_at = view_since_start(v, a->peak_time_ns);

	print_command(v);
	print_recorded(v);
	print_window(v);
	if (v->window.families)
		printf("  Layer       %s\n", v->layer);
	printf("  Allocated   %s in %s calls, %s freed\n", view_bytes(x, t->allocated_bytes, exact),
	       format_count(y, t->alloc_calls), format_count(z, a->free_calls));
	printf("  Peak        %s in %s blocks, at %s\n", view_bytes(x, t->peak_bytes, exact),
	       format_count(y, t->peak_blocks), format_duration(z, peak_at));
	printf("  %-12s%s in %s blocks",
	       view_is_past(v) ? "Live" : view_exited(v) ? "Leaked" : "Unfreed",
	       view_bytes(x, t->live_bytes, exact), format_count(y, t->live_blocks));
	print_usable(a, exact);
	printf("\n  Temporary   %s allocations (%s)\n", format_count(x, t->temporary_allocs),
	       format_percent(y, t->temporary_allocs, t->alloc_calls));
	printf("  Lost events %s\n", format_count(x, view_lost_events(v)));
	stack_view_print_health(v);
	print_from_before(v, "  Before      ");
	view_print_small(v, "  Small       ");
	view_print_dropped(v, "  Earlier     ");
	print_marks(v);
	print_warnings(v);
}

/* ---- JSON --------------------------------------------------------------------------- */

static void json_command(const struct view *v, struct json *j)
{
	const char *text = catalog_text(&v->catalog, "command");
	char **args = NULL;

	json_begin_array(j, "command");
	if (text && json_parse_strings(text, &args) >= 0) {
		for (char **a = args; *a; a++)
			json_string(j, NULL, *a);
		json_free_strings(args);
	}
	json_end_array(j);
}

static void json_started(const struct view *v, struct json *j)
{
	uint64_t ns = (uint64_t)catalog_number(&v->catalog, "start_realtime_ns", 0);
	time_t t = (time_t)(ns / 1000000000);
	char text[40] = "";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_string(j, "started", text);
}

static void json_small(const struct view *v, struct json *j)
{
	struct small s;

	if (!small_read(&v->catalog, &s)) {
		json_string(j, "small", NULL);
		return;
	}
	json_begin_object(j, "small");
	json_u64(j, "min_size", s.min_size);
	json_u64(j, "alloc_calls", s.alloc_calls);
	json_u64(j, "free_calls", s.free_calls);
	json_u64(j, "allocated_bytes", s.allocated_bytes);
	json_u64(j, "live_blocks", s.live_blocks);
	json_u64(j, "live_bytes", s.live_bytes);
	json_end_object(j);
}

static void json_from_before(const struct view *v, struct json *j)
{
	struct from_before b;

	if (!from_before_read(&v->catalog, &b)) {
		json_string(j, "from_before", NULL);
		return;
	}
	json_begin_object(j, "from_before");
	json_u64(j, "blocks", b.blocks);
	json_u64(j, "bytes", b.bytes);
	json_u64(j, "held_ns", b.held_ns);
	json_string(j, "error", b.error);
	json_end_object(j);
}

static void json_window(const struct view *v, struct json *j)
{
	if (!v->window.since_ns && !view_is_past(v)) {
		json_string(j, "window", NULL);
		return;
	}
	json_begin_object(j, "window");
	json_u64(j, "since_ns", view_since_start(v, v->window.since_ns));
	json_u64(j, "until_ns", view_is_past(v) ? view_since_start(v, v->window.until_ns)
						: view_duration_ns(v));
	json_end_object(j);
}

static void json_dropped(const struct view *v, struct json *j)
{
	struct dropped d;

	if (!dropped_read(&v->catalog, &d) || !d.events) {
		json_string(j, "dropped", NULL);
		return;
	}
	json_begin_object(j, "dropped");
	json_u64(j, "events", d.events);
	json_u64(j, "until_ns", d.until_ns);
	json_bool(j, "in_earlier_files", d.are_elsewhere);
	json_end_object(j);
}

static void json_marks(const struct view *v, struct json *j)
{
	struct mark m;
	size_t at = 0;

	json_begin_array(j, "marks");
	while (marks_next(&v->catalog, &at, &m)) {
		json_begin_object(j, NULL);
		json_u64(j, "time_ns", view_since_start(v, m.t_ns));
		json_string(j, "text", m.text);
		json_end_object(j);
	}
	json_end_array(j);
}

void view_json_recording(const struct view *v, struct json *j)
{
	json_begin_object(j, "recording");
	json_string(j, "path", v->path);
	json_i64(j, "pid", catalog_number(&v->catalog, "pid", 0));
	json_command(v, j);
	json_string(j, "engine", catalog_text(&v->catalog, "engine"));
	json_started(v, j);
	json_u64(j, "duration_ns", view_duration_ns(v));
	json_bool(j, "complete", view_is_complete(v));
	json_bool(j, "exited", view_exited(v));
	json_string(j, "stack_mode", catalog_text(&v->catalog, "stack_mode"));
	json_u64(j, "events", v->analysis.events);
	json_u64(j, "bytes_on_disk", store_bytes_on_disk(v->path) +
		 (v->earlier ? store_earlier_bytes_on_disk(v->earlier) : 0));
	json_small(v, j);
	json_from_before(v, j);
	json_window(v, j);
	json_dropped(v, j);
	json_marks(v, j);
	json_end_object(j);
}

void view_json_summary(const struct view *v, struct json *j)
{
	const struct analysis *a = &v->analysis;
	const struct heap_totals *t = &a->totals;

	json_begin_object(j, "summary");
	json_u64(j, "alloc_calls", t->alloc_calls);
	json_u64(j, "free_calls", a->free_calls);
	json_u64(j, "allocated_bytes", t->allocated_bytes);
	json_u64(j, "live_bytes", t->live_bytes);
	json_u64(j, "live_blocks", t->live_blocks);
	json_u64(j, "leaked_bytes", t->live_bytes);
	json_u64(j, "leaked_blocks", t->live_blocks);
	json_u64(j, "peak_bytes", t->peak_bytes);
	json_u64(j, "peak_blocks", t->peak_blocks);
	json_u64(j, "peak_time_ns", view_since_start(v, a->peak_time_ns));
	json_u64(j, "temporary_allocs", t->temporary_allocs);
	json_u64(j, "usable_bytes", a->usable_bytes);
	json_u64(j, "usable_requested_bytes", a->usable_requested_bytes);
	json_i64(j, "peak_rss_bytes", catalog_number(&v->catalog, "peak_rss_bytes", 0));
	json_u64(j, "lost_events", view_lost_events(v));
	json_u64(j, "unknown_frees", a->frees[FREE_UNKNOWN]);
	json_u64(j, "internal_frees", a->frees[FREE_INTERNAL]);
	json_u64(j, "double_frees", a->frees[FREE_DOUBLE]);
	json_u64(j, "mismatched_frees", wrong_free_report_mismatched(v));
	stack_view_json_health(v, j);
	json_end_object(j);
}
