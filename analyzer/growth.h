/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_H
#define ANALYZER_GROWTH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Does it grow without end?  What a series of numbers, of windows of equal width, looks like:
 * told by its robust slope (Theil and Sen: the median of the slopes between all pairs, which
 * a third of wrong values does not move), by the Mann-Kendall statistic, corrected for values
 * that depend on those before them, and by its shape.
 *
 * What counts are the floors: blocks that were there all through a window.  Those that come and
 * go are not in them, however many; nor is a sawtooth that is quicker than the windows.
 */
enum growth_shape {
	GROWTH_SHORT,	  /* too few windows to tell */
	GROWTH_FLAT,	  /* neither up nor down */
	GROWTH_STEADY,	  /* grows: from the beginning, or soon after it */
	GROWTH_LATE,	  /* grows: began later, and goes on */
	GROWTH_LEVELLED,  /* grew, and stays: a cache that has filled */
	GROWTH_STEP,	  /* grew at once, and stays */
	GROWTH_SAWTOOTH,  /* grows, and is emptied again and again */
	GROWTH_WAVES,	  /* goes up and down: a rhythm */
	GROWTH_FALLING,	  /* becomes less */
	GROWTH_UNCLEAR,	  /* rises, but not as surely as it would take */
	GROWTH_SHAPES
};

#define GROWTH_WINDOWS_MIN 12  /* fewer do not tell */
#define GROWTH_WINDOWS_MAX 48  /* more are not needed: pairs grow with the square */

struct growth {
	enum growth_shape shape;
	bool is_growing; /* steady or late */
	size_t since;	 /* the window from which on it is judged */
	double slope, low, high; /* a window: of the floors, and its 95 % interval */
	double confidence; /* 0 to 1: that it rises */
};

/* What is asked: of what does not grow the shape takes longer. */
enum growth_question { GROWTH_ONLY, GROWTH_SHAPE };

/*
 * @n windows, at most GROWTH_WINDOWS_MAX: what was there all through each, and at its end.  Of what
 * does not grow only @ret->is_growing is said where that is the question.
 */
void growth_judge(const double *floors, const double *ends, size_t n,
		  enum growth_question question, struct growth *ret);
/* "steady", "levelled off". */
const char *growth_shape_text(enum growth_shape shape);
/* The same as programs read it: "levelled_off". */
const char *growth_shape_name(enum growth_shape shape);

#endif
