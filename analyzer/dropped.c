/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/dropped.h"

#include <stdlib.h>

#include "common/format.h"
#include "common/xalloc.h"
#include "store/record.h"

static uint64_t number(const struct catalog *c, const char *key)
{
	int64_t n = catalog_number(c, key, 0);

	return n > 0 ? (uint64_t)n : 0;
}

bool dropped_read(const struct catalog *c, struct dropped *ret)
{
	uint64_t until = number(c, DROPPED_UNTIL_KEY), start = number(c, "start_ns");

	*ret = (struct dropped){
		.max_size = number(c, "max_size"),
		.state_bytes = number(c, "max_size_too_small"),
	};
	ret->events = number(c, DROPPED_EVENTS_KEY);
	if (ret->events) {
		ret->are_elsewhere = !number(c, DROPPED_CHUNKS_KEY);
		ret->until_ns = until > start ? until - start : 0;
	}
	return ret->events || ret->state_bytes;
}

static const char *where(const struct dropped *d)
{
	if (!d->are_elsewhere)
		return "were dropped (--max-size)";
	return d->max_size ? "are in earlier files (--every), as far as those are still there "
			     "(--max-size)"
			   : "are in earlier files (--every)";
}

char *dropped_text(const struct dropped *d)
{
	char t[FORMAT_MAX], n[FORMAT_MAX], max[FORMAT_MAX], state[FORMAT_MAX];
	char *events = NULL, *small = NULL, *text;

	if (d->events)
		events = xasprintf("Events before %s %s: %s; totals, peak and what is live are "
				   "exact", format_duration(t, d->until_ns),
				   where(d),
				   format_count(n, d->events));
	if (d->state_bytes)
		small = xasprintf("--max-size %s was too small: the state of the heap alone took "
				  "%s", format_bytes(max, d->max_size),
				  format_bytes(state, d->state_bytes));
	text = xasprintf("%s%s%s", events ? events : "", events && small ? ". " : "",
			 small ? small : "");
	free(events);
	free(small);
	return text;
}

char *dropped_layer_text(const struct dropped *d, const char *layer)
{
	char t[FORMAT_MAX];

	return xasprintf("Layer %s: blocks allocated after %s; of those before, whose events %s, "
			 "nothing is known", layer, format_duration(t, d->until_ns),
			 where(d));
}
