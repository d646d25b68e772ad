#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets with exactly known totals: recorded from the start, and attached to in mid-run."""
import json
import os
import shutil
import subprocess
import tempfile
import time

import beside
import tap
from beside import report

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
RUNS = int(os.environ.get("THREADS_RUNS", "20"))
work = tempfile.mkdtemp(prefix="heaptrail-threads.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}


def launched(run, options=()):
    trail = f"{work}/threads.trail"
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", f"{TARGETS}/threads"],
                       env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    if r.returncode or r.stderr:
        return f"record ended with {r.returncode}: {r.stderr}{r.stdout}"
    own = json.loads(r.stdout)
    mine = report(trail)
    s = mine["summary"]
    row = beside.calls_from(trail, "/threads")
    wrong = [f"{key} {row.get(key)} != {own[key]}" for key in ("alloc_calls", "allocated_bytes", "live_bytes",
                                                               "live_blocks") if row.get(key) != own[key]]
    # all of the process: what was allocated was freed or leaked
    if s["alloc_calls"] != s["free_calls"] + s["leaked_blocks"]:
        wrong.append(f"{s['alloc_calls']} allocs != {s['free_calls']} frees + {s['leaked_blocks']} leaked")
    others = s["alloc_calls"] - s["live_blocks"] - (row.get("alloc_calls", 0) - row.get("live_blocks", 0))
    if s["free_calls"] != own["free_calls"] + others:
        wrong.append(f"free_calls {s['free_calls']} != {own['free_calls']} + {others}")
    wrong += [f"{key} {s[key]}" for key in ("lost_events", "unknown_frees", "double_frees") if s[key]]
    if not run:
        names = [x["thread"] for x in report(trail, "thread")["rows"]]
        wrong += [f"no thread worker-{i}" for i in range(1, 33) if not any(n.startswith(f"worker-{i} ") for n in names)]
    return ", ".join(wrong)


def attached(_):
    trail = f"{work}/steady.trail"
    target = subprocess.Popen([f"{TARGETS}/steady", "--gentle"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    target.stdout.readline()
    before = beside.code_of(target.pid)
    r = beside.attach(target.pid, trail, "--ring-size", "64", stderr=subprocess.PIPE, text=True)
    beside.expect(lambda: beside.n_events(trail) > 10000, "events of all threads")
    beside.interrupt(r)
    said = r.communicate(timeout=tap.PATIENCE)[1]
    after = beside.code_of(target.pid)
    time.sleep(0.05)
    target.stdin.close()
    answer = target.stdout.read().split()
    if target.wait() or answer[:1] != ["right"]:
        return f"the target ended with {target.returncode}: {answer}"
    if r.returncode or said:
        return f"record ended with {r.returncode}: {said}"
    if before != after:
        return "the C library's code is not as before"
    summary = report(trail)["summary"]
    if summary["lost_events"]:
        return f"{summary['lost_events']} events lost"
    wrong, n = beside.check_stream(trail)
    return wrong or ("too few events" if n < 1000 else "")


def many(name, once, *args, runs=RUNS):
    bad = []
    for i in range(runs):
        wrong = once(i, *args)
        if wrong:
            bad.append(f"run {i}: {wrong}")
    tap.ok(not bad, f"{name}: {runs - len(bad)} of {runs} runs exact" + (f" ({'; '.join(bad)[:2000]})" if bad else ""))


def from_the_start():
    many("eight threads, from first allocation to exit", launched)


def by_signals():
    many("the same followed by signals", launched, ["--no-ptrace"])


def by_perf_links():
    """What older kernels, which lack the other kind, are left with."""
    env["HEAPTRAIL_LINKS"] = "perf"
    many("the same held by perf links", launched, runs=3)
    facts = json.loads(subprocess.check_output([HEAPTRAIL, "info", "--json", f"{work}/threads.trail"], text=True))["facts"]
    tap.ok(facts["links"] == "perf", f"and info says so: {facts['links']}")
    del env["HEAPTRAIL_LINKS"]


def in_mid_run():
    many("attached in mid-run and detached", attached)


try:
    tap.run_as_root([from_the_start, by_signals, by_perf_links, in_mid_run])
finally:
    shutil.rmtree(work, ignore_errors=True)
