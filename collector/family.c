/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/family.h"

#include "common/xalloc.h"
#include "store/record.h"

static const struct family_function glibc_functions[] = {
	{.symbol = "malloc", .op = PROBE_ALLOC, .size = 1},
	{.symbol = "free", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "calloc", .op = PROBE_ALLOC, .size = 2, .factor = 1},
	{.symbol = "realloc", .op = PROBE_REALLOC, .size = 2, .pointer = 1},
	{.symbol = "reallocarray", .op = PROBE_REALLOC, .size = 3, .factor = 2, .pointer = 1},
	{.symbol = "posix_memalign", .op = PROBE_ALLOC_OUT, .size = 3, .pointer = 1},
	{.symbol = "aligned_alloc", .op = PROBE_ALLOC, .size = 2},
	{.symbol = "memalign", .op = PROBE_ALLOC, .size = 2},
	{.symbol = "valloc", .op = PROBE_ALLOC, .size = 1},
	{.symbol = "pvalloc", .op = PROBE_ALLOC, .size = 1},
};

const struct family families[] = {
	{
		.id = 1,
		.name = "libc malloc",
		.layer = LAYER_HEAP,
		.layer_name = "heap",
		.soname = "libc.so.6",
		.static_symbol = "__libc_memalign", /* glibc's alone */
		.usable = USABLE_RULE_GLIBC,
		.realloc_0_frees = true,
		.functions = glibc_functions,
		.n_functions = COUNT_OF(glibc_functions),
	},
};
const size_t n_families = COUNT_OF(families);

const struct family *user_families;
size_t n_user_families;

void families_set_user(const struct family *f, size_t n)
{
	user_families = f;
	n_user_families = n;
}

uint64_t families_above_heap(void)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < n_user_families; i++)
		if (user_families[i].layer != LAYER_HEAP)
			bits |= 1ull << (user_families[i].id & 63);
	return bits;
}

const struct family *family_by_id(uint8_t id)
{
	if (id >= FAMILY_USER_FIRST)
		return (size_t)id - FAMILY_USER_FIRST < n_user_families
			       ? &user_families[id - FAMILY_USER_FIRST]
			       : NULL;
	for (size_t i = 0; i < n_families; i++)
		if (families[i].id == id)
			return &families[i];
	return NULL;
}

unsigned int family_function_arguments(const struct family_function *f)
{
	bool is_constant = f->factor >= COOKIE_CONSTANT_FACTOR;
	const uint8_t arguments[] = {is_constant ? 0 : f->size, is_constant ? 0 : f->factor,
				     f->pointer, f->pool};
	unsigned int bits = 0;

	for (size_t i = 0; i < COUNT_OF(arguments); i++)
		if (arguments[i])
			bits |= 1u << (arguments[i] - 1);
	return bits;
}

bool family_function_returns(const struct family_function *f)
{
	return !family_function_frees(f) && f->op != PROBE_ALLOC_ENTRY;
}

bool family_function_frees(const struct family_function *f)
{
	return f->op == PROBE_FREE || f->op == PROBE_POOL_RESET || f->op == PROBE_POOL_DESTROY;
}

uint64_t family_cookie(const struct family *family, const struct family_function *f,
		       uint32_t stack_bytes)
{
	return PROBE_COOKIE(f->op, family->layer, family->id, f - family->functions, f->size,
			    f->factor, f->pointer, family->usable, stack_bytes / 8) |
	       COOKIE_WITH_POOL(f->pool) | COOKIE_WITH_OK(f->ok);
}

uint64_t family_usable(const struct family *family, uint64_t size_word)
{
	enum { IS_MMAPPED = 2, FLAGS = 7 };
	uint64_t chunk = size_word & ~(uint64_t)FLAGS;

	if (!family || family->usable != USABLE_RULE_GLIBC || chunk < 16)
		return USABLE_UNKNOWN;
	/* a chunk of the heap also has the next one's first word */
	return chunk - (size_word & IS_MMAPPED ? 16 : 8);
}

static void put(struct store_writer *w, const struct family *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		store_writer_put_family(w, &(struct family_record){
			.id = f[i].id,
			.name = f[i].name,
			.layer = f[i].layer_name,
		});
}

void families_put(struct store_writer *w)
{
	put(w, families, n_families);
	put(w, user_families, n_user_families);
}
