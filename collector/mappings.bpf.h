/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_MAPPINGS_BPF_H
#define COLLECTOR_MAPPINGS_BPF_H

/*
 * Mappings that the program makes and gives up, seen right behind the system calls that do so:
 * see image/syscall_sites.h.  The result is in rax, the arguments are where they were.
 * Part of probes.bpf.c.
 */
#include <asm/unistd.h>

/* Where the heap of brk() ended last; 0: not known.  User space sets it as recording begins. */
ht_u64 last_break;

/* Is the thread in an allocator's function that will return a block? */
static __always_inline int is_in_heap_call(const struct thread_state *st, ht_u64 sp)
{
	const struct call_in_flight *call = &st->calls[0];

	if (!call->sp || call->sp < sp)
		return 0;
	return call->caller ? is_below(call, sp) : is_in_flight(call->sp);
}

struct segment {
	ht_u64 address, bytes, until_ns;
	long result;
};

static long see_segment(struct task_struct *task, struct vm_area_struct *vma, struct segment *ret)
{
	(void)task;
	ret->bytes = vma->vm_end - ret->address;
	return 0;
}

static long try_segment(ht_u32 i, struct segment *s)
{
	s->result = bpf_find_vma(bpf_get_current_task_btf(), s->address, see_segment, s, 0);
	if (s->result != -EBUSY)
		return 1;
	if (!i)
		s->until_ns = bpf_ktime_get_ns() + MAPPINGS_NS_MAX;
	return bpf_ktime_get_ns() > s->until_ns;
}

/*
 * The length of the shared memory that was just mapped there: no argument tells it.  0: something
 * else changes the mappings, as khugepaged does.
 */
static __noinline ht_u64 segment_bytes(ht_u64 address)
{
	struct segment s = {.address = address};

	bpf_loop(1 << 20, try_segment, &s, 0);
	return s.bytes;
}

/* What became of the heap of brk().  Returns whether that is an event. */
static __always_inline int follow_break(struct pt_regs *ctx, ht_u64 *ret_old, ht_u64 *ret_now)
{
	ht_u64 wish = REGISTER(ctx, rdi), now = REGISTER(ctx, rax), old = last_break;

	*ret_old = old;
	*ret_now = now;
	if (wish && wish != now)
		return 0; /* refused */
	last_break = now;
	return old && old != now;
}

static __always_inline int is_failure(ht_u64 result)
{
	return result >= -4095ull;
}

/* What the call has done, as far as its registers say.  False: nothing. */
static __always_inline int read_call(struct pt_regs *ctx, ht_u64 number, struct ring_mapping *e)
{
	ht_u64 result = REGISTER(ctx, rax);

	e->address = e->old_address = result;
	e->bytes = e->old_bytes = 0;
	e->flags = 0;
	if (number == __NR_brk) {
		e->op = MAPPING_BREAK;
		return follow_break(ctx, &e->old_address, &e->address);
	}
	if (is_failure(result))
		return 0; /* a failed call is no call */
	if (number == __NR_mmap) {
		e->op = MAPPING_MAP;
		e->bytes = REGISTER(ctx, rsi);
		e->flags = REGISTER(ctx, r10);
	} else if (number == __NR_munmap) {
		e->op = MAPPING_UNMAP;
		e->address = REGISTER(ctx, rdi);
		e->bytes = REGISTER(ctx, rsi);
	} else if (number == __NR_mremap) {
		e->op = MAPPING_REMAP;
		e->bytes = REGISTER(ctx, rdx);
		e->old_address = REGISTER(ctx, rdi);
		e->old_bytes = REGISTER(ctx, rsi);
		e->flags = REGISTER(ctx, r10);
	} else if (number == __NR_shmat) {
		e->op = MAPPING_SEGMENT;
		e->bytes = segment_bytes(result);
	} else {
		e->op = MAPPING_DETACH;
		e->address = REGISTER(ctx, rdi);
	}
	return 1;
}

/* Has the function that makes the call just returned there? */
static __always_inline int has_returned(struct pt_regs *ctx)
{
	ht_u64 return_address = 0;

	return !bpf_probe_read_user(&return_address, 8, (void *)(PT_REGS_SP(ctx) - 8)) &&
	       return_address == PT_REGS_IP(ctx);
}

static __always_inline int see_mapping_call(struct pt_regs *ctx, int unwinds)
{
	ht_u64 sp = PT_REGS_SP(ctx), cookie;
	struct ring_mapping seen = {}, *e;
	struct thread_state *st;

	KEEP_TO_OWN_STACK(ctx);
	if (empty)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	/* the loader maps what a program begins with before it is recorded */
	if (!armed || hold_at_debug_hook || (MAPPING_COOKIE_SHARED(cookie) && !has_returned(ctx)) ||
	    !read_call(ctx, MAPPING_COOKIE_NUMBER(cookie), &seen) || !(st = thread_state()))
		return 0;
	seen.caller = PT_REGS_IP(ctx);
	seen.in_heap_call = is_in_heap_call(st, sp);
	if (unwinds && ((seen.op != MAPPING_UNMAP && seen.op != MAPPING_DETACH) || free_stacks)) {
		seen.stack = take_stack_at(&st->unwind, st->serial, seen.caller, sp,
					   REGISTER(ctx, rbp));
		if (RING_IS_STACK(seen.stack) && st->unwind.out.n > 1)
			seen.outer = st->unwind.out.frames[1];
	}
	e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) {
		count(seen.op == MAPPING_UNMAP ? COUNTER_LOST_FREE : COUNTER_LOST_ALLOC);
		return 0;
	}
	*e = seen;
	fill_head(&e->head, RING_MAPPING, st->serial, 0);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	mind_the_water(st);
	return 0;
}

SEC("uprobe")
int probe_mapping(struct pt_regs *ctx)
{
	return see_mapping_call(ctx, 0);
}

/* As probe_unwinding_entry. */
SEC("uprobe")
int probe_unwinding_mapping(struct pt_regs *ctx)
{
	return see_mapping_call(ctx, 1);
}

#endif
