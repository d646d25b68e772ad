/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_LEAK_REPORT_H
#define CLI_LEAK_REPORT_H

#include <stdio.h>

#include "analyzer/leaks.h"
#include "cli/leak_options.h"
#include "cli/view.h"
#include "common/err.h"

/* What is shown of the blocks that were not freed. */
struct leak_report {
	const struct view *view;
	const struct leak_options *options;
	const struct leaks *leaks;
	const struct suppressions *suppressions;
	const struct block_kinds *kinds;
	const struct own *own;
	const struct growth_found *growth; /* or NULL */
};

/* The moment at which what is shown was live. */
uint64_t leak_report_end_ns(const struct view *v);
/* To standard output.  0, or negative with @err. */
int leak_report_print(const struct leak_report *r, struct err *err);
/* Schema heaptrail-leaks/1. */
int leak_report_json(const struct leak_report *r, FILE *out, struct err *err);
/* Suppressions for all that would be shown, in valgrind's syntax, to standard output. */
void leak_report_suppressions(const struct leak_report *r);

#endif
