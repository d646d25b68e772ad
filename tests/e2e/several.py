#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of --every, read as one: against the same events in one file, which is put together here from their rows."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

import forging
import recording
import tap
from beside import sql

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
SOURCE = os.path.join(os.environ["SRCDIR"], "tests", "targets", "noisy.c")
DROPPED = ("dropped_chunks", "dropped_events", "dropped_until_ns")
work = tempfile.mkdtemp(prefix="heaptrail-several.")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": tap.private_libc(work)}
MS = 1000000


def run(*args, stderr=subprocess.STDOUT):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=stderr, timeout=tap.PATIENCE)


def number(path):
    found = re.search(r"\.(\d+)\.trail$", path)
    return int(found[1]) if found else 0


def record(name, *args):
    """The files, in their order, and one with all that is in them."""
    r = run_recorder("--every", "1s", "-o", f"{work}/{name}.trail", *args)
    files = sorted(glob.glob(f"{work}/{name}.*.trail"), key=number)
    if not tap.ok(r.returncode == 0 and len(files) >= 3, f"{name}: {len(files)} files"):
        raise RuntimeError("there is nothing to look at")
    if "-d" in args:  # then the command runs on
        os.kill(sql(files[-1], "SELECT value FROM recording WHERE key = 'pid'")[0][0], signal.SIGKILL)
    return files, merge(files, f"{work}/{name}-all.trail")


def run_recorder(*args):
    """Nobody reads what it says: a command that runs on would keep the pipe open."""
    return subprocess.run([HEAPTRAIL, "record", "-q", *args], env=env, stdout=subprocess.DEVNULL, timeout=tap.PATIENCE)


def merge(files, path):
    """All events and snapshots are in one file then, without a checkpoint: whatever is asked is found by reading all."""
    shutil.copy(files[-1], path)
    chunks = [row for f in files for row in recording.rows(f, "chunk", "id")]
    rss = sorted({row for f in files for row in sql(f, "SELECT space, time_ns, bytes FROM rss")}, key=lambda row: row[1])
    snapshots = [row for f in files for row in recording.rows(f, "snapshot", "id")]
    with forging.changing(path) as db:
        db.execute("DELETE FROM chunk")
        db.execute("DELETE FROM checkpoint")
        db.execute("DELETE FROM snapshot")
        db.execute("DELETE FROM rss")
        db.executemany("INSERT INTO rss (space, time_ns, bytes) VALUES (?, ?, ?)", rss)
        db.executemany("DELETE FROM recording WHERE key = ?", [(key,) for key in DROPPED])
        for i, row in enumerate(chunks, 1):
            forging.put(db, "chunk", recording.CHUNK, {**row, "id": i})
        for i, row in enumerate(snapshots, 1):
            row["id"] = i
            db.execute(f"INSERT INTO snapshot ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                       [forging.to_signed(v) if isinstance(v, int) else v for v in row.values()])
    return path


def is_empty(text):
    """Of what is JSON the rows, whatever they are called; of what is not, all but its first line."""
    if not text.startswith("{"):
        return len(text.splitlines()) < 2
    data = json.loads(text)
    return not any(data.get(key) for key in ("rows", "leaks", "snapshots", "wrong_frees"))


def same(args, files, whole, after=(), status=0, has_rows=True):
    """What differs between both ways to give it; None if nothing.  The name and size of a file do."""
    texts = []
    for paths in (files, [whole]):
        r = run(*args, *paths, *after, stderr=subprocess.PIPE)
        text = re.sub(r'"bytes_on_disk": ?\d+', "", r.stdout)
        texts.append((r.returncode, *(x.replace(sorted(paths, key=number)[-1], "FILE") for x in (text, r.stderr))))
    if texts[0] != texts[1]:
        return f"{' '.join(args)}: {texts[0]} {texts[1]}"
    if texts[0][0] != status or (has_rows and is_empty(r.stdout)):
        return f"{' '.join(args)}: both alike {texts[0]}"
    return None


def ends_of(files):
    """When the last event was of each file that has any, in ms after the recording began."""
    start = sql(files[0], "SELECT value FROM recording WHERE key = 'start_ns'")[0][0]
    last = [sql(f, "SELECT max(last_ns) FROM chunk")[0][0] for f in files]
    end = sql(files[-1], "SELECT value FROM recording WHERE key = 'end_ns'")[0][0]
    return [(min(t, end) - start) // MS for t in last if t]


def threads():
    files, whole = record("noisy", "--mmap", "--frag-every", "300ms", "-d", "3500ms", "--", f"{TARGETS}/noisy", "3",
                          "1000000000")
    ends = ends_of(files)
    windows(files, whole, ends, ("report", "--layer", "mmap", "--json"))
    wrong = [same(("report", "--layer", "mmap", "--json", *when), files, whole) for when in ((), ("--at", f"{ends[1]}ms"))]
    tap.ok(not any(wrong), f"what was mapped {wrong}")
    fragmentation(files, whole, ends)
    wrong = [same(("annotate", "--since", f"{ends[0] // 2}ms", "--until", f"{ends[1] + 100}ms"), files, whole, (SOURCE,)),
             same(("annotate",), files, whole, (SOURCE,))]
    tap.ok(not any(wrong), f"annotate {wrong}")
    missing(files, ends)


def blocks():
    """Thousands of them live, and the recorder left the command before it ended."""
    files, whole = record("sizes", "--frag-every", "700ms", "-d", "4500ms", "--", f"{TARGETS}/sizes", "64", "2000000000")
    ends = ends_of(files)
    windows(files, whole, ends)
    fragmentation(files, whole, ends)
    screens(files, whole)
    unsealed(files, whole)
    rss(files, whole)
    impossible(files)


def windows(files, whole, ends, *more):
    """Parts that begin in one file and end in another, or the same."""
    parts = [(ends[0] // 2, ends[1] + 100), (ends[0] - 50, ends[0] + 50), (ends[0] + 1, ends[-1] - 10), (ends[1] + 10, ends[1] + 300),
             (1, ends[-1]), (ends[0] // 3, ends[0] // 2)]
    for since, until in parts:
        when = ("--since", f"{since}ms", "--until", f"{until}ms")
        commands = [("report", "--json", "--by", by) for by in ("line", "stack", "thread", "size", "family")]
        commands += [("report",), ("report", "--csv"), ("leaks",), ("leaks", "--json"), *more]
        # of blocks that live so shortly none may be left, and nothing was mapped then
        wrong = [x for x in (same((*c, *when), files, whole, has_rows=c[0] != "leaks" and c not in more) for c in commands) if x]
        tap.ok(not wrong, f"from {since} to {until} ms, files end at {ends}: {len(wrong)} of {len(commands)} differ {wrong[:1]}")
    wrong = [same((*command, "--json", "--since", f"{t}ms"), list(reversed(files)), whole)
             for t in (1, ends[0] + 5, ends[-2] + 5) for command in (("report",), ("leaks", "--growth"))]
    tap.ok(not any(wrong), f"until the end, in any order {wrong}")
    wrong = [same(("report", "--json", "--at", f"{t}ms"), files, whole, has_rows=t > 1) for t in (1, ends[0] // 2, *ends[:-1], ends[1] + 20)]
    wrong += [same(("report", "--wrong-frees", "--json"), files, whole, has_rows=False)]
    wrong += [same(c, files, whole) for c in (("report", "--json", "--at", "peak"),
                                              ("leaks", "--growth", "--json"),
                                              ("leaks", "--growth"), ("report",), ("leaks", "--json"))]
    tap.ok(not any(wrong), f"moments, and what needs all events {[w for w in wrong if w]}")


def fragmentation(files, whole, ends):
    counts = [sql(f, "SELECT count(*) FROM snapshot")[0][0] for f in files]
    listed = len(json.loads(run("frag", "--json", *files).stdout)["snapshots"])
    tap.ok(listed == sum(counts) and sum(n > 0 for n in counts) > 1, f"frag: the snapshots of all files {counts}")
    moments = (ends[0] - 10, ends[0] + 310, ends[1] + 310, ends[-1] - 1)
    wrong = [same(("frag", *how, "--at", f"{t}ms"), files, whole) for t in moments for how in (("--json",), ("--map", "--lifetimes"))]
    wrong += [same(("frag", "--json", "--at", "peak"), files, whole), same(("frag",), files, whole)]
    tap.ok(not any(wrong), f"frag at moments in several files, and at the end {[w for w in wrong if w][:1]}")
    r = run("frag", "--at", "1ms", *files)
    tap.ok(r.returncode == 2 and "there is no snapshot so early" in r.stdout, f"before the first snapshot: {r.stdout}")


def screens(files, whole):
    """The terminal interface: the same screens, at moments in each file."""
    script = ["", "{ " * 12, "{ " * 30, "{ " * 12 + "} } 2", "{ " * 20 + "6", "{ " * 8 + "4", "9", "0"]
    wrong = [same(("view", "--script", s, "--dump", "--size", "40x120"), files, whole) for s in script]
    tap.ok(not any(wrong), f"view: {len(script)} screens {[w for w in wrong if w][:1]}")


def copies(files, folder):
    os.mkdir(f"{work}/{folder}")
    return [shutil.copy(f, f"{work}/{folder}/") for f in files]


def unsealed(files, whole):
    """The last one is being written, or its recorder was killed."""
    files, (whole,) = copies(files, "unsealed"), copies([whole], "unsealed-all")
    for path in (files[-1], whole):
        with forging.changing(path, sealed=False):
            pass
    script = ["0", "0 " + "{ " * 12, "{ " * 12, "2"]
    wrong = [same(("view", "--script", s, "--dump", "--size", "40x120"), files, whole) for s in script]
    wrong += [same((*c, "--json"), files, whole) for c in (("leaks", "--growth"), ("report",))]
    tap.ok(not any(wrong), f"the last one is not finished {[w for w in wrong if w][:1]}")


def shown_rss(keys, *files):
    """What the first lines say of it."""
    found = re.search(r"RSS +([0-9.]+ [A-Za-z]+)", "\n".join(run("view", "--script", keys, "--dump", "--size", "40x200", *files).stdout.splitlines()[:4]))
    return found and found[1]


def rss(files, whole):
    """A file has only some of the samples of those before it."""
    files = copies(files, "rss")
    samples = sql(whole, "SELECT time_ns, bytes FROM rss ORDER BY time_ns")
    middle, size = samples[len(samples) // 2][0], 1 << 20
    for i, f in enumerate([*files, *copies([whole], "rss-all")]):
        with forging.changing(f) as db:  # of each sample it can be told which it is
            db.executemany("UPDATE rss SET bytes = ? WHERE time_ns = ?", [(size * (k + 1), t) for k, (t, _) in enumerate(samples)])
            if 0 < i < len(files):
                db.execute("DELETE FROM rss WHERE time_ns <= ?", sql(files[i - 1], "SELECT max(time_ns) FROM rss")[0])
    moments = ["{ " * n for n in range(0, 20, 3)]
    several, one = ([shown_rss(keys, *paths) for keys in moments] for paths in (files, [f"{work}/rss-all/{os.path.basename(whole)}"]))
    tap.ok(several == one and len(set(several)) > 4, f"the RSS at moments in any file {several} {one}")
    late = copies([whole], "rss-late")[0]
    with forging.changing(late) as db:
        db.execute("DELETE FROM rss WHERE time_ns < ?", (middle,))
    tap.ok(shown_rss("", late) and not shown_rss("{ " * 18, late), "before the first sample it is not known")


def impossible(files):
    """Numbers that no recorder gives."""
    for n in (0, -1, (1 << 32) + 1, (1 << 63) - 1, -(1 << 63)):
        first = f"{work}/impossible.trail"
        shutil.copy(files[0], first)
        with forging.changing(first) as db:
            db.execute("UPDATE recording SET value = ? WHERE key = 'rotation_number'", (n,))
        r = run("report", first, *files[1:])
        tap.ok(r.returncode == 4 and "it cannot be number" in r.stdout, f"number {n}: {r.stdout}")


def missing(files, ends):
    """Only some of them."""
    r = run("report", "--since", f"{ends[0] - 20}ms", *files[1:])
    tap.ok(r.returncode == 2 and "in earlier files" in r.stdout and "hint: " in r.stdout, f"the first is needed: {r.stdout}")
    r = run("report", "--since", f"{ends[0] + 20}ms", *files[1:])
    tap.ok(r.returncode == 0, "and where it is not, it need not be there")
    late = run("report", "--json", "--since", f"{ends[0] + 20}ms", *files[1:]).stdout
    whole = run("report", "--json", "--since", f"{ends[0] + 20}ms", *files).stdout
    tap.ok(json.loads(late)["rows"] == json.loads(whole)["rows"], "with the same numbers")
    r = run("report", "--until", f"{ends[-1] - 5}ms", *files[:-1])
    tap.ok(r.returncode == 2 and "after the end" in r.stdout and "a later file" in r.stdout, f"the last is needed: {r.stdout}")
    for command in (("report",), ("leaks",), ("frag",), ("view", "--dump")):
        r = run(*command, files[0], files[2])
        tap.ok(r.returncode == 2 and "does not follow on" in r.stdout and "hint: " in r.stdout, f"{command[0]}: a gap")
    r = run("annotate", files[0], files[2], SOURCE)
    tap.ok(r.returncode == 2 and "does not follow on" in r.stdout, "annotate: a gap")
    with_fewer = f"{work}/fewer.trail"
    shutil.copy(files[0], with_fewer)
    with forging.changing(with_fewer) as db:
        db.execute("DELETE FROM chunk WHERE id = (SELECT max(id) FROM chunk)")
        db.execute("DELETE FROM checkpoint WHERE chunk > (SELECT max(id) FROM chunk)")
    r = run("report", "--since", "1ms", with_fewer, *files[1:])
    tap.ok(r.returncode == 2 and "are missing" in r.stdout and "hint: " in r.stdout, f"one that lacks its last events: {r.stdout}")


def many():
    """More files than are held open at a time, and names that only an earlier one has."""
    files, whole = record("many", "-d", "22s", "--", f"{TARGETS}/noisy", "1", "100000000")
    ends = ends_of(files)
    wrong = [same(("report", "--json", "--by", "function", "--since", f"{a}ms", "--until", f"{b}ms"), files, whole)
             for a, b in ((5, ends[-1] - 5), (ends[3] + 5, ends[-2]), (ends[-3], ends[-1] - 1))]
    wrong += [same(("report", "--json", "--at", f"{ends[i] - 3}ms"), files, whole) for i in (0, len(ends) // 2, len(ends) - 2)]
    tap.ok(len(files) > 17 and not any(wrong), f"{len(files)} files {[w for w in wrong if w][:1]}")
    with forging.changing(files[-1]) as db:
        db.execute("DELETE FROM symbol")
    alone, all_of_them = (run("report", "--no-symbolize", "--by", "function", *some).stdout for some in (files[-1:], files))
    named = [" work\n" in x for x in (alone, all_of_them)]  # a row's last column: a path may have the word, too
    tap.ok(named == [False, True], f"names that the last one lacks {alone} {all_of_them}")


try:
    tap.run_as_root([threads, blocks, many])
finally:
    shutil.rmtree(work, ignore_errors=True)
