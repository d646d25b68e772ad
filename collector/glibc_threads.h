/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_GLIBC_THREADS_H
#define COLLECTOR_GLIBC_THREADS_H

#include "collector/glibc_heap.h"
#include "collector/hold.h"

/* The threads that @h holds, for a walk of their heap; @ret_n of them, to be released by free(). */
struct glibc_thread *glibc_threads(const struct hold *h, size_t *ret_n);

#endif
