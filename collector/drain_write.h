/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_WRITE_H
#define COLLECTOR_DRAIN_WRITE_H

#include "collector/drain.h"

/* Writes what changes slowly (the timeline) to the recording. */
void drain_write_slow(struct drain *d);
/* Writes what was set right or could not be told (table loss). */
void drain_write_counts(struct drain *d);

#endif
