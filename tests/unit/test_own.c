/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose allocation it is, and the rows that are made of it. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/own.h"
#include "analyzer/rows.h"
#include "common/xalloc.h"
#include "tests/unit/catalog_fixture.h"
#include "tests/unit/tap.h"

enum { NOWHERE, PROGRAM, LIBC, LIBSTDCXX, PLUG_IN, MODULES };

static struct module_record modules[MODULES] = {
	[PROGRAM] = {.path = "/usr/bin/program"},
	[LIBC] = {.path = "/usr/lib/libc.so.6"},
	[LIBSTDCXX] = {.path = "/usr/lib/libstdc++.so.6.0.30"},
	[PLUG_IN] = {.path = "/usr/lib/libcache.so"},
};

#define GROUPS 16

static struct group groups[GROUPS];
static struct analysis analysis = {.groups = groups};
static struct own own;
static struct rows rows;

static void begin(void)
{
	forget();
	catalog.modules = modules;
	catalog.n_modules = MODULES;
	memset(groups, 0, sizeof(groups));
	analysis.n_groups = 0;
	memset(&analysis.totals, 0, sizeof(analysis.totals));
}

static void add(uint32_t stack, uint64_t bytes)
{
	struct group *g = &groups[analysis.n_groups++];

	g->key = stack;
	g->totals.alloc_calls = 1;
	g->totals.allocated_bytes = bytes;
	heap_totals_add(&analysis.totals, &g->totals);
}

static uint32_t place(uint32_t module, const char *function, const char *file, uint32_t line)
{
	uint32_t id = frame(module, function);

	frames[id].file = file;
	frames[id].line = line;
	return id;
}

/* @inner is inlined into a function that has no frame of its own. */
static void inline_into(uint32_t inner, const char *function, const char *file, uint32_t line)
{
	uint32_t outer = place(frames[inner].module.v, function, file, line);

	frames[outer].offset = frames[inner].offset;
	frames[inner].outer.v = outer;
	frames[inner].is_inlined = true;
}

/* ---- the rules ---------------------------------------------------------------------- */

static void test_rules(void)
{
	static const char *const skip[] = {"my_*", "ns::pool<*"};
	static const struct {
		uint32_t module;
		const char *function, *file;
		enum skip_reason reason;
	} cases[] = {
		{LIBC, "qsort", NULL, SKIP_LIBRARY},
		{LIBC, NULL, NULL, SKIP_LIBRARY},
		{LIBSTDCXX, "operator new(unsigned long)", NULL, SKIP_LIBRARY},
		{PROGRAM, "main", NULL, SKIP_NONE},
		{PROGRAM, NULL, NULL, SKIP_NONE},
		{NOWHERE, NULL, NULL, SKIP_NONE},
		{PROGRAM, "malloc", NULL, SKIP_LIBRARY},
		{PROGRAM, "malloc_usage", NULL, SKIP_NONE},
		{PROGRAM, "strdup", NULL, SKIP_LIBRARY},
		{PROGRAM, "operator new[](unsigned long, std::nothrow_t const&)", NULL,
		 SKIP_LIBRARY},
		{PROGRAM, "std::vector<int, std::allocator<int> >::reserve(unsigned long)", NULL,
		 SKIP_LIBRARY},
		{PROGRAM, "void std::vector<int>::_M_realloc_insert<int>(int*, int&&)", NULL,
		 SKIP_LIBRARY},
		{PROGRAM, "std::pair<int, char> const* std::copy<int (*)(int)>(int)", NULL,
		 SKIP_LIBRARY},
		{PROGRAM, "std::string app::name<int>(int)", NULL, SKIP_NONE},
		{PROGRAM, "app::f(std::string const&)", NULL, SKIP_NONE},
		{PROGRAM, "stdlike::f()", NULL, SKIP_NONE},
		{PROGRAM, "allocate", "/usr/include/c++/12/bits/new_allocator.h", SKIP_LIBRARY},
		{PROGRAM, "allocate", "/home/me/c++/new_allocator.h", SKIP_NONE},
		{PROGRAM, "<alloc::vec::Vec<T> as core::clone::Clone>::clone", NULL, SKIP_LIBRARY},
		{PROGRAM, "alloc::raw_vec::finish_grow", NULL, SKIP_LIBRARY},
		{PROGRAM, "xmalloc", NULL, SKIP_WRAPPER},
		{PLUG_IN, "g_malloc0", NULL, SKIP_WRAPPER},
		{PROGRAM, "app::g_malloc0", NULL, SKIP_NONE},
		{PROGRAM, "my_alloc", NULL, SKIP_USER},
		{PROGRAM, "void* ns::pool<int>::get<char>(int)", NULL, SKIP_USER},
		{LIBC, "my_alloc", NULL, SKIP_USER},
		{PROGRAM, "not_my_alloc", NULL, SKIP_NONE},
		{PROGRAM, "", NULL, SKIP_NONE},
		{PROGRAM, "operator", NULL, SKIP_NONE},
		{PROGRAM, "<my::Reader as std::io::Read>::read", NULL, SKIP_NONE},
		{PROGRAM, "<alloc::vec::Vec<T> as std::io::Write>::write", NULL, SKIP_LIBRARY},
		{PROGRAM, "Foo::operator std::string() const", NULL, SKIP_NONE},
		{PROGRAM, "operator std::string", NULL, SKIP_NONE},
		{PROGRAM, "Foo::operator new(unsigned long)", NULL, SKIP_NONE},
		{PROGRAM, "<<<>>>->(((", NULL, SKIP_NONE},
		/* not demangled */
		{PROGRAM, "_Znwm", NULL, SKIP_LIBRARY},
		{PROGRAM, "_ZdaPvm", NULL, SKIP_LIBRARY},
		{PROGRAM, "_ZNSt6vectorIiSaIiEE7reserveEm", NULL, SKIP_LIBRARY},
		{PROGRAM, "_ZNKSs4copyEPcmm", NULL, SKIP_LIBRARY},
		{PROGRAM, "_ZSt4copyIPiS0_ET0_T_S2_S1_", NULL, SKIP_LIBRARY},
		{PROGRAM, "_ZN5alloc7raw_vec11finish_grow17h0123456789abcdefE", NULL,
		 SKIP_LIBRARY},
		{PROGRAM, "_ZN60_$LT$alloc..string..String$u20$as$u20$core..clone..Clone$GT$5clone"
			  "17h0123456789abcdefE", NULL, SKIP_LIBRARY},
		{PROGRAM, "_ZN3app4loadESt6vectorIiSaIiEE", NULL, SKIP_NONE},
		{PROGRAM, "_Z4loadSs", NULL, SKIP_NONE},
		{PROGRAM, "_ZN7corelib4loadEv", NULL, SKIP_NONE},
		{PROGRAM, "_ZN3app9my_reserveEv", NULL, SKIP_NONE},
	};

	begin();
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		place(cases[i].module, cases[i].function, cases[i].file, 0);
	own_init(&own, &catalog, skip, COUNT_OF(skip));
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		ok(own_skips(&own, (struct frame_id){(uint32_t)i + 1}) == cases[i].reason,
		   "%s in %s %s",
		   cases[i].function ? cases[i].function : "no name",
		   modules[cases[i].module].path ? modules[cases[i].module].path : "no file",
		   cases[i].reason == SKIP_NONE ? "is own" : "is skipped");
	ok(own_skips(&own, (struct frame_id){UINT32_MAX}) == SKIP_NONE, "no frame is own");
	own_release(&own);
}

/* ---- stacks ------------------------------------------------------------------------- */

static size_t own_of(uint32_t stack)
{
	struct stack_walk w;

	stacks_walk(&catalog, (struct stack_id){stack}, &w);
	return own_frame(&own, &w);
}

static void test_own_frame(void)
{
	uint32_t main_frame, wrapped, library, inlined, walk_of;
	struct stack_walk w;

	begin();
	main_frame = push(0, frame(PROGRAM, "main"), 0);
	wrapped = push(push(main_frame, frame(PROGRAM, "xmalloc"), 0), frame(LIBC, "strdup"), 0);
	library = push(push(0, frame(LIBC, "_start"), 0), frame(LIBC, "init"), 0);
	walk_of = frame(PROGRAM, "operator new(unsigned long)");
	inline_into(walk_of, "std::vector<int>::reserve(unsigned long)", "vector.h", 7);
	inline_into(frames[walk_of].outer.v, "app::fill()", "app.cc", 9);
	inlined = push(main_frame, walk_of, 0);
	own_init(&own, &catalog, NULL, 0);
	ok(own_of(main_frame) == 0, "nothing to skip");
	ok(own_of(wrapped) == 2, "a library's function and a wrapper are skipped");
	ok(own_of(library) == 0, "where all are, it is the innermost");
	ok(own_of(0) == 0 && own_of(UINT32_MAX) == 0, "no stack");
	stacks_walk(&catalog, (struct stack_id){inlined}, &w);
	ok(w.n == 4 && w.end == STACK_COMPLETE && own_frame(&own, &w) == 2 &&
		   !strcmp(catalog_frame(&catalog, w.frames[2])->function, "app::fill()") &&
		   !strcmp(catalog_frame(&catalog, w.frames[3])->function, "main"),
	   "inlined functions are functions");
	own_release(&own);
}

static void make(enum rows_by by, bool inclusive)
{
	own_init(&own, &catalog, NULL, 0);
	rows_make(&rows, &catalog, &analysis, &own, by, inclusive);
	rows_sort(&rows, "name");
	own_release(&own);
}

static bool is_row(size_t i, const char *name, uint64_t bytes)
{
	if (i < rows.n && !strcmp(rows.rows[i].name, name) &&
	    rows.rows[i].totals.allocated_bytes == bytes)
		return true;
	for (size_t k = 0; k < rows.n; k++)
		diag("row %zu: '%s' %llu", k, rows.rows[k].name,
		     (unsigned long long)rows.rows[k].totals.allocated_bytes);
	return false;
}

static void test_rows(void)
{
	uint32_t top, recursive, header;

	begin();
	top = push(0, place(PROGRAM, "main", "/src/a/main.c", 1), 0);
	add(push(top, frame(LIBC, "malloc"), 0), 1);
	add(push(push(top, place(PROGRAM, "load", "/src/b/main.c", 2), 0), frame(LIBC, "strdup"), 0), 2);
	header = place(PLUG_IN, "copy", "/src/list.h", 3);
	inline_into(header, "insert", "/src/plug.c", 4);
	add(push(top, header, 0), 4);
	add(push(top, place(PROGRAM, "copy", "/src/list.h", 3), 0), 8);
	recursive = top;
	for (int i = 0; i < 3; i++)
		recursive = push(recursive, place(PROGRAM, "walk", "/src/walk.c", 5), 0);
	add(recursive, 16);
	add(push(top, frame(PLUG_IN, NULL), 0), 32);
	add(0, 64);

	make(ROWS_BY_FILE, false);
	ok(rows.n == 6 && is_row(0, "/src/a/main.c", 1) && is_row(1, "/src/b/main.c", 2) &&
		   is_row(2, "/src/list.h", 12) && is_row(3, "/src/walk.c", 16) &&
		   is_row(4, "[unknown]", 64) && is_row(5, "libcache.so", 32),
	   "by file: the own one's, in whatever modules, and the module without");
	ok(rows.rows[2].module.v == 0 && rows.rows[3].module.v == PROGRAM, "with the module, if one");
	rows_shorten_files(&rows);
	ok(is_row(0, "a/main.c", 1) && is_row(1, "b/main.c", 2) && is_row(2, "list.h", 12),
	   "paths are as long as it takes to tell them apart");
	rows_release(&rows);

	make(ROWS_BY_FILE, true);
	ok(is_row(0, "/src/a/main.c", 63) && is_row(2, "/src/list.h", 12) &&
		   is_row(3, "/src/plug.c", 4) && is_row(4, "/src/walk.c", 16),
	   "inclusive: every file of a stack, once");
	rows_release(&rows);

	make(ROWS_BY_FUNCTION, false);
	ok(is_row(0, "[libcache.so]", 32) && is_row(1, "[unknown]", 64), "by function, without a name");
	ok(rows.n == 7, "of each module its own: %zu", rows.n);
	rows_release(&rows);
	make(ROWS_BY_LINE, false);
	ok(is_row(2, "list.h:3 copy", 4) || is_row(2, "list.h:3 copy", 8), "by line");
	rows_release(&rows);
	make(ROWS_BY_MODULE, false);
	ok(rows.n == 3 && is_row(1, "libcache.so", 36) && is_row(2, "program", 27), "by module");
	rows_release(&rows);
	make(ROWS_BY_STACK, false);
	ok(rows.n == 7 && rows.rows[0].stack.v == 0, "by stack");
	rows_release(&rows);
}

static void test_shortening(void)
{
	static const char *const files[] = {"/a/b/c/x.c", "/a/d/c/x.c", "x.c", "/a/b/c/y.c", "y.c/",
					    "/", "", "/a/b/c/z.c", "/q/z.c"};

	begin();
	for (size_t i = 0; i < COUNT_OF(files); i++)
		add(push(0, place(PROGRAM, "f", files[i], 1), 0), 1ull << i);
	make(ROWS_BY_FILE, false);
	rows_shorten_files(&rows);
	for (size_t i = 0; i < rows.n; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(rows.rows[i].name, rows.rows[k].name))
				ok(false, "'%s' is '%s' too", rows.rows[i].file, rows.rows[k].file);
	ok(rows.n == COUNT_OF(files), "%zu paths stay %zu names", COUNT_OF(files), rows.n);
	rows_release(&rows);
}

static void test_wrappers(void)
{
	static const char *const callers[] = {"one", "two", "three", "four"};
	struct skipped_list skipped;
	uint32_t top, inner[2];
	double share = 0;

	begin();
	top = push(0, frame(PROGRAM, "main"), 0);
	inner[0] = frame(PROGRAM, "hand_out");
	inner[1] = frame(LIBC, "malloc");
	for (size_t i = 0; i < COUNT_OF(callers); i++)
		add(push(push(push(top, frame(PROGRAM, callers[i]), 0), inner[0], 0), inner[1], 0),
		    100);
	add(push(push(top, frame(PROGRAM, "xmalloc"), 0), inner[1], 0), 50);
	own_init(&own, &catalog, NULL, 0);
	own_list_skipped(&own, &analysis, &skipped);
	ok(skipped.n == 1 && !strcmp(skipped.items[0].function, "xmalloc") &&
		   skipped.items[0].allocated_bytes == 50 && skipped.items[0].reason == SKIP_WRAPPER,
	   "a wrapper that was skipped is listed");
	own_list_release(&skipped);
	ok(own_suspect(&own, &analysis, &share) &&
		   !strcmp(own_suspect(&own, &analysis, &share), "hand_out") && share > 0.88 &&
		   share < 0.89,
	   "one that most bytes come through is suspected");
	own_release(&own);

	own_init(&own, &catalog, (const char *[]){"hand_out"}, 1);
	ok(!own_suspect(&own, &analysis, &share), "not if it is skipped");
	own_list_skipped(&own, &analysis, &skipped);
	ok(skipped.n == 2 && !strcmp(skipped.items[0].function, "hand_out") &&
		   skipped.items[0].allocated_bytes == 400 && skipped.items[0].reason == SKIP_USER,
	   "and then it is listed");
	own_list_release(&skipped);
	own_release(&own);

	groups[0].key = push(push(push(top, frame(PROGRAM, "five"), 0), frame(PROGRAM, "hand_out"), 0),
			     inner[1], 0);
	own_init(&own, &catalog, NULL, 0);
	ok(!own_suspect(&own, &analysis, &share), "nor if it allocates in more than one place");
	own_release(&own);
}

int main(void)
{
	test_rules();
	test_own_frame();
	test_rows();
	test_shortening();
	test_wrappers();
	return done();
}
