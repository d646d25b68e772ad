/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_SCREEN_H
#define UI_SCREEN_H

#include <stdbool.h>

#include "common/err.h"
#include "ui/canvas.h"
#include "ui/input.h"

/*
 * The terminal.  There is one, so there is no struct: curses keeps its state in
 * globals.  Only screen.c and keyboard.c know curses.
 *
 * However the process ends but by SIGKILL, the terminal is as it was: normal exits,
 * SIGTERM, SIGHUP, SIGINT, crashes (which then go on to kill it), want of memory.
 * Ctrl-Z stops it with the terminal restored; fg draws all again (INPUT_RESIZE).
 */
struct screen_options {
	bool no_color; /* NO_COLOR is looked at anyway */
	bool no_mouse;
};

/* Could it be opened?  -1 with @err, as below; nothing is done to the terminal. */
int screen_check(struct err *err);
/* -1 with @err where stdin or stdout is no terminal, or TERM is not known. */
int screen_open(const struct screen_options *o, struct err *err);
void screen_close(void);
void screen_size(int *ret_rows, int *ret_cols);
/* Can it show other characters than ASCII? */
bool screen_is_ascii(void);
/* Sends to the terminal what differs from what was shown last. */
void screen_show(const struct canvas *c);
/* The cursor is seen there; row -1: nowhere. */
void screen_cursor(int row, int col);

/*
 * The next input, or INPUT_NONE after @wait_ms (-1: waits for ever), or as soon as
 * @also_fd (-1: none) can be read.
 */
struct input screen_input(int wait_ms, int also_fd);

#endif
