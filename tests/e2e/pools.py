#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""report --by pool: every pool of a target that counts them itself, and of APR and talloc."""
import json
import os
import shutil
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL, TARGETS, SRCDIR = os.environ["HEAPTRAIL"], os.environ["TARGETS"], os.environ["SRCDIR"]
PROBES = ("fresh_new: pool_new pool=ret layer=fresh", "fresh_alloc: alloc pool=arg1 size=arg2 layer=fresh",
          "fresh_clear: reset pool=arg1 layer=fresh", "fresh_destroy: destroy pool=arg1 layer=fresh",
          "fixed_init: pool_new pool=arg1 layer=fixed", "fixed_alloc: alloc pool=arg1 size=arg2 layer=fixed",
          "fixed_destroy: destroy pool=arg1 layer=fixed")
work = tempfile.mkdtemp(prefix="heaptrail-pools.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "LC_ALL": "C.UTF-8", "HOME": work}
trail = f"{work}/pools.trail"


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE, env=env)


def record(*target, specs=PROBES, options=()):
    beside.remove(trail)
    r = run("record", "-q", "-o", trail, *options, *[x for s in specs for x in ("--probe", s)], "--", *target)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}: {r.stderr}")
    return r.stdout


def report(*options):
    r = run("report", "--json", *options, trail)
    if r.returncode:
        raise RuntimeError(r.stderr)
    return json.loads(r.stdout)


def pools(layer):
    return report("--by", "pool", "--layer", layer)["rows"]


def numbers(row):
    taken = row["taken_from_heap"]
    return [row["pool"], row["alloc_calls"], row["allocated_bytes"], row["live_blocks"], row["live_bytes"], row["peak_bytes"],
            taken["live_bytes"], taken["alloc_calls"]]


def wrong(own, layer):
    """Pools that are not as the target says; those that it lists come in the order in which they were made."""
    rows = pools(layer)
    found, said = sorted(numbers(r) for r in rows if r["pool"]), sorted(own[layer])
    rest = [r for r in rows if not r["pool"]]
    bad = [(a, b) for a, b in zip(found, said) if a != b]
    return (f"{layer}: {len(found)} pools, not {len(said)}" if len(found) != len(said) else
            f"{layer}: {bad[:3]}" if bad else f"{layer}: in no pool {rest}" if rest else None)


def exact():
    for threads in ("1", "5"):
        own = json.loads(record(f"{TARGETS}/pools", threads))
        bad = [x for x in (wrong(own, "fresh"), wrong(own, "fixed")) if x]
        tap.ok(len(own["fresh"]) > 60 and not bad, f"{len(own['fresh'])} and {len(own['fixed'])} pools of {threads} threads {bad}")
    for layer in ("fresh", "fixed"):
        s, rows = report("--layer", layer)["summary"], pools(layer)
        live = sum(r["ended_ns"] is None for r in rows)
        sums = [sum(r[k] for r in rows) for k in ("live_bytes", "allocated_bytes", "live_blocks", "alloc_calls")]
        tap.ok(sums == [s["live_bytes"], s["allocated_bytes"], s["live_blocks"] - live, s["alloc_calls"] - len(rows)],
               f"they add up to the layer {sums} {s}")
        made = {f["function"] for r in rows for f in r["frames"][:1]}
        tap.ok(made == {f"use_{layer}"} and rows and all(r["made_ns"] is not None for r in rows), f"who made them {made}")


def moments():
    """What was so at the peak; and blocks allocated from a moment on."""
    s = report("--layer", "fresh", "--at", "peak")["summary"]
    rows = report("--layer", "fresh", "--at", "peak", "--by", "pool")["rows"]
    tap.ok(sum(r["live_bytes"] for r in rows) == s["live_bytes"] == s["peak_bytes"], "at the peak")
    since = f"{report()['recording']['duration_ns'] // 2}ns"
    s = report("--layer", "fixed", "--since", since)["summary"]
    rows = report("--layer", "fixed", "--since", since, "--by", "pool")["rows"]
    tap.ok(sum(r["allocated_bytes"] for r in rows) == s["allocated_bytes"] and sum(r["live_bytes"] for r in rows) == s["live_bytes"],
           "since a moment")


def text():
    r = run("report", "--by", "pool", trail)
    tap.ok(r.returncode == 2 and "which layer's pools" in r.stderr and "fresh, fixed" in r.stderr, f"of several layers {r.stderr}")
    r = run("report", "--by", "pool", "--layer", "fresh", trail)
    n = len(pools("fresh"))
    tap.ok(f"\n{n:,} pools, " in r.stdout and "MADE BY" in r.stdout and "use_fresh" in r.stdout and
           all(len(line) <= 80 for line in r.stdout.splitlines()), f"in 80 columns, by who made them {r.stdout}")
    r = run("report", "--by", "pool", "--layer", "fresh", "--rows", "0", "--wide", "--sort", "live", "--bytes", trail)
    most = max(pools("fresh"), key=lambda p: p["live_bytes"])
    first = r.stdout.split("ADDRESS\n")[1].splitlines()[0].split()
    tap.ok(first[2] == f"{most['live_bytes']:,}" and first[-1] == hex(most["pool"]), f"one by one, exactly {first}")
    for options, words in ((("--csv",), "neither with --csv"), (("--wrong-frees",), "--wrong-frees"), (("--inclusive",), "neither with --csv, --inclusive"),
                           (("--sort", "temporary"), "nor with --sort temporary"), (("--layer", "heap"), "layer 'heap' has no pools")):
        r = run("report", "--by", "pool", *options, trail)
        tap.ok(r.returncode == 2 and words in r.stderr and not r.stdout, f"{options}: {r.stderr}")
    record("/bin/true", specs=())
    r = run("report", "--by", "pool", trail)
    tap.ok(r.returncode == 2 and "no layer of the recording has pools" in r.stderr, f"without any {r.stderr}")


def without_stacks():
    own = json.loads(record(f"{TARGETS}/pools", options=("--call-graph", "none")))
    rows = pools("fresh")
    found = sorted(numbers({**r, "taken_from_heap": {"live_bytes": 0, "alloc_calls": 0}})[:6] for r in rows if r["pool"])
    tap.ok(found == sorted(x[:6] for x in own["fresh"]), "without stacks what they handed out")
    tap.ok(all(r["taken_from_heap"] is None for r in rows), "nothing is said of the heap")


def dropped():
    beside.remove(trail)
    r = run("record", "-q", "-o", trail, "--max-size", "1M", "--probe-file", f"{SRCDIR}/tests/targets/layers.probes", "--",
            f"{TARGETS}/layers", "20")
    r = run("report", "--by", "pool", "--layer", "arena", trail)
    tap.ok(r.returncode == 2 and "cannot" in r.stderr and not r.stdout, f"where the oldest events are gone {r.stderr}")


def build(name, package, library):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", package], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if flags.returncode:
        tap.skip(f"pools of {library}", "it is not installed")
        return False
    subprocess.run(["gcc", "-O1", "-g", "-o", f"{work}/{name}", f"{SRCDIR}/tests/targets/layers_{name}.c", *flags.stdout.split()], check=True)
    return True


def apr():
    if not build("apr", "apr-1", "libapr"):
        return
    record(f"{work}/apr", specs=("apr_pool_create_ex: pool_new pool=*arg1 parent=arg2", "apr_palloc: alloc pool=arg1 size=arg2",
                                 "apr_pool_clear: reset pool=arg1", "apr_pool_destroy: destroy pool=arg1"))
    s, rows = report("--layer", "apr")["summary"], pools("apr")
    live = [r for r in rows if r["pool"] and r["ended_ns"] is None]
    filled = sorted((r["live_blocks"], r["live_bytes"]) for r in live if r["live_blocks"])
    tap.ok((25, 25 * 112) in filled and (15, 15 * 107) in filled, f"APR: two pools with 25 and 15 blocks {filled}")
    tap.ok(sum(r["live_bytes"] for r in rows) == s["live_bytes"] and len(rows) > 60, f"{len(rows)} pools add up")


def talloc():
    if not build("talloc", "talloc", "libtalloc"):
        return
    record(f"{work}/talloc", specs=("talloc_named_const: alloc pool=arg1 size=arg2", "_talloc_free: destroy pool=arg1",
                                    "talloc_free_children: reset pool=arg1"))
    s, rows = report("--layer", "talloc")["summary"], pools("talloc")
    tap.ok([sum(r["live_blocks"] for r in rows), sum(r["live_bytes"] for r in rows)] == [s["live_blocks"], s["live_bytes"]],
           f"talloc: blocks that are pools of others add up {s}")
    tap.ok(any(r["pool"] and r["stack"] and r["live_blocks"] > 1 for r in rows), "they were made by who allocated them")


def mimalloc():
    """Its heaps, which are destroyed with all of their blocks, are pools by probes on them; the heap's layer does not see that."""
    library = "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2"
    if not os.path.exists(library):
        return tap.skip("heaps of mimalloc", "it is not installed")
    with open(f"{work}/heaps.c", "w") as f:
        f.write("""#include <stddef.h>
            void *mi_heap_new(void), *mi_heap_malloc(void *, size_t), *mi_heap_zalloc(void *, size_t);
            void mi_heap_destroy(void *), mi_free(void *);
            int main(void) { void *a = mi_heap_new(), *b = mi_heap_new(), *c = mi_heap_new(), *p = NULL;
            for (int i = 0; i < 100; i++) { p = mi_heap_malloc(a, 100 + i); mi_heap_zalloc(b, 50); mi_heap_malloc(c, 10); }
            mi_free(p); mi_heap_destroy(a); return 0; }""")
    subprocess.run(["gcc", "-O1", "-g", "-w", "-o", f"{work}/heaps", f"{work}/heaps.c", library], check=True)
    record(f"{work}/heaps", specs=("mi_heap_new: pool_new pool=ret layer=mi", "mi_heap_malloc: alloc pool=arg1 size=arg2 layer=mi",
                                   "mi_heap_zalloc: alloc pool=arg1 size=arg2 layer=mi", "mi_heap_destroy: destroy pool=arg1 layer=mi",
                                   "mi_free: free ptr=arg1 layer=mi"))
    rows = sorted((r["alloc_calls"], r["allocated_bytes"], r["live_blocks"], r["live_bytes"], r["ended_ns"] is not None)
                  for r in pools("mi") if r["pool"])
    tap.ok(rows == [(100, 1000, 100, 1000, False), (100, 5000, 100, 5000, False), (100, 14950, 0, 0, True)], f"heaps of mimalloc {rows}")
    s = report()["summary"]
    tap.ok(s["live_blocks"] >= 299, f"layer heap has no call for each block of a heap that is destroyed {s['live_blocks']}")


try:
    tap.run_as_root([exact, moments, text, without_stacks, dropped, apr, talloc, mimalloc])
finally:
    shutil.rmtree(work, ignore_errors=True)
