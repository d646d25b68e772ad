/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_UNWIND_BPF_H
#define COLLECTOR_UNWIND_BPF_H

/*
 * The unwinder: from the registers at a call's entry to the whole call stack, by
 * the rules that unwind_tables.c has put into maps, without frame pointers.
 *
 * What makes it quick: one read of 2 KiB of the stack instead of one a frame; a
 * cache from return address to rule; everything rare is out of the loop.  The state
 * lies in the thread's storage: programs at uprobes can be preempted, and the
 * verifier follows what is on the BPF stack value by value.
 *
 * Part of probes.bpf.c.
 */
#include "collector/stack_mode.h"
#include "collector/unwind_layout.h"
#include "store/stack_end.h"

#define WINDOW_WORDS 256
#define TURNS 8 /* of FRAMES_A_TURN: more than RING_FRAMES_MAX frames */
#define FRAMES_A_TURN 32
#define STACK_RUNNING 0xffff /* no enum stack_end yet */
#define ADDRESS_BITS 56 /* the most that user space has */

/* Kinds that no table has: what a place without rule is. */
#define UNWIND_GUESS 16	    /* code without a row: by the frame pointer */
#define UNWIND_NOT_READY 17 /* code of a file whose table is not there (yet) */
#define UNWIND_OUTSIDE 18   /* no code at all */
#define UNWIND_NO_TABLE 19   /* code of a file that could not be read, or had no room */
#define UNWIND_BY_POINTER 20 /* any place, where nothing but frame pointers is wanted */

#define FRAME_POINTER_RULE UNWIND_RULE(UNWIND_CFA_BP, 16, UNWIND_BP_AT_CFA, -16)

struct unwind_state;
static __always_inline int read_word(struct unwind_state *u, ht_u64 address, ht_u64 *ret);
#define UNWIND_READ(reader, address, ret) read_word(reader, address, ret)
#include "image/unwind_step.h"

struct unwind_state {
	struct unwind_frame frame;
	ht_u64 hash;
	ht_u64 window_at; /* its address in the target */
	ht_u32 window_bytes;
	ht_u32 was_guess; /* the frame was found by the frame pointer */
	ht_u64 generation; /* of the code, when it began */
	ht_u64 window[WINDOW_WORDS];
	struct ring_stack out;
};

const volatile ht_u32 stack_mode;

/* The vdso is no file. */
ht_u64 vdso_start, vdso_end;
struct unwind_file vdso_file;

ht_u64 last_exec_pages;
/* It has, while we record. */
ht_u32 code_changes;
/* Whose mappings are listed, in the initial PID namespace; 0: of all that are shown. */
ht_u32 listed_pid;
/* Code was met whose table is not there. */
ht_u32 tables_wanted;

/* By a return address: key ^ rule * TAG_FACTOR, and the rule.  One half written misses. */
#define CACHE_SHIFT 16
#define TAG_FACTOR 0x9e3779b97f4a7c15ull
#define GENERATION_FACTOR 0xd1342543de82ef95ull
ht_u64 rule_cache[1 << CACHE_SHIFT][2];

/* By its hash: the stack that was sent last.  Others are sent again: never lost. */
#define SENT_SHIFT 18
ht_u64 stacks_sent[1 << SENT_SHIFT];

ht_u64 unwind_rules[UNWIND_RULES_MAX];

/* Two, of which the one is there while the other is written. */
struct unwind_listing listings[2];
ht_u32 listing_at;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UNWIND_FILES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct unwind_file_key);
	__type(value, struct unwind_file);
} unwind_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, UNWIND_SLABS_MAX);
	__type(key, ht_u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_MMAPABLE);
		__type(key, ht_u32);
		__uint(value_size, UNWIND_SLAB_WORDS * 4);
	});
} unwind_slabs SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct super_block {
	ht_u32 s_dev;
};
struct inode {
	unsigned long i_ino;
	ht_u32 i_generation;
	struct super_block *i_sb;
};
struct file {
	struct inode *f_inode;
};
struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_pgoff, vm_flags;
	struct file *vm_file;
};
struct return_instance {
	unsigned long stack;
	unsigned long orig_ret_vaddr;
	struct return_instance *next;
};
struct uprobe_task {
	struct return_instance *return_instances;
};
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};
#pragma clang attribute pop

#define VM_EXEC 4

/* ---- the target's stack ----------------------------------------------------------- */

/* Makes the window begin at @address, which is a multiple of 8. */
__noinline int move_window(struct unwind_state *u, ht_u64 address)
{
	ht_u32 n = sizeof(u->window);

	if (!u)
		return -1;
	if (bpf_probe_read_user(u->window, n, (void *)address)) {
		n = 4096 - (address & 4095); /* the stack may end with this page */
		if (n >= sizeof(u->window) || bpf_probe_read_user(u->window, n, (void *)address)) {
			u->window_bytes = 0;
			return -1;
		}
	}
	u->window_at = address;
	u->window_bytes = n;
	return 0;
}

static __always_inline int read_word(struct unwind_state *u, ht_u64 address, ht_u64 *ret)
{
	ht_u64 at = address - u->window_at;

	if (at >= u->window_bytes || (address & 7)) {
		if ((address & 7) || move_window(u, address))
			return -1;
		at = 0;
	}
	at >>= 3;
	asm volatile("" : "+r"(at)); /* or the bound that the compiler can prove is lost */
	*ret = u->window[at & (WINDOW_WORDS - 1)];
	return 0;
}

/* ---- rules of places in the code --------------------------------------------------- */

struct seen_mapping {
	ht_u64 offset; /* of the place, in the file */
	ht_u64 pc;
	struct unwind_file_key key;
	ht_u32 is_code, is_file;
	long result;
	ht_u64 until_ns;
	ht_u32 listing; /* that is looked into */
};

/* Another thread may be changing the mappings: it is waited for, at most so long. */
#define MAPPINGS_NS_MAX 2000000
#define EBUSY 16

static __always_inline void fill_key(struct unwind_file_key *key, struct file *file)
{
	struct inode *inode = file->f_inode;

	key->inode = inode->i_ino;
	key->generation = inode->i_generation;
	key->device = inode->i_sb->s_dev;
}

static long see_mapping(struct task_struct *task, struct vm_area_struct *vma,
			struct seen_mapping *ret)
{
	struct file *file = vma->vm_file;

	ret->is_code = !!(vma->vm_flags & VM_EXEC);
	if (file) {
		ret->is_file = 1;
		ret->offset = ret->pc - vma->vm_start + (vma->vm_pgoff << 12);
		fill_key(&ret->key, file);
	}
	return 0;
}

static long try_to_see(ht_u32 i, struct seen_mapping *seen)
{
	seen->result = bpf_find_vma(bpf_get_current_task_btf(), seen->pc, see_mapping, seen, 0);
	if (seen->result != -EBUSY)
		return 1;
	if (!i)
		seen->until_ns = bpf_ktime_get_ns() + MAPPINGS_NS_MAX;
	return bpf_ktime_get_ns() > seen->until_ns;
}

static long see_listed(ht_u32 i, struct seen_mapping *seen)
{
	ht_u64 list = seen->listing, at = i;
	const struct unwind_listing *l;
	const struct unwind_mapping *m;

	asm volatile("" : "+r"(list), "+r"(at)); /* else older verifiers lose the bounds */
	l = &listings[list & 1];
	if (i >= l->n)
		return 1;
	m = &l->mappings[at & (UNWIND_LISTED_MAX - 1)];
	if (seen->pc >= m->end)
		return 0;
	if (seen->pc < m->start)
		return 1;
	seen->is_code = seen->is_file = 1;
	seen->offset = seen->pc - m->start + m->offset;
	seen->key = m->key;
	seen->result = 0;
	return 1;
}

/*
 * What is mapped at the place.  While another thread changes the mappings the kernel
 * does not tell; then it is what user space has seen, if no code has come or gone since.
 */
static __always_inline void find_mapping(struct seen_mapping *seen)
{
	ht_u64 generation = code_generation;

	seen->result = bpf_find_vma(bpf_get_current_task_btf(), seen->pc, see_mapping, seen, 0);
	if (seen->result != -EBUSY)
		return;
	seen->listing = listing_at;
	if (listings[seen->listing & 1].generation == generation) {
		bpf_loop(UNWIND_LISTED_MAX, see_listed, seen, 0);
		if (listings[seen->listing & 1].generation != generation)
			seen->result = -EBUSY;
	}
	if (seen->result == -EBUSY)
		bpf_loop(1 << 20, try_to_see, seen, 0);
}

static __always_inline ht_u32 table_word(ht_u32 position)
{
	ht_u32 slab_at = position >> UNWIND_SLAB_SHIFT, zero = 0, *words;
	void *slab = bpf_map_lookup_elem(&unwind_slabs, &slab_at);

	if (!slab || !(words = bpf_map_lookup_elem(slab, &zero)))
		return 0;
	asm volatile("" : "+r"(position));
	return words[position & (UNWIND_SLAB_WORDS - 1)];
}

/* The rule in force at the file offset; 0: there is no row. */
static __always_inline ht_u64 table_rule(const struct unwind_file *file, ht_u64 offset)
{
	ht_u64 page = (offset >> UNWIND_PAGE_SHIFT) - file->first_page;
	ht_u32 word, position, n, low = offset & 255, found = 0;
	ht_u32 slab_at, zero = 0, *words;
	void *slab;

	if (page >= file->n_pages)
		return 0;
	word = table_word(file->index + (ht_u32)page);
	position = word >> 8;
	n = word & 255; /* rows after the first */
	slab_at = position >> UNWIND_SLAB_SHIFT;
	slab = bpf_map_lookup_elem(&unwind_slabs, &slab_at);
	if (!slab || !(words = bpf_map_lookup_elem(slab, &zero)))
		return 0;
	/* the last row that begins there or before; the verifier would follow branches */
	for (int half = 128; half; half >>= 1) {
		ht_u32 middle = found + half, at = position + middle;
		ht_u64 is_after, is_beyond;

		asm volatile("" : "+r"(at));
		is_beyond = (ht_u64)n - middle; /* negative: there is no such row */
		is_after = (ht_u64)low - (words[at & (UNWIND_SLAB_WORDS - 1)] & 255);
		is_after |= is_beyond;
		asm volatile("" : "+r"(is_after));
		found += half & ~(ht_u32)((long long)is_after >> 63);
	}
	position += found;
	asm volatile("" : "+r"(position));
	word = words[position & (UNWIND_SLAB_WORDS - 1)];
	return unwind_rules[word >> 8 & (UNWIND_RULES_MAX - 1)];
}

/* A place's rule, or one of the kinds that no table has. */
static __noinline ht_u64 find_rule(ht_u64 pc)
{
	struct seen_mapping seen = {.pc = pc};
	struct unwind_file *file;
	ht_u64 rule;

	if (pc - vdso_start < vdso_end - vdso_start) {
		rule = table_rule(&vdso_file, pc - vdso_start);
		return rule ? rule : UNWIND_GUESS;
	}
	find_mapping(&seen);
	if (seen.result == -EBUSY) {
		count(COUNTER_MAPPINGS_BUSY);
		return UNWIND_NOT_READY;
	}
	if (seen.result || !seen.is_code)
		return UNWIND_OUTSIDE;
	if (!seen.is_file)
		return UNWIND_GUESS;
	file = bpf_map_lookup_elem(&unwind_files, &seen.key);
	if (!file) {
		tables_wanted = 1;
		return UNWIND_NOT_READY;
	}
	if (file->id & UNWIND_FILE_UNUSABLE)
		return UNWIND_NO_TABLE;
	rule = table_rule(file, seen.offset);
	return rule ? rule : UNWIND_GUESS;
}

/* The frame's rule, where the cache does not have it. */
__noinline ht_u64 miss(ht_u64 key, ht_u64 pc)
{
	ht_u32 at = key * TAG_FACTOR >> (64 - CACHE_SHIFT);
	ht_u64 rule;

	rule = find_rule(pc);
	if (rule < UNWIND_GUESS || rule > UNWIND_OUTSIDE) { /* they change without our knowing */
		rule_cache[at & ((1 << CACHE_SHIFT) - 1)][0] = key ^ rule * TAG_FACTOR;
		rule_cache[at & ((1 << CACHE_SHIFT) - 1)][1] = rule;
	}
	return rule;
}

static __always_inline ht_u64 frame_rule(struct unwind_state *u)
{
	ht_u64 pc = u->frame.pc - !u->frame.is_exact; /* a call's own place is before its end */
	ht_u64 key = pc ^ code_generation * GENERATION_FACTOR, rule;
	ht_u32 at = key * TAG_FACTOR >> (64 - CACHE_SHIFT);
	ht_u64 *cached = rule_cache[at & ((1 << CACHE_SHIFT) - 1)];

	rule = cached[1];
	if ((cached[0] ^ rule * TAG_FACTOR) == key && rule)
		return rule;
	return miss(key, pc);
}

/* ---- frames ------------------------------------------------------------------------ */

static __always_inline ht_u64 mix(ht_u64 hash, ht_u64 word)
{
	hash = (hash ^ word) * TAG_FACTOR;
	return hash ^ hash >> 29;
}

static __always_inline void add_frame(struct unwind_state *u)
{
	/* what a signal interrupted is at its own place, not before it as calls are */
	ht_u64 n = u->out.n, pc = u->frame.pc + u->frame.is_exact;

	asm volatile("" : "+r"(n));
	u->out.frames[n & RING_FRAMES_MAX] = pc;
	u->out.n = n + 1;
	u->hash = mix(u->hash, pc);
}

/* An outer call that returns to the kernel's trampoline: puts the true address in its place. */
static __always_inline int leave_trampoline(struct unwind_state *u)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct uprobe_task *utask;
	struct return_instance *ri;

	if (!bpf_core_field_exists(((struct mm_struct *)0)->uprobes_state) ||
	    u->frame.pc != BPF_CORE_READ(task, mm, uprobes_state.xol_area, vaddr))
		return -1;
	utask = BPF_CORE_READ(task, utask);
	ri = BPF_CORE_READ(utask, return_instances);
	for (int i = 0; i < 64 && ri; i++) {
		if (BPF_CORE_READ(ri, stack) == u->frame.sp - 8) {
			u->frame.pc = BPF_CORE_READ(ri, orig_ret_vaddr);
			return 0;
		}
		ri = BPF_CORE_READ(ri, next);
	}
	return -1;
}

/* Where the kernel made the process begin, give or take an alignment: nothing lies above. */
static __always_inline int is_at_start(const struct unwind_state *u)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	ht_u64 start = task->mm->start_stack;

	return start - u->frame.sp <= 32;
}

static __always_inline enum stack_end guess(struct unwind_state *u)
{
	add_frame(u);
	if (is_at_start(u))
		return STACK_COMPLETE;
	if (unwind_step_common(&u->frame, FRAME_POINTER_RULE, u))
		return STACK_NO_UNWIND_INFO;
	u->out.guesses++;
	u->was_guess = 1;
	return STACK_RUNNING;
}

static __always_inline enum stack_end end_of(enum unwind_result r)
{
	switch (r) {
	case UNWIND_STEPPED:
		return STACK_RUNNING;
	case UNWIND_FINISHED:
		return STACK_COMPLETE;
	case UNWIND_UNREADABLE:
		return STACK_UNREADABLE;
	case UNWIND_BROKEN:
		return STACK_BROKEN;
	default:
		return STACK_UNSUPPORTED;
	}
}

/* A first frame whose rbp is 0 has some other use for it; later ones tell the end by that. */
static __always_inline enum stack_end follow_pointer(struct unwind_state *u)
{
	if (u->frame.pc >> ADDRESS_BITS)
		return STACK_BROKEN;
	add_frame(u);
	if (unwind_get_bp(&u->frame, u))
		return STACK_UNREADABLE;
	if ((!u->frame.bp && u->out.n > 1) || is_at_start(u))
		return STACK_COMPLETE;
	return end_of(unwind_step_common(&u->frame, FRAME_POINTER_RULE, u));
}

/* A frame whose rule is not one of the common ones.  Returns whether the stack ends there. */
__noinline int unwind_rare(struct unwind_state *u, ht_u64 rule)
{
	enum stack_end end;

	if (!u)
		return 1;
	if (rule == UNWIND_OUTSIDE || rule == UNWIND_GUESS || rule == UNWIND_BY_POINTER) {
		if (!leave_trampoline(u))
			return 0;
	}
	if (rule == UNWIND_OUTSIDE) {
		/* not kept: it is no place in the code */
		end = u->was_guess ? STACK_NO_UNWIND_INFO : STACK_BROKEN;
	} else if (rule == UNWIND_GUESS) {
		end = guess(u);
	} else if (rule == UNWIND_BY_POINTER) {
		end = follow_pointer(u);
	} else if (rule == UNWIND_NOT_READY) {
		add_frame(u);
		count(COUNTER_STACKS_NOT_READY);
		end = STACK_NOT_READY;
	} else if (rule == UNWIND_NO_TABLE) {
		add_frame(u);
		end = STACK_NO_TABLE;
	} else {
		add_frame(u);
		u->was_guess = 0;
		end = end_of(unwind_step_rare(&u->frame, rule, u));
	}
	u->out.end = end;
	return end != STACK_RUNNING;
}

/* Goes up some frames.  Returns whether the stack ends there. */
__noinline int unwind_frames(struct unwind_state *u)
{
	if (!u)
		return 1;
	for (int i = 0; i < FRAMES_A_TURN; i++) {
		enum unwind_result r;
		ht_u64 rule;

		if (u->out.n >= RING_FRAMES_MAX) {
			u->out.end = STACK_TOO_DEEP;
			return 1;
		}
		if (!u->frame.pc) { /* as if nobody had called */
			u->out.end = u->was_guess ? STACK_NO_UNWIND_INFO : STACK_COMPLETE;
			return 1;
		}
		rule = stack_mode == STACK_MODE_FP ? UNWIND_BY_POINTER : frame_rule(u);
		if (!unwind_is_common(rule)) {
			if (unwind_rare(u, rule))
				return 1;
			continue;
		}
		add_frame(u);
		u->was_guess = 0;
		r = unwind_step_common(&u->frame, rule, u);
		if (r) {
			u->out.end = end_of(r);
			return 1;
		}
	}
	return 0;
}

/* Code may have come or gone unseen by ld.so's hook: the number of its pages tells. */
static __always_inline void mind_the_code(void)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	ht_u64 pages = task->mm->exec_vm;

	if (bpf_core_field_exists(((struct mm_struct *)0)->uprobes_state))
		pages -= !!task->mm->uprobes_state.xol_area; /* the kernel's own, for our probes */
	if (!last_exec_pages) {
		last_exec_pages = pages; /* nothing was learnt yet */
	} else if (pages != last_exec_pages) {
		code_changes = 1;
		last_exec_pages = pages;
		__sync_fetch_and_add(&code_generation, 1);
		tables_wanted = 1;
	}
}

/* Says of a frame of @u in which file it is, while that is there.  1: it could not be asked. */
__noinline int locate_frame(struct unwind_state *u, ht_u32 i)
{
	struct seen_mapping seen = {};
	struct unwind_file *file;

	if (!u)
		return 0;
	asm volatile("" : "+r"(i));
	i &= RING_FRAMES_MAX;
	seen.pc = u->out.frames[i] - 1;
	if (seen.pc - vdso_start < vdso_end - vdso_start)
		return 0;
	find_mapping(&seen);
	if (seen.result)
		return seen.result == -EBUSY;
	if (!seen.is_file) {
		u->out.frames[i] |= RING_FRAME_IN_NO_FILE;
		return 0;
	}
	file = bpf_map_lookup_elem(&unwind_files, &seen.key);
	seen.offset++;
	if (file && !(file->id & UNWIND_FILE_UNUSABLE) && !(seen.offset >> RING_FRAME_FILE_SHIFT))
		u->out.frames[i] = RING_FRAME_IN_FILE | seen.offset |
				   (ht_u64)file->id << RING_FRAME_FILE_SHIFT;
	return 0;
}

static __noinline int locate_frames(struct unwind_state *u)
{
	for (ht_u32 i = 0; i < RING_FRAMES_MAX; i++) {
		if (i >= u->out.n)
			break;
		if (locate_frame(u, i)) /* once is waited for, not for each */
			return 1;
	}
	return 0;
}

/* Hands over a stack that may not have been.  If that fails, it is tried again the next time. */
__noinline int send_stack(struct unwind_state *u, ht_u32 thread)
{
	ht_u64 bytes;

	if (!u)
		return -1;
	if (code_changes && locate_frames(u))
		u->out.id += 2; /* the whole one comes under its own, the next time */
	fill_head(&u->out.head, RING_STACK, thread, 0);
	u->out.head.generation = (ht_u16)u->generation;
	bytes = u->out.n;
	asm volatile("" : "+r"(bytes));
	bytes = RING_STACK_BYTES(bytes & RING_FRAMES_MAX);
	if (bpf_ringbuf_output(&ring, &u->out, bytes, BPF_RB_NO_WAKEUP)) {
		count(COUNTER_LOST_STACK);
		return -1;
	}
	stacks_sent[u->out.id >> (64 - SENT_SHIFT)] = u->out.id;
	return 0;
}

/* From these registers on; @pc is a return address, or exact.  The window is there. */
static __always_inline ht_u64 unwind_from(struct unwind_state *u, ht_u32 thread, ht_u64 pc,
					  ht_u64 sp, ht_u64 bp, ht_u32 is_exact)
{
	mind_the_code();
	u->frame.pc = pc;
	u->frame.sp = sp;
	u->frame.bp = bp;
	u->frame.bp_at = 0;
	u->frame.is_exact = is_exact;
	u->was_guess = 0;
	u->generation = code_generation;
	u->hash = mix(TAG_FACTOR, u->generation);
	u->out.n = 0;
	u->out.guesses = 0;
	u->out.end = STACK_TOO_DEEP;
	for (int i = 0; i < TURNS; i++)
		if (unwind_frames(u))
			break;
	if (!u->out.n)
		return RING_NO_STACK(STACK_BROKEN);
	u->hash = mix(u->hash, u->out.end);
	u->out.id = u->hash | 1;
	if (stacks_sent[u->out.id >> (64 - SENT_SHIFT)] == u->out.id)
		return u->out.id;
	return send_stack(u, thread) ? RING_NO_STACK(STACK_LOST) : u->out.id;
}

/*
 * Takes the stack of the call that was entered with the return address at @sp; what
 * begins with the caller.  Returns its id, or a RING_NO_STACK where it could not be
 * taken or sent.
 */
static __always_inline ht_u64 take_stack(struct unwind_state *u, ht_u32 thread, ht_u64 sp,
					 ht_u64 bp)
{
	u->window_bytes = 0;
	if ((sp & 7) || move_window(u, sp))
		return RING_NO_STACK(STACK_UNREADABLE);
	return unwind_from(u, thread, u->window[0], sp + 8, bp, 0);
}

/* The same from @pc on, in the midst of a function, which the stack begins with. */
static __always_inline ht_u64 take_stack_at(struct unwind_state *u, ht_u32 thread, ht_u64 pc,
					    ht_u64 sp, ht_u64 bp)
{
	u->window_bytes = 0;
	if ((sp & 7) || move_window(u, sp))
		return RING_NO_STACK(STACK_UNREADABLE);
	return unwind_from(u, thread, pc, sp, bp, 1);
}

/* ---- for user space ---------------------------------------------------------------- */

/* Tells the process's mappings of code to user space, as the unwinder sees them. */
SEC("iter/task_vma")
int list_code(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;
	struct task_struct *task = ctx->task;
	struct unwind_mapping m = {};

	if (!vma || !task || (listed_pid && (ht_u32)task->tgid != listed_pid) ||
	    !(vma->vm_flags & VM_EXEC) || !vma->vm_file)
		return 0;
	m.start = vma->vm_start;
	m.end = vma->vm_end;
	m.offset = vma->vm_pgoff << 12;
	fill_key(&m.key, vma->vm_file);
	bpf_seq_write(ctx->meta->seq, &m, sizeof(m));
	return 0;
}

#endif
