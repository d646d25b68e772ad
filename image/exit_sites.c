/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/exit_sites.h"

#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "image/instruction.h"

#define NODES_MAX 20000
#define WINDOW_BYTES 1024
#define INSTRUCTION_BYTES_MAX 15
#define STACK_BYTES_MAX 2040
#define STACK_UNKNOWN INT32_MIN

/* Which register has what will be returned, at an instruction; or: */
enum { RESULT_UNSEEN = -2, RESULT_NONE = -1, RESULT_RAX = 0 };

enum node_kind {
	NODE_PLAIN,
	NODE_JUMP,
	NODE_BRANCH,
	NODE_CALL,
	NODE_RET,
	NODE_END, /* nothing comes back from there, or it is seen elsewhere */
};

/* An instruction that can be reached. */
struct node {
	uint64_t address;
	uint32_t next, target; /* HASHMAP_NONE: none */
	int32_t stack, frame;  /* bytes that rsp, rbp are below the entry's rsp */
	uint16_t written;      /* registers, a bit each */
	uint8_t kind;
	uint8_t condition; /* of a branch */
	int8_t copy_to, copy_from; /* mov between registers, else -1 */
	int8_t result;
	bool emulated;
};

struct walk {
	const struct exit_code *code;
	struct exit_sites *ret;
	csh cs;
	cs_insn *insn;
	struct node *nodes;
	size_t n, cap;
	struct hashmap by_address;
	bool stack_is_known; /* each instruction has one height, however it is reached */
	uint64_t window_at;
	size_t window_len;
	uint8_t window[WINDOW_BYTES];
	bool may_throw;
	const char *ends_in; /* another file's function that it jumps to at its end, or NULL */
};

static bool fail(struct walk *w, const char *why, const char *name)
{
	if (!w->ret->reason[0])
		snprintf(w->ret->reason, sizeof(w->ret->reason), "%.50s%.40s", why,
			 name ? name : "");
	return false;
}

static bool decode(struct walk *w, uint64_t address)
{
	const uint8_t *p;
	uint64_t at = address;
	size_t left;

	if (address < w->window_at ||
	    address + INSTRUCTION_BYTES_MAX > w->window_at + w->window_len) {
		ssize_t n = w->code->read(w->code->arg, address, w->window, sizeof(w->window));

		if (n <= 0)
			return fail(w, "it jumps out of the file's code", NULL);
		w->window_at = address;
		w->window_len = (size_t)n;
	}
	p = w->window + (address - w->window_at);
	left = w->window_len - (address - w->window_at);
	if (!cs_disasm_iter(w->cs, &p, &left, &at, w->insn))
		return fail(w, "it has an instruction that is not known", NULL);
	return true;
}

/* ---- registers and the stack ------------------------------------------------------- */

enum { RSP = 4, RBP = 5 };

static uint16_t registers_written(const struct walk *w)
{
	return instruction_writes(w->cs, w->insn);
}

static bool is_register(const cs_x86_op *op, x86_reg reg)
{
	return op->type == X86_OP_REG && op->reg == reg;
}

static bool is_full_register(const cs_x86_op *op)
{
	return op->type == X86_OP_REG && op->size == 8 && register_number(op->reg) >= 0;
}

static int32_t moved(int32_t stack, int64_t by)
{
	if (stack == STACK_UNKNOWN || by < -(1 << 24) || by > 1 << 24)
		return STACK_UNKNOWN;
	return stack + (int32_t)by;
}

/* What @insn makes of the heights of rsp and rbp. */
static void move_stack(const cs_insn *insn, uint16_t written, int32_t *stack, int32_t *frame)
{
	const cs_x86 *x = &insn->detail->x86;
	const cs_x86_op *to = &x->operands[0], *from = &x->operands[1];
	int32_t before = *stack;

	if (insn->id == X86_INS_PUSH || insn->id == X86_INS_PUSHFQ) {
		*stack = moved(before, 8);
		return;
	}
	if (insn->id == X86_INS_LEAVE) {
		*stack = moved(*frame, -8);
		*frame = STACK_UNKNOWN;
		return;
	}
	if (written & 1u << RSP) {
		*stack = STACK_UNKNOWN;
		if ((insn->id == X86_INS_POP && !is_register(to, X86_REG_RSP)) ||
		    insn->id == X86_INS_POPFQ)
			*stack = moved(before, -8);
		else if (insn->id == X86_INS_SUB && from->type == X86_OP_IMM)
			*stack = moved(before, from->imm);
		else if (insn->id == X86_INS_ADD && from->type == X86_OP_IMM)
			*stack = moved(before, -from->imm);
		else if (insn->id == X86_INS_MOV && is_register(from, X86_REG_RBP))
			*stack = *frame;
		else if (insn->id == X86_INS_LEA && from->mem.index == X86_REG_INVALID &&
			 (from->mem.base == X86_REG_RSP || from->mem.base == X86_REG_RBP))
			*stack = moved(from->mem.base == X86_REG_RSP ? before : *frame,
				       -from->mem.disp);
	}
	if (written & 1u << RBP)
		*frame = insn->id == X86_INS_MOV && is_register(from, X86_REG_RSP) ? before
										   : STACK_UNKNOWN;
}

/* ---- following the code ------------------------------------------------------------ */

/* The instruction at @address, reached with these heights. */
static uint32_t reach(struct walk *w, uint64_t address, int32_t stack, int32_t frame)
{
	uint32_t *place = hashmap_put(&w->by_address, address);

	if (*place != HASHMAP_NONE) {
		struct node *n = &w->nodes[*place];

		w->stack_is_known &= n->stack == stack;
		if (n->frame != frame)
			n->frame = STACK_UNKNOWN;
		return *place;
	}
	ARRAY_GROW(w->nodes, w->cap, w->n);
	w->nodes[w->n] = (struct node){.address = address,
				       .stack = stack,
				       .frame = frame,
				       .next = HASHMAP_NONE,
				       .target = HASHMAP_NONE,
				       .copy_to = -1,
				       .copy_from = -1,
				       .result = RESULT_UNSEEN};
	*place = (uint32_t)w->n;
	return (uint32_t)w->n++;
}

/* Functions that do not come back: what is behind a call of one is another function's. */
static bool never_returns(const char *name)
{
	static const char *const names[] = {
		"abort", "__stack_chk_fail", "__cxa_throw", "__cxa_rethrow", "_Unwind_Resume",
		"__clang_call_terminate", "_ZSt9terminatev", "exit", "_exit", "__assert_fail",
		"longjmp", "siglongjmp", "__longjmp_chk", "pthread_exit",
	};

	for (size_t i = 0; name && i < COUNT_OF(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return name && !strncmp(name, "_ZSt", 4) && strstr(name, "__throw_");
}

/* Functions of C, and operators, through which no exception comes. */
static bool never_throws(const char *name)
{
	static const char *const names[] = {
		"malloc", "calloc", "realloc", "reallocarray", "free", "posix_memalign",
		"aligned_alloc", "memalign", "malloc_usable_size", "abort", "memcpy", "memmove",
		"memset", "memcmp", "strlen", "strcmp", "strncmp", "strcpy", "pthread_mutex_lock",
		"pthread_mutex_unlock", "__stack_chk_fail", "__memcpy_chk", "__memset_chk",
	};

	for (size_t i = 0; name && i < COUNT_OF(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return name && (!strncmp(name, "_ZdlPv", 6) || !strncmp(name, "_ZdaPv", 6) ||
			(!strncmp(name, "_Zn", 3) && strstr(name, "RKSt9nothrow_t")));
}

/* Where a jump or call through memory that is known leads: an address or 0, and its name. */
static uint64_t through_pointer(struct walk *w, const char **ret_name)
{
	const cs_x86_op *op = &w->insn->detail->x86.operands[0];

	*ret_name = NULL;
	if (op->type != X86_OP_MEM || op->mem.base != X86_REG_RIP ||
	    op->mem.index != X86_REG_INVALID)
		return 0;
	return w->code->pointer(w->code->arg,
				w->insn->address + w->insn->size + (uint64_t)op->mem.disp,
				ret_name);
}

/* The function that a direct call or jump to @address calls, past the linker's stub. */
static const char *name_of(struct walk *w, uint64_t address)
{
	const char *name = w->code->name(w->code->arg, address);

	for (int i = 0; !name && i < 2 && decode(w, address); i++) {
		if (w->insn->id == X86_INS_JMP)
			through_pointer(w, &name);
		else if (w->insn->id != X86_INS_ENDBR64)
			break;
		address += w->insn->size;
	}
	w->ret->reason[0] = '\0'; /* what cannot be decoded there only has no name */
	return name;
}

static bool add_call(struct walk *w, uint32_t at)
{
	const cs_x86_op *op = &w->insn->detail->x86.operands[0];
	uint64_t behind = w->insn->address + w->insn->size;
	const struct node *n = &w->nodes[at];
	int32_t stack = n->stack, frame = n->frame;
	const char *name = NULL;
	uint32_t next;
	bool ends;

	if (op->type == X86_OP_IMM)
		name = name_of(w, (uint64_t)op->imm);
	else
		through_pointer(w, &name);
	w->may_throw |= !never_throws(name);
	/* nor does one that would come back to another function */
	ends = never_returns(name) || w->code->is_start(w->code->arg, behind);
	w->nodes[at].kind = ends ? NODE_END : NODE_CALL;
	if (ends)
		return true;
	next = reach(w, behind, stack, frame);
	w->nodes[at].next = next;
	return true;
}

static bool add_jump(struct walk *w, uint32_t at)
{
	const cs_x86_op *op = &w->insn->detail->x86.operands[0];
	int32_t stack = w->nodes[at].stack, frame = w->nodes[at].frame;
	uint64_t to = op->type == X86_OP_IMM ? (uint64_t)op->imm : 0;
	const char *name = NULL;

	w->nodes[at].kind = NODE_JUMP;
	if (!to)
		to = through_pointer(w, &name);
	if (to) {
		uint32_t target = reach(w, to, stack, frame);

		w->nodes[at].target = target;
		return true;
	}
	w->nodes[at].kind = NODE_END;
	if (name && w->code->is_probed(w->code->arg, name)) {
		w->may_throw |= !never_throws(name);
		return true;
	}
	if (never_throws(name)) {
		w->ends_in = name;
		return true;
	}
	w->may_throw = true;
	if (never_returns(name))
		return true;
	return name ? fail(w, "it ends in a jump to another file's ", name)
		    : fail(w, "it jumps through a pointer", NULL);
}

/* Of 0x70 to 0x7f and 0x0f 0x80 to 0x8f; -1 of others (loop, jrcxz). */
static int condition_of(const cs_insn *insn)
{
	const uint8_t *b = insn->bytes;

	while (b < insn->bytes + insn->size && (*b == 0x2e || *b == 0x3e || *b == 0xf2))
		b++; /* hints */
	if ((*b & 0xf0) == 0x70)
		return *b & 15;
	return *b == 0x0f && (b[1] & 0xf0) == 0x80 ? b[1] & 15 : -1;
}

static bool add_branch(struct walk *w, uint32_t at)
{
	uint64_t behind = w->insn->address + w->insn->size;
	uint64_t to = (uint64_t)w->insn->detail->x86.operands[0].imm;
	int32_t stack = w->nodes[at].stack, frame = w->nodes[at].frame;
	int condition = condition_of(w->insn);
	uint32_t next, target;

	if (condition < 0)
		return fail(w, "it has a jump that is not known", NULL);
	w->nodes[at].kind = NODE_BRANCH;
	w->nodes[at].condition = (uint8_t)condition;
	target = reach(w, to, stack, frame);
	next = reach(w, behind, stack, frame);
	w->nodes[at].target = target;
	w->nodes[at].next = next;
	return true;
}

static bool add_plain(struct walk *w, uint32_t at)
{
	const cs_x86 *x = &w->insn->detail->x86;
	struct node *n = &w->nodes[at];
	int32_t stack = n->stack, frame = n->frame;
	uint32_t next;

	/* what is behind a call that never returns may be nothing but padding */
	if (w->code->is_start(w->code->arg, w->insn->address + w->insn->size)) {
		n->kind = NODE_END;
		return true;
	}
	n->kind = NODE_PLAIN;
	n->written = registers_written(w);
	if (w->insn->id == X86_INS_MOV && is_full_register(&x->operands[0]) &&
	    is_full_register(&x->operands[1])) {
		n->copy_to = (int8_t)register_number(x->operands[0].reg);
		n->copy_from = (int8_t)register_number(x->operands[1].reg);
	}
	move_stack(w->insn, n->written, &stack, &frame);
	next = reach(w, w->insn->address + w->insn->size, stack, frame);
	w->nodes[at].next = next;
	return true;
}

static bool add_instruction(struct walk *w, uint32_t at)
{
	if (!decode(w, w->nodes[at].address))
		return false;
	w->nodes[at].emulated = emulation_of(w->insn) == EMULATED;
	switch (w->insn->id) {
	case X86_INS_RET:
		w->nodes[at].kind = NODE_RET;
		w->nodes[at].result = RESULT_RAX;
		return true;
	case X86_INS_UD2:
	case X86_INS_HLT:
	case X86_INS_INT3:
		w->nodes[at].kind = NODE_END;
		return true;
	case X86_INS_JMP:
		return add_jump(w, at);
	}
	if (cs_insn_group(w->cs, w->insn, CS_GRP_CALL))
		return add_call(w, at);
	if (cs_insn_group(w->cs, w->insn, CS_GRP_JUMP))
		return add_branch(w, at);
	return add_plain(w, at);
}

static bool follow(struct walk *w, uint64_t address)
{
	reach(w, address, 0, STACK_UNKNOWN);
	for (uint32_t i = 0; i < w->n; i++) {
		if (i >= NODES_MAX)
			return fail(w, "it is too large", NULL);
		if (!add_instruction(w, i))
			return false;
	}
	return true;
}

/* ---- where the result is ----------------------------------------------------------- */

static int result_at(const struct walk *w, uint32_t node)
{
	return node == HASHMAP_NONE ? RESULT_UNSEEN : w->nodes[node].result;
}

/* Where it is behind the instruction, on all ways from there. */
static int result_behind(const struct walk *w, const struct node *n)
{
	int a = result_at(w, n->next), b = result_at(w, n->target);

	if (a == RESULT_UNSEEN || a == b)
		return b;
	return b == RESULT_UNSEEN ? a : RESULT_NONE;
}

static int result_before(const struct walk *w, const struct node *n)
{
	int behind = result_behind(w, n);

	if (behind < 0)
		return behind;
	if (n->kind == NODE_CALL)
		return RESULT_NONE;
	if (n->copy_to == behind)
		return n->copy_from;
	return n->written & 1u << behind ? RESULT_NONE : behind;
}

static void find_results(struct walk *w)
{
	bool changed;

	do {
		changed = false;
		for (size_t i = w->n; i--;) {
			struct node *n = &w->nodes[i];
			int result = n->kind == NODE_RET ? RESULT_RAX : result_before(w, n);

			changed |= result != n->result;
			n->result = (int8_t)result;
		}
	} while (changed);
}

/* ---- the sites --------------------------------------------------------------------- */

static bool can_sit_on(const struct walk *w, const struct node *n)
{
	return n->emulated && n->kind != NODE_CALL && w->stack_is_known &&
	       n->stack >= 0 && n->stack <= STACK_BYTES_MAX && n->stack % 8 == 0;
}

static void add_site(struct walk *w, const struct node *n, int reg, int condition)
{
	struct exit_sites *s = w->ret;
	struct exit_site *site;

	for (size_t i = 0; i < s->n; i++)
		if (s->sites[i].address == n->address && s->sites[i].condition == condition &&
		    s->sites[i].reg == reg)
			return;
	ARRAY_GROW(s->sites, s->cap, s->n);
	site = &s->sites[s->n++];
	*site = (struct exit_site){.address = n->address,
				   .stack_bytes = n->kind == NODE_RET ? 0 : (uint32_t)n->stack,
				   .reg = (uint8_t)reg,
				   .condition = (int8_t)condition,
				   .emulated = n->emulated};
	cs_option(w->cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
	if (decode(w, n->address))
		snprintf(site->instruction, sizeof(site->instruction), "%.12s%s%.24s",
			 w->insn->mnemonic, w->insn->op_str[0] ? " " : "", w->insn->op_str);
	cs_option(w->cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_INTEL);
}

/* From @at on the result is known: the first place that will do, or the end. */
static const struct node *place_from(const struct walk *w, uint32_t at)
{
	for (size_t steps = 0; at != HASHMAP_NONE && steps < w->n; steps++) {
		const struct node *n = &w->nodes[at];

		if (n->kind == NODE_RET || can_sit_on(w, n))
			return n;
		if (n->kind == NODE_BRANCH)
			return NULL; /* its height is not known */
		at = n->kind == NODE_JUMP ? n->target : n->next;
	}
	return NULL;
}

/* The result is known from @to on, and was not at @from (NULL: that is the entry). */
static void add_edge(struct walk *w, const struct node *from, uint32_t to, int condition)
{
	const struct node *place = place_from(w, to);

	if (place && place->emulated)
		add_site(w, place, place->result, -1);
	else if (from && from->kind == NODE_BRANCH && can_sit_on(w, from))
		add_site(w, from, w->nodes[to].result, condition);
	else
		for (size_t i = 0; i < w->n; i++) /* all ends, whichever it leads to */
			if (w->nodes[i].kind == NODE_RET && (!place || place == &w->nodes[i]))
				add_site(w, &w->nodes[i], RESULT_RAX, -1);
}

static void find_sites(struct walk *w)
{
	if (w->nodes[0].result >= 0)
		add_edge(w, NULL, 0, -1);
	for (size_t i = 0; i < w->n; i++) {
		const struct node *n = &w->nodes[i];

		if (n->result != RESULT_NONE)
			continue;
		if (result_at(w, n->next) >= 0)
			add_edge(w, n, n->next, n->condition ^ 1);
		if (n->target != n->next && result_at(w, n->target) >= 0)
			add_edge(w, n, n->target, n->condition);
	}
}

bool exit_sites_find(const struct exit_code *code, uint64_t address, struct exit_sites *ret)
{
	struct walk w = {.code = code, .ret = ret, .stack_is_known = true};
	bool found;

	memset(ret, 0, sizeof(*ret));
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &w.cs) != CS_ERR_OK)
		return fail(&w, "there is no disassembler", NULL);
	cs_option(w.cs, CS_OPT_DETAIL, CS_OPT_ON);
	w.insn = cs_malloc(w.cs);
	found = follow(&w, address);
	if (found && w.ends_in && w.may_throw) {
		found = fail(&w, "it ends in a jump to another file's ", w.ends_in);
	} else if (found && w.ends_in) {
		ret->never_throws = true;
	} else if (found) {
		find_results(&w);
		find_sites(&w);
	}
	cs_free(w.insn, 1);
	cs_close(&w.cs);
	hashmap_release(&w.by_address);
	free(w.nodes);
	return found;
}

void exit_sites_release(struct exit_sites *s)
{
	free(s->sites);
	memset(s, 0, sizeof(*s));
}
