# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of leaks: those of valgrind's memcheck, and ours, in a form in which they can be compared.

Frames are compared by address.  Where valgrind has mapped a file is found out from the frames themselves: one place
fits them all.  Stacks that read the same (function, file and line) are one record of ours, so valgrind's are added up
by what our recording calls their addresses.  What is left out: the allocating function, which is valgrind's own in its
runs (malloc, or operator new, which ours has as a frame), other functions that valgrind replaces, and the outermost frame
of threads, which valgrind starts by clone() instead of clone3().
"""
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
VALGRIND = next((p for p in ("/usr/bin/valgrind.bin", shutil.which("valgrind")) if p and os.path.exists(p)), None)
LIBEXEC = next((d for d in ("/usr/libexec/valgrind", "/usr/lib/valgrind", "/usr/lib/x86_64-linux-gnu/valgrind",
                            "/usr/lib64/valgrind") if os.path.exists(d + "/vgpreload_core-amd64-linux.so")), None)
work = tempfile.mkdtemp(prefix="heaptrail-memcheck.")
outputs = tempfile.mkdtemp(prefix="heaptrail-memcheck.")  # elsewhere: a program that lists its folder would count it
libs = tap.private_libc(work)
env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libs}
preload = f"{LIBEXEC}/vgpreload_core-amd64-linux.so:{LIBEXEC}/vgpreload_memcheck-amd64-linux.so"
KINDS = {"Leak_DefinitelyLost": "definite", "Leak_IndirectlyLost": "indirect", "Leak_PossiblyLost": "possible",
         "Leak_StillReachable": "reachable"}


def run(argv, environment, **more):
    return subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, cwd=work, timeout=tap.PATIENCE, **more)


def end_of_thread(function):
    return function and re.fullmatch(r"(__)?clone3?", function)


def valgrind(argv, extra):
    """[stack, kind] -> [blocks, bytes]"""
    path = f"{outputs}/leaks.xml"
    r = run([VALGRIND, "--leak-check=full", "--show-leak-kinds=all", "--leak-resolution=high", "--num-callers=500",
             "--show-below-main=yes", "--read-inline-info=no", "--run-libc-freeres=no", "--run-cxx-freeres=no", "--xml=yes", f"--xml-file={path}", *argv],
            {**env, **extra})
    if r.returncode:
        raise RuntimeError(f"valgrind: {r.stderr}")
    found = collections.defaultdict(lambda: [0, 0])
    for error in xml.etree.ElementTree.parse(path).getroot().iter("error"):
        kind = KINDS.get(error.findtext("kind"))
        if not kind:
            continue
        text = error.findtext("xwhat/text").replace(",", "")
        size = int(re.match(r"(\d+)", text).group(1))
        direct = re.match(r"\d+ \((\d+) direct", text)
        # beyond the outermost frame it goes on where there is no code
        stack = [(os.path.realpath(f.findtext("obj")), int(f.findtext("ip"), 16) + 1) for f in error.find("stack").findall("frame")
                 if f.findtext("obj") and "/vgpreload_" not in f.findtext("obj") and not end_of_thread(f.findtext("fn"))]
        total = found[tuple(stack), kind]
        total[0] += int(error.findtext("xwhat/leakedblocks"))
        total[1] += int(direct.group(1)) if direct else size
    return dict(found)


def names_of(trail):
    """[file] -> {address: what it is called}; the inlined functions and all."""
    found = collections.defaultdict(dict)
    rows = beside.sql(trail, "SELECT module.path, frame.offset, symbol.function, symbol.file, symbol.line FROM frame"
                             " JOIN module ON module.id = frame.module LEFT JOIN symbol ON symbol.frame = frame.id"
                             " ORDER BY frame.id, symbol.depth")
    for path, address, function, file, line in rows:
        name = found[os.path.realpath(path)].setdefault(address, [])
        name.append((function, file, line) if function else address)
    return found


def mapped_at(calls, addresses):
    """Where a file is mapped, so that the most calls are at known addresses."""
    bases = collections.Counter(c - a for c in calls for a in addresses if not (c - a) & 0xfff)
    return bases.most_common(1)[0][0] if bases else 0


def in_our_names(theirs, names):
    """valgrind's stacks, by what our recording calls their addresses."""
    calls = collections.defaultdict(set)
    for stack, _ in theirs:
        for path, call in stack:
            calls[path].add(call)
    bases = {path: mapped_at(where, names.get(path, {})) for path, where in calls.items()}
    found = collections.defaultdict(lambda: [0, 0])
    for (stack, kind), (blocks, size) in theirs.items():
        total = found[read(stack, names, bases), kind]
        total[0] += blocks
        total[1] += size
    return dict(found)


def read(stack, names, bases):
    """Function by function; a place that we do not know is its address."""
    return tuple((path, x) for path, call in stack
                 for x in names.get(path, {}).get(call - bases.get(path, 0), [f"{call - bases.get(path, 0):#x}"]))


def heaptrail(argv, extra, *options):
    """[stack, kind] -> [blocks, bytes], with the options of `record`; the JSON; names"""
    trail = f"{outputs}/leaks.trail"
    r = run([HEAPTRAIL, "record", "-q", "--force", *options, "-o", trail, "--", *argv], {**env, **extra, "LD_PRELOAD": preload})
    if r.stderr or r.returncode:
        raise RuntimeError(f"record: {r.returncode} {r.stderr}")
    data = json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", "--no-default-suppressions", trail], env=env))
    names, found = names_of(trail), collections.defaultdict(lambda: [0, 0])
    for leak in data["leaks"]:
        # an operator new is the allocating function, but where it is of the program itself
        frames = [f for f in leak["frames"] if not f["inlined"]]
        while frames and (frames[0]["function"] or "").startswith("operator new") and "libstdc++" in frames[0]["module"]:
            frames.pop(0)
        stack = read([(os.path.realpath(f["module"]), f["offset"]) for f in frames
                      if not end_of_thread(f["function"]) and "/vgpreload_" not in f["module"]], names, {})
        found[stack, leak["kind"]][0] += leak["blocks"]
        found[stack, leak["kind"]][1] += leak["bytes"]
    return dict(found), data, names


def skip_without():
    if not VALGRIND or not LIBEXEC:
        tap.skip_all("valgrind is not installed")


def clean():
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(outputs, ignore_errors=True)


def build(name, source, *flags):
    suffix, compiler = ("cc", "g++") if "class " in source or "template <" in source else ("c", "gcc")
    with open(f"{work}/{name}.{suffix}", "w") as f:
        f.write(source)
    subprocess.run([compiler, *flags, "-o", f"{work}/{name}", f"{name}.{suffix}"], check=True, cwd=work)
    return f"{work}/{name}"
