/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_KEYBOARD_H
#define UI_KEYBOARD_H

#include <stdbool.h>

/* The half of screen.h that is screen_input().  For screen.c, when curses has begun. */
void keyboard_open(bool has_mouse);
void keyboard_close(void);

#endif
