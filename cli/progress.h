/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

/*
 * A line on stderr for what takes more than a second from the first of these calls on; only
 * on a terminal.  They may be called as often as one likes.
 */
void progress_events(uint64_t events);			  /* that were read */
void progress_names(size_t done, size_t n);		  /* functions looked up, of all */
void progress_fetch(const char *file, uint64_t bytes, uint64_t of); /* of debug information */
/* Takes the line away again; what comes next has a second of its own. */
void progress_end(void);

#endif
