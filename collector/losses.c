/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/losses.h"

#include <stdbool.h>

static const struct {
	const char *kind;
	bool is_incomplete; /* events are missing for it */
} kinds[PROBE_COUNTERS] = {
	[COUNTER_LOST_ALLOC] = {"lost_allocs", true},
	[COUNTER_LOST_FREE] = {"lost_frees", true},
	[COUNTER_LOST_REALLOC] = {"lost_reallocs", true},
	[COUNTER_LOST_OTHER] = {"lost_other", false},
	[COUNTER_NO_STATE] = {"no_thread_state", true},
	[COUNTER_STALE_CALLS] = {"stale_calls", false},
	[COUNTER_UNREADABLE] = {"unreadable_blocks", true},
	[COUNTER_LOST_STACK] = {"lost_stacks", false},
	[COUNTER_STACKS_NOT_READY] = {"stacks_not_ready", false},
	[COUNTER_MAPPINGS_BUSY] = {"mappings_busy", false},
	[COUNTER_LATE_TABLES] = {"late_tables", false},
	[COUNTER_MAIN_THREAD_GONE] = {"main_thread_gone", true},
	[COUNTER_SPINS] = {"spins", false},
	[COUNTER_HOLDS] = {"holds", false},
};

uint64_t losses_count(const struct probes *p, const struct drain *d)
{
	uint64_t n = d->counts.malformed;

	for (int i = 0; i < PROBE_COUNTERS; i++)
		if (kinds[i].is_incomplete)
			n += probes_counter(p, (enum probe_counter)i);
	return n;
}

void losses_put(struct store_writer *w, const struct probes *p, struct drain *d)
{
	for (int i = 0; i < PROBE_COUNTERS; i++)
		store_writer_put_loss(w, kinds[i].kind, probes_counter(p, (enum probe_counter)i));
	drain_write_counts(d);
}
