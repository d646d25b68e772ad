/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DEBUG_FILE_H
#define IMAGE_DEBUG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/symbolizer.h"

/*
 * What symbolize_file() does, in its child: it may crash, and leaves the files open and
 * memory behind.  @debug_fd: a folder with debug files, or -1.  @linkage: names are not to
 * be demangled.  Calls @each with all the functions at a place at once, the innermost first.
 * Returns 0 or a negative errno.
 */
typedef void debug_file_each(void *arg, const struct symbolized *chain, size_t n);

int debug_file_look_up(int fd, const char *path, int debug_fd, bool linkage,
		       const uint64_t *addresses, size_t n, debug_file_each *each, void *arg,
		       enum debug_info *ret);

#endif
