#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Call stacks in reports, leaks and info: of forged recordings, so that every number is known."""
import csv
import io
import json
import os
import shutil
import subprocess
import tempfile

import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-stacks.")
START = ["_start", "__libc_start_main_impl", "__libc_start_call_main", "main"]
PARSE = START + ["parse_file(std::string const&)"]


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE)


def text(*args):
    return run(*args).stdout.decode()


def data(*args):
    return json.loads(run(*args).stdout.decode())


def forge(kind):
    path = f"{work}/{kind}.trail"
    subprocess.run([f"{TARGETS}/forge", kind, path], check=True)
    return path


def block(lines, row):
    """The lines below the row that begins with @row, up to an empty one."""
    at = next(i for i, line in enumerate(lines) if line.strip().startswith(row))
    end = next((i for i in range(at, len(lines)) if not lines[i]), len(lines))
    return lines[at + 1:end]


def adds_up(path, rows, summary):
    keys = ("alloc_calls", "allocated_bytes", "live_bytes", "live_blocks", "peak_bytes", "peak_blocks", "temporary_allocs")
    sums = {k: sum(r[k] for r in rows) for k in keys}
    tap.ok(sums == {k: summary[k] for k in keys}, f"{path}: the rows add up {sums}")


def names(row):
    """Outermost first."""
    return [f["function"] for f in reversed(row["frames"])]


def as_json(path):
    report = data("report", "--json", "--by", "stack", path)
    rows, s = report["rows"], report["summary"]
    adds_up("stacks", rows, s)
    tap.ok((s["stacks_complete"], s["stacks_truncated"]) == (1666, 216), "complete and truncated, in alloc calls")
    for by in ("thread", "size", "family", "module"):
        other = data("report", "--json", "--by", by, path)["summary"]
        tap.ok(other == s, f"the summary is the same by {by}")
    tap.ok(all(set(f) == {"function", "file", "line", "module", "offset", "inlined"} for r in rows for f in r["frames"]),
           "the keys of a frame")
    grow = [r for r in rows if names(r) == PARSE + ["arena_grow"]]
    tap.ok(len(grow) == 1 and grow[0]["alloc_calls"] == 150 and grow[0]["truncated"] is None,
           "stacks of the same functions are one row")
    tap.ok([f["module"] for f in grow[0]["frames"]] == ["/usr/lib/libarena.so.1.2.3"] + ["/usr/bin/forged"] * 2 +
           ["/usr/lib/libc.so.6"] * 2 + ["/usr/bin/forged"], "innermost first, with their modules")
    tap.ok(sorted(r["alloc_calls"] for r in rows if names(r) == PARSE + [None]) == [2, 3],
           "without names other addresses stay apart")
    tap.ok([r["alloc_calls"] for r in rows if names(r) == ["main", "arena_grow"]] == [2], "so does what is truncated")
    walk = next(r for r in rows if r["function"] == "remember_name")
    tap.ok(names(walk) == PARSE + ["walk_directory"] * 60 + ["remember_name"], "all frames of a recursion")
    deep = next(r for r in rows if r["function"] == "descend_126")
    tap.ok(len(deep["frames"]) == 127 and deep["truncated"] == "too_deep" and deep["alloc_calls"] == 200,
           "all frames of one that is too deep, and why it ends")
    tap.ok({r["truncated"] for r in rows} == {None, "too_deep", "no_unwind_info", "not_ready", "unreadable"}, "the reasons")
    lines = data("report", "--json", "--by", "line", path)["rows"]
    places = [(r["module"], r["function"], r["file"], r["line"], r["function"] is None and r["offset"]) for r in lines]
    tap.ok(len(set(places)) == len(places) < len(rows), f"by line, stacks that end at the same place are one row: {places}")
    ids = [r["stack"] for r in rows]
    tap.ok(len(set(ids)) == len(ids) == 11, "a row for each stack")
    calls = [r["alloc_calls"] for r in data("report", "--json", "--by", "stack", "--sort", "calls", path)["rows"]]
    tap.ok(calls == sorted(calls, reverse=True), "--sort")


def as_csv(path):
    rows = list(csv.DictReader(io.StringIO(text("report", "--csv", "--by", "stack", path))))
    tap.ok(sum(int(r["alloc_calls"]) for r in rows) == 1882, "CSV: the rows add up")
    stacks = [r["stack"] for r in rows]
    tap.ok(";".join(PARSE + ["walk_directory"] * 60 + ["remember_name"]) in stacks, "CSV: all frames, outermost first")
    tap.ok("[truncated: without unwind information];plugin.so+0x21b0;callback" in stacks, "CSV: a truncated one says so")


def as_text(path):
    out = text("report", "--by", "stack", path)
    lines = out.splitlines()
    tap.ok(all(len(line) <= 80 for line in lines), "the report fits 80 columns")
    tap.ok("  Stacks      88.52 % complete; 216 truncated (200 too deep, 13 without unwind\n" in out, "its head says how complete")
    tap.ok(block(lines, "600 KiB") == [
        "    arena_grow                                          libarena.so.1.2.3",
        "    parse_file(std::string const&)                      forged",
        "    main",
        "    __libc_start_call_main                              libc.so.6",
        "    __libc_start_main_impl",
        "    _start                                              forged"], "a stack")
    tap.ok(block(lines, "23.4 KiB")[:4] == [
        "    remember_name                                       forged",
        "    walk_directory",
        "      ... 59 more like this",
        "    parse_file(std::string const&)"], "recursion is folded")
    tap.ok(block(lines, "7.81 KiB")[1:5] == [
        "    eval                                                forged",
        "    apply",
        "      ... these 2 again, 19 times",
        "    main"], "also of functions that call each other")
    deep = block(lines, "58.6 KiB")
    tap.ok(len(deep) == 17 and deep[10] == "      ... 112 frames not shown" and deep[9].startswith("    descend_117") and
           deep[11].startswith("    descend_4 ") and deep[16] == "    [truncated: too deep]", "a long one is shortened")
    tap.ok(any("--frames all" in line for line in lines), "and it is said how to see all of it")
    tap.ok(any("~" in line for line in lines) and not any("~" in x for x in text("report", "--by", "stack", "--wide", path)),
           "--wide does not cut names")
    for n in ("all", "0"):
        every = text("report", "--by", "stack", "--frames", n, path)
        tap.ok(all(f"descend_{i}" in every for i in range(127)) and "not shown" not in every, f"--frames {n}")
    few = block(text("report", "--by", "stack", "--frames", "3", path).splitlines(), "58.6 KiB")
    tap.ok(len(few) == 5 and few[2].strip() == "... 124 frames not shown", f"--frames 3 {few}")
    for n in ("many", "-1", "2000", ""):
        r = run("report", "--by", "stack", "--frames", n, path)
        tap.ok(r.returncode == 2 and b"is not a number of frames" in r.stderr, f"--frames {n!r} is refused")
    tap.ok(text("report", path).count("\n") < 20, "other reports show no frames")


def leaks(path):
    out = text("leaks", path)
    lines = out.splitlines()
    tap.ok(all(len(line) <= 80 for line in lines) and "Stacks      88.52 % complete" in out, "leaks fits 80 columns")
    tap.ok(block(lines, "400 KiB")[:3] == ["    100 x 4.00 KiB, 2.85 s to 3 s old, median 2.92 s",
        "    arena_grow                                          libarena.so.1.2.3",
        "    parse_file(std::string const&)                      forged"], "leaks shows whole stacks")
    tap.ok("frames not shown" in out and "frames not shown" not in text("leaks", "--frames", "all", path), "leaks --frames")
    leaked = data("leaks", "--json", path)
    grow = [x for x in leaked["leaks"] if names(x) == PARSE + ["arena_grow"]]
    tap.ok(len(grow) == 1 and grow[0]["blocks"] == 100 and grow[0]["truncated"] is None, "leaks --json has all frames")
    tap.ok(sum(x["bytes"] for x in leaked["leaks"]) == leaked["total_bytes"] and
           sum(x["blocks"] for x in leaked["leaks"]) == leaked["total_blocks"], "and adds up")


def info(path):
    out = text("info", path)
    tap.ok("  all                           12         1,882\n  complete                       8         1,666\n"
           "  truncated                      1           200  too deep\n" in out, "info counts stacks")
    tap.ok("Truncated stacks end in   DISTINCT   ALLOC CALLS\n"
           "  libarena.so.1.2.3              1           200  too deep\n"
           "  plugin.so                      1            13  without unwind information\n" in out, "and says where they end")
    section = out[out.index("\nStacks "):out.index("\nPrograms")]
    tap.ok(all(len(line) <= 80 for line in section.splitlines()), "in 80 columns")
    stacks = data("info", "--json", path)["stacks"]
    tap.ok((stacks["distinct"], stacks["complete"]) == (12, 8) and stacks["truncated"][1] ==
           {"reason": "no_unwind_info", "stacks": 1, "alloc_calls": 13}, "info --json counts stacks")
    tap.ok([(x["module"], x["reason"], x["alloc_calls"]) for x in stacks["truncated_in"]] == [
        ("/usr/lib/libarena.so.1.2.3", "too_deep", 200), ("/opt/vendor/plugin.so", "no_unwind_info", 13),
        ("/usr/bin/forged", "unreadable", 2), (None, "not_ready", 1)], "and says where they end")


def whole_stacks():
    path = forge("stacks")
    for test in (as_json, as_csv, as_text, leaks, info):
        test(path)


def callers():
    path = forge("callers")
    for command in (["report"], ["report", "--by", "stack"], ["leaks"], ["info"]):
        out = text(*command, path)
        tap.ok("  Stacks      callers only\n" in out and "[truncated" not in out, f"{' '.join(command)}: callers only")
    lines = text("report", "--by", "stack", path).splitlines()
    tap.ok(any(line.endswith("1,000  15.6 KiB       666  remember_name") for line in lines), "one line each")
    report = data("report", "--json", "--by", "stack", path)
    adds_up("callers", report["rows"], report["summary"])
    tap.ok(report["summary"]["stacks_complete"] == 0 and report["summary"]["stacks_truncated"] == 1155, "none is complete")
    tap.ok(all(r["truncated"] == "caller" and len(r["frames"]) == 1 for r in report["rows"]), "each has one frame")
    tap.ok("\n\"remember_name\"," in text("report", "--csv", "--by", "stack", path).replace("\r", ""), "CSV has no mark")
    tap.ok(data("info", "--json", path)["stacks"]["truncated_in"] == [], "nobody is to blame")


def hostile():
    path = forge("hostile")
    for command in (["report", "--by", "stack"], ["leaks"], ["info"], ["report", "--by", "stack", "--frames", "all"]):
        r = run(*command, path)
        tap.ok(r.returncode == 0 and b"\033" not in r.stdout and b"\007" not in r.stdout and b"\xff" not in r.stdout and
               (command == ["info"] or all(len(line) <= 80 for line in r.stdout.splitlines())), f"hostile: {' '.join(command)}")
    report = data("report", "--json", "--by", "stack", path)
    adds_up("hostile", report["rows"], report["summary"])
    s = report["summary"]
    tap.ok(s["stacks_complete"] + s["stacks_truncated"] == s["alloc_calls"] and s["stacks_complete"] == 8,
           f"hostile: what cannot be complete is not: {s['stacks_complete']}")
    tap.ok(max(len(r["frames"]) for r in report["rows"]) == 1024, "hostile: no stack is longer than can be")
    lost = [r for r in report["rows"] if not r["frames"]]
    tap.ok(sorted(r["truncated"] for r in lost) == ["lost", "unrecorded"],
           "hostile: what is not there is one row, and what was not wanted another")
    rows = list(csv.DictReader(io.StringIO(run("report", "--csv", "--by", "stack", path).stdout.decode(errors="replace"))))
    tap.ok(sum(int(r["alloc_calls"]) for r in rows) == s["alloc_calls"] and
           any(r["stack"].startswith('evil\033]0;pwned'.replace(";", ":")) for r in rows), "hostile: CSV adds up")
    tap.ok(data("info", "--json", path)["stacks"]["distinct"] == 16, "hostile: info --json")


try:
    for test in (whole_stacks, callers, hostile):
        try:
            test()
        except Exception as e:
            tap.ok(False, f"{test.__name__}: {type(e).__name__}: {e}")
    tap.done()
finally:
    shutil.rmtree(work, ignore_errors=True)
