/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_LEAK_SARIF_H
#define CLI_LEAK_SARIF_H

#include <stdio.h>

#include "cli/leak_report.h"

/*
 * SARIF 2.1.0 (OASIS), as services for code scanning read it: one result for each record that
 * is not suppressed, at the innermost frame whose source file is below the source root.
 */
void leak_report_sarif(const struct leak_report *r, FILE *out);

#endif
