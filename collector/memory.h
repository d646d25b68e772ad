/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_MEMORY_H
#define COLLECTOR_MEMORY_H

#include <sys/types.h>

#include "collector/hold.h"
#include "common/err.h"
#include "store/snapshot.h"

/*
 * What of a process's memory is resident: /proc/PID/smaps and pagemap.  Of files, shared
 * memory and the like smaps alone says it; of anonymous memory of its own each page is looked
 * at.  The kernel does not say there which pages are the zero page before Linux 6.7, unless to
 * who has CAP_SYS_ADMIN: then they are told by what smaps has as a sum.
 *
 * Process @h holds: nothing moves, and nothing becomes resident by the look.  Returns 0 with
 * @ret, to be released; or a negative errno with @err.
 */
int memory_read(const struct hold *h, struct snapshot *ret, struct err *err);

#endif
