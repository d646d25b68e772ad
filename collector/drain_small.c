/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain_small.h"

void drain_know_small(struct drain *d, uint8_t family, uint64_t address, uint64_t size)
{
	pairing_put_small(&d->pairing, address, size);
	if (d->keeps_block_pages && family != FAMILY_LIBC)
		page_set_add(&d->block_pages, address, address + size);
	d->small.live_blocks++;
	d->small.live_bytes += size;
	d->small_is_written = false;
}

void drain_begin_small(struct drain *d, uint8_t family, uint64_t address, uint64_t size)
{
	drain_know_small(d, family, address, size);
	d->small.alloc_calls++;
	d->small.allocated_bytes += size;
}

void drain_end_small(struct drain *d, uint64_t size)
{
	d->small.free_calls++;
	d->small.live_blocks--;
	d->small.live_bytes -= size;
	d->small_is_written = false;
}

void drain_write_small(struct drain *d)
{
	const struct drain_small *s = &d->small;
	const struct {
		const char *key;
		uint64_t n;
	} facts[] = {
		{"small_alloc_calls", s->alloc_calls},
		{"small_free_calls", s->free_calls},
		{"small_allocated_bytes", s->allocated_bytes},
		{"small_live_blocks", s->live_blocks},
		{"small_live_bytes", s->live_bytes},
	};

	if (!d->min_size || d->small_is_written)
		return;
	for (size_t i = 0; i < COUNT_OF(facts); i++)
		store_writer_put_number(d->writer, facts[i].key, (int64_t)facts[i].n);
	d->small_is_written = true;
}
