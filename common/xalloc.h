/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_XALLOC_H
#define COMMON_XALLOC_H

#include <stddef.h>
#include <stdint.h>
/* before the names below are poisoned */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Allocation that does not fail: out of memory calls the hook (which restores
 * the terminal, closes the recording) and ends the process with status 125.
 * All memory is released with free().
 */
void *xmalloc(size_t size_bytes);
void *xcalloc(size_t n, size_t size_bytes);
void *xrealloc(void *p, size_t size_bytes);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Zeroed memory in huge pages, where there are any: for what is looked up at random.
 * @size_bytes: a multiple of HUGE_PAGE_BYTES.  To be released with munmap().
 */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
void *xmap_huge(size_t size_bytes);
/*
 * The same of any size, in huge pages only where it is large.  To be released with
 * xunmap_large() and the same size; NULL is fine there.
 */
void *xmap_large(size_t size_bytes);
void xunmap_large(void *p, size_t size_bytes);
/* Memory that is filled at once, to be released with munmap(). */
void *xmap_now(size_t size_bytes);

/* Called once, before the process ends for want of memory.  May be NULL. */
void xalloc_set_hook(void (*hook)(void));

/* Room for @need elements of @size_bytes in @p, whose capacity is *@cap; zeroes what is new. */
void *xgrow(void *p, size_t *cap, size_t need, size_t size_bytes);

/* Makes room for element number @n (counted from 0) in a growing array. */
#define ARRAY_GROW(array, cap, n) \
	do { \
		if ((size_t)(n) >= (cap)) \
			(array) = xgrow((array), &(cap), (size_t)(n) + 1, sizeof(*(array))); \
	} while (0)

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Calls that overflow buffers or hide errors: use snprintf(), strtoul(), strndup(). */
#ifndef HEAPTRAIL_NO_POISON
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol
#endif

#endif
