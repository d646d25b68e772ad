/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_REGISTERS_BPF_H
#define COLLECTOR_REGISTERS_BPF_H

/* What a probe reads of the registers.  Included by probes.bpf.c alone. */

/* In assembly, or the compiler merges the loads into one of a computed address: not allowed. */
#define REGISTER(ctx, reg) \
	({ \
		ht_u64 value_; \
		asm volatile("%0 = *(u64 *)(%1 + %2)" \
			     : "=r"(value_) \
			     : "r"(ctx), "i"(__builtin_offsetof(struct pt_regs, reg))); \
		value_; \
	})

static __always_inline ht_u64 argument(struct pt_regs *ctx, ht_u64 n)
{
	switch (n) {
	case 1:
		return REGISTER(ctx, rdi);
	case 2:
		return REGISTER(ctx, rsi);
	case 3:
		return REGISTER(ctx, rdx);
	case 4:
		return REGISTER(ctx, rcx);
	case 5:
		return REGISTER(ctx, r8);
	case 6:
		return REGISTER(ctx, r9);
	}
	return 0;
}

static __always_inline ht_u64 register_number(struct pt_regs *ctx, ht_u64 n)
{
	switch (n) {
	case 0:
		return REGISTER(ctx, rax);
	case 1:
		return REGISTER(ctx, rcx);
	case 2:
		return REGISTER(ctx, rdx);
	case 3:
		return REGISTER(ctx, rbx);
	case 5:
		return REGISTER(ctx, rbp);
	case 6:
		return REGISTER(ctx, rsi);
	case 7:
		return REGISTER(ctx, rdi);
	case 8:
		return REGISTER(ctx, r8);
	case 9:
		return REGISTER(ctx, r9);
	case 10:
		return REGISTER(ctx, r10);
	case 11:
		return REGISTER(ctx, r11);
	case 12:
		return REGISTER(ctx, r12);
	case 13:
		return REGISTER(ctx, r13);
	case 14:
		return REGISTER(ctx, r14);
	case 15:
		return REGISTER(ctx, r15);
	}
	return 0;
}

/* Would a conditional jump with condition @code be taken? */
static __always_inline int holds(ht_u64 flags, ht_u64 code)
{
	ht_u64 carry = flags, zero = flags >> 6, sign = flags >> 7, overflow = flags >> 11, is = 0;

	switch (code >> 1) {
	case 0:
		is = overflow;
		break;
	case 1:
		is = carry;
		break;
	case 2:
		is = zero;
		break;
	case 3:
		is = carry | zero;
		break;
	case 4:
		is = sign;
		break;
	case 5:
		is = flags >> 2; /* parity */
		break;
	case 6:
		is = sign ^ overflow;
		break;
	case 7:
		is = zero | (sign ^ overflow);
		break;
	}
	return (is ^ code) & 1;
}

#endif
