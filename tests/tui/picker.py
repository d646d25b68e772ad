#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The screen to choose a process on, by key script, of processes that are always the same (pick.c).

Whole screens are in golden/; HEAPTRAIL_UPDATE=1 writes them anew, to be looked at before they are committed.
"""
import os
import re
import subprocess
import sys

SRCDIR = os.environ["SRCDIR"]
sys.path.insert(0, os.path.join(SRCDIR, "tests", "e2e"))
import tap  # noqa: E402

PICK = os.path.join(os.environ["TUI"], "pick")
GOLDEN = os.path.join(SRCDIR, "tests", "tui", "golden")
ENV = {**os.environ, "LC_ALL": "C.UTF-8"}


def pick(keys, size=(12, 80), *more):
    r = subprocess.run([PICK, str(size[0]), str(size[1]), keys, *more], env=ENV, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    return r.stdout if r.returncode == 0 else f"{r.returncode} {r.stderr}"


def pids(keys):
    """Of the rows, from the top."""
    return [int(x) for x in re.findall(r"^  +(\d+) [a-z]", pick(keys), re.M)]


def chosen(keys):
    found = re.search(r"^chosen: (\d+)$", pick(keys), re.M)
    return int(found.group(1)) if found else None


def golden():
    for name, args in {"picker": ("",), "picker-wide": ("", (12, 150)), "picker-narrow": ("", (10, 40)),
                       "picker-filter": ("\\ 'ada' Enter",), "picker-prompt": ("/ 'red'",),
                       "picker-ascii": ("", (12, 80), "ascii"), "picker-styles": ("Down", (12, 80), "styles"),
                       "picker-error": ("", (12, 80), "plain", "cannot record process 900: why")}.items():
        text, path = pick(*args), f"{GOLDEN}/{name}.txt"
        if os.environ.get("HEAPTRAIL_UPDATE"):
            with open(path, "w") as f:
                f.write(text)
        with open(path) as f:
            tap.ok(f.read() == text, name)
        if text != open(path).read():
            print("# " + text.replace("\n", "\n# "))


def order():
    by_rss = [77777, 4242, 1, 4243, 900, 50]
    tap.ok(pids("") == by_rss, f"by RSS at first: {pids('')}")
    tap.ok(pids("r") == by_rss[::-1], "the other way round")
    tap.ok(pids("2*<") == sorted(by_rss, reverse=True), f"by pid: {pids('2*<')}")
    tap.ok(pids("<")[:2] == [4242, 4243] and pids("<")[-1] == 1, f"by user: {pids('<')}")
    tap.ok(pids(">")[:2] == [4242, 4243] and pids(">")[-1] == 50, f"by allocator: {pids('>')}")
    tap.ok(pids("2*>")[0] == 4242, f"by command: {pids('2*>')}")
    tap.ok(pids("3*>") == pids("2*<") and pids("3*<") == pids("2*>"), "round and round")
    tap.ok(pids("click:2,20") == pids("<") and pids("click:2,20 click:2,20") == pids("< r"), "heads are clicked")


def choices():
    tap.ok(chosen("Enter") == 77777 and chosen("2*Down Enter") == 1 and chosen("G Enter") == 50, "Enter chooses")
    tap.ok(chosen("double:4,20") == 4242, "so does a double click")
    tap.ok(chosen("click:4,20") is None and chosen("click:4,20 Enter") == 4242, "a click goes there")
    tap.ok([chosen(k) for k in ("q", "Q", "F10", "^C", "Escape")] == [0] * 5, "none is chosen")
    tap.ok(chosen("Down") is None, "a script may end before")
    tap.ok(chosen("/ 'redis' Enter Enter") == 4243 and chosen("/ 'DAEMON' Enter Enter") == 50, "search, also for words")
    tap.ok(chosen("/ 'grace' Enter n Enter") == 900 and chosen("/ 'grace' Enter n n Enter") == 77777, "and on")
    tap.ok("'nothing' is not there" in pick("/ 'nothing' Enter"), "what is not there is said")
    tap.ok(pids("\\ 'glibc' Enter") == [4242, 50], "a filter takes the allocator")
    tap.ok(pids("\\ 'glibc' Enter Escape")[0] == 77777 and chosen("\\ 'glibc' Enter Escape Escape") == 0,
           "Esc takes the filter first")
    tap.ok(pids("\\ 'x^C'") == [], "characters are characters")
    tap.ok(pids("\\ 'ada' Escape")[0] == 77777, "Esc while one types")
    tap.ok("matches the filter" in pick("\\ 'zzz' Enter") and chosen("\\ 'zzz' Enter Enter") is None, "nothing to choose")
    tap.ok(pick("Down Nonsense").startswith("2 not an input"), "a key that is none")


def sizes():
    for rows, cols in ((1, 1), (2, 5), (4, 10), (5, 200)):
        lines = pick("Down /", (rows, cols)).split("\n")
        tap.ok(len(lines) == rows + 1 and all(len(line) <= cols for line in lines), f"it fits into {rows}x{cols}")
    text = pick("resize:30x100 Down Enter")
    tap.ok(len(text.split("\n")) == 32 and "chosen: 4242" in text, "another size")
    tap.ok("\033" not in pick(""), "names drive no terminal")


for test in (golden, order, choices, sizes):
    test()
tap.done()
