/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/glibc_threads.h"

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "common/xalloc.h"

static uint64_t thread_pointer(const struct hold_thread *t)
{
#if defined(__x86_64__)
	return t->has_registers ? t->registers.fs_base : 0;
#elif defined(__aarch64__)
	uint64_t pointer = 0;
	struct iovec v = {&pointer, sizeof(pointer)};

	if (ptrace(PTRACE_GETREGSET, t->tid, (void *)(intptr_t)NT_ARM_TLS, &v) < 0)
		return 0;
	return pointer;
#else
	(void)t;
	return 0;
#endif
}

struct glibc_thread *glibc_threads(const struct hold *h, size_t *ret_n)
{
	struct glibc_thread *threads = xcalloc(h->n + 1, sizeof(*threads));

	for (size_t i = 0; i < h->n; i++)
		threads[i] = (struct glibc_thread){h->threads[i].tid,
						   thread_pointer(&h->threads[i])};
	*ret_n = h->n;
	return threads;
}
