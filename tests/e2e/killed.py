#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The recorder is killed at random moments: the target runs on and comes to the right
result, the recording opens, lacks at most the last quarter of a second, says that
it was cut off, and can be repaired.
HEAPTRAIL_KILLS: how often (default 20); HEAPTRAIL_SEED: the seed.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
KILLS = int(os.environ.get("HEAPTRAIL_KILLS", "20"))
SEED = int(os.environ.get("HEAPTRAIL_SEED") or random.SystemRandom().randrange(1 << 32))
work = tempfile.mkdtemp(prefix="heaptrail-killed.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"
rng = random.Random(SEED)


def remove_recording():
    for end in ("", "-wal", "-shm", "-journal"):
        if os.path.exists(trail + end):
            os.unlink(trail + end)


def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return None


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return bool(what())


def breakpoints(pid):
    """Bytes of libc's code in the process that are not those of the file."""
    with open(f"/proc/{pid}/maps") as f:
        maps = [x.split() for x in f if libs in x and " r-xp " in x]
    wrong = 0
    for m in maps:
        start, end = (int(x, 16) for x in m[0].split("-"))
        with open(f"/proc/{pid}/mem", "rb") as mem, open(m[5], "rb") as f:
            mem.seek(start)
            f.seek(int(m[2], 16))
            a, b = mem.read(end - start), f.read(end - start)
        wrong += sum(x != y for x, y in zip(a, b)) if a != b else 0
    return wrong


class Target:
    """One that runs until it is told to stop, and then says whether all was right."""

    def __init__(self, mode, gentle):
        command = [f"{TARGETS}/steady"] + (["--gentle"] if gentle else [])
        record = [HEAPTRAIL, "record", "-q", "-o", trail]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        self.mode = mode
        if not gentle:
            record += ["--ring-size", "1"]
        if mode == "attach":
            self.process = subprocess.Popen(command, **pipes)
            self.pid = self.process.pid
            self.process.stdout.readline()
            self.recorder = subprocess.Popen([*record, *(["--on-full=wait"] if not gentle else []), "-p",
                                              str(self.pid)], env=env)
        else:
            options = ["--no-ptrace"] if mode == "signals" else []
            self.process = self.recorder = subprocess.Popen([*record, *options, "--", *command], **pipes)
            self.pid = None

    def find(self):
        if self.pid is None:
            self.pid = next((p for p in tap.children(self.recorder.pid) if comm(p) == "steady"), None)
        return self.pid

    def finish(self):
        """The target's own last words."""
        self.process.stdin.close()
        return self.process.stdout.read()


def summary(path):
    r = subprocess.run([HEAPTRAIL, "info", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return r, json.loads(r.stdout) if r.returncode == 0 else None


def sql(query):
    with contextlib.closing(sqlite3.connect(f"file:{trail}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchone()[0]


def last_event_ns():
    return sql("SELECT max(last_ns) FROM chunk")


def is_sound():
    return sql("PRAGMA integrity_check") == "ok"


def check_recording(killed_ns, was_recording):
    """Returns what is wrong with it."""
    if not os.path.exists(trail):
        return [] if not was_recording else ["there is no recording"]
    wrong = []
    r, info = summary(trail)
    if not info:
        return [f"info: {r.returncode} {r.stderr!r}"]
    s = info["summary"]
    if info["recording"]["complete"] or info["state"] != "cut off":
        wrong.append(f"it says {info['state']!r}")
    if s["alloc_calls"] != s["free_calls"] + s["live_blocks"]:
        wrong.append(f"{s['alloc_calls']} allocs, {s['free_calls']} frees, {s['live_blocks']} live")
    if not is_sound():
        wrong.append("integrity_check")
    if was_recording:
        missing = (killed_ns - (last_event_ns() or 0)) / 1e6
        if missing > 250:
            wrong.append(f"the last {missing:.0f} ms are missing")
    r = subprocess.run([HEAPTRAIL, "repair", trail], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        return [*wrong, f"repair: {r.returncode} {r.stderr!r}"]
    r, after = summary(trail)
    if not after or after["summary"] != s or not after["repaired"] or after["state"] != "cut off":
        wrong.append(f"repaired, it differs: {after and after['summary']} {r.stderr}")
    if os.path.exists(trail + "-wal") or not is_sound():
        wrong.append("repaired, it is not one sound file")
    return wrong


def one(number, mode, gentle):
    remove_recording()
    delay = rng.choice([rng.uniform(0, 0.4), rng.uniform(0.4, 1.5)])
    t = Target(mode, gentle)
    started = time.monotonic()
    while time.monotonic() - started < delay:
        t.find()
        time.sleep(0.002)
    # with a stream of events: is it beyond its start, so that it must have some?
    was_recording = False
    if os.path.exists(trail) and t.find():
        r, info = summary(trail)
        was_recording = bool(info and info["recording"]["events"] > 0)
    t.find()
    guards = [p for p in tap.children(t.recorder.pid) if p != t.pid]
    guards += [p for g in guards for p in tap.children(g)]
    before = time.monotonic_ns()
    t.recorder.send_signal(signal.SIGKILL)
    wrong, stopped = [], 0
    if t.pid:
        # it may stand still for a moment, until the guard has seen it
        if not wait_for(lambda: state(t.pid) not in ("T", "t"), 3):
            wrong.append(f"the target stands still: {state(t.pid)}")
        stopped = 1
    t.recorder.wait() if t.recorder is not t.process else None
    if t.pid and state(t.pid) not in (None, "Z"):
        # the kernel takes them off one by one, with a grace period for each
        if not wait_for(lambda: breakpoints(t.pid) == 0, 60):
            wrong.append(f"{breakpoints(t.pid)} bytes of its code differ")
        time.sleep(0.2)
        if state(t.pid) in ("T", "t"):
            wrong.append("the target stands still after all")
    said = t.finish()
    if t.pid and was_recording and not said.strip().endswith("right") and "right" not in said:
        wrong.append(f"it said {said!r}")
    t.process.wait()
    if not wait_for(lambda: not any(state(p) not in (None, "Z") for p in guards), 8):
        wrong.append("a guard is left")
    wrong += check_recording(before, was_recording and gentle)
    tap.ok(not wrong, f"kill {number}: {mode}, {'gentle' if gentle else 'as fast as it can'}, after {delay * 1000:.0f} ms"
           f"{' (recording)' if was_recording else ''}{'' if stopped else ' (before the target was there)'}: "
           f"{'; '.join(wrong) or 'fine'}")


def kills():
    print(f"# seed {SEED}", flush=True)
    for i in range(KILLS):
        one(i + 1, ("ptrace", "signals", "attach")[i % 3], i % 2 == 0)


def closing():
    """Killed while it summarises and closes: a large recording, at its end."""
    for i in range(max(2, KILLS // 5)):
        remove_recording()
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--", f"{TARGETS}/noisy", "4", "150000"], env=env,
                             stdout=subprocess.PIPE, text=True)
        while not any(comm(c) == "noisy" for c in tap.children(p.pid)):
            time.sleep(0.005)
        target = next(c for c in tap.children(p.pid) if comm(c) == "noisy")
        wait_for(lambda: state(target) in (None, "Z"), 60)
        delay = rng.uniform(0, 0.5)
        time.sleep(delay)
        p.send_signal(signal.SIGKILL)
        p.wait()
        r, info = summary(trail)
        wrong = [] if info and is_sound() else [f"{r.returncode} {r.stderr!r}"]
        if info and info["summary"]["alloc_calls"] < 600000 and info["recording"]["complete"]:
            wrong.append("it says it is complete, and is not")
        r = subprocess.run([HEAPTRAIL, "repair", trail], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if r.returncode:
            wrong.append(f"repair: {r.stderr!r}")
        _, after = summary(trail)
        if not after or info and after["summary"] != info["summary"] and not info["recording"]["complete"]:
            wrong.append(f"repaired, it differs: {after and after['summary']}")
        sites = sql("SELECT sum(alloc_calls) FROM site")
        if after and sites != after["summary"]["alloc_calls"]:
            wrong.append(f"table site has {sites} of {after['summary']['alloc_calls']} calls")
        tap.ok(not wrong, f"killed {delay * 1000:.0f} ms after the target's end, "
               f"{info['state'] if info else '?'}: {'; '.join(wrong) or 'fine'}")


def group():
    """Its process group becomes an orphaned one while the target is held: no SIGHUP may come of that."""
    remove_recording()
    # a shell of its own session, and the recorder in a group of its own, as an interactive shell does
    script = (f"import os, signal, subprocess, sys, time\n"
              f"p = subprocess.Popen([{HEAPTRAIL!r}, 'record', '-q', '-o', {trail!r}, '--ring-size', '1', '--',\n"
              f"                      {TARGETS + '/steady'!r}], preexec_fn=lambda: os.setpgid(0, 0))\n"
              f"print(p.pid, flush=True)\n"
              f"sys.exit(p.wait() & 255)\n")
    shell = subprocess.Popen(["python3", "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             start_new_session=True)
    recorder = int(shell.stdout.readline())
    wait_for(lambda: any(comm(c) == "steady" for c in tap.children(recorder)), 10)
    target = next(c for c in tap.children(recorder) if comm(c) == "steady")
    os.kill(recorder, signal.SIGSTOP)  # it does not drain: the ring fills, and the target is held
    held = wait_for(lambda: state(target) in ("T", "t"), 20)
    os.kill(recorder, signal.SIGKILL)
    alive = wait_for(lambda: state(target) in ("R", "S", "D"), 5)
    time.sleep(0.5)
    alive = alive and state(target) in ("R", "S", "D")
    shell.stdin.close()
    said = shell.stdout.read()
    shell.wait()
    tap.ok(held and alive and "right" in said,
           f"killed while it holds the target, in a job of a shell: the target goes on (held: {held}; {said.strip()!r})")


try:
    tap.run_as_root([kills, closing, group])
finally:
    shutil.rmtree(work, ignore_errors=True)
