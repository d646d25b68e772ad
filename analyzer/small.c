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

bool from_before_read(const struct catalog *c, struct from_before *ret)
{
	*ret = (struct from_before){0};
	if (catalog_number(c, "from_before_blocks", -1) < 0)
		return false;
	ret->blocks = number(c, "from_before_blocks");
	ret->bytes = number(c, "from_before_bytes");
	ret->held_ns = number(c, "from_before_held_ns");
	ret->error = catalog_text(c, "from_before_error");
	return true;
}

char *from_before_text(const struct from_before *b)
{
	char blocks[FORMAT_MAX], all[FORMAT_MAX], held[FORMAT_MAX], why[256];

	return xasprintf("%s block%s of %s %s there when it was attached, which took %s%s%s",
			 format_count(blocks, b->blocks), b->blocks == 1 ? "" : "s",
			 format_bytes(all, b->bytes), b->blocks == 1 ? "was" : "were",
			 format_duration(held, b->held_ns), b->error ? "; not all: " : "",
			 format_safe(why, sizeof(why), b->error ? b->error : ""));
}
