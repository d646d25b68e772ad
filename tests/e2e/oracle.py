#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records real programs and compares every number with valgrind's and heaptrack's.

A program sees the same environment under each tool: nothing but PATH, a private
C library, and LD_PRELOAD with the tool's own two objects (valgrind's, which do
nothing outside valgrind), which our runs preload too.  dhat's objects have other
names than memcheck's, so each is compared with a run of ours of its own.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
VALGRIND = next((p for p in ("/usr/bin/valgrind.bin", shutil.which("valgrind")) if p and os.path.exists(p)), None)
LIBEXEC = next((d for d in ("/usr/libexec/valgrind", "/usr/lib/valgrind", "/usr/lib/x86_64-linux-gnu/valgrind",
                            "/usr/lib64/valgrind") if os.path.exists(d + "/vgpreload_core-amd64-linux.so")), None)

VALGRINDS_PATIENCE = 3 * tap.PATIENCE
work = tempfile.mkdtemp(prefix="heaptrail-oracle.")
libs = tap.private_libc(work)
# what the tools write lies elsewhere: a program that lists its folder would count it
outputs = tempfile.mkdtemp(prefix="heaptrail-oracle.")


def environment(tool):
    return {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libs,
            "LD_PRELOAD": f"{LIBEXEC}/vgpreload_core-amd64-linux.so:{LIBEXEC}/vgpreload_{tool}-amd64-linux.so"}


def run(argv, env, stdin=None):
    with open(stdin or "/dev/null") as f:
        return subprocess.run(argv, env=env, stdin=f, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, cwd=work, timeout=VALGRINDS_PATIENCE)


def number(text, pattern):
    m = re.search(pattern, text)
    if not m:
        raise RuntimeError(f"the oracle printed no {pattern!r}: {text[-500:]}")
    return [int(g.replace(",", "")) for g in m.groups()]


def memcheck(argv, extra):
    r = run([VALGRIND, "--run-libc-freeres=no", "--run-cxx-freeres=no", *argv], {**plain("memcheck"), **extra})
    allocs, frees, allocated = number(r.stderr, r"total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes")
    live_bytes, live_blocks = number(r.stderr, r"in use at exit: ([\d,]+) bytes in ([\d,]+) blocks")
    return dict(alloc_calls=allocs, free_calls=frees, allocated_bytes=allocated, leaked_bytes=live_bytes,
                leaked_blocks=live_blocks)


def dhat(argv, extra):
    r = run([VALGRIND, "--tool=dhat", "--dhat-out-file=/dev/null", "--run-libc-freeres=no", "--run-cxx-freeres=no",
             *argv], {**plain("dhat"), **extra})
    peak_bytes, peak_blocks = number(r.stderr, r"At t-gmax: +([\d,]+) bytes in ([\d,]+) blocks")
    return dict(peak_bytes=peak_bytes, peak_blocks=peak_blocks)


def plain(tool):
    env = environment(tool)  # valgrind appends LD_PRELOAD itself
    del env["LD_PRELOAD"]
    return env


def heaptrail(argv, extra, tool):
    trail = f"{outputs}/{tool}.trail"
    env = environment(tool)
    preload = env.pop("LD_PRELOAD")
    r = run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", *argv], {**env, **extra, "LD_PRELOAD": preload})
    if r.stderr:
        raise RuntimeError(f"heaptrail record said: {r.stderr}")
    return beside.report(trail)["summary"]


def heaptrack(argv, extra):
    out = f"{outputs}/heaptrack"
    r = subprocess.run(["heaptrack", "-o", out, *argv], env={**plain("memcheck"), **extra}, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=work, timeout=VALGRINDS_PATIENCE)
    return number(r.stdout, r"temporary allocations:\s+([\d,]+)")[0]


def check(name, argv, extra=None, relative=None, pieces=0):
    """relative: key -> allowed relative difference; every other key must be equal.

    pieces: the program allocates pieces of so many bytes as the kernel happens to lay
    out its address space; a few whole ones more or less are no difference.
    """
    relative = relative or {}
    extra = extra or {}
    want = memcheck(argv, extra)
    got = heaptrail(argv, extra, "memcheck")
    want_peak = dhat(argv, extra)
    got_peak = heaptrail(argv, extra, "dhat")
    for key, value, mine in [(k, v, got[k]) for k, v in want.items()] + \
                            [(k, v, got_peak[k]) for k, v in want_peak.items()]:
        allowed = relative.get(key, 0)
        n = got["leaked_blocks"] - want["leaked_blocks"]
        if pieces and key == "leaked_bytes" and 0 < abs(n) <= 8 and mine - value == n * pieces:
            tap.ok(True, f"{name}: {key} {mine} = valgrind's {value} and {n} pieces of {pieces} bytes")
            continue
        tap.ok(abs(mine - value) <= value * allowed,
               f"{name}: {key} {mine} = valgrind's {value}" + (f" within {allowed * 100:g} %" if allowed else ""))
    for key in ("lost_events", "unknown_frees", "double_frees"):
        tap.ok(got[key] == 0, f"{name}: {key} {got[key]} = 0")
    if not shutil.which("heaptrack"):
        tap.skip(f"{name}: temporary allocations", "heaptrack is not installed")
        return
    theirs = heaptrack(argv, extra)
    tap.ok(abs(got["temporary_allocs"] - theirs) <= max(2, 0.02 * theirs),
           f"{name}: temporary_allocs {got['temporary_allocs']} = heaptrack's {theirs} within 2 %")


def sqlite3():
    sql = ("create table t(a integer primary key, b text, c real);"
           "with recursive n(x) as (select 1 union all select x+1 from n where x<20000)"
           " insert into t select x, 'row number '||x, x*1.5 from n;"
           "create index t_b on t(b);"
           "select count(*), sum(t1.c) from t t1 join t t2 on t1.b = t2.b;")
    check("sqlite3", ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:", sql])


def bash():
    check("bash", ["/bin/bash", "--norc", "-c",
                   's=; for ((i=0;i<7000;i++)); do t="item $i"; s=${t#item }; u=${s//1/one}; done; echo $u'])


def cc1():
    with open(f"{work}/big.c", "w") as f:
        for i in range(300):
            f.write(f"struct s{i} {{ int a; char b[{i % 60 + 1}]; struct s{max(i - 1, 0)} *n; }};\n"
                    f"static int f{i}(int x, struct s{i} *p)\n"
                    f"{{ int y = p ? p->a : {i}; for (int k = 0; k < x; k++) y += k * {i + 3} ^ x; return y; }}\n"
                    f"int g{i}(int x) {{ struct s{i} v = {{ x }}; return f{i}(x + {i}, &v); }}\n")
    program = subprocess.check_output(["gcc", "-print-prog-name=cc1"], text=True).strip()
    # its collector makes a page table of 32 KiB for each 16 MiB of addresses its pages fall in
    check("cc1", [program, "-quiet", f"{work}/big.c", "-o", "/dev/null"], pieces=32768,
          relative=dict(alloc_calls=0.001, free_calls=0.001, allocated_bytes=0.001, leaked_bytes=0.001,
                        leaked_blocks=0.001, peak_bytes=0.02, peak_blocks=0.02))


def jq():
    with open(f"{work}/big.json", "w") as f:
        json.dump([dict(id=i, name=f"name {i}", tags=[f"t{i % 7}", f"u{i % 11}"], value=i * 1.25)
                   for i in range(68000)], f)
    check("jq", ["/usr/bin/jq", "[.[] | select(.id % 3 == 0) | {n: .name, v: (.value * 2)}] | length",
                 f"{work}/big.json"])


def python3():
    with open(f"{work}/work.py", "w") as f:
        f.write("import json\nrows = [dict(a=i, b=str(i) * 3, c=[i, i + 1]) for i in range(8000)]\n"
                "text = json.dumps(rows)\nback = json.loads(text)\nprint(len(back), sum(r['a'] for r in back))\n"
                "words = {}\nfor r in back:\n    words.setdefault(r['b'][:2], []).append(r['a'])\nprint(len(words))\n")
    check("python3", ["/usr/bin/python3", "-s", "-S", f"{work}/work.py"],
          extra={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
          relative=dict(allocated_bytes=0.0001, leaked_bytes=0, peak_bytes=0.0001, peak_blocks=0.0001))


try:
    if not VALGRIND or not LIBEXEC:
        tap.skip_all("valgrind is not installed")
    tap.run_as_root([sqlite3, bash, cc1, jq, python3])
finally:
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(outputs, ignore_errors=True)
