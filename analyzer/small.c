/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/small.h"

#include "common/format.h"
#include "common/xalloc.h"

static uint64_t number(const struct catalog *c, const char *key)
{
	int64_t n = catalog_number(c, key, 0);

	return n > 0 ? (uint64_t)n : 0;
}

bool small_read(const struct catalog *c, struct small *ret)
{
	*ret = (struct small){.min_size = number(c, "min_size")};
	if (!ret->min_size)
		return false;
	ret->alloc_calls = number(c, "small_alloc_calls");
	ret->free_calls = number(c, "small_free_calls");
	ret->allocated_bytes = number(c, "small_allocated_bytes");
	ret->live_blocks = number(c, "small_live_blocks");
	ret->live_bytes = number(c, "small_live_bytes");
	return true;
}

char *small_text(const struct small *s)
{
	char size[FORMAT_MAX], calls[FORMAT_MAX], all[FORMAT_MAX], live[FORMAT_MAX];

	return xasprintf("Blocks under %s byte%s were counted, not recorded: %s call%s, %s in all, "
			 "%s live",
			 format_count(size, s->min_size), s->min_size == 1 ? "" : "s",
			 format_count(calls, s->alloc_calls), s->alloc_calls == 1 ? "" : "s",
			 format_bytes(all, s->allocated_bytes), format_bytes(live, s->live_bytes));
}
