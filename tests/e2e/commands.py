#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what it prints, what it refuses, and with which exit status."""
import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-commands.")
trail = f"{work}/t.trail"


def run(*args, **kw):
    return subprocess.run([HEAPTRAIL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE,
                          cwd=work, **kw)


def refused(name, status, message, *args, hint=None, **kw):
    r = run(*args, **kw)
    good = r.returncode == status and message in r.stderr and r.stderr.startswith("heaptrail: ")
    if hint:
        good = good and "hint: " in r.stderr and hint in r.stderr
    tap.ok(good, f"{name}: {status}, {message!r}" + ("" if good else f" (got {r.returncode}, {r.stderr!r})"))


def usage():
    refused("no such command", 2, "there is no command 'frobnicate'", "frobnicate", hint="--help")
    for command in ("record", "top", "report", "leaks", "frag", "annotate", "view", "symbolize", "info", "repair", "doctor", "probes"):
        r = run(command, "--help")
        tap.ok(r.returncode == 0 and r.stdout.startswith(f"usage: heaptrail {command}") and not r.stderr,
               f"{command} --help")
        tap.ok(all(len(line) <= 80 for line in r.stdout.splitlines()), f"{command} --help fits 80 columns")
        r = run(command, "--no-such-option")
        tap.ok(r.returncode == 2 and "no-such-option" in r.stderr and "hint: " in r.stderr, f"{command}: unknown option")
    tap.ok(run("--version").stdout.startswith("heaptrail "), "--version")
    tap.ok(run("--help").returncode == 0 and run().returncode == 2, "--help, and nothing at all")
    refused("record nothing", 2, "nothing to record", "record")
    refused("record both", 2, "not both", "record", "-p", "1", "--", "true")
    refused("a pid that is none", 2, "not a process id", "record", "-p", "x")
    refused("a duration that is none", 2, "not a duration", "record", "-d", "soon", "--", "true")
    refused("a ring that is no power of two", 2, "power of two", "record", "--ring-size", "3", "--", "true")
    refused("an unknown grouping", 2, "cannot report by 'colour'", "report", "--by", "colour", trail)
    refused("an unknown column", 2, "no column 'beauty'", "report", "--sort", "beauty", trail)
    refused("no recording", 2, "which recording", "report")
    refused("two that there are not", 4, "cannot open 'a'", "view", "a", "b")


def recordings():
    refused("no such file", 4, "cannot open", "report", f"{work}/none")
    refused("a folder", 4, "not a regular file", "info", work)
    for name, content, message in (("empty", b"", "the file is empty"),
                                   ("text", b"hello, I am a text\n" * 20, "not a heaptrail recording")):
        with open(f"{work}/{name}", "wb") as f:
            f.write(content)
        refused(f"a file that is {name}", 4, message, "leaks", f"{work}/{name}")
    with sqlite3.connect(f"{work}/other.db") as db:
        db.execute("create table t(a)")
    refused("another SQLite file", 4, "not a heaptrail recording", "report", f"{work}/other.db")


def attach():
    refused("no such process", 125, "no such process", "record", "-p", "2147483000")
    kernel = next((p for p in os.listdir("/proc") if p.isdigit() and beside.comm(p) == "kthreadd"), None)
    if kernel:
        refused("a kernel thread", 125, "it is a kernel thread", "record", "-p", kernel, hint="no heap")
    else:
        tap.skip("a kernel thread", "there is none to be seen here, as in a PID namespace")
    child = subprocess.Popen(["/bin/true"])
    beside.expect(lambda: beside.state(child.pid) == "Z", "a zombie")
    refused("a zombie", 125, "a zombie", "record", "-p", str(child.pid))
    child.wait()
    tap.ok(not [f for f in os.listdir(work) if f.startswith("heaptrail.")], "no file is left behind by any of these")


def outputs():
    for name, make, message in (("a folder", lambda p: os.mkdir(p), "exists"),
                                ("a symbolic link", lambda p: os.symlink("/etc/passwd", p), "exists"),
                                ("a file", lambda p: open(p, "w").write("x"), "exists")):
        path = f"{work}/out-{name.replace(' ', '-')}"
        make(path)
        refused(f"{name} in the way", 125, message, "record", "-o", path, "--", "true", hint="--force")
        refused(f"{name} in the way of --force", 125, path, "record", "--force", "-o", path, "--", "true")
    path = f"{work}/stale"
    with open(path + "-wal", "w") as f:
        f.write("another's")
    refused("a WAL that another recording left", 125, "-wal' of another recording is there", "record", "-o", path, "--",
            "true", hint="--force")
    r = run("record", "--force", "-o", path, "--", "true")
    tap.ok(r.returncode == 0 and run("info", path).returncode == 0, "--force removes it" + r.stderr)
    os.mkdir(f"{work}/folder")
    os.symlink("folder", f"{work}/link")
    r = run("record", "-o", f"{work}/link/t.trail", "--", "true")
    tap.ok(r.returncode == 0 and os.path.exists(f"{work}/folder/t.trail"), "a folder behind a symbolic link" + r.stderr)
    refused("a folder that is not there", 125, "no such file", "record", "-o", f"{work}/no/where", "--", "true")


def reports():
    r = run("record", "-o", trail, "--", f"{TARGETS}/simple", "malloc", "100", "50", "malloc", "3", "100000", "free", "2",
            "say", "hello")
    tap.ok(r.returncode == 0 and r.stdout == "hello\n" and ", 0 lost" in r.stderr and f"next: heaptrail report {trail}" in r.stderr,
           "record says what it made, and what to do next")
    for by in ("module", "function", "file", "line", "stack", "thread", "size", "family"):
        r = run("report", "--by", by, trail)
        lines = r.stdout.splitlines()
        tap.ok(r.returncode == 0 and lines and all(len(line) <= 80 for line in lines) and by.upper() in r.stdout,
               f"report --by {by} fits 80 columns" + ("" if lines else r.stderr))
        tap.ok("\033" not in r.stdout, f"report --by {by}: no colour off a terminal")
        data = json.loads(run("report", "--json", "--by", by, trail).stdout)
        tap.ok(data["by"] == by and sum(x["alloc_calls"] for x in data["rows"]) == data["summary"]["alloc_calls"] and
               sum(x["peak_bytes"] for x in data["rows"]) == data["summary"]["peak_bytes"] and
               sum(x["live_bytes"] for x in data["rows"]) == data["summary"]["live_bytes"] and
               (by not in ("file", "thread", "size", "family", "stack") or all(by in x for x in data["rows"])),
               f"report --json --by {by}: the rows add up")
        rows = list(csv.DictReader(io.StringIO(run("report", "--csv", "--by", by, trail).stdout)))
        tap.ok(sum(int(x["allocated_bytes"]) for x in rows) == data["summary"]["allocated_bytes"],
               f"report --csv --by {by}: the rows add up")
    want = {"schema", "recording", "summary", "layer", "layers", "by", "rows", "skipped", "hints"}
    data = json.loads(run("report", "--json", trail).stdout)
    tap.ok(set(data) == want and data["schema"] == "heaptrail-report/1", "the keys of the report")
    tap.ok(list(data["recording"]) == ["path", "pid", "command", "engine", "started", "duration_ns", "complete", "exited",
                                       "stack_mode", "events", "bytes_on_disk", "small", "from_before", "window", "dropped", "marks"],
            "the keys of its recording")
    tap.ok(list(data["summary"]) == [
        "alloc_calls", "free_calls", "allocated_bytes", "live_bytes", "live_blocks", "leaked_bytes", "leaked_blocks",
        "peak_bytes", "peak_blocks", "peak_time_ns", "temporary_allocs", "usable_bytes", "usable_requested_bytes", "peak_rss_bytes", "lost_events",
        "unknown_frees", "internal_frees", "double_frees", "mismatched_frees", "stacks_complete", "stacks_truncated"],
        "the keys of its summary")
    tap.ok(data["summary"]["stacks_complete"] + data["summary"]["stacks_truncated"] == data["summary"]["alloc_calls"],
           "each call has a stack, complete or not")
    tap.ok(data["recording"]["command"][1:3] == ["malloc", "100"] and data["recording"]["complete"] and
           data["recording"]["exited"], "the command, and how it ended")
    mine = next(x for x in data["rows"] if x["module"].endswith("/simple"))
    # one more is the C library's, for what it says: that is allocated for its caller
    tap.ok(mine["alloc_calls"] == 104 and mine["leaked_bytes"] == 105000 and mine["peak_bytes"] == 305000,
           f"the numbers of the target's own calls: {mine['alloc_calls']}, {mine['leaked_bytes']}, {mine['peak_bytes']}")
    usable = 100 * 56 + 100008 + 1  # and what the C library keeps
    tap.ok(data["summary"]["usable_bytes"] >= usable - 1, "usable bytes come from the chunk headers")
    tap.ok(data["summary"]["usable_requested_bytes"] == data["summary"]["live_bytes"], "of all blocks")
    peak = data["summary"]["peak_rss_bytes"]
    tap.ok(peak > 500000, f"the peak of the resident set: {peak}")
    functions = json.loads(run("report", "--json", "--by", "function", trail).stdout)["rows"]
    tap.ok(any(x["function"] == "run" and x["alloc_calls"] == 104 for x in functions), "functions have their names")
    for column in ("peak", "allocated", "calls", "live", "leaked", "blocks", "temporary", "name"):
        tap.ok(run("report", "--sort", column, trail).returncode == 0, f"report --sort {column}")
    r = run("report", "--by", "size", "--rows", "1", trail)
    tap.ok("more (--rows 0 shows all)" in r.stdout, "report --rows says what it left out")
    tap.ok("305,000" in run("report", "--bytes", trail).stdout, "report --bytes")


def leaks_and_info():
    r = run("leaks", trail)
    tap.ok(r.returncode == 0 and r.stdout.startswith("Leaked ") and " run" in r.stdout, "leaks names the function")
    tap.ok(all(len(line) <= 80 for line in r.stdout.splitlines()), "leaks fits 80 columns")
    data = json.loads(run("leaks", "--json", trail).stdout)
    tap.ok(data["schema"] == "heaptrail-leaks/1" and data["total_bytes"] == sum(x["bytes"] for x in data["leaks"]) and
           data["total_blocks"] == sum(x["blocks"] for x in data["leaks"]) and
           set(data["leaks"][0]["frames"][0]) == {"function", "file", "line", "module", "offset", "inlined"},
           "leaks --json adds up")
    r = run("info", trail)
    tap.ok(r.returncode == 0 and "Lost or set right" in r.stdout and "free " in r.stdout, "info")
    data = json.loads(run("info", "--json", trail).stdout)
    tap.ok(data["schema"] == "heaptrail-info/1" and data["losses"]["lost_allocs"] == 0, "info --json")
    with sqlite3.connect(trail) as db:
        sites = db.execute("select sum(alloc_calls), sum(peak_bytes), sum(live_bytes) from site").fetchone()
        files = db.execute("select sum(alloc_calls), sum(peak_bytes), sum(live_bytes) from file").fetchone()
        chunks = db.execute("select sum(allocs) from chunk").fetchone()[0]
        lines = db.execute("select sum(allocs), max(max_live_bytes) from timeline").fetchone()
        check = db.execute("pragma integrity_check").fetchone()[0]
        ids = db.execute("pragma application_id").fetchone()[0], db.execute("pragma user_version").fetchone()[0]
    s = json.loads(run("report", "--json", trail).stdout)["summary"]
    tap.ok(sites == files == (s["alloc_calls"], s["peak_bytes"], s["live_bytes"]),
           f"the tables site and file say the same as the report: {sites} {files}")
    tap.ok(chunks == s["alloc_calls"] and lines == (s["alloc_calls"], s["peak_bytes"]), "so do chunk and timeline")
    tap.ok(check == "ok" and ids == (0x48545231, 2), "the file is sound, and says what it is")


def repair():
    refused("repair of what is none", 4, "not a heaptrail recording", "repair", "/etc/passwd")
    refused("repair of what is not there", 4, "cannot open", "repair", f"{work}/none")
    r = run("repair", trail)
    tap.ok(r.returncode == 0 and "needs no repair" in r.stderr, "repair leaves what is complete")
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", f"{work}/live.trail", "--", f"{TARGETS}/steady", "--gentle"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    refused("repair of what is being recorded", 125, "it is being recorded", "repair", f"{work}/live.trail",
            hint="stop the recorder")
    r = run("report", f"{work}/live.trail")
    tap.ok(r.returncode == 0 and "being recorded" in r.stdout and "WARNING" not in r.stdout,
           "a recording that is being written can be read, and says so")
    p.stdin.close()
    tap.ok(p.wait(tap.PATIENCE) == 0 and "exit status 0" in run("report", f"{work}/live.trail").stdout,
           "and is complete afterwards")
    tap.ok(not os.path.exists(f"{work}/live.trail-wal"), "one file afterwards")


def escapes():
    evil = f"{work}/evil\033]0;pwned\007"
    shutil.copy(f"{TARGETS}/simple", evil)
    r = run("record", "--force", "-o", trail, "--", evil, "malloc", "1", "10", "say", "x")
    both = r.stderr + "".join(run(*c, trail).stdout for c in (["report"], ["report", "--by", "function"], ["leaks"],
                                                              ["info"]))
    tap.ok("\033" not in both and "\007" not in both, "escape codes in a target's name do not reach the terminal")
    data = json.loads(run("report", "--json", trail).stdout)
    tap.ok(data["recording"]["command"][0] == evil, "and are kept in JSON")


def doctor():
    r = run("doctor")
    tap.ok(r.returncode == 0 and "heaptrail can record here" in r.stdout and "malloc" in r.stdout, "doctor")
    tap.ok(all(len(line) <= 80 for line in r.stdout.splitlines()), "doctor fits 80 columns")
    r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
                        "--inh-caps=-all", "--", HEAPTRAIL, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    tap.ok(r.returncode == 3 and "CANNOT record" in r.stdout, "doctor without rights: 3, and what is missing" + r.stderr)


try:
    tap.run_as_root([usage, recordings, attach, outputs, reports, leaks_and_info, repair, escapes, doctor])
finally:
    shutil.rmtree(work, ignore_errors=True)
