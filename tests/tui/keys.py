#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random keys, clicks and sizes under sanitizers, on recordings that are finished, grow, or lie."""
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRCDIR"], "tests", "e2e"))
import forging  # noqa: E402
import tap  # noqa: E402

TUI, TARGETS = os.environ["TUI"], os.environ["TARGETS"]
INPUTS = int(os.environ.get("HEAPTRAIL_INPUTS", "5000"))
seed = tap.seed()
work = tempfile.mkdtemp(prefix="heaptrail-keys.")


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def press(name, path, n, number):
    r = subprocess.run([f"{TUI}/random", path, str(n), str(seed + number)], stdout=subprocess.PIPE, cwd=work,
                       stderr=subprocess.PIPE, text=True, env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"})
    if not tap.ok(r.returncode == 0 and r.stdout == f"{n} inputs\n", f"{name}: {n} inputs"):
        for line in r.stderr.splitlines()[:40]:
            print("#", line)


try:
    subprocess.check_call([f"{TUI}/story", f"{work}/story.trail", "source", "4000"])
    shutil.copytree(os.path.join(os.environ["SRCDIR"], "tests", "tui", "source"), f"{work}/source")
    digests = {f"{work}/story.trail": digest(f"{work}/story.trail")}
    press("a finished recording", "story.trail", INPUTS // 2, 0)
    press("one that grows", "live.trail+", INPUTS // 2, 1)
    for i, kind in enumerate(("hostile", "stacks", "callers", "odd")):
        subprocess.check_call([f"{TARGETS}/forge", kind, f"{work}/{kind}.trail"])
        digests[f"{work}/{kind}.trail"] = digest(f"{work}/{kind}.trail")
        press(kind, f"{kind}.trail", max(INPUTS // 10, 200), 2 + i)
    rng = random.Random(seed)
    for i in range(max(INPUTS // 1000, 1) if forging.recording.has_zstd else 0):
        subprocess.check_call([f"{TARGETS}/forge", "odd", f"{work}/few.trail"], env={**os.environ, "HEAPTRAIL_EVENTS": "3000"})
        press(f"with right checksums, {forging.forge(f'{work}/few.trail', rng)}", "few.trail", 100, 6 + i)
        os.unlink(f"{work}/few.trail")
    tap.ok(all(digest(f) == d for f, d in digests.items()), "the recordings stay as they were")
finally:
    shutil.rmtree(work, ignore_errors=True)
tap.done()
