/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/instruction.h"

/* What arch/x86/kernel/uprobes.c does with it (branch_setup_xol_ops, push_setup_xol_ops). */
enum emulation emulation_of(const cs_insn *insn)
{
	const uint8_t *b = insn->bytes;

	if (b[0] == 0x66)
		return insn->id == X86_INS_NOP ? EMULATED_SOMETIMES : NOT_EMULATED;
	if ((b[0] & 0xf8) == 0x50 || (insn->size == 2 && b[0] == 0x41 && (b[1] & 0xf8) == 0x50))
		return EMULATED; /* push of a register */
	if (b[0] == 0xe8 || b[0] == 0xe9 || b[0] == 0xeb || b[0] == 0x90 || (b[0] & 0xf0) == 0x70)
		return EMULATED;
	if (b[0] == 0x0f && (b[1] & 0xf0) == 0x80)
		return EMULATED; /* a long conditional jump */
	if (insn->id == X86_INS_NOP || insn->id == X86_INS_ENDBR64)
		return EMULATED_SOMETIMES;
	return NOT_EMULATED;
}

int register_number(x86_reg reg)
{
	static const x86_reg registers[16][5] = {
		{X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL, X86_REG_AH},
		{X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH},
		{X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH},
		{X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL, X86_REG_BH},
		{X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL},
		{X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL},
		{X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL},
		{X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL},
		{X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B},
		{X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B},
		{X86_REG_R10, X86_REG_R10D, X86_REG_R10W, X86_REG_R10B},
		{X86_REG_R11, X86_REG_R11D, X86_REG_R11W, X86_REG_R11B},
		{X86_REG_R12, X86_REG_R12D, X86_REG_R12W, X86_REG_R12B},
		{X86_REG_R13, X86_REG_R13D, X86_REG_R13W, X86_REG_R13B},
		{X86_REG_R14, X86_REG_R14D, X86_REG_R14W, X86_REG_R14B},
		{X86_REG_R15, X86_REG_R15D, X86_REG_R15W, X86_REG_R15B},
	};

	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 5; j++)
			if (reg != X86_REG_INVALID && registers[i][j] == reg)
				return i;
	return -1;
}

uint16_t instruction_writes(csh cs, const cs_insn *insn)
{
	cs_regs read, written;
	uint8_t n_read, n_written;
	uint16_t bits = 0;

	if (cs_regs_access(cs, insn, read, &n_read, written, &n_written))
		return UINT16_MAX;
	for (int i = 0; i < n_written; i++) {
		int number = register_number((x86_reg)written[i]);

		if (number >= 0)
			bits |= (uint16_t)(1u << number);
	}
	return bits;
}
