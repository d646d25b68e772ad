/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_INPUT_H
#define UI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Keys, the mouse and a new size, wherever they come from: a terminal (screen.h) or a
 * script.  A character is its code point; what is none has a code beyond them.
 */
enum input_kind {
	INPUT_NONE = 0x110000, /* nothing came in time */
	INPUT_UP,
	INPUT_DOWN,
	INPUT_LEFT,
	INPUT_RIGHT,
	INPUT_PAGE_UP,
	INPUT_PAGE_DOWN,
	INPUT_HOME,
	INPUT_END,
	INPUT_ENTER,
	INPUT_ESCAPE,
	INPUT_TAB,
	INPUT_BACK_TAB,
	INPUT_BACKSPACE,
	INPUT_DELETE,
	INPUT_F1,
	INPUT_F2,
	INPUT_F3,
	INPUT_F4,
	INPUT_F5,
	INPUT_F6,
	INPUT_F7,
	INPUT_F8,
	INPUT_F9,
	INPUT_F10,
	INPUT_MOUSE,  /* button 1 pressed at row, col; is_double where twice */
	INPUT_WHEEL_UP,
	INPUT_WHEEL_DOWN,
	INPUT_RESIZE, /* to rows, cols */
	INPUT_EOF,    /* the terminal has gone, or the script has ended */
};

struct input {
	int key; /* a code point, 1 to 26 with Ctrl; or an enum input_kind */
	int row, col; /* of the mouse; of a resize rows and columns */
	bool is_double;
};

/*
 * The first input of a script, and @*at behind it: words, separated by blanks: names as
 * input_name() has them ("Down", "F5", "^C", "Space"), a word of single characters in
 * quotes ("'main'": m a i n; "''" is one quote), "click:ROW,COL", "double:ROW,COL",
 * "wheel-up", "wheel-down", "resize:ROWSxCOLS", a number and "*" before any of them
 * repeats it ("3*Down").  A single character is itself.
 * At the end INPUT_EOF.  False where a word is none of these; @*at is at it then.
 */
struct input_script {
	const char *at;
	const char *word; /* that is being repeated or spelled; NULL: none */
	unsigned int left;
};

void input_script_begin(struct input_script *s, const char *text);
bool input_script_next(struct input_script *s, struct input *ret);

/* "Down", "F5", "^C", "Space", "a"; @buf of 16 bytes. */
const char *input_name(char *buf, int key);

#endif
