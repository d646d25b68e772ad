#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench: how long a process stands still for `record --reachable`, beside reading its blocks once."""
import json
import os
import statistics
import subprocess
import tempfile

HEAPTRAIL, PAUSE = os.environ["HEAPTRAIL"], os.environ["BENCH_PAUSE"]
ROUNDS = 5


def held(folder, mib, blocks):
    """ms, in the exit of the command."""
    trail = f"{folder}/pause.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "--force", "--reachable", "-o", trail, "--", PAUSE, str(mib), str(blocks), "target"], check=True)
    found = json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", "--rows", "1", trail]))["reachability"]
    return found["held_ns"] / 1e6


with tempfile.TemporaryDirectory(prefix="heaptrail-pausing.") as folder:
    for mib, blocks in ((1024, 1000000), (1024, 100000), (64, 1000000)):
        text = subprocess.check_output([PAUSE, str(mib), str(blocks)], text=True)
        once = float(next(line for line in text.splitlines() if line.startswith("read once")).split(" ms")[0].split()[-1])
        ms = statistics.median(held(folder, mib, blocks) for _ in range(ROUNDS))
        print(text + f"{'held, all in all, in its exit':32} {ms:9.1f} ms  {ms / once:5.2f} of reading it once\n", flush=True)
