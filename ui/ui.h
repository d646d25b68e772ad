/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_UI_H
#define UI_UI_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/history.h"
#include "common/err.h"
#include "ui/canvas.h"
#include "ui/input.h"

/*
 * The terminal interface on one recording, finished or growing: input goes in, a
 * canvas comes out.  It knows no terminal: run.h has the loops.
 */
struct ui;

/*
 * What is done to the recording, where there is a recorder to do it; `top` has one.  After
 * UI_ATTACH the interface is over, for another one, or to be resumed.
 */
enum ui_command { UI_ATTACH, UI_DETACH, UI_SAVE, UI_SNAPSHOT };

struct ui_options {
	const char *path;
	struct store_earlier *earlier; /* see history_open_after() */
	bool ascii;
	const char *const *skip; /* patterns of functions that are never own, see own.h */
	size_t n_skip;
	const char *layer; /* that is shown first; NULL: the heap */
	const char *settings_path; /* where the state is kept from one time to the next, or NULL */
	/* How the recording stands, in a word, and whether it grows; may be NULL. */
	const char *(*state)(void *arg, const struct history *h, bool *ret_is_growing);
	/*
	 * Looks up names that the recording lacks (history_name()), without waiting for
	 * longer than @max_ns: true if there are more to come.  May be NULL.
	 */
	bool (*complete)(void *arg, struct history *h, uint64_t max_ns);
	void *complete_arg;
	/* NULL: there is no recorder.  Returns what to tell the user, which stays the callee's. */
	const char *(*command)(void *arg, enum ui_command command, const char *text);
	/* Called now and then, to look what the recorder does; may be NULL. */
	void (*poll)(void *arg);
	void *arg;
};

int ui_new(const struct ui_options *o, struct ui **ret, struct err *err);
void ui_free(struct ui *u);

/* Reads on, for about @max_ns: true if there is more to read at once. */
bool ui_read(struct ui *u, uint64_t max_ns);
/* Prepares for what may be asked next, for about @max_ns: true if there is more to do. */
bool ui_prepare(struct ui *u, uint64_t max_ns);
/* Is it still growing, so that it is to be asked again now and then? */
bool ui_is_live(const struct ui *u);
void ui_input(struct ui *u, const struct input *in);
bool ui_is_over(const struct ui *u);
/* It was over, and goes on. */
void ui_resume(struct ui *u);
/* A message from outside, until the next input. */
void ui_tell(struct ui *u, bool is_bad, const char *text);
/* As it was asked for. */
bool ui_is_ascii(const struct ui *u);
/* Fills the canvas, whatever its size is.  @ret_row, @ret_col: the cursor's place, or -1. */
void ui_draw(struct ui *u, struct canvas *c, int *ret_row, int *ret_col);
/* Has anything changed since it was drawn? */
bool ui_is_changed(const struct ui *u);

#endif
