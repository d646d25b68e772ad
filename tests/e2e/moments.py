#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""report and leaks of any moment and window, next to a model that goes through the events one by one."""
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import beside
import programs
import tap

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
DUMP = os.path.join(os.path.dirname(TARGETS), "targets", "dump")
work = tempfile.mkdtemp(prefix="heaptrail-moments.")
libs = tap.private_libc(work)
env = {**os.environ, "LD_LIBRARY_PATH": libs, "PYTHONMALLOC": "malloc", "LC_ALL": "C.UTF-8"}
SUMS = ("alloc_calls", "allocated_bytes", "live_bytes", "live_blocks", "free_calls", "peak_bytes", "peak_blocks")

Event = collections.namedtuple("Event", "kind cls thread size ended_size t_ns address usable stack old")


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                          timeout=tap.PATIENCE)


def report(trail, *args):
    r = run("report", "--json", *args, trail)
    if r.returncode:
        raise RuntimeError(r.stderr)
    return json.loads(r.stdout)


def read_events(trail):
    text = subprocess.check_output([DUMP, "--long", trail], text=True, timeout=tap.PATIENCE)
    events = []
    for line in text.splitlines():
        kind, cls, thread, size, ended, t, address, usable, stack, old, *_ = line.split()
        events.append(Event(kind, int(cls), int(thread), int(size), int(ended), int(t), address, int(usable), int(stack), old))
    return events


def size_class(size):
    return 1 << (size.bit_length() - 1) if size else 0


class Model:
    """Blocks that were allocated at @since or later, after all events of @until and before."""

    def __init__(self, events, since, until):
        self.sums = dict.fromkeys(SUMS, 0)
        by_size = collections.defaultdict(lambda: [0, 0, 0])  # calls, live bytes, live blocks
        by_thread = collections.defaultdict(lambda: [0, 0, 0])
        born = {}  # address of all live blocks -> (time, size, thread)
        live = blocks = 0
        s = self.sums
        for e in events:
            if e.t_ns > until:
                break
            ends = e.kind == "realloc" or (e.kind == "free" and e.cls in (0, 1, 6))
            if ends:
                t, size, thread = born.pop(e.old)
                if t >= since:
                    live -= size
                    blocks -= 1
                    s["free_calls"] += 1
                    for group in (by_size[size_class(size)], by_thread[thread]):
                        group[1] -= size
                        group[2] -= 1
            if e.kind in ("alloc", "realloc"):
                born[e.address] = (e.t_ns, e.size, e.thread)
                if e.t_ns >= since:
                    live += e.size
                    blocks += 1
                    s["alloc_calls"] += 1
                    s["allocated_bytes"] += e.size
                    for group in (by_size[size_class(e.size)], by_thread[e.thread]):
                        group[0] += 1
                        group[1] += e.size
                        group[2] += 1
            if e.t_ns >= since and live >= s["peak_bytes"]:
                s["peak_bytes"], s["peak_blocks"] = live, blocks
        s["live_bytes"], s["live_blocks"] = live, blocks
        self.by_size = {k: v for k, v in by_size.items() if v[0]}
        self.by_thread = {k: v for k, v in by_thread.items() if v[0]}


def wrong(trail, events, since, until, start, *args):
    model = Model(events, since, until)
    sizes, threads = report(trail, "--by", "size", *args), report(trail, "--by", "thread", *args)
    said = {k: sizes["summary"][k] for k in SUMS}
    if said != model.sums or {k: threads["summary"][k] for k in SUMS} != model.sums:
        return f"{said}, {model.sums} expected"
    rows = {r["min_size"]: [r["alloc_calls"], r["live_bytes"], r["live_blocks"]] for r in sizes["rows"]}
    if rows != model.by_size:
        return "sizes differ"
    rows = sorted([r["alloc_calls"], r["live_bytes"], r["live_blocks"]] for r in threads["rows"])
    if rows != sorted(model.by_thread.values()):
        return "threads differ"
    window = sizes["recording"]["window"]
    if window is None or (args[0] != "--since" and window["until_ns"] != until - start):
        return f"window {window}"
    return ""


def leaks_differ(trail, *args):
    s, leaks = report(trail, "--by", "family", *args)["summary"], json.loads(run("leaks", "--json", *args, trail).stdout)
    return (leaks["total_bytes"], leaks["total_blocks"]) != (s["live_bytes"], s["live_blocks"])


def check(name, trail, chosen, tries):
    events = read_events(trail)
    facts = dict(beside.sql(trail, "SELECT key, value FROM recording"))
    start, end = int(facts["start_ns"]), int(facts["end_ns"])
    checkpoints = beside.sql(trail, "SELECT count(DISTINCT chunk) FROM checkpoint")[0][0]
    bad = []
    for i in range(tries):
        at = chosen.choice(events).t_ns if i % 2 else chosen.randrange(start, end)
        bad.append(wrong(trail, events, 0, at, start, "--at", f"{at - start}ns"))
        since, until = sorted(chosen.sample(range(start, end), 2))
        bad.append(wrong(trail, events, since, until, start, "--since", f"{since - start}ns", "--until", f"{until - start}ns"))
        bad.append(wrong(trail, events, since, end, start, "--since", f"{since - start}ns"))
    bad = [b for b in bad if b] + (["leaks differ"] if leaks_differ(trail, "--at", f"{at - start}ns") else [])
    tap.ok(not bad, f"{name}: {len(events)} events, {checkpoints} checkpoints, {3 * tries} moments and windows as the "
           f"events say {bad[:2] or ''}")
    whole, peak = report(trail)["summary"], report(trail, "--at", "peak")["summary"]
    tap.ok(peak["live_bytes"] == peak["peak_bytes"] == whole["peak_bytes"] and peak["live_blocks"] == whole["peak_blocks"],
           f"{name}: --at peak is the peak, {peak['live_bytes']} bytes")


def record(name, *command):
    trail = f"{work}/{name}.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", *command], env=env, check=True, stdout=subprocess.DEVNULL,
                   timeout=tap.PATIENCE)
    return trail


def test_errors(trail):
    for args, text in ((("--at", "1000h"), "after the end of the recording"), (("--since", "2ms", "--until", "1ms"), "until"),
                       (("--at", "soon"), "no time"), (("--since", "-5s"), "no time")):
        r = run("report", *args, trail)
        tap.ok(r.returncode == 2 and text in r.stderr, f"report {' '.join(args)}: {r.stderr.splitlines()[:1]}")
    for command in ("report", "leaks"):
        r = run(command, "--at", "peak", trail)
        tap.ok(r.returncode == 0 and "Live" in r.stdout and "eaked" not in r.stdout.replace("LEAKED", ""),
               f"{command} --at peak says live, not leaked")


def test_cut_off(chosen):
    """The recorder is killed: checkpoints so far, and the events behind them."""
    trail = f"{work}/cut.trail"
    script = programs.python_script(work)
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--", sys.executable, script], env=env,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    beside.wait_until(lambda: os.path.exists(trail) and beside.n_chunks(trail) > 6)
    target = beside.sql(trail, "SELECT pid FROM process")[0][0]
    p.kill()
    p.wait()
    os.kill(target, signal.SIGKILL)
    events = read_events(trail)
    start = int(dict(beside.sql(trail, "SELECT key, value FROM recording"))["start_ns"])
    bad = []
    for _ in range(3):
        at = chosen.choice(events).t_ns
        bad.append(wrong(trail, events, 0, at, start, "--at", f"{at - start}ns"))
    summary = report(trail)["summary"]
    model = Model(events, 0, events[-1].t_ns)
    bad += [] if all(summary[k] == model.sums[k] for k in SUMS) else ["the end differs"]
    bad = [b for b in bad if b]
    tap.ok(not bad, f"cut off: {len(events)} events, moments and the end as they say {bad[:2] or ''}")


def main():
    chosen = random.Random(tap.seed())
    threads = record("threads", f"{TARGETS}/threads")
    check("threads", threads, chosen, 4)
    test_errors(threads)
    check("python3", record("python3", sys.executable, programs.python_script(work, 30)), chosen, 2)
    test_cut_off(chosen)
    tap.done()


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
