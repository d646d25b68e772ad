/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_FRAME_NAMES_H
#define IMAGE_FRAME_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "image/elf_file.h"
#include "image/symbolizer.h"

/*
 * Names the frames of one file by their @n @return_addresses, in the file's own
 * addresses: by its debug information, else by its symbols.  @each has what
 * symbolize_file() has; a frame of which nothing is known does not come.
 */
enum debug_info frame_names(struct elf_file *elf, const char *path,
			    const uint64_t *return_addresses, size_t n,
			    const struct symbolizer_options *options, symbolized_each *each,
			    void *arg);

/*
 * The path without "." and "..", so that a file has one name however it was included:
 * "/a/b/../c.h" is "/a/c.h".  To be freed.
 */
char *source_path(const char *path);

#endif
