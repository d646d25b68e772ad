/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DEMANGLE_H
#define IMAGE_DEMANGLE_H

/* The name as it stands in the source, C++ or Rust or C; to be freed. */
char *demangle(const char *symbol);

#endif
