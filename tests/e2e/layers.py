#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --probe: allocators of the program's own, against targets and libraries that count themselves."""
import json
import os
import re
import shutil
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL, TARGETS, SRCDIR = os.environ["HEAPTRAIL"], os.environ["TARGETS"], os.environ["SRCDIR"]
KEYS = ("alloc_calls", "free_calls", "allocated_bytes", "live_blocks", "live_bytes")
PROBES = f"{SRCDIR}/tests/targets/layers.probes"
work = tempfile.mkdtemp(prefix="heaptrail-layers.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "LC_ALL": "C.UTF-8", "HOME": work}
trail = f"{work}/layers.trail"


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE, env=env)


def record(*target, options=(), **more):
    beside.remove(trail)
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, *options, "--", *target], env={**env, **more}, text=True,
                       stdout=subprocess.PIPE, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}")
    return r.stdout


def probes(*specs):
    return [x for s in specs for x in ("--probe", s)]


def report(*options):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", *options, trail], text=True, timeout=tap.PATIENCE))


def leaks(*options):
    return json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", *options, trail], text=True, timeout=tap.PATIENCE))


def layer(name):
    return next(x for x in report()["layers"] if x["layer"] == name)


def functions(call):
    return [f["function"] for f in call["frames"]]


def wrong(own):
    """What is not as the target says, of all layers."""
    bad = []
    layers = {x["layer"]: x for x in report()["layers"]}
    for name, numbers in own.items():
        summary = report("--layer", name)["summary"]
        if [summary[k] for k in KEYS] != numbers or [layers[name][k] for k in KEYS] != numbers:
            bad.append(f"{name}: {[summary[k] for k in KEYS]}, {[layers[name][k] for k in KEYS]}, not {numbers}")
        odd = [k for k in ("unknown_frees", "double_frees", "lost_events") if summary[k]]
        if odd:
            bad.append(f"{name}: {odd}")
    return bad


def exact():
    own = json.loads(record(f"{TARGETS}/layers", options=("--probe-file", PROBES)))
    heap = report()["summary"]
    bad = wrong(own)
    tap.ok(len(own) == 7 and not bad, f"seven allocators of its own, to the block and byte: {bad}")
    names = [x["layer"] for x in report()["layers"]]
    tap.ok(names == ["heap", "my", "arena", "slab", "pool", "obj", "doc", "lua"], f"all of them are summed up {names}")
    arena, pool = layer("arena"), layer("pool")
    tap.ok(arena["ended_with_pool"] > 1000 and pool["ended_with_pool"] > 500, "blocks ended with their pools")
    taken = arena["taken_from_heap"]
    tap.ok(taken["live_bytes"] == 1 << 20 and taken["peak_bytes"] == 3 << 20 and taken["alloc_calls"] == 3,
           f"what an arena took of the heap {taken}")
    taken = pool["taken_from_heap"]
    # each pool is a calloc of 40 bytes or so, each block has a pointer before it
    tap.ok(taken["live_blocks"] == pool["live_blocks"] and taken["live_bytes"] > pool["live_bytes"], f"and pools {taken}")
    text = " ".join(run("report", trail).stdout.split())
    tap.ok("LAYER PEAK ALLOCATED" in text and "took of the heap 3.00 MiB at most" in text, "said to people, too")
    tap.ok(all(len(line) <= 80 for line in run("report", trail).stdout.splitlines()), "in 80 columns")
    rows = report("--layer", "pool", "--by", "family")["rows"]
    tap.ok({r["family"] for r in rows} == {"pool", "pool pools"}, f"by family {rows}")
    record(f"{TARGETS}/layers")
    plain = report()["summary"]
    different = [k for k in heap if heap[k] != plain[k] and not k.endswith("_ns") and k != "peak_rss_bytes"]
    tap.ok(not different and report()["layers"] == [], f"the heap is the same without them {different}")
    r = run("report", "--layer", "my", trail)
    tap.ok(r.returncode == 2 and "there is no layer 'my'" in r.stderr and "there is heap" in r.stderr, "a layer that is not there")


def temporary():
    """The very next event in the layer: not that of malloc below."""
    source = f"{work}/temporary.c"
    with open(source, "w") as f:
        f.write("""#include <stdlib.h>
            __attribute__((noinline)) void *own_get(size_t n) { void *p = malloc(n); __asm__ volatile("" ::: "memory"); return p; }
            __attribute__((noinline)) void own_put(void *p) { __asm__ volatile("" ::: "memory"); free(p); __asm__ volatile(""); }
            int main(void) { void *a = own_get(10), *b; for (int i = 0; i < 7; i++) own_put(own_get(20));
            b = own_get(30); own_put(a); own_put(b); return 0; }""")
    subprocess.run(["gcc", "-O1", "-o", f"{work}/temporary", source], check=True)
    record(f"{work}/temporary", options=probes("own_get: alloc size=arg1", "own_put: free ptr=arg1"))
    own, heap = report("--layer", "own")["summary"], report()["summary"]
    tap.ok(own["temporary_allocs"] == 7 and own["alloc_calls"] == 9, f"temporary in the layer {own}")
    tap.ok(heap["temporary_allocs"] == 7 and heap["alloc_calls"] == 9, f"and in the heap below {heap}")


def attached():
    with subprocess.Popen([f"{TARGETS}/layers", "1", "wait"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as target:
        beside.expect(lambda: beside.state(target.pid) == "S", "the target to wait")
        recorder = beside.attach(target.pid, trail, "--probe-file", PROBES)
        target.stdin.write("\n")
        target.stdin.close()
        own = json.loads(target.stdout.read())
        recorder.wait(tap.PATIENCE)
    bad = wrong(own)
    tap.ok(not bad, f"attached to: {bad}")
    with subprocess.Popen([f"{TARGETS}/layers", "1", "wait"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target:
        beside.expect(lambda: beside.state(target.pid) == "S", "the target to wait")
        beside.remove(trail)
        r = run("record", "-o", trail, "--probe", "my_fre: free ptr=arg1", "-p", str(target.pid))
        tap.ok(r.returncode == 125 and "cannot probe 'my_fre'" in r.stderr and "'my_free' in layers" in r.stderr and
               not os.path.exists(trail), f"a function that is not there {r.stderr}")
        r = run("record", "-o", trail, "--probe", "nothing.so:f: free ptr=arg1", "-p", str(target.pid))
        tap.ok(r.returncode == 125 and "no such file mapped" in r.stderr, f"a module that is not there {r.stderr}")
        target.stdin.close()
        target.wait(tap.PATIENCE)
        tap.ok(target.returncode == 0, "the process runs on")


def threads():
    """Blocks that other threads free and reallocate, and a lock that is taken and given back."""
    specs = probes("mt_get: alloc size=arg1", "mt_put: free ptr=arg1", "mt_change: realloc ptr=arg1 size=arg2",
                   "pthread_mutex_lock: acquire key=arg1 ok=zero layer=locks", "pthread_mutex_unlock: release key=arg1 layer=locks")
    for _ in range(3):
        own = json.loads(record(f"{TARGETS}/layers_threads", options=specs))
        mt, locks = layer("mt"), layer("locks")
        found = [mt["alloc_calls"], mt["free_calls"], mt["live_blocks"]]
        odd = [x[k] for x in (mt, locks) for k in ("unknown_frees", "double_frees")]
        tap.ok(found == own[:3] and not any(odd), f"eight threads: {found} of {own[:3]}, {odd}")
        tap.ok(locks["alloc_calls"] == locks["free_calls"] >= own[3] and locks["live_blocks"] == 0,
               f"a lock that is taken {own[3]} times: {locks['alloc_calls']}, {locks['free_calls']}")


def never_released():
    record(f"{TARGETS}/layers", options=("--probe-file", PROBES))
    found = leaks("--layer", "obj")["references"]
    calls = found[0]["calls"]
    acquires = [functions(c) for c in calls if c["call"] == "acquire"]
    tap.ok(len(found) == 1 and found[0]["balance"] == 1 and sum(c["calls"] for c in calls if c["call"] == "acquire") ==
           found[0]["acquires"], f"one object with a reference too many {found}")
    tap.ok(any("forgetful" in f for f in acquires), f"all that acquired it are named {acquires}")
    tap.ok(all("objects" in " ".join(functions(c)) for c in calls if c["call"] == "release"), "and those that released it")
    found = leaks("--layer", "doc")["references"]
    tap.ok(len(found) == 3 and all(x["bytes"] == 10 and not x["releases"] for x in found), "three documents were not given back")
    text = run("leaks", "--layer", "obj", trail).stdout
    tap.ok("1 too few" in text and "forgetful" in text and "released" in text, "said to people, too")


def later():
    """A library that is loaded by dlopen(), and a program that comes by exec."""
    with open(f"{work}/plug.c", "w") as f:
        f.write("""#include <stdlib.h>
            void *plug_get(size_t n) { void *p = malloc(n); __asm__ volatile("" ::: "memory"); return p; }
            void plug_put(void *p) { free(p); __asm__ volatile("" ::: "memory"); }""")
    with open(f"{work}/host.c", "w") as f:
        f.write("""#include <dlfcn.h>
            #include <stddef.h>
            int main(int argc, char **argv) { void *h = dlopen(argv[argc - 1], RTLD_NOW);
            void *(*get)(size_t) = (void *(*)(size_t))dlsym(h, "plug_get");
            void (*put)(void *) = (void (*)(void *))dlsym(h, "plug_put");
            for (int i = 0; i < 100; i++) put(get(50)); get(7); return 0; }""")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", f"{work}/plug.so", f"{work}/plug.c"], check=True)
    subprocess.run(["gcc", "-O1", "-w", "-o", f"{work}/host", f"{work}/host.c", "-ldl"], check=True)
    specs = probes("plug.so:plug_get: alloc size=arg1", "plug.so:plug_put: free ptr=arg1")
    record(f"{work}/host", f"{work}/plug.so", options=specs)
    s = report("--layer", "plug")["summary"]
    tap.ok([s[k] for k in KEYS] == [101, 100, 5007, 1, 7], f"of a library that comes later, from its first call on {s}")
    record("/bin/sh", "-c", f"exec {work}/host {work}/plug.so", options=specs)
    s = report("--layer", "plug")["summary"]
    tap.ok([s[k] for k in KEYS] == [101, 100, 5007, 1, 7], f"in a program that comes by exec {s}")
    r = run("record", "-o", trail, "--force", *specs, "--", "/bin/true")
    tap.ok(r.returncode == 0 and "matched nothing" in r.stderr, f"one that never comes is said {r.stderr}")
    beside.remove(trail)
    r = run("record", "-o", trail, "--probe", "plug_get: alloc size=arg1", "--", f"{work}/host", f"{work}/plug.so")
    tap.ok(r.returncode == 125 and "of a file that is mapped later say which" in r.stderr and not os.path.exists(trail),
           f"without its module it is an error {r.stderr}")
    r = run("probes", "--json", "--probe", "plug.so:plug_get: alloc size=arg1", f"{work}/plug.so")
    at = json.loads(r.stdout)["probes"][0]["address"]
    options = probes(f"plug.so:0x{at:x}: alloc size=arg1", "plug.so:plug_put: free ptr=arg1")
    record(f"{work}/host", f"{work}/plug.so", options=options)
    s = report("--layer", "plug" if any(x["layer"] == "plug" for x in report()["layers"]) else "user")["summary"]
    tap.ok([s[k] for k in KEYS] == [101, 100, 5007, 1, 7], f"by its address {s}")


def bounded():
    """Of what was dropped only the heap's totals are known: nothing wrong is said of other layers."""
    record(f"{TARGETS}/layers", "20", options=("--probe-file", PROBES, "--max-size", "1M"))
    bounded_heap = report()
    r = run("report", "--layer", "my", trail)
    tap.ok(bounded_heap["recording"]["dropped"] and r.returncode == 2 and "cannot sum up this layer" in r.stderr, f"{r.stderr}")
    tap.ok(bounded_heap["layers"] == [] and "not summed up" in run("report", trail).stdout, "they are not summed up")
    record(f"{TARGETS}/layers", "20", options=("--probe-file", PROBES))
    whole = report()["summary"]
    keys = ("alloc_calls", "free_calls", "allocated_bytes", "live_bytes", "peak_bytes", "temporary_allocs")
    tap.ok(all(bounded_heap["summary"][k] == whole[k] for k in keys), "the heap's totals are exact")
    beside.remove(trail)
    own = json.loads(record(f"{TARGETS}/layers", options=("--probe-file", PROBES, "--min-size", "300")))
    bad = wrong(own)
    tap.ok(not bad and report()["recording"]["small"]["alloc_calls"] > 1000, f"--min-size is of the heap: {bad}")


def throwing():
    """C++ functions that throw, and are left by longjmp: no return probe, the same behaviour, and exact."""
    if not os.path.exists(f"{TARGETS}/throwing"):
        return tap.skip("functions that throw", "no C++ compiler")
    alone = run_target("throwing")
    specs = probes("_ZN5store4takeEmi: alloc size=arg1 layer=store", "_ZN5store4giveEPv: free ptr=arg1 layer=store")
    out = record(f"{TARGETS}/throwing", options=specs)
    tap.ok(out == alone, f"functions that throw: the same as without: {out.strip()}")
    allocs, frees, size, live = map(int, out.split())
    s = layer("store")
    tap.ok([s["alloc_calls"], s["free_calls"], s["allocated_bytes"], s["live_blocks"]] == [allocs, frees, size, live],
           f"and exact: {s}")
    beside.remove(trail)
    r = run("record", "-q", "-o", trail, *probes("_ZN5store5tableEm: alloc size=arg1"), "--", f"{TARGETS}/throwing")
    tap.ok(r.returncode == 125 and "cannot probe _ZN5store5tableEm (it jumps through a pointer)" in r.stderr and
           "nothrow" in r.stderr and not os.path.exists(trail), f"one whose ends cannot be found {r.stderr}")
    record(f"{TARGETS}/throwing", options=probes("_ZN5store5plainEm: alloc size=arg1 layer=plain"))
    s = layer("plain")
    tap.ok([s["alloc_calls"], s["live_blocks"], s["allocated_bytes"]] == [5, 0, 25] and report()["summary"]["mismatched_frees"] == 0,
           f"one that ends in a jump to malloc(): its return is probed, since nothing can throw there {s}")
    beside.remove(trail)
    r = run("record", "-q", "-o", trail, *probes("_ZN5store7carefulEm: alloc size=arg1"), "--", f"{TARGETS}/throwing")
    tap.ok(r.returncode == 125 and "it ends in a jump to another file's malloc" in r.stderr, f"one that may throw besides {r.stderr}")
    r = run("probes", *probes("_ZN5store5tableEm: alloc size=arg1"), f"{TARGETS}/throwing")
    tap.ok(r.returncode == 125 and "cannot probe _ZN5store5tableEm (it jumps through a pointer)" in r.stderr, f"probes says so, too {r.stderr}")


def run_target(name):
    return subprocess.check_output([f"{TARGETS}/{name}"], text=True, env=env, timeout=tap.PATIENCE)


def messages():
    for spec, words in (("x", "column 2 "), ("f: foo", "column 4 "), ("f: alloc size=arg7", "column 15 "), ("f: free", "free needs ptr="),
                        ("f: alloc pool=arg1", "alloc needs size="), ("f: free ptr=ret", "comes too late"),
                        ("f: acquire key=arg1 layer=heap", "layer heap has"),
                        ("0x10: free ptr=arg1", "needs its module"), ("f: alloc size=arg1 size=2", "comes twice"),
                        ("f: free size=arg1", "takes no size="), ("f: acquire key=arg1 ok=maybe", "ok= is any")):
        r = run("record", "--probe", spec, "--", "/bin/true")
        tap.ok(r.returncode == 2 and words in r.stderr and "hint: a probe is written as" in r.stderr, f"'{spec}': {r.stderr}")
    with open(f"{work}/bad.probes", "w") as f:
        f.write("# fine\n\nmalloc_it: alloc size=arg1 # fine\nfree_it: free\n")
    r = run("record", "--probe-file", f"{work}/bad.probes", "--", "/bin/true")
    tap.ok(r.returncode == 2 and "line 4 of" in r.stderr and "column 14" in r.stderr, f"a line of a file {r.stderr}")
    r = run("record", "--probe-file", f"{work}/none", "--", "/bin/true")
    tap.ok(r.returncode == 2 and "cannot open the probes" in r.stderr, "no such file")
    r = run("record", *probes("f: free ptr=arg1", "f: free ptr=arg2"), "--", "/bin/true")
    tap.ok(r.returncode == 2 and "probed twice" in r.stderr, f"twice {r.stderr}")
    r = run("record", *probes(*(f"f{i}: free ptr=arg1 layer=l{i}" for i in range(16))), "--", "/bin/true")
    tap.ok(r.returncode == 2 and "more than 15 layers" in r.stderr, f"too many layers {r.stderr}")
    r = run("probes", "--probe-file", PROBES, f"{TARGETS}/layers")
    tap.ok(r.returncode == 0 and "my_malloc" in r.stdout and "emulated" in r.stdout and "reset of layer arena" in r.stdout, "probes")
    tap.ok(all(len(line) <= 80 for line in r.stdout.splitlines()), "probes fits 80 columns")
    r = run("probes")
    tap.ok(r.returncode == 2, "probes without a process")


# ---- libraries of others -----------------------------------------------------------------


def build(name, package, library, flags=()):
    """A target with a private copy of the library; False where it is not installed."""
    got = subprocess.run(["pkg-config", "--cflags", "--libs", package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    r = got.returncode or subprocess.run(["gcc", "-O1", "-g", "-o", f"{work}/{name}", f"{SRCDIR}/tests/targets/layers_{name}.c",
                                          *got.stdout.split(), *flags], stderr=subprocess.DEVNULL).returncode
    if r:
        tap.skip(f"{name}", f"{package} is not installed")
        return False
    text = subprocess.check_output(["ldd", f"{work}/{name}"], text=True)
    path = re.search(rf"({library}\S*) => (\S+)", text)
    shutil.copy(os.path.realpath(path.group(2)), os.path.join(libs, path.group(1)))
    return True


def sqlite():
    if not build("sqlite", "sqlite3", "libsqlite3"):
        return
    # static functions of a stripped library: by their addresses
    at = json.loads(subprocess.check_output([f"{work}/sqlite", "where"], env=env))
    lib = "libsqlite3.so:0x"
    specs = probes(f"{lib}{at['alloc']:x}: alloc size=arg1 layer=sqlite", f"{lib}{at['free']:x}: free ptr=arg1 layer=sqlite",
                   f"{lib}{at['realloc']:x}: realloc ptr=arg1 size=arg2 layer=sqlite")
    for more in ({"LEAVE_OPEN": "1"}, {}):
        own = json.loads(record(f"{work}/sqlite", options=specs, **more))
        s = report("--layer", "sqlite")["summary"]
        tap.ok([s["live_blocks"], s["live_bytes"]] == own and s["alloc_calls"] > 1000 and
               not s["unknown_frees"], f"SQLite says that it uses {own}: {s['live_blocks']}, {s['live_bytes']}")


def glib():
    if not build("glib", "gobject-2.0", "libgobject-2"):
        return
    record(f"{work}/glib", options=probes("libgobject-2.0.so:g_object_new: acquire key=ret", "g_object_ref: acquire key=arg1",
                                          "g_object_unref: release key=arg1"))
    found = leaks()["layer"], leaks("--layer", "g_object")["references"]
    forgotten = [x for x in found[1] if any("keep_it" in functions(c) for c in x["calls"])]
    tap.ok(found[0] == "heap" and len(forgotten) == 1 and forgotten[0]["balance"] == 1, f"GLib: the missing unref {found[1]}")
    s = report("--layer", "g_object")["summary"]
    tap.ok(s["alloc_calls"] >= 61 and s["live_blocks"] == len(found[1]), f"and no other of the program's {s}")


def apr():
    if not build("apr", "apr-1", "libapr-1"):
        return
    own = json.loads(record(f"{work}/apr", options=probes(
        "apr_pool_create_ex: pool_new pool=*arg1 parent=arg2", "apr_palloc: alloc pool=arg1 size=arg2",
        "apr_pool_clear: reset pool=arg1", "apr_pool_destroy: destroy pool=arg1")))
    s = report("--layer", "apr")["summary"]
    # what apr_initialize() made is there besides: few, and always the same
    with_none = [s["live_blocks"] - own[0], s["live_bytes"] - own[1]]
    tap.ok(0 <= with_none[0] <= 12 and 0 <= with_none[1] <= 4096 and not s["unknown_frees"] and not s["double_frees"],
           f"APR: pools that are cleared and destroyed {own} {with_none}")
    tap.ok(layer("apr")["ended_with_pool"] >= 30 * 80, "blocks and pools ended with theirs")


def talloc():
    if not build("talloc", "talloc", "libtalloc"):
        return
    own = json.loads(record(f"{work}/talloc", options=probes(
        "talloc_named_const: alloc pool=arg1 size=arg2", "_talloc_free: destroy pool=arg1", "talloc_free_children: reset pool=arg1")))
    s = report("--layer", "talloc")["summary"]
    names = [x["layer"] for x in report()["layers"]]
    tap.ok([s["live_blocks"], s["live_bytes"]] == own and not s["unknown_frees"], f"talloc says {own}: {s['live_blocks']}, {s['live_bytes']}, {names}")


def lua():
    if not build("lua", "lua5.4", "liblua5.4"):
        return
    own = json.loads(record(f"{work}/lua", options=probes("give_memory: realloc ptr=arg2 size=arg4 layer=lua")))
    s, heap = report("--layer", "lua")["summary"], report()["summary"]
    tap.ok([s["live_blocks"], s["live_bytes"]] == own and not s["unknown_frees"], f"Lua: {own}, {s}")
    tap.ok(heap["live_blocks"] >= own[0] and layer("lua")["taken_from_heap"]["live_bytes"] == own[1], "and the very same of the heap below")


try:
    tap.run_as_root([exact, temporary, attached, threads, never_released, later, bounded, throwing, messages, sqlite, glib, apr, talloc, lua])
finally:
    shutil.rmtree(work, ignore_errors=True)
