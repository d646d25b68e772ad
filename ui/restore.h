/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_RESTORE_H
#define UI_RESTORE_H

#include <stdbool.h>

/*
 * The terminal as it was, however the process ends: of stdin's modes and a string that
 * undoes the rest.  Knows no curses, so that signal handlers may use it.
 */

/*
 * Keeps the modes, and sets up handlers and a hook for want of memory.  A signal that
 * ends the process and is ignored, or handled by someone else, is left to them; crashes
 * go on to who handled them before.  To be called before curses changes anything.
 */
void restore_begin(void);
/*
 * What undoes the rest is @sequence of @len bytes, from now on; it is copied, and cut off at
 * 256.  @needs_line: what was drawn stays, so that the shell needs a line below it.
 */
void restore_with(const char *sequence, unsigned int len, bool needs_line);
/* Curses has restored the terminal: but for that line nothing is done from now on … */
void restore_end(void);
/* … until it is to be restored once more. */
void restore_again(void);
/* Does it, if it is to be done, and not by a child of who began; async-signal-safe. */
void restore_now(void);
/* Is this the process that began, and no child of it? */
bool restore_is_ours(void);

/*
 * Stops the process, or its whole group, as the terminal does it for Ctrl-Z; returns when
 * it goes on.  The terminal is the caller's business.
 */
void restore_stop(bool group);

#endif
