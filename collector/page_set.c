/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/page_set.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

#define LEAF_PAGES (PAGE_SET_LEAF_WORDS * 64)

typedef uint64_t leaf[PAGE_SET_LEAF_WORDS];

static leaf *find(const struct page_set *s, uint64_t number)
{
	uint32_t i = hashmap_get(&s->leaf_of, number);

	return i == HASHMAP_NONE ? NULL : s->leaves[i];
}

static leaf *make(struct page_set *s, uint64_t number)
{
	uint32_t *i = hashmap_put(&s->leaf_of, number);

	if (*i == HASHMAP_NONE) {
		*i = (uint32_t)s->n_leaves;
		ARRAY_GROW(s->leaves, s->cap_leaves, s->n_leaves);
		s->leaves[s->n_leaves++] = xcalloc(1, sizeof(leaf));
	}
	s->last_number = number;
	s->last = s->leaves[*i];
	return s->last;
}

/* The pages @from to before @to that one word has: how many; *@ret: their bits. */
static size_t bits_of_word(size_t from, size_t to, uint64_t *ret)
{
	size_t n = 64 - from % 64 < to - from ? 64 - from % 64 : to - from;

	*ret = (n == 64 ? ~0ull : (1ull << n) - 1) << from % 64;
	return n;
}

/* The pages @from to before @to of a leaf. */
static void set_bits(uint64_t *words, size_t from, size_t to)
{
	uint64_t bits;

	for (size_t n; from < to; from += n) {
		n = bits_of_word(from, to, &bits);
		words[from / 64] |= bits;
	}
}

static void clear_bits(uint64_t *words, size_t from, size_t to)
{
	uint64_t bits;

	for (size_t n; from < to; from += n) {
		n = bits_of_word(from, to, &bits);
		words[from / 64] &= ~bits;
	}
}

void page_set_add(struct page_set *s, uint64_t start, uint64_t end)
{
	uint64_t page = start / PAGE_SET_PAGE, last = (end - 1) / PAGE_SET_PAGE;

	if (end <= start)
		return;
	while (page <= last) {
		uint64_t number = page / LEAF_PAGES, behind = (number + 1) * LEAF_PAGES;
		leaf *l = s->last && s->last_number == number ? s->last : make(s, number);

		if (behind > last + 1)
			behind = last + 1;
		set_bits(*l, page % LEAF_PAGES, (behind - 1) % LEAF_PAGES + 1);
		page = behind;
	}
}

void page_set_remove(struct page_set *s, uint64_t start, uint64_t end)
{
	uint64_t page = start / PAGE_SET_PAGE + (start % PAGE_SET_PAGE != 0);

	while (page < end / PAGE_SET_PAGE) {
		uint64_t behind = (page / LEAF_PAGES + 1) * LEAF_PAGES;
		leaf *l = find(s, page / LEAF_PAGES);

		if (behind > end / PAGE_SET_PAGE)
			behind = end / PAGE_SET_PAGE;
		if (l)
			clear_bits(*l, page % LEAF_PAGES, (behind - 1) % LEAF_PAGES + 1);
		page = behind;
	}
}

/* The first page from @page on, before @limit, of which the bit is @bit; or @limit. */
static uint64_t first_page(const struct page_set *s, uint64_t page, uint64_t limit, bool bit)
{
	while (page < limit) {
		const leaf *l = find(s, page / LEAF_PAGES);
		uint64_t word;

		if (!l) {
			if (!bit)
				return page;
			page = (page / LEAF_PAGES + 1) * LEAF_PAGES;
			continue;
		}
		word = (*l)[page % LEAF_PAGES / 64];
		word = (bit ? word : ~word) >> page % 64;
		if (word) {
			page += (unsigned int)__builtin_ctzll(word);
			break;
		}
		page = (page | 63) + 1;
	}
	return page < limit ? page : limit;
}

bool page_set_next(const struct page_set *s, uint64_t from, uint64_t end, uint64_t *ret_start,
		   uint64_t *ret_end)
{
	uint64_t limit, page, behind;

	if (from >= end)
		return false;
	limit = (end - 1) / PAGE_SET_PAGE + 1;
	page = first_page(s, from / PAGE_SET_PAGE, limit, true);
	if (page == limit)
		return false;
	behind = first_page(s, page, limit, false);
	*ret_start = page * PAGE_SET_PAGE > from ? page * PAGE_SET_PAGE : from;
	*ret_end = behind * PAGE_SET_PAGE < end ? behind * PAGE_SET_PAGE : end;
	return true;
}

void page_set_release(struct page_set *s)
{
	for (size_t i = 0; i < s->n_leaves; i++)
		free(s->leaves[i]);
	free(s->leaves);
	hashmap_release(&s->leaf_of);
	memset(s, 0, sizeof(*s));
}
