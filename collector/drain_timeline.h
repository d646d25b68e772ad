/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_TIMELINE_H
#define COLLECTOR_DRAIN_TIMELINE_H

#include <stdint.h>

#include "collector/drain.h"

/* The heap over time: of a drain's events in layer heap. */
void drain_timeline_init(struct drain *d);
/* @before: what was live before the event. */
void drain_timeline_add(struct drain *d, const struct event *e, uint64_t before);

#endif
