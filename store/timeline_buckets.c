/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "store/timeline_buckets.h"

#include <string.h>

#define FIRST_WIDTH_NS 1000000ull

void timeline_buckets_init(struct timeline_buckets *t)
{
	memset(t, 0, sizeof(*t));
	t->width_ns = FIRST_WIDTH_NS;
}

static void double_width(struct timeline_buckets *t)
{
	for (size_t i = 0; i < TIMELINE_BUCKETS / 2; i++) {
		const struct timeline_bucket *a = &t->buckets[2 * i], *b = a + 1;
		bool has_b = 2 * i + 1 < t->n;

		t->buckets[i] = (struct timeline_bucket){
			.allocs = a->allocs + b->allocs,
			.frees = a->frees + b->frees,
			.allocated_bytes = a->allocated_bytes + b->allocated_bytes,
			.live_bytes = has_b ? b->live_bytes : a->live_bytes,
			.max_live_bytes = a->max_live_bytes > b->max_live_bytes ? a->max_live_bytes
										: b->max_live_bytes,
		};
	}
	memset(&t->buckets[TIMELINE_BUCKETS / 2], 0, sizeof(t->buckets) / 2);
	t->n = (t->n + 1) / 2;
	t->width_ns *= 2;
}

/* The last bucket is to be that of @t_ns; @live: what was live until then. */
static void extend(struct timeline_buckets *t, uint64_t t_ns, uint64_t live)
{
	size_t i;

	if (!t->start_ns)
		t->start_ns = t_ns;
	while ((t_ns - t->start_ns) / t->width_ns >= TIMELINE_BUCKETS)
		double_width(t);
	i = (t_ns - t->start_ns) / t->width_ns;
	for (; t->n <= i; t->n++)
		t->buckets[t->n].live_bytes = t->buckets[t->n].max_live_bytes = live;
	t->until_ns = t->start_ns + t->n * t->width_ns;
}

void timeline_buckets_add(struct timeline_buckets *t, const struct event *e, uint64_t before,
			  uint64_t live)
{
	struct timeline_bucket *b;

	if (e->t_ns >= t->until_ns)
		extend(t, e->t_ns, before);
	b = &t->buckets[t->n - 1];
	if (event_is_alloc_call(e)) {
		b->allocs++;
		b->allocated_bytes += e->size;
	}
	b->frees += event_frees(e);
	b->live_bytes = live;
	if (live > b->max_live_bytes)
		b->max_live_bytes = live;
}
