/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_LOSSES_H
#define COLLECTOR_LOSSES_H

#include <stdint.h>

#include "collector/drain.h"
#include "collector/probes.h"
#include "store/writer.h"

/* What the probes could not hand over, and what the drain set right: the table loss. */

/* The events that are missing: where there are any, numbers are incomplete. */
uint64_t losses_count(const struct probes *p, const struct drain *d);
/* Of them, those that a larger ring would have had room for. */
uint64_t losses_in_ring(const struct probes *p);
/* Writes the counts of all kinds; may be called again. */
void losses_put(struct store_writer *w, const struct probes *p, struct drain *d);

#endif
