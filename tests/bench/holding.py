#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""For how long a snapshot of a GiB of heap holds its process, next to reading its pagemap once, and what it takes on disk."""
import os
import sqlite3
import statistics
import subprocess
import tempfile
import time

HEAPTRAIL, GIGABYTE = os.environ["HEAPTRAIL"], os.environ["BENCH_GIGABYTE"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))


def read_pagemap(pid):
    """Seconds that it takes for all mappings that can be written."""
    ranges = []
    with open(f"/proc/{pid}/maps") as f:
        for line in f:
            where, perms = line.split()[:2]
            if perms.startswith("rw-p"):
                ranges.append([int(x, 16) for x in where.split("-")])
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as f:
        begin = time.perf_counter()
        for start, end in ranges:
            at, left = start // 4096 * 8, (end - start) // 4096 * 8
            while left > 0:
                got = len(os.pread(f.fileno(), min(left, 1 << 20), at))
                at, left = at + got, left - got
        return time.perf_counter() - begin


def main():
    with tempfile.TemporaryDirectory() as work:
        trail = f"{work}/g.trail"
        with subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--frag-every", "200ms", "--", GIGABYTE],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
            p.stdout.readline()
            pid = next(int(x) for x in open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()
                       if open(f"/proc/{x}/comm").read().strip() == "gigabyte")
            time.sleep(1)
            begin = time.monotonic_ns()
            once = []
            for _ in range(ROUNDS):
                once.append(read_pagemap(pid))
                time.sleep(0.4)
            p.stdin.write("\n")
            p.stdin.flush()
            p.wait()
        db = sqlite3.connect(trail)
        held = [n / 1e9 for n, in db.execute("SELECT held_ns FROM snapshot WHERE time_ns > ? AND reason = 'every'", (begin,))]
        size, (n, bytes_on_disk), rss = os.stat(trail).st_size, db.execute(
            "SELECT count(*), sum(length(data)) FROM snapshot").fetchone(), db.execute("SELECT max(rss_bytes) FROM snapshot").fetchone()[0]
        a, b = statistics.median(held), statistics.median(once)
        print(f"snapshots of {rss / 2**30:.2f} GiB resident, {len(held)} of them, beside a process that sleeps")
        print(f"  the process stood still       {a * 1e3:8.1f} ms (median; {min(held) * 1e3:.1f} to {max(held) * 1e3:.1f})")
        print(f"  its pagemap, read once        {b * 1e3:8.1f} ms (median; {min(once) * 1e3:.1f} to {max(once) * 1e3:.1f})")
        print(f"  ratio                         {a / b:8.2f}")
        print(f"  bytes a snapshot              {bytes_on_disk / n:8.0f}, {bytes_on_disk / n / size:.3%} of the recording each")


main()
