/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COLLECTOR_ARGUMENTS_BPF_H
#define COLLECTOR_ARGUMENTS_BPF_H

/* What a call asks for, and what came of it, as its cookie tells.  Part of probes.bpf.c. */

/* One that overflows makes the call fail; as 0 it would look like realloc(p, 0). */
static __always_inline ht_u64 product(ht_u64 size, ht_u64 factor)
{
	ht_u64 most = factor ? ~0ull / factor : ~0ull;

	asm volatile("" : "+r"(most)); /* or it becomes a multiplication of 128 bits */
	return size > most ? ~0ull : size * factor;
}

/* What the call asks for. */
static __always_inline ht_u64 requested(struct pt_regs *ctx, ht_u64 cookie)
{
	ht_u64 size, factor = COOKIE_FACTOR(cookie), at;

	if (factor >= COOKIE_CONSTANT_FACTOR) {
		at = (factor - COOKIE_CONSTANT_FACTOR) * 16 + COOKIE_SIZE(cookie);
		asm volatile("" : "+r"(at)); /* older verifiers lose the bound of or'ed bits */
		return constants[at & 255];
	}
	size = argument(ctx, COOKIE_SIZE(cookie));
	if (factor) {
		factor = argument(ctx, factor);
		size = product(size, factor);
	}
	return size;
}

static __always_inline ht_u64 size_word(ht_u64 address, ht_u64 cookie)
{
	ht_u64 word = 0;

	if (COOKIE_USABLE(cookie) == USABLE_RULE_GLIBC)
		bpf_probe_read_user(&word, 8, (void *)(address - 8));
	else
		word = COOKIE_USABLE(cookie) != USABLE_RULE_NONE;
	return word;
}

/* Did the call do what it is recorded for? */
static __always_inline int is_success(ht_u64 result, ht_u64 cookie)
{
	switch (COOKIE_OK(cookie)) {
	case PROBE_OK_ZERO:
		return !(int)result;
	case PROBE_OK_NONZERO:
		return (int)result != 0;
	case PROBE_OK_USUAL:
		return COOKIE_OP(cookie) != PROBE_ALLOC_OUT || !(int)result;
	}
	return 1;
}

#endif
