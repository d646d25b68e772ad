#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Everyday questions by SQL: the queries of heaptrail-recording(5), and the views, against heaptrail's own reports."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile

import beside
import tap
from beside import sql

HEAPTRAIL, TARGETS, SRCDIR = os.environ["HEAPTRAIL"], os.environ["TARGETS"], os.environ["SRCDIR"]
work = tempfile.mkdtemp(prefix="heaptrail-queries.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
TOTALS = ("alloc_calls", "allocated_bytes", "live_blocks", "live_bytes", "peak_blocks", "peak_bytes",
          "temporary_allocs")
SUMS = ", ".join(f"sum({column})" for column in TOTALS)


def run(*command):
    return subprocess.run([HEAPTRAIL, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=tap.PATIENCE)


def ask(*command):
    return json.loads(subprocess.check_output([HEAPTRAIL, *command], text=True, timeout=tap.PATIENCE))


def record(trail, program=f"{TARGETS}/leaky"):
    """What the target says of itself."""
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", program], env=env, text=True,
                       stdout=subprocess.PIPE, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}")
    return json.loads(r.stdout)


def queries():
    """Those of the manual, by the words above them."""
    with open(f"{SRCDIR}/man/heaptrail-recording.5") as f:
        page = f.read()
    return {title.replace("\n", " "): query for title, query in re.findall(
        r'^\.Pp\n((?:[^.\n].*\n)+?)\.Bd -literal -offset indent\n\$ sqlite3 ls.trail "([^"]*)"\n\.Ed$', page, re.M)}


# ---- the views -------------------------------------------------------------------------


def leaks_of_target(trail):
    """Bytes and blocks by function, of the functions of the target that tell of theirs."""
    return {function: [size, blocks] for function, size, blocks in sql(
        trail, "SELECT function, sum(bytes), sum(blocks) FROM leak WHERE module LIKE '%/leaky' AND function <> 'main'"
               " GROUP BY function")}


def wrong_views(trail):
    """What of the views is not what reports say, "" if nothing is."""
    report = ask("report", "--json", "--by", "file", trail)
    all_of_it = tuple(report["summary"][key] for key in TOTALS)
    for view in ("own", "file", "function"):
        sums = sql(trail, f"SELECT {SUMS} FROM {view}")[0]
        if sums != all_of_it:
            return f"view {view}: {sums} instead of {all_of_it}"
    rows = sorted(tuple(x[key] for key in ("file", "module", *TOTALS)) for x in report["rows"])
    files = sorted(sql(trail, f"SELECT file, module, {', '.join(TOTALS)} FROM file"), key=str)
    if sorted(rows, key=str) != files:
        return f"view file: {files} instead of {rows}"
    named = [tuple(x[key] for key in ("function", "module", *TOTALS))
             for x in ask("report", "--json", "--by", "function", trail)["rows"] if x["function"]]
    functions = sql(trail, f"SELECT function, module, {', '.join(TOTALS)} FROM function WHERE function NOT LIKE '%+0x%'")
    if sorted(named, key=str) != sorted(functions, key=str):
        return f"view function: {functions} instead of {named}"
    found = {}
    for x in ask("leaks", "--json", trail)["leaks"]:
        place = (x["function"], x["file"], x["line"] or None)
        before = found.get(place, (0, 0))
        found[place] = (before[0] + x["bytes"], before[1] + x["blocks"])
    leaks = {tuple(x[:3]): tuple(x[3:]) for x in sql(
        trail, "SELECT CASE WHEN function NOT LIKE '%+0x%' THEN function END, file, line, sum(bytes), sum(blocks)"
               " FROM leak GROUP BY 1, 2, 3")}
    order = [x[0] for x in sql(trail, "SELECT bytes FROM leak")]
    if leaks != found or order != sorted(order, reverse=True):
        return f"view leak: {leaks} instead of {found}; {order}"
    return ""


def views():
    trail = f"{work}/views.trail"
    own = record(trail)
    wrong = wrong_views(trail)
    tap.ok(not wrong, f"the views say what reports say {wrong}")
    leaks = leaks_of_target(trail)
    tap.ok(leaks == own["leaks"], f"view leak: what the target says, function by function: {leaks}")
    temporary = sql(trail, "SELECT temporary_allocs FROM function WHERE function = 'print_line'")[0][0]
    tap.ok(temporary == own["temporary"], f"view function: its temporary allocations: {temporary}")
    depths = {d for d, in sql(trail, "SELECT depth FROM site")}
    lines = sql(trail, "SELECT count(DISTINCT line) FROM leak WHERE function = 'read_config' AND file LIKE '%/leaky.c'")
    tap.ok({0, 1} <= depths and lines == [(2,)], f"own functions are found around inlined wrappers: {depths} {lines}")
    peak = sql(trail, "SELECT sum(peak_bytes) FROM file WHERE file LIKE '%/leaky.c'")[0][0]
    tap.ok(peak == 270000, f"view file: its share of the peak: {peak}")


def symbolized():
    """Of a stripped program functions are addresses; `symbolize` changes whose a site is."""
    program, debug, trail = f"{work}/bin/leaky", f"{work}/leaky.debug", f"{work}/late.trail"
    os.mkdir(f"{work}/bin")
    subprocess.run(["gcc", "-g", "-O1", "-pthread", "-Wl,--build-id", "-o", program, f"{SRCDIR}/tests/targets/leaky.c"],
                   check=True)
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["strip", program], check=True)
    own = record(trail, program)
    wrong, leaks = wrong_views(trail), leaks_of_target(trail)
    tap.ok(not wrong and leaks and all(re.fullmatch(r"leaky\+0x[0-9a-f]+", f) for f in leaks),
           f"without names functions are module and address: {list(leaks)} {wrong}")
    leaked = sql(trail, "SELECT sum(bytes), sum(blocks) FROM leak")
    build_id = subprocess.check_output(["readelf", "-n", program], text=True).split("Build ID: ")[1].split()[0]
    os.makedirs(f"{work}/debug/.build-id/{build_id[:2]}")
    shutil.copy(debug, f"{work}/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    r = run("symbolize", "-q", "--debug-path", f"{work}/debug", trail)
    wrong, leaks = wrong_views(trail), leaks_of_target(trail)
    tap.ok(r.returncode == 0 and not wrong, f"symbolized, the views say what reports say {wrong} {r.stdout}")
    tap.ok(leaks == own["leaks"] and sql(trail, "SELECT sum(bytes), sum(blocks) FROM leak") == leaked,
           f"and name the functions: {leaks} of {leaked}")


def repaired():
    trail = f"{work}/killed.trail"
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--", f"{TARGETS}/leaky", "pause"], env=env, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    own = json.loads(p.stdout.readline())
    beside.expect(lambda: sql(trail, "SELECT sum(allocs) FROM chunk WHERE last_ns < (SELECT max(time_ns) FROM rss)")[0][0],
                  "all events to be recorded")
    p.kill()
    p.wait()
    p.stdin.close()
    tap.ok(sql(trail, "SELECT count(*) FROM file") == [(0,)], "of one that was cut off the views are empty")
    r = run("repair", trail)
    wrong, leaks = wrong_views(trail), leaks_of_target(trail)
    tap.ok(r.returncode == 0 and not wrong and leaks == own["leaks"], f"repaired, they are not: {leaks} {wrong} {r.stdout}")


def sealed():
    trail = f"{work}/sealed.trail"
    record(trail)
    for name, change in (("whose a site is", "UPDATE site SET frame = frame + 1"),
                         ("a view", "DROP VIEW leak; CREATE VIEW leak AS SELECT 'nobody' AS function")):
        shutil.copy(trail, f"{work}/changed.trail")
        with sqlite3.connect(f"{work}/changed.trail") as db:
            db.executescript(change)
        r = run("info", f"{work}/changed.trail")
        tap.ok(r.returncode == 4 and "do not match their checksum" in r.stdout, f"{name} that was changed is noticed")
    with sqlite3.connect(trail) as db:
        db.executescript("CREATE VIEW mine AS SELECT * FROM file; CREATE INDEX by_peak ON site (peak_bytes)")
    tap.ok(run("info", trail).returncode == 0, "who makes a view or an index of their own may")


# ---- the queries -----------------------------------------------------------------------


def near(a, b):
    return abs(a - b) < 1e-6


def answers(trail, own):
    """By the first words of each query: is its answer right?"""
    summary = ask("report", "--json", trail)["summary"]
    by_file = [x for x in ask("report", "--json", "--rows", "0", "--by", "file", "--sort", "peak", trail)["rows"] if x["peak_bytes"]]
    by_line = {(x["file"], x["line"]): 0 for x in ask("report", "--json", "--by", "line", trail)["rows"] if x["line"]}
    for x in ask("report", "--json", "--by", "line", trail)["rows"]:
        if x["line"]:
            by_line[x["file"], x["line"]] += x["allocated_bytes"]
    info = ask("info", "--json", trail)
    start = int(info["facts"]["start_ns"])

    def peak(rows):
        return [r[0] for r in rows] == [x["peak_bytes"] for x in by_file][:10] and \
            {r[2] for r in rows} <= {x["file"] or x["module"] for x in by_file} and sum(r[0] for r in rows) == summary["peak_bytes"]

    def leaks(rows):
        return {f: [n, k] for n, k, f, m in rows if m.endswith("/leaky") and f != "main"} == own["leaks"] and \
            sum(r[0] for r in rows) == summary["leaked_bytes"]

    def lines(rows):
        return {(r[2], r[3]): r[0] for r in rows} == dict(sorted(by_line.items(), key=lambda x: -x[1])[:10])

    def stacks(rows):
        found = {x["stack"]: x for x in ask("report", "--json", "--rows", "0", "--by", "stack", trail)["rows"]}
        sites = list(dict.fromkeys(r[1] for r in rows))
        same = [[(f["function"] or f["module"], f["line"] or None) for f in found[s]["frames"]] ==
                [(r[3], r[5]) for r in rows if r[1] == s] for s in sites]
        return len(sites) == 3 and all(same) and [r[0] for r in rows] == sorted((r[0] for r in rows), reverse=True)

    def timeline(rows):
        return sum(r[3] for r in rows) == summary["alloc_calls"] and sum(r[4] for r in rows) == summary["free_calls"] and \
            max(r[2] for r in rows) == summary["peak_bytes"] and rows[-1][1] == summary["live_bytes"] and \
            all(0 < r[0] <= info["recording"]["duration_ns"] / 1e9 for r in rows) and rows == sorted(rows)

    def rss(rows):
        return rows and [(near(t, (when - start) / 1e9), size) for (t, size, _), (when, size) in zip(
            rows, sql(trail, "SELECT time_ns, bytes FROM rss ORDER BY time_ns"))] == [(True, size) for _, size, _ in rows] and \
            all(live is None or 0 <= live <= summary["peak_bytes"] for _, _, live in rows)

    def programs(rows):
        return rows == [(f"{TARGETS}/leaky", summary["alloc_calls"], summary["free_calls"], summary["leaked_blocks"])]

    def temporary(rows):
        return (own["temporary"], 100.0, "print_line") in rows and sum(r[0] for r in rows) == summary["temporary_allocs"]

    def threads(rows):
        return [r[1] for r in rows] == ["leaky", "worker"] and rows[0][0] == info["recording"]["pid"] and \
            all(near(r[2], ((end or int(info["facts"]["end_ns"])) - begin) / 1e9) for r, (begin, end) in zip(
                rows, sql(trail, "SELECT start_ns, end_ns FROM thread ORDER BY start_ns")))

    nameless = [(x["module"], x["allocated_bytes"]) for x in info["without_debug_information"]]
    lost = sorted((k, n) for k, n in info["losses"].items() if n)
    def snapshots(rows):
        summary = ask("report", "--json", trail)["summary"]
        (time, reason, rss_bytes, heap, live, ratio), = rows
        return reason == "exit" and live == summary["live_bytes"] and rss_bytes > heap > 0 and abs(ratio - heap / live) < 0.01

    return {"What makes up the peak": peak, "What the heap held": snapshots, "What was not freed": leaks, "The source lines": lines, "The whole stacks": stacks,
            "The heap over time": timeline, "The resident set": rss, "Calls that allocate": programs,
            "Is the recording complete": lambda rows: rows == [(1, 1, 0)],
            "What was lost": lambda rows: sorted(rows) == lost,
            "Where blocks are freed at once": temporary, "Threads": threads,
            "Files without": lambda rows: [r for r in rows if r[1]] == nameless}


def manual():
    trail, texts = f"{work}/ls.trail", queries()
    own = record(trail)
    tap.ok(len(texts) >= 10, f"the manual has {len(texts)} queries")
    known = answers(trail, own)
    for title, query in texts.items():
        rows = sql(trail, query)
        check = next((c for words, c in known.items() if title.startswith(words)), None)
        tap.ok(check is not None and check(rows), f"{title} {rows[:12]}")
        if not shutil.which("sqlite3"):
            tap.skip(title, "there is no sqlite3 command")
            continue
        r = subprocess.run(["sqlite3", "ls.trail", query], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        tap.ok(r.returncode == 0 and len(r.stdout.splitlines()) == len(rows), f"{title} The command has as many rows {r.stdout[:200]!r}")
    cut = sql(f"{work}/killed.trail", next(q for t, q in texts.items() if t.startswith("Is the recording complete")))
    tap.ok(cut == [(0, 0, 0)], f"one that was cut off is not complete {cut}")


try:
    tap.run_as_root([views, symbolized, repaired, sealed, manual])
finally:
    shutil.rmtree(work, ignore_errors=True)
