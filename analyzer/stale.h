/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_STALE_H
#define ANALYZER_STALE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Reads that found that what comes next was dropped meanwhile (-ESTALE), and begin anew behind
 * it: a recording may only say so, for ever.
 */
struct stale {
	bool is_of_finished; /* it began, or did so anew, in a recording that drops no more */
	uint64_t furthest;   /* where it got, in whatever it counts, and … */
	unsigned int tries;  /* … how often it came no further */
};

/* It came to @at: 1 if it is to begin anew, or -EBADMSG. */
int stale_begin_anew(struct stale *s, uint64_t at);

#endif
