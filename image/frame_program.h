/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_FRAME_PROGRAM_H
#define IMAGE_FRAME_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "image/dwarf_reader.h"

/*
 * Runs the call frame instructions (DWARF 5, section 6.4.2, and the System V ABI
 * for x86-64) of one function, and says which rule of unwind_rule.h is in force
 * where.  They are untrusted: each is read once, so the work is linear in their
 * bytes, and the memory is fixed.
 */

/* DWARF's number of the register that holds the return address */
#define FRAME_RETURN_REGISTER 16

enum frame_cfa {
	FRAME_CFA_NONE, /* not said yet */
	FRAME_CFA_REGISTER,
	FRAME_CFA_PLT,
	FRAME_CFA_BP_DEREF, /* what is stored at rbp + offset */
	FRAME_CFA_SP_DEREF,
	FRAME_CFA_OTHER,
};

enum frame_place {
	FRAME_DEFAULT, /* nothing said: rbp is as it was, rsp becomes the CFA */
	FRAME_UNDEFINED,
	FRAME_AT_CFA, /* saved at CFA + offset */
	FRAME_AT_BP,
	FRAME_AT_SP,
	FRAME_OTHER,
};

/* Where the caller's value of a register is. */
struct frame_saved {
	enum frame_place place;
	int64_t offset;
};

struct frame_state {
	enum frame_cfa cfa;
	uint32_t cfa_register; /* DWARF's number */
	int64_t cfa_offset;    /* of FRAME_CFA_PLT: see unwind_rule.h */
	struct frame_saved bp, sp, ra;
};

/* What the instructions of several functions have in common. */
struct frame_cie {
	uint64_t code_align, data_align; /* factors; the latter is signed */
	uint8_t encoding;		 /* of code addresses: enum dwarf_pointer_encoding */
	bool signal;			 /* a frame that the kernel made for a signal handler */
	struct frame_state initial;
};

/* Fills in cie->initial; all else must be set.  False where the instructions are damaged. */
bool frame_cie_run(struct frame_cie *cie, struct dwarf_reader code);

#define FRAME_PROGRAM_DEPTH 64 /* of remembered states; compilers use one or two */

struct frame_program {
	const struct frame_cie *cie;
	struct dwarf_reader code;
	uint64_t address; /* where the next row begins; UINT64_MAX after the last */
	struct frame_state state;
	uint32_t depth;
	struct frame_state stack[FRAME_PROGRAM_DEPTH];
};

/* A function at @address.  @cie must outlive @p; nothing is to be released. */
void frame_program_start(struct frame_program *p, const struct frame_cie *cie,
			 struct dwarf_reader code, uint64_t address);
/*
 * The rule at p->address, which it then moves on to the next row.  From a damaged
 * or an unknown instruction on, the rule is UNWIND_UNSUPPORTED.
 */
uint64_t frame_program_next(struct frame_program *p);

#endif
