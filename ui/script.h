/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_SCRIPT_H
#define UI_SCRIPT_H

/* Runs what is on the screen without a terminal: by a script of inputs (input.h). */

#include <stdbool.h>

#include "common/err.h"
#include "ui/canvas.h"
#include "ui/input.h"

/* What can be run so: it draws itself, and takes inputs until it is over. */
struct script_target {
	void *arg;
	void (*draw)(void *arg, struct canvas *c); /* when there is nothing more to wait for */
	void (*input)(void *arg, const struct input *in);
	bool (*is_over)(void *arg);
};

/*
 * Gives it the inputs of @script, each when all that is to be shown is drawn.  The last
 * screen, of that size, is printed; with @styles a letter for each cell's style after it.
 * -1 with @err where the script has a mistake.
 */
int script_run(const struct script_target *s, bool ascii, const char *script, int rows,
	       int cols, bool styles, struct err *err);

#endif
