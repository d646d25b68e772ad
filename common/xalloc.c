/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "common/xalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void (*out_of_memory_hook)(void);

void xalloc_set_hook(void (*hook)(void))
{
	out_of_memory_hook = hook;
}

static _Noreturn void out_of_memory(void)
{
	static const char text[] = "heaptrail: out of memory\n";
	void (*hook)(void) = out_of_memory_hook;

	out_of_memory_hook = NULL;
	if (hook)
		hook();
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(125);
	_exit(125);
}

void *xmalloc(size_t size_bytes)
{
	void *p = malloc(size_bytes ? size_bytes : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *xcalloc(size_t n, size_t size_bytes)
{
	void *p = calloc(n ? n : 1, size_bytes ? size_bytes : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t size_bytes)
{
	p = realloc(p, size_bytes ? size_bytes : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = xmalloc(len + 1);

	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return s;
}

/* From here on an array grows by an eighth: the kernel moves it without copying. */
#define LARGE_BYTES ((size_t)1 << 20)

void *xgrow(void *p, size_t *cap, size_t need, size_t size_bytes)
{
	size_t n = *cap ? *cap : 16, old = *cap, total;

	while (n < need)
		if (__builtin_add_overflow(n, n > LARGE_BYTES / size_bytes ? n / 8 + 1 : n, &n))
			out_of_memory();
	if (__builtin_mul_overflow(n, size_bytes, &total))
		out_of_memory();
	p = xrealloc(p, total);
	memset((char *)p + old * size_bytes, 0, (n - old) * size_bytes);
	*cap = n;
	return p;
}

void *xmap_huge(size_t size_bytes)
{
	size_t all = size_bytes + HUGE_PAGE_BYTES, before, after;
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		out_of_memory();
	before = -(uintptr_t)p % HUGE_PAGE_BYTES;
	after = HUGE_PAGE_BYTES - before;
	if (before)
		munmap(p, before);
	if (after)
		munmap(p + before + size_bytes, after);
	madvise(p + before, size_bytes, MADV_HUGEPAGE); /* if not: slower */
	return p + before;
}

static size_t in_huge_pages(size_t size_bytes)
{
	return (size_bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
}

void *xmap_large(size_t size_bytes)
{
	if (size_bytes < HUGE_PAGE_BYTES)
		return xcalloc(1, size_bytes);
	return xmap_huge(in_huge_pages(size_bytes));
}

void xunmap_large(void *p, size_t size_bytes)
{
	if (size_bytes < HUGE_PAGE_BYTES)
		free(p);
	else if (p)
		munmap(p, in_huge_pages(size_bytes));
}

void *xmap_now(size_t size_bytes)
{
	void *p = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		out_of_memory();
	return p;
}
