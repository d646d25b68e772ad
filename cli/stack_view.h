/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_STACK_VIEW_H
#define CLI_STACK_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/view.h"
#include "common/json.h"

/* How a stack is printed. */
struct stack_view_options {
	uint64_t frames; /* at most so many lines; 0: all */
	bool wide;	 /* do not cut names */
};

#define STACK_VIEW_FRAMES 15 /* unless --frames says something else */

/* What --frames takes: "20", "all"; false where it is neither. */
bool stack_view_parse_frames(const char *text, uint64_t *ret);

/* "12 frames"; returns how many columns that were. */
int stack_view_print_depth(const struct view *v, struct stack_id id);
/* A line a frame, innermost first, indented; returns whether some were left out. */
bool stack_view_print(const struct view *v, struct stack_id id,
		      const struct stack_view_options *o);
/* Says how to see what was left out. */
void stack_view_print_hint(void);

/* The keys "truncated" and "frames" of a row. */
void stack_view_json_truncated(const struct view *v, struct stack_id id, struct json *j);
void stack_view_json_frames(const struct view *v, struct stack_id id, struct json *j);
/* All frames in one field, as tools for folded stacks take them: outermost first. */
void stack_view_print_csv(const struct view *v, struct stack_id id);

/* A line of the head, where not all stacks are complete. */
void stack_view_print_health(const struct view *v);
/* "stacks_complete" and "stacks_truncated" */
void stack_view_json_health(const struct view *v, struct json *j);

#endif
