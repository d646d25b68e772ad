/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/growth_follow.h"

#include <errno.h>
#include <string.h>

#include "analyzer/analysis.h"
#include "analyzer/growth_scan.h"
#include "common/clock.h"

/* How often it is shown as far as it is there: to find what grows takes its time, too. */
#define SHOWN_EVERY_NS 1000000000ull

void growth_follow_init(struct growth_follow *f)
{
	*f = (struct growth_follow){.windows = growth_windows_new(GROWTH_BYTES)};
}

static void drop_scan(struct growth_follow *f)
{
	growth_scan_free(f->scan);
	f->scan = NULL;
	f->is_there = f->is_unknown = false;
}

void growth_follow_forget(struct growth_follow *f)
{
	drop_scan(f);
	f->stale = (struct stale){0};
}

void growth_follow_release(struct growth_follow *f)
{
	growth_follow_forget(f);
	growth_windows_free(f->windows);
	memset(f, 0, sizeof(*f));
}

void growth_follow_look_again(struct growth_follow *f)
{
	f->is_there = false;
	if (f->scan)
		growth_scan_look_again(f->scan);
}

static uint64_t events_of(const struct growth_follow *f)
{
	return f->scan ? growth_scan_events(f->scan) : 0;
}

/* A chunk: 1 if there may be more. */
static int step(struct growth_follow *f, struct store_reader *reader, const struct layers *layers,
		uint8_t layer, const struct analysis_window *w)
{
	struct analysis_pass *pass;
	struct err err;
	int r = 0;

	if (!f->scan) {
		pass = analysis_pass_new(1u << GROUP_STACK, 0, layers, layer);
		r = analysis_begin_growth(pass, reader, UINT64_MAX, f->windows, &f->scan, &err);
		analysis_pass_free(pass);
		f->stale.is_of_finished = store_reader_is_sealed(reader);
	}
	if (!r)
		r = growth_scan_step(f->scan, reader, w, &err);
	if (r != -ESTALE)
		return r;
	r = stale_begin_anew(&f->stale, events_of(f));
	if (r == 1)
		drop_scan(f); /* from what is the first by now */
	return r;
}

int growth_follow_read(struct growth_follow *f, struct store_reader *reader,
		       const struct layers *layers, uint8_t layer, uint64_t until_ns,
		       uint64_t max_ns, bool *ret_shown)
{
	const struct analysis_window w = {.until_ns = until_ns};
	uint64_t began_ns = clock_now_ns(), before = events_of(f);
	bool was_there = f->is_there, was_unknown = f->is_unknown, has_changed;
	int r;

	do
		r = step(f, reader, layers, layer, &w);
	while (r == 1 && clock_now_ns() - began_ns < max_ns);
	if (r < 0)
		growth_follow_forget(f);
	f->is_unknown = r < 0;
	f->is_there = r == 0;
	has_changed = events_of(f) != before || f->is_there != was_there ||
		   f->is_unknown != was_unknown;
	*ret_shown = has_changed && (r != 1 || clock_now_ns() - f->shown_ns >= SHOWN_EVERY_NS);
	if (*ret_shown)
		f->shown_ns = clock_now_ns();
	return r == 1;
}

uint64_t growth_follow_last_ns(const struct growth_follow *f)
{
	return f->scan ? growth_scan_last_ns(f->scan) : 0;
}
