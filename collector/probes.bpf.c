/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel side of the collector: what happens at a probe.
 *
 * An allocating call is seen twice.  At its entry its arguments are kept in the
 * thread's state; at its return, when the block is known, the event goes into
 * the ring.  A free is one event, at its entry.  A realloc is two: at its entry,
 * because from then on another thread may be given the old address, and at its
 * return.
 *
 * Of nested calls (calloc calling malloc, realloc calling free) the outermost
 * counts, in each layer.  What is in flight is known by the stack pointer of its
 * entry: a call at or above that stack pointer means that the one in flight is
 * gone without a return that we saw.  A call below it is nested only if the
 * return address of the outer one is still the kernel's trampoline; so is a call
 * at the very stack pointer, which is then a tail call.
 *
 * The hot paths make one bulk of work at most: one task storage lookup, one read
 * of user memory, one ring reservation, one clock reading.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "collector/ring_events.h"

char LICENSE[] SEC("license") = "GPL";

#define SIGSTOP 19

/* The few kernel types that are used, relocated against the running kernel's BTF. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct xol_area {
	unsigned long vaddr;
};
struct uprobes_state {
	struct xol_area *xol_area;
};
struct mm_struct {
	struct uprobes_state uprobes_state;
	unsigned long exec_vm; /* pages of code */
	unsigned long start_stack;
};
struct uprobe_task;
struct signal_struct {
	struct {
		int counter;
	} live; /* threads */
};
struct task_struct {
	struct signal_struct *signal;
	int pid, tgid;
	char comm[RING_NAME_BYTES];
	ht_u64 start_time;
	struct mm_struct *mm;
	struct uprobe_task *utask;
};
#pragma clang attribute pop

/* ---- what user space sets ------------------------------------------------------- */

const volatile ht_u32 target_pid;     /* as the recorder's PID namespace counts it … */
const volatile ht_u64 pidns_dev, pidns_ino; /* … which is this one; 0: the initial one */
const volatile ht_u32 wait_when_full; /* 1: spin, then stop the target; 0: drop and count */
const volatile ht_u64 high_water_bytes;
const volatile ht_u64 spin_ns_max;
const volatile ht_u64 tables_ns_max; /* so long a thread that loads code waits for its tables */
const volatile ht_u32 stop_for_tables; /* or, if 1, is stopped: a wait is not enough */
/* For measuring: 1: the probes do nothing at all, 2: entries take the stack and nothing else. */
const volatile ht_u32 empty;
const volatile ht_u32 free_stacks; /* of what ends mappings: see mappings.bpf.h */

/* Sizes that no argument tells, see ring_events.h. */
ht_u64 constants[256];

/* While 0, nothing new is recorded; calls in flight still are when they return. */
ht_u32 armed;
/* 1: nothing at all is recorded any more. */
ht_u32 closed;
/* 1: the process is to stop at ld.so's debug hook. */
ht_u32 hold_at_debug_hook;
/* 1: it is to stop after its exec. */
ht_u32 hold_at_exec;

/* Unwind tables: asked for by the probes, and made by user space, so often. */
ht_u64 tables_asked, tables_ready;

/* So often has code come or gone: what was learnt of addresses in it before is void. */
ht_u64 code_generation;

/* When the probes last stopped the process; 0: user space has let it go on. */
ht_u64 held_ns;

/* ---- maps ------------------------------------------------------------------------ */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* user space sets the size */
} ring SEC(".maps");

ht_u32 last_serial;
ht_u64 counters[PROBE_COUNTERS];

static __always_inline void count(enum probe_counter c)
{
	__sync_fetch_and_add(&counters[c], 1);
}

/*
 * Linux 6.13 and later may put a program's frame onto a stack that the CPU has for
 * it; but at a uprobe a program can be preempted by itself, which would then write
 * over that frame.  None that has a tail call gets such a stack: this one is never made.
 */
const volatile ht_u32 never;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, ht_u32);
	__type(value, ht_u32);
} no_programs SEC(".maps");

#define KEEP_TO_OWN_STACK(ctx) \
	do { \
		if (never) \
			bpf_tail_call(ctx, &no_programs, 0); \
	} while (0)

/* ---- the ring -------------------------------------------------------------------- */

struct spin {
	ht_u64 until_ns;
	ht_u64 wanted; /* of tables_ready */
};

static long spin_step(ht_u32 i, struct spin *s)
{
	(void)i;
	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= high_water_bytes / 2 ||
	       bpf_ktime_get_ns() > s->until_ns;
}

static __always_inline void hold(void)
{
	held_ns = bpf_ktime_get_ns();
	bpf_send_signal(SIGSTOP);
}

/* The ring is filling: give the drain time, then stop the whole target until it is through. */
static __noinline int wait_for_room(void)
{
	struct spin s = {.until_ns = bpf_ktime_get_ns() + spin_ns_max};

	count(COUNTER_SPINS);
	bpf_loop(1 << 20, spin_step, &s, 0);
	if (!closed && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > high_water_bytes) {
		count(COUNTER_HOLDS);
		hold();
	}
	return 0;
}

static __always_inline void fill_head(struct ring_head *h, enum ring_kind kind, ht_u32 thread,
				      ht_u64 cookie)
{
	h->kind = kind;
	h->family = COOKIE_FAMILY(cookie);
	h->generation = (ht_u16)code_generation;
	h->thread = thread;
	h->t_ns = bpf_ktime_get_ns();
}

#include "collector/registers.bpf.h"
#include "collector/arguments.bpf.h"
#include "collector/unwind.bpf.h"

/* ---- threads --------------------------------------------------------------------- */

struct call_in_flight {
	ht_u64 sp; /* at its entry; 0: none */
	ht_u64 size;
	ht_u64 pointer; /* the pointer argument: the old block, or where the new one goes */
	ht_u64 stack;	/* id */
	ht_u64 pool;	/* its address */
	ht_u64 cookie;	/* of its entry */
	ht_u64 caller;	/* of one whose exits are probed: its return address, else 0 */
	ht_u8 is_reallocating; /* PROBE_REALLOC of a block */
	ht_u8 unwinds; /* something was thrown since; it may be gone */
	ht_u8 reserved[6];
};

struct thread_state {
	ht_u32 serial;
	ht_u32 is_announced;
	ht_u32 events;
	ht_u32 reserved;
	struct call_in_flight calls[PROBE_LAYERS];
	/* the last free, if that was the thread's last event; sp 0: it was not */
	struct {
		ht_u64 sp, address, caller, cookie;
	} freed;
	struct unwind_state unwind;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads SEC(".maps");

/* The current task, as the recorder counts it; 0 where it cannot see it. */
static __always_inline void current_ids(struct bpf_pidns_info *ret)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();

	ret->pid = ret->tgid = 0;
	if (!pidns_ino) {
		ret->pid = task->pid;
		ret->tgid = task->tgid;
	} else if (bpf_get_ns_current_pid_tgid(pidns_dev, pidns_ino, ret, sizeof(*ret))) {
		ret->pid = ret->tgid = 0;
	}
}

/* Every 32nd event of a thread looks how full the ring is. */
static __always_inline void mind_the_water(struct thread_state *st)
{
	if (wait_when_full && !(++st->events & 31) &&
	    bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > high_water_bytes)
		wait_for_room();
}

static __noinline int announce(struct thread_state *st)
{
	struct bpf_pidns_info ids;

	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct ring_thread *e;

	if (!st)
		return 0;
	if (!st->serial)
		st->serial = __sync_fetch_and_add(&last_serial, 1) + 1;
	e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) {
		count(COUNTER_LOST_OTHER);
		return 0;
	}
	fill_head(&e->head, RING_THREAD, st->serial, 0);
	current_ids(&ids);
	e->tid = ids.pid;
	e->pid = ids.tgid;
	e->start_ns = task->start_time;
	bpf_get_current_comm(e->name, sizeof(e->name));
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	st->is_announced = 1;
	return 0;
}

static __always_inline struct thread_state *thread_state(void)
{
	struct thread_state *st;

	st = bpf_task_storage_get(&threads, (void *)bpf_get_current_task_btf(), 0,
				  BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!st) {
		count(COUNTER_NO_STATE);
		return 0;
	}
	if (!st->is_announced)
		announce(st);
	return st;
}

/* ---- calls ----------------------------------------------------------------------- */

/* Does the call that was entered at @sp still return to the trampoline? */
static __noinline int is_in_flight(ht_u64 sp)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	ht_u64 return_address = 0, trampoline;

	if (!bpf_core_field_exists(((struct mm_struct *)0)->uprobes_state))
		return 1;
	trampoline = BPF_CORE_READ(task, mm, uprobes_state.xol_area, vaddr);
	if (bpf_probe_read_user(&return_address, 8, (void *)sp))
		return 0;
	return return_address == trampoline;
}

/*
 * The same without a return probe: does it still return to where it did?  Another call from
 * the same place has the same stack pointer and return address: it, or a tail call, counts.
 */
static __always_inline int is_below(const struct call_in_flight *call, ht_u64 sp)
{
	ht_u64 return_address = 0;

	return call->sp > sp && !call->unwinds &&
	       !bpf_probe_read_user(&return_address, 8, (void *)call->sp) &&
	       return_address == call->caller;
}

/* Is a call entered at @sp inside the one in flight?  If not, that one is gone. */
static __always_inline int is_nested(struct call_in_flight *call, ht_u64 sp)
{
	if (!call->sp)
		return 0;
	if (call->caller) {
		if (is_below(call, sp))
			return 1;
		if (call->sp == sp && !call->unwinds) {
			call->sp = 0; /* it has jumped here: this one's result is the same */
			return 0;
		}
	} else if (call->sp >= sp && is_in_flight(call->sp)) {
		return 1;
	}
	call->sp = 0;
	count(COUNTER_STALE_CALLS);
	return 0;
}

static __always_inline void begin_realloc(struct thread_state *st, struct call_in_flight *call,
					  ht_u64 cookie)
{
	struct ring_realloc_begin *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

	if (!e) {
		count(COUNTER_LOST_REALLOC);
		return;
	}
	e->address = call->pointer;
	fill_head(&e->head, RING_REALLOC_BEGIN, st->serial, cookie);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

static __always_inline void fill_alloc(struct ring_alloc *e, enum ring_kind kind,
				       struct thread_state *st, struct call_in_flight *call,
				       ht_u64 address, ht_u64 word, ht_u64 caller, ht_u64 cookie)
{
	e->address = address;
	e->size = call->size;
	e->size_word = word;
	e->stack = call->stack;
	e->caller = caller;
	fill_head(&e->head, kind, st->serial, cookie);
}

static __always_inline void end_alloc(struct thread_state *st, struct call_in_flight *call,
				      ht_u64 address, ht_u64 caller, ht_u64 cookie)
{
	ht_u64 word = size_word(address, cookie);
	struct ring_pool_alloc *in_pool;
	struct ring_alloc *e;

	if (COOKIE_POOL(cookie)) {
		in_pool = bpf_ringbuf_reserve(&ring, sizeof(*in_pool), 0);
		if (!in_pool) {
			count(COUNTER_LOST_ALLOC);
			return;
		}
		in_pool->pool = call->pool;
		fill_alloc(&in_pool->alloc, RING_POOL_ALLOC, st, call, address, word, caller,
			   cookie);
		bpf_ringbuf_submit(in_pool, BPF_RB_NO_WAKEUP);
		return;
	}
	e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) {
		count(COUNTER_LOST_ALLOC);
		return;
	}
	fill_alloc(e, RING_ALLOC, st, call, address, word, caller, cookie);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* A call that counts as it is entered. */
static __always_inline void end_at_entry(struct thread_state *st, struct call_in_flight *call,
					 ht_u64 cookie)
{
	ht_u64 caller = 0;

	bpf_probe_read_user(&caller, 8, (void *)call->sp);
	call->sp = 0;
	if (call->pointer)
		end_alloc(st, call, call->pointer, caller, cookie);
	mind_the_water(st);
}

static __always_inline int enter_call(struct pt_regs *ctx, int unwinds)
{
	ht_u64 cookie, sp = PT_REGS_SP(ctx), caller = 0;
	struct call_in_flight *call;
	struct thread_state *st;

	KEEP_TO_OWN_STACK(ctx);
	if (empty == 1)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	if (!armed || !(st = thread_state()))
		return 0;
	sp += COOKIE_STACK_WORDS(cookie) * 8;
	if (unwinds && empty == 2) {
		take_stack(&st->unwind, st->serial, sp, REGISTER(ctx, rbp));
		return 0;
	}
	call = &st->calls[COOKIE_LAYER(cookie) & (PROBE_LAYERS - 1)];
	if (is_nested(call, sp))
		return 0;
	st->freed.sp = 0;
	call->size = requested(ctx, cookie);
	call->pool = argument(ctx, COOKIE_POOL(cookie));
	call->pointer = argument(ctx, COOKIE_POINTER(cookie));
	call->cookie = cookie;
	call->unwinds = 0;
	call->stack =
		unwinds ? take_stack(&st->unwind, st->serial, sp, REGISTER(ctx, rbp)) : 0;
	if (COOKIE_CONDITION(cookie))
		bpf_probe_read_user(&caller, 8, (void *)sp);
	call->caller = caller;
	call->sp = sp;
	call->is_reallocating = COOKIE_OP(cookie) == PROBE_REALLOC && call->pointer;
	if (call->is_reallocating)
		begin_realloc(st, call, cookie);
	else if (COOKIE_OP(cookie) == PROBE_ALLOC_ENTRY)
		end_at_entry(st, call, cookie);
	return 0;
}

SEC("uprobe")
int probe_call_entry(struct pt_regs *ctx)
{
	return enter_call(ctx, 0);
}

/* A program of its own: kernels before 6.8 verify functions that are never called, too. */
SEC("uprobe")
int probe_unwinding_entry(struct pt_regs *ctx)
{
	return enter_call(ctx, 1);
}

static __always_inline void end_realloc(ht_u64 caller, struct thread_state *st,
					struct call_in_flight *call, ht_u64 address, ht_u64 word,
					ht_u64 cookie)
{
	struct ring_realloc_end *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

	if (!e) {
		count(COUNTER_LOST_REALLOC);
		return;
	}
	e->old_address = call->pointer;
	e->address = address;
	e->size = call->size;
	e->size_word = word;
	e->caller = caller;
	e->stack = call->stack;
	fill_head(&e->head, RING_REALLOC_END, st->serial, cookie);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* The call returns @result: a block, or an error number, as its operation has it. */
static __always_inline void end_call(struct thread_state *st, struct call_in_flight *call,
				     ht_u64 result, ht_u64 caller)
{
	ht_u64 cookie = call->cookie;

	call->sp = 0;
	if (call->is_reallocating) {
		end_realloc(caller, st, call, result, result ? size_word(result, cookie) : 0,
			    cookie);
	} else if (COOKIE_OP(cookie) == PROBE_RESIZE) { /* nobody else gets it meanwhile */
		if (!call->pointer || result < call->size)
			return;
		end_realloc(caller, st, call, call->pointer, result, cookie);
	} else {
		if (!is_success(result, cookie))
			return;
		if (COOKIE_OP(cookie) == PROBE_ALLOC_ARG)
			result = call->pointer;
		if (COOKIE_OP(cookie) == PROBE_ALLOC_OUT &&
		    bpf_probe_read_user(&result, 8, (void *)call->pointer)) {
			count(COUNTER_UNREADABLE);
			return;
		}
		if (!result)
			return; /* a failed call is no call */
		end_alloc(st, call, result, caller, cookie);
	}
	mind_the_water(st);
}

SEC("uretprobe")
int probe_call_return(struct pt_regs *ctx)
{
	ht_u64 cookie;
	struct call_in_flight *call;
	struct thread_state *st;

	KEEP_TO_OWN_STACK(ctx);
	if (empty)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	st = bpf_task_storage_get(&threads, (void *)bpf_get_current_task_btf(), 0, 0);
	if (!st)
		return 0;
	call = &st->calls[COOKIE_LAYER(cookie) & (PROBE_LAYERS - 1)];
	/* the return popped the return address; anything else is a nested call's */
	if (closed || !call->sp || call->sp + 8 != PT_REGS_SP(ctx) ||
	    COOKIE_FUNCTION(call->cookie) != COOKIE_FUNCTION(cookie))
		return 0;
	/* the kernel has put the true return address back by now */
	end_call(st, call, PT_REGS_RC(ctx), PT_REGS_IP(ctx));
	return 0;
}

/* On the way to the end of a function that may throw: see image/exit_sites.h. */
SEC("uprobe")
int probe_call_exit(struct pt_regs *ctx)
{
	ht_u64 cookie, sp = PT_REGS_SP(ctx);
	struct call_in_flight *call;
	struct thread_state *st;

	KEEP_TO_OWN_STACK(ctx);
	if (empty)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	sp += COOKIE_STACK_WORDS(cookie) * 8;
	st = bpf_task_storage_get(&threads, (void *)bpf_get_current_task_btf(), 0, 0);
	if (!st)
		return 0;
	call = &st->calls[COOKIE_LAYER(cookie) & (PROBE_LAYERS - 1)];
	/* one function may end in another's code, or be called there: the stack tells */
	if (closed || call->sp != sp || !call->caller)
		return 0;
	if (COOKIE_CONDITION(cookie) > 1 &&
	    !holds(REGISTER(ctx, eflags), COOKIE_CONDITION(cookie) - 2))
		return 0;
	end_call(st, call, register_number(ctx, COOKIE_REGISTER(cookie)), call->caller);
	return 0;
}

/* Something is thrown, or jumps far: calls whose exits are probed may not come to them. */
SEC("uprobe")
int probe_unwind(struct pt_regs *ctx)
{
	struct thread_state *st;

	KEEP_TO_OWN_STACK(ctx);
	st = bpf_task_storage_get(&threads, (void *)bpf_get_current_task_btf(), 0, 0);
	if (!st)
		return 0;
	for (int i = 0; i < PROBE_LAYERS; i++)
		st->calls[i].unwinds = 1;
	return 0;
}

#include "collector/mappings.bpf.h"

/* Has one that frees only jumped to another: operator delete to free()? */
static __always_inline int is_continued(const struct thread_state *st, ht_u64 sp, ht_u64 address,
					ht_u64 caller, ht_u64 cookie)
{
	return st->freed.sp == sp && st->freed.address == address && st->freed.caller == caller &&
	       st->freed.cookie != cookie &&
	       COOKIE_LAYER(st->freed.cookie) == COOKIE_LAYER(cookie);
}

static __always_inline enum ring_kind kind_of_end(ht_u64 cookie)
{
	ht_u64 op = COOKIE_OP(cookie);

	return op == PROBE_POOL_RESET	? RING_POOL_RESET
	       : op == PROBE_POOL_DESTROY ? RING_POOL_DESTROY
					  : RING_FREE;
}

static __always_inline int enter_free(struct pt_regs *ctx, int unwinds)
{
	ht_u64 cookie, sp = PT_REGS_SP(ctx), caller = 0, address, stack = 0;
	struct thread_state *st;
	struct ring_free *e;

	KEEP_TO_OWN_STACK(ctx);
	if (empty)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	sp += COOKIE_STACK_WORDS(cookie) * 8;
	address = argument(ctx, COOKIE_POINTER(cookie));
	if (!armed || !address || !(st = thread_state()) ||
	    is_nested(&st->calls[COOKIE_LAYER(cookie) & (PROBE_LAYERS - 1)], sp))
		return 0;
	bpf_probe_read_user(&caller, 8, (void *)sp);
	if (is_continued(st, sp, address, caller, cookie))
		return 0;
	st->freed.sp = sp;
	st->freed.address = address;
	st->freed.caller = caller;
	st->freed.cookie = cookie;
	if (unwinds)
		stack = take_stack(&st->unwind, st->serial, sp, REGISTER(ctx, rbp));
	e = bpf_ringbuf_reserve(&ring, unwinds ? sizeof(struct ring_free_by_stack) : sizeof(*e),
				0);
	if (!e) {
		count(COUNTER_LOST_FREE);
		return 0;
	}
	e->address = address;
	e->caller = caller;
	fill_head(&e->head, kind_of_end(cookie), st->serial, cookie);
	if (unwinds) {
		e->head.kind |= RING_BY_STACK;
		((struct ring_free_by_stack *)e)->stack = stack;
	}
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	mind_the_water(st);
	return 0;
}

SEC("uprobe")
int probe_free(struct pt_regs *ctx)
{
	return enter_free(ctx, 0);
}

/* As probe_unwinding_entry: where the stacks of frees are wanted, too. */
SEC("uprobe")
int probe_unwinding_free(struct pt_regs *ctx)
{
	return enter_free(ctx, 1);
}

/* ---- the life of the process ------------------------------------------------------ */

static __always_inline void mark(enum ring_kind kind, const struct bpf_pidns_info *ids)
{
	struct ring_mark *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

	if (!e) {
		count(COUNTER_LOST_OTHER);
		return;
	}
	e->tid = ids->pid;
	e->pid = ids->tgid;
	fill_head(&e->head, kind, 0, 0);
	bpf_ringbuf_submit(e, BPF_RB_FORCE_WAKEUP);
}

static long tables_step(ht_u32 i, struct spin *s)
{
	(void)i;
	return (long long)(tables_ready - s->wanted) >= 0 || closed ||
	       bpf_ktime_get_ns() > s->until_ns;
}

/* Gives user space the time to read new objects: only the thread that loads them waits. */
static __noinline int wait_for_tables(void)
{
	struct spin s = {.until_ns = bpf_ktime_get_ns() + tables_ns_max,
			 .wanted = __sync_fetch_and_add(&tables_asked, 1) + 1};
	struct bpf_pidns_info ids;

	current_ids(&ids);
	mark(RING_MAPS, &ids);
	if (stop_for_tables) {
		hold();
		return 0;
	}
	bpf_loop(1 << 23, tables_step, &s, 0);
	if ((long long)(tables_ready - s.wanted) < 0)
		count(COUNTER_LATE_TABLES);
	return 0;
}

/* ld.so calls it before and after it maps or unmaps objects, and first before any constructor. */
SEC("uprobe")
int probe_debug_hook(struct pt_regs *ctx)
{
	struct bpf_pidns_info ids;

	KEEP_TO_OWN_STACK(ctx);
	if (closed)
		return 0;
	code_changes |= armed && !hold_at_debug_hook;
	__sync_fetch_and_add(&code_generation, 1);
	if (armed && (stack_mode == STACK_MODE_AUTO || stop_for_tables) && !hold_at_debug_hook) {
		wait_for_tables();
		return 0;
	}
	current_ids(&ids);
	mark(RING_MAPS, &ids);
	if (hold_at_debug_hook)
		hold();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	struct bpf_pidns_info ids;

	current_ids(&ids);
	if (ids.tgid != target_pid)
		return 0;
	__sync_fetch_and_add(&code_generation, 1);
	last_exec_pages = 0;
	code_changes = 0;
	last_break = 0;
	mark(RING_EXEC, &ids);
	if (hold_at_exec && !closed)
		hold();
	return 0;
}

/* Children that may have inherited breakpoints, until they are swept. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, ht_u32);
	__type(value, ht_u32);
} children SEC(".maps");

/* So often has the process, or a child of its, forked. */
ht_u32 forks;

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	ht_u32 parent_pid = parent->tgid, child_pid = child->tgid;
	struct bpf_pidns_info ids;

	if (parent->mm == child->mm)
		return 0; /* a thread, or vfork() */
	current_ids(&ids);
	if (ids.tgid != target_pid && !bpf_map_lookup_elem(&children, &parent_pid))
		return 0;
	bpf_map_update_elem(&children, &child_pid, &parent_pid, BPF_ANY);
	__sync_fetch_and_add(&forks, 1);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct bpf_pidns_info ids;
	struct thread_state *st;
	struct ring_thread *e;

	current_ids(&ids);
	if (ids.tgid != target_pid)
		return 0;
	/* the kernel asks the main thread whose memory the probes are for: they end with it */
	if (task->pid == task->tgid && task->signal->live.counter > 0)
		count(COUNTER_MAIN_THREAD_GONE);
	st = bpf_task_storage_get(&threads, task, 0, 0);
	if (!st || !st->is_announced)
		return 0;
	e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) {
		count(COUNTER_LOST_OTHER);
		return 0;
	}
	fill_head(&e->head, RING_THREAD_EXIT, st->serial, 0);
	e->tid = ids.pid;
	e->pid = ids.tgid;
	e->start_ns = 0;
	__builtin_memcpy(e->name, task->comm, sizeof(e->name));
	bpf_ringbuf_submit(e, 0);
	return 0;
}
