/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/probe_site.h"

#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/prologues.h"
#include "tests/unit/tap.h"

#define ARGUMENT(n) (1u << ((n) - 1))

/* Bytes of @hex, to be freed; exactly so large, so that a read beyond is found. */
static uint8_t *decode_hex(const char *hex, size_t *ret_len)
{
	size_t len = strlen(hex) / 2;
	uint8_t *code = xmalloc(len);

	for (size_t i = 0; i < len; i++) {
		char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		code[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	*ret_len = len;
	return code;
}

static struct probe_site find(const char *hex, uint64_t address, unsigned int arguments,
			      int null_argument, bool returns)
{
	struct probe_site site;
	size_t len;
	uint8_t *code = decode_hex(hex, &len);

	site = probe_site_find(code, len, address, arguments, null_argument, returns);
	free(code);
	return site;
}

static void expect(const char *name, struct probe_site site, uint32_t offset, bool emulated,
		   uint32_t stack_bytes)
{
	if (!ok(site.offset == offset && site.emulated == emulated &&
			site.stack_bytes == stack_bytes && site.instruction[0],
		"%s: offset %u%s, stack %u", name, offset, emulated ? "" : ", not emulated",
		stack_bytes))
		diag("it was offset %u%s, stack %u, '%s'", site.offset,
		     site.emulated ? "" : ", not emulated", site.stack_bytes, site.instruction);
}

static void test_prologues(void)
{
	for (size_t i = 0; i < COUNT_OF(prologues); i++) {
		const struct prologue *p = &prologues[i];
		char name[80];

		snprintf(name, sizeof(name), "%s, %s", p->library, p->function);
		expect(name,
		       find(p->code, p->address, p->arguments, p->null_argument, p->returns),
		       p->offset, p->emulated, p->stack_bytes);
	}
}

/* Of @hex, malloc-like: one argument, a return probe. */
static void expect_plain(const char *name, const char *hex, uint32_t offset, bool emulated)
{
	expect(name, find(hex, 0x401000, ARGUMENT(1), 0, true), offset, emulated, 0);
}

static void test_emulated(void)
{
	expect_plain("push at once", "53c3", 0, true);
	expect_plain("push of r15 at once", "4157c3", 0, true);
	expect_plain("endbr64, then push", "f30f1efa53c3", 4, true);
	expect_plain("endbr64, then nothing that is emulated", "f30f1efac3", 0, true);
	expect_plain("a jump, long", "e900010000", 0, true);
	expect_plain("a jump, short", "eb40", 0, true);
	expect_plain("a call", "e800010000c3", 0, true);
	expect_plain("a nop", "90c3", 0, true);
	expect_plain("mov %rdi,%rax; push", "4889f853c3", 3, true);
	expect_plain("mov %rdi,%rax; ret", "4889f8c3", 0, false);
	expect_plain("an indirect jump", "ffe0", 0, false);
	expect_plain("an indirect jump, then a push that nothing falls into", "ffe053", 0, false);
	expect_plain("ret, then the next function's push", "c353", 0, false);
	expect_plain("pop of a register, which is no push", "58c3", 0, false);
	expect_plain("push of a number, which is not emulated", "6a0153c3", 0, false);
	expect_plain("push of 16 bits, which is not emulated", "665053c3", 0, false);
}

static void test_arguments(void)
{
	expect("mov %rsi,%rdi overwrites argument 1",
	       find("4889f753c3", 0, ARGUMENT(1), 0, true), 0, false, 0);
	expect("mov %rsi,%rdi leaves argument 2",
	       find("4889f753c3", 0, ARGUMENT(2), 0, true), 3, true, 0);
	expect("mov %esi,%edi overwrites argument 1",
	       find("89f753c3", 0, ARGUMENT(1), 0, true), 0, false, 0);
	expect("mov $1,%dil overwrites argument 1",
	       find("40b70153c3", 0, ARGUMENT(1), 0, true), 0, false, 0);
	expect("mov $1,%dh overwrites argument 3",
	       find("b60153c3", 0, ARGUMENT(3), 0, true), 0, false, 0);
	expect("mul %rsi overwrites argument 3, unnamed",
	       find("48f7e653c3", 0, ARGUMENT(3), 0, true), 0, false, 0);
	expect("mul %rsi leaves argument 2",
	       find("48f7e653c3", 0, ARGUMENT(1) | ARGUMENT(2), 0, true), 3, true, 0);
	expect("xor %r9d,%r9d overwrites argument 6",
	       find("4531c953c3", 0, ARGUMENT(6), 0, true), 0, false, 0);
	expect("xor %r8d,%r8d overwrites argument 5",
	       find("4531c053c3", 0, ARGUMENT(5), 0, true), 0, false, 0);
	expect("xor %ecx,%ecx overwrites argument 4",
	       find("31c953c3", 0, ARGUMENT(4), 0, true), 0, false, 0);
	expect("mov $1,%cl overwrites argument 4",
	       find("b10153c3", 0, ARGUMENT(4), 0, true), 0, false, 0);
	expect("xchg %rax,%rdi overwrites argument 1",
	       find("489753c3", 0, ARGUMENT(1), 0, true), 0, false, 0);
	expect("a push before it is good",
	       find("534889f755c3", 0, ARGUMENT(1), 0, true), 0, true, 0);
}

static void test_jumps_back(void)
{
	/* 0: mov %rdi,%rax; 3: push %rbx; 4: test %rax,%rax; 7: jne 3; 9: ret */
	expect_plain("a jump back to the push forbids it", "4889f8534885c075fac3", 0, false);
	/* 0: mov; 3: mov %rsi,%rbx; 6: push %rbx; 7: jmp 3 */
	expect_plain("a jump to before the push forbids it", "4889f84889f353ebfa", 0, false);
	/* the same, but the jump goes to 0: a loop over all of the function passes the push */
	expect_plain("a jump back to the entry forbids nothing", "4889f84889f353ebf7", 6, true);
	/* 0: mov; 3: push; ...; a long jump from far away back to 3 */
	expect_plain("a long jump back, too",
		     "4889f853"
		     "9090909090909090909090909090909090909090"
		     "9090909090909090909090909090909090909090"
		     "9090909090909090909090909090909090909090"
		     "9090909090909090909090909090909090909090"
		     "e9aaffffff", 0, false);
	/* 0: mov; 3: push %rbx; 4: ff, a byte that is no instruction; 06; 6: jmp 3 */
	expect_plain("a jump back behind bytes that are no code", "4889f8530606ebfbc3", 0, false);
	/* 0: push; 1: jmp 1 */
	expect_plain("a jump to behind the push does not matter", "53ebfe", 0, true);
}

static void test_garbage(void)
{
	struct probe_site site = find("0606060606060606", 0x1000, ARGUMENT(1), 0, true);

	expect("bytes that are no code", site, 0, false, 0);
	ok(!strcmp(site.instruction, "?"), "and what stands there is '?'");
	expect("no bytes", find("", 0x1000, ARGUMENT(1), 0, true), 0, false, 0);
	expect("half an instruction", find("4889", 0x1000, ARGUMENT(1), 0, true), 0, false, 0);
	expect("an instruction, then bytes that are no code",
	       find("4889f80606", 0x1000, ARGUMENT(1), 0, true), 0, false, 0);
	site = find("4889f853c3", 0, ARGUMENT(1), 0, true);
	ok(strstr(site.instruction, "push") && strstr(site.instruction, "rbx"),
	   "the instruction is told: '%s'", site.instruction);
}

static void test_random(void)
{
	bool good = true;

	/* only that it ends, and stays within the prologue; the sanitizers see the rest */
	for (int i = 0; i < 3000; i++) {
		size_t len = random_below(120);
		uint8_t *code = xmalloc(len);
		struct probe_site site;

		for (size_t j = 0; j < len; j++)
			code[j] = (uint8_t)random_u64();
		site = probe_site_find(code, len, random_u64() >> random_below(64),
				       (unsigned int)random_below(64), (int)random_below(7),
				       random_below(2));
		good = good && (site.offset < len || site.offset == 0) && site.offset < 64 &&
		       site.stack_bytes <= 2040 && site.stack_bytes % 8 == 0 &&
		       memchr(site.instruction, '\0', sizeof(site.instruction));
		free(code);
	}
	ok(good, "random bytes");
}

static void test_null(void)
{
	/* 0: test %rdi,%rdi; 3: je 0x43; 5: push %rbx */
	static const char code[] = "4885ff743e53c3";

	expect("NULL is no event: behind its jump",
	       find(code, 0x1000, ARGUMENT(1), 1, false), 5, true, 0);
	expect("NULL is an event: on the jump",
	       find(code, 0x1000, ARGUMENT(1), 0, false), 3, true, 0);
	expect("NULL of another argument is no event: on the jump",
	       find(code, 0x1000, ARGUMENT(1) | ARGUMENT(2), 2, false), 3, true, 0);
	expect("a test of half the argument: on the jump",
	       find("85ff743e53c3", 0x1000, ARGUMENT(1), 1, false), 2, true, 0);
	expect("a test of two registers: on the jump",
	       find("4885f7743e53c3", 0x1000, ARGUMENT(1), 1, false), 3, true, 0);
	expect("jne: on the jump",
	       find("4885ff753e53c3", 0x1000, ARGUMENT(1), 1, false), 3, true, 0);
	expect("another instruction between test and jump: on the jump",
	       find("4885ff4889f8743e53c3", 0x1000, ARGUMENT(1), 1, false), 6, true, 0);
	expect("a long jump: behind it",
	       find("4885ff0f840001000053c3", 0x1000, ARGUMENT(1), 1, false), 9, true, 0);
	expect("behind the jump an argument is lost: on the jump",
	       find("4885ff743e4889f753c3", 0x1000, ARGUMENT(1), 1, false), 3, true, 0);
	expect("endbr64, test, je, push",
	       find("f30f1efa4885ff743e53c3", 0x1000, ARGUMENT(1), 1, false), 9, true, 0);
	/* 0: test; 3: je 0x3f; 5: push; 6: je 5 */
	expect("behind the jump something jumps to: on the jump",
	       find("4885ff743a5374fdc3", 0x1000, ARGUMENT(1), 1, false), 3, true, 0);
}

static void test_stack(void)
{
	expect("sub $24,%rsp; push, without a return probe",
	       find("4883ec1853c3", 0, ARGUMENT(1), 0, false), 4, true, 24);
	expect("sub $24,%rsp; push, with a return probe",
	       find("4883ec1853c3", 0, ARGUMENT(1), 0, true), 0, false, 0);
	expect("twice sub $24,%rsp",
	       find("4883ec184883ec1853c3", 0, ARGUMENT(1), 0, false), 8, true, 48);
	expect("sub $2040,%rsp, the most",
	       find("4881ecf807000053c3", 0, ARGUMENT(1), 0, false), 7, true, 2040);
	expect("sub $2048,%rsp is too much",
	       find("4881ec0008000053c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("2048 bytes in two steps are too much",
	       find("4881ecf80700004883ec0853c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("sub $20,%rsp is no number of words",
	       find("4883ec1453c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("add $-128,%rsp is not understood",
	       find("4883c48053c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("add $24,%rsp is not understood",
	       find("4883c41853c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("sub %rax,%rsp is not understood",
	       find("4829c453c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("and $-16,%rsp is not understood",
	       find("4883e4f053c3", 0, ARGUMENT(1), 0, false), 0, false, 0);
	expect("sub $24,%rsi overwrites argument 2 and no stack",
	       find("4883ee1853c3", 0, ARGUMENT(2), 0, false), 0, false, 0);
	/* sub; test; je; push */
	expect("sub $8,%rsp; test; je; push",
	       find("4883ec084885ff743e53c3", 0, ARGUMENT(1), 1, false), 9, true, 8);
}

int main(void)
{
	seed_random();
	test_prologues();
	test_emulated();
	test_arguments();
	test_jumps_back();
	test_garbage();
	test_random();
	test_null();
	test_stack();
	return done();
}
