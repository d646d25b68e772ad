/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/probe_site.h"

#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/instruction.h"

/* No prologue is longer; the targets of jumps are looked for in the whole function. */
#define PROLOGUE_BYTES 64
#define STACK_BYTES_MAX 2040

/* The registers of arguments 1 to 6 (System V AMD64 ABI), as x86 numbers them. */
static const int argument_registers[6] = {7, 6, 2, 1, 8, 9};

static int argument_of_register(x86_reg reg)
{
	int number = register_number(reg);

	for (int i = 0; i < 6; i++)
		if (argument_registers[i] == number)
			return i + 1;
	return 0;
}

/* The target of a direct jump or call, or 0. */
static uint64_t jump_target(csh cs, const cs_insn *insn)
{
	const cs_x86_op *op = &insn->detail->x86.operands[0];

	if (insn->id == X86_INS_CALL || !(cs_insn_group(cs, insn, CS_GRP_JUMP)) ||
	    insn->detail->x86.op_count != 1 || op->type != X86_OP_IMM)
		return 0;
	return (uint64_t)op->imm;
}

/* Is some instruction in the function's first bytes jumped to?  Marks them in @is_target. */
static void find_targets(csh cs, const uint8_t *code, size_t len, uint64_t address,
			 bool is_target[PROLOGUE_BYTES])
{
	cs_insn *insn = cs_malloc(cs);
	uint64_t at = address;

	while (len) {
		if (!cs_disasm_iter(cs, &code, &len, &at, insn)) {
			code++; /* data between code, or an instruction Capstone does not know */
			len--;
			at++;
			continue;
		}
		if (jump_target(cs, insn) - address < PROLOGUE_BYTES)
			is_target[jump_target(cs, insn) - address] = true;
	}
	cs_free(insn, 1);
}

/* Does it write an argument that is needed, or the stack pointer? */
static bool spoils(csh cs, const cs_insn *insn, unsigned int arguments)
{
	cs_regs read, written;
	uint8_t n_read, n_written;

	if (cs_regs_access(cs, insn, read, &n_read, written, &n_written))
		return true;
	for (int i = 0; i < n_written; i++) {
		int argument = argument_of_register(written[i]);

		if (written[i] == X86_REG_RSP || written[i] == X86_REG_ESP)
			return true;
		if (argument && arguments & 1u << (argument - 1))
			return true;
	}
	return false;
}

/* `sub $N,%rsp`, as a prologue does it: N, else 0. */
static uint32_t stack_growth(const cs_insn *insn)
{
	const cs_x86 *x = &insn->detail->x86;

	if (insn->id != X86_INS_SUB || x->op_count != 2)
		return 0;
	/* the operand that is written comes last in AT&T's order */
	if (x->operands[1].type != X86_OP_REG || x->operands[1].reg != X86_REG_RSP ||
	    x->operands[0].type != X86_OP_IMM || x->operands[0].imm <= 0 ||
	    x->operands[0].imm > STACK_BYTES_MAX || x->operands[0].imm % 8)
		return 0;
	return (uint32_t)x->operands[0].imm;
}

static bool is_argument(const cs_x86_op *op, int argument)
{
	return op->type == X86_OP_REG && op->size == 8 && argument_of_register(op->reg) == argument;
}

/* `test %rdi,%rdi` of the full register of that argument */
static bool tests_for_null(const cs_insn *insn, int argument)
{
	const cs_x86 *x = &insn->detail->x86;

	return argument && insn->id == X86_INS_TEST && x->op_count == 2 &&
	       is_argument(&x->operands[0], argument) && is_argument(&x->operands[1], argument);
}

static void describe(struct probe_site *site, uint32_t offset, uint32_t stack_bytes, bool emulated,
		     const cs_insn *insn)
{
	site->offset = offset;
	site->stack_bytes = stack_bytes;
	site->emulated = emulated;
	snprintf(site->instruction, sizeof(site->instruction), "%.12s%s%.24s", insn->mnemonic,
		 insn->op_str[0] ? " " : "", insn->op_str);
}

struct probe_site probe_site_find(const uint8_t *code, size_t len, uint64_t address,
				  unsigned int arguments, int null_argument, bool returns)
{
	struct probe_site site = {.instruction = "?"};
	bool is_target[PROLOGUE_BYTES] = {false}, tested = false;
	const uint8_t *p = code;
	size_t left = len < PROLOGUE_BYTES ? len : PROLOGUE_BYTES;
	uint64_t at = address;
	uint32_t stack = 0;
	cs_insn *insn;
	csh cs;

	if (cs_open(CS_ARCH_X86, CS_MODE_64, &cs) != CS_ERR_OK)
		return site;
	cs_option(cs, CS_OPT_DETAIL, CS_OPT_ON);
	cs_option(cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
	find_targets(cs, code, len, address, is_target);
	insn = cs_malloc(cs);
	while (cs_disasm_iter(cs, &p, &left, &at, insn)) {
		uint32_t offset = (uint32_t)(insn->address - address);
		enum emulation e = emulation_of(insn);

		if (offset && is_target[offset])
			break;
		if (!offset)
			describe(&site, 0, 0, e == EMULATED, insn);
		if (e != NOT_EMULATED && !site.emulated)
			describe(&site, offset, stack, true, insn);
		if (e == EMULATED) {
			bool leaves_only_null = tested && (insn->id == X86_INS_JE);

			/* a NULL that never traps is better still, if the next will do too */
			describe(&site, offset, stack, true, insn);
			if (!leaves_only_null)
				break;
		} else if (!returns && stack_growth(insn) &&
			   stack + stack_growth(insn) <= STACK_BYTES_MAX) {
			stack += stack_growth(insn);
		} else if (spoils(cs, insn, arguments) || cs_insn_group(cs, insn, CS_GRP_JUMP) ||
			   cs_insn_group(cs, insn, CS_GRP_CALL) ||
			   cs_insn_group(cs, insn, CS_GRP_RET)) {
			break;
		}
		tested = tests_for_null(insn, null_argument);
	}
	cs_free(insn, 1);
	cs_close(&cs);
	return site;
}
