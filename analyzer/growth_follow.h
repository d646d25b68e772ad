/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_GROWTH_FOLLOW_H
#define ANALYZER_GROWTH_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "analyzer/growth_windows.h"
#include "analyzer/stale.h"
#include "store/layers.h"
#include "store/reader.h"

/* What each stack had over time, of a recording that may grow: read in slices. */
struct growth_follow {
	struct growth_windows *windows; /* of what was read so far */
	struct growth_scan *scan;	/* that fills them; NULL: it has not begun */
	bool is_there;			/* all events that there are, for now */
	bool is_unknown;		/* it cannot be known */
	struct stale stale;		/* by events */
	uint64_t shown_ns;		/* when it was said last that there is more of it */
};

void growth_follow_init(struct growth_follow *f);
void growth_follow_release(struct growth_follow *f);
/* It begins anew, as of another layer. */
void growth_follow_forget(struct growth_follow *f);
/* The recording was finished: there may be more than there was. */
void growth_follow_look_again(struct growth_follow *f);
/*
 * Reads on for about @max_ns, of layer number @layer, no further than @until_ns: 1 if there is more
 * to read.  *@ret_shown: there is something new, and it is time to show it.  What is wrong with the
 * recording is not said here: then it is not known.
 */
int growth_follow_read(struct growth_follow *f, struct store_reader *reader,
		       const struct layers *layers, uint8_t layer, uint64_t until_ns,
		       uint64_t max_ns, bool *ret_shown);
/* The moment until which it is known, where not all is there. */
uint64_t growth_follow_last_ns(const struct growth_follow *f);

#endif
