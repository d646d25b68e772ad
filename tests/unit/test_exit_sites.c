/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/exit_sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"

/* Code at @address; a call or jump to another function, at a multiple of 16, returns 0. */
struct code {
	const char *name;
	uint64_t address;
	const char *hex;
	struct exit_site sites[8]; /* an address of 0 ends them */
	const char *reason;
};

enum { RAX = 0, RBX = 3, R9 = 9, R11 = 11, EQUAL = 4, NOT_EQUAL = 5, ALWAYS = -1 };

static const struct code codes[] = {
	{"a result that is there from the beginning", 0x1000, "4889f8c3",
	 {{.address = 0x1003, .reg = RAX, .condition = ALWAYS}}, NULL},
	/* push rbp, rbx; call; test; jne: mov rbx,rax; leave; ret.  Else another call, leave, ret */
	{"two ends, the stack by rbp", 0x1000,
	 "554889e5534883ec18e8ee0f00004889c34885db7507e8e10f0000c9c34889d8488b5df8c9c3",
	 {{.address = 0x1014, .stack_bytes = 40, .reg = RBX, .condition = NOT_EQUAL,
	   .emulated = true},
	  {.address = 0x101c, .reg = RAX, .condition = ALWAYS}}, NULL},
	{"a jump through a table", 0x1000, "ff24f7", {{.address = 0}}, "it jumps through a pointer"},
	{"an instruction that is none", 0x1000, "06", {{.address = 0}},
	 "it has an instruction that is not known"},
	{"operator new of mimalloc 2.0.9, nothrow", 0x11c70,
	 "488b0549a30000534889fb64488b384881fb000400007728488d430748c1e803488b54c708488b42104885c074"
	 "12488b088342180148894a105bc30f1f44000031c931d24889dee894e8ffff4885c075e84889df5be936fdffff",
	 {{.address = 0x11c9c, .stack_bytes = 8, .reg = RAX, .condition = NOT_EQUAL,
	   .emulated = true},
	  {.address = 0x11cbf, .stack_bytes = 8, .reg = RAX, .condition = NOT_EQUAL,
	   .emulated = true},
	  {.address = 0x11a02, .reg = RAX, .condition = ALWAYS}}, NULL},
	{"operator new of jemalloc 5.3.0", 0xade30,
	 "4881ff001000000f8793000000488d153cda2300488d4707488b0d29f1010048c1e8030fb63402488d0562dc23"
	 "0064488b9138030000480314f064483b9140030000735c644c8b0c2500000000488d0476498d04c14801c84c8b"
	 "80600300004d8b184d8d500866443b807003000074384c8990600300006448899138030000488b806803000048"
	 "83c001488d1476498d14d14889840a680300004c89d8c36690e91bffffff0f1f0066443b807403000074ee4c89"
	 "906003000066448990700300006448899138030000488b80680300004883c001ebb4",
	 {{.address = 0xade9e, .reg = R11, .condition = NOT_EQUAL, .emulated = true},
	  {.address = 0xadf04, .reg = R11, .condition = ALWAYS, .emulated = true},
	  {.address = 0xaddf2, .reg = RAX, .condition = ALWAYS}}, NULL},
	{"operator new of gperftools 2.10", 0x1e6c0,
	 "488b05d9b100004885c07575488b0585a70000644c8b004d85c074654881ff00040000775383c707c1ef03488d"
	 "052e881b000fb634384889f089f248c1e00548c1e2054c01c0458b5410184c8b084d85c9743d498b118b480848"
	 "89108d51ff8950083b500c7241452990001000004c89c8c3660f1f4400004881ff00000400762fe9aaf4feff66"
	 "2e0f1f840000000000488b0d49a800004489d24c89c7e92eeafeff660f1f44000089500cebba0f1f0081c77f3c"
	 "0000c1ef07e96dffffff",
	 {{.address = 0x1e725, .reg = R9, .condition = ALWAYS, .emulated = true},
	  {.address = 0xdbf2, .reg = RAX, .condition = ALWAYS},
	  {.address = 0xd192, .reg = RAX, .condition = ALWAYS}}, NULL},
};

static ssize_t read_code(void *arg, uint64_t address, void *buf, size_t len)
{
	const struct code *c = arg;
	size_t size = strlen(c->hex) / 2, n;
	uint8_t *to = buf;

	if (address < c->address || address >= c->address + size) {
		static const uint8_t other[] = {0x31, 0xc0, 0xc3}; /* xor %eax,%eax; ret */
		size_t at = address % 16;

		n = at < sizeof(other) ? sizeof(other) - at : 0;
		n = len < n ? len : n;
		memcpy(to, other + at % sizeof(other), n);
		return (ssize_t)n;
	}
	n = size - (address - c->address);
	n = n < len ? n : len;
	for (size_t i = 0; i < n; i++) {
		char byte[3] = {c->hex[2 * (address - c->address + i)],
				c->hex[2 * (address - c->address + i) + 1], '\0'};

		to[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return (ssize_t)n;
}

static uint64_t pointer_at(void *arg, uint64_t slot, const char **ret_name)
{
	(void)arg;
	(void)slot;
	*ret_name = NULL;
	return 0;
}

static const char *no_name(void *arg, uint64_t address)
{
	(void)arg;
	(void)address;
	return NULL;
}

static bool no_start(void *arg, uint64_t address)
{
	(void)arg;
	(void)address;
	return false;
}

static bool not_probed(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return false;
}

static bool has(const struct exit_sites *s, const struct exit_site *wanted)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct exit_site *e = &s->sites[i];

		if (e->address == wanted->address && e->reg == wanted->reg &&
		    e->condition == wanted->condition && e->emulated == wanted->emulated &&
		    e->stack_bytes == wanted->stack_bytes)
			return true;
	}
	return false;
}

static void test_code(const struct code *c)
{
	struct exit_code code = {(void *)c, read_code, pointer_at, no_name, no_start, not_probed};
	struct exit_sites sites;
	bool found = exit_sites_find(&code, c->address, &sites), right;
	size_t n = 0;

	right = found == !c->reason && (found || !strcmp(sites.reason, c->reason));
	while (n < COUNT_OF(c->sites) && c->sites[n].address)
		right &= has(&sites, &c->sites[n++]);
	if (!ok(right && sites.n == n, "%s: %zu sites%s%s", c->name, n, c->reason ? ": " : "",
		c->reason ? c->reason : "")) {
		diag("'%s'", sites.reason);
		for (size_t i = 0; i < sites.n; i++)
			diag("%#llx stack %u register %u condition %d %s",
			     (unsigned long long)sites.sites[i].address, sites.sites[i].stack_bytes,
			     sites.sites[i].reg, sites.sites[i].condition,
			     sites.sites[i].instruction);
	}
	exit_sites_release(&sites);
}

/* Any bytes: it ends, and what it says is within bounds. */
static void test_random(void)
{
	bool right = true;

	srand(7);
	for (int round = 0; round < 3000; round++) {
		char hex[2 * 200 + 1];
		struct code c = {.name = "random", .address = 0x1000, .hex = hex};
		struct exit_code code = {&c, read_code, pointer_at, no_name, no_start, not_probed};
		struct exit_sites sites;

		for (int i = 0; i < 200; i++)
			snprintf(hex + 2 * i, 3, "%02x", rand() & 0xff);
		if (!exit_sites_find(&code, c.address, &sites))
			right &= sites.reason[0] != '\0';
		for (size_t i = 0; i < sites.n; i++)
			right &= sites.sites[i].reg < 16 && sites.sites[i].condition >= -1 &&
				 sites.sites[i].condition < 16 && sites.sites[i].stack_bytes <= 2040;
		exit_sites_release(&sites);
	}
	ok(right, "3000 times any bytes: within bounds");
}

int main(void)
{
	for (size_t i = 0; i < COUNT_OF(codes); i++)
		test_code(&codes[i]);
	test_random();
	return done();
}
