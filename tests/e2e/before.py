#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`record --walk-heap -p PID`: blocks from before the attach, of programs that know theirs; what cannot be read, and why."""
import os
import signal
import subprocess
import tempfile
import time

import beside
import tap
from beside import HEAPTRAIL, TARGETS, report

work = tempfile.mkdtemp(prefix="heaptrail-before.")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": tap.private_libc(work)}
trail = f"{work}/t.trail"
SEED = tap.seed()
PATIENT = ("--max-pause", "30s")  # others may need the processor


class Target:
    """heap_blocks: what it says of its own blocks."""

    def __init__(self, scenario, threads, blocks=1000, seed=0, program="heap_blocks", **more):
        self.threads = threads
        self.process = subprocess.Popen([f"{TARGETS}/{program}", scenario, str(threads), str(SEED + seed), str(blocks)],
                                        env={**env, **more}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        if scenario == "busy":
            self.process.stdout.readline()
        else:
            self.read()

    def read(self):
        self.blocks = {}
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "block":
                self.blocks[int(rest[0], 16)] = int(rest[1])
            elif word == "ready":
                return

    def stop(self):
        """All its threads stand still; what they have is said."""
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        self.read()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(tap.PATIENCE)


def record(pid, *options):
    beside.remove(trail)
    return subprocess.run([HEAPTRAIL, "record", "-o", trail, "-d", "100ms", *options, "-p", str(pid)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)


def live():
    """Blocks at the end of the recording, by address: what of them is usable, and which thread made them."""
    blocks = {}
    for line in subprocess.check_output([f"{TARGETS}/dump", "--long", trail], text=True, timeout=tap.PATIENCE).splitlines():
        kind, cls, thread, _, _, _, address, usable, _, old, *_ = line.split()
        if kind == "realloc" or (kind == "free" and cls in ("0", "1", "5", "6")):
            del blocks[int(old, 16)]
        if kind in ("alloc", "realloc"):
            blocks[int(address, 16)] = int(usable), thread
    return blocks


def facts():
    return dict(beside.sql(trail, "SELECT key, value FROM recording WHERE key LIKE 'from_before%'"))


def compare(target, own):
    """What is wrong with the blocks that the recording ends with; @own: so many are the C library's."""
    found, wrong = live(), []
    r = report(trail)
    s, before = r["summary"], r["recording"]["from_before"]
    missing = [hex(b) for b in target.blocks if b not in found]
    other = [hex(b) for b, n in target.blocks.items() if b in found and found[b][0] != n]
    extra = {b: n for b, n in found.items() if b not in target.blocks}
    if missing or other:
        wrong.append(f"{len(missing)} missing, {len(other)} of another size: {(missing + other)[:3]}")
    if len(extra) != own or any(thread != "0" for _, thread in extra.values()):
        wrong.append(f"{len(extra)} that are nobody's instead of {own}: {list(extra.values())[:12]}")
    if s["live_blocks"] != len(found) or s["live_blocks"] != before["blocks"] + s["alloc_calls"] - s["free_calls"]:
        wrong.append(f"the report has {s['live_blocks']} live blocks, the events {len(found)}; {before} + "
                     f"{s['alloc_calls']} - {s['free_calls']}")
    if before["error"] or before != {k[len("from_before_"):]: v for k, v in {**facts(), "from_before_error": None}.items()}:
        wrong.append(f"facts {before} {facts()}")
    wrong += [f"{key} {s[key]}" for key in ("lost_events", "unknown_frees", "double_frees", "mismatched_frees") if s[key]]
    wrong += [f"{k} {n}" for k, n in beside.losses(trail).items() if n and k == "implied_frees"]
    return wrong


def at_rest():
    for scenario, threads, program, own in (("churn", 0, "heap_blocks", 1), ("churn", 8, "heap_blocks", 9),
                                            ("mmapped", 8, "heap_blocks", 9), ("churn", 4, "heap_blocks-static", 12)):
        t = Target(scenario, threads, program=program)
        r = record(t.pid, "--walk-heap", *PATIENT)
        wrong = compare(t, own)
        s = report(trail)["summary"]
        usable = sum(n for n, _ in live().values())
        if s["alloc_calls"] or s["allocated_bytes"] or s["free_calls"] or s["live_bytes"] != usable or s["peak_bytes"] != usable:
            wrong.append(f"summary {s}")
        rows = report(trail, "thread")["rows"]
        if [(x["thread"], x["live_blocks"]) for x in rows] != [("[from before]", s["live_blocks"])]:
            wrong.append(f"rows {rows}")
        status = t.end()
        tap.ok(not wrong and r.returncode == 0 and "warning" not in r.stderr and status == 0,
               f"{program} {scenario}, {threads + 1} threads at rest: {', '.join(wrong)}{r.stderr if r.returncode else ''}")


def busy_run(threads, seed, options=(), **more):
    t = Target("busy", threads, 4000, seed=seed, **more)
    r = beside.attach(t.pid, trail, "--walk-heap", *PATIENT, "--ring-size", "256", *options)
    time.sleep(0.2)
    t.stop()
    beside.interrupt(r)
    r.wait(tap.PATIENCE)
    wrong = compare(t, 1 + threads) if not options else []
    if not wrong and not options and not report(trail)["summary"]["alloc_calls"]:
        wrong.append("nothing was called")
    status = t.end()
    if r.returncode or status:
        wrong.append(f"record ended with {r.returncode}, the target with {status}")
    return wrong


def busy():
    """Threads that allocate, free and reallocate all the time: no call is lost between the heap as it was and the first."""
    runs = int(os.environ.get("BEFORE_RUNS", "6"))
    for what, more in (("now and then", {}), ("without pause", {"HASTE": "1"})):
        bad = [f"run {i}: {wrong}" for i in range(runs) for wrong in [busy_run(8, i, **more)] if wrong]
        tap.ok(not bad, f"8 threads that allocate {what}, {runs} times: every block is there {bad}")


def small():
    """Blocks from before that are small are counted as such."""
    wrong = busy_run(4, 0, ("--min-size", "512"))
    r = report(trail)
    s, n, before = r["summary"], r["recording"]["small"], r["recording"]["from_before"]
    calls = s["alloc_calls"] - s["free_calls"] + n["alloc_calls"] - n["free_calls"]
    tap.ok(not wrong and n["live_blocks"] > 0 and before["blocks"] + calls == s["live_blocks"] + n["live_blocks"]
           and min(usable for usable, _ in live().values()) >= 512 and not s["unknown_frees"],
           f"small ones {before} {n} {wrong}")


def unharmed():
    """A target that checks its blocks."""
    t = subprocess.Popen([f"{TARGETS}/steady"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    t.stdout.readline()
    code, bad = beside.code_of(t.pid), []
    for i in range(8):
        r = record(t.pid, "--walk-heap", "--max-pause", ("1ms", "20ms", "30s")[i % 3])
        s = report(trail)["summary"]
        if r.returncode or beside.code_of(t.pid) != code or "t" in beside.states(t.pid).lower():
            bad.append(f"run {i}: {r.returncode} {r.stderr} {beside.states(t.pid)}")
        if "from_before_error" not in facts() and not s["lost_events"] and s["unknown_frees"]:
            bad.append(f"run {i}: {s['unknown_frees']} unknown frees")
    t.stdin.close()
    said = t.stdout.read().split()
    tap.ok(not bad and t.wait(tap.PATIENCE) == 0 and said[:1] == ["right"], f"a target is as it was {bad} {said}")


def given_up():
    t = Target("churn", 2, 30000)
    r = record(t.pid, "--walk-heap", "--max-pause", "1ms")
    f = facts()
    tap.ok(r.returncode == 0 and f["from_before_blocks"] == 0 and "--max-pause" in f["from_before_error"]
           and f"warning: blocks from before the attach are not there in the recording: {f['from_before_error']}" in r.stderr
           and beside.is_armed(trail), f"a heap that takes longer: {f} {r.stderr}")
    text = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    tap.ok(f"not all: {f['from_before_error']}" in " ".join(text.split()), "the report says so")
    if r.stderr.count("ptrace") == 0:
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(t.pid)], stderr=subprocess.DEVNULL) \
            if os.access("/usr/bin/strace", os.X_OK) else None
        if not tracer:
            tap.skip("a process that is traced", "no strace")
        else:
            beside.expect(lambda: beside.status(t.pid, "TracerPid") != "0", "strace to trace")
            r = record(t.pid, "--walk-heap")
            tracer.send_signal(signal.SIGINT)
            tracer.wait(tap.PATIENCE)
            tap.ok(r.returncode == 0 and "cannot hold process" in facts().get("from_before_error", ""),
                   f"a process that is traced: {r.stderr}")
    t.end()


def jemalloc():
    path = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
    if not os.path.exists(path):
        tap.skip("another allocator", "no jemalloc")
        return
    t = Target("plain", 0, LD_PRELOAD=path)
    r = record(t.pid, "--walk-heap", *PATIENT)
    t.end()
    tap.ok(r.returncode == 0 and "jemalloc" in facts().get("from_before_error", ""), f"another allocator: {r.stderr}")


def usage():
    for options, words in ((("--walk-heap", "--", "true"), "for running processes"), (("--max-pause", "1s", "-p", "1"), "goes with"),
                           (("--walk-heap", "--max-pause", "1us", "-p", "1"), "from 1ms to 1m")):
        r = subprocess.run([HEAPTRAIL, "record", *options], stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
        tap.ok(words in r.stderr and r.returncode in (2, 125), f"{' '.join(options)}: {r.returncode} {r.stderr.strip()}")


TESTS = [at_rest, busy, small, unharmed, given_up, jemalloc, usage]
tap.run_as_root(TESTS)
