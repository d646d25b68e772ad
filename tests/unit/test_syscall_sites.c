/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/syscall_sites.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/process_maps.h"
#include "tests/unit/tap.h"

static const struct syscall_wanted wanted[] = {
	{SYS_mmap, 1 << 6}, {SYS_munmap, 1 << 6 | 1 << 7}, {SYS_mremap, 1 << 7}, {SYS_brk, 1 << 7},
	{SYS_shmat, 0},	    {SYS_shmdt, 1 << 7},
};
enum { WANTED = sizeof(wanted) / sizeof(wanted[0]), MADE_UP = 54321 };

/*
 * Calls of a number that the kernel does not have, in this very program.  In the first one the
 * place is the jump, in the second the instruction behind the call, as the one after that spoils
 * what is needed.  The others cannot be probed: the number may be another one, or it is no call.
 */
__asm__(".text\n"
	".macro function name\n.globl \\name\n.type \\name, @function\n\\name:\n"
	".cfi_startproc\n.endm\n"
	".macro ends name\nret\n.cfi_endproc\n.size \\name, . - \\name\n.endm\n"
	"function site_jump\n mov $54321, %eax\n xor %r9d, %r9d\n syscall\n"
	" cmp $-4095, %rax\n jae 1f\n1: ends site_jump\n"
	"function site_behind\n mov $54321, %eax\n syscall\n mov %rax, %rdi\n jmp 1f\n1: ends site_behind\n"
	"function site_jumped\n test %edi, %edi\n je 1f\n mov $54321, %eax\n1: syscall\n ends site_jumped\n"
	"function site_target\n mov $54321, %eax\n syscall\n1: test %rax, %rax\n js 1b\n ends site_target\n"
	"function site_other\n mov $54321, %eax\n mov %edi, %eax\n syscall\n ends site_other\n"
	"function site_none\n movabs $0x50f0000d431b8, %rcx\n ends site_none\n"
	"function site_library\n sub $8, %rsp\n mov $54321, %edi\n xor %eax, %eax\n"
	" call syscall@PLT\n add $8, %rsp\n jmp 1f\n1: ends site_library\n"
	"function site_pointer\n sub $8, %rsp\n mov $54321, %edi\n call *syscall@GOTPCREL(%rip)\n"
	" add $8, %rsp\n mov %rsi, %rdi\n ends site_pointer\n"
	"function site_shared\n sub $8, %rsp\n test %edi, %edi\n je 1f\n mov $54321, %edi\n"
	" call syscall@PLT\n1: add $8, %rsp\n ends site_shared\n"
	"function site_tail\n mov $54321, %edi\n jmp syscall@PLT\n ends site_tail\n"
	"function site_getpid\n mov $54321, %edi\n call getpid@PLT\n ends site_getpid\n");
void site_jump(void);
void site_behind(void);

static bool is_in(struct elf_file *elf, const char *name, const struct syscall_site *site)
{
	struct elf_symbol s;

	return elf_file_find_function(elf, name, &s) && site->address > s.address &&
	       site->address < s.address + s.size;
}

static void test_made_up(void)
{
	static const struct syscall_wanted call = {MADE_UP, 1 << 7};
	struct syscall_sites sites;
	struct elf_file *elf;
	struct err err;

	if (elf_file_open("/proc/self/exe", &elf, &err))
		bail_out("%s", err.what);
	syscall_sites_find(elf, &call, 1, &sites);
	ok(sites.n == 5, "five places (%zu)", sites.n);
	if (sites.n == 5) {
		ok(is_in(elf, "site_jump", &sites.sites[0]) && sites.sites[0].emulated &&
			   !strncmp(sites.sites[0].instruction, "jae", 3) &&
			   sites.sites[0].number == MADE_UP,
		   "at the jump: %s", sites.sites[0].instruction);
		ok(is_in(elf, "site_behind", &sites.sites[1]) && !sites.sites[1].emulated &&
			   !strncmp(sites.sites[1].instruction, "mov", 3),
		   "behind the call: %s", sites.sites[1].instruction);
		ok(is_in(elf, "site_library", &sites.sites[2]) && sites.sites[2].emulated,
		   "of syscall(): %s", sites.sites[2].instruction);
		ok(is_in(elf, "site_pointer", &sites.sites[3]) && !sites.sites[3].emulated &&
			   !strncmp(sites.sites[3].instruction, "add", 3),
		   "by a pointer: %s", sites.sites[3].instruction);
		ok(is_in(elf, "site_shared", &sites.sites[4]) && sites.sites[4].is_shared &&
			   !sites.sites[3].is_shared,
		   "where others come, too: %s", sites.sites[4].instruction);
	}
	ok(sites.unsure == 5, "five that cannot be probed (%zu)", sites.unsure);
	syscall_sites_release(&sites);
	elf_file_close(elf);
}

/* The C library's, as its symbols name them. */
static void test_libc(void)
{
	static const char *const names[WANTED] = {"mmap", "munmap", "mremap", "brk", "shmat", "shmdt"};
	struct process_maps maps;
	struct syscall_sites sites;
	struct elf_file *elf;
	struct err err;
	char *path = NULL;

	if (process_maps_read(getpid(), &maps, &err))
		bail_out("%s", err.what);
	for (size_t i = 0; i < maps.n && !path; i++)
		if (strstr(maps.maps[i].path, "/libc.so") || strstr(maps.maps[i].path, "/ld-musl"))
			path = maps.maps[i].path;
	if (!path || elf_file_open(path, &elf, &err)) {
		diag("no C library to look at");
		process_maps_release(&maps);
		return;
	}
	syscall_sites_find(elf, wanted, WANTED, &sites);
	for (int i = 0; i < WANTED; i++) {
		bool found = false, emulated = true;

		for (size_t k = 0; k < sites.n; k++)
			if (sites.sites[k].number == wanted[i].number &&
			    is_in(elf, names[i], &sites.sites[k])) {
				found = true;
				emulated &= sites.sites[k].emulated;
			}
		ok(found, "%s() of '%s'%s", names[i], path, emulated ? "" : ", single-stepped");
	}
	ok(sites.unsure == 0, "and no other (%zu)", sites.unsure);
	syscall_sites_release(&sites);
	elf_file_close(elf);
	process_maps_release(&maps);
}

int main(void)
{
	test_made_up();
	test_libc();
	return done();
}
