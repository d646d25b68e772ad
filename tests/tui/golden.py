#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Screens of every view, by key script, from a recording that is always the same.

What they should be is in golden/; HEAPTRAIL_UPDATE=1 writes them anew, to be looked at before they are committed.
"""
import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata

SRCDIR = os.environ["SRCDIR"]
sys.path.insert(0, os.path.join(SRCDIR, "tests", "e2e"))
import tap  # noqa: E402

HEAPTRAIL = os.environ["HEAPTRAIL"]
STORY = os.path.join(os.environ["TUI"], "story")
GOLDEN = os.path.join(SRCDIR, "tests", "tui", "golden")
SIZES = {"80x24": "24x80", "200x50": "50x200"}

# name: keys
SCREENS = {
    "overview": "",
    "files": "2",
    "functions": "3",
    "tree": "4 + 5*Down",
    "tree-inverted": "4 i Right",
    "flame": "5",
    "flame-zoomed": "5 Down Right Enter",
    "leaks": "6",
    "sizes": "7",
    "threads": "8",
    "frag": "9",
    "frag-past": "9 40*[",
    "frag-before": "9 199*[",
    "frag-map": "9 M 5*Right Down",
    "frag-pages": "9 M Enter",
    "frag-pinned": "9 Down Enter",
    "frag-page": "9 Enter Enter",
    "growth": "0",
    "growth-past": "0 30*[",
    "growth-stack": "0 Enter",
    "lines": "2 Enter",
    "source": "2 '/subt' Enter Enter Enter",
    "source-missing": "2 Enter Enter",
    "stacks": "3 Enter",
    "stack": "6 Enter",
    "blocks": "6 b",
    "blocks-of-a-size": "7 G Enter",
    "help": "?",
    "filter": "3 '\\lua' Enter",
    "search": "3 '/frame' Enter",
    "sorted-by-name": "2 r 5*>",
    "peak": "P 2",
    "past": "2 40*[",
    "range": "2 40*[ m 20*]",
    "hostile-names": "3 '/evil' Enter",
    "prompt": "2 / 'cov'",
}

# of the same story, with allocators of its own
LAYERS = {"layer-heap": "2", "layer-overview": "L", "layer-functions": "L 3", "layer-counted": "2*L", "layer-counted-leaks": "2*L 6",
          "layer-counted-sorted": "2*L 4 + 3*>",
          "layer-past": "L 2 30*["}

work = tempfile.mkdtemp(prefix="heaptrail-golden.")
trail = f"{work}/story.trail"
env = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": work}


def dump(keys, size, *more, of=trail):
    r = subprocess.run([HEAPTRAIL, "view", "--script", keys, "--dump", "--size", size, *more, of], env=env,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work)
    return r.stdout if r.returncode == 0 else f"exit status {r.returncode}: {r.stderr}"


def columns(line):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def compare(name, text):
    path = os.path.join(GOLDEN, name + ".txt")
    if os.environ.get("HEAPTRAIL_UPDATE"):
        with open(path, "w") as f:
            f.write(text)
    with open(path) as f:
        expected = f.read()
    if not tap.ok(text == expected, name):
        for a, b in zip(expected.splitlines(), text.splitlines()):
            if a != b:
                print(f"# -{a}\n# +{b}")


def screens():
    for size, argument in SIZES.items():
        rows, cols = map(int, argument.split("x"))
        for name, keys in SCREENS.items():
            text = dump(keys, argument)
            compare(f"{name}-{size}", text)
            lines = text.splitlines()
            wide = [line for line in lines if columns(line) > cols]
            if len(lines) != rows or wide or "\033" in text:
                tap.ok(False, f"{name}-{size}: {len(lines)} lines, too wide: {wide}")


# of the same story, with moments that record --when has marked
MARKS = {"marks-overview": "", "marks-first": "W 3", "marks-second": "2*W 3", "marks-round": "3*W 3", "marks-help": "?"}


def marks():
    of = f"{work}/marks.trail"
    subprocess.check_call([STORY, of, "source", "40000", "marks"])
    for name, keys in MARKS.items():
        compare(f"{name}-80x24", dump(keys, "24x80", of=of))
    compare("marks-ascii-80x24", dump("W", "24x80", "--ascii", of=of))


def layers():
    of = f"{work}/layers.trail"
    subprocess.check_call([STORY, of, "source", "40000", "layers"])
    for name, keys in LAYERS.items():
        compare(f"{name}-80x24", dump(keys, "24x80", of=of))
    # "Layer " and whatever has room must not be cut in the middle
    for size in ("10x40", "3x3", "1x1"):
        rows, cols = map(int, size.split("x"))
        bad = [k for k in LAYERS.values() for line in dump(k, size, of=of).splitlines() if columns(line) > cols]
        tap.ok(not bad, f"layers fit into {size} {bad}")


def others():
    compare("overview-ascii-80x24", dump("", "24x80", "--ascii"))
    compare("growth-ascii-80x24", dump("0", "24x80", "--ascii"))
    compare("tree-ascii-80x24", dump("4 +", "24x80", "--ascii"))
    tap.ok(dump("5", "24x80", "--ascii").isascii(), "--ascii has nothing else")
    compare("styles-80x24", dump("2 '/frame' Enter", "24x80", "--dump-styles"))
    for size in ("10x40", "5x20", "3x3", "1x1", "100x300"):
        rows, cols = map(int, size.split("x"))
        bad = []
        for name, keys in SCREENS.items():
            lines = dump(keys, size).splitlines()
            if len(lines) != rows or any(columns(line) > cols for line in lines):
                bad.append((name, lines))
        tap.ok(not bad, f"all fit into {size} {bad}")
    compare("files-40x10", dump("2", "10x40"))


def scripts():
    r = subprocess.run([HEAPTRAIL, "view", "--script", "Down Nonsense", "--dump", trail], env=env,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    tap.ok(r.returncode == 2 and "Nonsense" in r.stderr and "hint:" in r.stderr, f"a key that is none: {r.stderr!r}")
    r = subprocess.run([HEAPTRAIL, "view", trail], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    tap.ok(r.returncode == 2 and "terminal" in r.stderr, f"without a terminal: {r.returncode} {r.stderr!r}")


def exports():
    dump("2 e ^U 'out.csv' Enter", "24x80")
    with open(f"{work}/out.csv", newline="") as f:
        lines = f.read().split("\r\n")
    tap.ok(lines[0] == "LIVE,PEAK,ALLOCATED,CALLS,BLOCKS,TEMPORARY,FILE,DETAIL" and len(lines) == 11,
           f"a table as CSV: {lines[0]} and {len(lines)} lines")
    report = subprocess.run([HEAPTRAIL, "report", "--csv", trail], stdout=subprocess.PIPE, text=True, env=env).stdout
    allocated = {os.path.basename(r["file"]): r["allocated_bytes"] for r in csv.DictReader(io.StringIO(report))}
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    wrong = [r for r in rows if r["FILE"] in allocated and allocated[r["FILE"]] != r["ALLOCATED"]]
    tap.ok(sum(r["FILE"] in allocated for r in rows) == 9, "all files of the report are in it")
    tap.ok(not wrong, f"its numbers are the report's: {wrong}")
    dump("2 e ^U 'out.txt' Enter", "24x80")
    with open(f"{work}/out.txt") as f:
        tap.ok("covers.c" in f.read(), "a screen as text")
    tap.ok("cannot write" in dump("2 e ^U 'out.csv' Enter", "24x80"), "never over a file that is there")


try:
    shutil.copytree(f"{SRCDIR}/tests/tui/source", f"{work}/source")
    for name in os.listdir(f"{work}/source"):
        os.utime(f"{work}/source/{name}", (1e9, 1e9))  # older than the recording
    subprocess.check_call([STORY, trail, "source"])
    for test in (screens, marks, layers, others, scripts, exports):
        test()
finally:
    shutil.rmtree(work, ignore_errors=True)
tap.done()
