#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All views in a real terminal (tmux): of recordings of cc1plus and python3, and of processes that live.

HEAPTRAIL_TUI_SECONDS: so long the live ones are watched, each.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import beside  # noqa: E402
import programs  # noqa: E402
import tap  # noqa: E402

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
SECONDS = float(os.environ.get("HEAPTRAIL_TUI_SECONDS", "8"))
work = tempfile.mkdtemp(prefix="heaptrail-terminal.")
SOCKET = f"{work}/socket"
# the key of a view, and what is seen in it
VIEWS = {"1": r"allocated.*FILE", "2": r"LIVE.*FILE", "3": r"LIVE.*FUNCTION", "4": r"CALLS \(i: bottom up\)", "5": r"calls\s*$",
         "6": r"(UNFREED|LEAKED).*ALLOCATED BY", "7": r"LIVE.*SIZE", "8": r"LIVE.*THREAD"}


def tmux(*args):
    return subprocess.run(["tmux", "-S", SOCKET, "-f", "/dev/null", *args], check=True, stdout=subprocess.PIPE,
                          env={**os.environ, "LC_ALL": "C.UTF-8"}, timeout=tap.PATIENCE).stdout.decode()


class Terminal:
    def __init__(self, arguments, rows=50, cols=200):
        self.cols = cols
        command = f"env TERM=screen-256color LC_ALL=C.UTF-8 HOME={work} TMPDIR={work} {HEAPTRAIL} {arguments}"
        tmux("new-session", "-d", "-s", "t", "-x", str(cols), "-y", str(rows), f"{command} 2>{work}/errors; "
             f"echo $? > {work}/status.new; mv {work}/status.new {work}/status")
        tmux("set-option", "-t", "t", "remain-on-exit", "on")

    def text(self):
        return tmux("capture-pane", "-p", "-t", "t")

    def sees(self, pattern):
        return bool(beside.wait_until(lambda: re.search(pattern, self.text(), re.M | re.S)))

    def keys(self, *keys):
        tmux("send-keys", "-t", "t", *keys)

    def resize(self, rows, cols):
        tmux("resize-window", "-t", "t", "-x", str(cols), "-y", str(rows))
        self.cols = cols

    def click(self, row, col):
        where = [col + 33, row + 33]  # as terminals of that name tell it
        tmux("send-keys", "-t", "t", "-H", *[f"{b:02x}" for b in (*b"\033[M ", *where, *b"\033[M#", *where)])

    def fits(self):
        wide = lambda c: 2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1  # noqa: E731
        return all(sum(map(wide, line)) <= self.cols for line in self.text().splitlines())

    def number(self, name):
        found = beside.wait_until(lambda: re.search(name + r" ([\d,]+)", self.text()))  # it may be drawn just now
        return int(found[1].replace(",", "")) if found else 0

    def ends(self, what):
        self.keys("Q")
        ended = beside.wait_until(lambda: os.path.exists(f"{work}/status"))
        with open(f"{work}/status") as f, open(f"{work}/errors") as e:
            status, said = f.read(), e.read()
        # the kernel may need its time to take the probes off, which is said
        tap.ok(ended and status == "0\n" and said.count("\n") <= 1 and "error" not in said,
               f"{what}: Q ends it, with status 0 {said!r}")
        tmux("kill-session", "-t", "t")
        os.unlink(f"{work}/status")


def walk(t, what):
    """What one does with any of them."""
    for key, pattern in VIEWS.items():
        t.keys(key)
        tap.ok(t.sees(pattern) and t.fits(), f"{what}: view {key}")
    t.resize(24, 40)
    tap.ok(t.sees(r"\A.{0,41}\n") and t.sees(r"8 Threads"), f"{what}: 40 columns")
    for key in VIEWS:
        t.keys(key)
    tap.ok(t.sees(r"8 Threads") and t.fits(), f"{what}: all views in 40 columns")
    t.resize(50, 200)
    tap.ok(t.sees(r"1 Overview  2 Files  3 Functions"), f"{what}: 200 again")
    t.click(2, 13)
    tap.ok(t.sees(r"LIVE.*ALLOCATED.*FILE"), f"{what}: a click on a view")
    # again, where a row has come since
    tap.ok(beside.wait_until(lambda: t.keys("G") or re.search(r"^ ([\d,]+) of \1\b", t.text(), re.M), pause=0.3), f"{what}: to the end")
    t.keys("g")
    t.click(5, 60)
    tap.ok(t.sees(r"^ (2 of |1 of 1\b)"), f"{what}: a click on a row")
    t.keys("3", "<")
    tap.ok(t.sees(r"LIVE▼"), f"{what}: sorted by another column")
    t.keys(">", "/", "a", "Enter")
    tap.ok(t.sees(r"search: a$"), f"{what}: a search")
    t.keys("Escape", "?")
    tap.ok(t.sees(r"KEYS.*this help"), f"{what}: help")
    t.keys("q", "[", "[", "[")
    tap.ok(t.sees(r"\A.* of "), f"{what}: back in time")
    t.keys("f")
    tap.ok(beside.wait_until(lambda: not re.search(r"\A.* of ", t.text())), f"{what}: and to the end again")


def recorded(what, command):
    trail = f"{work}/r.trail"
    env = {**os.environ, "PYTHONMALLOC": "malloc", "LD_LIBRARY_PATH": libs}
    subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", *command], check=True, env=env,
                   stdout=subprocess.DEVNULL)
    calls = json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", trail]))["summary"]["alloc_calls"]
    t = Terminal(f"view --no-settings {trail}")
    tap.ok(t.sees(f"Calls {calls:,} "), f"{what}: all {calls} calls")
    walk(t, what)
    t.keys("4", "+", "5", "Down", "Enter", "6", "Enter", "Escape", "7", "Enter")
    tap.ok(t.sees(r"Live blocks"), f"{what}: into rows")
    t.ends(what)


def live(what, command):
    target = subprocess.Popen(command, env={**os.environ, "PYTHONMALLOC": "malloc", "LD_LIBRARY_PATH": libs},
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        t = Terminal(f"top --no-settings -p {target.pid}")
        tap.ok(t.sees(r"● recording"), f"{what}: it records")
        walk(t, what)
        until, seen, stood = time.monotonic() + SECONDS, [], 0
        while time.monotonic() < until:
            for key in VIEWS:
                t.keys(key)
                time.sleep(0.3)
                seen.append(t.number("Calls"))
                stood += not t.fits()
        tap.ok(seen == sorted(seen) and seen[-1] > seen[0] > 0 and not stood, f"{what}: for {SECONDS:.0f} s the numbers grow: "
               f"{seen[0]} to {seen[-1]}, in {len(set(seen))} of {len(seen)} looks")
        tap.ok(target.poll() is None, f"{what}: it lives")
        t.ends(what)
        tap.ok(beside.wait_until(lambda: not [f for f in os.listdir(work) if f.startswith("heaptrail-top")]),
               f"{what}: no recording is left")
    finally:
        target.kill()
        target.wait()


def recorded_cc1plus():
    recorded("cc1plus", programs.cc1plus(work, 10))


def recorded_python():
    recorded("python3", [sys.executable, programs.python_script(work, 5)])


def live_python():
    live("live python3", [sys.executable, programs.python_script(work)])


def live_threads():
    shutil.copy(f"{TARGETS}/busy", f"{work}/busy")
    live("live with 8 threads", [f"{work}/busy"])


if not shutil.which("tmux"):
    tap.skip_all("tmux is not installed")
libs = tap.private_libc(work)
try:
    tap.run_as_root([recorded_cc1plus, recorded_python, live_python, live_threads])
finally:
    subprocess.run(["tmux", "-S", SOCKET, "kill-server"], stderr=subprocess.DEVNULL)
    shutil.rmtree(work, ignore_errors=True)
