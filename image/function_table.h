/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IMAGE_FUNCTION_TABLE_H
#define IMAGE_FUNCTION_TABLE_H

#include <gelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The functions of a symbol table, to be found by address: add all, sort once,
 * then find.  Names are the caller's, and must outlive the table.
 */
struct function_table {
	struct table_function *functions;
	size_t n, cap;
};

void function_table_release(struct function_table *t);

/* Is it a function that the file defines? */
bool function_table_takes(const GElf_Sym *symbol);
/* @address: where it is, if that is not the symbol's value. */
void function_table_add(struct function_table *t, const char *name, const GElf_Sym *symbol,
			uint64_t address);
void function_table_sort(struct function_table *t);

/* The function that covers @address, or NULL; of several names of one the plainest. */
const char *function_table_find(const struct function_table *t, uint64_t address);

#endif
