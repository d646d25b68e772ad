#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets with exactly known totals: recorded from the start, and attached to in mid-run."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
RUNS = int(os.environ.get("THREADS_RUNS", "20"))
WINDOW, CYCLE, FIRST = 64, 4096, 100  # as in steady.c

work = tempfile.mkdtemp(prefix="heaptrail-threads.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}


def report(trail, by="module"):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", "--by", by, trail]))


def launched(run, options=()):
    trail = f"{work}/threads.trail"
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", f"{TARGETS}/threads"],
                       env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    if r.returncode or r.stderr:
        return f"record ended with {r.returncode}: {r.stderr}{r.stdout}"
    own = json.loads(r.stdout)
    mine = report(trail)
    s = mine["summary"]
    row = next((x for x in mine["rows"] if x["module"].endswith("/threads")), {})
    wrong = [f"{key} {row.get(key)} != {own[key]}" for key in ("alloc_calls", "allocated_bytes", "live_bytes",
                                                               "live_blocks") if row.get(key) != own[key]]
    # all of the process: what was allocated was freed or leaked
    if s["alloc_calls"] != s["free_calls"] + s["leaked_blocks"]:
        wrong.append(f"{s['alloc_calls']} allocs != {s['free_calls']} frees + {s['leaked_blocks']} leaked")
    others = sum(x["alloc_calls"] - x["live_blocks"] for x in mine["rows"] if x is not row)
    if s["free_calls"] != own["free_calls"] + others:
        wrong.append(f"free_calls {s['free_calls']} != {own['free_calls']} + {others}")
    wrong += [f"{key} {s[key]}" for key in ("lost_events", "unknown_frees", "double_frees") if s[key]]
    if not run:
        names = [x["thread"] for x in report(trail, "thread")["rows"]]
        wrong += [f"no thread worker-{i}" for i in range(1, 33) if not any(n.startswith(f"worker-{i} ") for n in names)]
    return ", ".join(wrong)


def code(pid, addresses):
    with open(f"/proc/{pid}/mem", "rb") as f:
        out = []
        for a in addresses:
            f.seek(a)
            out.append(f.read(64))
        return out


def check_stream(trail):
    """Every thread's piece of its stream must be without a gap, and every free the right one."""
    lines = subprocess.check_output([f"{TARGETS}/dump", trail], text=True).splitlines()
    threads, last_t, n = {}, 0, 0
    for line in lines:
        kind, cls, thread, size, old, t = line.split()[:6]
        if int(t) < last_t:
            return "time runs back", 0
        last_t = int(t)
        th = threads.setdefault(thread, dict(next=None, next_free=None, unknown=0))
        n += 1
        if kind == "alloc":
            i = int(size) - FIRST
            if th["next"] is not None and i != th["next"]:
                return f"thread {thread}: block {i} instead of {th['next']}", n
            if th["next_free"] is None:
                th["next_free"] = i
            th["next"] = (i + 1) % CYCLE
        elif cls == "0":
            i = int(old) - FIRST
            if i != th["next_free"]:
                return f"thread {thread}: free of {i} instead of {th['next_free']}", n
            th["next_free"] = (i + 1) % CYCLE
        elif cls == "2":
            th["unknown"] += 1
            # the blocks of before, and one that was being allocated when it began
            if th["unknown"] > WINDOW + 1:
                return f"thread {thread}: {th['unknown']} unknown frees", n
        else:
            return f"thread {thread}: {line}", n
    if len(threads) < 8:
        return f"{len(threads)} threads only", n
    return "", n


def attached(_):
    trail = f"{work}/steady.trail"
    target = subprocess.Popen([f"{TARGETS}/steady", "--gentle"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    addresses = [int(x, 16) for x in target.stdout.readline().split()[1:]]
    before = code(target.pid, addresses)
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", "300ms", "-p", str(target.pid)],
                       stderr=subprocess.PIPE, text=True, timeout=60)
    after = code(target.pid, addresses)
    time.sleep(0.05)
    target.stdin.close()
    answer = target.stdout.read().split()
    if target.wait() or answer[:1] != ["right"]:
        return f"the target ended with {target.returncode}: {answer}"
    if r.returncode or r.stderr:
        return f"record ended with {r.returncode}: {r.stderr}"
    if before != after:
        return "the code of malloc or free is not as before"
    summary = report(trail)["summary"]
    if summary["lost_events"]:
        return f"{summary['lost_events']} events lost"
    wrong, n = check_stream(trail)
    return wrong or ("too few events" if n < 1000 else "")


def many(name, once, *args):
    bad = []
    for i in range(RUNS):
        wrong = once(i, *args)
        if wrong:
            bad.append(f"run {i}: {wrong}")
    tap.ok(not bad, f"{name}: {RUNS - len(bad)} of {RUNS} runs exact" + (f" ({'; '.join(bad)[:2000]})" if bad else ""))


def main():
    if os.geteuid() != 0:
        tap.skip_all("recording needs root")
    many("eight threads, from first allocation to exit", launched)
    many("the same followed by signals", launched, ["--no-ptrace"])
    many("attached in mid-run and detached", attached)
    tap.done()


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
