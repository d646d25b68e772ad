/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_DEMANGLE_H
#define IMAGE_DEMANGLE_H

#include <stdint.h>

#include "image/elf_file.h"

/* The name as it stands in the source, C++ or Rust or C; to be freed. */
char *demangle(const char *symbol);
/* The function that a call returned to, in the file's own addresses; NULL or to be freed. */
char *demangled_caller(struct elf_file *elf, uint64_t return_address);

#endif
