/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_LOSS_H
#define STORE_LOSS_H

#include <stdbool.h>

/* What can be missing from a recording, or was set right: the rows of its table loss. */
enum loss {
	LOSS_ALLOCS,
	LOSS_FREES,
	LOSS_REALLOCS,
	LOSS_OTHER,
	LOSS_NO_THREAD_STATE,
	LOSS_UNREADABLE_BLOCKS,
	LOSS_MAIN_THREAD_GONE,
	LOSS_STALE_CALLS,
	LOSS_UNFINISHED_REALLOCS,
	LOSS_IMPLIED_FREES,
	LOSS_UNKNOWN_FREES,
	LOSS_INTERNAL_FREES,
	LOSS_DOUBLE_FREES,
	LOSS_MISMATCHED_FREES,
	LOSS_MALFORMED_EVENTS,
	LOSS_SPINS,
	LOSS_HOLDS,
	LOSS_STACKS,
	LOSS_STACKS_NOT_READY,
	LOSS_MAPPINGS_BUSY,
	LOSS_LATE_TABLES,
	LOSS_GUESSED_FRAMES,
	LOSSES
};

struct loss_kind {
	const char *name;     /* as it is stored */
	bool misses_events;   /* events are missing: numbers are incomplete */
	bool is_of_ring;      /* a larger ring, or waiting for it, prevents it */
	const char *meaning;  /* of what it counts, in the plural */
};

extern const struct loss_kind loss_kinds[LOSSES];

#endif
