/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ANALYZER_COMMAND_LINE_H
#define ANALYZER_COMMAND_LINE_H

#include <stdbool.h>

#include "store/catalog.h"

/*
 * The recorded command as one line, quoted where a shell would need it, safe to print; "?"
 * where it is not known.  @is_short: of the program's path only the last part.  To be freed.
 */
char *command_line(const struct catalog *c, bool is_short);

#endif
