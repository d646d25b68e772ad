/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/drain_write.h"

#include "common/xalloc.h"
#include "store/loss.h"

void drain_write_counts(struct drain *d)
{
	const struct drain_counts *c = &d->counts;
	const struct {
		enum loss kind;
		uint64_t count;
	} losses[] = {
		{LOSS_IMPLIED_FREES, c->implied_frees},
		{LOSS_UNKNOWN_FREES, c->unknown_frees},
		{LOSS_INTERNAL_FREES, c->internal_frees},
		{LOSS_DOUBLE_FREES, c->double_frees},
		{LOSS_MISMATCHED_FREES, c->mismatched_frees},
		{LOSS_UNFINISHED_REALLOCS, c->unfinished_reallocs},
		{LOSS_MALFORMED_EVENTS, c->malformed},
		{LOSS_GUESSED_FRAMES, c->guessed_frames},
	};

	for (size_t i = 0; i < COUNT_OF(losses); i++)
		store_writer_put_loss(d->writer, loss_kinds[losses[i].kind].name, losses[i].count);
}

void drain_write_slow(struct drain *d)
{
	const struct timeline_buckets *t = &d->timeline;

	store_writer_put_timeline(d->writer, t->buckets, t->n, t->start_ns, t->width_ns);
}
