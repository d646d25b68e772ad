/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suppressions in both syntaxes: what they match, and what is said of wrong ones. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/suppressions.h"
#include "common/xalloc.h"
#include "image/demangle.h"
#include "tests/unit/catalog_fixture.h"
#include "tests/unit/tap.h"

enum { NOWHERE, PROGRAM, LIBC, LIBSTDCXX, LD, MODULES };

static struct module_record modules[MODULES] = {
	[PROGRAM] = {.path = "/opt/app/bin/program"},
	[LIBC] = {.path = "/usr/lib/libc.so.6"},
	[LIBSTDCXX] = {.path = "/usr/lib/libstdc++.so.6.0.30"},
	[LD] = {.path = "/usr/lib/ld-linux-x86-64.so.2"},
};
static struct suppressions s;
static struct err err;

static int parse(const char *text, enum suppression_origin origin)
{
	suppressions_release(&s);
	err = (struct err){0};
	return suppressions_parse(&s, "x.supp", text, origin, demangle, &err);
}

static const char *matched_kind(uint32_t stack, enum block_kind kind)
{
	struct suppression *by;
	struct stack_walk w;

	stacks_walk(&catalog, (struct stack_id){stack}, &w);
	by = suppressions_match(&s, &catalog, &w, kind);
	return by ? by->name : NULL;
}

static const char *matched(uint32_t stack)
{
	return matched_kind(stack, BLOCK_NOT_LOOKED_AT);
}

static uint32_t in_file(uint32_t module, const char *function, const char *file, uint32_t line)
{
	uint32_t id = frame(module, function);

	frames[id].file = file;
	frames[id].line = line;
	return id;
}

/* main() calls app::load(int), at load.cc:12, that calls a function without a name in LIBC. */
static uint32_t load, nameless, with_new, pool, static_object, thread_stack;

static void make_stacks(void)
{
	uint32_t top, init;

	forget();
	catalog.modules = modules;
	catalog.n_modules = MODULES;
	top = push(push(0, frame(LIBC, "__libc_start_main_impl"), 0),
		   in_file(PROGRAM, "main", "/src/app/main.cc", 5), 0);
	load = push(top, in_file(PROGRAM, "app::load(int)", "/src/app/load.cc", 12), 0);
	nameless = push(load, frame(LIBC, NULL), 0);
	with_new = push(load, frame(LIBSTDCXX, "operator new(unsigned long)"), 0);
	init = push(push(0, frame(LD, NULL), 0), frame(LD, "_dl_init"), 0);
	pool = push(init, frame(LIBSTDCXX, NULL), 0);
	static_object = push(push(init, frame(PROGRAM, "_GLOBAL__sub_I_main"), 0),
			     frame(LIBSTDCXX, "operator new(unsigned long)"), 0);
	thread_stack = push(push(push(load, frame(LIBC, "__pthread_create_2_1"), 0),
				 frame(LD, "__GI__dl_allocate_tls"), 0),
			    frame(LD, "allocate_dtv"), 0);
}

static void test_matching(void)
{
	static const struct {
		const char *frames; /* of valgrind's, or a line of LeakSanitizer's */
		uint32_t *stack;
		bool is;
	} cases[] = {
		{"leak:load", &load, true},
		{"leak:app::load(int)", &nameless, true},
		{"leak:^app::load", &load, true},
		{"leak:^load", &load, false},
		{"leak:load.cc$", &load, true},
		{"leak:load.c$", &load, false},
		{"leak:/opt/app/", &load, true},
		{"leak:a*(int)", &load, true},
		{"leak:lo?d", &load, false},
		{"leak:libc.so", &with_new, true},
		{"leak:libm.so", &with_new, false},
		{"fun:malloc\nfun:app::load(int)", &load, true},
		{"fun:*alloc\nfun:_ZN3app4loadEi\nfun:main", &load, true},
		{"fun:malloc\nfun:_ZN3app4loadEl", &load, false},
		{"fun:malloc\nfun:_ZN3app*", &load, true},
		{"fun:malloc\nfun:_ZN3app4load*", &load, true},
		{"fun:malloc\nfun:_ZN3app4l*", &load, false},
		{"fun:malloc\nfun:_ZN3app4loadE?", &load, true},
		{"fun:app::load(int)\nfun:main\nfun:(below main)", &load, true},
		{"fun:app::load(int)\nfun:(below main)", &load, false},
		{"fun:main", &load, false},
		{"...\nfun:main", &load, true},
		{"fun:malloc\n...\nfun:main", &load, true},
		{"fun:malloc\n...\nfun:app::load(int)\n...\nfun:main", &load, true},
		{"fun:malloc\n...\nfun:main\nfun:app::load(int)", &load, false},
		{"fun:free\nfun:app::load(int)", &load, false},
		{"fun:malloc\nsrc:load.cc:12", &load, true},
		{"fun:malloc\nsrc:load.cc", &load, true},
		{"fun:malloc\nsrc:/src/*/load.cc:1?", &load, true},
		{"fun:malloc\nsrc:load.cc:13", &load, false},
		{"fun:malloc\nobj:*/program", &load, true},
		{"fun:malloc\nobj:program", &load, false},
		{"fun:malloc\nobj:*/libc.so.?\nfun:app*", &nameless, true},
		{"fun:malloc\nfun:???\nfun:app*", &nameless, true},
		{"fun:malloc\nfun:*\nfun:app*", &nameless, true},
		{"fun:_Znwm\nfun:app::load(int)", &with_new, true},
		{"fun:_Znw*\nfun:app::load(int)", &with_new, true},
		{"fun:_Zna*\nfun:app::load(int)", &with_new, false},
		{"fun:malloc\nfun:_Znwm", &with_new, true},
		{"fun:malloc\n...", &load, true},
		{"match-leak-kinds: reachable,possible\nfun:malloc\nfun:app*", &load, true},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		bool is_line = !strncmp(cases[i].frames, "leak:", 5);
		char *text = is_line ? xstrdup(cases[i].frames)
				     : xasprintf("{\nname\nMemcheck:Leak\n%s\n}\n",
						 cases[i].frames);

		ok(!parse(text, SUPPRESSION_GIVEN) && !!matched(*cases[i].stack) == cases[i].is,
		   "%s%s", cases[i].frames, cases[i].is ? "" : ": not");
		free(text);
	}
	ok(!parse("leak:main\n", SUPPRESSION_GIVEN) && !matched(0) && !matched(UINT32_MAX),
	   "a block without a stack is of none");
}

static void test_kinds(void)
{
	static const struct {
		const char *line, *kinds; /* that it is for: definite, indirect, possible, reachable */
	} cases[] = {
		{"", "dipr"}, {"match-leak-kinds: all\n", "dipr"}, {"match-leak-kinds: none\n", ""},
		{"match-leak-kinds: reachable,possible\n", "pr"},
		{"match-leak-kinds:definite\n", "d"}, {"match-leak-kinds: indirect,indirect\n", "i"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *text = xasprintf("{\nname\nMemcheck:Leak\n%sfun:malloc\n}\n", cases[i].line);
		char is[8] = "";
		size_t n = 0;

		ok(!parse(text, SUPPRESSION_GIVEN) && matched(load), "%sof any", cases[i].line);
		for (int kind = BLOCK_DEFINITE; kind < BLOCK_KINDS; kind++)
			if (matched_kind(load, (enum block_kind)kind))
				is[n++] = "?dipr"[kind];
		ok(!strcmp(is, cases[i].kinds), "%sis for '%s'", cases[i].line, is);
		free(text);
	}
	ok(!parse("{\na\nMemcheck:Leak\nmatch-leak-kinds: definite\nfun:malloc\n}\nleak:main\n",
		  SUPPRESSION_GIVEN) &&
		   !strcmp(matched_kind(load, BLOCK_DEFINITE), "a") &&
		   !strcmp(matched_kind(load, BLOCK_POSSIBLE), "main"),
	   "the next one is for the other kinds");
}

static void test_files(void)
{
	static const char mixed[] =
		"# a comment\n\n  leak:nothing\r\n{\n   first\n   Memcheck:Cond\n   fun:main\n}\n"
		"{\n   of another tool\n   Helgrind:Race\n   fun:x\n}\n"
		"{\n   with more\n   Memcheck:Param\n   write(buf)\n   fun:x\n}\n"
		"{\n   second\n   Memcheck,Drd:Leak\n   # within\n   fun:malloc\n   fun:app*\n}";

	ok(!parse(mixed, SUPPRESSION_GIVEN) && s.n == 2, "both syntaxes, and what is no leak");
	ok(matched(load) && !strcmp(matched(load), "second") && s.items[1].line == 20,
	   "names and lines: %s, %u", s.items[1].name, s.items[1].line);
	ok(!parse("", SUPPRESSION_GIVEN) && s.n == 0 && !matched(load), "an empty file");
	ok(!parse("leak:main\nleak:load", SUPPRESSION_GIVEN) && !strcmp(matched(load), "main"),
	   "the first that matches");
}

static void test_errors(void)
{
	static const struct {
		const char *text, *what;
	} cases[] = {
		{"leak:", "x.supp:1: expected 'leak:PATTERN' or '{'"},
		{"leak:**", "x.supp:1: expected 'leak:PATTERN'"},
		{"race:x", "x.supp:1: expected 'leak:PATTERN'"},
		{"\n\nfun:x", "x.supp:3: expected 'leak:PATTERN'"},
		{"{\n", "x.supp:1: expected '}'"},
		{"{\nname\n", "x.supp:1: expected '}'"},
		{"{\n}\n", "x.supp:2: expected the suppression's name"},
		{"{\nname\nLeak\n", "x.supp:3: expected 'TOOL:KIND'"},
		{"{\nname\nMemcheck:\n", "x.supp:3: expected 'TOOL:KIND'"},
		{"{\nname\nMemcheck:Leek\nfun:x\n}", "x.supp:3: expected 'Memcheck:Leak'"},
		{"{\nname\nMemcheck:Leak\n}", "x.supp:4: expected a line for a frame"},
		{"{\nname\nMemcheck:Leak\nfunc:x\n}", "x.supp:4: expected 'fun:'"},
		{"{\nname\nMemcheck:Leak\nfun:\n}", "x.supp:4: expected 'fun:'"},
		{"{\nname\nMemcheck:Leak\nmatch-leak-kinds: lost\nfun:x\n}", "x.supp:4: expected leak"},
		{"{\nname\nMemcheck:Leak\nfun:x\nmatch-leak-kinds: all\n}", "x.supp:5: expected"},
		{"{\nname\nMemcheck:Leak\nfun:x\n", "x.supp:1: expected '}'"},
		{"{\nname\nMemcheck:Cond\nfun:x\n", "x.supp:1: expected '}'"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		ok(parse(cases[i].text, SUPPRESSION_GIVEN) == -EINVAL &&
			   !strncmp(err.what, cases[i].what, strlen(cases[i].what)),
		   "%s", err.what);
}

static void test_built_in(void)
{
	ok(!parse(suppressions_built_in, SUPPRESSION_BUILT_IN) && s.n > 10, "they can be read");
	ok(matched(pool) && strstr(matched(pool), "emergency pool"), "the emergency pool");
	ok(!matched(static_object), "but not what the program's own constructors leak");
	ok(matched(thread_stack) && strstr(matched(thread_stack), "thread-local"),
	   "glibc's own names for its functions");
	ok(!matched(load) && !matched(nameless) && !matched(with_new), "nothing of the program's");
}

/* Whatever is in a file: an answer. */
static void test_random(void)
{
	static const char *const parts[] = {"{", "}", "\n", "leak:", "fun:", "...", "*", "?", "^",
					    "$", "Memcheck:Leak", "name", "_ZN", "_Z", "9", "I",
					    "St", "obj:", "src:", ":", "match-leak-kinds:", "#"};
	unsigned int seed = 1, parsed = 0;

	for (int i = 0; i < 20000; i++) {
		char text[400] = "{\nn\nMemcheck:Leak\n";
		size_t n = i % 2 ? strlen(text) : 0;

		while (n < 300) {
			const char *part = parts[(size_t)rand_r(&seed) % COUNT_OF(parts)];

			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", part,
					      rand_r(&seed) % 3 ? "" : "\n");
			if (rand_r(&seed) % 16 == 0)
				break;
		}
		parsed += !parse(text, SUPPRESSION_GIVEN);
		matched(load);
	}
	ok(parsed > 100, "random files: %u of them are right", parsed);
}

int main(void)
{
	make_stacks();
	test_matching();
	test_kinds();
	test_files();
	test_errors();
	test_built_in();
	test_random();
	suppressions_release(&s);
	return done();
}
