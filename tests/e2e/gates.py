#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""--fail-if of record, report and leaks: status, what is said, and never a wrong verdict."""
import json
import os
import shutil
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-gates.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "HOME": work, "LC_ALL": "C.UTF-8"}
trail = f"{work}/known.trail"

# 4 blocks of 1000 bytes leak in keep(); at the peak another 100,000 bytes are live; 21 temporary ones; no stdio.
SOURCE = r"""
#include <stdlib.h>
#include <unistd.h>
static void *volatile kept;
__attribute__((noinline)) void keep(void) { kept = malloc(1000); }
__attribute__((noinline)) void pass(void) { kept = malloc(10); free(kept); }
int main(int argc, char **argv)
{
	void *volatile large;
	for (int i = 0; i < 4; i++)
		keep();
	large = malloc(100000);
	free(large);
	for (int i = 0; i < 20; i++)
		pass();
	if (write(1, "text\n", 5) != 5)
		return 2;
	return argc > 1 ? atoi(argv[1]) : 0;
}
"""


def run(*args):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=work,
                          timeout=tap.PATIENCE)


with open(f"{work}/known.c", "w") as f:
    f.write(SOURCE)
subprocess.run(["gcc", "-g", "-O1", "-o", f"{work}/known", "known.c"], check=True, cwd=work)
known = f"{work}/known"


def numbers():
    r = run("record", "-q", "-o", trail, "--", known)
    tap.ok(r.returncode == 0, f"recorded {r.stderr}")
    s = json.loads(run("report", "--json", trail).stdout)["summary"]
    tap.ok((s["leaked_blocks"], s["leaked_bytes"], s["peak_bytes"], s["alloc_calls"], s["temporary_allocs"]) ==
           (4, 4000, 104000, 25, 21), f"the program does what it should: {s}")
    # met by one, and not by the next
    for at, beyond in (("leaked > 3", "leaked > 4"), ("leaked >= 4000B", "leaked > 4000B"), ("leaked", "leaked > 1MiB"),
                       ("live > 3.9K", "live > 3.91K"), ("peak > 103999B", "peak > 104000B"), ("peak > 4", "peak > 5"),
                       ("temporary >= 84%", "temporary > 84%"), ("temporary > 20", "temporary > 21"), ("allocs > 24", "allocs > 25"),
                       ("allocs >= 104200B", "allocs > 104200B"), ("growth >= 0B/h", "growth > 0B/h"),
                       ("leaked > 3%", "leaked > 4%"), ("lost >= 0", "lost"), ("double_frees >= 0", "double_frees"),
                       ("mismatched >= 0", "mismatched")):
        for command in ("report", "leaks"):
            met, not_met = run(command, "--fail-if", at, trail), run(command, "--fail-if", beyond, trail)
            tap.ok(met.returncode == 1 and f"heaptrail: failed: '{at}': {at.split()[0]} is " in met.stderr,
                   f"{command} --fail-if '{at}' {met.stderr.splitlines()[:1]}")
            tap.ok(not_met.returncode == 0 and not not_met.stderr and not_met.stdout == met.stdout,
                   f"{command} --fail-if '{beyond}': not {not_met.stderr}")


def words():
    r = run("report", "--fail-if", "leaked > 0", trail)
    tap.ok(r.stderr == "heaptrail: failed: 'leaked > 0': leaked is 4\n       3.91 KiB  known.c:5 keep\n", f"the value and the site: {r.stderr!r}")
    r = run("leaks", "--fail-if", "peak > 1KiB", "--fail-if", "lost", "--fail-if", "temporary", trail)
    tap.ok(r.returncode == 1 and r.stderr.splitlines() == [
        "heaptrail: failed: 'peak > 1KiB': peak is 102 KiB (104,000 bytes)", "       97.7 KiB  known.c:12 main",
        "       3.91 KiB  known.c:5 keep", "heaptrail: failed: 'temporary': temporary is 21", "             20  known.c:6 pass",
        "              1  known.c:12 main"],
        f"several, each with its worst sites {r.stderr!r}")
    with open(f"{work}/s", "w") as f:
        f.write("leak:keep\n")
    with open(f"{work}/other", "w") as f:
        f.write("leak:nobody\n")
    with open(f"{work}/bad", "w") as f:
        f.write("{\n")
    r = run("leaks", "--suppressions", f"{work}/s", "--fail-if", "leaked", trail)
    tap.ok(r.returncode == 0, "what is suppressed is not leaked")
    r = run("leaks", "--suppressions", f"{work}/s", "--fail-if", "live", trail)
    tap.ok(r.returncode == 1, "but live")
    for command in (("report",), ("record", "-q", "--force", "-o", f"{work}/r.trail")):
        of = ("--", known) if command[0] == "record" else (trail,)
        for name, options in (("s", ()), ("s", ("--no-default-suppressions",)), ("other", ())):
            r = run(*command, "--suppressions", f"{work}/{name}", *options, "--fail-if", "leaked", *of)
            tap.ok(r.returncode == (1 if name == "other" else 0) and ("unused suppression 'nobody'" in r.stderr) == (name == "other"),
                   f"{command[0]} --suppressions {name} {options}: {r.returncode} {r.stderr!r}")
        r = run(*command, "--suppressions", f"{work}/s", "--fail-if", "live", *of)
        tap.ok(r.returncode == 1, f"{command[0]}: what is suppressed is live")
        for name, words in (("none", "cannot read the suppressions"), ("bad", "bad:1:")):
            r = run(*command, "--suppressions", f"{work}/{name}", "--fail-if", "leaked", *of)
            tap.ok(r.returncode == 2 and words in r.stderr and not r.stdout, f"{command[0]} --suppressions {name}: {r.stderr!r}")
    tap.ok(run("leaks", "--min-size", "1001", "--fail-if", "leaked", trail).returncode == 0, "nor what a filter leaves out")
    for command in (("report", trail), ("leaks", trail), ("record", "--", known), ("leaks", "--", known)):
        r = run(command[0], "--fail-if", "leaked > 1 apple", *command[1:])
        tap.ok(r.returncode == 2 and "expected B, KiB" in r.stderr and "at 'apple'" in r.stderr and not r.stdout,
               f"{command[0]}: what cannot be read is said before anything runs")


def recorded():
    for command in ("record", "leaks"):
        out = ("-q", "--force", "-o", f"{work}/r.trail") if command == "record" else ()
        for status, condition, expected in (("0", "leaked > 3", 1), ("0", "leaked > 4", 0), ("7", "leaked > 3", 7)):
            r = run(command, *out, "--fail-if", condition, "--", known, status)
            tap.ok(r.returncode == expected and r.stdout == "text\n" and
                   ("failed: 'leaked > 3': leaked is 4" in r.stderr) == (condition == "leaked > 3"),
                   f"{command}: the command's {status}, {condition}: {r.returncode}")
    r = run("leaks", "--error-exit", "9", "--fail-if", "leaked", "--", known)
    tap.ok(r.returncode == 9, "--error-exit goes before it")


def not_exact():
    with subprocess.Popen([f"{TARGETS}/sleeper"], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as p:
        r = run("record", "-q", "--force", "-o", f"{work}/a.trail", "-p", str(p.pid), "-d", "200ms", "--fail-if", "leaked > 0")
        p.kill()
    tap.ok(r.returncode == 0 and "warning: cannot tell whether 'leaked > 0': " in r.stderr and
           "the exit of the process was not seen" in r.stderr, f"leaked, of a process that runs on {r.returncode} {r.stderr}")
    r = run("report", "--at", "1ns", "--fail-if", "leaked", trail)
    tap.ok(r.returncode == 0 and "cannot tell" in r.stderr, "leaked, of a moment before the exit")
    r = run("record", "-q", "--min-size", "100", "-o", f"{work}/small.trail", "--fail-if", "allocs > 5", "--fail-if", "allocs > 4",
            "--fail-if", "allocs > 30", "--", known)
    tap.ok(r.returncode == 1 and "cannot tell whether 'allocs > 5'" in r.stderr and "failed: 'allocs > 4'" in r.stderr and
           "allocs > 30" not in r.stderr, f"blocks that were only counted: {r.stderr!r}")
    lost = f"{work}/lost.trail"
    with subprocess.Popen([HEAPTRAIL, "record", "-q", "--ring-size", "1", "--on-full=drop", "-o", lost, "--", f"{TARGETS}/steady"], env=env,
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as p:
        beside.expect(lambda: beside.n_chunks(lost), "the first events")
        beside.overrun(p, beside.child(p.pid, "steady"))
        p.stdin.close()
    s = json.loads(run("report", "--json", lost).stdout)["summary"]
    r = run("report", "--fail-if", "lost", lost)
    tap.ok(r.returncode == 1, f"lost: {s['lost_events']}")
    r = run("report", "--fail-if", "allocs > 10", lost)
    tap.ok(r.returncode == 1 and "that is not exact" in r.stderr, "a condition that is met whatever was lost")
    for condition in (f"peak > {s['peak_bytes'] + 1}B", f"allocs >= {s['alloc_calls'] + 1}", "leaked > 1TiB", "double_frees",
                      f"temporary >= {s['temporary_allocs'] or 1}"):
        r = run("report", "--fail-if", condition, lost)
        tap.ok(r.returncode == 0 and "warning: cannot tell" in r.stderr and "events were lost" in r.stderr,
               f"one that depends on what was lost: {condition} {r.stderr[:300]}")


try:
    tap.run_as_root([numbers, words, recorded, not_exact])
finally:
    shutil.rmtree(work, ignore_errors=True)
