/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "image/function_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

struct table_function {
	uint64_t address, size;
	const char *name;
	uint8_t rank; /* of several at one address the highest is shown */
};

void function_table_release(struct function_table *t)
{
	free(t->functions);
	*t = (struct function_table){0};
}

bool function_table_takes(const GElf_Sym *symbol)
{
	unsigned int type = GELF_ST_TYPE(symbol->st_info);

	return symbol->st_shndx != SHN_UNDEF && symbol->st_value &&
	       (type == STT_FUNC || type == STT_GNU_IFUNC);
}

void function_table_add(struct function_table *t, const char *name, const GElf_Sym *symbol,
			uint64_t address)
{
	unsigned int bind = GELF_ST_BIND(symbol->st_info);
	unsigned int rank = bind == STB_GLOBAL ? 2 : bind == STB_WEAK ? 1 : 0;

	if (name[0] != '_') /* malloc rather than __libc_malloc */
		rank += 3;
	ARRAY_GROW(t->functions, t->cap, t->n);
	t->functions[t->n++] = (struct table_function){.address = address,
						       .size = symbol->st_size,
						       .name = name,
						       .rank = (uint8_t)rank};
}

static int by_address(const void *a, const void *b)
{
	const struct table_function *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? 1 : -1;
	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return strncmp(x->name, y->name, 64); /* thousands of long ones may be made equal */
}

void function_table_sort(struct function_table *t)
{
	size_t n = 0;

	if (t->n)
		qsort(t->functions, t->n, sizeof(*t->functions), by_address);
	for (size_t i = 0; i < t->n; i++)
		if (!n || t->functions[n - 1].address != t->functions[i].address)
			t->functions[n++] = t->functions[i];
	t->n = n;
}

const char *function_table_find(const struct function_table *t, uint64_t address)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) { /* the first above @address */
		size_t mid = lo + (hi - lo) / 2;

		if (t->functions[mid].address <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* an inner label may stand before the one that covers it */
	for (size_t back = 0; lo > 0 && back < 4; lo--, back++) {
		const struct table_function *f = &t->functions[lo - 1];

		if (address - f->address < f->size || (!f->size && !back))
			return f->name;
	}
	return NULL;
}
