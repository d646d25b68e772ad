#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""leaks, stack by stack, against the leak records of valgrind's memcheck: the same stacks, blocks and bytes.

Frames are compared by address.  Where valgrind has mapped a file is found out from the frames themselves: one place
fits them all.  Stacks that read the same (function, file and line) are one record of ours, so valgrind's are added up
by what our recording calls their addresses.  What is left out: the allocating function, which is valgrind's own in its
runs (malloc, or operator new, which ours has as a frame), other functions that valgrind replaces, and the outermost frame
of threads, which valgrind starts by clone() instead of clone3().
"""
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

import beside
import tap

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
VALGRIND = next((p for p in ("/usr/bin/valgrind.bin", shutil.which("valgrind")) if p and os.path.exists(p)), None)
LIBEXEC = next((d for d in ("/usr/libexec/valgrind", "/usr/lib/valgrind", "/usr/lib/x86_64-linux-gnu/valgrind",
                            "/usr/lib64/valgrind") if os.path.exists(d + "/vgpreload_core-amd64-linux.so")), None)
work = tempfile.mkdtemp(prefix="heaptrail-leak-oracle.")
outputs = tempfile.mkdtemp(prefix="heaptrail-leak-oracle.")  # elsewhere: a program that lists its folder would count it
libs = tap.private_libc(work)
env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libs}
preload = f"{LIBEXEC}/vgpreload_core-amd64-linux.so:{LIBEXEC}/vgpreload_memcheck-amd64-linux.so"
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


def run(argv, environment, **more):
    return subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, cwd=work, timeout=tap.PATIENCE, **more)


def end_of_thread(function):
    return function and re.fullmatch(r"(__)?clone3?", function)


def valgrind(argv, extra):
    """[stack] -> [blocks, bytes]"""
    path = f"{outputs}/leaks.xml"
    r = run([VALGRIND, "--leak-check=full", "--show-leak-kinds=all", "--leak-resolution=high", "--num-callers=500",
             "--show-below-main=yes", "--read-inline-info=no", "--run-libc-freeres=no", "--run-cxx-freeres=no", "--xml=yes", f"--xml-file={path}", *argv],
            {**env, **extra})
    if r.returncode:
        raise RuntimeError(f"valgrind: {r.stderr}")
    found = collections.defaultdict(lambda: [0, 0])
    for error in xml.etree.ElementTree.parse(path).getroot().iter("error"):
        if not error.findtext("kind").startswith("Leak_"):
            continue
        text = error.findtext("xwhat/text").replace(",", "")
        size = int(re.match(r"(\d+)", text).group(1))
        direct = re.match(r"\d+ \((\d+) direct", text)
        # beyond the outermost frame it goes on where there is no code
        stack = [(os.path.realpath(f.findtext("obj")), int(f.findtext("ip"), 16) + 1) for f in error.find("stack").findall("frame")
                 if f.findtext("obj") and "/vgpreload_" not in f.findtext("obj") and not end_of_thread(f.findtext("fn"))]
        total = found[tuple(stack)]
        total[0] += int(error.findtext("xwhat/leakedblocks"))
        total[1] += int(direct.group(1)) if direct else size
    return dict(found)


def names_of(trail):
    """[file] -> {address: what it is called}; the inlined functions and all."""
    found = collections.defaultdict(dict)
    rows = beside.sql(trail, "SELECT module.path, frame.offset, symbol.function, symbol.file, symbol.line FROM frame"
                             " JOIN module ON module.id = frame.module LEFT JOIN symbol ON symbol.frame = frame.id"
                             " ORDER BY frame.id, symbol.depth")
    for path, address, function, file, line in rows:
        name = found[os.path.realpath(path)].setdefault(address, [])
        name.append((function, file, line) if function else address)
    return found


def mapped_at(calls, addresses):
    """Where a file is mapped, so that the most calls are at known addresses."""
    bases = collections.Counter(c - a for c in calls for a in addresses if not (c - a) & 0xfff)
    return bases.most_common(1)[0][0] if bases else 0


def in_our_names(theirs, names):
    """valgrind's stacks, by what our recording calls their addresses."""
    calls = collections.defaultdict(set)
    for stack in theirs:
        for path, call in stack:
            calls[path].add(call)
    bases = {path: mapped_at(where, names.get(path, {})) for path, where in calls.items()}
    found = collections.defaultdict(lambda: [0, 0])
    for stack, (blocks, size) in theirs.items():
        total = found[read(stack, names, bases)]
        total[0] += blocks
        total[1] += size
    return dict(found)


def read(stack, names, bases):
    """Function by function; a place that we do not know is its address."""
    return tuple((path, x) for path, call in stack
                 for x in names.get(path, {}).get(call - bases.get(path, 0), [f"{call - bases.get(path, 0):#x}"]))


def heaptrail(argv, extra):
    trail = f"{outputs}/leaks.trail"
    r = run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", *argv], {**env, **extra, "LD_PRELOAD": preload})
    if r.stderr or r.returncode:
        raise RuntimeError(f"record: {r.returncode} {r.stderr}")
    data = json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", "--no-default-suppressions", trail], env=env))
    names, found = names_of(trail), collections.defaultdict(lambda: [0, 0])
    for leak in data["leaks"]:
        # an operator new is the allocating function, but where it is of the program itself
        frames = [f for f in leak["frames"] if not f["inlined"]]
        while frames and (frames[0]["function"] or "").startswith("operator new") and "libstdc++" in frames[0]["module"]:
            frames.pop(0)
        stack = read([(os.path.realpath(f["module"]), f["offset"]) for f in frames
                      if not end_of_thread(f["function"]) and "/vgpreload_" not in f["module"]], names, {})
        found[stack][0] += leak["blocks"]
        found[stack][1] += leak["bytes"]
    return dict(found), data, names


def check(name, argv, extra=None, at_least=1):
    mine, data, names = heaptrail(argv, extra or {})
    theirs = in_our_names(valgrind(argv, extra or {}), names)
    different = [(k, theirs.get(k), mine.get(k)) for k in theirs.keys() | mine.keys() if theirs.get(k) != mine.get(k)]
    blocks, size = (sum(x[i] for x in theirs.values()) for i in (0, 1))
    tap.ok(not different and len(theirs) >= at_least and (blocks, size) == (data["total_blocks"], data["total_bytes"]),
           f"{name}: {len(theirs)} stacks, {blocks} blocks, {size} bytes, as valgrind says" +
           (f"; not {len(different)}: {different[:2]}" if different else ""))


def build(name, source, *flags):
    suffix, compiler = ("cc", "g++") if source is TEMPLATES else ("c", "gcc")
    with open(f"{work}/{name}.{suffix}", "w") as f:
        f.write(source)
    subprocess.run([compiler, *flags, "-o", f"{work}/{name}", f"{name}.{suffix}"], check=True, cwd=work)
    return f"{work}/{name}"


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
    if not VALGRIND or not LIBEXEC:
        tap.skip_all("valgrind is not installed")
    tap.run_as_root([c_programs, cxx_programs, threads, libraries, sqlite3, bash, python3])
finally:
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(outputs, ignore_errors=True)
