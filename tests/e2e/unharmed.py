#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A target does not notice that it is recorded: no interrupted calls, no stops, no signals to its parent."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
ATTACHMENTS, STOPS = 3, 10
work = tempfile.mkdtemp(prefix="heaptrail-unharmed.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"
# what a stop interrupts by itself (signal(7)), once; it is a matter of luck whether the thread is in one just then
BY_STOPS = ("epoll_wait", "sigtimedwait")
MODES = (("ptrace", []), ("signals", ["--no-ptrace"]))


class Sleeper:
    def __init__(self, *options, command=()):
        self.process = subprocess.Popen([*command, f"{TARGETS}/sleeper", *options], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.ready()

    def ready(self):
        line = self.process.stdout.readline()
        if line.startswith("child "):
            self.pid = int(line.split()[1])
            line = self.process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"the target says {line!r}")

    def heard(self):
        """Waits until the parent has taken the notice of something."""
        line = self.process.stdout.readline()
        if line != "heard\n":
            raise RuntimeError(f"the parent says {line!r}")

    def end(self):
        """Its counts, a dictionary per line that it printed."""
        self.process.stdin.close()
        lines = self.process.stdout.read().splitlines()
        if self.process.wait(tap.PATIENCE):
            raise RuntimeError(f"the target ended with {self.process.returncode}: {lines}")
        return [json.loads(line) for line in lines if line != "heard"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def total(counts, key):
    return sum(c.get(key, 0) for c in counts.values())


def interrupted(counts):
    return {name: c["interrupted"] for name, c in counts.items() if c["interrupted"]}


def record(pid, duration):
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", duration, "-p", str(pid)],
                       stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    if r.returncode or r.stderr:
        raise RuntimeError(f"record ended with {r.returncode}: {r.stderr}")
    return beside.sql(trail, "SELECT value FROM recording WHERE key = 'events'")[0][0]


def waiting():
    with Sleeper("1500") as s:
        alone, = s.end()
    with Sleeper() as s:
        events = [record(s.pid, "300ms") for _ in range(ATTACHMENTS)]
        beside_it, = s.end()
    for name, c in (("alone", alone), (f"attached to {ATTACHMENTS} times", beside_it)):
        tap.ok(total(c, "interrupted") == 0 and total(c, "early") == 0 and total(c, "calls") > 100,
               f"{name}: of {total(c, 'calls')} waits {total(c, 'interrupted')} were interrupted, "
               f"{total(c, 'early')} came back early {interrupted(c) or ''}")
    tap.ok(min(events) > 100, f"and it was recorded meanwhile: {events} events")


def is_stopped(pid):
    return set(beside.states(pid)) <= set("Tt")


def is_moving(pid):
    return not set(beside.states(pid)) & set("Tt")


def stop_and_go(pid):
    """Stops it STOPS times.  How often it stopped, stayed so, and went on."""
    stopped = stayed = went_on = 0
    for _ in range(STOPS):
        os.kill(pid, signal.SIGSTOP)
        stopped += beside.wait_until(lambda: is_stopped(pid))
        time.sleep(0.1)
        stayed += is_stopped(pid)
        os.kill(pid, signal.SIGCONT)
        went_on += beside.wait_until(lambda: is_moving(pid))
        time.sleep(0.1)
    return stopped, stayed, went_on


def compare_stopped(name, moved, counts):
    tap.ok(moved == (STOPS, STOPS, STOPS), f"{name}: of {STOPS} SIGSTOPs {moved[0]} stopped all threads, "
           f"{moved[1]} left them so, {moved[2]} SIGCONTs let them go on")
    more = {k: n for k, n in interrupted(counts).items() if n > STOPS or k not in BY_STOPS}
    tap.ok(not more and total(counts, "early") == 0, f"{name}: interrupted {interrupted(counts)}, "
           f"early {total(counts, 'early')}")


def stopped():
    with Sleeper() as s:
        moved = stop_and_go(s.pid)
        counts, = s.end()
    compare_stopped("stops, alone", moved, counts)
    with Sleeper() as s:
        r = beside.attach(s.pid, trail)
        moved = stop_and_go(s.pid)
        r.send_signal(signal.SIGINT)
        status = r.wait(timeout=tap.PATIENCE)
        counts, = s.end()
    compare_stopped("stops, attached", moved, counts)
    tap.ok(status == 0, f"and the recorder ends with {status}")
    for mode, options in MODES:
        command = [HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--"]
        with Sleeper(command=command) as s:
            s.pid = child_of(s.process.pid)
            moved = stop_and_go(s.pid)
            counts, = s.end()
        compare_stopped(f"stops, launched by {mode}", moved, counts)
        holds = beside.losses(trail)["holds"]
        tap.ok(holds == 0, f"stops, launched by {mode}: {holds} holds of the recorder's")


def attached_while_stopped():
    with Sleeper() as s:
        os.kill(s.pid, signal.SIGSTOP)
        beside.expect(lambda: set(beside.states(s.pid)) == {"T"}, "the target to stop")
        looks = moving = 0
        beside.remove(trail)
        recorder = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-p", str(s.pid)])
        is_told = False
        while recorder.poll() is None:
            looks += 1
            moving += set(beside.states(s.pid)) != {"T"}
            if not is_told and looks > 100 and beside.is_armed(trail):
                recorder.send_signal(signal.SIGINT)
                is_told = True
            time.sleep(0.005)
        tap.ok(recorder.returncode == 0 and looks > 100 and moving == 0,
               f"attached to and let go while it is stopped: moving in {moving} of {looks} looks")
        os.kill(s.pid, signal.SIGCONT)
        beside.expect(lambda: "T" not in beside.states(s.pid), "the target to go on")
        time.sleep(0.3)
        counts, = s.end()
        tap.ok(max(interrupted(counts).values(), default=0) <= 1 and total(counts, "early") == 0,
               f"and then it goes on: interrupted {interrupted(counts)}")


def watched():
    def once(attachments, stops):
        with Sleeper("--watched") as s:
            for _ in range(attachments):
                record(s.pid, "100ms")
            r = stops and attachments and beside.attach(s.pid, trail)
            for _ in range(stops):
                for sig, want in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "SR")):
                    os.kill(s.pid, sig)
                    beside.expect(lambda: beside.state(s.pid) in want, f"{want} by signal {sig}")
                    s.heard()  # else the next SIGCHLD would be the same one
            if r:
                r.send_signal(signal.SIGINT)
                r.wait(timeout=tap.PATIENCE)
            return s.end()[-1]
    for stops in (0, 3):
        alone, recorded = once(0, stops), once(2, stops)
        want = {"exited": 1, "stopped": stops, "continued": stops}
        for who in ("signals", "waits"):
            got = {k: n for k, n in recorded[who].items() if n}
            tap.ok(recorded[who] == alone[who] and all(alone[who][k] == n for k, n in want.items()),
                   f"the parent, {stops} stops: by {'SIGCHLD' if who == 'signals' else 'waitid()'} it hears {got}, "
                   f"without recorder { {k: n for k, n in alone[who].items() if n} }")


def launched():
    for mode, options in MODES:
        r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", f"{TARGETS}/sleeper",
                            "1000"], env=env, stdout=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
        counts = json.loads(r.stdout.splitlines()[-1])
        loss = beside.losses(trail)
        tap.ok(r.returncode == 0 and not loss["holds"] and not loss["spins"] and total(counts, "interrupted") == 0 and
               total(counts, "early") == 0, f"launched by {mode}: {loss['holds']} holds, {loss['spins']} spins, of "
               f"{total(counts, 'calls')} waits {total(counts, 'interrupted')} interrupted, "
               f"{total(counts, 'early')} early")


def child_of(recorder):
    return beside.expect(lambda: beside.child(recorder, "sleeper"), "the target")


NOISE = 200000  # times an alloc, a realloc and a free: a ring of 64 MiB has room for all of them, whatever the recorder does


def noisy(name, options, delays):
    beside.remove(trail)
    with Sleeper("--noisy", "0", str(0 if delays else NOISE), command=[HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--"]) as s:
        recorder = s.pid
        s.pid = child_of(recorder)
        beside.expect(lambda: beside.n_events(trail) >= (10000 if delays else 3 * NOISE), "the noise")
        for _ in range(delays):
            os.kill(recorder, signal.SIGSTOP)  # it does not empty the ring: only a hold can keep the events
            beside.expect(lambda: is_stopped(s.pid), "the target to be held")
            os.kill(recorder, signal.SIGCONT)
            beside.expect(lambda: is_moving(s.pid), "the target to go on")
            time.sleep(0.1)
        counts, = s.end()
    loss = beside.losses(trail)
    lost = sum(n for k, n in loss.items() if k.startswith("lost_"))
    return loss["holds"], lost, counts, f"{name}: {loss['holds']} holds, {loss['spins']} spins, {lost} lost"


def held():
    for mode, options in MODES:
        holds, lost, counts, text = noisy(f"full speed, by {mode}", ["--ring-size", "64", *options], 0)
        tap.ok(holds == 0 and lost == 0 and total(counts, "interrupted") == 0,
               f"{text}, interrupted {interrupted(counts)}")
        holds, lost, counts, text = noisy(f"a small ring and a recorder that is held up, by {mode}",
                                          ["--ring-size", "1", *options], 3)
        # no more often than there were stops
        more = {k: n for k, n in interrupted(counts).items() if n > holds or k not in BY_STOPS}
        tap.ok(holds >= 3 and lost == 0 and not more and total(counts, "early") == 0,
               f"{text}, interrupted {interrupted(counts)}")


FORKING = """import os, sys, time
def child(deep):
    pid = os.fork()
    if pid:
        return pid
    if deep:
        child(deep - 1)
    print(os.getpid(), flush=True)
    time.sleep(3600)
    os._exit(0)
sys.stdin.readline()
child(1)
time.sleep(3600)
"""


def children():
    """What a process under probes has forked: nobody's breakpoints stay in it, nor in its child."""
    target = subprocess.Popen([sys.executable, "-c", FORKING], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    family = [target.pid]
    recorder = beside.attach(target.pid, f"{work}/t.trail")
    try:
        probed = beside.differences(beside.code_of(target.pid), beside.code_in_file(target.pid))
        target.stdin.write("go\n")
        target.stdin.flush()
        family += [int(target.stdout.readline()) for _ in range(2)]
        def left():
            return [beside.differences(beside.code_of(p), beside.code_in_file(p)) for p in family[1:]]
        beside.wait_until(lambda: not any(left()))
        still = beside.differences(beside.code_of(target.pid), beside.code_in_file(target.pid))
        tap.ok(probed and not any(left()) and still == probed,
               f"{len(probed)} breakpoints in the process, {[len(x) for x in left()]} in its child and the child's")
    finally:
        for pid in reversed(family):
            os.kill(pid, signal.SIGKILL)
        target.wait()
        recorder.wait(tap.PATIENCE)


try:
    tap.run_as_root([children, waiting, stopped, attached_while_stopped, watched, launched, held])
finally:
    shutil.rmtree(work, ignore_errors=True)
