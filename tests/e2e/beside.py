# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests need that watch a target while it is recorded, and look at recordings."""
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.parse

import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
WINDOW, CYCLE, FIRST = 64, 4096, 100  # as in steady.c


# ---- why stacks end ----------------------------------------------------------------------


def _ends():
    header = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "store", "stack_end.h")
    with open(header) as f:
        return {name: int(n) for name, n in re.findall(r"^\tSTACK_(\w+) = (\d+),", f.read(), re.M)}


ENDS = _ends()  # of enum stack_end: numbers by names
COMPLETE, CALLER, TOO_DEEP, NOT_READY = (ENDS[name] for name in ("COMPLETE", "CALLER", "TOO_DEEP", "NOT_READY"))
# what only the caller is known of has no reason
REASONS = {n: name.lower().replace("_", " ") for name, n in ENDS.items() if n not in (COMPLETE, CALLER)}


# ---- waiting -----------------------------------------------------------------------------


def wait_until(what, seconds=tap.PATIENCE, pause=0.01):
    """What what() returns once that is true; after so many seconds, what it returns then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(pause)
    return what()


def expect(what, words):
    """What what() returns once that is true.  Without it there is no use in going on: raises."""
    result = wait_until(what)
    if not result:
        raise RuntimeError(f"waited in vain: {words}")
    return result


def interrupt(process):
    """A SIGINT that has been taken at the return: another one that came before would be the same one."""
    bit = 1 << (signal.SIGINT - 1)

    def is_taken():
        pending = [status(process.pid, key) for key in ("SigPnd", "ShdPnd")]
        return process.poll() is not None or not any(int(x, 16) & bit for x in pending if x)
    process.send_signal(signal.SIGINT)
    expect(is_taken, f"process {process.pid} to take its SIGINT")


# ---- processes ---------------------------------------------------------------------------


def end_bpftrace(process):
    """It sees a signal only while it waits for events."""
    def has_ended():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.poll() is not None
    wait_until(has_ended, pause=0.2)


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


def comm(pid):
    return status(pid, "Name")


def state(pid):
    """Its main thread's; None when it has gone."""
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


def cpu_seconds(pid):
    """That it has used so far, user and system."""
    with open(f"/proc/{pid}/stat") as f:
        return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")


def overrun(recorder, pid):
    """The recorder stands still while the process allocates many times what a ring of 1 MiB has room for; returns its states then."""
    recorder.send_signal(signal.SIGSTOP)
    expect(lambda: state(recorder.pid) == "T", "the recorder to stop")
    begin = cpu_seconds(pid)
    expect(lambda: cpu_seconds(pid) > begin + 0.5, f"process {pid} to run")
    ret = states(pid)
    recorder.send_signal(signal.SIGCONT)
    return ret


def has_ended(pid):
    return state(pid) in (None, "Z")


def children(pid):
    """Of its main thread."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def child(pid, name):
    """The child of this name, or None."""
    return next((c for c in children(pid) if comm(c) == name), None)


def _libc_code(pid):
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            fields = line.split()
            if len(fields) > 5 and fields[5].endswith("/libc.so.6") and "x" in fields[1]:
                start, end = (int(x, 16) for x in fields[0].split("-"))
                yield start, end, int(fields[2], 16), fields[5]


def code_of(pid):
    """The C library's code as the process has it, by its address."""
    out = {}
    with open(f"/proc/{pid}/mem", "rb") as mem:
        for start, end, _, _ in _libc_code(pid):
            mem.seek(start)
            out[start] = mem.read(end - start)
    return out


def code_in_file(pid):
    """The same as the file has it."""
    out = {}
    for start, end, offset, path in _libc_code(pid):
        with open(path, "rb") as f:
            f.seek(offset)
            out[start] = f.read(end - start)
    return out


def differences(a, b):
    """Addresses of the bytes that differ."""
    if a.keys() != b.keys():
        return list(a.keys() ^ b.keys())
    return [s + i for s in a if a[s] != b[s] for i in range(len(a[s])) if a[s][i] != b[s][i]]


# ---- recordings --------------------------------------------------------------------------


def remove(trail):
    for end in ("", "-wal", "-shm", "-journal"):
        if os.path.exists(trail + end):
            os.unlink(trail + end)


def sql(trail, query):
    """All rows; nothing is changed, not even what a recorder that was killed has left."""
    with contextlib.closing(sqlite3.connect(f"file:{urllib.parse.quote(trail)}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def _number(trail, query):
    try:
        return sql(trail, query)[0][0]
    except (sqlite3.Error, IndexError):  # not there yet, or not complete
        return None


def is_armed(trail):
    return _number(trail, "SELECT value FROM recording WHERE key = 'armed_ns'") is not None


def n_chunks(trail):
    """So many have been written."""
    return _number(trail, "SELECT count(*) FROM chunk") or 0


def is_sound(trail):
    return sql(trail, "PRAGMA integrity_check") == [("ok",)]


def report(trail, by="module"):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", "--by", by, trail], timeout=tap.PATIENCE))


def calls_from(trail, name):
    """A row of what the module that ends so has itself called the allocator for: not what libraries have for it."""
    found = {}
    for x in report(trail, "stack")["rows"]:
        if x["frames"] and (x["frames"][0]["module"] or "").endswith(name):
            for key, value in x.items():
                if isinstance(value, int) and key not in ("stack", "offset"):
                    found[key] = found.get(key, 0) + value
    return found


def info(trail):
    """What info says of it, or, as a string, why it does not open."""
    r = subprocess.run([HEAPTRAIL, "info", "--json", trail], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       errors="replace", timeout=tap.PATIENCE)
    return json.loads(r.stdout) if r.returncode == 0 else f"info: {r.returncode} {r.stderr!r}"


def n_events(trail):
    """So many are in the file."""
    return _number(trail, "SELECT sum(events) FROM chunk") or 0


def losses(trail):
    return dict(sql(trail, "SELECT kind, count FROM loss"))


def attach(pid, trail, *options, **kw):
    """Starts a recorder and waits until it records."""
    remove(trail)
    r = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, *options, "-p", str(pid)], **kw)
    if not wait_until(lambda: r.poll() is not None or is_armed(trail)) or r.poll() is not None:
        if r.poll() is None:
            r.kill()
        raise RuntimeError(f"the recorder does not record (exit status {r.wait()})")
    return r


def check_stream(trail, least_threads=8, is_launched=False):
    """What is wrong with a recording of steady ("" if nothing is), and the number of its threads' events.

    Every thread's piece of its stream must be without a gap, and every free the right one.  Of one that was
    launched it begins with the first block; the main thread makes the others, and is left out.
    """
    main = "SELECT id FROM thread WHERE tid = (SELECT value FROM recording WHERE key = 'pid')"
    left_out = {str(i) for i, in sql(trail, main)} if is_launched else set()
    lines = subprocess.check_output([f"{TARGETS}/dump", trail], text=True, timeout=tap.PATIENCE).splitlines()
    threads, last_t, n = {}, 0, 0
    before = None if not is_launched else 0
    for line in lines:
        kind, cls, thread, size, old, t = line.split()[:6]
        if int(t) < last_t:
            return "time runs back", 0
        last_t = int(t)
        if thread in left_out:
            continue
        th = threads.setdefault(thread, dict(next=before, next_free=before, unknown=0))
        n += 1
        if kind == "alloc":
            i = int(size) - FIRST
            if th["next"] is not None and i != th["next"]:
                return f"thread {thread}: block {i} instead of {th['next']}", n
            if th["next_free"] is None:
                th["next_free"] = i
            th["next"] = (i + 1) % CYCLE
        elif cls == "0":
            i = int(old) - FIRST
            if i != th["next_free"]:
                return f"thread {thread}: free of {i} instead of {th['next_free']}", n
            th["next_free"] = (i + 1) % CYCLE
        elif cls == "2":
            th["unknown"] += 1
            # the blocks of before, and one that was being allocated when it began
            if th["unknown"] > (0 if is_launched else WINDOW + 1):
                return f"thread {thread}: {th['unknown']} unknown frees", n
        else:
            return f"thread {thread}: {line}", n
    if len(threads) < least_threads:
        return f"{len(threads)} threads only", n
    return "", n
