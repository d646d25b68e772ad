/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_GROWTH_REPORT_H
#define CLI_GROWTH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "analyzer/growth_sites.h"
#include "analyzer/leaks.h"
#include "cli/leak_report.h"
#include "cli/view.h"

/* What grows, of a recording that was opened with view_open_growth(). */
struct growth_found {
	struct growth_sites sites;
	struct rows rows; /* that the sites are, unless they are stacks */
	struct suppression **suppressed; /* [site that grows] by what, or NULL */
	size_t n_suppressed;
	struct growth_sum sum; /* of those that are not */
	uint64_t from_ns, until_ns; /* what was looked at */
	bool is_counted; /* the layer is of countable things, most of which have no size */
};

/* Of those that do not grow: so many a text shows, and JSON at most. */
#define GROWTH_OTHERS_SHOWN 10
#define GROWTH_OTHERS_MAX 4096

/*
 * @windows and @blocks are those of the view.  @warmup_ns: so much of the start is left out.
 * @by: any that goes by stacks.  @max_others: so many of those that do not grow are judged, too.
 */
void growth_find(struct growth_found *ret, const struct view *v, const struct own *own,
		 struct growth_windows *windows, const struct leak_blocks *blocks,
		 struct suppressions *suppressions, uint64_t warmup_ns, enum rows_by by,
		 size_t max_others);
void growth_found_release(struct growth_found *f);
/* Is it long enough to tell, and of bytes? */
bool growth_is_told(const struct growth_found *f);

/* By its own function, or the one that its stacks share; to be freed. */
char *growth_site_name(const struct catalog *c, const struct own *own,
		       const struct growth_site *s);

/* `leaks --growth`: to standard output. */
void growth_report_print(const struct leak_report *r);
/* Schema heaptrail-leaks/1. */
int growth_report_json(const struct leak_report *r, FILE *out, struct err *err);

#endif
