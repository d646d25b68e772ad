#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Exceptions, long jumps, cancelled threads and forks go on under the probes, and are counted as valgrind does."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGET = os.path.join(os.environ["TARGETS"], "unwinding")
VALGRIND = shutil.which("valgrind")
# it aborts where new fails, and has an allocator of its own
NOT_VALGRINDS = {"throw-bad-alloc": "valgrind cannot throw bad_alloc", "jump-out-of-malloc": "it has its own malloc",
                 "cancel-at-any-time": "the number of allocations is a matter of chance"}
STATUS = 3  # of each scenario
work = tempfile.mkdtemp(prefix="heaptrail-unwinding.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"
before_the_gate = {}  # what an attached recorder does not see


def run(*command, **kw):
    r = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=tap.PATIENCE, **kw)
    return r.returncode, r.stdout, r.stderr


def summary():
    return {**beside.report(trail)["summary"], "stale_calls": beside.losses(trail)["stale_calls"]}


def launched(name, *options):
    return run(HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", TARGET, name), summary()


def attached(name):
    target = subprocess.Popen([TARGET, "--gate", name], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        recorder = beside.attach(target.pid, trail, stderr=subprocess.PIPE, text=True)
        out, said = target.communicate("x", timeout=tap.PATIENCE)
        said += recorder.communicate(timeout=tap.PATIENCE)[1]
    finally:
        if target.poll() is None:
            target.kill()
            target.communicate()
    return (target.returncode if not recorder.returncode else f"recorder {recorder.returncode}", out, said), summary()


def oracle(name):
    log = f"{work}/valgrind"
    pid = subprocess.Popen([VALGRIND, "--run-libc-freeres=no", "--run-cxx-freeres=no", "--leak-check=no",
                            f"--log-file={log}.%p", TARGET, name], env=env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, text=True)
    out = pid.communicate(timeout=tap.PATIENCE)[0]
    with open(f"{log}.{pid.pid}") as f:
        text = f.read()
    m = re.search(r"in use at exit: [\d,]+ bytes in ([\d,]+) blocks.*"
                  r"total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes", text, re.S)
    if pid.returncode != STATUS or not m:
        raise RuntimeError(f"valgrind ended with {pid.returncode}: {out} {text[-500:]}")
    numbers = [int(g.replace(",", "")) for g in m.groups()]
    return dict(zip(("leaked_blocks", "alloc_calls", "free_calls", "allocated_bytes"), numbers))


def text_of(s):
    return f"{s['alloc_calls']} allocs, {s['free_calls']} frees, {s['leaked_blocks']} leaked"


def check(name, mode, native, result, s):
    tap.ok(result == native, f"{name}, {mode}: " + (f"{native[1].strip()!r}, exit status {native[0]}, as alone"
                                                   if result == native else f"{result} is not {native}"))
    wrong = {k: s[k] for k in ("lost_events", "double_frees", "unknown_frees") if s[k]}
    adds_up = s["alloc_calls"] == s["free_calls"] + s["leaked_blocks"]
    tap.ok(not wrong and adds_up, f"{name}, {mode}: {text_of(s)}{'' if adds_up else ': does not add up'}, "
           f"{s['stale_calls']} calls that never returned {wrong or ''}")


def scenario(name):
    native = run(TARGET, name)
    tap.ok(native[0] == STATUS and native[2] == "", f"{name}, alone: {native[1].strip()!r}, {native[2].strip()!r}")
    result, by_ptrace = launched(name)
    check(name, "ptrace", native, result, by_ptrace)
    result, by_signals = launched(name, "--no-ptrace")
    check(name, "signals", native, result, by_signals)
    result, by_attaching = attached(name)
    check(name, "attached", native, result, by_attaching)
    keys = ("alloc_calls", "free_calls", "leaked_blocks", "allocated_bytes")
    if name == "nothing":
        before_the_gate.update({k: by_ptrace[k] - by_attaching[k] for k in keys})
    if name == "cancel-at-any-time":
        print(f"# {name}: no comparison of numbers: {NOT_VALGRINDS[name]}", flush=True)
    else:
        modes = {"ptrace": by_ptrace, "signals": by_signals,
                 "attached": {k: by_attaching[k] + before_the_gate[k] for k in keys}}
        differ = {m: {k: v[k] for k in keys} for m, v in modes.items() if any(v[k] != by_ptrace[k] for k in keys)}
        tap.ok(not differ, f"{name}: the same numbers, however recorded {differ or ''}")
    if not VALGRIND or name in NOT_VALGRINDS:
        if name in NOT_VALGRINDS:
            print(f"# {name}: not compared with valgrind: {NOT_VALGRINDS[name]}", flush=True)
        else:
            tap.skip(f"{name}: valgrind's numbers", "it is not installed")
        return
    want = oracle(name)
    differ = {k: f"{by_ptrace[k]} is not {n}" for k, n in want.items() if by_ptrace[k] != n}
    tap.ok(not differ, f"{name}: valgrind's {text_of(want)}, {want['allocated_bytes']} bytes {differ or ''}")


LIBRARIES = ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libmimalloc.so.2")
FOLDER = "/usr/lib/x86_64-linux-gnu"


def under(library, name):
    """The same where another allocator has malloc's place, and operator new's."""
    env["LD_PRELOAD"] = f"{FOLDER}/{library}"
    try:
        native = run(TARGET, name)
        result, s = launched(name)
        check(f"{name}, {library}", "ptrace", (128 - native[0] if native[0] < 0 else native[0], *native[1:]), result, s)
        result, s = attached(name)
        check(f"{name}, {library}", "attached", native, result, s)
    finally:
        del env["LD_PRELOAD"]


def main():
    if os.geteuid() != 0:
        tap.skip_all("recording needs root")
    if not os.path.exists(TARGET):
        tap.skip_all("no C++ compiler")
    names = subprocess.check_output([TARGET], text=True).split()
    for name in names:
        if name != "nothing" and sys.argv[1:] and name not in sys.argv[1:]:
            continue
        if name == "cancel-at-any-time" and name not in sys.argv[1:]:
            # glibc's handler may cancel a thread that has just disabled it: inside malloc, whose return
            # address is the kernel's trampoline then, which no unwinder passes: cleanup handlers do not run
            print(f"# {name} is run where it is named only: cancelled inside malloc, a recorded thread ends without its "
                  "cleanup handlers", flush=True)
            continue
        try:
            scenario(name)
            for library in LIBRARIES if name != "jump-out-of-malloc" else ():  # they keep their locks
                if os.path.exists(f"{FOLDER}/{library}"):
                    under(library, name)
                else:
                    tap.skip(f"{name}, {library}", "it is not installed")
        except Exception as e:
            tap.ok(False, f"{name}: {type(e).__name__}: {e}")
    tap.done()


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
