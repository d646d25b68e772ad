#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Frees that are not right, against a program that knows them, compiled in every way, and against memcheck."""
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

HEAPTRAIL, SRCDIR = os.environ["HEAPTRAIL"], os.environ["SRCDIR"]
LIB = "/usr/lib/x86_64-linux-gnu"
DOCUMENTS = ("--probe", "parse_document: alloc size=100 layer=doc", "--probe", "free_document: free ptr=arg1 layer=doc",
             "--probe", "resize_document: realloc ptr=arg1 size=arg2 layer=doc")
work = tempfile.mkdtemp(prefix="heaptrail-wrong-frees.")
libs = tap.private_libc(work)
trail, seed = f"{work}/x.trail", tap.seed()
FREED = {"free": "free() or realloc()", "realloc": "free() or realloc()", "delete": "delete", "delete[]": "delete[]"}


def build(name, *options):
    program = f"{work}/{name}"
    subprocess.run(["g++", "-g", "-fno-builtin", "-Wno-mismatched-new-delete", f"{SRCDIR}/tests/targets/wrong_frees.cc", "-o", program,
                    *options], check=True)
    return program


def record(program, mode, *options, **environment):
    beside.remove(trail)
    command = [program, mode, str(seed)]
    if "LD_PRELOAD" in environment:
        command = ["env", f"LD_PRELOAD={environment.pop('LD_PRELOAD')}", *command]
    env = {**os.environ, "LD_LIBRARY_PATH": libs, "DEBUGINFOD_URLS": "", **environment}
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, *options, "--", *command], env=env, text=True,
                       stdout=subprocess.PIPE, timeout=tap.PATIENCE)
    return json.loads(r.stdout)


def report(*options):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", *options, trail], text=True, timeout=tap.PATIENCE))


def mixed(what, program, *options, any_new=False, **environment):
    """@any_new: only callers are known, so that new[] which calls new may be either."""
    truth = record(program, "mixed", *options, **environment)
    want, found = collections.Counter(), collections.Counter()
    for pair, n in truth.items():
        how, end = pair.split(",")
        if how != {"free": "malloc", "realloc": "malloc", "delete": "new", "delete[]": "new[]"}[end]:
            want[how, FREED[end]] += n
    got = report("--wrong-frees")
    for w in got["wrong_frees"]:
        found[w["allocated_with"], w["freed_with"]] += w["calls"]
    if any_new:
        want = {k: n for k, n in want.items() if "free() or realloc()" in k or "malloc" in k}
        merged = collections.Counter()
        for (how, end), n in want.items():
            merged["malloc" if how == "malloc" else "new or new[]", end] += n
        want = merged
    s = got["summary"]
    by_env = s["live_blocks"] if "LD_PRELOAD" not in environment else s["alloc_calls"] - s["free_calls"]
    tap.ok(want == found and len(want) >= (3 if any_new else 6) and s["mismatched_frees"] == sum(want.values()) and
           not s["unknown_frees"] + s["double_frees"] and s["alloc_calls"] - s["free_calls"] == by_env,
           f"{what}: {s['mismatched_frees']} mismatched of {sum(truth.values())}, each as it was made and freed" +
           ("" if want == found else f"; {want} != {found}"))
    return got, truth


def memcheck(program, ours):
    """As many as valgrind finds."""
    path = f"{work}/memcheck.xml"
    subprocess.run(["valgrind", "--xml=yes", f"--xml-file={path}", "--error-limit=no", "--num-callers=50", program, "mixed", str(seed)],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=tap.PATIENCE)
    root = xml.etree.ElementTree.parse(path).getroot()
    kinds = {e.findtext("unique"): e.findtext("kind") for e in root.iter("error")}
    counts = {p.findtext("unique"): int(p.findtext("count")) for p in root.iter("pair")}
    theirs = sum(counts.get(u, 1) for u, kind in kinds.items() if kind == "MismatchedFree")
    tap.ok(theirs == ours, f"as memcheck: {theirs} mismatched, {ours}")


def stacks(got):
    """Each row's stacks lead to the functions that made and freed."""
    bad = [w for w in got["wrong_frees"] for key, function in (("allocated", "made"), ("freed", "freed"))
           if not any((f["function"] or "").startswith(function) for f in w[key]["frames"])]
    tap.ok(got["wrong_frees"] and not bad, f"stacks of allocation and free {bad[:2]}")


def twice(program):
    record(program, "double", "--free-stacks", GLIBC_TUNABLES="glibc.malloc.tcache_count=0")
    got = report("--wrong-frees")
    w = got["wrong_frees"]
    names = [[f["function"].split("(")[0] for f in w[0][key]["frames"]] if w else [] for key in ("allocated", "freed_before", "freed")]
    lines = [w[0][key]["frames"][0]["line"] if w else 0 for key in ("allocated", "freed_before", "freed")]
    tap.ok(len(w) == 1 and w[0]["kind"] == "double" and w[0]["calls"] == 3 == got["summary"]["double_frees"],
           f"blocks that are freed twice {[(x['kind'], x['calls']) for x in w]}")
    tap.ok(all(n[:2] == ["twice", "main"] for n in names) and lines == sorted(set(lines)),
           f"with the stacks of the allocation and of both frees {names} {lines}")


def layers(program):
    truth = record(program, "layers", *DOCUMENTS)
    got = report("--wrong-frees")
    kinds = {w["kind"]: w for w in got["wrong_frees"]}
    doc = next(x for x in report()["layers"] if x["layer"] == "doc")
    other, past = kinds.get("other_layer", {}), [w for w in got["wrong_frees"] if w["kind"] == "mismatched"]
    calls = sorted(w["calls"] for w in past)
    tap.ok(calls == sorted((truth["past"], truth["resized"])) and
           all((w["layer"], w["freed_with"], w["bytes"]) == ("doc", FREED["free"], 100 * w["calls"]) for w in past),
           f"a library's block, given to free() or realloc(): {calls} of {truth}")
    tap.ok(other.get("calls") == truth["other"] and other.get("layer") == "heap" and other.get("freed_family") == "doc",
           f"a block of malloc(), given to the library's function: {other.get('calls')}")
    by_free, truth["past"] = truth["past"], truth["past"] + truth["resized"]
    tap.ok(got["summary"]["mismatched_frees"] == truth["past"] + truth["other"] == doc["mismatched_frees"] and
           doc["live_blocks"] == 0 and doc["alloc_calls"] == truth["past"] + truth["right"] + truth["resized right"] and not doc["unknown_frees"],
           f"counted, and none is left over {doc}")
    text = subprocess.check_output([HEAPTRAIL, "report", "--wrong-frees", trail], text=True, timeout=tap.PATIENCE)
    tap.ok(f"{by_free} blocks" in text and f"{truth['resized']} blocks" in text and "of layer doc, freed past it: by free() or realloc() of the heap" in text and
           "of layer heap, given to a function of layer doc" in text and "--free-stacks" in text, "the text says so")


def own_operators():
    """Operators that the program replaces may keep their books by malloc(): that is no mismatch."""
    source, program = f"{work}/own.cc", f"{work}/own"
    with open(source, "w") as f:
        f.write("""#include <cstdio>\n#include <cstdlib>\n#include <new>
static void **books; static int n, cap; static FILE *log_;
void *operator new(std::size_t size) {
  if (n == cap) books = (void **)realloc(books, (cap = cap * 2 + 8) * sizeof(void *));
  void *p = malloc(size); if (!p) throw std::bad_alloc(); return books[n++] = p; }
void operator delete(void *p) noexcept { if (log_) fprintf(log_, "x"); free(p); }
void operator delete(void *p, std::size_t) noexcept { free(p); }
int main() { for (int i = 0; i < 100; i++) { int *p = new int[i + 1]; delete[] p; delete new int; }
  free(books); return 0; }\n""")
    for option in (["-O0"], ["-O2"], ["-O2", "-static"]):
        subprocess.run(["g++", "-g", "-w", "-fno-builtin", *option, source, "-o", program], check=True)
        beside.remove(trail)
        subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", program], check=True, timeout=tap.PATIENCE,
                       env={**os.environ, "LD_LIBRARY_PATH": libs})
        s = report()["summary"]
        tap.ok(s["mismatched_frees"] == 0 and s["free_calls"] >= 200, f"{' '.join(option)}: operators of the program's own: none")


got, truth = mixed("-O0", build("o0", "-O0"))
stacks(got)
memcheck(f"{work}/o0", got["summary"]["mismatched_frees"])
mixed("-O2", build("o2", "-O2"))
got, _ = mixed("-O2, --free-stacks", f"{work}/o2", "--free-stacks")
tap.ok(all(not w[k]["truncated"] and w[k]["frames"][-1]["function"] == "_start" for w in got["wrong_frees"] for k in ("allocated", "freed")),
       "--free-stacks: whole stacks on both sides")
mixed("-O2, callers only", f"{work}/o2", "--call-graph=caller", any_new=True)
mixed("static", build("static", "-O1", "-static"))
mixed("static-pie", build("static-pie", "-O1", "-static-pie"))
mixed("libstdc++ static", build("half", "-O1", "-static-libstdc++", "-static-libgcc"))
mixed("no linkage table", build("no-plt", "-O2", "-fno-plt"))
mixed("stripped", build("stripped", "-O2", "-s"))
for library in ("jemalloc.so.2", "tcmalloc_minimal.so.4", "mimalloc.so.2"):
    if os.path.exists(f"{LIB}/lib{library}"):
        mixed(library, f"{work}/o2", LD_PRELOAD=f"{LIB}/lib{library}")
twice(build("twice", "-O1", "-fno-inline"))
layers(build("layers", "-O1"))
own_operators()
shutil.rmtree(work)
tap.done()
