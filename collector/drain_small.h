/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_SMALL_H
#define COLLECTOR_DRAIN_SMALL_H

#include "collector/drain.h"

/* A block that was there before: no call. */
void drain_know_small(struct drain *d, uint8_t family, uint64_t address, uint64_t size);
/* Blocks below --min-size: they are paired, and counted. */
void drain_begin_small(struct drain *d, uint8_t family, uint64_t address, uint64_t size);
/* Its address no longer leads to it. */
void drain_end_small(struct drain *d, uint64_t size);

#endif
