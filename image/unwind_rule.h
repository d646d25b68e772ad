/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_UNWIND_RULE_H
#define IMAGE_UNWIND_RULE_H

/*
 * How a frame's caller is found: what .eh_frame says about one place in the code,
 * packed into 64 bits.  Compiled for BPF too: fixed-width types only.
 *
 * The canonical frame address (CFA) is the stack pointer as the caller had it
 * before its call; the return address always lies at CFA - 8, and CFA is what the
 * stack pointer becomes.
 *
 * Bits, from the lowest: how the CFA is found 8, how the caller's rbp is found 8,
 * offset of that 16 (signed), offset of the CFA 32 (signed).
 */
enum unwind_cfa {
	UNWIND_NO_ROW = 0,    /* nothing is known of that place; the whole rule is 0 */
	UNWIND_CFA_SP = 1,    /* rsp + offset */
	UNWIND_CFA_BP = 2,    /* rbp + offset */
	UNWIND_CFA_PLT = 3,   /* rsp + 8, and 8 more where (rip & 15) >= offset */
	UNWIND_CFA_DEREF = 4, /* what is stored at rbp + offset: a realigned frame */
	UNWIND_SIGNAL = 5,    /* a signal's frame: all registers lie at rsp (ucontext) */
	UNWIND_END = 6,	      /* the outermost frame: it has no caller */
	UNWIND_UNSUPPORTED = 7, /* there is a rule, and it is not one of these */
};

enum unwind_bp {
	UNWIND_BP_SAME = 0,
	UNWIND_BP_AT_CFA = 1,	 /* saved at CFA + offset */
	UNWIND_BP_UNDEFINED = 2,
	UNWIND_BP_AT_BP = 3,	 /* saved at rbp + offset */
};

#define UNWIND_RULE(cfa, cfa_offset, bp, bp_offset) \
	((unsigned long long)(cfa) | (unsigned long long)(bp) << 8 | \
	 (unsigned long long)(unsigned short)(bp_offset) << 16 | \
	 (unsigned long long)(unsigned int)(cfa_offset) << 32)
#define UNWIND_RULE_CFA(rule) ((enum unwind_cfa)((rule) & 255))
#define UNWIND_RULE_BP(rule) ((enum unwind_bp)((rule) >> 8 & 255))
#define UNWIND_RULE_BP_OFFSET(rule) ((short)((rule) >> 16))
#define UNWIND_RULE_CFA_OFFSET(rule) ((int)((rule) >> 32))

#endif
