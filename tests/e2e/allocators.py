#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that knows its own totals, under every allocator in every way it may come to it: exact, or refused."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile

import tap
from beside import report

HEAPTRAIL, SRCDIR = os.environ["HEAPTRAIL"], os.environ["SRCDIR"]
LIB = "/usr/lib/x86_64-linux-gnu"
work = tempfile.mkdtemp(prefix="heaptrail-allocators.")
libs = tap.private_libc(work)
KEYS = ("alloc_calls", "allocated_bytes", "live_bytes", "live_blocks")
table = {}
known = [0]  # percent of blocks whose usable bytes are, of each run


def build(name, compiler, *options):
    """The program's path, or why it cannot be built here."""
    program = f"{work}/{name}"
    language = ["-x", "c++", "-std=c++17"] if "++" in compiler else []
    if not shutil.which(compiler):
        return None, f"no {compiler}"
    r = subprocess.run([compiler, "-g", "-O1", "-fno-builtin", "-pthread", *language, f"{SRCDIR}/tests/targets/allocators.c",
                        "-x", "none", "-o", program, *options], stderr=subprocess.PIPE, text=True)
    return (program, "") if r.returncode == 0 else (None, r.stderr.strip().splitlines()[-1])


def ended_by_exec(trail):
    """Blocks that env(1) had when it became the program."""
    with sqlite3.connect(trail) as db:
        spaces = [x for x, in db.execute("SELECT id FROM space ORDER BY id")]
    db.close()
    if len(spaces) == 1:
        return 0
    head = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    return int(re.search(r"Exec +([\d,]+) blocks", head).group(1).replace(",", ""))


def differences(program, threads, preload, private):
    """What is wrong."""
    trail, environment = f"{work}/x.trail", {**os.environ, "DEBUGINFOD_URLS": ""}
    if private:
        environment["LD_LIBRARY_PATH"] = libs
    command = [program, str(threads), "3000", str(tap_seed)]
    if preload:
        command = ["env", f"LD_PRELOAD={preload}", *command]
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", *command], env=environment,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    if r.returncode or r.stderr:
        return [f"record ended with {r.returncode}: {r.stderr.strip()}"]
    own, by_function = json.loads(r.stdout), report(trail, "function")
    rows = [x for x in by_function["rows"] if re.match(r"(make|make_new|resize)\b", x["function"] or "")]
    row = {key: sum(x[key] for x in rows) for key in KEYS}
    wrong = [f"{key} {row.get(key)} != {own[key]}" for key in KEYS if row.get(key) != own[key]]
    s = by_function["summary"]
    others = {key: s[key] - row.get(key, 0) for key in KEYS}
    # what the runtime has allocated besides was freed or is live
    if s["free_calls"] - own["free_calls"] != others["alloc_calls"] - others["live_blocks"] - ended_by_exec(trail):
        wrong.append(f"free_calls {s['free_calls']} of {own['free_calls']} and the runtime's {others}")
    n, different = compare_usable({a: u for a, u in own["usable"].items() if u}, recorded_usable(trail))
    known.append(n * 100 // own["live_blocks"])
    wrong += [f"usable bytes {x}" for x in different]
    return wrong + [f"{key} {s[key]}" for key in ("lost_events", "unknown_frees", "double_frees", "mismatched_frees") if s[key]]


def cell(allocator, way, compiler, program, why, preload=None, private=True):
    language = "C++" if "++" in compiler else "C"
    for threads in (1, 8):
        name = f"{allocator}, {way}, {language}, {threads} thread{'s' if threads > 1 else ''}"
        if not program:
            tap.skip(name, why)
            result = "-"
        else:
            wrong = differences(program, threads, preload, private)
            tap.ok(not wrong, f"{name}: exact" + "".join(f"; {x}" for x in wrong[:6]))
            # of aligned blocks, a third and more, it is known of some allocators only
            least = 100 if allocator in ("glibc", "musl") else 40
            tap.ok(known[-1] >= least, f"{name}: usable bytes are known of {known[-1]} % of the blocks")
            result = f"exact {known[-1]}%" if not wrong else "WRONG"
        table.setdefault((allocator, way), {})[language, threads] = result


# Blocks of all sizes, every third resized, and some aligned ones; at the end each with what it has.
SIZES = r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
static void *blocks[40000];
int main(int argc, char **argv)
{
	unsigned long long seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	size_t n = 0, plain;
	for (size_t s = 0; s <= 9000; s++)
		blocks[n++] = malloc(s);
	for (size_t s = 9000; s < 40u << 20; s += s / 23 + 13)
		blocks[n++] = calloc(1, s);
	for (size_t s = 8192; s < 32u << 20; s *= 2)
		for (int i = 0; i < 9; i++)
			blocks[n++] = malloc(s * (size_t)(4 + i / 3) / 4 + (size_t)(i % 3) - 1);
	plain = n;
	for (size_t i = 0; i < plain; i += 3) {
		size_t size;
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		size = malloc_usable_size(blocks[i]) * ((seed >> 33) % 300) / 100 + (seed >> 60) + 1;
		blocks[i] = realloc(blocks[i], size > 64u << 20 ? 5 : size);
	}
	for (size_t align = 8; align <= 1 << 20; align *= 4)
		for (size_t s = 1; s < 1 << 20; s = s * 3 + 1)
			if (posix_memalign(&blocks[n++], align, s))
				return 1;
	for (size_t i = 0; i < n; i++)
		printf("%llx %zu\n", (unsigned long long)blocks[i], malloc_usable_size(blocks[i]));
	fprintf(stderr, "%zu", plain);
	return 0;
}
"""


def recorded_blocks(trail):
    """Size and usable bytes of the blocks that are live at the end, by address; None: not known."""
    live = {}
    for line in subprocess.check_output([f"{os.environ['TARGETS']}/dump", "--long", trail], text=True).splitlines():
        kind, _, _, size, _, _, address, usable, _, old = line.split()[:10]
        if kind in ("free", "realloc"):
            live.pop(old if kind == "realloc" else address, None)
        if kind in ("alloc", "realloc"):
            live[address] = int(size), None if usable == "-1" else int(usable)
    return live


def recorded_usable(trail):
    return {a: usable for a, (_, usable) in recorded_blocks(trail).items()}


def compare_usable(own, recorded):
    """How many of the program's blocks are known, and which are wrong."""
    wrong = [(a, u, recorded.get(a, "not there")) for a, u in own.items() if recorded.get(a, 0) is not None and recorded.get(a) != u]
    return sum(recorded.get(a) is not None for a in own), wrong


def usable_bytes():
    """The usable bytes of blocks of all sizes, where the classes are known; else none at all."""
    trail = f"{work}/x.trail"
    with open(f"{work}/sizes.c", "w") as f:
        f.write(SIZES)

    def one(name, is_known, build_with, preload=None, **more):
        r = subprocess.run([*build_with[:1], "-O1", "-fno-builtin", "-o", f"{work}/sizes", f"{work}/sizes.c", *build_with[1:]],
                           stderr=subprocess.PIPE, text=True)
        if r.returncode or (preload and not os.path.exists(preload)):
            tap.skip(f"usable bytes of {name}", r.stderr.strip()[-80:] or f"no {preload}")
            return
        command = ["env", *(f"{k}={v}" for k, v in more.items()), *([f"LD_PRELOAD={preload}"] if preload else []),
                   f"{work}/sizes", str(tap_seed)]
        r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", *command], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
        own = dict(line.split() for line in r.stdout.splitlines() if line.count(" ") == 1)
        n, wrong = compare_usable({a: int(u) for a, u in own.items()}, recorded_usable(trail))
        plain = int(r.stderr) if r.stderr.isdigit() else 0
        # tcmalloc for debugging knows nothing of some aligned blocks, and ends the program
        tap.ok(not wrong and (n >= plain > 9000 and r.returncode == 0 if is_known else n == 0 and len(own) > 5000),
               f"usable bytes of {name}: of {len(own)} blocks {n} are known, none is wrong {wrong[:4]}")

    for allocator, library in SHARED.items():
        one(allocator, True, ["gcc"], f"{LIB}/{library}")
    tcmalloc = f"{LIB}/{SHARED['tcmalloc']}"
    one("tcmalloc with classes by another rule", True, ["gcc"], tcmalloc, TCMALLOC_TRANSFER_NUM_OBJ="4000")
    one("tcmalloc that takes samples", False, ["gcc"], tcmalloc, TCMALLOC_SAMPLE_PARAMETER="1000")
    one("tcmalloc for debugging", False, ["gcc"], f"{LIB}/libtcmalloc_minimal_debug.so.4")
    one("static tcmalloc_minimal", True, ["gcc", f"{LIB}/libtcmalloc_minimal.a", "-lstdc++", "-lm", "-lpthread"])
    one("static jemalloc", True, ["gcc", f"{LIB}/libjemalloc.a", "-lstdc++", "-lm", "-lpthread"])
    one("glibc", True, ["gcc"])
    if shutil.which("musl-gcc"):
        one("musl", True, ["musl-gcc"])
        one("static musl", True, ["musl-gcc", "-static"])


# xallocx() of jemalloc: what it cannot do changes nothing; and a realloc() by the same thread afterwards.
RESIZED = r"""
#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
static size_t calls, size;
__attribute__((noinline)) static void resize(void *p, size_t to, size_t extra)
{
	if (xallocx(p, to, extra, 0) < to)
		return;
	size = to;
	calls++;
}
int main(void)
{
	static const size_t starts[] = {1, 100, 5000, 40000, 1 << 20, 10 << 20};
	static const size_t percents[] = {100, 90, 103, 50, 75, 300, 100, 10, 1000, 101};
	static char out[BUFSIZ]; /* or printf() would allocate one */
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	for (int i = 0; i < 6; i++) {
		void *p = mallocx(starts[i], 0);
		size = starts[i];
		calls++;
		for (int k = 0; k < 10; k++) {
			size_t to = starts[i] * percents[k] / 100 + 1;
			resize(p, to, k % 3 * 64);
			if (k == 4 && (p = realloc(p, to + 7))) {
				size = to + 7;
				calls++;
			}
		}
		printf("%llx %zu %zu\n", (unsigned long long)p, size, sallocx(p, 0));
	}
	printf("%zu\n", calls);
	return 0;
}
"""


def resized_in_place():
    with open(f"{work}/resized.c", "w") as f:
        f.write(RESIZED)
    for way, options in (("shared", ["-l:libjemalloc.so.2"]), ("static", [f"{LIB}/libjemalloc.a", "-lstdc++", "-lm", "-lpthread"])):
        r = subprocess.run(["gcc", "-g", "-O1", "-fno-builtin", "-o", f"{work}/resized", f"{work}/resized.c", *options],
                           stderr=subprocess.PIPE, text=True)
        if r.returncode:
            tap.skip(f"xallocx, {way}", r.stderr.strip()[-80:])
            continue
        trail = f"{work}/x.trail"
        r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{work}/resized"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE, env={**os.environ, "LD_LIBRARY_PATH": libs})
        *blocks, calls = [line.split() for line in r.stdout.splitlines()]
        own = {a: (int(size), int(usable)) for a, size, usable in blocks}
        recorded = {a: x for a, x in recorded_blocks(trail).items() if a in own}
        s = report(trail, "function")
        n = sum(x["alloc_calls"] for x in s["rows"] if re.match(r"(resize|main)\b", x["function"] or ""))
        tap.ok(r.returncode == 0 and not r.stderr and recorded == own and n == int(calls[0]) > 20 and
               not any(s["summary"][k] for k in ("lost_events", "unknown_frees", "double_frees", "mismatched_frees")),
               f"xallocx, {way}: {n} calls of {calls}, {recorded} and {own} {r.stderr}")


SHARED = {"jemalloc": "libjemalloc.so.2", "tcmalloc_minimal": "libtcmalloc_minimal.so.4", "tcmalloc": "libtcmalloc.so.4",
          "mimalloc": "libmimalloc.so.2"}
tap_seed = tap.seed()
for compiler in ("gcc", "g++"):
    kind = compiler.replace("+", "x")
    plain, why = build(f"shared-{kind}", compiler)
    cell("glibc", "shared", compiler, plain, why)
    cell("glibc", "static", compiler, *build(f"static-{kind}", compiler, "-static"))
    cell("glibc", "static-pie", compiler, *build(f"static-pie-{kind}", compiler, "-static-pie"))
    for allocator, library in SHARED.items():
        there = os.path.exists(f"{LIB}/{library}")
        linked, why = build(f"{allocator}-{kind}", compiler, "-Wl,--no-as-needed", f"-l:{library}")
        cell(allocator, "shared", compiler, linked, why)
        cell(allocator, "preload", compiler, plain if there else None, f"no {library}", f"{LIB}/{library}")
        archive = f"lib{allocator}.a"
        if allocator == "mimalloc" and not os.path.exists(f"{LIB}/{archive}"):
            print("# mimalloc, static: distributions have no archive of it", flush=True)
            continue
        linked, why = build(f"{allocator}-static-{kind}", compiler, "-Wl,--no-as-needed", f"{LIB}/{archive}", "-lstdc++", "-lm",
                            *(["-lunwind"] if allocator == "tcmalloc" else []))
        cell(allocator, "static", compiler, linked, why)
usable_bytes()
resized_in_place()
for way, option in (("shared", []), ("static", ["-static"])):
    cell("musl", way, "gcc", *build(f"musl-{way}", "musl-gcc", *option), private=False)

columns = [("C", 1), ("C", 8), ("C++", 1), ("C++", 8)]
print("# " + f"{'':<30}" + "".join(f"{f'{c}, {n}':<12}" for c, n in columns))
for (allocator, way), results in table.items():
    print("# " + f"{allocator + ', ' + way:<30}" + "".join(f"{results.get(c, 'n/a'):<12}" for c in columns))
shutil.rmtree(work)
tap.done()
