/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "analyzer/leaks.h"
#include "analyzer/stacks.h"
#include "cli/symbolize.h"
#include "cli/when.h"
#include "common/err.h"
#include "common/json.h"
#include "store/reader.h"

/* A recording, opened and analysed for a report; and what all reports say of it. */
struct view {
	const char *path;
	struct store_reader *reader;
	struct store_earlier *earlier; /* the files before it, which are not its own; or NULL */
	struct catalog catalog;
	struct analysis analysis;
	struct stack_counts stacks;
	struct analysis_window window; /* the part that was analysed */
	struct layers layers; /* that there are */
	const char *layer; /* the one that was analysed */
	bool lacks_names; /* of functions that nobody has looked up yet, or could */
	struct symbolize_result names; /* of view_complete_names() */
};

int view_open(struct view *v, const char *path, enum group_key key, struct err *err);
/* The same of a part of it. */
int view_open_when(struct view *v, const char *path, enum group_key key, const struct when *when,
		   struct err *err);
/* The same by stack; the blocks that are live then are visited, after @begin: perhaps twice. */
struct view_visitor {
	void (*begin)(void *arg);
	totals_visitor *visit;
	void *arg;
	struct growth_windows *windows; /* new: gets what each stack had over time; or NULL */
};
int view_open_visit(struct view *v, const char *path, const struct when *when,
		    const struct view_visitor *visitor, struct err *err);
/* The same with the blocks that are live then: @blocks, which is empty. */
int view_open_live(struct view *v, const char *path, const struct when *when,
		   struct leak_blocks *blocks, struct err *err);
/* The same from the beginning, with what each stack had over time: @windows, which is new. */
int view_open_growth(struct view *v, const char *path, const struct when *when,
		     struct leak_blocks *blocks, struct growth_windows *windows, struct err *err);
/* The same without a look at the events: there is no analysis. */
int view_open_catalog(struct view *v, const char *path, struct err *err);
void view_close(struct view *v);
/* What was read stays, but the file is not held any more. */
void view_close_file(struct view *v);
/*
 * Looks up what functions the recorder had no time for, was killed before, or has not come to
 * yet: in memory, from the files that are still there.  What cannot be found the warnings say.
 */
void view_complete_names(struct view *v);

/* How the recording came to its end. */
enum view_state {
	VIEW_COMPLETE,	    /* it was closed properly */
	VIEW_BEING_WRITTEN, /* the recorder is at work */
	VIEW_CUT_OFF,	    /* the recorder died; repaired or not */
	VIEW_STOPPED,	    /* the recorder could not write on */
	VIEW_NOT_CLOSED,    /* one of these three; from here it cannot be told which */
};

enum view_state view_state(const struct view *v);
/* The same by what the recording says; @sealed: it was closed properly. */
enum view_state catalog_state(const struct catalog *c, bool sealed);
/* Is there a recorder that may write to it yet, also after it was stopped early? */
bool view_may_be_written(const struct view *v);
/* One or a few words for it. */
const char *view_state_name(enum view_state state);
bool view_is_complete(const struct view *v);
/* For output that has no room for warnings: says on stderr that the recording is not complete. */
void view_warn_if_incomplete(const struct view *v);
bool view_exited(const struct view *v);	     /* the process's exit was seen */
uint64_t view_lost_events(const struct view *v);
uint64_t view_start_ns(const struct view *v);
/* A moment, as time since the recording began. */
uint64_t view_since_start(const struct view *v, uint64_t t_ns);
uint64_t view_duration_ns(const struct view *v);
/* "leaked" only where the recording saw the process exit, else "unfreed"; "live" at a moment. */
const char *view_leak_word(const struct view *v);
/* The same as the title of a column. */
const char *view_leak_title(const struct view *v);
/* Is it about a moment before the end? */
bool view_is_past(const struct view *v);
/* The command as one line, safe to print; to be freed. */
char *view_command(const struct view *v);

/* The head of every text report: the recording and its totals. */
void view_print_head(const struct view *v, bool exact_bytes);
/* Of it, what says that the recording is not complete. */
void view_print_state_warnings(const struct view *v);
/* The warning where a program was run whose allocator is not known; @head goes before it. */
void view_print_no_allocator(const struct view *v, const char *head);
/* That blocks were counted only, if they were; @head before it. */
void view_print_small(const struct view *v, const char *head);
/* That events were dropped, or that --max-size could not be kept; @head before it. */
void view_print_dropped(const struct view *v, const char *head);
/* The objects "recording" and "summary" of every JSON report. */
void view_json_recording(const struct view *v, struct json *j);
void view_json_summary(const struct view *v, struct json *j);

/* Bytes as people read them, or exactly; @buf of FORMAT_MAX. */
const char *view_bytes(char *buf, uint64_t bytes, bool exact);

/* May the output be coloured: is it a terminal, and NO_COLOR not set? */
bool output_has_color(void);
/* Columns of the terminal; 80 where it is none. */
int output_width(void);
/*
 * Prints @text, cut in its middle to @width columns if it is longer (0: never).
 * Returns how many columns that were.
 */
int print_cut(const char *text, int width);
/* After what stands on the line up to column @indent, in lines of 80 columns. */
void print_wrapped(const char *text, int indent);

#endif
