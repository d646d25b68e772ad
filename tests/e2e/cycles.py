#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Attached to and let go many times, a busy target is as fast and as large as before, and so is the recorder.

HEAPTRAIL_CYCLES says how many times (default 50).
"""
import os
import shutil
import subprocess
import tempfile
import time
from statistics import median

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
CYCLES = int(os.environ.get("HEAPTRAIL_CYCLES", "50"))
WINDOWS, WINDOW_S = 25, 0.1
WARM_UP = min(5, CYCLES - 1)  # after so many cycles nothing may grow
GROWTH_KIB = 256
LONG_S = 20
THREAD_KIB = 0.5  # what the recorder keeps of a thread that has ended: its totals, by stack and size
work = tempfile.mkdtemp(prefix="heaptrail-cycles.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"


class Busy:
    def __init__(self):
        self.process = subprocess.Popen([f"{TARGETS}/busy"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.pid = self.process.pid

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def blocks_per_ms(self):
        """Blocks replaced per ms of its threads' CPU time, at full speed, in one window."""
        self.ask("full")
        time.sleep(0.005)
        a = [int(x) for x in self.ask("sample")]
        time.sleep(WINDOW_S)
        b = [int(x) for x in self.ask("sample")]
        self.ask("gentle")
        return (b[0] - a[0]) * 1e6 / (b[1] - a[1])

    def end(self):
        self.process.stdin.close()
        answer = self.process.stdout.read().split()
        self.process.wait(tap.PATIENCE)
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def count(pid, name):
    try:
        return len(os.listdir(f"/proc/{pid}/{name}"))
    except FileNotFoundError:
        return None


def recorder_peak(recorder):
    """Waits for its end; the most memory it had, in KiB.  (wait4() would count ours, of before its exec.)"""
    peak = 0
    while recorder.poll() is None:
        peak = beside.kib(recorder.pid, "VmHWM") or peak
        time.sleep(0.01)
    return peak


def cycle(target, check_code):
    """One attachment.  The recorder's exit status and peak, and where the code has probes in between."""
    places = []
    if check_code:
        r = beside.attach(target.pid, trail, stderr=subprocess.PIPE)
        places = beside.differences(check_code, beside.code_of(target.pid))
        beside.interrupt(r)
    else:
        r = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", "100ms", "-p", str(target.pid)],
                             stderr=subprocess.PIPE)
    peak = recorder_peak(r)
    said = r.stderr.read()
    r.stderr.close()
    return r.returncode or said, peak, places


def speed(target, control):
    """How fast it is next to one that is never recorded, in windows by turns: others use this machine, too."""
    mine, ratios = [], []
    for _ in range(WINDOWS):
        mine.append(target.blocks_per_ms())
        ratios.append(mine[-1] / control.blocks_per_ms())
    return median(ratios), f"{median(mine):.0f} ({median(ratios):.3f} of the control's)"


def compare(before, target, control):
    """Again, if another's load came between; what was there to see is said in any case."""
    seen = []
    for _ in range(3):
        after, text = speed(target, control)
        seen.append(f"{text}, {(after / before - 1) * 100:+.1f} %")
        if abs(after / before - 1) <= 0.1:
            return True, "; then ".join(seen)
    return False, "; then ".join(seen)


def cycles():
    sizes, peaks, bad, changed = [], [], [], 0
    with Busy() as target, Busy() as control:
        speed(target, control)  # to warm up
        before, before_text = speed(target, control)
        code = beside.code_of(target.pid)
        probed = [int(x, 16) for x in target.ask("code")]
        files, tasks = count(target.pid, "fd"), count(target.pid, "task")
        begin = time.monotonic()
        for i in range(CYCLES):
            failure, peak, places = cycle(target, code if i == 0 else None)
            if failure:
                bad.append(f"{i}: {failure}")
            if i == 0:
                hit = [a for a in probed if any(a <= p < a + 64 for p in places)]
                tap.ok(len(hit) == len(probed), f"while attached, {len(places)} bytes of libc's code are other ones")
            peaks.append(peak)
            sizes.append((beside.kib(target.pid, "VmRSS"), beside.kib(target.pid, "VmSize")))
            changed += beside.code_of(target.pid) != code
        seconds = time.monotonic() - begin
        tap.ok(not bad, f"{CYCLES} times attached and let go, in {seconds:.0f} s {bad or ''}")
        same, after_text = compare(before, target, control)
        tap.ok(same, f"blocks per ms of CPU time: {before_text} before, {after_text} after (within 10 %)")
        tap.ok(changed == 0 and sum(map(len, code.values())) > 1 << 20,
               f"the {sum(map(len, code.values()))} bytes of libc's code are as before after every one "
               f"({changed} times not)")
        for i, name in enumerate(("VmRSS", "VmSize")):
            grown = sizes[-1][i] - sizes[WARM_UP][i]
            tap.ok(grown <= GROWTH_KIB, f"the target's {name}: {sizes[0][i]} KiB after the first, "
                   f"{sizes[WARM_UP][i]} after {WARM_UP + 1}, {sizes[-1][i]} after the last")
        now = count(target.pid, "fd"), count(target.pid, "task")
        tap.ok(now == (files, tasks), f"the target has {now[0]} files and {now[1]} threads, as before")
        # how much it needs in so short a time is a matter of how many events come: the most that it ever does is not
        half = max(1, CYCLES // 2)
        first, last = max(peaks[:half]), max(peaks[-half:])
        tap.ok(first and last / first - 1 <= 0.05, f"the recorder's peak (VmHWM): at most {first} KiB in the first half, "
               f"{last} in the last; median {median(peaks):.0f}, at least {min(peaks)}")
        answer = target.end()
        control.end()
    tap.ok(answer[:1] == ["right"], f"no block was damaged: {answer}")


def long():
    """How large the recorder is must not depend on how long it records; of threads that have gone it keeps the totals."""
    with Busy() as target:
        target.ask("threads")
        r = beside.attach(target.pid, trail)
        beside.expect(lambda: r.poll() is not None or beside.n_chunks(trail) >= 3, "three chunks")  # it has all its buffers
        begin, sizes = time.monotonic(), []
        while time.monotonic() < begin + LONG_S and r.poll() is None:
            time.sleep(0.25)
            sizes.append(beside.kib(r.pid, "VmRSS"))
        r.terminate()
        status = r.wait(tap.PATIENCE)
        target.ask("stop")
        answer = target.end()
    threads = beside.sql(trail, "SELECT count(*) FROM thread")[0][0]
    events = beside.sql(trail, "SELECT value FROM recording WHERE key = 'events'")[0][0]
    quarter = len(sizes) // 4
    early, late = median(sizes[quarter:2 * quarter]), median(sizes[-quarter:])
    tap.ok(status == 0 and answer[:1] == ["right"] and threads > 100 and events > 100000,
           f"recorded {events} events of {threads} threads in {LONG_S} s; the target says {answer}")
    # between the middles of these quarters half of the threads came
    tap.ok(late <= early * 1.03 + THREAD_KIB * threads / 2, f"the recorder's VmRSS: {sizes[0]} KiB at first, median {early:.0f} in the "
           f"second quarter, {late:.0f} in the last, at most {max(sizes)}")


try:
    tap.run_as_root([cycles, long])
finally:
    shutil.rmtree(work, ignore_errors=True)
