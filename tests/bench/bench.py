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
import tap  # noqa: E402

HEAPTRAIL = os.environ["HEAPTRAIL"]
PAIRS = os.environ["BENCH_PAIRS"]    # the target
FLOOR = os.environ["BENCH_FLOOR"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
TICKS = os.sysconf("SC_CLK_TCK")

work = tempfile.mkdtemp(prefix="heaptrail-bench.")
libs = tap.private_libc(work)


class Target:
    def __init__(self, prefix=()):
        self.p = subprocess.Popen([*prefix, PAIRS], env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs},
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=work,
                                  stderr=subprocess.DEVNULL if prefix else None)  # heaptrack's own report

    def run(self, pairs, expect_probe=None):
        self.p.stdin.write(f"{pairs}\n")
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


def floor(target, pairs):
    f = subprocess.Popen([FLOOR, str(target.p.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if f.stdout.readline() != "ready\n":
        sys.exit("the floor did not attach")
    result = target.run(pairs, True)[0]
    f.stdin.close()
    f.wait()
    return result, None


def heaptrail(target, pairs):
    r = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", f"{work}/bench.trail", "-p", str(target.p.pid)])
    wait_for_probe(target, "heaptrail", r)
    before = cpu_seconds(r.pid)
    ns, wall = target.run(pairs, True)
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
    b.send_signal(2)
    b.wait()
    return result, None


def main():
    if os.geteuid():
        sys.exit("the benchmark needs root")
    target = Target()
    tracked = Target(["heaptrack", "-o", f"{work}/heaptrack"]) if shutil.which("heaptrack") else None
    tools = {"native": (lambda: (target.run(2000000, False)[0], None)),
             "empty probes (the floor)": lambda: floor(target, 200000),
             "heaptrail": lambda: heaptrail(target, 400000)}
    if shutil.which("bpftrace"):
        tools["bpftrace"] = lambda: bpftrace(target, 50000)
    if tracked:
        tools["heaptrack"] = lambda: (tracked.run(200000)[0], None)
    results = {name: [] for name in tools}
    cpus, losts = [], []
    for _ in range(ROUNDS):
        for name, run in tools.items():
            ns, more = run()
            results[name].append(ns)
            if more:
                cpus.append(more[0])
                losts.append(more[1])
    target.close()
    if tracked:
        tracked.close()
    base = statistics.median(results["empty probes (the floor)"])
    print(f"ns per malloc+free pair (CPU time of the target's thread), {ROUNDS} interleaved rounds")
    print(f"  {'':26} {'median':>8} {'min':>8} {'max':>8}  {'x floor':>8}")
    for name, values in results.items():
        m = statistics.median(values)
        print(f"  {name:26} {m:8.0f} {min(values):8.0f} {max(values):8.0f}  {m / base:8.2f}")
    for name in ("bpftrace", "heaptrack"):
        if name not in tools:
            print(f"  {name}: not installed")
    mine = statistics.median(results["heaptrail"])
    print(f"heaptrail / floor            {mine / base:.2f}   (bar: 1.45)")
    if "bpftrace" in tools:
        print(f"heaptrail / bpftrace         {mine / statistics.median(results['bpftrace']):.2f}   (bar: 0.25)")
    print(f"recorder's CPU at full rate  {100 * statistics.median(cpus):.0f} % of a core "
          f"({100 * min(cpus):.0f}-{100 * max(cpus):.0f})   (bar: 35)")
    print(f"events lost                  {sum(losts)}")


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
