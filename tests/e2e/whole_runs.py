#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs from their first allocation to their end: nearly every stack is complete, and the others say why not."""
import collections
import os
import shutil
import subprocess
import tempfile
import time

import beside
import programs
import tap
from beside import COMPLETE, NOT_READY, REASONS, TOO_DEEP

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
SHARE = 0.999

work = tempfile.mkdtemp(prefix="heaptrail-whole-runs.")
libs = tap.private_libc(work)
env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libs, "PYTHONMALLOC": "malloc", "LC_ALL": "C", "HOME": work,
       "GIT_CONFIG_NOSYSTEM": "1"}


def ends(trail):
    """How many allocs there are of each end."""
    stacks = {i: (p, e) for i, p, e in beside.sql(trail, "SELECT id, parent, end FROM stack")}
    end_of = {0: None}

    def root_end(stack):
        way = []
        while stack not in end_of:
            parent, end = stacks[stack]
            if not parent:
                end_of[stack] = end
                break
            way.append(stack)
            stack = parent
        for s in way:
            end_of[s] = end_of[stack]
        return end_of[stack]

    counts = collections.Counter()
    with subprocess.Popen([f"{TARGETS}/dump", trail], stdout=subprocess.PIPE, text=True) as dump:
        for line in dump.stdout:
            fields = line.split()
            if fields[0] != "free":
                counts[int(fields[8])] += 1
    if dump.returncode:
        raise RuntimeError(f"dump ended with {dump.returncode}")
    out = collections.Counter()
    for stack, n in counts.items():
        out[root_end(stack)] += n
    return out


def run(name, argv, least, **kw):
    """least: the program is known to allocate so often; less would be another program."""
    trail = f"{work}/{name}.trail"
    begin = time.monotonic()
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", *argv], env=env, cwd=work,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                       timeout=tap.PATIENCE, **kw)
    tap.ok(r.returncode == 0 and not r.stderr, f"{name}: ended with {r.returncode} {r.stderr[-300:]}")
    found = ends(trail)
    total, deep = sum(found.values()), found[TOO_DEEP]
    late = beside.losses(trail)["late_tables"]
    excused = found[NOT_READY] if late else 0  # the machine was busy: a thread did not wait any longer for its tables
    share = (found[COMPLETE] + excused) / max(1, total - deep)
    others = {REASONS.get(k, k): n for k, n in found.items() if k not in (COMPLETE, TOO_DEEP)}
    tap.ok(total >= least, f"{name}: {total} allocs, {least} or more")
    tap.ok(share >= SHARE, f"{name}: {share:.4%} of {total - deep} stacks are complete ({deep} more are too deep)"
           f"{f', or not ready {late} times that tables were late: {excused}' if late else ''}")
    tap.ok(not set(found) - {COMPLETE} - set(REASONS), f"{name}: every other one says why {others or ''}")
    os.unlink(trail)
    print(f"# {name}: {time.monotonic() - begin:.1f} s", flush=True)


def cc1plus():
    run("cc1plus", programs.cc1plus(work, 8), 50000)


def python3():
    script = programs.python_script(work, 20)
    run("python3", ["/usr/bin/python3", "-s", "-S", script], 50000)


def bash():
    run("bash", ["/bin/bash", "--norc", "-c", programs.bash_script(50)], 20000)


def sqlite3():
    run("sqlite3", ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:", programs.QUERY * 20], 10000)


def git():
    folder = f"{work}/repository"
    subprocess.run(["git", "init", "-q", folder], env=env, check=True)
    stream = ""
    for i in range(1, 101):
        data = "".join(f"line {n} of {i if n % 9 == i % 9 else n}\n" for n in range(200))
        message = f"Change {i}\n"
        stream += (f"commit refs/heads/main\ncommitter A B <a@b> {1000000000 + i} +0000\ndata {len(message)}\n{message}"
                   f"M 100644 inline file{i % 5}\ndata {len(data)}\n{data}\n")
    subprocess.run(["git", "-C", folder, "fast-import", "--quiet"], env=env, input=stream, text=True, check=True)
    run("git", ["/usr/bin/git", "-C", folder, "--no-pager", "log", "-p", "--stat", "-M", "main"], 5000)


def perl():
    script = ("use strict; my %h; sub f { my ($n, @r) = @_; return $n ? f($n - 1, @r, \"$n\" x 3) : scalar @r }"
              " for my $i (1 .. 300) { f(20); push @{$h{$i % 17}}, { id => $i, name => \"name $i\" };"
              " (my $s = \"$i text $i\") =~ s/(\\d+)/f(3) . $1/ge; my @s = sort { f(1); $a->{id} <=> $b->{id} }"
              " @{$h{$i % 17}}; eval \"sub g$i { return $i . q(x) }\"; } print scalar keys %h;")
    run("perl", ["/usr/bin/perl", "-e", script], 10000)


def main():
    tests = [cc1plus, python3, bash, sqlite3, git, perl]
    for test in list(tests):
        if not shutil.which({"cc1plus": "g++"}.get(test.__name__, test.__name__), path=env["PATH"]):
            tap.skip(test.__name__, "it is not installed")
            tests.remove(test)
    tap.run_as_root(tests)


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
