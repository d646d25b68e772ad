/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_TUI_H
#define CLI_TUI_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/command.h"
#include "cli/live_names.h"
#include "common/err.h"
#include "ui/run.h"
#include "ui/ui.h"

/* What `view` and `top` have in common: the interface, with what it may not know itself. */
struct tui_options {
	const char *path;
	struct store_earlier *earlier; /* see history_open_after() */
	const char **skip; /* to be freed */
	size_t n_skip, cap_skip;
	bool ascii;
	bool no_settings;
	const char *layer; /* that is shown first, or NULL */
	struct screen_options screen;
	const char *script; /* keys, without a terminal; NULL: none */
	bool dump, dump_styles, has_size;
	int rows, cols;
	/* instead of what the recording says of itself; or NULL */
	const char *(*state)(void *arg, const struct history *h, bool *ret_is_growing);
	void (*poll)(void *arg); /* or NULL */
	const char *(*command)(void *arg, enum ui_command command, const char *text); /* or NULL */
	void *arg;
	/* its own: */
	struct ui *ui;
	struct live_names names;
	char *settings;
};

#define TUI_OPTIONS_DEFAULT {.rows = 24, .cols = 80}

/* Options that both have, for getopt_long(). */
enum {
	OPTION_SKIP = OPTION_FIRST_LONG,
	OPTION_ASCII,
	OPTION_NO_COLOR,
	OPTION_NO_MOUSE,
	OPTION_NO_SETTINGS,
	OPTION_SCRIPT,
	OPTION_DUMP,
	OPTION_DUMP_STYLES,
	OPTION_SIZE,
	OPTION_SHOWN_LAYER,
	OPTION_FIRST_OF_COMMAND,
};

#define TUI_OPTIONS \
	{"skip", required_argument, NULL, OPTION_SKIP}, \
	{"ascii", no_argument, NULL, OPTION_ASCII}, \
	{"no-color", no_argument, NULL, OPTION_NO_COLOR}, \
	{"no-mouse", no_argument, NULL, OPTION_NO_MOUSE}, \
	{"no-settings", no_argument, NULL, OPTION_NO_SETTINGS}, \
	{"script", required_argument, NULL, OPTION_SCRIPT}, \
	{"dump", no_argument, NULL, OPTION_DUMP}, \
	{"dump-styles", no_argument, NULL, OPTION_DUMP_STYLES}, \
	{"size", required_argument, NULL, OPTION_SIZE}, \
	{"layer", required_argument, NULL, OPTION_SHOWN_LAYER}

/* One of them, or (@ret_done) another that no case took; returns an exit status. */
int tui_take_option(const struct command *c, struct tui_options *o, int option, bool *ret_done);
/* Do they go together? */
int tui_check_options(const struct command *c, struct tui_options *o);
/* Only with such characters: by the options, and by the locale. */
bool tui_is_ascii(const struct tui_options *o);
/* All of `view`: in the terminal or by script.  Returns the exit status. */
int tui_run_file(struct tui_options *o);

/* -errno with @err: the recording cannot be read.  @ret is valid until tui_close(). */
int tui_open(struct tui_options *o, struct ui **ret, struct err *err);
void tui_close(struct tui_options *o);

#endif
