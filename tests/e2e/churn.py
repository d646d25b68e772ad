#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stacks while code comes and goes: no stack is wrong, whatever was at those addresses before.

Each block's size tells from which plug-in, and how deep, it was allocated.  HEAPTRAIL_EVENTS is the number of
events, about; where there are many of them, plug-ins are used for longer.
"""
import collections
import os
import shutil
import subprocess
import tempfile

import beside
import tap
from beside import COMPLETE, NOT_READY

TARGETS = os.environ["TARGETS"]
EVENTS = int(os.environ.get("HEAPTRAIL_EVENTS", "50000"))
BLOCKS = 8 if EVENTS < 1000000 else 4000  # from a plug-in that was loaded
THREADS = 8
LOOPS = EVENTS * 4 // (3 * 2 * BLOCKS * THREADS)  # three of four are in plug-ins
BASE, GENERATED, DEPTHS = 4096, 8, 6
UNKNOWN = "(none)"

work = tempfile.mkdtemp(prefix="heaptrail-churn.")
libs = tap.private_libc(work)
trail = f"{work}/t.trail"


def expected(size):
    """The modules of a stack, innermost first, up to the thread's function; None for blocks of others."""
    where, depth = divmod(size - BASE, 64)
    if 0 <= where < GENERATED and 0 <= depth < DEPTHS:
        return [f"churn-plug-in-{where}.so"] * (depth + 2) + ["churn"] * 2
    if where == GENERATED and depth == 0:
        return ["churn", "[anonymous]"] + ["churn"] * 2
    return None


def stacks():
    """The modules of each stack, innermost first, and why it ends."""
    modules = {i: os.path.basename(path) for i, path in beside.sql(trail, "SELECT id, path FROM module")}
    modules[0] = UNKNOWN
    frames = {i: modules[m] for i, m in beside.sql(trail, "SELECT id, module FROM frame")}
    tree = {i: (p, f, e) for i, p, f, e in beside.sql(trail, "SELECT id, parent, frame, end FROM stack")}
    out = {}
    for i, (_, _, end) in tree.items():
        at, names = i, []
        while at:
            at, frame, _ = tree[at]
            names.append(frames[frame])
        out[i] = names, end
    return out


def judge(target_right, loss):
    known, lost = stacks(), loss["lost_allocs"]
    ends, unnamed, others = (collections.Counter() for _ in range(3))
    wrong, seen = [], 0
    sizes = subprocess.check_output([f"{TARGETS}/dump", "--sizes", trail], text=True)
    for line in sizes.splitlines():
        size, stack, n = map(int, line.split())
        names, end = known[stack]
        want = expected(size)
        if want is None:
            others[end] += n
            continue
        seen += n
        ends[end] += n
        want = want + ["libc.so.6"] * 2  # start_thread, clone
        unnamed[end] += n * (UNKNOWN in names)  # not wrong: it says that it does not know
        want = [UNKNOWN if n == UNKNOWN else w for n, w in zip(names, want)] + (want[len(names):] if not end else [])
        if names != want:
            wrong.append((size, end, names))
    for w in wrong[:10]:
        print("#", w)
    tap.ok(not wrong, f"{len(wrong)} of {len(known)} stacks are wrong, in {seen} allocations")
    tap.ok(seen == target_right or target_right - lost <= seen < target_right,
           f"{seen} of the target's {target_right} blocks, {lost} lost")
    # where the recorder was late, by its own count: all that a thread allocates from the plug-in it has loaded
    excused = min(ends[NOT_READY], loss["mappings_busy"] + loss["late_tables"] * BLOCKS)
    of_late = min(unnamed[NOT_READY], excused)
    tap.ok(sum(unnamed.values()) - of_late < 0.1 * seen, f"{sum(unnamed.values())} have a frame in a file that could "
           f"not be told, {of_late} of them because the recorder was late")
    tap.ok(ends[COMPLETE] + ends[NOT_READY] >= 0.99 * seen, f"{ends[COMPLETE]} are complete, {ends[NOT_READY]} were not ready")
    tap.ok(ends[COMPLETE] + excused >= 0.9 * seen, f"{100 * ends[COMPLETE] / max(seen, 1):.3f} % are complete, {excused} "
           f"excused; truncated, by reason: { {k: v for k, v in ends.items() if k} }; of the C library's own: {dict(others)}")


def churn():
    t = subprocess.Popen([f"{TARGETS}/churn", TARGETS, str(THREADS), str(LOOPS), str(BLOCKS)], env={"LD_LIBRARY_PATH": libs},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert t.stdout.readline() == "ready\n"
    r = beside.attach(t.pid, trail)
    resident = beside.kib(r.pid, "VmRSS")
    t.stdin.write("\n")
    right = t.stdout.readline().split()
    tap.ok(right[:1] == ["right"], f"the target came to its end: {right}")
    after, r_peak = beside.kib(r.pid, "VmRSS"), beside.kib(r.pid, "VmHWM")
    r.send_signal(2)
    tap.ok(r.wait() == 0, "the recorder ended well")
    t.stdin.close()
    tap.ok(t.wait() == 0, "so did the target")
    loss = beside.losses(trail)
    print("#", {k: v for k, v in loss.items() if v})
    print(f"# the recorder's memory: {resident} KiB at first, {after} KiB at the end, at most {r_peak} KiB")
    judge(int(right[1]), loss)
    tap.ok(after < resident + 16384, f"the recorder's memory: {resident} KiB at first, {after} KiB at the end")


try:
    tap.run_as_root([churn])
finally:
    shutil.rmtree(work, ignore_errors=True)
