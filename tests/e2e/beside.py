# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests need that watch a target while it is recorded."""
import contextlib
import os
import sqlite3
import subprocess
import time

HEAPTRAIL = os.environ["HEAPTRAIL"]


def sql(trail, query):
    with contextlib.closing(sqlite3.connect(trail)) as db:
        return db.execute(query).fetchall()


def wait_until(what, seconds=30):
    """What what() returns once that is true; False after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(0.01)
    return False


def is_armed(trail):
    try:
        with contextlib.closing(sqlite3.connect(f"file:{trail}?mode=ro", uri=True)) as db:
            return bool(db.execute("SELECT value FROM recording WHERE key = 'armed_ns'").fetchall())
    except sqlite3.Error:  # not there yet, or not complete
        return False


def attach(pid, trail, *options, **kw):
    """Starts a recorder and waits until it records."""
    for name in (trail, trail + "-wal", trail + "-shm"):
        if os.path.exists(name):
            os.unlink(name)
    r = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, *options, "-p", str(pid)], **kw)
    if not wait_until(lambda: r.poll() is not None or is_armed(trail), 300) or r.poll():
        if r.poll() is None:
            r.kill()
        raise RuntimeError(f"the recorder does not record (exit status {r.wait()})")
    return r


def status(pid, key):
    """A line of /proc/PID/status, without its key; None when the process has ended."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key + ":")), None)
    except (FileNotFoundError, ProcessLookupError):
        return None


def kib(pid, key):
    value = status(pid, key)
    return int(value.split()[0]) if value else None


def state(pid):
    value = status(pid, "State")
    return value[0] if value else None


def states(pid):
    """The states of all its threads."""
    out = ""
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/stat") as f:
                out += f.read().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return out
