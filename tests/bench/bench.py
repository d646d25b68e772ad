#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What recording costs, per malloc+free pair, next to other tools, in one run.

All tools take turns in each round, on one target process with a private C
library (heaptrack, which cannot attach safely, on one of its own), so that a
machine that changes its speed changes it for all.  Medians and ranges are
printed; ratios are what counts.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import beside  # noqa: E402
import tap  # noqa: E402

HEAPTRAIL = os.environ["HEAPTRAIL"]
PAIRS = os.environ["BENCH_PAIRS"]    # the target
PAIRS_FP = os.environ["BENCH_PAIRS_FP"]  # the same with frame pointers
PAIRS_NEW = os.environ["BENCH_PAIRS_NEW"]  # the same with operator new and delete
FLOOR = os.environ["BENCH_FLOOR"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
TICKS = os.sysconf("SC_CLK_TCK")

work = tempfile.mkdtemp(prefix="heaptrail-bench.")
libs = tap.private_libc(work)


FRAMES = 10  # as deep as a call usually is


class Target:
    def __init__(self, prefix=(), program=PAIRS, preload=""):
        self.p = subprocess.Popen([*prefix, program],
                                  env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "LD_PRELOAD": preload},
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=work,
                                  stderr=subprocess.DEVNULL if prefix else None)  # heaptrack's own report

    def run(self, pairs, expect_probe=None, frames=FRAMES):
        self.p.stdin.write(f"{pairs} {frames}\n")
        while True:
            line = self.p.stdout.readline()
            if re.fullmatch(r"\d+ \d+ \d\n", line):  # heaptrack prints some lines of its own
                break
            if not line:
                sys.exit("the target ended")
        cpu, wall, probed = map(int, line.split())
        if expect_probe is not None and bool(probed) != expect_probe:
            sys.exit("malloc of the target has a breakpoint of somebody else's" if probed else "no probe is in place")
        return cpu / pairs, wall

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wait_for_probe(target, what, process):
    for _ in range(200):
        time.sleep(0.05)
        if process.poll() is not None:
            sys.exit(f"{what} ended")
        target.p.stdin.write("1\n")
        if target.p.stdout.readline().split()[2] == "1":
            time.sleep(0.3)  # the last of the probes
            return
    sys.exit(f"{what} put no probe in place")


def floor(target, pairs, what="pair", frames=(FRAMES,)):
    f = subprocess.Popen([FLOOR, str(target.p.pid), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if f.stdout.readline() != "ready\n":
        sys.exit(f"the floor '{what}' did not attach")
    result = [target.run(pairs, True, n)[0] for n in frames]
    f.stdin.close()
    f.wait()
    return result


def heaptrail(target, pairs, how, frames=FRAMES):
    r = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", f"--call-graph={how}", "-o", f"{work}/bench.trail", "-p",
                          str(target.p.pid)])
    wait_for_probe(target, "heaptrail", r)
    before = cpu_seconds(r.pid)
    ns, wall = target.run(pairs, True, frames)
    cpu = (cpu_seconds(r.pid) - before) / (wall / 1e9)
    r.send_signal(2)
    if r.wait():
        sys.exit("heaptrail failed")
    info = subprocess.check_output([HEAPTRAIL, "report", "--json", f"{work}/bench.trail"], text=True)
    lost = int(re.search(r'"lost_events": (\d+)', info).group(1))
    calls = int(re.search(r'"alloc_calls": (\d+)', info).group(1))
    if calls < pairs and not lost:
        sys.exit(f"heaptrail saw {calls} of {pairs} pairs")
    return ns, (cpu, lost)


BPFTRACE = ("uprobe:LIBC:malloc { @size[tid] = arg0 } "
            "uretprobe:LIBC:malloc /@size[tid]/ { @live[retval] = @size[tid]; delete(@size[tid]) } "
            "uprobe:LIBC:free { delete(@live[arg0]) }")


def bpftrace(target, pairs):
    script = BPFTRACE.replace("LIBC", f"{libs}/libc.so.6")
    b = subprocess.Popen(["bpftrace", "-p", str(target.p.pid), "-e", script], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    wait_for_probe(target, "bpftrace", b)
    result = target.run(pairs, True)[0]
    beside.end_bpftrace(b)
    return result, None


def table(title, results, base, note=""):
    print(title)
    print(f"  {'':34} {'median':>8} {'min':>8} {'max':>8}  {'ratio':>8}")
    for name, values in results.items():
        m = statistics.median(values)
        print(f"  {name:34} {m:8.0f} {min(values):8.0f} {max(values):8.0f}  {m / base:8.2f}")
    if note:
        print(note)


def pairs_of_all():
    target = Target()
    tracked = Target(["heaptrack", "-o", f"{work}/heaptrack"]) if shutil.which("heaptrack") else None
    cpus, losts = [], []

    def ours(how, frames=FRAMES):
        ns, (cpu, lost) = heaptrail(target, 400000, how, frames)
        if frames == FRAMES and how == "caller":
            cpus.append(cpu)
        losts.append(lost)
        return ns

    tools = {"native": lambda: target.run(2000000, False)[0],
             "empty probes (the floor)": lambda: floor(target, 200000)[0],
             "heaptrail, callers only": lambda: ours("caller"),
             f"heaptrail, stacks of {FRAMES}": lambda: ours("auto"),
             "empty probes, 30 frames": lambda: floor(target, 200000, frames=(30,))[0],
             "heaptrail, stacks of 30": lambda: ours("auto", 30)}
    if shutil.which("bpftrace"):
        tools["bpftrace"] = lambda: bpftrace(target, 50000)[0]
    if tracked:
        tools["heaptrack"] = lambda: tracked.run(200000)[0]
    results = {name: [] for name in tools}
    for _ in range(ROUNDS):
        for name, run in tools.items():
            results[name].append(run())
    target.close()
    if tracked:
        tracked.close()
    median = {name: statistics.median(values) for name, values in results.items()}
    base = median["empty probes (the floor)"]
    mine = median["heaptrail, callers only"]
    table(f"ns per malloc+free pair (CPU time of the target's thread), {ROUNDS} interleaved rounds", results, base)
    for name in ("bpftrace", "heaptrack"):
        if name not in tools:
            print(f"  {name}: not installed")
    print(f"callers only / floor         {mine / base:.2f}   (bar: 1.45)")
    if "bpftrace" in tools:
        print(f"callers only / bpftrace      {mine / median['bpftrace']:.2f}   (bar: 0.25)")
    print(f"stacks of 30 / floor         {median['heaptrail, stacks of 30'] / median['empty probes, 30 frames']:.2f}"
          "   (bar: 1.9)")
    print(f"recorder's CPU at full rate  {100 * statistics.median(cpus):.0f} % of a core "
          f"({100 * min(cpus):.0f}-{100 * max(cpus):.0f})   (bar: 35)")
    print(f"events lost                  {sum(losts)}")


def stacks():
    """The probe at malloc's entry alone: what taking the stack adds, next to the kernel's walk of frame pointers."""
    depths = (5, 15, 30, 60)
    target, with_fp = Target(), Target(program=PAIRS_FP)
    tools = {"empty": (target, "entry"), "unwound by tables": (target, "stack"),
             "bpf_get_stackid, frame pointers": (with_fp, "kernel")}
    results = {(name, n): [] for name in tools for n in depths}
    for _ in range(ROUNDS):
        for name, (t, what) in tools.items():
            for n, ns in zip(depths, floor(t, 200000, what, depths)):
                results[name, n].append(ns)
    target.close()
    with_fp.close()
    for n in depths:
        base = statistics.median(results["empty", n])
        table(f"ns per pair with a probe at malloc's entry only, {n} frames", {name: results[name, n] for name in tools}, base)
    empty, unwound, kernel = (statistics.median(results[name, 30]) for name in tools)
    print(f"unwound / empty at 30        {unwound / empty:.2f}   (bar: 2.0)")
    print(f"unwound / bpf_get_stackid    {unwound / kernel:.2f}   (bar: 1)")


def allocators():
    """operator new and delete of each allocator, next to glibc's malloc and free."""
    folder = "/usr/lib/x86_64-linux-gnu"
    targets = {"malloc and free, glibc": Target(), "new and delete, glibc": Target(program=PAIRS_NEW)}
    for name, library in (("jemalloc", "libjemalloc.so.2"), ("tcmalloc_minimal", "libtcmalloc_minimal.so.4"),
                          ("tcmalloc", "libtcmalloc.so.4"), ("mimalloc", "libmimalloc.so.2")):
        if os.path.exists(f"{folder}/{library}"):
            targets[f"new and delete, {name}"] = Target(program=PAIRS_NEW, preload=f"{folder}/{library}")
        else:
            print(f"{name} is not installed: not measured")
    results = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, target in targets.items():
            results[name].append(heaptrail(target, 200000, "auto")[0])
    for target in targets.values():
        target.close()
    base = statistics.median(results["malloc and free, glibc"])
    table(f"ns per pair, recorded, {FRAMES} frames (bar: 1.3)", results, base)


def main():
    if os.geteuid():
        sys.exit("the benchmark needs root")
    pairs_of_all()
    stacks()
    allocators()


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
