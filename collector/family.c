/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/family.h"

#include <string.h>

#include "common/xalloc.h"
#include "store/layers.h"
#include "store/record.h"

/* What C's allocators all have, @prefix before it where they are not in libc's place. */
#define C_FUNCTIONS(prefix) \
	{.symbol = prefix "malloc", .op = PROBE_ALLOC, .size = 1}, \
	{.symbol = prefix "free", .op = PROBE_FREE, .pointer = 1}, \
	{.symbol = prefix "calloc", .op = PROBE_ALLOC, .size = 2, .factor = 1}, \
	{.symbol = prefix "realloc", .op = PROBE_REALLOC, .size = 2, .pointer = 1}, \
	{.symbol = prefix "reallocarray", .op = PROBE_REALLOC, .size = 3, .factor = 2, \
	 .pointer = 1}, \
	{.symbol = prefix "posix_memalign", .op = PROBE_ALLOC_OUT, .size = 3, .pointer = 1, \
	 .aligns = true}, \
	{.symbol = prefix "aligned_alloc", .op = PROBE_ALLOC, .size = 2, .aligns = true}, \
	{.symbol = prefix "memalign", .op = PROBE_ALLOC, .size = 2, .aligns = true}, \
	{.symbol = prefix "valloc", .op = PROBE_ALLOC, .size = 1, .aligns = true}, \
	{.symbol = prefix "pvalloc", .op = PROBE_ALLOC, .size = 1, .aligns = true}

#define NEW(symbol_, ...) \
	{.symbol = symbol_, .op = PROBE_ALLOC, .size = 1, .throws = true, __VA_ARGS__}
#define DELETE(symbol_) {.symbol = symbol_, .op = PROBE_FREE, .pointer = 1}

/* operator new and delete, of allocators that have their own */
#define CXX_FUNCTIONS \
	NEW("_Znwm"), NEW("_Znam"), NEW("_ZnwmRKSt9nothrow_t"), NEW("_ZnamRKSt9nothrow_t"), \
	NEW("_ZnwmSt11align_val_t", .aligns = true), \
	NEW("_ZnamSt11align_val_t", .aligns = true), \
	NEW("_ZnwmSt11align_val_tRKSt9nothrow_t", .aligns = true), \
	NEW("_ZnamSt11align_val_tRKSt9nothrow_t", .aligns = true), \
	DELETE("_ZdlPv"), DELETE("_ZdaPv"), DELETE("_ZdlPvm"), DELETE("_ZdaPvm"), \
	DELETE("_ZdlPvRKSt9nothrow_t"), DELETE("_ZdaPvRKSt9nothrow_t"), \
	DELETE("_ZdlPvSt11align_val_t"), DELETE("_ZdaPvSt11align_val_t"), \
	DELETE("_ZdlPvmSt11align_val_t"), DELETE("_ZdaPvmSt11align_val_t"), \
	DELETE("_ZdlPvSt11align_val_tRKSt9nothrow_t"), \
	DELETE("_ZdaPvSt11align_val_tRKSt9nothrow_t")

static const struct family_function libc_functions[] = {
	C_FUNCTIONS(""),
};

static const struct family_function jemalloc_functions[] = {
	C_FUNCTIONS(""), CXX_FUNCTIONS,
	{.symbol = "mallocx", .op = PROBE_ALLOC, .size = 1, .aligns = true},
	{.symbol = "rallocx", .op = PROBE_REALLOC, .size = 2, .pointer = 1, .aligns = true},
	{.symbol = "xallocx", .op = PROBE_RESIZE, .size = 2, .pointer = 1},
	{.symbol = "dallocx", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "sdallocx", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "free_sized", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "free_aligned_sized", .op = PROBE_FREE, .pointer = 1},
};

static const struct family_function tcmalloc_functions[] = {
	C_FUNCTIONS(""), CXX_FUNCTIONS, C_FUNCTIONS("tc_"),
	{.symbol = "cfree", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "tc_cfree", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "tc_free_sized", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "tc_malloc_skip_new_handler", .op = PROBE_ALLOC, .size = 1},
	NEW("tc_new"), NEW("tc_newarray"), NEW("tc_new_nothrow"), NEW("tc_newarray_nothrow"),
	NEW("tc_new_aligned", .aligns = true), NEW("tc_newarray_aligned", .aligns = true),
	NEW("tc_new_aligned_nothrow", .aligns = true),
	NEW("tc_newarray_aligned_nothrow", .aligns = true),
	DELETE("tc_delete"), DELETE("tc_deletearray"),
	DELETE("tc_delete_sized"), DELETE("tc_deletearray_sized"),
	DELETE("tc_delete_nothrow"), DELETE("tc_deletearray_nothrow"),
	DELETE("tc_delete_aligned"), DELETE("tc_deletearray_aligned"),
	DELETE("tc_delete_sized_aligned"), DELETE("tc_deletearray_sized_aligned"),
	DELETE("tc_delete_aligned_nothrow"), DELETE("tc_deletearray_aligned_nothrow"),
};

static const struct family_function mimalloc_functions[] = {
	C_FUNCTIONS(""), CXX_FUNCTIONS, C_FUNCTIONS("mi_"),
	{.symbol = "cfree", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "vfree", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "reallocf", .op = PROBE_REALLOC, .size = 2, .pointer = 1},
	NEW("mi_new"), NEW("mi_new_nothrow"), NEW("mi_new_aligned", .aligns = true),
	NEW("mi_new_aligned_nothrow", .aligns = true),
	{.symbol = "mi_new_n", .op = PROBE_ALLOC, .size = 2, .factor = 1, .throws = true},
	{.symbol = "mi_malloc_small", .op = PROBE_ALLOC, .size = 1},
	{.symbol = "mi_zalloc_small", .op = PROBE_ALLOC, .size = 1},
	{.symbol = "mi_zalloc", .op = PROBE_ALLOC, .size = 1},
	{.symbol = "mi_mallocn", .op = PROBE_ALLOC, .size = 2, .factor = 1},
	{.symbol = "mi_malloc_aligned", .op = PROBE_ALLOC, .size = 1, .aligns = true},
	{.symbol = "mi_zalloc_aligned", .op = PROBE_ALLOC, .size = 1, .aligns = true},
	{.symbol = "mi_calloc_aligned", .op = PROBE_ALLOC, .size = 2, .factor = 1, .aligns = true},
	{.symbol = "mi_heap_malloc", .op = PROBE_ALLOC, .size = 2},
	{.symbol = "mi_heap_zalloc", .op = PROBE_ALLOC, .size = 2},
	{.symbol = "mi_heap_calloc", .op = PROBE_ALLOC, .size = 3, .factor = 2},
	{.symbol = "mi_heap_mallocn", .op = PROBE_ALLOC, .size = 3, .factor = 2},
	{.symbol = "mi_heap_malloc_small", .op = PROBE_ALLOC, .size = 2},
	{.symbol = "mi_heap_malloc_aligned", .op = PROBE_ALLOC, .size = 2, .aligns = true},
	{.symbol = "mi_heap_realloc", .op = PROBE_REALLOC, .size = 3, .pointer = 2},
	{.symbol = "mi_reallocn", .op = PROBE_REALLOC, .size = 3, .factor = 2, .pointer = 1},
	{.symbol = "mi_reallocf", .op = PROBE_REALLOC, .size = 2, .pointer = 1},
	{.symbol = "mi_rezalloc", .op = PROBE_REALLOC, .size = 2, .pointer = 1},
	{.symbol = "mi_recalloc", .op = PROBE_REALLOC, .size = 3, .factor = 2, .pointer = 1},
	{.symbol = "mi_realloc_aligned", .op = PROBE_REALLOC, .size = 2, .pointer = 1,
	 .aligns = true},
	{.symbol = "mi_cfree", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "mi_free_size", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "mi_free_aligned", .op = PROBE_FREE, .pointer = 1},
	{.symbol = "mi_free_size_aligned", .op = PROBE_FREE, .pointer = 1},
};

/* An object is the first of its layer that it looks like: several export each other's names. */
const struct family families[] = {
	{
		.id = 2,
		.name = "jemalloc",
		.name_in_program = "static jemalloc",
		.is_library = true,
		.layer = LAYER_HEAP,
		.layer_name = "heap",
		.markers = {"mallocx", "je_mallocx"},
		.prefix = "je_",
		.usable = USABLE_RULE_JEMALLOC,
		.realloc_0_frees = true,
		.functions = jemalloc_functions,
		.n_functions = COUNT_OF(jemalloc_functions),
	},
	{
		.id = 3,
		.name = "tcmalloc",
		.name_in_program = "static tcmalloc",
		.is_library = true,
		.layer = LAYER_HEAP,
		.layer_name = "heap",
		.markers = {"tc_malloc"},
		.usable = USABLE_RULE_TCMALLOC,
		.realloc_0_frees = true,
		.functions = tcmalloc_functions,
		.n_functions = COUNT_OF(tcmalloc_functions),
	},
	{
		.id = 4,
		.name = "mimalloc",
		.name_in_program = "static mimalloc",
		.is_library = true,
		.layer = LAYER_HEAP,
		.layer_name = "heap",
		.markers = {"mi_malloc"},
		.usable = USABLE_RULE_MIMALLOC,
		.functions = mimalloc_functions,
		.n_functions = COUNT_OF(mimalloc_functions),
	},
	{
		.id = FAMILY_LIBC,
		.name = "libc malloc",
		.name_in_program = "static glibc",
		.layer = LAYER_HEAP,
		.layer_name = "heap",
		.soname = "libc.so.6",
		.markers = {"__libc_memalign"}, /* glibc's alone */
		.symbol = "malloc",
		.usable = USABLE_RULE_GLIBC,
		.realloc_0_frees = true,
		.functions = libc_functions,
		.n_functions = COUNT_OF(libc_functions),
	},
	{
		.id = 5,
		.name = "musl malloc",
		.name_in_program = "static musl",
		.layer = LAYER_HEAP,
		.layer_name = "heap",
		.markers = {"__libc_malloc_impl", "__dls3"},
		.symbol = "malloc",
		.usable = USABLE_RULE_REQUESTED,
		.functions = libc_functions,
		.n_functions = COUNT_OF(libc_functions),
	},
};
const size_t n_families = COUNT_OF(families);

static bool is_family(struct elf_file *elf, const struct family *family)
{
	const char *soname = elf_file_soname(elf);

	if (family->soname && soname)
		return !strcmp(soname, family->soname);
	if (family->symbol && !elf_file_find_function(elf, family->symbol, NULL))
		return false;
	for (size_t i = 0; i < COUNT_OF(family->markers) && family->markers[i]; i++)
		if (elf_file_find_function(elf, family->markers[i], NULL))
			return true;
	return false;
}

const struct family *family_of_file(struct elf_file *elf)
{
	for (size_t i = 0; i < n_families; i++)
		if (is_family(elf, &families[i]))
			return &families[i];
	return NULL;
}

const struct family *user_families;
size_t n_user_families;

void families_set_user(const struct family *f, size_t n)
{
	user_families = f;
	n_user_families = n;
}

const struct family_record mapping_families[] = {
	{FAMILY_ANONYMOUS, "mmap anonymous", LAYERS_MMAP},
	{FAMILY_FILE, "mmap file", LAYERS_MMAP},
	{FAMILY_BREAK, "brk", LAYERS_MMAP},
	{FAMILY_SEGMENT, "shmat", LAYERS_MMAP},
	{FAMILY_THREAD_STACK, "thread stack", LAYERS_MMAP},
	{FAMILY_LOADER, "loader", LAYERS_MMAP},
	{FAMILY_ALLOCATOR, "allocator", LAYERS_MMAP},
};
size_t n_mapping_families;

void families_set_mappings(bool on)
{
	n_mapping_families = on ? COUNT_OF(mapping_families) : 0;
}

uint64_t families_above_heap(void)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < n_mapping_families; i++)
		bits |= 1ull << mapping_families[i].id;
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

static bool has_op(const struct family *family, enum probe_op op)
{
	for (size_t i = 0; i < family->n_functions; i++)
		if (family->functions[i].op == op)
			return true;
	return false;
}

/* Are there pools in its layer, which are emptied, or end? */
static bool has_pools_that_end(const struct family *family)
{
	for (size_t i = 0; i < n_user_families; i++)
		if (user_families[i].layer == family->layer &&
		    (has_op(&user_families[i], PROBE_POOL_RESET) ||
		     has_op(&user_families[i], PROBE_POOL_DESTROY)))
			return true;
	return false;
}

bool family_frees(const struct family *family)
{
	bool in_pools = false;

	for (size_t i = 0; i < family->n_functions; i++) {
		if (family_function_frees(&family->functions[i]))
			return true;
		in_pools |= family->functions[i].pool != 0;
	}
	/* one function for all, as Lua's; beside an alloc it need not be */
	if (has_op(family, PROBE_REALLOC) && !has_op(family, PROBE_ALLOC) &&
	    !has_op(family, PROBE_ALLOC_OUT))
		return true;
	return in_pools && has_pools_that_end(family);
}

bool family_takes_back(const struct family *family)
{
	return family->kind == FAMILY_BLOCKS &&
	       (has_op(family, PROBE_FREE) || has_op(family, PROBE_REALLOC));
}

uint64_t family_cookie(const struct family *family, const struct family_function *f,
		       uint32_t stack_bytes, bool at_exits)
{
	uint64_t cookie = PROBE_COOKIE(f->op, family->layer, family->id, f - family->functions,
				       f->size, f->factor, f->pointer,
				       f->aligns && family->usable != USABLE_RULE_GLIBC &&
						       family->usable != USABLE_RULE_REQUESTED
					       ? USABLE_RULE_NONE
					       : family->usable,
				       stack_bytes / 8);

	cookie |= COOKIE_WITH_POOL(f->pool) | COOKIE_WITH_OK(f->ok);
	return at_exits ? cookie | PROBE_COOKIE_EXIT(0, -1) : cookie;
}

uint64_t family_exit_cookie(const struct family *family, const struct family_function *f,
			    const struct exit_site *exit)
{
	return PROBE_COOKIE(f->op, family->layer, family->id, 0, 0, 0, 0, 0,
			    exit->stack_bytes / 8) |
	       PROBE_COOKIE_EXIT(exit->reg, exit->condition);
}

bool families_have(const char *name)
{
	for (size_t i = 0; i < n_families; i++)
		for (size_t j = 0; j < families[i].n_functions; j++)
			if (!strcmp(families[i].functions[j].symbol, name))
				return true;
	return false;
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
	for (size_t i = 0; i < n_mapping_families; i++)
		store_writer_put_family(w, &mapping_families[i]);
	put(w, user_families, n_user_families);
}
