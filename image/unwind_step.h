/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_UNWIND_STEP_H
#define IMAGE_UNWIND_STEP_H

/*
 * One step of an unwind: from a frame and the rule of its place in the code to the
 * caller's frame.  Compiled for BPF, where the stack is a live one, and for the
 * host, where it is a saved one.
 *
 * Whoever includes this says before how memory is read:
 *	UNWIND_READ(reader, address, ret)	8 bytes; 0 or a negative errno
 *
 * rbp is read lazily: mostly a caller only needs to know where it was saved.
 */
#include "image/unwind_rule.h"

typedef unsigned long long unwind_word;

struct unwind_frame {
	unwind_word pc;	  /* a return address; or where a signal interrupted, then is_exact */
	unwind_word sp;	  /* as it was in the frame, at its call */
	unwind_word bp;
	unwind_word bp_at;    /* where rbp is saved, if it was not read yet; 0: it is in bp */
	unsigned int is_exact;
};

enum unwind_result {
	UNWIND_STEPPED = 0,
	UNWIND_FINISHED,   /* this frame is the outermost */
	UNWIND_UNREADABLE, /* the stack's memory could not be read */
	UNWIND_BROKEN,	   /* the caller's frame would lie below this one */
	UNWIND_NOT_KNOWN,  /* the rule does not say how */
};

/* Where the words of a signal's frame lie, from its stack pointer (struct ucontext of x86-64). */
#define UNWIND_SIGNAL_BP 120
#define UNWIND_SIGNAL_SP 160
#define UNWIND_SIGNAL_PC 168

static inline __attribute__((always_inline)) int unwind_get_bp(struct unwind_frame *f, void *reader)
{
	if (f->bp_at) {
		if (UNWIND_READ(reader, f->bp_at, &f->bp))
			return -1;
		f->bp_at = 0;
	}
	return 0;
}

/* The caller is the frame whose CFA is known: the return address lies below it. */
static inline __attribute__((always_inline)) enum unwind_result
unwind_to(struct unwind_frame *f, unwind_word cfa, unwind_word rule, void *reader)
{
	unwind_word pc;

	if (cfa <= f->sp || (cfa & 7))
		return UNWIND_BROKEN;
	if (UNWIND_READ(reader, cfa - 8, &pc))
		return UNWIND_UNREADABLE;
	switch (UNWIND_RULE_BP(rule)) {
	case UNWIND_BP_AT_CFA:
		f->bp_at = cfa + (unwind_word)(long long)UNWIND_RULE_BP_OFFSET(rule);
		break;
	case UNWIND_BP_AT_BP:
		if (unwind_get_bp(f, reader))
			return UNWIND_UNREADABLE;
		f->bp_at = f->bp + (unwind_word)(long long)UNWIND_RULE_BP_OFFSET(rule);
		break;
	case UNWIND_BP_UNDEFINED:
		f->bp = f->bp_at = 0;
		break;
	case UNWIND_BP_SAME:
		break;
	}
	f->sp = cfa;
	f->pc = pc;
	f->is_exact = 0;
	return UNWIND_STEPPED;
}

/* The rules of nearly all frames. */
static inline __attribute__((always_inline)) int unwind_is_common(unwind_word rule)
{
	return UNWIND_RULE_CFA(rule) == UNWIND_CFA_SP || UNWIND_RULE_CFA(rule) == UNWIND_CFA_BP;
}

static inline __attribute__((always_inline)) enum unwind_result
unwind_step_common(struct unwind_frame *f, unwind_word rule, void *reader)
{
	unwind_word base = f->sp;

	if (UNWIND_RULE_CFA(rule) == UNWIND_CFA_BP) {
		if (unwind_get_bp(f, reader))
			return UNWIND_UNREADABLE;
		base = f->bp;
	}
	return unwind_to(f, base + (unwind_word)(long long)UNWIND_RULE_CFA_OFFSET(rule), rule,
			 reader);
}

static inline __attribute__((always_inline)) enum unwind_result
unwind_step_signal(struct unwind_frame *f, void *reader)
{
	unwind_word pc, sp, bp;

	if (UNWIND_READ(reader, f->sp + UNWIND_SIGNAL_PC, &pc) ||
	    UNWIND_READ(reader, f->sp + UNWIND_SIGNAL_SP, &sp) ||
	    UNWIND_READ(reader, f->sp + UNWIND_SIGNAL_BP, &bp))
		return UNWIND_UNREADABLE;
	f->pc = pc; /* on another stack, perhaps: sp need not grow */
	f->sp = sp;
	f->bp = bp;
	f->bp_at = 0;
	f->is_exact = 1;
	return UNWIND_STEPPED;
}

/* All the others. */
static inline __attribute__((always_inline)) enum unwind_result
unwind_step_rare(struct unwind_frame *f, unwind_word rule, void *reader)
{
	unwind_word offset = (unwind_word)(long long)UNWIND_RULE_CFA_OFFSET(rule), cfa;

	switch (UNWIND_RULE_CFA(rule)) {
	case UNWIND_CFA_PLT:
		return unwind_to(f, f->sp + 8 + ((f->pc & 15) >= offset ? 8 : 0), rule, reader);
	case UNWIND_CFA_DEREF:
		if (unwind_get_bp(f, reader) || UNWIND_READ(reader, f->bp + offset, &cfa))
			return UNWIND_UNREADABLE;
		return unwind_to(f, cfa, rule, reader);
	case UNWIND_SIGNAL:
		return unwind_step_signal(f, reader);
	case UNWIND_END:
		return UNWIND_FINISHED;
	default:
		return UNWIND_NOT_KNOWN;
	}
}

#endif
