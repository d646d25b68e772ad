/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/complete.h"

#include <stdlib.h>
#include <unistd.h>

#include "cli/summary.h"
#include "cli/symbolize.h"
#include "common/clock.h"
#include "common/xalloc.h"
#include "store/copy.h"

/* What the recording lacks, after a look at all of it. */
static int write_rest(struct store_writer *w, const struct view *v, enum incomplete why,
		      size_t *ret_named, struct err *err)
{
	const struct symbolize_options as_usual = {0};
	struct dropped_events dropped = store_reader_dropped(v->reader);
	struct symbolize_result result;

	/* a recorder that was killed may have left rows of them */
	if (dropped.chunks)
		store_writer_drop(w, &dropped);
	while (store_writer_drop_rows(w, UINT64_MAX))
		;

	if (!catalog_text(&v->catalog, "end_ns")) {
		store_writer_put_number(w, "end_ns", (int64_t)v->analysis.last_ns);
		if (why == INCOMPLETE_CUT_OFF)
			store_writer_put_number(w, "cut_off", 1);
	}
	store_writer_put_number(w, "events", (int64_t)v->analysis.events);
	if (why != INCOMPLETE_ROTATED)
		store_writer_put_number(w,
					why == INCOMPLETE_SAVED ? "saved_realtime_ns"
								: "repaired_realtime_ns",
					(int64_t)clock_realtime_ns());
	symbolize(w, &v->catalog, &as_usual, &result);
	*ret_named = result.frames;
	return store_writer_flush(w, err);
}

int complete_recording(struct view *v, enum incomplete why, struct complete_result *ret,
		       struct err *err)
{
	const char *path = v->path;
	struct store_writer *w;
	int r, closed;

	*ret = (struct complete_result){.events = v->analysis.events};
	r = store_writer_open(path, &w, err);
	if (r) {
		view_close(v);
		return r;
	}
	r = write_rest(w, v, why, &ret->named, err);
	view_close_file(v); /* a reader would keep the WAL */
	if (!r)
		r = summary_write(w, path, &v->analysis, err);
	if (!r)
		store_writer_seal(w);
	closed = store_writer_close(w, r ? NULL : err);
	view_close(v);
	return r ? r : closed;
}

int complete_copy(const char *from, const char *to, struct complete_result *ret,
		  struct err *err)
{
	int r = store_copy(from, to, err);
	struct view v;

	if (r)
		return r;
	r = view_open(&v, to, GROUP_STACK, err);
	if (!r && store_reader_is_sealed(v.reader)) {
		*ret = (struct complete_result){.events = v.analysis.events};
		view_close(&v);
	} else if (!r) {
		r = complete_recording(&v, INCOMPLETE_SAVED, ret, err);
	}
	if (r)
		store_remove(to);
	return r;
}
