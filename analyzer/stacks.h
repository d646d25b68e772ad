/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_STACKS_H
#define ANALYZER_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/analysis.h"
#include "store/reader.h"
#include "store/record.h"

/*
 * The stacks of a recording, as they are shown.  The recording is untrusted: a
 * chain of parents may be a circle, lead nowhere, or never end.
 */
#define STACK_FRAMES_MAX 1024

enum { /* after those of enum stack_end */
	STACK_END_UNKNOWN = STACK_ENDS, /* a reason of later versions, or damage */
	STACK_UNRECORDED,		/* no stack was wanted */
	STACK_WALK_ENDS
};

struct stack_walk {
	struct frame_id frames[STACK_FRAMES_MAX]; /* innermost first; all are in the catalog */
	size_t n;
	uint8_t end; /* enum stack_end, or one of the above */
};

/*
 * The frames of the stack @id.  Whatever the recording says of them, these are not
 * complete: one that is not there has no frames and is STACK_LOST (the id 0
 * STACK_UNRECORDED); where its parents are not there it is STACK_BROKEN, where they
 * do not end STACK_TOO_DEEP.
 */
void stacks_walk(const struct catalog *c, struct stack_id id, struct stack_walk *ret);

/*
 * The same one frame after the other, for who wants but the innermost ones: begin with
 * {.catalog, .stack}; {0} after the last.
 */
struct stack_steps {
	const struct catalog *catalog;
	struct stack_id stack; /* the next one */
	struct frame_id frame; /* the next one, of the stack before */
	size_t n;	       /* frames so far */
};

struct frame_id stacks_step(struct stack_steps *w);

/*
 * Calls @visit once for each stack that is there, after its caller's: what all need to
 * know is so found out without walking each.  @parent is 0 at the outermost frame;
 * @is_cut: there it should not end, as its caller is not there, or it is in a circle.
 */
typedef void stacks_visitor(void *arg, struct stack_id id, struct stack_id parent, bool is_cut);

void stacks_visit(const struct catalog *c, stacks_visitor *visit, void *arg);

/* A reason as programs read it: "too_deep", NULL for STACK_COMPLETE.  @end may be anything. */
const char *stacks_end_name(unsigned int end);
/* The same for people: "too deep"; "complete". */
const char *stacks_end_text(unsigned int end);

/* ---- frames that read the same ------------------------------------------------------ */

/*
 * Two frames are the same to a reader if they have the same function, module and,
 * where it is known, line; or, without a function's name, the same address in the module.
 */
bool stacks_same_frame(const struct catalog *c, struct frame_id a, struct frame_id b);

/* [frame id] the first of the frames that read the same; to be freed. */
uint32_t *stacks_classify_frames(const struct catalog *c);
/* The same for frames of one function, whatever the line; to be freed. */
uint32_t *stacks_classify_functions(const struct catalog *c);
/* [stack] a hash that is the same where frames read the same and end alike; to be freed. */
uint64_t *stacks_identities(const struct catalog *c, const uint32_t *classes);

/* ---- what to show of a long one ----------------------------------------------------- */

struct stack_line {
	enum stack_line_kind {
		STACK_LINE_FRAME,
		STACK_LINE_REPEATED, /* the @cycle frames before come @n times more */
		STACK_LINE_LEFT_OUT, /* @n frames are not shown */
	} kind;
	size_t n; /* of a frame: its place in the walk */
	size_t cycle;
	size_t frames; /* that the line stands for */
};

/*
 * A stack in lines, recursion folded, and at most @max of them (0: all): the middle
 * is left out, and one line says so; a third of the rest is of the outer end.
 * @ret has room for STACK_FRAMES_MAX.  Returns how many there are.
 */
size_t stacks_lines(const struct catalog *c, const struct stack_walk *w, size_t max,
		    struct stack_line *ret);

/* ---- how complete they are ---------------------------------------------------------- */

struct stack_counts {
	struct stack_count {
		uint64_t stacks, alloc_calls;
	} ends[STACK_WALK_ENDS];
	struct stack_count all;
};

/* Of the stacks that blocks were allocated with. */
void stacks_count(const struct catalog *c, const struct analysis *a, struct stack_counts *ret);
/* Not, if nothing but callers was recorded, or not even those, as one may ask for. */
bool stacks_have_frames(const struct stack_counts *counts);

/* Where truncated stacks end: the module of the outermost frame, and why. */
struct stack_blame {
	struct module_id module;
	uint8_t end; /* as in struct stack_walk; never STACK_CALLER or STACK_UNRECORDED */
	struct stack_count count;
};

struct stack_blames {
	struct stack_blame *blames; /* the most calls first */
	size_t n, cap;
};

void stacks_blame(const struct catalog *c, const struct analysis *a, struct stack_blames *ret);
void stacks_blame_release(struct stack_blames *b);

#endif
