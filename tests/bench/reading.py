#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What reading a recording costs: names of functions next to heaptrack's interpretation, and the terminal interface.

Names: of the same run of a program, recorded by both; from opening to names stored, against all that heaptrack does
between its raw data and what its viewers open.  The interface: from a key to the finished frame.
"""
import glob
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import programs  # noqa: E402

HEAPTRAIL, TUI = os.environ["HEAPTRAIL"], os.environ["TUI"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
STEPS = int(os.environ.get("BENCH_STEPS", "5400000"))  # 10 million events
INTERPRET = next(iter(glob.glob("/usr/lib*/heaptrack/libexec/heaptrack_interpret")), None)

work = tempfile.mkdtemp(prefix="heaptrail-reading.")
env = {**os.environ, "PYTHONMALLOC": "malloc", "DEBUGINFOD_URLS": "", "LC_ALL": "C.UTF-8"}


def run(command, **more):
    """Seconds of wall clock and CPU, and the peak memory of the largest of its processes, in bytes."""
    code = ("import resource,subprocess,sys,time\nt=time.monotonic()\nr=subprocess.run(sys.argv[1:])\n"
            "t=time.monotonic()-t\nu=resource.getrusage(resource.RUSAGE_CHILDREN)\n"
            "print(r.returncode,t,u.ru_utime+u.ru_stime,u.ru_maxrss*1024,file=sys.stderr)\n")
    p = subprocess.run([sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                       env=env, cwd=work, **more)
    status, *numbers = p.stderr.splitlines()[-1].split()
    if status != "0":
        sys.exit(f"{command[0]} failed: {p.stderr}")
    return tuple(map(float, numbers))


def describe(trail):
    """The files whose names are looked up, and how many frames and stacks there are."""
    db = sqlite3.connect(trail)
    modules = [path for path, in db.execute("SELECT DISTINCT path FROM module JOIN frame ON module.id = frame.module")]
    frames, stacks = db.execute("SELECT (SELECT count(*) FROM frame), (SELECT count(*) FROM stack)").fetchone()
    db.close()
    return modules, frames, stacks


def debug_bytes(module):
    """Of the sections that names come from: in the file, or its debug file."""
    if not os.path.isfile(module):
        return 0
    text = subprocess.run(["readelf", "-nSW", module], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", text)
    debug = build_id and f"/usr/lib/debug/.build-id/{build_id[1][:2]}/{build_id[1][2:]}.debug"
    if debug and os.path.exists(debug):
        text = subprocess.run(["readelf", "-SW", debug], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    sections = re.findall(r"\] (\.debug_\S+|\.symtab|\.strtab|\.dynsym|\.dynstr)\s+\S+\s+\S+\s+\S+\s+([0-9a-f]+)", text)
    return sum(int(size, 16) for _, size in sections)


def names(what, command):
    trail, copy = (f"{work}/{n}.trail" for n in ("whole", "copy"))
    raw = f"{work}/raw"
    for old in glob.glob(f"{work}/*.trail*") + glob.glob(f"{raw}*"):
        os.unlink(old)
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", *command], check=True, env=env, stdout=subprocess.DEVNULL)
    modules, frames, stacks = describe(trail)
    sections = sum(map(debug_bytes, modules))
    print(f"names of {what}: {frames} frames in {len(modules)} files, {stacks} nodes of stacks")
    if INTERPRET:
        subprocess.run(["heaptrack", "-r", "-o", raw, *command], check=True, env=env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        raw = glob.glob(f"{raw}*")[0]
        unpack = {".gz": "gzip", ".zst": "zstd"}[os.path.splitext(raw)[1]]
        with open(f"{work}/raw.txt", "wb") as f:
            subprocess.run([unpack, "-dc", raw], stdout=f, check=True)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        shutil.copy(trail, copy)
        ours.append(run([HEAPTRAIL, "symbolize", "-q", "--no-demangle", copy]))  # looks up all of them anew
        if INTERPRET:
            with open(f"{work}/raw.txt", "rb") as f:
                theirs.append(run([INTERPRET], stdin=f))
    for name, rounds in (("heaptrail symbolize", ours), ("heaptrack_interpret", theirs)):
        if rounds:
            wall, cpu, peak = (statistics.median(r[i] for r in rounds) for i in range(3))
            print(f"  {name:22} {wall:7.2f} s  {cpu:7.2f} s CPU  {peak / 2**20:7.1f} MiB")
    if theirs:
        wall, cpu = (statistics.median(o[i] / t[i] for o, t in zip(ours, theirs)) for i in range(2))
        print(f"  ratio                  {wall:7.2f}    {cpu:7.2f}")
    peak = statistics.median(r[2] for r in ours)
    print(f"  sections that names are in: {sections / 2**20:.1f} MiB; peak memory / these: {peak / max(sections, 1):.2f}")
    return trail


def interface(what, trail):
    print(f"interface, {what}: ms from key to frame: median, 99 % and most, how many, and the same of CPU time")
    for line in subprocess.check_output([f"{TUI}/latency", trail], text=True, env=env, cwd=work).splitlines():
        print("  " + "  ".join(f"{w:>12}" for w in line.split()))


try:
    script = programs.python_script(work, 40)
    names("python3", ["python3", script])
    compiled = names("cc1plus", programs.cc1plus(work, 60))
    interface("cc1plus", compiled)
    subprocess.check_call([f"{TUI}/story", f"{work}/story.trail", "source", str(STEPS)])
    interface(f"{2 * STEPS // 1000000} million events", f"{work}/story.trail")
finally:
    shutil.rmtree(work, ignore_errors=True)
