/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_SPARKLINE_H
#define COMMON_SPARKLINE_H

#include <stdbool.h>
#include <stddef.h>

#define SPARKLINE_COLUMNS_MAX 64
#define SPARKLINE_MAX (3 * SPARKLINE_COLUMNS_MAX + 1)

/*
 * @n numbers as a curve of so many characters, from their least to their greatest; what varies
 * by less than a fiftieth of that is level.  @ascii: of ASCII only.  @buf of SPARKLINE_MAX;
 * returns it.
 */
const char *sparkline(char *buf, const double *values, size_t n, size_t columns, bool ascii);

#endif
