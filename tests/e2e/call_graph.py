#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""--call-graph: how stacks are taken, launched and attached."""
import json
import os
import shutil
import subprocess
import tempfile

import beside
import tap
from beside import CALLER, COMPLETE, TOO_DEEP

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
FRAMES_MAX = 255

work = tempfile.mkdtemp(prefix="heaptrail-call-graph.")
libs = tap.private_libc(work)
trail = f"{work}/t.trail"


def record(*args):
    return subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *args], text=True, stderr=subprocess.PIPE,
                          timeout=tap.PATIENCE,
                          env={"LD_LIBRARY_PATH": libs, "PATH": os.environ["PATH"]})


def json_of(*command):
    return json.loads(subprocess.check_output([HEAPTRAIL, command[0], "--json", *command[1:], trail]))


def the_stack():
    """The functions of the stack of frames' one block of 12345 bytes, innermost first, and why it ends."""
    for line in subprocess.check_output([f"{TARGETS}/dump", trail], text=True).splitlines():
        kind, _, _, size, *_, stack = line.split()
        if kind == "alloc" and size == "12345":
            break
    else:
        return None, None
    out, end, at = [], None, int(stack)
    while at:
        (at, end, function), = beside.sql(
            trail, f"SELECT k.parent, k.end, y.function FROM stack k LEFT JOIN symbol y ON y.frame = k.frame WHERE k.id = {at}")
        out.append(function)
    return out, end


def modes():
    depth = 20
    for how in ((), ("--call-graph=auto",)):
        record(*how, "--", f"{TARGETS}/frames", str(depth))
        functions, end = the_stack()
        tap.ok(functions[:depth + 1] == ["descend"] * depth + ["main"] and functions[-1] == "_start" and end == COMPLETE,
               f"{how}: {len(functions)} frames, the last is {functions[-1]}")
        s = json_of("report")
        tap.ok(s["recording"]["stack_mode"] == "auto" and s["summary"]["stacks_complete"] == s["summary"]["alloc_calls"] > 0 and
               s["summary"]["stacks_truncated"] == 0, "all stacks are complete, and the report says so")
    record("--call-graph=fp", "--", f"{TARGETS}/frames", str(depth))
    functions, end = the_stack()
    tap.ok(functions[:depth + 1] == ["descend"] * depth + ["main"], f"fp: {len(functions)} frames, end {end}")
    s = json_of("report")
    tap.ok(s["recording"]["stack_mode"] == "fp" and
           s["summary"]["stacks_complete"] + s["summary"]["stacks_truncated"] == s["summary"]["alloc_calls"], "fp: they add up")
    record("--call-graph=caller", "--", f"{TARGETS}/frames", str(depth))
    tap.ok(the_stack() == (["descend"], CALLER), f"caller: {the_stack()}")
    s = json_of("report")
    tap.ok(s["recording"]["stack_mode"] == "caller" and s["summary"]["stacks_complete"] == 0, "caller: none is complete")
    record("--call-graph=none", "--", f"{TARGETS}/frames", str(depth))
    tap.ok(the_stack() == ([], None), f"none: {the_stack()}")
    s = json_of("report")
    tap.ok(s["recording"]["stack_mode"] == "none" and s["summary"]["alloc_calls"] == 1, "none: blocks are recorded as ever")
    head = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    tap.ok("  Stacks      not recorded\n" in head and "lost on" not in head, "none: the head says so")
    r = record("--call-graph=dwarf", "--", "true")
    tap.ok(r.returncode == 2 and "'dwarf'" in r.stderr, f"another word: {r.returncode} {r.stderr!r}")


def unchanging():
    """Our own probes make the kernel map a page of code: that is no change of the program's."""
    with subprocess.Popen([f"{TARGETS}/steady", "--gentle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env={"LD_LIBRARY_PATH": libs}) as p:
        try:
            p.stdout.readline()
            r = record("-d", "300ms", "-p", str(p.pid))
            facts = dict(beside.sql(trail, "SELECT key, value FROM recording"))
            tap.ok(r.returncode == 0 and facts["events"] > 0 and facts["code_changes"] == 0,
                   f"attached, {facts['events']} events: code came or went {facts['code_changes']} times")
        finally:
            p.stdin.close()


def depth_limit():
    for depth in (FRAMES_MAX - 5, FRAMES_MAX + 45, 20000):
        record("--", f"{TARGETS}/frames", str(depth))
        functions, end = the_stack()
        expected = (depth + 4, COMPLETE) if depth + 4 <= FRAMES_MAX else (FRAMES_MAX, TOO_DEEP)
        tap.ok((len(functions), end) == expected and set(functions[:min(depth, FRAMES_MAX)]) == {"descend"},
               f"{depth} calls deep: {len(functions)} frames, end {end}")
    s = json_of("info")["stacks"]
    tap.ok(s["truncated"] == [{"reason": "too_deep", "stacks": 1, "alloc_calls": 1}], f"info: {s}")
    head = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    tap.ok("too deep" in head, "and the report's head says it")


def trampolines():
    """Return probes of others: the frames between lie behind the kernel's trampoline, not their callers."""
    if not shutil.which("bpftrace"):
        tap.skip("return probes of others", "bpftrace is not installed")
        return
    program = f"{work}/frames"
    shutil.copy(f"{TARGETS}/frames", program)
    with subprocess.Popen(["bpftrace", "-e", f'BEGIN {{ printf("begun\\n"); }} uretprobe:{program}:descend {{ @n = count(); }}'],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as b:
        if not any("begun" in line for line in b.stdout):
            raise RuntimeError(f"bpftrace ended with {b.wait()} before it traced")
        for how in "auto", "fp":
            r = record(f"--call-graph={how}", "--", program, "20")
            functions, end = the_stack()
            tap.ok(r.returncode == 0 and functions[:21] == ["descend"] * 20 + ["main"] and (how == "fp" or end == COMPLETE),
                   f"{how}, 20 return probes on the stack: {functions}, end {end}")
        beside.end_bpftrace(b)
        counted = b.stdout.read()
    tap.ok("@n: 40" in counted, f"the return probes were there: {counted.strip()!r}")


try:
    tap.run_as_root([modes, unchanging, depth_limit, trampolines])
finally:
    shutil.rmtree(work, ignore_errors=True)
