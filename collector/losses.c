/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/losses.h"

#include "collector/drain_write.h"
#include "store/loss.h"

static const enum loss kinds[PROBE_COUNTERS] = {
	[COUNTER_LOST_ALLOC] = LOSS_ALLOCS,
	[COUNTER_LOST_FREE] = LOSS_FREES,
	[COUNTER_LOST_REALLOC] = LOSS_REALLOCS,
	[COUNTER_LOST_OTHER] = LOSS_OTHER,
	[COUNTER_NO_STATE] = LOSS_NO_THREAD_STATE,
	[COUNTER_STALE_CALLS] = LOSS_STALE_CALLS,
	[COUNTER_UNREADABLE] = LOSS_UNREADABLE_BLOCKS,
	[COUNTER_LOST_STACK] = LOSS_STACKS,
	[COUNTER_STACKS_NOT_READY] = LOSS_STACKS_NOT_READY,
	[COUNTER_MAPPINGS_BUSY] = LOSS_MAPPINGS_BUSY,
	[COUNTER_LATE_TABLES] = LOSS_LATE_TABLES,
	[COUNTER_MAIN_THREAD_GONE] = LOSS_MAIN_THREAD_GONE,
	[COUNTER_SPINS] = LOSS_SPINS,
	[COUNTER_HOLDS] = LOSS_HOLDS,
};

uint64_t losses_in_ring(const struct probes *p)
{
	uint64_t n = 0;

	for (int i = 0; i < PROBE_COUNTERS; i++)
		if (loss_kinds[kinds[i]].misses_events && loss_kinds[kinds[i]].is_of_ring)
			n += probes_counter(p, (enum probe_counter)i);
	return n;
}

uint64_t losses_count(const struct probes *p, const struct drain *d)
{
	uint64_t n = d->counts.malformed + d->counts.unknown_segments;

	for (int i = 0; i < PROBE_COUNTERS; i++)
		if (loss_kinds[kinds[i]].misses_events)
			n += probes_counter(p, (enum probe_counter)i);
	return n;
}

/* What the probes could not tell, and those who read their events neither. */
static uint64_t told_by_drain(const struct drain *d, enum probe_counter counter)
{
	return counter == COUNTER_UNREADABLE ? d->counts.unknown_segments : 0;
}

void losses_put(struct store_writer *w, const struct probes *p, struct drain *d)
{
	for (int i = 0; i < PROBE_COUNTERS; i++)
		store_writer_put_loss(w, loss_kinds[kinds[i]].name,
				      probes_counter(p, (enum probe_counter)i) +
					      told_by_drain(d, (enum probe_counter)i));
	drain_write_counts(d);
}
