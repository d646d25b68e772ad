#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stacks while code comes and goes: no stack is wrong, whatever was at those addresses before.

Each block's size tells from which plug-in, and how deep, it was allocated.  HEAPTRAIL_LOOPS is the number
of loops that each of the eight threads makes.
"""
import collections
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import beside  # noqa: E402
import tap  # noqa: E402

TARGETS = os.environ["TARGETS"]
LOOPS = int(os.environ.get("HEAPTRAIL_LOOPS", "400"))
THREADS = 8
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


def judge(target_right, lost):
    known = stacks()
    ends, wrong, seen, unnamed, others = collections.Counter(), [], 0, 0, collections.Counter()
    dump = subprocess.Popen([f"{TARGETS}/dump", trail], stdout=subprocess.PIPE, text=True)
    for line in dump.stdout:
        kind, _, _, size, _, _, _, _, stack = line.split()
        if kind == "free":
            continue
        names, end = known[int(stack)]
        want = expected(int(size))
        if want is None:
            others[end] += 1
            continue
        seen += 1
        ends[end] += 1
        want = want + ["libc.so.6"] * 2  # start_thread, clone
        unnamed += UNKNOWN in names  # not wrong: it says that it does not know
        want = [UNKNOWN if n == UNKNOWN else w for n, w in zip(names, want)] + (want[len(names):] if not end else [])
        if names != want:
            wrong.append((int(size), end, names))
    dump.wait()
    for w in wrong[:10]:
        print("#", w)
    tap.ok(not wrong, f"{len(wrong)} of {seen} stacks are wrong")
    tap.ok(seen == target_right or (lost and seen < target_right), f"{seen} of the target's {target_right} blocks, {lost} lost")
    complete = ends[0] / max(seen, 1)
    tap.ok(unnamed < 0.1 * seen, f"{unnamed} have a frame in a file that could not be told")
    tap.ok(complete >= 0.9, f"{100 * complete:.3f} % are complete; truncated, by reason: "
           f"{ {k: v for k, v in ends.items() if k} }; of the C library's own: {dict(others)}")


def churn():
    t = subprocess.Popen([f"{TARGETS}/churn", TARGETS, str(THREADS), str(LOOPS)], env={"LD_LIBRARY_PATH": libs},
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
    loss = dict(beside.sql(trail, "SELECT kind, count FROM loss"))
    print("#", {k: v for k, v in loss.items() if v})
    print(f"# the recorder's memory: {resident} KiB at first, {after} KiB at the end, at most {r_peak} KiB")
    judge(int(right[1]), loss["lost_allocs"] + loss["lost_other"])
    tap.ok(after < resident + 16384, f"the recorder's memory: {resident} KiB at first, {after} KiB at the end")


tap.run_as_root([churn])
