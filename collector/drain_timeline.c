/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain_timeline.h"

#include <string.h>

#define TIMELINE_FIRST_WIDTH_NS 1000000ull

void drain_timeline_init(struct drain *d)
{
	d->timeline_width_ns = TIMELINE_FIRST_WIDTH_NS;
}

static void timeline_double(struct drain *d)
{
	for (size_t i = 0; i < TIMELINE_BUCKETS / 2; i++) {
		const struct timeline_bucket *a = &d->timeline[2 * i], *b = a + 1;
		bool has_b = 2 * i + 1 < d->timeline_used;

		d->timeline[i] = (struct timeline_bucket){
			.allocs = a->allocs + b->allocs,
			.frees = a->frees + b->frees,
			.allocated_bytes = a->allocated_bytes + b->allocated_bytes,
			.live_bytes = has_b ? b->live_bytes : a->live_bytes,
			.max_live_bytes = a->max_live_bytes > b->max_live_bytes ? a->max_live_bytes
										: b->max_live_bytes,
		};
	}
	memset(&d->timeline[TIMELINE_BUCKETS / 2], 0, sizeof(d->timeline) / 2);
	d->timeline_used = (d->timeline_used + 1) / 2;
	d->timeline_width_ns *= 2;
}

/* The last bucket is to be that of @t_ns; @live: what was live until then. */
static void timeline_extend(struct drain *d, uint64_t t_ns, uint64_t live)
{
	size_t i;

	if (!d->timeline_start_ns)
		d->timeline_start_ns = t_ns;
	while ((t_ns - d->timeline_start_ns) / d->timeline_width_ns >= TIMELINE_BUCKETS)
		timeline_double(d);
	i = (t_ns - d->timeline_start_ns) / d->timeline_width_ns;
	for (; d->timeline_used <= i; d->timeline_used++)
		d->timeline[d->timeline_used].live_bytes =
			d->timeline[d->timeline_used].max_live_bytes = live;
	d->timeline_until_ns =
		d->timeline_start_ns + d->timeline_used * d->timeline_width_ns;
}

void drain_timeline_add(struct drain *d, const struct event *e, uint64_t before)
{
	uint64_t live = d->live_bytes;
	struct timeline_bucket *b;

	if (e->t_ns >= d->timeline_until_ns)
		timeline_extend(d, e->t_ns, before);
	b = &d->timeline[d->timeline_used - 1];
	if (event_allocates(e)) {
		b->allocs++;
		b->allocated_bytes += e->size;
	}
	b->frees += event_frees(e);
	b->live_bytes = live;
	if (live > b->max_live_bytes)
		b->max_live_bytes = live;
}

void drain_write_slow(struct drain *d)
{
	store_writer_put_timeline(d->writer, d->timeline, d->timeline_used, d->timeline_start_ns,
				  d->timeline_width_ns);
}
