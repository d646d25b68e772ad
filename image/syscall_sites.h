/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_SYSCALL_SITES_H
#define IMAGE_SYSCALL_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/elf_file.h"

/*
 * Where a file's code makes certain system calls, whatever function that is in: where the
 * number is put into eax and nothing else comes to the instruction; or into edi, and glibc's
 * syscall() is called, which leaves the arguments where the kernel had them.  For each, the place
 * behind it where a probe sees the result, and of the arguments what is wanted: where the kernel
 * emulates the instruction, if that is near, else right behind the call.
 *
 * What only looks like such a place, in the midst of other instructions or of data, is told by
 * decoding the function from where it begins: a probe there would break the program.
 */
struct syscall_wanted {
	long number;
	uint16_t registers; /* bits, as x86 numbers them: what the probe has to see besides rax */
};

struct syscall_site {
	long number;
	uint64_t address; /* the file's own, of the instruction that is to be probed */
	/* others come there, too: only after the call its address is just below the stack */
	bool is_shared;
	bool emulated;
	char instruction[40];
};

struct syscall_sites {
	struct syscall_site *sites;
	size_t n, cap;
	size_t unsure; /* places that may make such calls, and cannot be probed */
};

void syscall_sites_find(struct elf_file *elf, const struct syscall_wanted *wanted, size_t n,
			struct syscall_sites *ret);
void syscall_sites_release(struct syscall_sites *s);

#endif
