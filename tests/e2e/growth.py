#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What grows: `leaks --growth` on 60 recordings that tests/growth/streams.c makes, another 60 with every seed.

A leak is found where one of the first three rows is of it: of the frames that all stacks of the row
share one is the function that leaks.  growth.py N [SEED] judges N sets and prints the figures only."""
import collections
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
STREAMS = f"{os.path.dirname(os.environ['TARGETS'])}/growth/streams"


def rows_of(path):
    text = subprocess.run([HEAPTRAIL, "leaks", "--growth", "--json", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [x for x in json.loads(text)["leaks"] if x["growth"]["growing"]]


def functions(row):
    """Of the frames that all of its stacks share."""
    return [f["function"] for f in row["frames"][:row["growth"]["shared_frames"]]]


def judge(path, leaks):
    """Those found in the first three rows, and what all rows are of: a leak, or None and what it is instead."""
    rows = [functions(r) for r in rows_of(path)]
    of = [next((x for x in leaks if x in r), None) for r in rows]
    return {x for x in of[:3] if x}, [(x, r[:3]) for x, r in zip(of, rows)]


def judge_set(seed):
    """(file, kind, leaks, found, rows) of each of 60."""
    with tempfile.TemporaryDirectory(prefix="heaptrail-growth.") as folder:
        lines = subprocess.run([STREAMS, folder, str(seed)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        ret = []
        for line in lines:
            name, kind, leaks = line.split("\t")
            leaks = [x for x in leaks.split(",") if x]
            ret.append((name, kind, leaks, *judge(f"{folder}/{name}", leaks)))
        return ret


class Figures:
    def __init__(self):
        self.leaks = self.found = self.rows = self.right = self.once = self.streams = 0
        self.missed, self.wrong = collections.Counter(), collections.Counter()
        self.cases = []

    def add(self, seed, results):
        for name, kind, leaks, found, rows in results:
            self.streams += 1
            self.leaks += len(leaks)
            self.found += len(found)
            self.rows += len(rows)
            self.right += sum(1 for of, _ in rows if of)
            for x in set(leaks) - found:
                self.missed[kind] += 1
                self.cases.append(f"{seed} {name} {kind}: {x} was not found")
            # several rows of one leak are one that is right
            self.once += len({of for of, _ in rows if of})
            for of, functions_of in rows:
                if not of:
                    self.wrong[functions_of[0] if functions_of else "?"] += 1
                    self.cases.append(f"{seed} {name} {kind}: {functions_of} does not leak")

    def precision(self):
        wrong = self.rows - self.right
        return self.once / (self.once + wrong) if self.once + wrong else 1

    def recall(self):
        return self.found / self.leaks if self.leaks else 1

    def text(self):
        return (f"{self.streams} recordings: {self.found} of {self.leaks} leaks in the first three rows (recall {self.recall():.4f}), "
                f"{self.right} of {self.rows} rows are of {self.once} leaks (precision, each counted once, {self.precision():.4f})")


def main():
    figures = Figures()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else tap.seed()
    if n == 1:
        figures.add(seed, judge_set(seed))
    else:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for i, results in enumerate(pool.map(judge_set, range(seed, seed + n))):
                figures.add(seed + i, results)
    for case in figures.cases:
        print("#", case)
    print("#", figures.text())
    if len(sys.argv) > 1:
        print("# missed:", dict(figures.missed), "wrong:", dict(figures.wrong))
        return
    tap.ok(figures.streams == 60 and figures.leaks >= 20, "60 recordings, many with leaks")
    tap.ok(figures.recall() >= 0.95, "leaks are found")
    tap.ok(figures.precision() >= 0.95, "and nothing else is")
    tap.done()


main()
