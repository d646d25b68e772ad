/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_INSTRUCTION_H
#define IMAGE_INSTRUCTION_H

#include <capstone/capstone.h>
#include <stdint.h>

/* Which instructions the kernel emulates at a probe, instead of single-stepping a copy. */
enum emulation {
	NOT_EMULATED,
	EMULATED_SOMETIMES, /* newer kernels only: endbr64 and long nops */
	EMULATED,
};

enum emulation emulation_of(const cs_insn *insn);

/* The registers that it writes, bits by their numbers; all, where that is not known. */
uint16_t instruction_writes(csh cs, const cs_insn *insn);

/* As x86 numbers the register that @reg is, or is part of: 0 rax, 1 rcx, …; -1: another kind. */
int register_number(x86_reg reg);

#endif
