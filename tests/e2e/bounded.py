#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --max-size: the file stays as small as was asked for, and its numbers are those of a recording that has all."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import beside
import tap
from beside import sql

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
MIB = 1 << 20
KEYS = ("alloc_calls", "free_calls", "allocated_bytes", "live_blocks", "live_bytes")
work = tempfile.mkdtemp(prefix="heaptrail-bounded.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
whole, bounded, halved = f"{work}/whole.trail", f"{work}/bounded.trail", f"{work}/halved.trail"
CALLS = "1600000"


def command(path, max_size, *target):
    return [HEAPTRAIL, "record", "-q", "--force", "-o", path, *(["--max-size", max_size] if max_size else []), "--", *target]


def bytes_of(path):
    n = 0
    for name in (path, path + "-wal"):
        try:
            n += os.stat(name).st_size
        except FileNotFoundError:
            pass
    return n


def record(path, max_size, *target):
    """What the target says of itself, and the most bytes that there were."""
    if os.path.exists(path):
        os.unlink(path)
    p = subprocess.Popen(command(path, max_size, *target), env=env, text=True, stdout=subprocess.PIPE)
    most = 0
    while p.poll() is None:
        most = max(most, bytes_of(path))
        time.sleep(0.005)
    if p.returncode:
        raise RuntimeError(f"record ended with {p.returncode}")
    return json.loads(p.stdout.read()), most


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=tap.PATIENCE)


def report(path, *more):
    out = subprocess.check_output([HEAPTRAIL, "report", "--json", *more, path], text=True, timeout=tap.PATIENCE)
    return json.loads(out)


def numbers(path):
    """All that does not depend on when it was."""
    reports = {by: report(path, "--by", by) for by in ("file", "function", "line", "size", "thread", "stack")}
    summary = {k: v for k, v in reports["file"]["summary"].items() if k not in ("peak_time_ns", "peak_rss_bytes")}
    rows = {by: sorted(json.dumps({k: v for k, v in row.items() if k not in ("stack", "tid", "thread")}) for row in r["rows"])
            for by, r in reports.items()}
    leaks = json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", path], text=True, timeout=tap.PATIENCE))
    left = [{k: leak[k] for k in ("bytes", "blocks", "function", "file", "line")} for leak in leaks["leaks"]]
    return summary, rows, left


def exact():
    own, _ = record(whole, "", f"{TARGETS}/sizes", "64", CALLS)
    all_numbers = numbers(whole)
    tap.ok(report(whole)["recording"]["dropped"] is None and os.path.getsize(whole) > 4 * MIB, f"without a bound there are {os.path.getsize(whole)} bytes")
    for text, size in (("1M", MIB), ("2M", 2 * MIB), ("3M", 3 * MIB)):
        same, most = record(bounded, text, f"{TARGETS}/sizes", "64", CALLS)
        end = os.path.getsize(bounded)
        tap.ok(most <= size * 1.1 + 2 * MIB and end <= size * 1.1 + MIB / 4 and not os.path.exists(bounded + "-wal"),
               f"--max-size {text}: at most {most} bytes with the WAL, {end} at the end")
        tap.ok(same == own and numbers(bounded) == all_numbers and
               [all_numbers[0][k] for k in KEYS] == own["all"], "totals, peak and leaks are those of all events, and the target's own")
        dropped = report(bounded)["recording"]["dropped"]
        facts = dict(sql(bounded, "SELECT key, value FROM recording WHERE key LIKE 'dropped%' OR key IN ('max_size', 'start_ns')"))
        chunks = sql(bounded, "SELECT min(id), sum(events), min(first_ns) FROM chunk")[0]
        tap.ok(dropped["events"] == facts["dropped_events"] and chunks[0] == facts["dropped_chunks"] + 1 and
               chunks[1] + dropped["events"] == int(CALLS) and facts["max_size"] == size and
               dropped["until_ns"] == facts["dropped_until_ns"] - facts["start_ns"] and chunks[2] >= facts["dropped_until_ns"] and
               sql(bounded, "SELECT min(chunk), count(*) FROM checkpoint WHERE chunk = (SELECT min(chunk) FROM checkpoint)")[0] ==
               (facts["dropped_chunks"], 2), f"what was dropped is said: {dropped}")
        if text == "2M":
            shutil.copy(bounded, halved)
    own, _ = record(bounded, "5M", f"{TARGETS}/sizes", "64", "20000")
    tap.ok(report(bounded)["recording"]["dropped"] is None and numbers(bounded)[0]["alloc_calls"] == own["all"][0],
           "where there is room nothing is dropped")


def said():
    dropped = report(halved)["recording"]["dropped"]
    words = rf"Events before \S+ m?s were dropped \(--max-size\): {dropped['events']:,}; totals, peak and what is live are exact"
    for name in (["report"], ["leaks"], ["info"], ["view", "--dump", "--size", "30x120"]):
        text = " ".join(run(*name, halved).stdout.split())
        tap.ok(re.search(words, text), f"{' '.join(name)} says so")
    for name in (["report"], ["leaks"]):
        tap.ok(all(len(line) <= 80 for line in run(*name, halved).stdout.splitlines()), f"{name[0]} fits 80 columns")
    first = run("view", "--script", "{ " * 30, "--dump", "--size", "30x120", halved).stdout
    until = re.search(r"Events before (\S+ m?s) ", first).group(1)
    tap.ok(f"complete  {until} of " in first.splitlines()[0], f"the time cursor stops there: {first.splitlines()[0].strip()}")
    calls = re.search(r"Calls ([\d,]+)", first).group(1)
    frees = sql(halved, "SELECT sum(allocs) FROM chunk")[0][0]
    tap.ok(int(calls.replace(",", "")) + frees == report(halved)["summary"]["alloc_calls"], f"and shows the heap of then: {calls} calls")
    r = run("symbolize", halved)
    tap.ok(r.returncode == 0 and "were dropped" in run("report", halved).stdout, "symbolize takes it")
    r = run("record", "-o", bounded, "--force", "--max-size", "1M", "--", f"{TARGETS}/sizes", "64", "600000")
    tap.ok(re.search(r"recorded 600,000 events.*\n.*dropped the oldest [\d,]+ of them \(--max-size\)", r.stdout), "record says it")
    for size in ("x", "-1", "", "1000K", "0"):
        r = run("record", "--max-size", size, "--", "/bin/true")
        tap.ok(r.returncode == 2 and "--max-size is a size" in r.stdout, f"--max-size '{size}' is refused")


def too_small():
    """A heap whose state has no room."""
    if os.path.exists(bounded):
        os.unlink(bounded)
    r = subprocess.run([HEAPTRAIL, "record", "-o", bounded, "--max-size", "1M", "--", f"{TARGETS}/simple", "malloc", "600000", "24"],
                       env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE)
    tap.ok(r.returncode == 0 and r.stderr.count("--max-size 1.00 MiB is too small for this process") == 1, f"it is said once {r.stderr}")
    data = report(bounded)
    tap.ok(data["summary"]["live_blocks"] >= 600000 and "was too small" in run("report", bounded).stdout,
           "and in the report; what is live is right all the same")


def readers():
    """Who looks while events are dropped, all the time."""
    events_in_all = 2000000
    p = subprocess.Popen(command(bounded, "1M", f"{TARGETS}/sizes", "64", str(events_in_all), "8000"), env=env, stdout=subprocess.DEVNULL)
    beside.expect(lambda: os.path.exists(bounded) and sql(bounded, "SELECT 1 FROM recording WHERE key = 'dropped_chunks'"), "the first drop")
    seen, bad, events = 0, [], 0
    while p.poll() is None:
        for args in (["report", "--json"], ["leaks"], ["info"], ["view", "--dump"], ["view", "--script", "[ [ m ]", "--dump"]):
            r = run(*args, bounded)
            if r.returncode:
                bad.append((args, r.stdout[-300:]))
            elif args[0] == "report":
                now = json.loads(r.stdout[r.stdout.index("{"):])["recording"]["events"]
                if now < events:
                    bad.append((now, events))
                events = now
            seen += 1
    tap.ok(not bad and seen > 10 and events > 1000000, f"{seen} looks at it while it is recorded {bad[:3]}")
    tap.ok(report(bounded)["recording"]["events"] == events_in_all, "then it is complete")


def wrong(path):
    """Why a recording that was cut off is not right."""
    r = run("report", "--json", path)
    if r.returncode:
        return r.stdout
    data = json.loads(r.stdout[r.stdout.index("{"):])
    s = data["summary"]
    if s["alloc_calls"] - s["free_calls"] != s["live_blocks"] or s["unknown_frees"] or s["lost_events"]:
        return f"{s}"
    r = subprocess.run([f"{TARGETS}/dump", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    return r.stderr


def killed():
    bad, dropped, repaired = [], 0, 0
    times = 8
    endless = ("64", "1000000000", "3600000")  # for an hour, as fast as it can
    for i in range(times):
        beside.remove(bounded)
        p = subprocess.Popen(command(bounded, "1M", f"{TARGETS}/sizes", *endless), env=env, stdout=subprocess.DEVNULL)
        target = beside.expect(lambda: beside.child(p.pid, "sizes"), "the target")
        if i > 1:
            beside.expect(lambda: os.path.exists(bounded) and sql(bounded, "SELECT 1 FROM recording WHERE key = 'dropped_chunks'"),
                          "the first drop")
        time.sleep(0.2 + random.random())
        p.kill()
        p.wait()
        os.kill(target, signal.SIGKILL)
        why = wrong(bounded)
        if why:
            bad.append(why)
        dropped += report(bounded)["recording"]["dropped"] is not None
        before = numbers(bounded)[0]
        r = run("repair", bounded)
        left = sql(bounded, "SELECT count(*) FROM chunk WHERE id <= (SELECT value FROM recording WHERE key = 'dropped_chunks')")[0][0]
        repaired += r.returncode == 0 and numbers(bounded)[0] == before and not wrong(bounded) and not left
    tap.ok(not bad and dropped >= times - 2, f"killed {times} times, {dropped} after a drop: all can be read {bad[:2]}")
    tap.ok(repaired == times, f"{repaired} are repaired, with the same numbers")


tap.seed()
try:
    tap.run_as_root([exact, said, too_small, readers, killed])
finally:
    shutil.rmtree(work, ignore_errors=True)
