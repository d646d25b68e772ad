#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that knows its own totals, under every allocator in every way it may come to it: exact, or refused."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import tap
from beside import report

HEAPTRAIL, SRCDIR = os.environ["HEAPTRAIL"], os.environ["SRCDIR"]
LIB = "/usr/lib/x86_64-linux-gnu"
work = tempfile.mkdtemp(prefix="heaptrail-allocators.")
libs = tap.private_libc(work)
KEYS = ("alloc_calls", "allocated_bytes", "live_bytes", "live_blocks")
table = {}


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
            result = "exact" if not wrong else "WRONG"
        table.setdefault((allocator, way), {})[language, threads] = result


def usable_bytes(library):
    """What is recorded as usable, of jemalloc, against what the library itself would give for that size."""
    trail = f"{work}/x.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", "env", f"LD_PRELOAD={library}", plain, "1", "3000",
                    str(tap_seed)], check=True, stdout=subprocess.DEVNULL, timeout=tap.PATIENCE)
    events = subprocess.check_output([f"{os.environ['TARGETS']}/dump", "--long", trail], text=True).splitlines()
    made = [x.split() for x in events]
    made = {(int(x[3]), int(x[7])) for x in made if x[0] in ("alloc", "realloc") and x[10] == "2" and int(x[3])}
    known = {size: usable for size, usable in made if usable != -1}
    asks = "import ctypes,sys; f=ctypes.CDLL(None).nallocx; f.restype=ctypes.c_size_t; " \
           "f.argtypes=[ctypes.c_size_t,ctypes.c_int]; print([f(int(x),0) for x in sys.stdin.read().split()])"
    given = json.loads(subprocess.run([sys.executable, "-c", asks], input=" ".join(map(str, known)), check=True, text=True,
                                      stdout=subprocess.PIPE, env={**os.environ, "LD_PRELOAD": library}).stdout)
    wrong = [(size, known[size], g) for size, g in zip(known, given) if known[size] != g]
    tap.ok(len(known) > 300 and not wrong, f"jemalloc: usable bytes of {len(known)} sizes as nallocx() says {wrong[:5]}")


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
plain, why = build("plain", "gcc")
if os.path.exists(f"{LIB}/{SHARED['jemalloc']}"):
    usable_bytes(f"{LIB}/{SHARED['jemalloc']}")
for way, option in (("shared", []), ("static", ["-static"])):
    cell("musl", way, "gcc", *build(f"musl-{way}", "musl-gcc", *option), private=False)

columns = [("C", 1), ("C", 8), ("C++", 1), ("C++", 8)]
print("# " + f"{'':<30}" + "".join(f"{f'{c}, {n}':<10}" for c, n in columns))
for (allocator, way), results in table.items():
    print("# " + f"{allocator + ', ' + way:<30}" + "".join(f"{results.get(c, 'n/a'):<10}" for c in columns))
shutil.rmtree(work)
tap.done()
