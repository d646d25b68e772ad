/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "analyzer/block_kinds.h"

#include <string.h>

#include "common/xalloc.h"

static const struct {
	const char *name, *text;
} words[BLOCK_KINDS] = {
	[BLOCK_NOT_LOOKED_AT] = {NULL, "not looked at"},
	[BLOCK_DEFINITE] = {"definite", "definitely lost"},
	[BLOCK_INDIRECT] = {"indirect", "indirectly lost"},
	[BLOCK_POSSIBLE] = {"possible", "possibly lost"},
	[BLOCK_REACHABLE] = {"reachable", "still reachable"},
};

int block_kinds_read(struct block_kinds *k, struct store_reader *r, struct err *err)
{
	int found = store_reader_reachability(r, &k->record, err);

	k->is_there = found > 0;
	return found < 0 ? found : 0;
}

void block_kinds_release(struct block_kinds *k)
{
	reachability_release(&k->record);
	k->is_there = false;
}

enum block_kind block_kinds_of(const struct block_kinds *k, uint64_t address, uint64_t t_ns)
{
	const struct reachability_record *r = &k->record;
	uint64_t low = 0, high = r->n;

	if (!k->is_there || t_ns > r->t_ns)
		return BLOCK_NOT_LOOKED_AT;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (r->addresses[middle] < address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == r->n || r->addresses[low] != address)
		return BLOCK_NOT_LOOKED_AT;
	return r->kinds[low];
}

const char *block_kind_name(enum block_kind kind)
{
	return words[kind].name;
}

const char *block_kind_text(enum block_kind kind)
{
	return words[kind].text;
}

static unsigned int bits_of(const char *name, size_t len)
{
	if (len == 3 && !strncmp(name, "all", len))
		return BLOCK_KINDS_ALL;
	for (unsigned int i = 0; i < BLOCK_KINDS; i++)
		if (words[i].name && strlen(words[i].name) == len &&
		    !strncmp(words[i].name, name, len))
			return 1u << i;
	return 0;
}

bool block_kinds_parse(const char *text, unsigned int *ret, const char **ret_bad, int *ret_len)
{
	*ret = 0;
	if (!strcmp(text, "none"))
		return true;
	do {
		size_t len = strcspn(text, ",");
		unsigned int bits = bits_of(text, len);

		*ret_bad = text;
		*ret_len = (int)len;
		if (!bits)
			return false;
		*ret |= bits;
		text += len;
	} while (*text++);
	return true;
}
