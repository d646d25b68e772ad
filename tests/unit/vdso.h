/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_VDSO_H
#define TESTS_UNIT_VDSO_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>

/* The ELF image that the kernel has mapped into us; its section headers are its last bytes. */
static inline const uint8_t *vdso_image(size_t *ret_len)
{
	uintptr_t at = getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)at;

	*ret_len = at ? header->e_shoff + (size_t)header->e_shnum * header->e_shentsize : 0;
	return (const uint8_t *)at;
}

#endif
