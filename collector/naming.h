/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_NAMING_H
#define COLLECTOR_NAMING_H

#include <stdbool.h>

#include "collector/call_sites.h"

/*
 * Says in the recording of which kind its names will be, and that none was looked up yet.
 * @on_names: see struct call_sites.
 */
void naming_begin(struct call_sites *c, bool linkage_names,
		  void (*on_names)(size_t done, size_t n));
/*
 * Looks up functions, files and lines of all frames: until it takes too long, or a
 * signal says that nobody wants to wait (SIGINT, SIGTERM, SIGHUP, which are to be
 * blocked).  False: not all have been;
 * the recording says so, too.
 */
bool naming_run(struct call_sites *c);

#endif
