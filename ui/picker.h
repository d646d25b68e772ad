/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_PICKER_H
#define UI_PICKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "ui/canvas.h"
#include "ui/input.h"
#include "ui/screen.h"

/*
 * A screen on which the user chooses a process.  It knows of processes only what it is
 * given: whoever calls it lists them.
 */
struct picker;

struct picker_row {
	int pid;
	uint64_t rss_bytes;
	const char *user, *allocator, *command;
	bool is_useless; /* it cannot be recorded, as far as one can tell */
};

struct picker_options {
	bool ascii;
	const char *title; /* what choosing does */
	const char *error; /* said at first: why the one before could not be had; or NULL */
	/* Lists what there is now, by picker_add(). */
	void (*list)(void *arg, struct picker *p);
	void *arg;
};

struct picker *picker_new(const struct picker_options *o);
void picker_free(struct picker *p);
/* For list() alone.  The strings are copied. */
void picker_add(struct picker *p, const struct picker_row *row);

/* A process was chosen, or (0) none: the user has had enough. */
bool picker_is_over(const struct picker *p, int *ret_pid);
void picker_input(struct picker *p, const struct input *in);
void picker_draw(struct picker *p, struct canvas *c, int *ret_row, int *ret_col);

/* Runs it in the terminal, and lists anew now and then.  -1 with @err: there is no terminal. */
int picker_run(struct picker *p, const struct screen_options *o, int *ret_pid, struct err *err);
/* As ui_run_script(); nothing is done with what was chosen. */
int picker_run_script(struct picker *p, const char *script, int rows, int cols, bool styles,
		      struct err *err);

#endif
