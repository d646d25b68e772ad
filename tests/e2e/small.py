#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --min-size: what is recorded and what is counted make up what the target knows of itself, exactly."""
import json
import os
import shutil
import subprocess
import tempfile

import beside
import tap
from beside import sql

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
KEYS = ("alloc_calls", "free_calls", "allocated_bytes", "live_blocks", "live_bytes")
work = tempfile.mkdtemp(prefix="heaptrail-small.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/small.trail"


def command(min_size, *target):
    return [HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--min-size", min_size, "--", *target]


def record(min_size, *target):
    r = subprocess.run(command(min_size, *target), env=env, text=True, stdout=subprocess.PIPE, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}")
    return json.loads(r.stdout)


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=tap.PATIENCE)


def report():
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", trail], text=True, timeout=tap.PATIENCE))


def wrong(own):
    """What is not as the target says: recorded are its large blocks, counted the others."""
    data = report()
    summary, small = data["summary"], data["recording"]["small"]
    recorded = [summary[k] for k in KEYS]
    counted = [small[k] for k in KEYS]
    others = [a - b for a, b in zip(own["all"], own["large"])]
    if recorded != own["large"] or counted != others:
        return f"recorded {recorded} of {own['large']}, counted {counted} of {others}"
    facts = dict(sql(trail, "SELECT key, value FROM recording WHERE key LIKE 'small%'"))
    if [int(facts["small_" + k]) for k in KEYS] != counted:
        return f"facts {facts}"
    odd = [k for k in ("lost_events", "unknown_frees", "double_frees") if summary[k]]
    return f"{odd} in {summary}" if odd else ""


def exact():
    for min_size, bound in (("64", 64), ("4K", 4096), ("1", 1), ("333", 333)):
        own = record(min_size, f"{TARGETS}/sizes", str(bound), "100000")
        bad = wrong(own)
        tap.ok(not bad and own["all"][0] > 50000, f"--min-size {min_size}: {own} {bad}")
    own = record("1G", f"{TARGETS}/sizes", "64", "10000")
    data = report()
    tap.ok(data["summary"]["alloc_calls"] == 0 and [data["recording"]["small"][k] for k in KEYS] == own["all"],
           "--min-size 1G: nothing is recorded, all is counted")
    own = record("0", f"{TARGETS}/sizes", "64", "10000")
    data = report()
    tap.ok([data["summary"][k] for k in KEYS] == own["all"] and data["recording"]["small"] is None,
           "--min-size 0: all is recorded")


def threads():
    """Eight threads; the C library's own calls come on top."""
    own = record("100", f"{TARGETS}/threads")
    data = report()
    s, small = data["summary"], data["recording"]["small"]
    both = {k: s[k] + small[k] for k in KEYS}
    tap.ok(s["unknown_frees"] == s["lost_events"] == s["double_frees"] == 0 and small["alloc_calls"] > 1000 and
           0 <= both["alloc_calls"] - own["alloc_calls"] < 100 and both["alloc_calls"] - both["free_calls"] == both["live_blocks"],
           f"reallocs and frees by other threads: {both} of {own}")


def said():
    record("64", f"{TARGETS}/sizes", "64", "20000")
    small = report()["recording"]["small"]
    words = f"Blocks under 64 bytes were counted, not recorded: {small['alloc_calls']:,} calls, "
    for name in (["report"], ["leaks"], ["info"], ["view", "--dump"], ["view", "--dump", "--size", "30x160"]):
        text = " ".join(run(*name, trail).stdout.split())
        tap.ok(words in text, f"{' '.join(name)} says so")
    text = run("view", "--dump", "--size", "30x160", trail).stdout
    tap.ok(" live" in text.split(words)[1].splitlines()[0] and " Small " in text, "all of it where there is room")
    text = run("view", "--script", "2", "--dump", trail).stdout
    tap.ok(" Small " in text, "the head of every view has what is live of them")
    for command_line in (["report"], ["leaks"]):
        lines = run(*command_line, trail).stdout.splitlines()
        tap.ok(all(len(line) <= 80 for line in lines), f"{command_line[0]} fits 80 columns")
    r = run("record", "-o", trail, "--force", "--min-size", "1K", "--", f"{TARGETS}/simple", "malloc", "7", "100")
    tap.ok("counted 7 allocations below --min-size" in r.stdout and "no heap event" not in r.stdout, f"record says so {r.stdout}")
    for size in ("2G", "x", "-1", ""):
        r = run("record", "--min-size", size, "--", "/bin/true")
        tap.ok(r.returncode == 2 and "--min-size is a size" in r.stdout, f"--min-size '{size}' is refused")
    top = run("top", "--help").stdout
    tap.ok("--min-size" in top, "top passes it on")


def cut_off():
    p = subprocess.Popen(command("64", f"{TARGETS}/sizes", "64", "50000", "pause"), env=env, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    own = json.loads(p.stdout.readline())
    beside.expect(lambda: sql(trail, "SELECT sum(allocs) FROM chunk")[0][0] == own["large"][0], "all events to be written")
    beside.expect(lambda: not wrong(own), "the counts")
    tap.ok(True, "while it is being recorded the counts are there")
    p.kill()
    p.wait()
    p.stdin.close()
    bad = wrong(own)
    tap.ok(not bad, f"the recorder was killed: both are there {bad}")
    r = run("repair", trail)
    bad = wrong(own)
    tap.ok(r.returncode == 0 and not bad, f"repaired: as before {bad} {r.stdout}")


try:
    tap.run_as_root([exact, threads, said, cut_off])
finally:
    shutil.rmtree(work, ignore_errors=True)
