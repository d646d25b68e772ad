#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Totals by source file: of a generated program that counts itself, of one that dhat has seen; names found later."""
import collections
import json
import os
import random
import re
import shutil
import subprocess
import tempfile

import tap

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
SEED = int(os.environ.get("HEAPTRAIL_SEED") or random.randrange(1 << 31))
FILES = 200
work = tempfile.mkdtemp(prefix="heaptrail-files.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"


def record(*command, options=()):
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", *command], env=env, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}: {r.stderr}")
    return r.stdout


def report(*options, path=trail):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", *options, path]))


def text(*command):
    return subprocess.run([HEAPTRAIL, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def write(name, content):
    os.makedirs(os.path.dirname(f"{work}/{name}"), exist_ok=True)
    with open(f"{work}/{name}", "w") as f:
        f.write(content)


def build(program, *sources, flags=("-g", "-O2")):
    subprocess.run(["gcc", "-w", *flags, "-o", f"{work}/{program}", *sources], cwd=work, check=True)


# ---- a program of 200 files -------------------------------------------------------------


def generate(dice):
    """Each file and header counts what its own lines ask for; headers are inlined into the files."""
    names = [f"src/part{i % 7}/unit{i}.c" for i in range(FILES * 3 // 4)] + [f"src/list{i}.h" for i in range(FILES // 4)]
    headers = [n for n in names if n.endswith(".h")]
    write("src/count.h", f"""#pragma once
#include <stdlib.h>
#include <string.h>
extern unsigned long long asked[{FILES}];
extern void *kept[1 << 16];
extern unsigned n_kept;
#define ASK(file, bytes) (asked[file] += (bytes), malloc(bytes))
static inline __attribute__((always_inline)) void keep(void *p) {{ kept[n_kept++] = p; }}
""")
    for i, name in enumerate(names):
        if name.endswith(".h"):
            size = dice.randrange(1, 5000)
            write(name, f"""#pragma once
#include "count.h"
static inline __attribute__((always_inline)) void *add{i}(int n)
{{
	void *p = ASK({i}, {size} + n);
	if (n & 1)
		p = (asked[{i}] += {size} + 99, realloc(p, {size} + 99));
	return p;
}}
""")
    for i, name in enumerate(names):
        if name.endswith(".c"):
            used = [(names.index(h), os.path.basename(h)) for h in dice.sample(headers, 3)]
            write(name, "".join(f'#include "../{h}"\n' for _, h in used) + f"""#include "../count.h"
static __attribute__((noinline)) void *mine(int n) {{ void *p = ASK({i}, {dice.randrange(1, 3000)} + n); kept[n_kept] = p; return p; }}
void run{i}(int n)
{{
	char *text;
	keep(mine(n));
	asked[{i}] += strlen("a text of unit {i}") + 1;
	text = strdup("a text of unit {i}");
	if (n & 2)
		free(text);
	else
		keep(text);
""" + "".join(f"\tkeep(add{k}(n));\n" for k, _ in used) + "}\n")
    units = [i for i, n in enumerate(names) if n.endswith(".c")]
    write("src/main.c", f"""#include <stdio.h>
unsigned long long asked[{FILES}];
void *kept[1 << 16];
unsigned n_kept;
""" + "".join(f"void run{i}(int n);\n" for i in units) + "int main(void)\n{\n\tfor (int n = 0; n < 4; n++) {\n" +
          "".join(f"\t\trun{i}(n);\n" for i in units) + f"""	}}
	for (int i = 0; i < {FILES}; i++)
		printf("%llu\\n", asked[i]);
	return 0;
}}
""")
    return names


def generated():
    print(f"# seed {SEED}")
    names = generate(random.Random(SEED))
    build("many", *[n for n in names if n.endswith(".c")], "src/main.c")
    asked = dict(zip(names, map(int, record(f"{work}/many").split())))
    r = report()
    found = {os.path.relpath(x["file"], work): x["allocated_bytes"] for x in r["rows"] if x["file"]}
    wrong = {n: (asked[n], found.get(n)) for n in names if asked[n] != found.get(n, 0)}
    tap.ok(len(asked) == FILES and not wrong, f"{FILES} files, to the byte: others {dict(list(wrong.items())[:5])}")
    for key in ("allocated_bytes", "alloc_calls", "live_bytes", "live_blocks", "peak_bytes", "peak_blocks", "temporary_allocs"):
        total = sum(x[key] for x in r["rows"])
        tap.ok(total == r["summary"][key], f"their {key}, summed, are the recording's: {total}")
    top = next(x for x in report("--inclusive")["rows"] if (x["file"] or "").endswith("src/main.c"))
    own = found.get("src/main.c", 0)  # the C library's buffer for what it prints
    tap.ok(top["allocated_bytes"] == sum(asked.values()) + own, f"inclusive, main.c has what all ask for: {top['allocated_bytes']}")
    shown = text("report", "--rows", "0", trail).stdout
    tap.ok("  list49.h\n" in shown and work not in shown.split("FILE\n")[1], "paths are shortened")
    tap.ok(f"  {work}/src/list49.h\n" in text("report", "--rows", "0", "--wide", "--full-paths", trail).stdout, "but for --full-paths")


# ---- beside dhat ------------------------------------------------------------------------

TREE = """#include "parts.h"
struct node { struct node *left, *right; char text[40]; };
static struct node *grow(int depth)
{
	struct node *n = malloc(sizeof(*n));
	if (depth) {
		n->left = grow(depth - 1);
		n->right = grow(depth - 1);
	} else
		n->left = n->right = 0;
	return n;
}
static void cut(struct node *n) { if (!n) return; cut(n->left); cut(n->right); free(n); }
void tree(void) { struct node *a = grow(9); cut(a); grow(6); }
"""
TABLE = """#include "parts.h"
void table(void)
{
	char **rows = 0;
	for (int i = 0; i < 500; i++) {
		rows = realloc(rows, (i + 1) * sizeof(*rows));
		rows[i] = make(i);
	}
	for (int i = 0; i < 400; i++)
		free(rows[i]);
}
"""
PARTS = """#include "parts.h"
char *make(int i) { char *p = calloc(1, 10 + i % 90); p[0] = 'x'; return p; }
int main(void) { tree(); table(); char *big = malloc(100000); big[0] = 1; free(big); return 0; }
"""


def dhat_by_file(program):
    """{file: (bytes when the heap was largest, bytes at the end)}, of the innermost of its own files."""
    out = f"{work}/dhat.json"
    subprocess.run(["valgrind", "--tool=dhat", f"--dhat-out-file={out}", f"{work}/{program}"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=tap.PATIENCE)
    with open(out) as f:
        data = json.load(f)
    found = collections.defaultdict(lambda: [0, 0])
    for p in data["pps"]:
        for frame in p["fs"]:
            place = data["ftbl"][frame].rsplit("(", 1)[-1].split(":")[0]
            if place in ("tree.c", "table.c", "parts.c"):
                found[place][0] += p["gb"]
                found[place][1] += p["eb"]
                break
    return {k: tuple(v) for k, v in found.items()}


def beside_dhat():
    if not shutil.which("valgrind"):
        tap.skip("bytes by file beside dhat", "valgrind is not installed")
        return
    write("three/parts.h", "#include <stdlib.h>\nchar *make(int i);\nvoid tree(void);\nvoid table(void);\n")
    for name, content in ("tree", TREE), ("table", TABLE), ("parts", PARTS):
        write(f"three/{name}.c", content)
    build("three-files", *(f"three/{n}.c" for n in ("tree", "table", "parts")), flags=("-g", "-O0"))
    want = dhat_by_file("three-files")
    record(f"{work}/three-files")
    got = {os.path.basename(x["file"]): (x["peak_bytes"], x["live_bytes"]) for x in report()["rows"] if x["file"]}
    tap.ok(got == want and len(want) == 3, f"bytes at the peak and at the end by file: {got}, dhat's {want}")


# ---- wrappers -----------------------------------------------------------------------------

WRAPPED = """#include <stdlib.h>
void *volatile sink;
__attribute__((noinline)) void *app_alloc(size_t n) { void *p = malloc(n); sink = p; return p; }
__attribute__((noinline)) void one(void) { sink = app_alloc(10000); sink = 0; }
__attribute__((noinline)) void two(void) { sink = app_alloc(20000); sink = 0; }
__attribute__((noinline)) void three(void) { sink = app_alloc(30000); sink = 0; }
__attribute__((noinline)) void *xmalloc(size_t n) { void *p = malloc(n); sink = p; return p; }
int main(void)
{
	one();
	two();
	three();
	sink = xmalloc(5);
	return 0;
}
"""


def functions(r):
    return {x["function"]: x["allocated_bytes"] for x in r["rows"]}


def wrappers():
    write("wrapped.c", WRAPPED)
    build("wrapped", "wrapped.c")
    record(f"{work}/wrapped")
    r = report("--by", "function")
    tap.ok(functions(r) == {"app_alloc": 60000, "main": 5}, f"a well-known wrapper is never the site: {functions(r)}")
    tap.ok(r["skipped"] == [{"function": "xmalloc", "by_user": False, "allocated_bytes": 5}] and
           any("app_alloc: --skip 'app_alloc'" in h for h in r["hints"]), f"and it is said, with a hint: {r['hints']}")
    out = " ".join(text("report", trail).stdout.split())
    tap.ok("skipped: xmalloc (0.0 %)" in out and "hint: 100 % of all bytes come through app_alloc: --skip 'app_alloc'" in out,
           "also in text")
    r = report("--by", "function", "--skip", "app_*")
    tap.ok(functions(r) == {"one": 10000, "two": 20000, "three": 30000, "main": 5} and
           not any("--skip" in h for h in r["hints"]), f"--skip: {functions(r)}")
    leaked = {skip: {x["function"]: (x["bytes"], x["line"], os.path.basename(x["file"])) for x in
                     json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", *skip, trail]))["leaks"]}
              for skip in ((), ("--skip", "app_*", "--skip", "t[aw]o"))}
    tap.ok(leaked[()].keys() == {"app_alloc", "main"} and
           {f: x for f, x in leaked["--skip", "app_*", "--skip", "t[aw]o"].items() if f != "main"} ==
           {"one": (10000, 4, "wrapped.c"), "three": (30000, 6, "wrapped.c")}, f"leaks --skip: {leaked}")
    shown = text("leaks", "--bytes", "--skip", "app_*", trail).stdout
    tap.ok(re.search(r"^ +10,000 .* \d+ frames, by one$", shown, re.M) and re.search(r"^ +20,000 .* frames, by two$", shown, re.M) and
           ", by app_alloc" in text("leaks", trail).stdout and "by app_alloc" not in shown, "also in text")
    lines = {x["line"]: x["allocated_bytes"] for x in report("--by", "line", "--skip", "app_*")["rows"]}
    tap.ok(lines == {4: 10000, 5: 20000, 6: 30000, 12: 5} or lines == {4: 10000, 5: 20000, 6: 30000, 13: 5}, f"by line: {lines}")
    shown = text("annotate", "--bytes", "--skip", "app_*", trail, "wrapped.c").stdout.splitlines()
    beside = {int(line.split("  ")[-2 if line.split("  ")[-1] else -3].split()[-1]): line.split()[0] for line in shown[3:]
              if line.split() and "," in line.split()[0]}
    tap.ok(beside == {4: "10,000", 5: "20,000", 6: "30,000"}, f"annotate: {beside}")
    r = text("annotate", trail, "other.c")
    tap.ok(r.returncode == 1 and "other.c" in r.stdout, "annotate: a file that is not in it")


# ---- names that come later ------------------------------------------------------------------


def rows_of(path):
    return [(x["file"], x["allocated_bytes"]) for x in report(path=path)["rows"]]


def later():
    """The program is stripped where it runs; its debug file is elsewhere, as is, later, the program."""
    write("late.c", WRAPPED.replace("app_alloc", "late_alloc"))
    build("late", "late.c", flags=("-g", "-O2", "-Wl,--build-id"))
    build_id = subprocess.check_output(["readelf", "-n", f"{work}/late"], text=True).split("Build ID: ")[1].split()[0]
    debug = f"{work}/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    os.makedirs(os.path.dirname(debug))
    subprocess.run(["objcopy", "--only-keep-debug", f"{work}/late", debug], check=True)
    os.makedirs(f"{work}/root{work}")
    shutil.copy(f"{work}/late", f"{work}/root{work}/late")
    subprocess.run(["strip", f"{work}/late"], check=True)
    record(f"{work}/late")
    tap.ok(not any(f for f, _ in rows_of(trail)), "stripped: no file is known")
    tap.ok(any("has no debug information" in h for h in report()["hints"]), "and a hint says so")
    want = [(f"{work}/late.c", 60005)]
    for name, options, gone in (("--debug-path", ("--debug-path", f"{work}/debug"), False),
                                ("--debug-path, without the program", ("--debug-path", f"{work}/debug"), True),
                                ("--sysroot", ("--sysroot", f"{work}/root"), True)):
        copy = f"{work}/copy.trail"
        shutil.copy(trail, copy)
        if gone and os.path.exists(f"{work}/late"):
            os.unlink(f"{work}/late")
        r = text("symbolize", *options, copy)
        tap.ok(r.returncode == 0 and rows_of(copy) == want, f"{name}: {rows_of(copy)} {r.stdout}")
        tap.ok(subprocess.check_output(["sqlite3", copy, "SELECT file, sum(allocated_bytes) FROM file"], text=True).strip() ==
               f"{work}/late.c|60005", f"{name}: the summary by file is made anew")
        info = json.loads(subprocess.check_output([HEAPTRAIL, "info", "--json", copy]))
        tap.ok(info["recording"]["complete"], f"{name}: the recording is complete again")
    write("late.c", WRAPPED.replace("app_alloc", "another"))
    build("late", "late.c", flags=("-g", "-O1", "-Wl,--build-id"))
    copy = f"{work}/copy.trail"
    shutil.copy(trail, copy)
    r = text("symbolize", copy)
    tap.ok(r.returncode == 0 and rows_of(copy) == rows_of(trail) and "another build" in r.stdout,
           f"a file of another build is refused: {r.stdout}")
    r = text("symbolize", "--debug-path", f"{work}/nowhere", copy)
    tap.ok(r.returncode == 2 and "nowhere" in r.stdout, "a folder that is not there")


def inlined():
    write("inlined.cc", """#include <vector>
#include <string>
struct row { std::string name; std::vector<int> cells; };
std::vector<row> *volatile sink;
static inline __attribute__((always_inline)) void fill(std::vector<row> &rows)
{
	for (int i = 0; i < 10; i++) {
		rows.push_back({std::string(100, 'x'), {}});
		rows.back().cells.resize(i + 1);
	}
}
int main()
{
	auto *rows = new std::vector<row>;
	fill(*rows);
	sink = rows;
}
""")
    subprocess.run(["g++", "-g", "-O2", "-o", f"{work}/inlined", f"{work}/inlined.cc"], check=True)
    record(f"{work}/inlined")
    r = report("--by", "file")
    own = {x["file"] and os.path.basename(x["file"]): x["alloc_calls"] for x in r["rows"]}
    # ten names, ten cells, their rows grown to 1, 2, 4, 8, 16; the vector; and what the C++ library keeps for itself
    tap.ok(own.get("inlined.cc", 0) >= 26 and set(own) <= {"inlined.cc", None}, f"C++: templates are their user's: {own}")
    frames = [f for x in report("--by", "stack")["rows"] for f in x["frames"]]
    filled = [f for f in frames if (f["function"] or "").startswith("fill")]
    tap.ok(filled and all(f["inlined"] for f in filled) and
           not any(f["inlined"] for f in frames if f["function"] in ("main", "_start")), "inlined functions are on stacks, marked")
    tap.ok("    fill" in text("leaks", "--wide", trail).stdout and
           "(inlined)" in text("leaks", "--wide", trail).stdout, "and in text")


LINKED = r"""#include <string>
#include <vector>
namespace app {
std::vector<std::string> *volatile sink;
inline __attribute__((always_inline)) void fill(std::vector<std::string> &v) { v.push_back(std::string(1000, 'x')); }
__attribute__((noinline)) void load(int n)
{
	auto *v = new std::vector<std::string>;
	for (int i = 0; i < n; i++)
		fill(*v);
	sink = v;
}
}
extern "C" __attribute__((noinline)) void plain(void) { app::load(3); app::sink = nullptr; }
int main() { plain(); }
"""


def linkage_names():
    write("linked.cc", LINKED)
    subprocess.run(["g++", "-g", "-O1", "-Wl,--build-id", "-o", f"{work}/linked", f"{work}/linked.cc"], check=True)

    def names(path=trail):
        """Of the program's own functions: whether they are inlined."""
        return {f["function"]: f["inlined"] for x in report("--by", "stack", path=path)["rows"] for f in x["frames"]
                if re.search("app|plain|^main$", f["function"] or "") and "linked.cc" in (f["file"] or "")}

    def fact(path=trail):
        return subprocess.check_output(["sqlite3", path, "SELECT value FROM recording WHERE key = 'function_names'"],
                                       text=True).strip()

    def are_readable(found):
        return {n.split("(")[0]: i for n, i in found.items()} == {"app::load": False, "app::fill": True, "plain": False, "main": False}

    def are_linkage(found):
        return {re.sub("(?<=4fill).*", "", n): i for n, i in found.items()} == {
            "_ZN3app4loadEi": False, "_ZN3app4fill": True, "plain": False, "main": False}
    record(f"{work}/linked")
    tap.ok(are_readable(names()) and fact() == "demangled", f"names are demangled: {names()}")
    files = [(x["file"], x["allocated_bytes"]) for x in report()["rows"]]
    record(f"{work}/linked", options=["--no-demangle"])
    tap.ok(are_linkage(names()) and fact() == "linkage", f"--no-demangle: {names()}")
    tap.ok([(x["file"], x["allocated_bytes"]) for x in report()["rows"]] == files, f"blocks are the same files' as ever: {files}")
    copy = f"{work}/copy.trail"
    shutil.copy(trail, copy)
    r = text("symbolize", "--demangle", copy)
    tap.ok(r.returncode == 0 and are_readable(names(copy)) and fact(copy) == "demangled", f"symbolize --demangle: {r.stdout}")
    r = text("symbolize", "--no-demangle", copy)
    tap.ok(r.returncode == 0 and are_linkage(names(copy)) and fact(copy) == "linkage", f"symbolize --no-demangle: {r.stdout}")
    text("symbolize", copy)
    tap.ok(are_linkage(names(copy)) and fact(copy) == "linkage", "without either they stay of their kind")
    os.unlink(f"{work}/linked")
    r = text("symbolize", "--demangle", copy)
    tap.ok(r.returncode == 0 and are_linkage(names(copy)), f"what is gone keeps its names: {r.stdout}")


def generated_code():
    path = record(f"{TARGETS}/jit").strip()
    try:
        found = functions(report("--by", "function"))
        tap.ok(found.get("LazyCompile:*grow app.js:7") == 1000 and found.get("Interpreter.run") == 2000,
               f"code made at run time has the names that its process told: {found}")
    finally:
        os.unlink(path)
    with open(f"{work}/elsewhere", "w"):
        pass
    path = record(f"{TARGETS}/jit", f"{work}/elsewhere").strip()
    try:
        found = functions(report("--by", "function"))
        tap.ok(found.get(None, 0) >= 3000 and not any(f and "LazyCompile" in f for f in found),
               f"not by a symbolic link: {found}")
    finally:
        os.unlink(path)


try:
    tap.run_as_root([generated_code, generated, beside_dhat, wrappers, later, inlined, linkage_names])
finally:
    os.environ.get("KEEP") or shutil.rmtree(work, ignore_errors=True)
