#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The recorder is killed at random moments: the target runs on and comes to the right
result, the recording opens, lacks the last quarter of a second (more only by what the
recorder waited for a processor), says that it was cut off, and can be repaired.
HEAPTRAIL_KILLS: how often (default 20); HEAPTRAIL_SEED: the seed.
"""
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
KILLS = int(os.environ.get("HEAPTRAIL_KILLS", "20"))
MISSING_MS = 250  # of a recording's end
work = tempfile.mkdtemp(prefix="heaptrail-killed.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"
rng = random.Random(tap.seed())
gaps = []  # how many ms each lacks, but for those that its recorder waited for a processor


class Waiting:
    """How long a process has waited for a processor since a moment."""

    def __init__(self, pid):
        self.pid, self.seen = pid, []

    def look(self):
        total = 0
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{self.pid}/task/{tid}/schedstat") as f:
                total += int(f.read().split()[1])
        self.seen.append((time.monotonic_ns(), total))

    def since(self, ns):
        before = [total for t, total in self.seen if t <= ns]
        return self.seen[-1][1] - (before[-1] if before else self.seen[0][1])


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
            self.pid = beside.child(self.recorder.pid, "steady")
        return self.pid

    def finish(self):
        """The target's own last words."""
        self.process.stdin.close()
        return self.process.stdout.read()


def repair():
    return subprocess.run([HEAPTRAIL, "repair", trail], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=tap.PATIENCE)


def check_recording(mode, killed_ns, was_recording, gentle, waiting):
    """Returns what is wrong with it."""
    if not os.path.exists(trail):
        return [] if not was_recording else ["there is no recording"]
    wrong = []
    info = beside.info(trail)
    if isinstance(info, str):
        return [info]
    s = info["summary"]
    if info["recording"]["complete"] or info["state"] != "cut off":
        wrong.append(f"it says {info['state']!r}")
    if not beside.is_sound(trail):
        wrong.append("integrity_check")
    if gentle and not s["lost_events"]:
        bad, n = beside.check_stream(trail, least_threads=0, is_launched=mode != "attach")
        wrong += [f"of {n} events: {bad}"] if bad else []
    if gentle and mode != "attach" and s["lost_events"]:
        wrong.append(f"{s['lost_events']} events lost")
    if was_recording and gentle:
        last_ns = beside.sql(trail, "SELECT max(last_ns) FROM chunk")[0][0]
        waited = waiting.since(last_ns) / 1e6
        gaps.append((killed_ns - last_ns) / 1e6 - waited)
        if gaps[-1] > MISSING_MS:
            wrong.append(f"the last {gaps[-1]:.0f} ms are missing, and {waited:.0f} more in which the recorder had no processor")
    r = repair()
    if r.returncode:
        return [*wrong, f"repair: {r.returncode} {r.stderr!r}"]
    after = beside.info(trail)
    if isinstance(after, str) or after["summary"] != s or not after["repaired"] or after["state"] != "cut off":
        wrong.append(f"repaired, it differs: {after if isinstance(after, str) else after['summary']}")
    if os.path.exists(trail + "-wal") or not beside.is_sound(trail):
        wrong.append("repaired, it is not one sound file")
    return wrong


def one(number, mode, gentle, waits):
    """waits: until it records; else it may well be killed before that."""
    beside.remove(trail)
    delay = rng.choice([rng.uniform(0, 0.4), rng.uniform(0.4, 1.5)])
    t = Target(mode, gentle)
    waiting = Waiting(t.recorder.pid)
    waiting.look()
    if waits:
        beside.expect(lambda: waiting.look() or beside.is_armed(trail), "it to record")
        if gentle:
            beside.expect(lambda: waiting.look() or beside.n_chunks(trail), "the first events")
    started = time.monotonic()
    while time.monotonic() - started < delay:
        t.find()
        waiting.look()
        time.sleep(0.002)
    # with a stream of events: is it beyond its start, so that it must have some?
    was_recording = bool(t.find()) and beside.n_chunks(trail) > 0
    guards = [p for p in beside.children(t.recorder.pid) if p != t.pid]
    guards += [p for g in guards for p in beside.children(g)]
    waiting.look()
    before = time.monotonic_ns()
    t.recorder.send_signal(signal.SIGKILL)
    wrong, stopped = [], 0
    if t.pid:
        # it may stand still for a moment, until the guard has seen it
        if not beside.wait_until(lambda: beside.state(t.pid) not in ("T", "t")):
            wrong.append(f"the target stands still: {beside.state(t.pid)}")
        stopped = 1
    t.recorder.wait() if t.recorder is not t.process else None
    if t.pid and not beside.has_ended(t.pid):
        # the kernel takes them off one by one, with a grace period for each
        good = beside.code_in_file(t.pid)
        if not beside.wait_until(lambda: beside.code_of(t.pid) == good):
            wrong.append(f"{len(beside.differences(beside.code_of(t.pid), good))} bytes of its code differ")
        time.sleep(0.2)
        if beside.state(t.pid) in ("T", "t"):
            wrong.append("the target stands still after all")
    said = t.finish()
    if t.pid and was_recording and "right" not in said:
        wrong.append(f"it said {said!r}")
    t.process.wait()
    if not beside.wait_until(lambda: all(beside.has_ended(p) for p in guards)):
        wrong.append("a guard is left")
    wrong += check_recording(mode, before, was_recording, gentle, waiting)
    tap.ok(not wrong, f"kill {number}: {mode}, {'gentle' if gentle else 'as fast as it can'}, after {delay * 1000:.0f} ms"
           f"{' (recording)' if was_recording else ''}{'' if stopped else ' (before the target was there)'}: "
           f"{'; '.join(wrong) or 'fine'}")


def kills():
    for i in range(KILLS):
        one(i + 1, ("ptrace", "signals", "attach")[i % 3], i % 2 == 0, i % 4 in (0, 3))
    median = statistics.median(gaps) if gaps else None
    tap.ok(gaps and median <= MISSING_MS, f"of {len(gaps)} recordings the last " +
           (f"{median:.0f} ms (median), {max(gaps):.0f} ms (most) are missing" if gaps else ""))


def closing():
    """Killed while it summarises and closes: a large recording, at its end."""
    for _ in range(max(2, KILLS // 5)):
        beside.remove(trail)
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--", f"{TARGETS}/noisy", "4", "150000"], env=env,
                             stdout=subprocess.DEVNULL)
        target = beside.expect(lambda: beside.child(p.pid, "noisy") or p.poll() is not None, "the target")
        if p.poll() is not None:
            raise RuntimeError(f"the recorder ended with {p.returncode} before it was killed")
        beside.expect(lambda: beside.has_ended(target), "the target to end")
        delay = rng.uniform(0, 0.5)
        time.sleep(delay)
        p.send_signal(signal.SIGKILL)
        p.wait()
        info = beside.info(trail)
        is_open = not isinstance(info, str)
        wrong = [] if is_open and beside.is_sound(trail) else [str(info)[:500]]
        if is_open and info["summary"]["alloc_calls"] < 600000 and info["recording"]["complete"]:
            wrong.append("it says it is complete, and is not")
        r = repair()
        if r.returncode:
            wrong.append(f"repair: {r.stderr!r}")
        after = beside.info(trail)
        if isinstance(after, str) or is_open and after["summary"] != info["summary"] and not info["recording"]["complete"]:
            wrong.append(f"repaired, it differs: {after if isinstance(after, str) else after['summary']}")
        else:
            sites = beside.sql(trail, "SELECT sum(alloc_calls) FROM site")[0][0]
            if sites != after["summary"]["alloc_calls"]:
                wrong.append(f"table site has {sites} of {after['summary']['alloc_calls']} calls")
        tap.ok(not wrong, f"killed {delay * 1000:.0f} ms after the target's end, "
               f"{info['state'] if is_open else '?'}: {'; '.join(wrong) or 'fine'}")


def group():
    """Its process group becomes an orphaned one while the target is held: no SIGHUP may come of that."""
    beside.remove(trail)
    # a shell of its own session, and the recorder in a group of its own, as an interactive shell does
    script = (f"import os, signal, subprocess, sys, time\n"
              f"p = subprocess.Popen([{HEAPTRAIL!r}, 'record', '-q', '-o', {trail!r}, '--ring-size', '1', '--',\n"
              f"                      {TARGETS + '/steady'!r}], preexec_fn=lambda: os.setpgid(0, 0))\n"
              f"print(p.pid, flush=True)\n"
              f"sys.exit(p.wait() & 255)\n")
    shell = subprocess.Popen(["python3", "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             start_new_session=True)
    recorder = int(shell.stdout.readline())
    # not only armed: it stands at its exec then, or at ld.so's hook
    beside.expect(lambda: beside.n_chunks(trail), "the first events")
    target = beside.child(recorder, "steady")
    os.kill(recorder, signal.SIGSTOP)  # it does not drain: the ring fills, and the target is held
    held = beside.wait_until(lambda: beside.state(target) in ("T", "t"))
    os.kill(recorder, signal.SIGKILL)
    alive = beside.wait_until(lambda: beside.state(target) in ("R", "S", "D"))
    time.sleep(0.5)
    alive = alive and beside.state(target) in ("R", "S", "D")
    shell.stdin.close()
    said = shell.stdout.read()
    shell.wait()
    tap.ok(held and alive and "right" in said,
           f"killed while it holds the target, in a job of a shell: the target goes on (held: {held}; {said.strip()!r})")


try:
    tap.run_as_root([kills, closing, group])
finally:
    shutil.rmtree(work, ignore_errors=True)
