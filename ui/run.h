/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_RUN_H
#define UI_RUN_H

#include <stdbool.h>

#include "common/err.h"
#include "ui/screen.h"
#include "ui/ui.h"

/* Runs it in the terminal until the user has enough.  -1 with @err: there is no terminal. */
int ui_run(struct ui *u, const struct screen_options *o, struct err *err);

/* As script_run(), each input when all that is to be shown has been read. */
int ui_run_script(struct ui *u, const char *script, int rows, int cols, bool styles,
		  struct err *err);

#endif
