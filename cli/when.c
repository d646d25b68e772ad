/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/when.h"

#include <errno.h>
#include <string.h>

#include "cli/progress.h"
#include "common/format.h"
#include "store/layers.h"

bool when_parse(struct when *w, int option, const char *text)
{
	if (option == OPTION_LAYER) {
		w->layer = text;
		return true;
	}
	if (option == OPTION_SINCE) {
		w->has_since = true;
		return parse_duration(text, &w->since_ns);
	}
	if (option == OPTION_AT && !strcmp(text, "peak")) {
		w->is_peak = true;
		return true;
	}
	w->has_until = true;
	return parse_duration(text, &w->until_ns);
}

static int find_peak(struct store_reader *reader, struct analysis_window *ret, struct err *err)
{
	struct analysis_window all = {.until_ns = UINT64_MAX, .families = ret->families};
	struct analysis a;
	int r;

	ret->until_ns = (uint64_t)store_reader_number(reader, "peak_time_ns", 0);
	ret->until_event = (uint64_t)store_reader_number(reader, "peak_event", 0);
	if (ret->until_ns && ret->until_event && !ret->families)
		return 0;
	r = analysis_make(reader, GROUP_FAMILY, &all, progress_events, &a, err);
	if (r)
		return r;
	ret->until_ns = a.peak_time_ns;
	ret->until_event = a.peak_event;
	analysis_release(&a);
	return 0;
}

static int not_there(uint64_t t_ns, const char *what, struct err *err)
{
	char t[FORMAT_MAX];

	err_set(err, ERR_USAGE, 0, "%s is %s", format_duration(t, t_ns), what);
	return -EINVAL;
}

static int after_end(uint64_t t_ns, uint64_t length, struct store_reader *reader, struct err *err)
{
	bool is_one_of_several = store_reader_number(reader, "rotation_number", 0) > 0;
	char end[FORMAT_MAX];

	not_there(t_ns, "after the end of the recording", err);
	err_hint(err, "it is %s long%s", format_duration(end, length), is_one_of_several ?
		 ", unless a later file goes on from it (--every): give that, too" : "");
	return -EINVAL;
}

static int find_layer(const char *name, struct store_reader *reader, uint64_t *ret,
		      struct err *err)
{
	struct layers layers;
	const struct layer *layer;

	layers_read(&layers, reader);
	layer = layers_find(&layers, name);
	if (!layer)
		return layers_unknown(&layers, name, err);
	*ret = layer == layers.layers ? 0 : layer->families;
	return 0;
}

int when_find(const struct when *w, struct store_reader *reader, struct analysis_window *ret,
	      struct err *err)
{
	uint64_t start = (uint64_t)store_reader_number(reader, "start_ns", 0);
	uint64_t end = (uint64_t)store_reader_number(reader, "end_ns", 0);
	uint64_t length = end > start ? end - start : 0;

	*ret = (struct analysis_window){.until_ns = UINT64_MAX, .space = w->space};
	if (length && w->has_until && w->until_ns > length)
		return after_end(w->until_ns, length, reader, err);
	if (length && w->has_since && w->since_ns > length)
		return after_end(w->since_ns, length, reader, err);
	if (w->has_since && w->has_until && w->since_ns > w->until_ns)
		return not_there(w->since_ns, "after what --until says", err);
	if (w->has_since)
		ret->since_ns = start + w->since_ns;
	if (w->has_until && !w->later_is_in)
		ret->until_ns = start + w->until_ns;
	if (w->layer && find_layer(w->layer, reader, &ret->families, err))
		return -EINVAL;
	return w->is_peak ? find_peak(reader, ret, err) : 0;
}
