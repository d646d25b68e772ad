/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DEMANGLE_H
#define IMAGE_DEMANGLE_H

#include <stdbool.h>

/* The name as it stands in the source, C++ or Rust or C; to be freed. */
char *demangle(const char *symbol);
/* The same, or, with @linkage, the name as the linker knows it: @symbol; to be freed. */
char *demangle_unless(bool linkage, const char *symbol);

#endif
