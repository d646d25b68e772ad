#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --every: files that open alone, and whose last has what a recording in one file has."""
import glob
import json
import os
import pwd
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
CALLS = "1000000"
LASTS_MS = "2500"  # two turns, however fast the machine is
ENDLESS = ("64", "180000000", "3600000")  # for who is killed: 50,000 calls a second, for an hour
work = tempfile.mkdtemp(prefix="heaptrail-rotated.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
whole = f"{work}/whole.trail"
names = f"{work}/part.trail"


def number(path):
    return int(re.search(r"\.(\d+)\.trail$", path).group(1))


def parts():
    return sorted(glob.glob(f"{work}/part.*.trail"), key=number)


def clear():
    for path in glob.glob(f"{work}/part.*"):
        os.unlink(path)


def run(*args, **more):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=tap.PATIENCE, **more)


def report(*paths):
    out = subprocess.check_output([HEAPTRAIL, "report", "--json", "--by", "line", *paths], text=True, timeout=tap.PATIENCE)
    return json.loads(out)


def numbers(*paths):
    """All that does not depend on when it was."""
    data = report(*paths)
    leaks = json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", *paths], text=True, timeout=tap.PATIENCE))
    return ({k: v for k, v in data["summary"].items() if k not in ("peak_time_ns", "peak_rss_bytes")}, data["rows"],
            [{k: leak[k] for k in ("bytes", "blocks", "function", "line")} for leak in leaks["leaks"]])


def exact():
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", whole, "--", f"{TARGETS}/sizes", "64", CALLS], env=env, check=True,
                   stdout=subprocess.DEVNULL, timeout=tap.PATIENCE)
    r = run("record", "--every", "1s", "-o", names, "--", f"{TARGETS}/sizes", "64", CALLS, LASTS_MS, env=env)
    files = parts()
    tap.ok(r.returncode == 0 and len(files) >= 3 and [number(f) for f in files] == list(range(1, len(files) + 1)) and
           f"in {len(files)} files, of which it is the last" in r.stdout, f"{len(files)} files")
    tap.ok(not glob.glob(f"{work}/part*-wal") and all(json.loads(run("info", "--json", f).stdout)["recording"]["complete"] for f in files),
           "all are complete")
    all_numbers = numbers(whole)
    tap.ok(numbers(files[-1]) == all_numbers, "the last has the numbers of a recording in one file")
    tap.ok(numbers(*files) == all_numbers and numbers(*reversed(files)) == all_numbers, "so have all together, in any order")
    events = [sql(f, "SELECT sum(events) FROM chunk")[0][0] or 0 for f in files]
    tap.ok(sum(events) == int(CALLS), f"each event is in one of them: {events}")
    before, good = 0, []
    for f, n in zip(files, events):
        facts = dict(sql(f, "SELECT key, value FROM recording"))
        dropped = report(f)["recording"]["dropped"]
        sites = sql(f, "SELECT sum(alloc_calls), sum(live_bytes) FROM site")[0]
        s = report(f)["summary"]
        good.append(facts["rotation_number"] == number(f) and (dropped or {"events": 0})["events"] == before and
                    facts["names_looked_up"] == 1 and sites == (s["alloc_calls"], s["live_bytes"]) and
                    s["alloc_calls"] - s["free_calls"] == s["live_blocks"] and report(f)["recording"]["events"] == before + n and
                    not subprocess.run([f"{TARGETS}/dump", f], stdout=subprocess.DEVNULL, timeout=tap.PATIENCE).returncode)
        before += n
    tap.ok(all(good) and len({dict(sql(f, "SELECT key, value FROM recording"))["rotation_id"] for f in files}) == 1,
           f"each opens alone, with names and summaries, and goes on where the one before ended {good}")
    shutil.copy(files[1], f"{work}/alone.trail")
    tap.ok(numbers(f"{work}/alone.trail") == numbers(files[1]) and "are in earlier files (--every)" in run("report", files[1]).stdout,
           "wherever it is; and its head says so")
    first = run("view", "--script", "{ " * 30, "--dump", "--size", "30x120", files[1]).stdout
    calls = int(re.search(r"Calls ([\d,]+)", first).group(1).replace(",", ""))
    tap.ok(calls == report(files[0])["summary"]["alloc_calls"], "its first moment is the last of the one before")
    for wrong, words in (((files[0], files[2]), "does not follow on"), ((files[0], whole), "no file of the same recording"),
                         ((files[1], files[1]), "does not follow on")):
        r = run("report", *wrong)
        tap.ok(r.returncode == 2 and words in r.stdout and "hint: " in r.stdout, f"refused: {words}")


def moments():
    """--at with all files: whichever has the moment, against the events of all of them."""
    files = parts()
    start = sql(files[0], "SELECT value FROM recording WHERE key = 'start_ns'")[0][0]
    lines = [x.split() for f in files for x in
             subprocess.check_output([f"{TARGETS}/dump", f], text=True, timeout=tap.PATIENCE).splitlines()]
    end, bad = int(lines[-1][5]) - start, []
    for i in range(1, 10):
        t = end * i // 10 // 1000000 * 1000000
        so_far = [x for x in lines if int(x[5]) <= start + t]
        made = sum(x[0] in ("alloc", "realloc") for x in so_far)
        freed = sum(x[0] == "realloc" or x[0] == "free" and x[1] in ("0", "1") for x in so_far)
        s = json.loads(run("report", "--json", "--at", f"{t // 1000000}ms", *reversed(files)).stdout)["summary"]
        if (s["alloc_calls"], s["free_calls"], s["live_blocks"]) != (made, freed, made - freed):
            bad.append((t, made, freed, s))
    tap.ok(not bad, f"--at of nine moments over {len(files)} files {bad}")
    s = json.loads(run("report", "--json", "--at", "peak", *files).stdout)["summary"]
    whole_peak = report(*files)["summary"]
    tap.ok((s["live_bytes"], s["live_blocks"]) == (whole_peak["peak_bytes"], whole_peak["peak_blocks"]), f"--at peak {s}")
    since, until = 100, end // 1000000 - 10
    part = [x for x in lines if since * 1000000 <= int(x[5]) - start <= until * 1000000]
    s = json.loads(run("report", "--json", "--since", f"{since}ms", "--until", f"{until}ms", *files).stdout)["summary"]
    tap.ok(s["alloc_calls"] == sum(x[0] in ("alloc", "realloc") for x in part), f"a part that lies in several: {s}")


def bytes_on_disk(pattern):
    total = 0
    for path in glob.glob(pattern):
        try:
            total += os.stat(path).st_size
        except FileNotFoundError:
            pass
    return total


def bounded():
    """With --max-size the oldest files go, and all that are left stay below it; what is in them is as without."""
    clear()
    most, max_size = 0, 2 << 20
    p = subprocess.Popen([HEAPTRAIL, "record", "--every", "1s", "--max-size", "2M", "-o", names, "--",
                          f"{TARGETS}/sizes", "64", CALLS, LASTS_MS], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while p.poll() is None:
        most = max(most, bytes_on_disk(f"{work}/part.*"))
        time.sleep(0.02)
    out = p.stdout.read()
    files = parts()
    left = [number(f) for f in files]
    removed = re.search(r"in (\d+) files.*\n.*removed the oldest (\d+) of these \(--max-size\)", out)
    tap.ok(p.returncode == 0 and removed and 1 not in left and left == list(range(int(removed[2]) + 1, int(removed[1]) + 1)),
           f"the oldest are removed, {left} are left {out}")
    # as of one file: the log of what is written comes on top
    tap.ok(1 << 20 < most < max_size * 1.1 + (2 << 20), f"{most} bytes at most were there, of a bound of {max_size}")
    tap.ok("warning" not in out and not glob.glob(f"{work}/part*-*"), "nothing else is left, and nothing failed")
    tap.ok(numbers(files[-1]) == numbers(whole) and numbers(*files) == numbers(whole), "the last has the numbers of a whole recording")
    tap.ok(all(json.loads(run("info", "--json", f).stdout)["recording"]["complete"] for f in files), "all that are left are complete")
    # one that is larger alone than all may be: its own oldest events go
    clear()
    r = run("record", "--every", "1h", "--max-size", "2M", "-o", names, "--", f"{TARGETS}/sizes", "64", CALLS, env=env)
    dropped = report(parts()[0])["recording"]["dropped"]
    tap.ok(r.returncode == 0 and len(parts()) == 1 and dropped and dropped["events"] and numbers(parts()[0]) == numbers(whole),
           f"of a file that is too large alone the oldest events are dropped {dropped}")


def refused():
    for args, words in ((("--every", "x"), "--every is a time"), (("--every", "500ms"), "--every is a time")):
        r = run("record", *args, "--", "/bin/true")
        tap.ok(r.returncode == 2 and words in r.stdout, f"refused: {' '.join(args)}")
    clear()
    with open(f"{work}/part.2.trail", "w") as f:
        f.write("mine")
    r = run("record", "--every", "1s", "-o", names, "--", f"{TARGETS}/sizes", "64", "500000", "1500", env=env)
    with open(f"{work}/part.2.trail") as f:
        kept = f.read() == "mine"
    tap.ok(r.returncode == 0 and kept and "recording goes on in the file before" in r.stdout and len(parts()) == 2 and
           report(parts()[0])["recording"]["events"] == 500000, "a file that is there stays, and nothing is lost")


def is_in_the_middle(p):
    """Several files, and events in the last.  It stands still then: from here on there will be no other."""
    p.send_signal(signal.SIGSTOP)
    beside.expect(lambda: beside.state(p.pid) == "T", "the recorder to stand still")
    if len(parts()) >= 4 and beside.n_chunks(parts()[-1]):
        return True
    p.send_signal(signal.SIGCONT)
    return False


def killed():
    clear()
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--every", "1s", "-o", names, "--", f"{TARGETS}/sizes", *ENDLESS],
                         env=env, stdout=subprocess.DEVNULL)
    target = beside.expect(lambda: beside.child(p.pid, "sizes"), "the target")
    try:
        beside.expect(lambda: len(parts()) >= 4, "four files")
        beside.wait_until(lambda: is_in_the_middle(p), pause=0.1)
    finally:
        p.kill()
        p.wait()
        os.kill(target, signal.SIGKILL)
    last = parts()[-1]
    s = report(last)["summary"]
    tap.ok(s["alloc_calls"] - s["free_calls"] == s["live_blocks"] and s["alloc_calls"] > report(parts()[-2])["summary"]["alloc_calls"] and
           "cut off" in run("report", last).stdout, "the recorder was killed: the last file is there, up to then")
    r = run("repair", last)
    tap.ok(r.returncode == 0 and report(last)["summary"] == s and numbers(*parts())[0]["alloc_calls"] == s["alloc_calls"],
           f"and is repaired {r.stdout}")


def attached():
    """As the user who called sudo, in a folder of that user's."""
    nobody = pwd.getpwnam("nobody")
    clear()
    folder = f"{work}/of-nobody"
    os.mkdir(folder, 0o700)
    os.chmod(work, 0o755)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with subprocess.Popen([f"{TARGETS}/sizes", *ENDLESS], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target:
        r = subprocess.Popen([HEAPTRAIL, "record", "--every", "1s", "-o", f"{folder}/part.trail", "-p", str(target.pid)],
                             env=dict(os.environ, SUDO_UID=str(nobody.pw_uid), SUDO_GID=str(nobody.pw_gid), SUDO_USER="nobody"),
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        beside.wait_until(lambda: os.path.exists(f"{folder}/part.4.trail") and beside.n_chunks(f"{folder}/part.4.trail"))
        r.send_signal(signal.SIGINT)
        said = r.communicate(timeout=tap.PATIENCE)[0]
        target.kill()
    files = sorted(glob.glob(f"{folder}/part.*.trail"), key=number)
    owners = {(os.stat(f).st_uid, os.stat(f).st_mode & 0o777) for f in glob.glob(f"{folder}/*")}
    tap.ok(r.returncode == 0 and len(files) >= 4 and owners == {(nobody.pw_uid, 0o600)},
           f"attached, with sudo: {len(files)} files of the user's {owners} {said}")
    facts = [dict(sql(f, "SELECT key, value FROM recording")) for f in files]
    turns = [(x["end_ns"] - facts[0]["armed_ns"]) / 1e9 for x in facts[:-1]]
    tap.ok(all(t >= i for i, t in enumerate(turns, 1)) and len({int(t) for t in turns}) == len(turns), f"each at its second, or later: {turns}")
    data = [report(f) for f in files]
    tap.ok(all(d["recording"]["complete"] and not d["recording"]["exited"] for d in data) and
           all(a["summary"]["alloc_calls"] < b["summary"]["alloc_calls"] for a, b in zip(data, data[1:])) and
           all(any(row["function"] == "call" for row in d["rows"]) for d in data), "all complete, with names")


try:
    tap.run_as_root([exact, moments, bounded, refused, killed, attached])
finally:
    shutil.rmtree(work, ignore_errors=True)
