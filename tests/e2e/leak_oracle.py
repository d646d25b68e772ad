#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""leaks, stack by stack, against the leak records of valgrind's memcheck: the same stacks, blocks and bytes.

How they are compared: memcheck.py.
"""
import collections
import os

import memcheck
import tap
from memcheck import build, work

TARGETS = os.environ["TARGETS"]
TREE = r"""
#include <stdlib.h>
#include <string.h>
static void *volatile kept;
struct node { struct node *left, *right; char text[24]; };
static struct node *grow(int depth)
{
	struct node *n = malloc(sizeof(*n) + (size_t)depth);
	if (depth) { n->left = grow(depth - 1); n->right = grow(depth - 1); }
	return n;
}
static char *copy(const char *text) { return strdup(text); }
static int order(const void *a, const void *b) { kept = malloc(3); return *(const int *)a - *(const int *)b; }
int main(void)
{
	int numbers[] = {4, 2, 3, 1};
	struct node *root = grow(5);
	for (int i = 0; i < 3; i++)
		kept = copy("some text");
	kept = calloc(7, 11);
	kept = realloc(kept, 200);
	qsort(numbers, 4, sizeof(int), order);
	kept = realloc(malloc(10), 20);
	free(root->left->left);
	kept = NULL;
	return 0;
}
"""
TEMPLATES = r"""
#include <map>
#include <memory>
#include <string>
#include <vector>
template <typename T, int N> struct pool {
	std::vector<T> items;
	void fill() { for (int i = 0; i < N; i++) items.push_back(T(i)); }
};
struct base { virtual ~base() {} virtual void work() = 0; std::string name = "a name that is too long for its own buffer"; };
template <typename T> struct derived : base { pool<T, 100> p; void work() override { p.fill(); } };
static std::map<std::string, std::unique_ptr<base>> *all;
static int *volatile raw;
struct early { early() { raw = new int[17]; } } the_early;
int main()
{
	all = new std::map<std::string, std::unique_ptr<base>>;
	(*all)["int"] = std::make_unique<derived<int>>();
	(*all)["long, and long enough to be allocated"] = std::make_unique<derived<long>>();
	for (auto &x : *all)
		x.second->work();
	auto twice = [](int n) { raw = new int[n]; raw = new int[n]; };
	twice(5);
	twice(50);
	all->erase("int");
	return 0;
}
"""
THREADS = r"""
#include <pthread.h>
#include <stdlib.h>
static void *_Atomic kept;
__attribute__((noinline)) static void leak(size_t n) { kept = malloc(n); }
static void *work(void *arg)
{
	for (int i = 0; i < 50; i++) { leak(10 + (size_t)i); free(calloc(3, 5)); }
	return realloc(NULL, (size_t)arg);
}
int main(void)
{
	pthread_t t[4];
	for (size_t i = 0; i < 4; i++) pthread_create(&t[i], NULL, work, (void *)(100 * (i + 1)));
	for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
	return 0;
}
"""
PLUG_IN = r"""
#include <stdlib.h>
static void *volatile kept;
__attribute__((constructor)) static void begin(void) { kept = malloc(77); }
static void deeper(int n) { kept = malloc(8); if (n) deeper(n - 1); kept = malloc(16); }
void plug(void (*back)(int)) { deeper(3); back(5); }
"""
HOST = r"""
#include <dlfcn.h>
#include <stdlib.h>
static void *volatile kept;
static void back(int n) { for (int i = 0; i < n; i++) kept = malloc(1000); }
int main(int argc, char **argv)
{
	void *library = dlopen(argv[argc - 1], RTLD_NOW);
	void (*plug)(void (*)(int)) = library ? (void (*)(void (*)(int)))dlsym(library, "plug") : NULL;
	if (!plug) return 1;
	plug(back);
	return 0;
}
"""


def without_kinds(records):
    found = collections.defaultdict(lambda: [0, 0])
    for (stack, _), (blocks, size) in records.items():
        found[stack][0] += blocks
        found[stack][1] += size
    return dict(found)


def check(name, argv, extra=None, at_least=1):
    mine, data, names = memcheck.heaptrail(argv, extra or {})
    theirs = without_kinds(memcheck.in_our_names(memcheck.valgrind(argv, extra or {}), names))
    mine = without_kinds(mine)
    different = [(k, theirs.get(k), mine.get(k)) for k in theirs.keys() | mine.keys() if theirs.get(k) != mine.get(k)]
    blocks, size = (sum(x[i] for x in theirs.values()) for i in (0, 1))
    tap.ok(not different and len(theirs) >= at_least and (blocks, size) == (data["total_blocks"], data["total_bytes"]),
           f"{name}: {len(theirs)} stacks, {blocks} blocks, {size} bytes, as valgrind says" +
           (f"; not {len(different)}: {different[:2]}" if different else ""))


def c_programs():
    for flags in (("-O0", "-g"), ("-O2", "-g"), ("-O2", "-fomit-frame-pointer", "-s")):
        check(f"C {' '.join(flags)}", [build("tree", TREE, *flags)], at_least=5)
    check("inlined functions and wrappers", [f"{TARGETS}/leaky"], at_least=7)


def cxx_programs():
    for flags in (("-O0", "-g"), ("-O2", "-g"), ("-O2",)):
        check(f"C++ templates {' '.join(flags)}", [build("templates", TEMPLATES, "-std=c++17", *flags)], at_least=5)


def threads():
    check("threads", [build("threads", THREADS, "-O2", "-g", "-pthread")], at_least=3)


def libraries():
    build("plug.so", PLUG_IN, "-shared", "-fPIC", "-O1")
    check("a library that is loaded", [build("host", HOST, "-O2"), f"{work}/plug.so"], at_least=10)


def sqlite3():
    sql = ("create table t(a integer primary key, b text);"
           "with recursive n(x) as (select 1 union all select x+1 from n where x<2000) insert into t select x, 'row '||x from n;"
           "create index t_b on t(b); select count(*) from t;")
    check("sqlite3", ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:", sql])


def bash():
    check("bash", ["/bin/bash", "--norc", "-c", 's=; for ((i=0;i<200;i++)); do t="item $i"; u=${t//1/one}; done; echo $u'], at_least=50)


def python3():
    with open(f"{work}/work.py", "w") as f:
        f.write("import json\nrows = [dict(a=i, b=str(i) * 3) for i in range(500)]\nprint(len(json.loads(json.dumps(rows))))\n")
    check("python3", ["/usr/bin/python3", "-s", "-S", f"{work}/work.py"],
          extra={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}, at_least=50)


try:
    memcheck.skip_without()
    tap.run_as_root([c_programs, cxx_programs, threads, libraries, sqlite3, bash, python3])
finally:
    memcheck.clean()
