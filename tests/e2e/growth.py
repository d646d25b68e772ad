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

import beside
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


# ---- the figures of many sets ---------------------------------------------------------------


def judge_sets(first, n):
    figures = Figures()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for i, results in enumerate(pool.map(judge_set, range(first, first + n))):
            figures.add(first + i, results)
    for case in figures.cases:
        print("#", case)
    print("#", figures.text())
    print("# missed:", dict(figures.missed), "wrong:", dict(figures.wrong))


# ---- the test ---------------------------------------------------------------------------------


def streams(seed):
    figures = Figures()
    figures.add(seed, judge_set(seed))
    for case in figures.cases:
        print("#", case)
    print("#", figures.text())
    tap.ok(figures.streams == 60 and figures.leaks >= 20, "60 recordings, many with leaks")
    tap.ok(figures.recall() >= 0.95, f"leaks are found: {figures.recall():.4f}")
    tap.ok(figures.precision() >= 0.95, f"and nothing else is: {figures.precision():.4f}")


def report(*args, locale="C.UTF-8"):
    return subprocess.run([HEAPTRAIL, "leaks", "--growth", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "LC_ALL": locale})


def texts(seed):
    """The first recording has one leak."""
    with tempfile.TemporaryDirectory(prefix="heaptrail-growth.") as folder:
        subprocess.run([STREAMS, folder, str(seed), "2"], check=True, stdout=subprocess.DEVNULL)
        path = f"{folder}/00.trail"
        r = report(path)
        tap.ok(r.returncode == 0 and r.stdout.startswith("Growing by ") and "leak_steady" in r.stdout and not r.stderr,
               f"in words {r.stdout.splitlines()[:1]} {r.stderr}")
        tap.ok("▁" in r.stdout and "█" in r.stdout, "with curves")
        tap.ok(report(path, locale="C").stdout.isascii(), "of ASCII where the locale knows nothing else")
        whole = json.loads(report("--json", path).stdout)
        leak = next(x for x in whole["leaks"] if "leak_steady" in functions(x))
        g = leak["growth"]
        tap.ok(whole["schema"] == "heaptrail-leaks/1" and whole["growth"]["told"] and
               len(g["live_bytes"]) == len(g["floor_bytes"]) == whole["growth"]["windows"], "as JSON")
        # all that it allocated stays: the slope is what it has by the time it took
        rate = leak["bytes"] / (whole["recording"]["duration_ns"] / 1e9)
        tap.ok(0.7 * rate < leak["growth_bytes_per_s"] < 1.4 * rate and leak["blocks"] == g["alloc_calls"] and
               abs(g["bytes_per_hour"] / leak["growth_bytes_per_s"] - 3600) < 1,
               f"how fast: {leak['growth_bytes_per_s']} of {rate} bytes/s")
        tap.ok(g["low_bytes_per_s"] <= leak["growth_bytes_per_s"] <= g["high_bytes_per_s"] and g["confidence"] > 0.95,
               f"how surely: {g['confidence']}")
        tap.ok(g["outlived_share"] > 0.9, f"its blocks outlive what is usual: {g['outlived_share']}")
        half = whole["recording"]["duration_ns"] // 2
        later = json.loads(report("--json", "--warmup", f"{half // 1000000}ms", path).stdout)["growth"]
        tap.ok(later["from_ns"] >= half * 0.99 and later["windows"] >= 12, f"--warmup leaves the start out: {later}")
        until = json.loads(report("--json", "--at", f"{half // 1000000}ms", path).stdout)["growth"]
        tap.ok(until["from_ns"] + until["windows"] * until["window_ns"] <= half * 1.01 and until["windows"] >= 12,
               f"--at ends it earlier: {until}")
        since(path, half // 1000000)
        for by in ("line", "function", "file", "module"):
            rows = json.loads(report("--json", "--by", by, path).stdout)["leaks"]
            tap.ok(rows and all("name" in x for x in rows) and
                   (by not in ("line", "function") or any("leak_steady" in x["name"] for x in rows if x["growth"]["growing"])),
                   f"by {by}")
        with open(f"{folder}/suppressions", "w") as f:
            f.write("leak:leak_steady\n")
        r = report("--suppressions", f"{folder}/suppressions", path)
        tap.ok("Suppressed  1" in r.stdout and " leak_steady (" not in r.stdout, "what is suppressed is only counted")
        conditions(path, g["bytes_per_hour"], folder)
        r = report("--warmup", "999h", path)
        tap.ok(r.returncode == 0 and r.stdout.startswith("Growth cannot be told: "), f"too short {r.stdout.splitlines()[:1]}")
        for args in (("--older", "1s"), ("--min-size", "9"), ("--sarif",), ("--gen-suppressions",), ("--until", "1s")):
            r = report(*args, path)
            tap.ok(r.returncode == 2 and "--growth" in r.stderr, f"not with {args[0]}: {r.stderr.splitlines()[:1]}")


def since(path, t_ms):
    """Only blocks that were allocated from the middle on: the leak goes on, until the end."""
    text = report("--json", "--since", f"{t_ms}ms", path).stdout
    seconds = json.loads(text)["recording"]["duration_ns"] / 1e9 - t_ms / 1000
    rows = json.loads(text)["leaks"]
    leak = next((x for x in rows if "leak_steady" in functions(x) and x["growth"]["growing"]), None)
    if not tap.ok(leak, f"--since {t_ms}ms: it still grows"):
        return
    g, rate = leak["growth"], leak["bytes"] / seconds
    tap.ok(g["live_bytes"][-1] > 0.9 * leak["bytes"] and leak["blocks"] == g["alloc_calls"] and
           0.7 * rate < leak["growth_bytes_per_s"] < 1.4 * rate,
           f"with all that came: {leak['growth_bytes_per_s']} of {rate} bytes/s, {g['live_bytes'][-1]} of {leak['bytes']}")


def conditions(path, per_hour, folder):
    for command in ("leaks", "report"):
        for factor, status in ((0.5, 1), (1.5, 0)):
            r = subprocess.run([HEAPTRAIL, command, "--fail-if", f"growth > {int(per_hour * factor)}B/h",
                                *(("--suppressions", "/dev/null") if command == "leaks" else ()), path],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            tap.ok(r.returncode == status and ("leak_steady" in r.stderr) == bool(status),
                   f"{command} --fail-if growth, at {factor} of it: {r.stderr.splitlines()[:2]}")
    r = report("--suppressions", f"{folder}/suppressions", "--fail-if", "growth", "--error-exit", "9", path)
    tap.ok(r.returncode == 0, "nor does it fail, if it is suppressed")
    tap.ok(report("--error-exit", "9", path).returncode == 9, "--error-exit")


def live():
    """Four servers, attached to until each has done enough of what it does."""
    if os.geteuid():
        tap.skip("programs that run", "needs root")
        return
    expected = {"leak": "forget_one", "wrapper": "forget_buffer", "cache": None, "sawtooth": None}
    with tempfile.TemporaryDirectory(prefix="heaptrail-growth.") as folder:
        env = {**os.environ, "LD_LIBRARY_PATH": tap.private_libc(folder)}
        servers, reports = {}, {}
        for how in expected:
            servers[how] = subprocess.Popen([f"{os.environ['TARGETS']}/growing", how], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True, env=env)
            servers[how].stdout.readline()
        try:
            for how, server in servers.items():
                reports[how] = subprocess.Popen([HEAPTRAIL, "leaks", "--growth", "--json", "-p", str(server.pid),
                                                 "-o", f"{folder}/{how}.trail"], stdout=subprocess.PIPE, text=True)
            for how in servers:
                beside.expect(lambda path=f"{folder}/{how}.trail": beside.is_armed(path), f"a recording of {how}")
            for server in servers.values():
                server.stdin.write("go\n")
                server.stdin.flush()
            for how, server in servers.items():
                tap.ok(server.stdout.readline() == "enough\n", f"{how}: it has done enough")
                beside.interrupt(reports[how])
            for how, process in reports.items():
                out = json.loads(process.communicate(timeout=tap.PATIENCE)[0])
                rows = [functions(x) for x in out["leaks"] if x["growth"]["growing"]]
                what = expected[how]
                tap.ok(process.returncode == 0 and (any(what in r for r in rows[:3]) if what else not rows) and
                       len(rows) <= 1, f"{how}: {[r[:2] for r in rows]}")
                shapes = [x["growth"]["shape"] for x in out["leaks"] if {"cache_put", "collect"} & set(functions(x))]
                if what is None:
                    tap.ok(shapes and set(shapes) <= {"cache": {"levelled_off", "step"}, "sawtooth": {"sawtooth", "waves", "flat"}}[how],
                           f"its shape: {shapes}")
        finally:
            for server in servers.values():
                server.stdin.close()
                server.wait()


def unfinished():
    """A recording that is being written, in bounded space or not, and then is cut off."""
    if os.geteuid():
        tap.skip("recordings that are being written", "needs root")
        return
    with tempfile.TemporaryDirectory(prefix="heaptrail-growth.") as folder:
        env = {**os.environ, "LD_LIBRARY_PATH": tap.private_libc(folder)}
        server = subprocess.Popen([f"{os.environ['TARGETS']}/growing", "leak", "40"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, env=env)
        server.stdout.readline()
        recorders = {}
        try:
            for name, more in (("whole", ()), ("bounded", ("--max-size", "2M"))):
                recorders[name] = subprocess.Popen([HEAPTRAIL, "record", "-q", *more, "-o", f"{folder}/{name}.trail", "-p", str(server.pid)])
            for name in recorders:
                beside.expect(lambda path=f"{folder}/{name}.trail": os.path.exists(path), f"a recording, {name}")
            server.stdin.write("go\n")
            server.stdin.flush()
            beside.expect(lambda: b"dropped" in subprocess.run([HEAPTRAIL, "info", f"{folder}/bounded.trail"],
                                                               stdout=subprocess.PIPE).stdout, "events to be dropped")
            for state in ("being written", "cut off"):
                if state == "cut off":
                    for recorder in recorders.values():
                        recorder.kill()
                        recorder.wait()
                for name in recorders:
                    # what was dropped is not known, and it takes some windows
                    def rows(path=f"{folder}/{name}.trail"):
                        return [functions(x) for x in rows_of(path)]
                    found = beside.wait_until(lambda: any("forget_one" in r for r in rows()), tap.PATIENCE if state == "being written" else 1)
                    tap.ok(found and len(rows()) == 1, f"{name}, {state}: {[r[:2] for r in rows()]}")
                    screen = subprocess.run([HEAPTRAIL, "view", "--script", "0", "--dump", "--size", "24x120", f"{folder}/{name}.trail"],
                                            stdout=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": folder}).stdout
                    tap.ok("1 place grows by" in screen and "forget_one" in screen, f"{name}, {state}: in the terminal")
        finally:
            for recorder in recorders.values():
                recorder.kill()
                recorder.wait()
            server.stdin.close()
            server.wait()


if len(sys.argv) > 1:
    judge_sets(int(sys.argv[2]) if len(sys.argv) > 2 else 1, int(sys.argv[1]))
else:
    SEED = tap.seed()
    streams(SEED)
    texts(1)  # of what it says: always the same
    live()
    unfinished()
    tap.done()
