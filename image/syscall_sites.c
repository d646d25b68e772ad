/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/syscall_sites.h"

#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "image/instruction.h"

#define BLOCK (64u << 10)
/* The number is set at most so many bytes before the call. */
#define BEFORE 64
/* A function in which a call lies farther behind its beginning is not looked at. */
#define FUNCTION_MAX (64u << 10)
/* Jumps to near the call are looked for so far behind it. */
#define BEHIND 4096
#define CALL_BYTES 2
#define MOVE_BYTES 5 /* mov $NUMBER,%eax, or %edi */
#define MOVE_TO_EAX 0xb8
#define MOVE_TO_EDI 0xbf
#define PLACES_MAX 6 /* instructions behind the call that are looked at */

#define RAX 0
#define RDI 7

struct search {
	struct elf_file *elf;
	const struct syscall_wanted *wanted;
	size_t n_wanted;
	struct syscall_sites *found;
	csh cs;
	cs_insn *insn;
	/* the function that is looked at */
	uint8_t *code;
	size_t len;
	uint64_t start;
};

static const struct syscall_wanted *find_wanted(const struct search *s, long number)
{
	for (size_t i = 0; i < s->n_wanted; i++)
		if (s->wanted[i].number == number)
			return &s->wanted[i];
	return NULL;
}

/* ---- the function ------------------------------------------------------------------------ */

static bool decode(struct search *s, uint64_t address)
{
	const uint8_t *p = s->code + (address - s->start);
	size_t left = s->len - (address - s->start);

	return address - s->start < s->len &&
	       cs_disasm_iter(s->cs, &p, &left, &address, s->insn);
}

static bool is_branch(const struct search *s)
{
	return cs_insn_group(s->cs, s->insn, CS_GRP_JUMP) ||
	       cs_insn_group(s->cs, s->insn, CS_GRP_CALL) ||
	       cs_insn_group(s->cs, s->insn, CS_GRP_RET);
}

/* Does the function jump to an instruction from @from on, before @to? */
static bool is_jumped_to(struct search *s, uint64_t from, uint64_t to)
{
	for (uint64_t at = s->start; at - s->start < s->len;) {
		const cs_x86_op *op;

		if (!decode(s, at)) {
			at++; /* data, or an instruction that Capstone does not know */
			continue;
		}
		at += s->insn->size;
		op = &s->insn->detail->x86.operands[0];
		if (cs_insn_group(s->cs, s->insn, CS_GRP_JUMP) &&
		    s->insn->detail->x86.op_count == 1 && op->type == X86_OP_IMM &&
		    (uint64_t)op->imm >= from && (uint64_t)op->imm < to)
			return true;
	}
	return false;
}

/* Where the number is set that is in eax at the call; 0: not known. */
static uint64_t find_number(struct search *s, uint64_t call, long *ret)
{
	uint64_t set_at = 0;

	for (uint64_t at = s->start; at < call; at += s->insn->size) {
		if (!decode(s, at))
			return 0;
		if (s->insn->bytes[0] == MOVE_TO_EAX && s->insn->size == MOVE_BYTES) {
			set_at = at;
			*ret = (long)(int32_t)s->insn->detail->x86.operands[0].imm;
		} else if (is_branch(s) || s->insn->id == X86_INS_SYSCALL ||
			   instruction_writes(s->cs, s->insn) & 1u << RAX) {
			set_at = 0;
		}
	}
	/* if it is one at all, and not in the midst of another */
	return decode(s, call) && s->insn->id == X86_INS_SYSCALL ? set_at : 0;
}

/* From @behind on, where the call returns to.  @is_function: it leaves a return address. */
static bool find_place(struct search *s, uint64_t behind, bool is_function,
		       const struct syscall_wanted *wanted, struct syscall_site *ret)
{
	uint64_t at = behind;
	bool found = false;

	for (int i = 0; i < PLACES_MAX && decode(s, at); i++) {
		uint16_t kept = (uint16_t)(wanted->registers | 1u << RAX);
		bool emulated = emulation_of(s->insn) == EMULATED;
		bool is_shared = is_jumped_to(s, at, at + 1);

		if ((is_shared && (!is_function || at != behind)) || !decode(s, at))
			break;
		if (!found || emulated) {
			ret->number = wanted->number;
			ret->address = at;
			ret->is_shared = is_shared;
			ret->emulated = emulated;
			snprintf(ret->instruction, sizeof(ret->instruction), "%.12s%s%.24s",
				 s->insn->mnemonic, s->insn->op_str[0] ? " " : "",
				 s->insn->op_str);
			found = true;
		}
		if (emulated || is_shared || is_branch(s) ||
		    instruction_writes(s->cs, s->insn) & kept)
			break;
		at += s->insn->size;
	}
	return found;
}

static bool read_function(struct search *s, uint64_t call)
{
	ssize_t n;

	if (!elf_file_function_start(s->elf, call, &s->start) || call - s->start > FUNCTION_MAX)
		return false;
	n = elf_file_read(s->elf, s->start, s->code, call - s->start + BEHIND);
	s->len = n > 0 ? (size_t)n : 0;
	return s->start + s->len > call;
}

/* The call returns to @behind; only the instruction at @set_at sets its number, it seems. */
static void add_site(struct search *s, uint64_t set_at, uint64_t behind, bool is_function,
		     const struct syscall_wanted *wanted)
{
	struct syscall_site site;

	if (!wanted || is_jumped_to(s, set_at + 1, behind) ||
	    !find_place(s, behind, is_function, wanted, &site)) {
		s->found->unsure++;
		return;
	}
	ARRAY_GROW(s->found->sites, s->found->cap, s->found->n);
	s->found->sites[s->found->n++] = site;
}

/* What looks like an instruction that calls the kernel. */
static void look_at(struct search *s, uint64_t call)
{
	const struct syscall_wanted *wanted = NULL;
	uint64_t set_at = 0;
	long number = 0;

	if (read_function(s, call)) {
		set_at = find_number(s, call, &number);
		wanted = set_at ? find_wanted(s, number) : NULL;
		if (set_at && !wanted)
			return; /* another call */
	}
	add_site(s, set_at, call + CALL_BYTES, false, wanted);
}

/* ---- calls of syscall() ------------------------------------------------------------------ */

#define LIBRARY_FUNCTION "syscall"

/* By the pointer that the instruction has beside it: jmp *slot(%rip), or a call. */
static bool leads_there(struct search *s)
{
	const cs_x86_op *op = &s->insn->detail->x86.operands[0];
	const char *name = NULL;

	if (s->insn->detail->x86.op_count != 1 || op->type != X86_OP_MEM ||
	    op->mem.base != X86_REG_RIP)
		return false;
	elf_file_pointer_at(s->elf, s->insn->address + s->insn->size + (uint64_t)op->mem.disp,
			    &name);
	return name && !strcmp(name, LIBRARY_FUNCTION);
}

/* The file's own syscall(), as glibc has it, or an entry of the linkage table that leads to one. */
static bool is_library_function(struct search *s, uint64_t address)
{
	static const uint8_t begins[] = {0x48, 0x89, 0xf8}; /* mov %rdi,%rax */
	struct elf_symbol own;
	uint8_t code[32];
	ssize_t n = elf_file_read(s->elf, address, code, sizeof(code));
	const uint8_t *p = code;
	size_t left = n > 0 ? (size_t)n : 0;

	if (elf_file_find_function(s->elf, LIBRARY_FUNCTION, &own) && own.address == address)
		return left > sizeof(begins) && !memcmp(code, begins, sizeof(begins));
	while (cs_disasm_iter(s->cs, &p, &left, &address, s->insn))
		if (s->insn->id != X86_INS_ENDBR64)
			return s->insn->id == X86_INS_JMP && leads_there(s);
	return false;
}

/* Does the instruction call it?  It is lost. */
static bool calls_library_function(struct search *s)
{
	const cs_x86_op *op = &s->insn->detail->x86.operands[0];

	if (s->insn->detail->x86.op_count != 1)
		return false;
	return op->type == X86_OP_IMM ? is_library_function(s, (uint64_t)op->imm) : leads_there(s);
}

/* What looks like an instruction that puts the number into edi: is it for a call of syscall()? */
static void look_at_argument(struct search *s, uint64_t set_at)
{
	uint64_t at;
	bool jumps;

	if (!read_function(s, set_at))
		return;
	for (at = s->start; at < set_at && decode(s, at);)
		at += s->insn->size;
	if (at != set_at || !decode(s, at) || s->insn->bytes[0] != MOVE_TO_EDI)
		return;
	for (at += MOVE_BYTES; at < set_at + BEFORE && decode(s, at);) {
		uint64_t behind = at + s->insn->size;

		if (is_branch(s)) {
			jumps = !cs_insn_group(s->cs, s->insn, CS_GRP_CALL);
			if (!calls_library_function(s))
				return;
			decode(s, set_at);
			add_site(s, set_at, behind, true,
				 jumps ? NULL : find_wanted(s, (long)(int32_t)s->insn->detail->x86
								       .operands[0].imm));
			return;
		}
		if (instruction_writes(s->cs, s->insn) & 1u << RDI)
			return;
		at = behind;
	}
}

/* ---- the file ---------------------------------------------------------------------------- */

/* Is one of the numbers set shortly before?  Most bytes that look like a call are none of ours. */
static bool may_be_wanted(const struct search *s, const uint8_t *before, size_t n)
{
	for (size_t i = 0; i + MOVE_BYTES <= n; i++) {
		int32_t number;

		if (before[i] != MOVE_TO_EAX)
			continue;
		memcpy(&number, before + i + 1, sizeof(number));
		if (find_wanted(s, number))
			return true;
	}
	return false;
}

/* @from: where those of the block before end. */
static void search_arguments(struct search *s, const uint8_t *block, size_t len, size_t from,
			     uint64_t address)
{
	for (size_t i = 0; i < s->n_wanted; i++) {
		uint8_t move[MOVE_BYTES] = {MOVE_TO_EDI};
		int32_t number = (int32_t)s->wanted[i].number;
		const uint8_t *p = block + from, *end = block + len;

		memcpy(move + 1, &number, sizeof(number));
		while ((p = memmem(p, (size_t)(end - p), move, MOVE_BYTES))) {
			look_at_argument(s, address + (uint64_t)(p - block));
			p += MOVE_BYTES;
		}
	}
}

/* @skip: bytes at the beginning that are only there to be looked back at. */
static void search_block(struct search *s, const uint8_t *block, size_t len, size_t skip,
			 uint64_t address)
{
	const uint8_t *p = block + skip, *end = block + len;

	while ((p = memmem(p, (size_t)(end - p), "\x0f\x05", CALL_BYTES))) {
		size_t before = (size_t)(p - block) < BEFORE ? (size_t)(p - block) : BEFORE;

		if (may_be_wanted(s, p - before, before))
			look_at(s, address + (uint64_t)(p - block));
		p += CALL_BYTES;
	}
}

static void search_segment(struct search *s, uint64_t address, uint64_t bytes)
{
	uint8_t *block = xmalloc(BLOCK);

	for (uint64_t at = 0; at < bytes;) {
		uint64_t back = at < BEFORE ? at : BEFORE;
		uint64_t want = bytes - at + back < BLOCK ? bytes - at + back : BLOCK;
		ssize_t n = elf_file_read(s->elf, address + at - back, block, want);

		if (n < (ssize_t)back + CALL_BYTES)
			break;
		search_block(s, block, (size_t)n, back, address + at - back);
		search_arguments(s, block, (size_t)n, back < MOVE_BYTES ? 0 : back - MOVE_BYTES + 2,
				 address + at - back);
		/* one that lies across the end is found the next time */
		at += (uint64_t)n - back;
		if (at < bytes)
			at--;
	}
	free(block);
}

void syscall_sites_find(struct elf_file *elf, const struct syscall_wanted *wanted, size_t n,
			struct syscall_sites *ret)
{
	struct search s = {.elf = elf, .wanted = wanted, .n_wanted = n, .found = ret};
	uint64_t address, offset, bytes;

	memset(ret, 0, sizeof(*ret));
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &s.cs) != CS_ERR_OK)
		return;
	cs_option(s.cs, CS_OPT_DETAIL, CS_OPT_ON);
	cs_option(s.cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
	s.insn = cs_malloc(s.cs);
	s.code = xmalloc(FUNCTION_MAX + BEHIND);
	for (size_t i = 0; elf_file_code_segment(elf, i, &address, &offset, &bytes); i++)
		search_segment(&s, address, bytes);
	free(s.code);
	cs_free(s.insn, 1);
	cs_close(&s.cs);
}

void syscall_sites_release(struct syscall_sites *s)
{
	free(s->sites);
	memset(s, 0, sizeof(*s));
}
