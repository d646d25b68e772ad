/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_POOL_REPORT_H
#define CLI_POOL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/own.h"
#include "cli/view.h"
#include "common/err.h"
#include "common/json.h"

/* report --by pool: the pools of a layer. */
struct pool_report_options {
	const char *sort; /* a column of the report */
	size_t rows;	  /* at most; 0: all */
	bool exact, wide;
};

/* Can pools be sorted by that column of a report? */
bool pool_report_sorts_by(const char *column);
/*
 * The only layer with pools, in *@ret: its name, which stays @l's; -EINVAL with @err where there
 * is none, or several.
 */
int pool_report_find_layer(const struct view *v, const char **ret, struct err *err);
/* -EINVAL with @err where the layer that was analysed has none. */
int pool_report_check_layer(const struct view *v, struct err *err);
/* The rows, below the head; of a layer with pools. */
int pool_report_print(const struct view *v, const struct own *own,
		      const struct pool_report_options *o, struct err *err);
/* The array "rows": all of them. */
int pool_report_json(const struct view *v, struct json *j, struct err *err);

#endif
