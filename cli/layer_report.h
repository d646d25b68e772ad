/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_LAYER_REPORT_H
#define CLI_LAYER_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/stack_view.h"
#include "cli/view.h"
#include "common/err.h"
#include "common/json.h"

/* What reports say of allocators of the program's own: see record --probe. */

/* All layers, where there are others than the heap's; reads the events.  0, or negative. */
int layer_report_print(const struct view *v, bool exact, struct err *err);
/* The array "layers" of a report: empty where there is only the heap's. */
int layer_report_json(const struct view *v, struct json *j, struct err *err);

/* Is the layer that is shown one of countable things? */
bool layer_report_is_counted(const struct view *v);
/*
 * What of the countable things of the layer was not released, and all calls of it.  @rows: at
 * most so many, 0: all.
 */
int layer_report_print_references(const struct view *v, size_t rows,
				  const struct stack_view_options *o, struct err *err);
int layer_report_json_references(const struct view *v, struct json *j, struct err *err);

#endif
