#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What recordings cost: bytes an event by column, coding, the whole way from the ring to the file, replay; and how
long reports and moves in time take on a recording of very many events.

Four programs are recorded; the long recordings are their events again and again, through the ordinary writer.
"""
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import programs  # noqa: E402

HEAPTRAIL, TUI, STORAGE, SERVER = (os.environ[k] for k in ("HEAPTRAIL", "TUI", "BENCH_STORAGE", "BENCH_SERVER"))
EVENTS = int(os.environ.get("BENCH_EVENTS", 100_000_000))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SQL = ("create table a(id integer primary key, x text, y int); with recursive c(i) as (select 1 union all select i + 1"
       " from c where i < 60000) insert into a select i, printf('row %d %d', i, i * 7919 % 10007), i * 7919 % 10007 from c;"
       " create index ax on a(y); create table b as select y, count(*) n, group_concat(x) g from a group by y;"
       " select sum(length(g)), count(*) from b join a on a.y = b.y where a.id % 3 = 0;"
       " select count(*) from (select x, upper(x) || lower(x) u, replace(x, 'row', 'col') from a order by u);")

work = tempfile.mkdtemp(prefix="heaptrail-storing.", dir=os.environ.get("BENCH_FOLDER"))
env = {**os.environ, "PYTHONMALLOC": "malloc", "DEBUGINFOD_URLS": "", "LC_ALL": "C.UTF-8"}


def seconds(*command):
    """Of wall clock, and the peak memory in bytes."""
    code = ("import resource,subprocess,sys,time\nt=time.monotonic()\nr=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL)\n"
            "print(r.returncode,time.monotonic()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024)\n")
    status, *numbers = subprocess.check_output([sys.executable, "-c", code, *command], text=True, env=env).split()
    if status != "0":
        sys.exit(f"{command} failed")
    return tuple(map(float, numbers))


def storage(*args):
    return subprocess.check_output([STORAGE, *args], text=True, env=env)


def event_bytes(trail):
    with sqlite3.connect(trail) as db:
        events, chunks = db.execute("SELECT sum(events), sum(length(data)) FROM chunk").fetchone()
        checkpoints, = db.execute("SELECT coalesce(sum(length(data)), 0) FROM checkpoint").fetchone()
    db.close()
    return events, chunks / events, checkpoints / events


def record(name, command):
    trail = f"{work}/{name}.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", *command], check=True, env=env, stdout=subprocess.DEVNULL)
    events, chunks, checkpoints = event_bytes(trail)
    text = storage(trail, f"{work}/scratch.trail")
    columns = dict(re.findall(r"column (.*): ([\d.]+) bytes", text))
    print(f"{name}: {events} events, {chunks + checkpoints:.2f} bytes each (bar 3.0): "
          + ", ".join(f"{k} {v}" for k, v in columns.items()) + f", checkpoints {checkpoints:.3f}")
    for line in text.splitlines():
        if "million" in line:
            print(f"  {line}")
    took = [seconds(HEAPTRAIL, "leaks", "--growth", trail) for _ in range(ROUNDS)]
    print(f"  leaks --growth: {statistics.median(t for t, _ in took):.3f} s (bar 1), {max(m for _, m in took) / 2**20:.0f} MiB")
    return trail


def long_recording(name, trail):
    whole, cut = f"{work}/long.trail", f"{work}/cut.trail"
    storage(trail, whole, "repeat", str(EVENTS))
    events, chunks, checkpoints = event_bytes(whole)
    size = os.path.getsize(whole)
    print(f"{name} again and again: {events} events, {chunks + checkpoints:.2f} bytes each with checkpoints, "
          f"file {size / 2**20:.0f} MiB")
    took = [seconds(HEAPTRAIL, "report", whole)[0] for _ in range(ROUNDS)]
    print(f"  report, finished: {statistics.median(took):.3f} s (bar 0.2)")
    with sqlite3.connect(whole) as db:
        start, end = (db.execute("SELECT value FROM recording WHERE key = ?", (k,)).fetchone()[0] for k in ("start_ns", "end_ns"))
    db.close()
    for command in (["leaks"], ["leaks", "--json", "--by", "function"], ["leaks", "--json"], ["leaks", "--growth"]):
        took = [seconds(HEAPTRAIL, *command, whole)[0] for _ in range(ROUNDS)]
        print(f"  {' '.join(command)}: {statistics.median(took):.3f} s (bar 5)")
    chosen = random.Random(1)
    took = [seconds(HEAPTRAIL, "report", "--at", f"{chosen.randrange(end - start)}ns", whole)[0] for _ in range(2 * ROUNDS)]
    print(f"  report --at: {statistics.median(took):.3f} s (bar 0.15), most {max(took):.3f}")
    for line in subprocess.check_output([f"{TUI}/latency", whole], text=True, env=env, cwd=work).splitlines():
        print("  interface, ms: " + "  ".join(f"{w:>12}" for w in line.split()))
    os.unlink(whole)
    storage(trail, cut, "repeat", str(EVENTS), "cut-off")
    wall, peak = seconds(HEAPTRAIL, "report", cut)
    print(f"  first report, cut off: {wall:.2f} s (bar 5), {peak / 2**20:.0f} MiB")
    for end in ("", "-wal", "-shm"):
        if os.path.exists(cut + end):
            os.unlink(cut + end)


try:
    began = time.monotonic()
    print(storage("-", "-", "live", "1000000"), end="")
    recorded = [("sqlite3", record("sqlite3", ["sqlite3", ":memory:", SQL])),
                ("python3", record("python3", ["python3", programs.python_script(work, 400)])),
                ("cc1plus", record("cc1plus", programs.cc1plus(work, 60))),
                ("server", record("server", [SERVER]))]
    for name, trail in recorded:
        long_recording(name, trail)
    print(f"({time.monotonic() - began:.0f} s)")
finally:
    shutil.rmtree(work, ignore_errors=True)
