/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_WRONG_FREE_REPORT_H
#define CLI_WRONG_FREE_REPORT_H

#include <stddef.h>

#include "cli/stack_view.h"
#include "cli/view.h"
#include "common/err.h"
#include "common/json.h"

/*
 * Frees by functions that do not belong to their blocks: of a whole recording those of all
 * layers, of a part those that ended in it in the layer that was analysed.
 */
uint64_t wrong_free_report_mismatched(const struct view *v);

/* All wrong frees of the window, double ones too, with their stacks: @rows at most, 0: all. */
int wrong_free_report_print(const struct view *v, size_t rows,
			    const struct stack_view_options *o, struct err *err);
/* The array "wrong_frees". */
int wrong_free_report_json(const struct view *v, struct json *j, struct err *err);

#endif
