/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STORE_TIMELINE_BUCKETS_H
#define STORE_TIMELINE_BUCKETS_H

#include <stddef.h>
#include <stdint.h>

#include "store/record.h"

/*
 * What is live over time, in buckets of equal width: these double it where time outgrows them,
 * so that there are never more.
 */
#define TIMELINE_BUCKETS 1024

struct timeline_buckets {
	struct timeline_bucket buckets[TIMELINE_BUCKETS];
	size_t n;
	uint64_t start_ns, width_ns;
	uint64_t until_ns; /* the last of them begins one width before */
};

void timeline_buckets_init(struct timeline_buckets *t);
/* Bytes @before were live until this event, @live are from now on. */
void timeline_buckets_add(struct timeline_buckets *t, const struct event *e, uint64_t before,
			  uint64_t live);

#endif
