/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_RING_EVENTS_H
#define COLLECTOR_RING_EVENTS_H

/*
 * The contract between probes.bpf.c and the drain: what the ring carries and
 * how a probe is told what it probes.  Compiled on both sides; only fixed-width
 * fields, and all layouts are asserted.
 */
#ifdef __bpf__
typedef unsigned char ht_u8;
typedef unsigned short ht_u16;
typedef unsigned int ht_u32;
typedef unsigned long long ht_u64;
#else
#include <stdint.h>
typedef uint8_t ht_u8;
typedef uint16_t ht_u16;
typedef uint32_t ht_u32;
typedef uint64_t ht_u64;
#endif

/* ---- what a probe is told: its cookie ------------------------------------------ */

enum probe_op {
	PROBE_ALLOC,	   /* returns the block */
	PROBE_ALLOC_OUT,   /* returns 0 and stores the block where an argument points */
	PROBE_REALLOC,	   /* takes a block, returns another; NULL with size 0 frees it */
	PROBE_FREE,
	PROBE_ALLOC_ARG,   /* the block is an argument; it counts at the return */
	PROBE_ALLOC_ENTRY, /* … at the entry: there is no return probe */
	PROBE_POOL_RESET,  /* the blocks of a pool end */
	PROBE_POOL_DESTROY, /* … and the pool */
	PROBE_RESIZE, /* of a block that stays: returns what it has; if that is less, as before */
};

/* Which results of a call make it count. */
enum probe_ok {
	PROBE_OK_USUAL, /* of PROBE_ALLOC_OUT 0, of others any; as an int */
	PROBE_OK_ANY,
	PROBE_OK_ZERO,
	PROBE_OK_NONZERO,
};

enum usable_rule {
	USABLE_RULE_NONE,
	USABLE_RULE_GLIBC, /* the size word before the block */
	USABLE_RULE_JEMALLOC, /* its size classes */
	USABLE_RULE_TCMALLOC, /* … those that the library has: see usable.h */
	USABLE_RULE_MIMALLOC,
	USABLE_RULE_REQUESTED, /* what was asked for, whatever the alignment */
};

#define PROBE_LAYERS 16

/*
 * Argument numbers are 1..6, 0 = none.  Bits, from the lowest: op 4, layer 4,
 * family 8, function 8, size argument 4, factor argument 4 (size = product),
 * pointer argument 4, usable rule 4, words that the stack has grown since the
 * function's entry 8, pool argument 4.  The highest but one and the one below
 * are the enum probe_ok.
 *
 * Of a function whose exits are probed, at an exit: the register that has the
 * result 4, and the condition under which it does end there, as x86 codes them,
 * + 2; or 1: in any case; at its entry 1 5.
 *
 * With a factor from COOKIE_CONSTANT_FACTOR on the size is a constant: that number times 16
 * and the size's say which.
 */
#define PROBE_COOKIE(op, layer, family, function, size, factor, pointer, usable, stack_words) \
	((ht_u64)(op) | (ht_u64)(layer) << 4 | (ht_u64)(family) << 8 | (ht_u64)(function) << 16 | \
	 (ht_u64)(size) << 24 | (ht_u64)(factor) << 28 | (ht_u64)(pointer) << 32 | \
	 (ht_u64)(usable) << 36 | (ht_u64)(stack_words) << 40)
#define PROBE_COOKIE_EXIT(reg, condition) \
	((ht_u64)(reg) << 52 | (ht_u64)((condition) + 2) << 56)
#define COOKIE_OP(c) ((c) & 15)
#define COOKIE_LAYER(c) ((c) >> 4 & 15)
#define COOKIE_FAMILY(c) ((c) >> 8 & 255)
#define COOKIE_FUNCTION(c) ((c) >> 16 & 255)
#define COOKIE_SIZE(c) ((c) >> 24 & 15)
#define COOKIE_FACTOR(c) ((c) >> 28 & 15)
#define COOKIE_POINTER(c) ((c) >> 32 & 15)
#define COOKIE_USABLE(c) ((c) >> 36 & 15)
#define COOKIE_STACK_WORDS(c) ((c) >> 40 & 255)
#define COOKIE_REGISTER(c) ((c) >> 52 & 15)
#define COOKIE_CONDITION(c) ((c) >> 56 & 31)
#define COOKIE_WITH_POOL(pool) ((ht_u64)(pool) << 48)
#define COOKIE_POOL(c) ((c) >> 48 & 15)
#define COOKIE_WITH_OK(ok) ((ht_u64)(ok) << 61)
#define COOKIE_OK(c) ((c) >> 61 & 3)

#define COOKIE_CONSTANT_FACTOR 7
#define PROBE_CONSTANTS ((16 - COOKIE_CONSTANT_FACTOR) * 16)

/* ---- what the ring carries ------------------------------------------------------ */

enum ring_kind {
	RING_ALLOC,
	RING_FREE,
	RING_REALLOC_BEGIN, /* the old block may be gone from now on */
	RING_REALLOC_END,   /* new block; or address 0: the old one stays, or was freed */
	RING_THREAD,	    /* before a thread's first event */
	RING_THREAD_EXIT,
	RING_EXEC,	    /* the address space was replaced */
	RING_MAPS,	    /* ld.so mapped or unmapped something, or code came or went */
	RING_STACK,	    /* a stack's frames, before the first event that has it */
	RING_POOL_ALLOC,    /* a RING_ALLOC in a pool */
	RING_POOL_RESET,    /* as a RING_FREE, of all blocks of a pool */
	RING_POOL_DESTROY,  /* … and of the pool */
	RING_MAPPING,	    /* a system call that maps or unmaps */
	RING_KINDS
};

/* Of a ring_free: it is a ring_free_by_stack. */
#define RING_BY_STACK 128

struct ring_head {
	ht_u8 kind; /* enum ring_kind, and RING_BY_STACK */
	ht_u8 family;
	ht_u16 generation; /* how often code had come or gone, its low bits */
	ht_u32 thread; /* serial number of the thread, from 1 */
	ht_u64 t_ns;   /* taken after the place in the ring: may run back a little */
};

struct ring_alloc {
	struct ring_head head;
	ht_u64 address, size;
	/* of the glibc chunk; what PROBE_RESIZE says; 1: by the classes; 0: not known */
	ht_u64 size_word;
	ht_u64 caller;	  /* return address of the call */
	ht_u64 stack;	  /* id of a RING_STACK, or RING_NO_STACK() */
};

struct ring_pool_alloc {
	struct ring_alloc alloc;
	ht_u64 pool; /* address; 0: none */
};

/* Also RING_POOL_RESET and RING_POOL_DESTROY: the address is the pool's. */
struct ring_free {
	struct ring_head head;
	ht_u64 address;
	ht_u64 caller; /* return address */
};

struct ring_free_by_stack {
	struct ring_free free;
	ht_u64 stack; /* as of a ring_alloc */
};

struct ring_realloc_begin {
	struct ring_head head;
	ht_u64 address;
};

struct ring_realloc_end {
	struct ring_head head;
	ht_u64 old_address;
	ht_u64 address, size, size_word, caller, stack;
};

/* A stack has at most so many frames; deeper ones are cut at the outer end. */
#define RING_FRAMES_MAX 255

struct ring_stack {
	struct ring_head head;
	ht_u64 id;    /* odd; a hash of all below, and of how often code came or went */
	ht_u32 n;     /* frames */
	ht_u16 end;   /* enum stack_end (store/stack_end.h) */
	ht_u16 guesses; /* frames that were found by the frame pointer, for want of a rule */
	ht_u64 frames[RING_FRAMES_MAX + 1]; /* return addresses, innermost first; n are sent */
};

#define RING_STACK_BYTES(n) (32 + 8 * (n))

/* Instead of an id, where no stack was wanted (0), or why there is none (enum stack_end). */
#define RING_NO_STACK(end) ((ht_u64)(end) << 1)
#define RING_IS_STACK(id) ((id) & 1)
#define RING_NO_STACK_END(id) ((id) >> 1)

/*
 * Where code comes and goes, addresses would soon mean something else: a frame then
 * says which file (unwind_file.id) it is in, and where in that; or that it is in none.
 */
#define RING_FRAME_IN_FILE (1ull << 63)
#define RING_FRAME_IN_NO_FILE (1ull << 62) /* and the address */
#define RING_FRAME_FILE_SHIFT 40
#define RING_FRAME_FILE_MAX ((1u << 22) - 1)
#define RING_FRAME_FILE(frame) ((ht_u32)((frame) >> RING_FRAME_FILE_SHIFT) & RING_FRAME_FILE_MAX)
#define RING_FRAME_OFFSET(frame) ((frame) & ((1ull << RING_FRAME_FILE_SHIFT) - 1))

/* A probe behind a system call; @shared: what comes there otherwise is to be told apart. */
#define MAPPING_COOKIE(number, shared) ((ht_u64)(number) << 1 | !!(shared))
#define MAPPING_COOKIE_NUMBER(c) ((c) >> 1)
#define MAPPING_COOKIE_SHARED(c) ((c) & 1)

/* What a RING_MAPPING says. */
enum mapping_op {
	MAPPING_MAP,	 /* mmap(): bytes as it was asked for */
	MAPPING_UNMAP,	 /* munmap() */
	MAPPING_REMAP,	 /* mremap(): from old_bytes at old_address; its flags */
	MAPPING_BREAK,	 /* brk(): the end of its heap, from old_address to address */
	MAPPING_SEGMENT, /* shmat(): bytes 0: not known */
	MAPPING_DETACH,	 /* shmdt() */
	MAPPING_OPS
};

/* Told after the call. */
struct ring_mapping {
	struct ring_head head;
	ht_u64 address, bytes;
	ht_u64 old_address, old_bytes;
	ht_u64 caller; /* behind the system call */
	ht_u64 outer;  /* who called the function that is in, as a frame; 0: not known */
	ht_u64 stack;  /* as of a ring_alloc */
	ht_u32 flags;
	ht_u16 op;	     /* enum mapping_op */
	ht_u16 in_heap_call; /* 1: an allocating call of layer heap is under way */
};

#define RING_NAME_BYTES 16

struct ring_thread {
	struct ring_head head;
	ht_u32 tid, pid; /* as the recorder's PID namespace counts them */
	ht_u64 start_ns; /* CLOCK_MONOTONIC */
	char name[RING_NAME_BYTES];
};

/* Also RING_EXEC and RING_MAPS */
struct ring_mark {
	struct ring_head head;
	ht_u32 tid, pid;
};

_Static_assert(sizeof(struct ring_head) == 16, "ring_head");
_Static_assert(sizeof(struct ring_alloc) == 56, "ring_alloc");
_Static_assert(sizeof(struct ring_pool_alloc) == 64, "ring_pool_alloc");
_Static_assert(sizeof(struct ring_free) == 32, "ring_free");
_Static_assert(sizeof(struct ring_free_by_stack) == 40, "ring_free_by_stack");
_Static_assert(sizeof(struct ring_realloc_begin) == 24, "ring_realloc_begin");
_Static_assert(sizeof(struct ring_realloc_end) == 64, "ring_realloc_end");
_Static_assert(sizeof(struct ring_stack) == RING_STACK_BYTES(RING_FRAMES_MAX + 1), "ring_stack");
_Static_assert(sizeof(struct ring_mapping) == 80, "ring_mapping");
_Static_assert(sizeof(struct ring_thread) == 48, "ring_thread");
_Static_assert(sizeof(struct ring_mark) == 24, "ring_mark");

/* ---- counters: what could not be handed over ------------------------------------ */

enum probe_counter {
	COUNTER_LOST_ALLOC,   /* the ring was full */
	COUNTER_LOST_FREE,
	COUNTER_LOST_REALLOC, /* its begin or its end */
	COUNTER_LOST_OTHER,   /* a thread, an exec, a change of the maps */
	COUNTER_NO_STATE,     /* no memory for a thread's state: a call not seen */
	COUNTER_STALE_CALLS,  /* calls that never returned: longjmp, exceptions */
	COUNTER_UNREADABLE,   /* the target's memory could not be read: a block without address */
	COUNTER_LOST_STACK,   /* the ring was full: sent again the next time */
	COUNTER_STACKS_NOT_READY, /* stacks that met code whose tables were not there yet */
	COUNTER_MAPPINGS_BUSY, /* … of them: because another thread was changing the mappings */
	COUNTER_LATE_TABLES,  /* waits for tables that were given up */
	COUNTER_MAIN_THREAD_GONE, /* it ended before others, and the probes with it */
	COUNTER_SPINS,	      /* a thread waited because the ring was nearly full */
	COUNTER_HOLDS,	      /* the target was stopped for it */
	PROBE_COUNTERS
};

#endif
