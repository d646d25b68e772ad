/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_LIVE_NAMES_H
#define CLI_LIVE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/history.h"

/*
 * Names for a recording that has none yet, since the recorder looks them up at its end,
 * or never came to it.  They are looked up in a child process, on a copy of the catalog,
 * so that nobody waits for large debug information.
 */
struct live_names {
	int pid; /* of the child at work, or 0 */
	int fd;	 /* what it finds comes from there */
	uint8_t *data;
	size_t len, cap;
	unsigned int loads; /* of the history when it began */
	size_t asked;	    /* frames that were looked up since; they may have no names */
	uint64_t next_ns;   /* not before */
};

/*
 * Takes what has been found, and begins to look up what has none.  Waits for @max_ns at
 * most: true if there is more to come.
 */
bool live_names_complete(struct live_names *n, struct history *h, uint64_t max_ns);
/* Ends the child. */
void live_names_release(struct live_names *n);

#endif
