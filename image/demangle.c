/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/demangle.h"

#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

/* A hostile name may demangle to something endless. */
#define SYMBOL_BYTES_MAX 4096

char *demangle(const char *symbol)
{
	char *name = NULL;

	if (symbol[0] == '_' && strlen(symbol) <= SYMBOL_BYTES_MAX)
		name = cplus_demangle(symbol, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
	return name ? name : xstrdup(symbol);
}

char *demangled_caller(struct elf_file *elf, uint64_t return_address)
{
	/* a return address may be the first byte of the next function */
	const char *symbol = elf_file_function_at(elf, return_address - 1);

	return symbol ? demangle(symbol) : NULL;
}
