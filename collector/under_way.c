/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/under_way.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "collector/family.h"
#include "collector/process_memory.h"
#include "common/clock.h"
#include "common/xalloc.h"

/* Functions of malloc.c that have no symbol lie before and behind those that have. */
#define CODE_BEFORE (32u << 10)
#define CODE_BEHIND (16u << 10)
/* So much of a stack is looked through: malloc's own frames are small. */
#define STACK_WORDS 128
/* Threads run on for so long; a bit longer each time, then again from the beginning. */
#define RUN_NS 20000
#define RUN_NS_MAX 200000

/* ---- where malloc is ------------------------------------------------------------------- */

static const struct process_map *map_of(const struct process_maps *maps,
					const struct plan_object *o, uint64_t offset)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct process_map *m = &maps->maps[i];

		if (m->executable && m->inode == o->inode && m->device == o->device &&
		    offset >= m->offset && offset - m->offset < m->end - m->start)
			return m;
	}
	return NULL;
}

static void add_point(struct malloc_code *c, const struct process_map *m, uint64_t offset)
{
	uint64_t at = m->start + (offset - m->offset);

	if (!c->library_start) {
		*c = (struct malloc_code){at, at, m->start, m->end};
		return;
	}
	if (at < c->start)
		c->start = at;
	if (at > c->end)
		c->end = at;
}

bool malloc_code_find(const struct plan *plan, const struct process_maps *maps,
		      struct malloc_code *ret)
{
	*ret = (struct malloc_code){0};
	for (size_t i = 0; i < plan->n_objects && !ret->library_start; i++)
		for (size_t k = 0; k < plan->objects[i].n_points; k++) {
			const struct plan_point *p = &plan->objects[i].points[k];
			const struct process_map *m;

			if (p->role != PLAN_CALL || !p->family ||
			    p->family->usable != USABLE_RULE_GLIBC)
				continue;
			m = map_of(maps, &plan->objects[i], p->file_offset);
			if (m)
				add_point(ret, m, p->file_offset);
		}
	if (!ret->library_start)
		return false;
	ret->start = ret->start - ret->library_start > CODE_BEFORE ? ret->start - CODE_BEFORE
								   : ret->library_start;
	ret->end = ret->library_end - ret->end > CODE_BEHIND ? ret->end + CODE_BEHIND
							     : ret->library_end;
	return true;
}

/* ---- who is in it ---------------------------------------------------------------------- */

#if defined(__x86_64__)

static bool is_in(uint64_t address, uint64_t start, uint64_t end)
{
	return address >= start && address < end;
}

/* Is it a lock of malloc's?  Those are in the library's data, or at the beginning of a heap. */
static bool is_malloc_lock(const struct process_maps *maps, const struct malloc_code *code,
			   uint64_t address)
{
	const struct process_map *m = process_maps_find(maps, address);
	const struct process_map *library = process_maps_find(maps, code->library_start);
	uint64_t in_heap = address & (((uint64_t)8 << 20) - 1);

	if (!m || !library)
		return false;
	if (!m->inode && m > maps->maps && m[-1].end == m->start && m[-1].writable)
		m--; /* what is zero at first follows the file's */
	return (m->inode == library->inode && m->device == library->device) || in_heap == 48 ||
	       in_heap == 32;
}

/*
 * It is in a system call that malloc has nothing to do with, and may stay there for ever.  Which
 * ones those are changes with every kernel, while malloc makes these few, all of them short but
 * for that on a lock; a call that the stop has interrupted still has its number, or that of
 * restart_syscall().
 */
static bool waits_elsewhere(const struct hold_thread *t, const struct process_maps *maps,
			    const struct malloc_code *code)
{
	switch ((long)t->registers.orig_rax) {
	case -1: /* in none */
	case SYS_brk:
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mremap:
	case SYS_mprotect:
	case SYS_madvise:
	case SYS_sched_getaffinity:
	case SYS_prctl: /* names of mappings, with a tunable of 2.39 */
	case SYS_getrandom: /* never for long: the key of freed blocks */
		return false;
	case SYS_futex:
		return !is_malloc_lock(maps, code, t->registers.rdi);
	default:
		return true;
	}
}

static bool is_inside(const struct hold *h, const struct malloc_code *code, uint64_t pc,
		      uint64_t sp)
{
	uint64_t words[STACK_WORDS];
	struct process_memory memory = {.pid = h->target->pid, .pages.fd = -EBADF};

	if (is_in(pc, code->start, code->end))
		return true;
	if (!is_in(pc, code->library_start, code->library_end))
		return false;
	process_memory_words(&memory, sp, COUNT_OF(words), words);
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (is_in(words[i], code->start, code->end))
			return true;
	return false;
}

/* ---- letting them end ------------------------------------------------------------------ */

static bool is_group_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP;
}

/* It goes on, with the signal for which it was stopped, if it was. */
static void go_on(struct hold_thread *t)
{
	int signal = t->status >> 16 ? 0 : WSTOPSIG(t->status);

	if (!t->is_stopped || !t->is_ours || is_group_stop(t->status) ||
	    ptrace(PTRACE_CONT, t->tid, NULL, (void *)(intptr_t)signal) < 0)
		return;
	t->is_stopped = false;
}

/* It was asked to stop.  Of one that does not, in time, the end of the hold takes care. */
static void wait_for_stop(struct hold_thread *t, uint64_t deadline_ns)
{
	struct iovec v = {&t->registers, sizeof(t->registers)};
	int status;

	while (waitpid(t->tid, &status, __WALL | WNOHANG) != t->tid) {
		if (clock_now_ns() > deadline_ns)
			return;
		sched_yield();
	}
	t->status = status;
	t->is_stopped = WIFSTOPPED(status);
	t->has_ended = !t->is_stopped;
	t->has_registers = t->is_stopped &&
			   !ptrace(PTRACE_GETREGSET, t->tid, (void *)(intptr_t)NT_PRSTATUS, &v) &&
			   v.iov_len == sizeof(t->registers);
}

static bool is_in_call(const struct hold *h, const struct hold_thread *t,
		       const struct process_maps *maps, const struct malloc_code *code)
{
	if (t->has_ended)
		return false;
	return !t->has_registers || (!waits_elsewhere(t, maps, code) &&
				     is_inside(h, code, t->registers.rip, t->registers.rsp));
}

/* The threads of which *@inside says that they are in a call go on for a moment. */
static void run_a_little(struct hold *h, const bool *inside, uint64_t pause_ns,
			 uint64_t deadline_ns)
{
	for (size_t i = 0; i < h->n; i++)
		if (inside[i])
			go_on(&h->threads[i]);
	nanosleep(&(struct timespec){.tv_nsec = (long)pause_ns}, NULL);
	for (size_t i = 0; i < h->n; i++)
		if (inside[i] && !h->threads[i].is_stopped)
			ptrace(PTRACE_INTERRUPT, h->threads[i].tid, NULL, NULL);
	for (size_t i = 0; i < h->n; i++)
		if (inside[i] && !h->threads[i].is_stopped)
			wait_for_stop(&h->threads[i], deadline_ns);
}

/* Who ran on may have started threads, which nobody has stopped. */
static bool has_new_threads(const struct hold *h)
{
	int known = 0;

	for (size_t i = 0; i < h->n; i++)
		known += !h->threads[i].has_ended;
	return target_threads(h->target) > known;
}

size_t under_way_finish(struct hold *h, const struct process_maps *maps,
			const struct malloc_code *code, uint64_t deadline_ns)
{
	bool *inside = xcalloc(h->n + 1, sizeof(*inside));
	uint64_t pause_ns = RUN_NS;
	size_t n;

	for (;;) {
		n = 0;
		for (size_t i = 0; i < h->n; i++) {
			inside[i] = is_in_call(h, &h->threads[i], maps, code);
			n += inside[i];
		}
		if (!n || clock_now_ns() > deadline_ns)
			break;
		run_a_little(h, inside, pause_ns, deadline_ns);
		pause_ns = pause_ns < RUN_NS_MAX ? pause_ns + RUN_NS : RUN_NS;
	}
	free(inside);
	return n + has_new_threads(h);
}

#else

size_t under_way_finish(struct hold *h, const struct process_maps *maps,
			const struct malloc_code *code, uint64_t deadline_ns)
{
	(void)maps, (void)code, (void)deadline_ns;
	return h->n; /* registers of this machine are not known */
}

#endif
