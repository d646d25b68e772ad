#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Recorded stacks, frame by frame, against gdb's backtraces of the same allocations.

HEAPTRAIL_FRAMES=N compares the N innermost frames only.
HEAPTRAIL_SAMPLES=N takes N samples of each program.
"""
import bisect
import collections
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

import beside
import debugger
import programs
import tap
from beside import COMPLETE, TOO_DEEP

TARGETS = os.environ["TARGETS"]
FRAMES = int(os.environ.get("HEAPTRAIL_FRAMES", "0"))
SAMPLES = int(os.environ.get("HEAPTRAIL_SAMPLES", "8"))
DEEP = 250  # frames, at least, that are recorded of a stack that has more

work = tempfile.mkdtemp(prefix="heaptrail-stacks.")
libs = tap.private_libc(work)
env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libs, "PYTHONMALLOC": "malloc", "LC_ALL": "C"}

Sample = collections.namedtuple("Sample", "function tid address t_ns caller frames why end_ns")


class Recording:
    """The allocs of a recording and their stacks, as addresses of the process."""

    def __init__(self, trail):
        self.tids = dict(beside.sql(trail, "SELECT id, tid FROM thread"))
        self.frames = {i: (m, o) for i, m, o in beside.sql(trail, "SELECT id, module, offset FROM frame")}
        self.stacks = {i: (p, f, e) for i, p, f, e in beside.sql(trail, "SELECT id, parent, frame, end FROM stack")}
        self.mappings = collections.defaultdict(list)
        for module, start, end, bias in beside.sql(trail, "SELECT module, start, end, bias FROM mapping"):
            self.mappings[module].append((start, end, bias))
        losses = beside.losses(trail)
        self.lost = sum(losses[kind] for kind in ("lost_allocs", "lost_reallocs", "no_thread_state"))
        self.allocs = collections.defaultdict(list)
        for line in subprocess.check_output([f"{TARGETS}/dump", trail], text=True).splitlines():
            kind, _, thread, _, _, t, address, _, stack = line.split()
            if kind != "free":
                self.allocs[self.tids[int(thread)]].append((int(t), int(address, 16), int(stack)))

    def address(self, frame):
        module, offset = self.frames[frame]
        for start, end, bias in self.mappings[module] if module else ():
            if start <= (offset + bias) % (1 << 64) <= end:
                return offset + bias
        return offset

    def stack(self, stack):
        """Its addresses, innermost first, and why it ends."""
        addresses, end = [], None
        while stack:
            stack, frame, end = self.stacks[stack]
            addresses.append(self.address(frame))
        return addresses, end

    def find(self, sample):
        """The stack of the alloc that the sample was taken of, or None.

        The thread stood still after it, so it is its last one before the stop's end.  (Our own probe's turn
        may come after bpftrace's.)
        """
        events = self.allocs[sample.tid]
        i = bisect.bisect(events, (sample.end_ns,)) - 1
        return events[i][2] if i >= 0 and events[i][1] == sample.address else None


def take(target, path, every, wanted):
    """So many samples: each an allocation that has just returned, and its stack as gdb sees it."""
    samples, late = [], 0
    stopper = gdb = None
    try:
        gdb = debugger.Debugger()
        stopper = debugger.Stopper(target.pid, path, every)
        while len(samples) < wanted and late <= 4 * wanted and target.poll() is None:
            stops = stopper.next(tap.PATIENCE)
            if not stops:
                break
            answers = gdb.stacks(target.pid, [stop.tid for stop in stops])
            end_ns = time.monotonic_ns()
            taken = [Sample(*stop, *answer, end_ns) for stop, answer in zip(stops, answers)]
            # of several threads one may go on before it stops
            in_time = [s for s in taken if s.frames[:1] == [s.caller]]
            for s in taken:
                if not s.frames:
                    print(f"# {s.why}", flush=True)
            late += len(taken) - len(in_time)
            samples += in_time
            stopper.go_on()
    finally:
        for x in (stopper, gdb):
            if x:
                x.close()
        if target.poll() is None:
            os.kill(target.pid, signal.SIGCONT)
    if late:
        print(f"# {late} threads had gone on before they stopped", flush=True)
    return samples


def differs(sample, frames, end, is_deep):
    """What is wrong with a recorded stack; "" when it is gdb's."""
    want = sample.frames
    if FRAMES:
        frames, want = frames[:FRAMES], want[:FRAMES]
    n = next((i for i, (a, b) in enumerate(zip(frames, want)) if a != b), min(len(frames), len(want)))
    if n < len(frames):
        return f"frame {n} of {len(frames)} is {frames[n]:x}, gdb's {f'{want[n]:x}' if n < len(want) else 'none'}"
    if FRAMES:
        return "" if n == len(want) else f"{n} frames, gdb's {len(want)}"
    if n < len(want):
        return "" if end == TOO_DEEP and n >= DEEP else f"{n} frames and end {end}, gdb's {len(want)}"
    if is_deep:
        return f"all of {n} frames"
    return "" if end == COMPLETE else f"all frames, but end {end}"


def compare(name, samples, trail, wanted, is_deep=False):
    recording = Recording(trail)
    bad, missing, doubtful, right, depths = [], 0, collections.Counter(), 0, []
    for s in samples:
        if s.why != "outermost":
            doubtful[s.why] += 1  # gdb itself did not get to the end
            continue
        stack = recording.find(s)
        if stack is None:
            missing += 1
            continue
        depths.append(len(s.frames))
        wrong = differs(s, *recording.stack(stack), is_deep)
        right += not wrong
        if wrong:
            bad.append(wrong)
    for line in bad[:5]:
        print(f"# {name}: {line}", flush=True)
    if doubtful:
        print(f"# {name}: gdb did not see the end of {sum(doubtful.values())} stacks: {dict(doubtful)}", flush=True)
    tap.ok(right >= wanted - sum(doubtful.values()) - min(missing, recording.lost) and not bad,
           f"{name}: {right} of {len(samples)} stacks as gdb's, {min(depths, default=0)} to {max(depths, default=0)} "
           f"frames deep, {len(bad)} others")
    tap.ok(sum(doubtful.values()) <= wanted // 4, f"{name}: gdb saw the end of {len(samples) - sum(doubtful.values())}")
    # one that was lost is said to be lost
    tap.ok(not missing or missing <= recording.lost, f"{name}: {missing} not recorded, {recording.lost} allocs lost")


def study(name, argv, every=997, path=None, gate=False, stdin=subprocess.DEVNULL, wanted=SAMPLES, is_deep=False, **kw):
    """Attaches to a program, takes samples, and compares them with what was recorded."""
    trail = f"{work}/{name.replace(' ', '-')}.trail"
    begin = time.monotonic()
    with open(f"{work}/output", "w+") as output:
        target = subprocess.Popen(argv, env=env, cwd=work, stdin=subprocess.PIPE if gate else stdin,
                                  stdout=subprocess.PIPE if gate else output, stderr=output, **kw)
        recorder = None
        try:
            if gate:
                target.stdout.readline()
            else:
                beside.expect(lambda: is_running(target), f"{argv[0]} to start")
            recorder = beside.attach(target.pid, trail, stderr=subprocess.PIPE, text=True)
            if gate:
                target.stdin.write(b"x")
                target.stdin.flush()
            samples = take(target, path or f"{libs}/libc.so.6", every, wanted)
            if target.poll() is not None:
                output.seek(0)
                tap.ok(False, f"{name}: ended with {target.returncode} after {len(samples)} samples: "
                       f"{output.read()[-300:]}")
        finally:
            target.kill()
            target.communicate()
            if recorder:
                said = recorder.communicate(timeout=tap.PATIENCE)[1]
    compare(name, samples, trail, wanted, is_deep)
    tap.ok(recorder.returncode == 0 and not said, f"{name}: the recorder ended with {recorder.returncode} {said}")
    print(f"# {name}: {time.monotonic() - begin:.1f} s", flush=True)


def is_running(target):
    """Has it loaded its libraries?"""
    try:
        with open(f"/proc/{target.pid}/maps") as maps:
            return "libc.so" in maps.read() and beside.kib(target.pid, "VmRSS") > 1000
    except (OSError, TypeError):
        return target.poll() is not None


def ways():
    rng = random.Random(tap.seed())
    for way in subprocess.check_output([f"{TARGETS}/stacks"], env=env, text=True).split():
        every = rng.choice((97, 101, 103)) if "timer" in way else rng.choice((499, 997, 1009))
        study(way, [f"{TARGETS}/stacks", way, f"{TARGETS}/stacks-plug-in.so"], every, gate=True,
              is_deep=way == "recursion")


def static():
    for way in ("threads", "realigned", "timer", "recursion"):
        study(f"static {way}", [f"{TARGETS}/stacks-static", way], 97, f"{TARGETS}/stacks-static", gate=True,
              is_deep=way == "recursion")


def python3():
    study("python3", ["/usr/bin/python3", "-s", "-S", programs.python_script(work)], 4999, wanted=2 * SAMPLES)


def bash():
    study("bash", ["/bin/bash", "--norc", "-c", programs.bash_script()], 4999, wanted=2 * SAMPLES)


def sqlite3():
    feeder = subprocess.Popen(["yes", programs.QUERY], stdout=subprocess.PIPE)
    try:
        study("sqlite3", ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:"], 997, stdin=feeder.stdout,
              wanted=2 * SAMPLES)
    finally:
        feeder.kill()
        feeder.communicate()


def cc1plus():
    # enough for a minute; it is killed when there are enough samples
    study("cc1plus", programs.cc1plus(work, 1500), 1999, wanted=2 * SAMPLES)


def main():
    missing = [x for x in ("gdb", "bpftrace") if not shutil.which(x)]
    if missing:
        tap.skip_all(f"{' and '.join(missing)} not installed")
    tests = [ways, static, python3, bash, sqlite3]
    if shutil.which("g++"):
        tests.append(cc1plus)
    else:
        tap.skip("cc1plus", "it is not installed")
    tap.run_as_root(tests)


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
