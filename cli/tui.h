/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_TUI_H
#define CLI_TUI_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/live_names.h"
#include "common/err.h"
#include "ui/run.h"
#include "ui/ui.h"

/* What `view` and `top` have in common: the interface, with what it may not know itself. */
struct tui_options {
	const char *path;
	const char *const *skip;
	size_t n_skip;
	bool ascii;
	bool no_settings;
	struct screen_options screen;
	const char *(*command)(void *arg, enum ui_command command, const char *text); /* or NULL */
	void *arg;
	/* its own: */
	struct ui *ui;
	struct live_names names;
	char *settings;
};

/* -errno with @err: the recording cannot be read.  @ret is valid until tui_close(). */
int tui_open(struct tui_options *o, struct ui **ret, struct err *err);
void tui_close(struct tui_options *o);

#endif
