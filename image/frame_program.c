/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/frame_program.h"

#include "image/unwind_rule.h"

/* DWARF's numbers of registers */
enum {
	REGISTER_BP = 6,
	REGISTER_SP = 7,
	REGISTER_RA = FRAME_RETURN_REGISTER,
};

/* The three of the first group have their operand in the low six bits. */
enum {
	ADVANCE_LOC = 0x40,
	OFFSET = 0x80,
	RESTORE = 0xc0,
	PRIMARY = 0xc0, /* mask */

	NOP = 0x00,
	SET_LOC = 0x01,
	ADVANCE_LOC1 = 0x02,
	ADVANCE_LOC2 = 0x03,
	ADVANCE_LOC4 = 0x04,
	OFFSET_EXTENDED = 0x05,
	RESTORE_EXTENDED = 0x06,
	UNDEFINED = 0x07,
	SAME_VALUE = 0x08,
	REGISTER = 0x09,
	REMEMBER_STATE = 0x0a,
	RESTORE_STATE = 0x0b,
	DEF_CFA = 0x0c,
	DEF_CFA_REGISTER = 0x0d,
	DEF_CFA_OFFSET = 0x0e,
	DEF_CFA_EXPRESSION = 0x0f,
	EXPRESSION = 0x10,
	OFFSET_EXTENDED_SF = 0x11,
	DEF_CFA_SF = 0x12,
	DEF_CFA_OFFSET_SF = 0x13,
	VAL_OFFSET = 0x14,
	VAL_OFFSET_SF = 0x15,
	VAL_EXPRESSION = 0x16,
	MIPS_ADVANCE_LOC8 = 0x1d,
	GNU_ARGS_SIZE = 0x2e,
	GNU_NEGATIVE_OFFSET_EXTENDED = 0x2f,
};

/* ---- reading an instruction ----------------------------------------------------- */

enum operand {
	NONE,
	ULEB,
	FACTORED,	 /* ULEB, times data_align */
	FACTORED_SIGNED, /* SLEB, times data_align */
	NEGATED,	 /* ULEB, times -data_align */
	DELTA1,		 /* of so many bytes, times code_align */
	DELTA2,
	DELTA4,
	DELTA8,
	ADDRESS,
	BLOCK,
};

static const struct {
	bool known;
	uint8_t operand[2];
} formats[64] = {
	[NOP] = {true, {NONE, NONE}},
	[SET_LOC] = {true, {ADDRESS, NONE}},
	[ADVANCE_LOC1] = {true, {DELTA1, NONE}},
	[ADVANCE_LOC2] = {true, {DELTA2, NONE}},
	[ADVANCE_LOC4] = {true, {DELTA4, NONE}},
	[OFFSET_EXTENDED] = {true, {ULEB, FACTORED}},
	[RESTORE_EXTENDED] = {true, {ULEB, NONE}},
	[UNDEFINED] = {true, {ULEB, NONE}},
	[SAME_VALUE] = {true, {ULEB, NONE}},
	[REGISTER] = {true, {ULEB, ULEB}},
	[REMEMBER_STATE] = {true, {NONE, NONE}},
	[RESTORE_STATE] = {true, {NONE, NONE}},
	[DEF_CFA] = {true, {ULEB, ULEB}},
	[DEF_CFA_REGISTER] = {true, {ULEB, NONE}},
	[DEF_CFA_OFFSET] = {true, {NONE, ULEB}},
	[DEF_CFA_EXPRESSION] = {true, {NONE, BLOCK}},
	[EXPRESSION] = {true, {ULEB, BLOCK}},
	[OFFSET_EXTENDED_SF] = {true, {ULEB, FACTORED_SIGNED}},
	[DEF_CFA_SF] = {true, {ULEB, FACTORED_SIGNED}},
	[DEF_CFA_OFFSET_SF] = {true, {NONE, FACTORED_SIGNED}},
	[VAL_OFFSET] = {true, {ULEB, FACTORED}},
	[VAL_OFFSET_SF] = {true, {ULEB, FACTORED_SIGNED}},
	[VAL_EXPRESSION] = {true, {ULEB, BLOCK}},
	[MIPS_ADVANCE_LOC8] = {true, {DELTA8, NONE}},
	[GNU_ARGS_SIZE] = {true, {ULEB, NONE}},
	[GNU_NEGATIVE_OFFSET_EXTENDED] = {true, {ULEB, NEGATED}},
};

struct instruction {
	uint8_t code;
	uint64_t a; /* a register, or how far, or where to */
	uint64_t b; /* an offset, factored */
	struct dwarf_reader block;
};

static uint64_t read_operand(struct frame_program *p, uint8_t kind, struct dwarf_reader *ret_block)
{
	const struct frame_cie *cie = p->cie;
	struct dwarf_reader *r = &p->code;

	switch (kind) {
	case ULEB:
		return dwarf_uleb(r);
	case FACTORED:
		return dwarf_uleb(r) * cie->data_align;
	case FACTORED_SIGNED:
		return dwarf_sleb(r) * cie->data_align;
	case NEGATED:
		return 0 - dwarf_uleb(r) * cie->data_align;
	case DELTA1:
		return dwarf_fixed(r, 1) * cie->code_align;
	case DELTA2:
		return dwarf_fixed(r, 2) * cie->code_align;
	case DELTA4:
		return dwarf_fixed(r, 4) * cie->code_align;
	case DELTA8:
		return dwarf_fixed(r, 8) * cie->code_align;
	case ADDRESS:
		return dwarf_pointer(r, cie->encoding, 0);
	case BLOCK:
		*ret_block = dwarf_block(r, dwarf_uleb(r));
		return 0;
	default:
		return 0;
	}
}

static bool read_instruction(struct frame_program *p, struct instruction *ret)
{
	uint8_t byte = (uint8_t)dwarf_fixed(&p->code, 1);
	uint8_t low = byte & 0x3f;

	switch (byte & PRIMARY) {
	case ADVANCE_LOC:
		ret->code = ADVANCE_LOC1;
		ret->a = low * p->cie->code_align;
		break;
	case OFFSET:
		ret->code = OFFSET_EXTENDED;
		ret->a = low;
		ret->b = read_operand(p, FACTORED, NULL);
		break;
	case RESTORE:
		ret->code = RESTORE_EXTENDED;
		ret->a = low;
		break;
	default:
		if (!formats[byte].known)
			return false;
		ret->code = byte;
		ret->a = read_operand(p, formats[byte].operand[0], NULL);
		ret->b = read_operand(p, formats[byte].operand[1], &ret->block);
	}
	return !p->code.bad;
}

/* ---- expressions ---------------------------------------------------------------- */

enum {
	OP_DEREF = 0x06,
	OP_AND = 0x1a,
	OP_PLUS = 0x22,
	OP_SHL = 0x24,
	OP_GE = 0x2a,
	OP_LIT0 = 0x30,
	OP_LIT31 = 0x4f,
	OP_BREG0 = 0x70,
};

static bool take(struct dwarf_reader *r, unsigned int op)
{
	return dwarf_fixed(r, 1) == op && !r->bad;
}

/* The register of a "breg" at the start, with its offset; -1 where there is none. */
static int take_register(struct dwarf_reader *r, int64_t *ret_offset)
{
	uint64_t op = dwarf_fixed(r, 1);

	if (r->bad || op < OP_BREG0 || op > OP_BREG0 + 31)
		return -1;
	*ret_offset = (int64_t)dwarf_sleb(r);
	return r->bad ? -1 : (int)(op - OP_BREG0);
}

/* rsp + 8 + ((rip & 15) >= N) * 8: what the linker says of a procedure linkage table */
static bool take_rest_of_plt(struct dwarf_reader *r, int64_t *ret_n)
{
	int64_t zero;
	uint64_t n;

	if (take_register(r, &zero) != REGISTER_RA || zero || !take(r, OP_LIT0 + 15) ||
	    !take(r, OP_AND))
		return false;
	n = dwarf_fixed(r, 1);
	if (n < OP_LIT0 || n > OP_LIT31)
		return false;
	*ret_n = (int64_t)(n - OP_LIT0);
	return take(r, OP_GE) && take(r, OP_LIT0 + 3) && take(r, OP_SHL) && take(r, OP_PLUS);
}

static void set_cfa_expression(struct frame_state *s, struct dwarf_reader r)
{
	int64_t offset = 0;
	int reg = take_register(&r, &offset);

	s->cfa = FRAME_CFA_OTHER;
	s->cfa_offset = offset;
	if (reg < 0)
		return;
	if (dwarf_left(&r) == 1 && take(&r, OP_DEREF)) {
		if (reg == REGISTER_BP)
			s->cfa = FRAME_CFA_BP_DEREF;
		else if (reg == REGISTER_SP)
			s->cfa = FRAME_CFA_SP_DEREF;
	} else if (reg == REGISTER_SP && offset == 8 && take_rest_of_plt(&r, &s->cfa_offset) &&
		   !dwarf_left(&r)) {
		s->cfa = FRAME_CFA_PLT;
	}
}

static struct frame_saved saved_at_expression(struct dwarf_reader r)
{
	struct frame_saved saved = {.place = FRAME_OTHER};
	int reg = take_register(&r, &saved.offset);

	if (reg == REGISTER_BP && !dwarf_left(&r))
		saved.place = FRAME_AT_BP;
	else if (reg == REGISTER_SP && !dwarf_left(&r))
		saved.place = FRAME_AT_SP;
	return saved;
}

/* ---- running -------------------------------------------------------------------- */

static struct frame_saved *saved_of(struct frame_state *s, uint64_t reg)
{
	switch (reg) {
	case REGISTER_BP:
		return &s->bp;
	case REGISTER_SP:
		return &s->sp;
	case REGISTER_RA:
		return &s->ra;
	default:
		return NULL; /* no other register is needed to find a caller */
	}
}

/* False where @i is no instruction about a register. */
static bool run_register(struct frame_program *p, const struct instruction *i)
{
	struct frame_saved ignored, *saved = saved_of(&p->state, i->a);
	struct frame_state initial;

	if (!saved)
		saved = &ignored;
	switch (i->code) {
	case OFFSET_EXTENDED:
	case OFFSET_EXTENDED_SF:
	case GNU_NEGATIVE_OFFSET_EXTENDED:
		*saved = (struct frame_saved){FRAME_AT_CFA, (int64_t)i->b};
		return true;
	case RESTORE_EXTENDED:
		initial = p->cie->initial;
		if (saved != &ignored)
			*saved = *saved_of(&initial, i->a);
		return true;
	case UNDEFINED:
		*saved = (struct frame_saved){.place = FRAME_UNDEFINED};
		return true;
	case SAME_VALUE:
		saved->place = i->a == REGISTER_BP ? FRAME_DEFAULT : FRAME_OTHER;
		return true;
	case VAL_OFFSET:
	case VAL_OFFSET_SF:
		saved->place = i->a == REGISTER_SP && !i->b ? FRAME_DEFAULT : FRAME_OTHER;
		return true;
	case EXPRESSION:
		*saved = saved_at_expression(i->block);
		return true;
	case REGISTER:
	case VAL_EXPRESSION:
		saved->place = FRAME_OTHER;
		return true;
	default:
		return false;
	}
}

static void set_cfa(struct frame_state *s, uint64_t reg, uint64_t offset)
{
	s->cfa = FRAME_CFA_REGISTER;
	s->cfa_register = reg < UINT32_MAX ? (uint32_t)reg : UINT32_MAX;
	s->cfa_offset = (int64_t)offset;
}

/* False where the instructions are damaged. */
static bool move_to(struct frame_program *p, uint64_t address)
{
	if (address < p->address || address == UINT64_MAX)
		return false;
	p->address = address;
	return true;
}

static bool run_instruction(struct frame_program *p, const struct instruction *i)
{
	struct frame_state *s = &p->state;

	switch (i->code) {
	case NOP:
	case GNU_ARGS_SIZE:
		return true;
	case SET_LOC:
		return move_to(p, i->a);
	case ADVANCE_LOC1:
	case ADVANCE_LOC2:
	case ADVANCE_LOC4:
	case MIPS_ADVANCE_LOC8:
		return move_to(p, p->address + i->a);
	case DEF_CFA:
	case DEF_CFA_SF:
		set_cfa(s, i->a, i->b);
		return true;
	case DEF_CFA_REGISTER:
		if (s->cfa != FRAME_CFA_REGISTER)
			return false;
		set_cfa(s, i->a, (uint64_t)s->cfa_offset);
		return true;
	case DEF_CFA_OFFSET:
	case DEF_CFA_OFFSET_SF:
		s->cfa_offset = (int64_t)i->b;
		return s->cfa == FRAME_CFA_REGISTER;
	case DEF_CFA_EXPRESSION:
		set_cfa_expression(s, i->block);
		return true;
	case REMEMBER_STATE:
		if (p->depth == FRAME_PROGRAM_DEPTH)
			return false;
		p->stack[p->depth++] = *s;
		return true;
	case RESTORE_STATE:
		if (!p->depth)
			return false;
		*s = p->stack[--p->depth];
		return true;
	default:
		return run_register(p, i);
	}
}

/* Up to where the next row begins, or to the end.  False where it is damaged or unknown. */
static bool run_row(struct frame_program *p)
{
	uint64_t start = p->address;

	while (p->code.at < p->code.end && p->address == start) {
		struct instruction i = {0};

		if (!read_instruction(p, &i) || !run_instruction(p, &i))
			return false;
	}
	return true;
}

void frame_program_start(struct frame_program *p, const struct frame_cie *cie,
			 struct dwarf_reader code, uint64_t address)
{
	p->cie = cie;
	p->code = code;
	p->address = address;
	p->state = cie->initial;
	p->depth = 0;
}

bool frame_cie_run(struct frame_cie *cie, struct dwarf_reader code)
{
	struct frame_program p;

	cie->initial = (struct frame_state){.cfa = FRAME_CFA_NONE};
	frame_program_start(&p, cie, code, 0);
	if (!run_row(&p) || p.address || p.code.at < p.code.end)
		return false;
	cie->initial = p.state;
	return true;
}

/* ---- rules ---------------------------------------------------------------------- */

static bool is_saved(struct frame_saved s, enum frame_place place, int64_t offset)
{
	return s.place == place && s.offset == offset;
}

/*
 * A signal's frame is a ucontext at rsp, whose registers begin at 40.  rt_sigreturn(2)
 * takes it from there: arch/x86/include/asm/sigframe.h, struct rt_sigframe.
 */
static bool is_known_signal(const struct frame_state *s)
{
	return s->cfa == FRAME_CFA_SP_DEREF && s->cfa_offset == 160 &&
	       is_saved(s->bp, FRAME_AT_SP, 120) && is_saved(s->sp, FRAME_AT_SP, 160) &&
	       is_saved(s->ra, FRAME_AT_SP, 168);
}

static enum unwind_cfa cfa_kind(const struct frame_state *s)
{
	if (s->cfa_offset != (int32_t)s->cfa_offset)
		return UNWIND_UNSUPPORTED;
	switch (s->cfa) {
	case FRAME_CFA_REGISTER:
		if (s->cfa_register == REGISTER_SP)
			return UNWIND_CFA_SP;
		return s->cfa_register == REGISTER_BP ? UNWIND_CFA_BP : UNWIND_UNSUPPORTED;
	case FRAME_CFA_PLT:
		return UNWIND_CFA_PLT;
	case FRAME_CFA_BP_DEREF:
		return UNWIND_CFA_DEREF;
	default:
		return UNWIND_UNSUPPORTED;
	}
}

/* False where it is none of those that have a name. */
static bool bp_kind(struct frame_saved bp, enum unwind_bp *ret)
{
	switch (bp.place) {
	case FRAME_DEFAULT:
		*ret = UNWIND_BP_SAME;
		return true;
	case FRAME_UNDEFINED:
		*ret = UNWIND_BP_UNDEFINED;
		return true;
	case FRAME_AT_CFA:
		*ret = UNWIND_BP_AT_CFA;
		return bp.offset == (int16_t)bp.offset;
	case FRAME_AT_BP:
		*ret = UNWIND_BP_AT_BP;
		return bp.offset == (int16_t)bp.offset;
	default:
		return false;
	}
}

static uint64_t rule_of(const struct frame_state *s, bool signal)
{
	const uint64_t unsupported = UNWIND_RULE(UNWIND_UNSUPPORTED, 0, 0, 0);
	enum unwind_cfa cfa = cfa_kind(s);
	enum unwind_bp bp;

	if (signal)
		return is_known_signal(s) ? UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0) : unsupported;
	if (s->ra.place == FRAME_UNDEFINED)
		return UNWIND_RULE(UNWIND_END, 0, 0, 0);
	if (!is_saved(s->ra, FRAME_AT_CFA, -8) || s->sp.place != FRAME_DEFAULT ||
	    cfa == UNWIND_UNSUPPORTED || !bp_kind(s->bp, &bp))
		return unsupported;
	return UNWIND_RULE(cfa, s->cfa_offset, bp,
			   bp == UNWIND_BP_AT_CFA || bp == UNWIND_BP_AT_BP ? s->bp.offset : 0);
}

uint64_t frame_program_next(struct frame_program *p)
{
	uint64_t start = p->address;
	/* the state is that of the row only until the next begins */
	bool fine = run_row(p);
	uint64_t rule = fine ? rule_of(&p->state, p->cie->signal)
			     : UNWIND_RULE(UNWIND_UNSUPPORTED, 0, 0, 0);

	if (!fine || p->address == start)
		p->address = UINT64_MAX;
	return rule;
}
