/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_HINTS_H
#define CLI_HINTS_H

#include "analyzer/own.h"
#include "cli/view.h"

/*
 * What stands below rows of own functions: which wrappers were skipped, and what would
 * make the rows say more.  The view must be grouped by stack.
 */
void hints_print(const struct view *v, const struct own *own);
/* The same for machines: "skipped" and "hints". */
void hints_json(const struct view *v, const struct own *own, struct json *j);

#endif
