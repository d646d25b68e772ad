#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The walk of glibc's heap against what the program itself, and its malloc_info(), know of it."""
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

import tap

TARGETS = os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-heap-walk.")
SEED = tap.seed()

Chunk = collections.namedtuple("Chunk", "address size arena state")


class Target:
    """heap_blocks, standing still; what it said of itself."""

    def __init__(self, scenario, threads, seed, *more, program="heap_blocks", env=None):
        self.process = subprocess.Popen([program if "/" in program else f"{TARGETS}/{program}", scenario, str(threads),
                                         str(seed), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=env)
        xml, self.blocks, self.pid = "", {}, None
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "ready":
                self.pid = int(rest[0])
                break
            if word == "mallinfo2":
                self.mallinfo = dict(zip(("arena", "uordblks", "fordblks", "fsmblks"), map(int, rest)))
            elif word == "block":
                self.blocks[int(rest[0], 16)] = int(rest[1])
            else:
                xml += line
        self.info = ET.fromstring(xml)

    def end(self):
        self.process.stdin.close()
        return self.process.wait(tap.PATIENCE)


def walk(pid, *options):
    r = subprocess.run([f"{TARGETS}/walk_heap", str(pid), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=tap.PATIENCE)
    out = {"error": r.stderr, "status": r.returncode, "arenas": [], "chunks": [], "parts": [], "mmapped": None}
    for line in r.stdout.splitlines():
        word, *f = line.split(" ")
        if word == "arena":
            out["arenas"].append(dict(address=int(f[1], 16), main=f[2] == "main", system=int(f[3]), top=int(f[4]), why=" ".join(f[5:])))
        elif word == "part":
            out["parts"].append((int(f[0]), int(f[1], 16), int(f[2], 16)))
        elif word == "chunk":
            out["chunks"].append(Chunk(int(f[0], 16), int(f[1]), int(f[2]), f[3]))
        elif word == "mmapped":
            out["mmapped"] = (int(f[0]), int(f[1]), " ".join(f[2:]))
        elif word == "caches":
            out["caches"] = int(f[0])
    return out


def total(element, kind):
    for x in element.findall("total"):
        if x.get("type") == kind:
            return int(x.get("count")), int(x.get("size"))
    return 0, 0


def compare_arenas(w, t):
    """What is wrong with the arenas against malloc_info(), which has them in the same order, and mallinfo2()."""
    wrong, info = [], t.info
    heaps = info.findall("heap")
    if len(heaps) != len(w["arenas"]):
        return [f"{len(w['arenas'])} arenas instead of {len(heaps)}"]
    by_arena = collections.defaultdict(collections.Counter)
    nbytes = collections.defaultdict(collections.Counter)
    for c in w["chunks"]:
        by_arena[c.arena][c.state] += 1
        nbytes[c.arena][c.state] += c.size
    fast = 0
    for i, (a, heap) in enumerate(zip(w["arenas"], heaps)):
        system = next(int(x.get("size")) for x in heap.findall("system") if x.get("type") == "current")
        if a["why"]:
            wrong.append(f"arena {i} left out: {a['why']}")
            continue
        if a["system"] != system:
            wrong.append(f"arena {i}: {a['system']} bytes of the system instead of {system}")
        rest = by_arena[i]["free"] + by_arena[i]["top"], nbytes[i]["free"] + nbytes[i]["top"]
        # up to 2.36 at least, malloc_info() counts the flag of each chunk as a byte of its size; not of the top
        with_flags = rest[0], rest[1] + by_arena[i]["free"]
        if total(heap, "rest") not in (rest, with_flags):
            wrong.append(f"arena {i}: free {rest} instead of {total(heap, 'rest')}")
        n, size = total(heap, "fast")
        fast += n
        if by_arena[i]["cached"] < n or nbytes[i]["cached"] < size:
            wrong.append(f"arena {i}: fewer cached chunks than in fastbins")
    free = sum(n["free"] + n["top"] for n in nbytes.values()) + t.mallinfo["fsmblks"]
    if free != t.mallinfo["fordblks"] or sum(a["system"] for a in w["arenas"]) != t.mallinfo["arena"]:
        wrong.append(f"{free} bytes free, mallinfo2 says {t.mallinfo}")
    if (w["mmapped"][0], w["mmapped"][1]) != total(info, "mmap"):
        wrong.append(f"mmapped {w['mmapped']} instead of {total(info, 'mmap')}")
    if w["mmapped"][2]:
        wrong.append(w["mmapped"][2])
    return wrong


def compare_blocks(w, blocks):
    """What is wrong with the blocks in use, and how many are in use that the program does not know."""
    wrong, last = [], 0
    for c in w["chunks"]:
        if c.address < last:
            wrong.append(f"{c} begins before {last:x}")
        last = c.address + c.size
    found = {c.address + 16: c.size - (16 if c.state == "mmapped" else 8) for c in w["chunks"]
             if c.state in ("in-use", "mmapped")}
    missing = [hex(b) for b in blocks if b not in found]
    sizes = [hex(b) for b, n in blocks.items() if b in found and found[b] != n]
    if missing:
        states = {c.address + 16: c.state for c in w["chunks"]}
        wrong.append(f"{len(missing)} blocks missing, {missing[0]} is {states.get(int(missing[0], 16))}")
    if sizes:
        wrong.append(f"{len(sizes)} of another size, {sizes[0]}")
    return wrong, {b: n for b, n in found.items() if b not in blocks}


def check(name, scenario, threads, *more, runs=3, own=None, caches=None, **kw):
    """@own: so many blocks are the C library's: what it says for itself, stdio's, one a thread."""
    bad = []
    for run in range(runs):
        t = Target(scenario, threads, SEED + run, *more, **kw)
        w = walk(t.pid)
        t.end()
        if w["error"]:
            bad.append(f"run {run}: {w['error']}")
            continue
        wrong = compare_arenas(w, t)
        more_wrong, extra = compare_blocks(w, t.blocks)
        wrong += more_wrong
        expected = 1 + threads if own is None else own
        if len(extra) != expected:
            wrong.append(f"{len(extra)} blocks in use that are nobody's instead of {expected}: {list(extra.values())[:12]}")
        if w["caches"] != (threads + 1 if caches is None else caches):
            wrong.append(f"{w['caches']} caches")
        if wrong:
            bad.append(f"run {run}: " + ", ".join(wrong))
    tap.ok(not bad, f"{name}: every chunk is as the program and malloc_info say" + "".join(f" | {b}" for b in bad))


def scenarios():
    for threads in (0, 8):
        for scenario in ("plain", "churn", "trim", "second", "fragments", "mmapped", "shrunk", "zeroes"):
            check(f"{scenario}, {threads + 1} threads", scenario, threads)


def program_break():
    check("somebody else moves the program break", "foreign", 0)
    check("the program break cannot be moved", "scattered", 0)
    check("the same with threads", "scattered", 8)


def threads_of_before():
    # every second thread has ended: its arena is free, or another's; its cache was freed
    check("threads that have ended", "exit", 8, caches=5, own=9)
    # the child has what the threads of its parent had
    check("a child of fork()", "fork", 8)


def libraries():
    # there the loader's blocks are malloc's, too: five of them
    static = "heap_blocks-static"
    check("static", "churn", 0, program=static, own=6)
    check("static, 9 threads", "churn", 8, program=static, own=14)
    check("static, somebody else moves the program break", "foreign", 0, program=static, own=6)
    libs = tap.private_libc(work)
    if not shutil.which("strip"):
        tap.skip("a library without symbols", "no strip")
        return
    subprocess.run(["strip", "--strip-all", "-R", ".comment", f"{libs}/libc.so.6"], check=True)
    program = f"{work}/stripped"
    subprocess.run(["strip", "-o", program, f"{TARGETS}/heap_blocks-static"], check=True)
    check("a library without symbols", "churn", 8, env={"LD_LIBRARY_PATH": libs})
    check("static without symbols", "churn", 8, program=program, own=14)


def tunables():
    for what, threads, caches in (("arena_max=1", 8, None), ("tcache_count=0", 8, None), ("tcache_count=200", 8, None),
                                  ("tcache_max=100", 4, None), ("mxfast=0", 0, None), ("mmap_threshold=4096", 8, None),
                                  ("top_pad=0", 8, None), ("hugetlb=1", 8, None), ("perturb=85", 0, None)):
        check(what, "churn", threads, env={"GLIBC_TUNABLES": f"glibc.malloc.{what}"}, caches=caches, runs=2)


def blind():
    """Without the threads' registers: only empty caches are taken for blocks in use."""
    t = Target("churn", 8, SEED)
    seeing, unseeing = walk(t.pid), walk(t.pid, "--blind")
    t.end()
    tap.ok(seeing["chunks"] and seeing["chunks"] == unseeing["chunks"], "caches are known by what they look like")


def large():
    check("several heaps an arena", "plain", 2, "40000", runs=1)
    check("several heaps an arena, after churn", "churn", 2, "30000", runs=1)


def tiles(w):
    """Do the chunks of whole arenas cover their parts, each byte once?"""
    at = {}
    for c in w["chunks"]:
        at.setdefault(c.arena, []).append((c.address, c.address + c.size))
    for arena, start, end in w["parts"]:
        mine = sorted(x for x in at.get(arena, []) if start <= x[0] < end)
        # before the first chunk of the program break there may be a few bytes
        if not mine or mine[0][0] - start > 16 or mine[-1][1] != end or \
                any(a[1] > b[0] for a, b in zip(mine, mine[1:])):
            return False
    return True


def damaged():
    """What is read is not trusted: no damage makes the walk crash or hang, or say what cannot be."""
    rng, bad, left_out, rounds = random.Random(SEED), [], 0, int(os.environ.get("HEAPTRAIL_CASES", "150"))
    for i in range(0, rounds, 15):
        t = Target("churn" if i % 2 else "mmapped", 3, SEED + i, "300")
        whole = walk(t.pid)
        heads = [c for c in whole["chunks"] if c.state != "mmapped"]
        with open(f"/proc/{t.pid}/mem", "r+b", 0) as mem:
            for _ in range(15):
                at = rng.choice(heads).address + 8 * rng.randrange(4)
                if rng.random() < 0.3:  # an arena's head, or a thread's cache
                    own = [a["address"] for a in whole["arenas"]] + [c.address for c in heads if c.state == "own"]
                    at = rng.choice(own) + 8 * rng.randrange(280 if rng.random() < 0.5 else 14)
                mem.seek(at)
                old = mem.read(8)
                new = rng.choice([0, 1, 0xffffffffffffffff, rng.choice(heads).address, rng.choice(heads).address + 16,
                                  int.from_bytes(old, "little") ^ 1 << rng.randrange(64), rng.randrange(1 << 48)])
                mem.seek(at)
                mem.write(new.to_bytes(8, "little"))
                r = walk(t.pid)
                if r["status"] not in (0, 1) or (r["status"] == 0 and not tiles(r)):
                    bad.append(f"{at:x} {old.hex()} -> {new:x}: {r['status']}")
                left_out += r["status"] == 1 or any(a["why"] for a in r["arenas"]) or bool(r["mmapped"][2])
                mem.seek(at)
                mem.write(old)
        t.end()
    tap.ok(not bad and left_out > rounds / 5, f"{rounds} damaged heaps, {left_out} not taken for whole {bad[:5]}")


def python():
    """A program that knows nothing of itself: all must fit all the same."""
    code = "import json,sys; x=[str(i)*(i%50) for i in range(50000)]; y=x[::3]; del x; print(1,flush=True); sys.stdin.read()"
    p = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    w = walk(p.pid)
    p.stdin.close()
    p.wait()
    why = [a["why"] for a in w["arenas"] if a["why"]] + [w["error"] or w["mmapped"][2]]
    tap.ok(len(w["chunks"]) > 1000 and not any(why), f"python3: {len(w['chunks'])} chunks {why}")


TESTS = [scenarios, program_break, threads_of_before, libraries, tunables, blind, large, damaged, python]
tap.run_as_root(TESTS)
