#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --mmap: what a program maps, against what it did, its own /proc/self/maps, and strace."""
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
PAGE = 4096
FIXED, DONTUNMAP = 2, 4  # of mremap()
work = tempfile.mkdtemp(prefix="heaptrail-mappings.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "LC_ALL": "C.UTF-8", "HOME": work}
trail = f"{work}/mappings.trail"
seed = tap.seed()


def run(*args, **kw):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE, env=env, **kw)


def record(*target, options=(), **more):
    beside.remove(trail)
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--mmap", "-o", trail, *options, "--", *target], env={**env, **more}, text=True,
                       stdout=subprocess.PIPE, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}")
    return r.stdout


def report(*options, file=None):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", *options, file or trail], text=True, timeout=tap.PATIENCE))


def whole(n):
    return (n + PAGE - 1) // PAGE * PAGE


# ---- what the target says that it did ----------------------------------------------------


class Model:
    """The blocks of one thread, by its own calls."""

    def __init__(self):
        self.blocks, self.calls, self.bytes = set(), 0, 0

    def cut(self, start, end):
        if (start, end) in self.blocks:
            self.blocks.remove((start, end))
            return
        for a, b in [x for x in self.blocks if x[0] < end and start < x[1]]:
            self.blocks.remove((a, b))
            self.blocks.update(x for x in ((a, start), (end, b)) if x[0] < x[1])

    def add(self, start, end, replaces=True):
        if replaces:
            self.cut(start, end)
        self.blocks.add((start, end))
        self.calls += 1
        self.bytes += end - start

    def remap(self, old, n, new, wish, flags):
        old_end, end = old + whole(n), new + whole(wish)
        if flags & DONTUNMAP or not n:
            self.add(new, end)
        elif (old, old_end) in self.blocks:
            self.blocks.remove((old, old_end))
            self.add(new, end)
        elif new != old:
            self.cut(old, old_end)
            self.add(new, end)
        elif end < old_end:
            self.cut(end, old_end)
        elif end > old_end:
            self.add(old_end, end)


def model(text):
    """Of all threads: blocks, calls, bytes; and the address space before and after."""
    models, maps, now = collections.defaultdict(Model), {}, None
    for line in text.splitlines():
        word = line.split()
        if word[0] == "maps":
            now = maps[word[1]] = []
        elif word[0] == "end":
            now = None
        elif now is not None:
            # the kernel's own, and what grows by itself
            if not re.search(r"\[(stack|uprobes|vdso|vvar.*|vsyscall)\]$", line):
                now.append(tuple(int(x, 16) for x in word[0].split("-")))
        elif word[1] == "map":
            start, n = int(word[2], 16), whole(int(word[3]))
            models[word[0]].add(start, start + n, word[4] == "1")
        elif word[1] == "unmap":
            models[word[0]].cut(int(word[2], 16), int(word[2], 16) + whole(int(word[3])))
        else:
            models[word[0]].remap(int(word[2], 16), int(word[3]), int(word[4], 16), int(word[5]), int(word[6]))
    blocks = sorted(b for m in models.values() for b in m.blocks)
    return blocks, sum(m.calls for m in models.values()), sum(m.bytes for m in models.values()), maps


# ---- what is recorded ---------------------------------------------------------------------


def live(file=None):
    """Live blocks at the end by the names of their families."""
    names = dict(beside.sql(file or trail, "SELECT id, name FROM family WHERE layer = 'mmap'"))
    found = collections.defaultdict(list)
    for line in subprocess.check_output([f"{TARGETS}/dump", "--live", file or trail], text=True).splitlines():
        address, size, family = line.split()[:3]
        if int(family) in names:
            found[names[int(family)]].append((int(address, 16), int(address, 16) + int(size)))
    return found


def pages(ranges):
    return {p for a, b in ranges for p in range(a, b, PAGE)}


def wrong_space(maps, blocks):
    """What differs between the blocks of the layer and what is mapped."""
    before, after, known = pages(maps["before"]), pages(maps["after"]), pages(blocks)
    bad = []
    if sum(b - a for a, b in blocks) != len(known) * PAGE:
        bad.append("blocks overlap")
    if known - after:
        bad.append(f"{len(known - after)} pages are not mapped any more: {hex(min(known - after))}")
    if after - before - known:
        missing = after - before - known
        bad.append(f"{len(missing)} pages are not known: {hex(min(missing))}")
    return bad


def compare(text, families=("mmap anonymous", "mmap file"), races=0, space=True):
    """What is wrong with the recording of a target that has said that.

    Where several threads have had the same pages before the first tells that it gave them back, a call may be
    taken for another: @races at most."""
    blocks, calls, n_bytes, maps = model(text)
    found = live()
    own = sorted(b for f in families for b in found[f])
    bad = wrong_space(maps, [b for f in found.values() for b in f]) if space else []
    if own != blocks:
        bad.append(f"{len(own)} blocks, not {len(blocks)}: more {sorted(set(own) - set(blocks))[:3]}, less {sorted(set(blocks) - set(own))[:3]}")
    rows = {r["family"]: r for r in report("--layer", "mmap", "--by", "family")["rows"]}
    sums = [sum(rows[f][k] for f in families if f in rows) for k in ("alloc_calls", "allocated_bytes", "live_bytes", "live_blocks")]
    wanted = [calls, n_bytes, sum(b - a for a, b in blocks), len(blocks)]
    if sums[2:] != wanted[2:] or abs(sums[0] - wanted[0]) > races or (not races and sums != wanted):
        bad.append(f"calls, bytes, live bytes and blocks are {sums}, not {wanted}")
    layer = next(x for x in report()["layers"] if x["layer"] == "mmap")
    total = sum(b - a for f in found.values() for a, b in f)
    if layer["live_bytes"] != total:
        bad.append(f"{layer['live_bytes']} live in the layer, not {total}")
    if report()["summary"]["lost_events"] or beside.losses(trail).get("malformed_events"):
        bad.append(f"lost {beside.losses(trail)}")
    return bad


# ---- tests --------------------------------------------------------------------------------


def known():
    text = record(f"{TARGETS}/mappings", "known")
    bad = compare(text)
    tap.ok(not bad, f"each kind of call once, to the block and byte: {bad}")
    found = live()
    tap.ok([b - a for a, b in found["shmat"]] == [5 * PAGE], f"a segment that is attached twice, and detached once {found['shmat']}")
    tap.ok(sum(b - a for a, b in found["brk"]) in range(196 * 1024 - 2 * PAGE, 196 * 1024 + 2 * PAGE, PAGE),
           f"what sbrk() has added and not given back {found['brk']}")
    tap.ok(32 << 20 in range(*(lambda s: (s - 2 * PAGE, s + 1))(max(b - a for a, b in found["allocator"]))),
           "what malloc() maps is the allocator's")
    heap = report()["summary"]
    tap.ok(heap["live_bytes"] == 32 << 20 and heap["alloc_calls"] == 2, f"and layer heap is as it was {heap}")
    rows = report("--layer", "mmap", "--by", "function")["rows"]
    names = {r["function"] for r in rows}
    tap.ok({"known", "map", "remap", "segments"} <= names and not names & {"mmap", "mmap64", "__mmap", "sbrk", "syscall"},
           f"by the functions that call for them {sorted(n or '' for n in names)}")
    tap.ok(any("own_mmap" in (f["function"] or "") for r in report("--layer", "mmap", "--by", "stack")["rows"] for f in r["frames"][:1]),
           "a call that is not the C library's")
    r = report("--layer", "mmap", "--by", "file")["rows"]
    tap.ok(any((x["file"] or "").endswith("mappings.c") for x in r), "by file")
    leaks = json.loads(run("leaks", "--json", "--layer", "mmap", trail).stdout)
    tap.ok(leaks["total_bytes"] == report("--layer", "mmap")["summary"]["live_bytes"] and leaks["layer"] == "mmap", "leaks --layer mmap")
    blocks = subprocess.check_output([f"{TARGETS}/dump", trail], text=True).splitlines()
    kinds = collections.Counter(x.split()[0] + (":8" if x.split()[1] == "8" else "") for x in blocks)
    tap.ok(kinds["piece"] > 5 and kinds["free:8"] > 5, f"there are pieces {dict(kinds)}")


def at_random():
    for links in ("multi", "perf"):
        env["HEAPTRAIL_LINKS"] = links
        for i in range(3):
            bad = compare(record(f"{TARGETS}/mappings", "random", str(seed + i), "3000", "1"))
            tap.ok(not bad, f"3,000 random calls, links {links}: {bad}")
    del env["HEAPTRAIL_LINKS"]


def threads():
    for i in range(3):
        bad = compare(record(f"{TARGETS}/mappings", "random", str(seed + i), "3000", "8"), races=2)
        tap.ok(not bad, f"8 threads: {bad}")
    for i in range(3):
        bad = compare(record(f"{TARGETS}/mappings", "storm", str(seed + i), "10000", "8"))
        tap.ok(not bad, f"8 threads that are given what others have just given back: {bad}")
    stacks = report("--layer", "mmap", "--by", "family")["rows"]
    tap.ok(any(r["family"] == "thread stack" and r["alloc_calls"] == 8 for r in stacks), f"eight stacks of threads {stacks}")


def attached():
    for mode in (("known",), ("random", str(seed), "3000", "8")):
        with subprocess.Popen([f"{TARGETS}/mappings", *mode, "wait"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as target:
            beside.expect(lambda: beside.state(target.pid) == "S", "the target to wait")
            recorder = beside.attach(target.pid, trail, "--mmap", "--on-full=wait", env=env)
            target.stdin.write("\n")
            target.stdin.close()
            text = target.stdout.read()
            recorder.wait(tap.PATIENCE)
        bad = compare(text, races=2 if len(mode) > 3 else 0)
        tap.ok(not bad, f"attached to, {mode[0]}: {bad}")


def allocators():
    """What they map, also before they are called and in threads of their own, is theirs."""
    for name in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"):
        path = f"/usr/lib/x86_64-linux-gnu/{name}"
        if not os.path.exists(path):
            tap.skip(name, "is not installed")
            continue
        bad = compare(record(f"{TARGETS}/mappings", "known", LD_PRELOAD=path), space=False)
        found = live()
        tap.ok(not bad and sum(b - a for a, b in found["allocator"]) >= 32 << 20, f"{name}: {bad} {dict(found)}")


def static():
    text = record(f"{TARGETS}/mappings-static", "known")
    bad = compare(text)
    tap.ok(not bad, f"linked statically: {bad}")


def from_before():
    """What was mapped before is no block, and that it goes is no error."""
    source = f"{work}/before.c"
    with open(source, "w") as f:
        f.write("""#define _GNU_SOURCE
            #include <sys/mman.h>
            #include <unistd.h>
            int main(void) { char c, *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            char *q = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *r = mmap(0, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            read(0, &c, 1); munmap(p, 1 << 19); munmap(p + (1 << 19), 1 << 19); q = mremap(q, 1 << 20, 3 << 20, MREMAP_MAYMOVE);
            r = mremap(r, 8192, 4096, 0);
            mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); return 0; }""")
    subprocess.run(["gcc", "-O1", "-g", "-o", f"{work}/before", source], check=True)
    with subprocess.Popen([f"{work}/before"], env=env, stdin=subprocess.PIPE) as target:
        beside.expect(lambda: beside.state(target.pid) == "S", "the target to wait")
        recorder = beside.attach(target.pid, trail, "--mmap", env=env)
        target.stdin.close()
        recorder.wait(tap.PATIENCE)
    s = report("--layer", "mmap")["summary"]
    tap.ok([s[k] for k in ("alloc_calls", "live_bytes", "live_blocks", "free_calls", "unknown_frees")] == [2, (3 << 20) + 4096, 2, 0, 0],
           f"mapped before, and moved or gone {s}")


def full():
    """A ring that is too small: the launched target waits, and nothing is lost."""
    bad = compare(record(f"{TARGETS}/mappings", "storm", str(seed), "20000", "8", options=("--ring-size=1",)))
    tap.ok(not bad, f"with little room: {bad}")


def in_parts():
    """Files that go on from others, and one of which the oldest events are dropped, have the blocks of before."""
    for options in (("--every=1s",), ("--max-size=1M",)):
        text = record(f"{TARGETS}/mappings", "storm", str(seed), "20000", "8", "1500", options=options)
        blocks, _, _, _ = model(text)
        files = sorted((x for x in os.listdir(work) if re.match(r"mappings\.\d+\.trail$", x)), key=lambda x: int(x.split(".")[1]))
        own = sorted(live(f"{work}/{files[-1]}" if files else trail)["mmap anonymous"])
        tap.ok(own == blocks and (len(files) > 1) == (options[0] == "--every=1s"), f"{options[0]}: {len(own)} blocks of {len(blocks)}, {len(files)} files")
        for x in files:
            os.unlink(f"{work}/{x}")


def lossy():
    """A ring that is too small, of a target that is not stopped: what is lost is counted, and the rest is sound."""
    with subprocess.Popen([f"{TARGETS}/mappings", "storm", str(seed), "20000", "8", "wait"], env=env, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as target:
        beside.expect(lambda: beside.state(target.pid) == "S", "the target to wait")
        recorder = beside.attach(target.pid, trail, "--mmap", "--on-full=drop", "--ring-size=1", env=env)
        recorder.send_signal(signal.SIGSTOP)
        target.stdin.write("\n")
        target.stdin.close()
        beside.wait_until(lambda: beside.state(target.pid) in ("S", "Z", None) and len(beside.states(target.pid)) == 1)
        recorder.send_signal(signal.SIGCONT)
        target.stdout.read()
        recorder.wait(tap.PATIENCE)
    losses = beside.losses(trail)
    r = report()
    tap.ok(losses["lost_allocs"] > 100 and losses["lost_frees"] > 100 and r["summary"]["lost_events"] > 200 and
           not losses["malformed_events"] and len(live()["mmap anonymous"]), f"what is lost is said {losses}")


def others():
    """exec, and children, as in other layers."""
    record("/bin/sh", "-c", f"{TARGETS}/mappings random {seed} 50 1 >{work}/child; exec {TARGETS}/mappings known >{work}/text")
    with open(f"{work}/text") as f:
        text = f.read()
    blocks, _, _, maps = model(text)
    spaces = beside.sql(trail, "SELECT end FROM space ORDER BY id")
    found = live()
    own = sorted(found["mmap anonymous"] + found["mmap file"])
    tap.ok(own == blocks and [x[0] for x in spaces] == ["exec", "exit"], f"after an exec, without its child's {len(own)} {spaces}")


def modes():
    for options in (("--call-graph=caller",), ("--call-graph=none",), ("--call-graph=fp",), ("--free-stacks",), ("--min-size=1G",)):
        bad = compare(record(f"{TARGETS}/mappings", "random", str(seed), "500", "2", options=options))
        tap.ok(not bad, f"{options[0]}: {bad}")
    r = run("record", "-o", f"{work}/none.trail", "--mmap", "--probe", "f: alloc size=arg1 layer=mmap", "--", "true")
    tap.ok(r.returncode == 2 and "layer mmap" in r.stderr, f"no layer of that name besides {r.stderr!r}")
    text = record(f"{TARGETS}/layers", options=("--probe-file", f"{os.environ['SRCDIR']}/tests/targets/layers.probes"))
    own, layers = json.loads(text), {x["layer"]: x for x in report()["layers"]}
    keys = ("alloc_calls", "free_calls", "allocated_bytes", "live_blocks", "live_bytes")
    bad = [name for name, n in own.items() if [layers[name][k] for k in keys] != n]
    tap.ok(not bad and "mmap" in layers, f"beside the user's own layers {bad}")


def traced():
    """The calls, counted by strace."""
    if not shutil.which("strace"):
        tap.skip("strace", "is not installed")
        return
    script = f"{work}/script.py"
    with open(script, "w") as f:
        f.write("import mmap, json, re, threading\nx = [mmap.mmap(-1, 4096 * i) for i in range(1, 50)]\ndel x[::2]\n"
                "y = [bytes(1 << 20) for _ in range(50)]\nx[0].resize(1 << 20)\n")
    traced_env = {**env, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    log = f"{work}/strace"
    subprocess.run(["strace", "-f", "-o", log, "-e", "trace=mmap,munmap,mremap,brk", "python3", script], env=traced_env, check=True,
                   timeout=tap.PATIENCE)
    with open(log) as f:
        lines = [x for x in f if "= -1" not in x]
    begun = next(i for i, x in enumerate(lines) if "munmap" in x)  # what the loader maps is before the recording
    beside.remove(trail)
    subprocess.run([HEAPTRAIL, "record", "-q", "--mmap", "-o", trail, "--", "python3", script], env=traced_env, check=True,
                   timeout=tap.PATIENCE)
    calls = report("--layer", "mmap")["summary"]["alloc_calls"]
    breaks = [whole(int(x.split()[-1], 16)) for x in lines if " brk(" in x]
    grown = sum(b > a for a, b in zip(breaks, breaks[1:]))
    n = sum(" mmap(" in x or " mremap(" in x for x in lines[begun:]) + grown
    tap.ok(calls == n > 100 and grown, f"python: {calls} calls, {n} by strace, {grown} of them of brk()")


def plug_ins():
    """dlopen(): the loader's, MAP_FIXED over what it has just mapped."""
    source, lib = f"{work}/load.c", f"{work}/plug.so"
    with open(f"{work}/plug.c", "w") as f:
        f.write("char big[1 << 20]; int f(void) { return big[0]; }")
    with open(source, "w") as f:
        f.write(f"""#include <dlfcn.h>
            #include <fcntl.h>
            #include <unistd.h>
            static char buffer[1 << 18];
            static void say(const char *w) {{ int fd = open("/proc/self/maps", O_RDONLY); long n, at = 0;
            while ((n = read(fd, buffer + at, sizeof(buffer) - at)) > 0) at += n; close(fd);
            write(1, w, __builtin_strlen(w)); write(1, buffer, at); write(1, "end\\n", 4); }}
            int main(void) {{ void *p, *q; say("maps before\\n"); p = dlopen("{lib}", RTLD_NOW); dlclose(p); q = dlopen("{lib}", RTLD_NOW);
            say("maps after\\n"); return !q; }}""")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", lib, f"{work}/plug.c"], check=True)
    subprocess.run(["gcc", "-O1", "-g", "-o", f"{work}/load", source], check=True)
    _, _, _, maps = model(record(f"{work}/load"))
    found = live()
    bad = wrong_space(maps, [b for f in found.values() for b in f])
    tap.ok(not bad and sum(b - a for a, b in found["loader"]) > 1 << 20 and not found["mmap file"], f"plug-ins are the loader's: {bad} {dict(found)}")


try:
    tap.run_as_root([known, at_random, threads, attached, allocators, static, from_before, full, in_parts, lossy, others, modes, plug_ins, traced])
finally:
    shutil.rmtree(work)
