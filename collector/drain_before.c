/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain.h"
#include "collector/drain_small.h"

void drain_add_before(struct drain *d, uint8_t family, struct stack_id stack, uint64_t address,
		      uint64_t usable, uint64_t t_ns)
{
	struct event e = {.kind = EVENT_ALLOC,
			  .family = family,
			  .thread = {THREAD_OF_BEFORE},
			  .stack = stack,
			  .address = address,
			  .size = usable,
			  .usable = usable};
	uint32_t slot;

	if (pairing_is_block(pairing_find(&d->pairing, address, NULL)))
		return;
	if (t_ns > d->last_ns)
		d->last_ns = t_ns;
	e.t_ns = d->last_ns;
	d->before.blocks++;
	d->before.bytes += usable;
	if (usable < d->min_size) {
		drain_know_small(d, family, address, usable);
		return;
	}
	slot = drain_emit(d, &e);
	if (slot != NO_SLOT)
		pairing_put(&d->pairing, address, slot);
}
