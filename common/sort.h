/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_SORT_H
#define COMMON_SORT_H

#include <stddef.h>
#include <stdint.h>

/* In rising order. */
void sort_u64(uint64_t *numbers, size_t n);

#endif
