/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UI_CANVAS_H
#define UI_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A screen as cells, without a terminal.  Views draw here; screen.c shows it, tests
 * and --dump print it.  Whatever lies outside of the canvas is left out, so that views
 * need not care how small it is.
 */

/* What a cell means; screen.c gives each a colour, or an attribute where there are none. */
enum style {
	STYLE_TEXT,
	STYLE_DIM,	/* secondary: units, paths, rules */
	STYLE_STRONG,	/* what matters of a line */
	STYLE_ACCENT,	/* the one colour: bars, the time line, the view that is shown */
	STYLE_HEAD,	/* heads of columns */
	STYLE_HEAD_SORT, /* … of the one that is sorted by */
	STYLE_BAD,	/* lost events, errors */
	STYLE_MATCH,	/* what a search has found */
	STYLE_KEY,	/* of the bar of keys at the bottom: the key … */
	STYLE_KEY_TEXT, /* … and what it does */
	STYLE_HEAT_0,	/* fills of the flame graph, the least bytes first; text is on them */
	STYLE_HEAT_1,
	STYLE_HEAT_2,
	STYLE_HEAT_3,
	STYLES
};

#define CELL_BYTES 24 /* a character with the marks that combine with it */

struct cell {
	char text[CELL_BYTES]; /* UTF-8; "": the right half of the wide one before it */
	uint8_t style;	       /* enum style */
	bool selected;	       /* on the line of the cursor */
};

struct canvas {
	int rows, cols;
	bool ascii; /* only these: lines, blocks and dots are drawn with what there is */
	struct cell *cells; /* [row * cols + column] */
};

void canvas_init(struct canvas *c, int rows, int cols, bool ascii);
void canvas_release(struct canvas *c);
/* All blank, of that size. */
void canvas_resize(struct canvas *c, int rows, int cols);
void canvas_clear(struct canvas *c);

enum align { ALIGN_LEFT, ALIGN_RIGHT };
/* What is left out where it does not fit; there a "…" stands ("~" in ASCII). */
enum cut { CUT_END, CUT_MIDDLE, CUT_START };

/*
 * @text at a place, in @width columns; the rest of them becomes blank, in @style too.
 * Control characters, and what is no UTF-8, are shown as "?"; a tab as a blank.
 * In ASCII other characters are "?" too, but for those views draw with (below).
 */
void canvas_text(struct canvas *c, int row, int col, int width, const char *text, enum style style,
		 enum align align, enum cut cut);
/* As much of @text as fits before the right edge, without blanks behind.  Returns its columns. */
int canvas_put(struct canvas *c, int row, int col, const char *text, enum style style);
/* Columns that it would take. */
int canvas_columns(const char *text);

/* One character @width times; e.g. "─". */
void canvas_fill(struct canvas *c, int row, int col, int width, const char *character,
		 enum style style);
/* Keeps the text. */
void canvas_set_style(struct canvas *c, int row, int col, int width, enum style style);
/* Until something is drawn there. */
void canvas_select(struct canvas *c, int row, int col, int width);
/* Marks each place where @what is in the text of the row, whatever its case. */
void canvas_mark(struct canvas *c, int row, int col, int width, const char *what);

/* A bar that is @share (0 to 1) of @width long, in eighths of a column; "#" in ASCII. */
void canvas_bar(struct canvas *c, int row, int col, int width, double share, enum style style);
/*
 * @n values (@n = 2 * @width) as a filled curve in braille, @height rows high; the largest
 * reaches @max.  In ASCII, columns of "#", ":" and ".".
 */
void canvas_curve(struct canvas *c, int row, int col, int width, int height, const double *values,
		  double max, enum style style);

/* All rows, without blanks at their ends, each with a newline; to be freed. */
char *canvas_dump(const struct canvas *c);
/*
 * The same with a letter a cell for its style, "." for STYLE_TEXT, upper case ("T") where
 * selected; without "." at the ends.
 */
char *canvas_dump_styles(const struct canvas *c);

#endif
