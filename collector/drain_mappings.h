/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_DRAIN_MAPPINGS_H
#define COLLECTOR_DRAIN_MAPPINGS_H

#include "collector/drain.h"

/*
 * Layer mmap: a block is what one call has mapped, in whole pages.  Of one that loses a part
 * the rest stays, as a piece or two, with the stack and the time of the call that made it.
 * What was mapped before the recording is not known, and that it goes is no event.
 */
void drain_note_mapping(struct drain *d, const struct ring_mapping *r);

#endif
