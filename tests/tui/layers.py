#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers in the terminal interface: the numbers of every view, at any moment, are those of report --layer."""
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

SRCDIR = os.environ["SRCDIR"]
sys.path.insert(0, os.path.join(SRCDIR, "tests", "e2e"))
import beside  # noqa: E402
import tap  # noqa: E402

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
PROBES = f"{SRCDIR}/tests/targets/layers.probes"
LAYERS = ["heap", "my", "arena", "slab", "pool", "obj", "doc", "lua"]
# column of a view: key of a report's row
COLUMNS = {"LIVE": "live_bytes", "PEAK": "peak_bytes", "ALLOCATED": "allocated_bytes", "CALLS": "alloc_calls", "BLOCKS": "live_blocks",
           "TEMPORARY": "temporary_allocs"}
# keys of a view: what the report has it by; None: its totals only
VIEWS = {"2": "file", "3": "function", "7": "size", "8": "thread", "2 Enter": "line", "4 -": None, "2 c": "stack"}
PAST = {"": None, "P": "peak", "20*[": 20, "60*[": 60}
work = tempfile.mkdtemp(prefix="heaptrail-tui-layers.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "LC_ALL": "C.UTF-8", "HOME": work}


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE, env=env,
                          cwd=work)


def screen(trail, layer, keys="", size="24x80"):
    r = run("view", "--layer", layer, "--script", keys, "--dump", "--size", size, trail)
    return r.stdout if r.returncode == 0 else f"exit status {r.returncode}: {r.stderr}"


def table(trail, layer, keys):
    """All rows of the view, exactly."""
    path = f"{work}/view.csv"
    beside.remove(path)
    screen(trail, layer, f"{keys} e ^U 'view.csv' Enter")
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    if rows and "BALANCE" in rows[0] and "ACQUIRED" in rows[0]:  # of countable things; where none has bytes, these are not there
        rows = [{**dict.fromkeys(COLUMNS, "0"), **r, "CALLS": r["ACQUIRED"], "BLOCKS": r["BALANCE"]} for r in rows]
    return rows


def report(trail, layer, *options):
    r = run("report", "--json", "--layer", layer, *options, trail)
    if r.returncode:
        raise RuntimeError(r.stderr)
    return json.loads(r.stdout)


def sums(rows):
    return {k: sum(int(r[c]) for r in rows) for c, k in COLUMNS.items()}


def numbers(rows, keys):
    return sorted(tuple(int(r[k]) for k in keys) for r in rows if any(int(r[k]) for k in keys))


def at_option(trail, layer, back):
    """The moment of the time line's cursor, so many columns back of 78."""
    if back in (None, "peak"):
        return ["--at", "peak"] if back else []
    length = report(trail, layer)["recording"]["duration_ns"]
    return ["--at", f"{int(float(length) * (78 - back) / 78)}ns"]


def wrong(trail, layer, keys, by, time, back):
    """What differs from the report: the totals, and all rows where it has the same ones."""
    at = at_option(trail, layer, back)
    rows = table(trail, layer, f"2 {time} {keys}")
    right = report(trail, layer, *at, *(["--by", by] if by else []))
    found, said = sums(rows), {k: right["summary"][k] for k in COLUMNS.values()}
    if found != said:
        return f"{layer} {keys} {time}: {found}, not {said}"
    if by and numbers(rows, COLUMNS) != numbers(right["rows"], COLUMNS.values()):
        return f"{layer} {keys} {time}: {rows}, not {right['rows']}"
    return None


def views(trail, times):
    bad, n = [], 0
    for layer in LAYERS:
        for time in times:
            for keys, by in VIEWS.items():
                bad.append(wrong(trail, layer, keys, by, time, PAST[time]))
                n += 1
    bad = [b for b in bad if b]
    tap.ok(not bad, f"{n} views of {len(LAYERS)} layers have the report's numbers {bad[:2]}")


def blocks(trail):
    """Views that need single blocks; and the flame graph, which says its totals."""
    bad = []
    for layer in LAYERS:
        for time, back in PAST.items():
            s = report(trail, layer, *at_option(trail, layer, back))["summary"]
            leaks = table(trail, layer, f"2 {time} 6")
            found = [sum(int(r[c]) for r in leaks for c in r if c in names) for names in (("LEAKED", "UNFREED"), ("BLOCKS", "BALANCE"))]
            if found != [s["live_bytes"], s["live_blocks"]]:
                bad.append((layer, time, "leaks", found))
            single = table(trail, layer, f"2 {time} b")
            if [sum(int(r["SIZE"]) for r in single), len(single)] != [s["live_bytes"], s["live_blocks"]]:
                bad.append((layer, time, "blocks", len(single), s["live_blocks"]))
            flame = re.search(r"([\d,]+) calls?$", screen(trail, layer, f"2 {time} 5").splitlines()[3])
            if s["alloc_calls"] and (not flame or int(flame[1].replace(",", "")) != s["alloc_calls"]):
                bad.append((layer, time, "flame", flame))
    tap.ok(not bad, f"leaks, blocks and flame graph {bad[:3]}")


def header(trail):
    text = screen(trail, "heap", "4*L").splitlines()
    tap.ok("Layer pool" in text[1] and "5 of 8" in text[-2], f"L goes to the next: {text[1]}")
    tap.ok("Layer heap" in screen(trail, "lua", "L") and screen(trail, "heap") == screen(trail, "lua", "L Escape"), "and round")
    tap.ok("Layer obj  Live 1 of 332 acquired" in screen(trail, "obj"), "of countable things their number")
    tap.ok(" L  " in screen(trail, "heap", "?", "90x100"), "the help has the key")
    peak = report(trail, "arena")["summary"]["peak_bytes"] / 1024
    tap.ok(f"{peak:.0f} KiB" in screen(trail, "arena").splitlines()[3], "the curve is of the layer: its peak")
    r = run("view", "--dump", "--layer", "nothing", trail)
    tap.ok(r.returncode == 2 and "there is no layer 'nothing'" in r.stderr and "there is heap, my" in r.stderr, f"one that is not there {r.stderr}")


def since(trail):
    """Blocks allocated from a moment on."""
    bad = []
    for layer in LAYERS:
        options = [o.replace("--at", "--since") for o in at_option(trail, layer, 50)] + \
            [o.replace("--at", "--until") for o in at_option(trail, layer, 20)]
        right = report(trail, layer, *options)["summary"]
        found = sums(table(trail, layer, "2 50*[ m 30*]"))
        if any(found[k] != right[k] for k in COLUMNS.values()):
            bad.append((layer, found, right))
    tap.ok(not bad, f"a range {bad}")


def mappings():
    """Blocks of which parts go: pieces are no calls, and as old as the whole."""
    trail = f"{work}/mappings.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--mmap", "--", f"{TARGETS}/mappings", "random", str(tap.seed()), "3000", "2"],
                   env=env, check=True, stdout=subprocess.DEVNULL)
    LAYERS[:] = ["heap", "mmap"]
    views(trail, list(PAST))
    blocks(trail)
    since(trail)


def one_layer():
    trail = f"{work}/plain.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", f"{TARGETS}/layers"], env=env, check=True, stdout=subprocess.DEVNULL)
    plain = screen(trail, "heap")
    tap.ok("Layer" not in plain and screen(trail, "heap", "L") == plain and " L  " not in screen(trail, "heap", "?", "90x100"),
           "with one layer there is nothing to choose")


def dropped():
    """Only the heap's state is known from before: that is said, and what came since is exact."""
    trail = f"{work}/dropped.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--probe-file", PROBES, "--max-size", "1M", "--", f"{TARGETS}/layers", "20"],
                   env=env, check=True, stdout=subprocess.DEVNULL)
    first = report(trail, "heap")["recording"]["dropped"]["until_ns"]
    text = screen(trail, "my")
    tap.ok("Layer my: blocks allocated after" in text and re.search(r"· complete  [\d.]+ m?s to", text.splitlines()[0]), f"it is said {text[:600]}")
    right = report(trail, "my", "--since", f"{first + 1}ns")["summary"]
    found = sums(table(trail, "my", "2"))
    tap.ok(all(found[k] == right[k] for k in COLUMNS.values()), f"what came since {found} {right}")
    tap.ok("Layer heap" in screen(trail, "lua", "L") and "blocks allocated after" not in screen(trail, "lua", "L"), "the heap is whole")


def growing():
    """The recorder of a target that waits, then goes on."""
    trail = f"{work}/growing.trail"
    source = f"{work}/waits.c"
    with open(source, "w") as f:
        f.write("""#include <stdlib.h>
            #include <unistd.h>
            __attribute__((noinline)) void *own_get(size_t n) { void *p = malloc(n); __asm__ volatile("" ::: "memory"); return p; }
            __attribute__((noinline)) void own_put(void *p) { free(p); __asm__ volatile("" ::: "memory"); }
            int main(void) { char c; while (read(0, &c, 1) == 1) { void *a = own_get(100), *b = own_get(23); own_put(a);
            a = malloc(1000); write(1, &c, 1); (void)b; } return 0; }""")
    subprocess.run(["gcc", "-O1", "-w", "-o", f"{work}/waits", source], check=True)
    with subprocess.Popen([f"{work}/waits"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as target:
        beside.expect(lambda: beside.state(target.pid) == "S", "the target to wait")
        recorder = beside.attach(target.pid, trail, "--probe", "own_get: alloc size=arg1", "--probe", "own_put: free ptr=arg1")
        for n in range(1, 4):
            target.stdin.write(b"x")
            target.stdout.read(1)
            want = {"live_bytes": 23 * n, "alloc_calls": 2 * n, "live_blocks": n, "allocated_bytes": 123 * n}
            found = {}

            def is_there():
                found.update(sums(table(trail, "own", "2")))
                return all(found[k] == want[k] for k in want)
            beside.expect(is_there, "the events")
            tap.ok(found["peak_bytes"] <= 123 + 23 * n, f"while it grows: {found}")
        target.stdin.close()
        recorder.wait(tap.PATIENCE)


def all_tests():
    trail = f"{work}/layers.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--probe-file", PROBES, "--", f"{TARGETS}/layers"], env=env, check=True,
                   stdout=subprocess.DEVNULL)
    views(trail, list(PAST))
    blocks(trail)
    since(trail)
    header(trail)


try:
    tap.run_as_root([all_tests, one_layer, dropped, growing, mappings])
finally:
    shutil.rmtree(work, ignore_errors=True)
