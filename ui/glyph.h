/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_GLYPH_H
#define UI_GLYPH_H

#include <stdbool.h>
#include <stdint.h>

#include "ui/canvas.h"

/* What one cell shows, or two for a wide character: a character and the marks on it. */
struct glyph {
	char text[CELL_BYTES];
	int columns; /* 1 or 2; 0: at the end of a text that has none any more */
};

/*
 * The first of @text, which is not empty, and where the next one begins.  What must not
 * get to a terminal is "?", see canvas_text(); what would not be seen is left out.
 * Widths are those of wcwidth() in a UTF-8 locale, whatever the process's locale is.
 */
const char *glyph_next(const char *text, bool ascii, struct glyph *ret);

/* The same, but for the case of letters? */
bool glyph_is_same(const char *a, const char *b);

/* The character that @text begins with, or -1 where that is none; *@ret_length: its bytes. */
int32_t glyph_decode(const char *text, int *ret_length);
/* The other way; @buf of 5 bytes.  Returns its bytes, 0 for what is no character. */
int glyph_encode(char *buf, uint32_t character);

#endif
