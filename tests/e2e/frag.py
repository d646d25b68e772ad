#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
heaptrail frag: the parts of resident memory add up to what the kernel says, and are, byte for byte, what another
program makes of the same blocks and pages: this one, from what a target says of itself and from its pagemap.
"""
import collections
import json
import os
import shutil
import struct
import subprocess
import tempfile

import beside
import recording
import tap

HEAPTRAIL, TARGETS = os.environ["HEAPTRAIL"], os.environ["TARGETS"]
PAGE = 4096
work = tempfile.mkdtemp(prefix="heaptrail-frag.")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": tap.private_libc(work), "HOME": work, "LC_ALL": "C.UTF-8"}
trail = f"{work}/f.trail"


# ---- another look at the same memory -----------------------------------------------------


class Mapping:
    def __init__(self, line):
        fields = line.split(None, 5)
        self.start, self.end = (int(x, 16) for x in fields[0].split("-"))
        self.perms, self.inode, self.name = fields[1], int(fields[4]), fields[5].strip() if len(fields) > 5 else ""
        self.fields = {}


def mappings(pid):
    out = []
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if line[0].isupper():
                key, value = line.split(":", 1)
                out[-1].fields[key] = value.strip()
            else:
                out.append(Mapping(line))
    return out


def rss(maps):
    return sum(int(m.fields["Rss"].split()[0]) * 1024 for m in maps)


def is_code(m):
    """Of a file, and not a process's own copy: what the exit runs through may become resident."""
    return m.inode != 0 and not m.perms.startswith("rw-p")


def zero_page():
    """The number of the page of zeros: one of ours that was read and never written."""
    import ctypes
    import mmap
    area = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    assert area[0] == 0
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    with open("/proc/self/pagemap", "rb") as f:
        f.seek(address // PAGE * 8)
        return struct.unpack("Q", f.read(8))[0] & (1 << 55) - 1


def resident_pages(pid, m, zero):
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(m.start // PAGE * 8)
        data = f.read((m.end - m.start) // PAGE * 8)
    for i, (entry,) in enumerate(struct.iter_unpack("Q", data)):
        if entry >> 63 and entry & (1 << 55) - 1 != zero:
            yield m.start + i * PAGE


def cover(found, start, end, kind):
    """Adds to found[page][kind] the bytes of each page in [start, end)."""
    at = start
    while at < end:
        stop = min(end, (at // PAGE + 1) * PAGE)
        found[at // PAGE * PAGE][kind] += stop - at
        at = stop


def split(pages, blocks):
    """What the parts of the heap are, of its resident pages: blocks are (address, requested, usable, function)."""
    found = collections.defaultdict(lambda: [0, 0, 0])
    users = collections.defaultdict(set)
    for address, size, usable, function in blocks:
        header = 16 if (address + usable) % PAGE == 0 else 8
        cover(found, address, address + size, 0)
        cover(found, address + size, address + usable, 1)
        cover(found, address - header, address, 2)
        for page in range((address - header) // PAGE, (address + usable - 1) // PAGE + 1):
            users[page * PAGE].add(function)
    parts = dict.fromkeys(("requested_bytes", "rounding_bytes", "header_bytes", "free_inside_bytes", "free_page_bytes"), 0)
    pinned = collections.Counter()
    pinned_pages = 0
    for page in pages:
        requested, rounding, header = found[page]
        live = requested + rounding + header
        parts["requested_bytes"] += requested
        parts["rounding_bytes"] += rounding
        parts["header_bytes"] += header
        parts["free_inside_bytes" if live else "free_page_bytes"] += PAGE - live
        if 0 < live < PAGE / 2:
            pinned_pages += 1
            if len(users[page]) == 1:
                pinned[next(iter(users[page]))] += PAGE - live
    return parts, pinned_pages, dict(pinned)


def heap_pages(pid, maps, blocks, zero):
    """Of the main heap and of arenas; of other anonymous mappings those that have blocks."""
    mine = {page * PAGE for a, _, usable, _ in blocks for page in range((a - 16) // PAGE, (a + usable - 1) // PAGE + 1)}
    for m in maps:
        if m.name == "[heap]":
            yield from resident_pages(pid, m, zero)
        elif not m.name and m.inode == 0 and m.perms.startswith("rw-p"):
            is_arena = m.start % (64 << 20) == 0 and any(m.start <= a < m.end for a, *_ in blocks)
            yield from (p for p in resident_pages(pid, m, zero) if is_arena or p in mine)


# ---- heaps with holes of a known kind ----------------------------------------------------


def recorded_blocks():
    """Those that are live at the end, by another reader of recordings."""
    state = recording.State()
    for row in recording.rows(trail, "chunk", "id"):
        if row["space"] != state.space:
            state.begin_space(row["space"])
        for _ in state.feed(recording.read_chunk(row)):
            pass
    return {b.address: (b.size, b.usable) for b in state.blocks.values()}


def frag(*options):
    return json.loads(subprocess.check_output([HEAPTRAIL, "frag", "--json", *options], env=env, text=True, timeout=tap.PATIENCE))


def run_mode(mode, *options):
    """Runs the target in that mode; what it says, what this program sees of it, and the report of its exit."""
    command = [HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", f"{TARGETS}/fragmenter", mode]
    blocks, info = [], None
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        for line in p.stdout:
            words = line.split()
            if words[0] == "block":
                blocks.append((int(words[1], 16), int(words[2]), int(words[3]), words[4]))
            elif words[0] == "mallinfo":
                info = [int(x) for x in words[1:]]
            else:
                break
        pid = beside.expect(lambda: beside.child(p.pid, "fragmenter"), "the target")
        maps = mappings(pid)
        pages = list(heap_pages(pid, maps, blocks, zero_page()))
        p.stdin.write("\n")
        p.stdin.flush()
        p.wait(timeout=tap.PATIENCE)
    return blocks, info, pages, rss(m for m in maps if not is_code(m)), frag(trail), p.returncode


def same(words, found, expected):
    tap.ok(found == expected, f"{words}: {found}" + ("" if found == expected else f", expected {expected}"))


def check_mode(mode):
    blocks, info, pages, resident, data, status = run_mode(mode)
    live = recorded_blocks()
    own = {a: (size, usable) for a, size, usable, _ in blocks}
    extra = [(a, size, usable, "libc") for a, (size, usable) in live.items() if a not in own]
    same(f"{mode}: it ends as without", status, 0)
    tap.ok(all(live.get(a) == b for a, b in own.items()) and len(extra) <= (16 if mode == "arenas" else 0),
           f"{mode}: {len(own)} live blocks are in the recording, and {len(extra)} others")
    parts, pinned_pages, pinned = split(pages, blocks + extra)
    found = {k: data["parts"][k] for k in parts}
    same(f"{mode}: each part of the heap", found, parts)
    same(f"{mode}: the heap's resident bytes", data["heap_resident_bytes"], len(pages) * PAGE)
    same(f"{mode}: nothing is unexplained or unknown", (data["parts"]["unexplained_bytes"], data["parts"]["unknown_bytes"]), (0, 0))
    same(f"{mode}: the parts add up", sum(data["parts"].values()), data["rss_bytes"])
    same(f"{mode}: resident but for code, as a moment before", data["rss_bytes"] - data["parts"]["file_bytes"], resident)
    same(f"{mode}: mostly empty pages", data["pinned_pages"], pinned_pages)
    alone = {s["frames"][0]["function"]: s["wasted_alone_bytes"] for s in pinned_by(data) if s["wasted_alone_bytes"]}
    same(f"{mode}: who pins them", alone, pinned)
    requested = sum(b[1] for b in blocks + extra)
    usable = sum(b[2] for b in blocks + extra)
    same(f"{mode}: internal fragmentation", data["internal_ppm"], round((usable - requested) / usable * 1e6))
    used = parts["requested_bytes"] + parts["rounding_bytes"]
    same(f"{mode}: external fragmentation", data["external_ppm"], round((1 - used / (len(pages) * PAGE)) * 1e6))
    check_mallinfo(mode, info, data, blocks + extra)


def pinned_by(data):
    """Its rows, with the frame of the target's own function first."""
    for s in data["pinned_by"]:
        own = [f for f in s["frames"] if f["function"] in ("keep", "fill", "map", "zero")]
        yield {**s, "frames": own or [{"function": "libc"}]}


def check_mallinfo(mode, info, data, blocks):
    """What malloc says of itself: bytes that it holds, that are mapped for single blocks, in use, free."""
    arena, mapped, used, free = info
    held = sum(r["end"] - r["start"] for r in data["regions"] if r["kind"] in ("heap (brk)", "arena"))
    same(f"{mode}: malloc holds", held, arena)
    single = sum(u + 16 for a, _, u, _ in blocks if (a + u) % PAGE == 0)
    same(f"{mode}: mapped for single blocks", single, mapped)
    same(f"{mode}: in use and free are all of it", used + free, arena)
    # in use are also its own records of a thread and of an arena, and chunks that a thread keeps for itself
    chunks = sum(u + 8 for a, _, u, _ in blocks if (a + u) % PAGE)
    own = 656 + (4 * (656 + 2312 + 7 * 712) if mode == "arenas" else 0)
    same(f"{mode}: in use, but for live blocks", used - chunks, own)


def modes():
    for mode in ("half", "survivor", "mapped", "retained", "trimmed", "arenas", "zero"):
        check_mode(mode)


# ---- every program: the parts add up -----------------------------------------------------

WAIT = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()"
PROGRAMS = [
    ("python3", ["python3", "-c", "x = [bytes(i % 5000) for i in range(20000)]; del x[::2]; " + WAIT]),
    ("python3, a child shares its pages", ["python3", "-c", """
import os, sys
x = [str(i) * 20 for i in range(100000)]
r, w = os.pipe()
if not os.fork():
    os.close(w)
    os.read(r, 1)
    os._exit(0)
os.close(r)
""" + WAIT]),
    ("python3, shared and mapped memory", ["python3", "-c", """
import mmap, os, sys
a = mmap.mmap(-1, 1 << 20); a[:] = b'x' * len(a)
f = open(sys.executable, 'rb'); b = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(b[::4096])
c = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); sum(c[: 4 << 20: 4096])
""" + WAIT]),
    ("python3, huge pages", ["python3", "-c", """
import mmap, sys
a = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); a.madvise(14); a[:] = b'x' * len(a)
""" + WAIT]),
    ("python3, threads", ["python3", "-c", """
import sys, threading
e = threading.Event()
for _ in range(8): threading.Thread(target=lambda: ([str(i) * 9 for i in range(20000)], e.wait()), daemon=True).start()
""" + WAIT]),
    ("perl", ["perl", "-e", "$|=1; my %h; $h{$_} = 'x' x ($_ % 700) for 1..50000; delete $h{$_ * 3} for 1..16000; print \"ready\\n\"; <STDIN>"]),
    ("bash", ["bash", "-c", "x=$(seq 1 20000); echo ready; read line"]),
    ("sqlite3", ["sqlite3"], "create table t(x); insert into t with recursive c(x) as (select 1 union all select x + 1 from c "
                             "limit 50000) select hex(randomblob(50)) from c;\n.system echo ready\n"),
    ("gawk or mawk", ["awk", "BEGIN { for (i = 0; i < 50000; i++) a[i] = i \"xxxxxxxxxxxxxxxxxxxxxxxx\"; print \"ready\"; fflush(); getline }"]),
    ("fragmenter", [f"{TARGETS}/fragmenter", "arenas"]),
]


def check_attached(words, command, script=""):
    """It sleeps: while it is recorded, before the snapshot, the kernel says the same of it."""
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        p.stdin.write(script)
        p.stdin.flush()
        while p.stdout.readline() not in ("ready\n", ""):
            pass
        pid = p.pid
        beside.expect(lambda: beside.state(pid) == "S", "the target to sleep")
        with subprocess.Popen([HEAPTRAIL, "frag", "--json", "-p", str(pid), "-d", "1s"], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as q:
            said = q.stderr.readline()  # the probes are there: each has made a page of code its own
            resident = rss(mappings(pid))
            data = json.load(q.stdout)
        tap.ok("recording" in said and q.returncode == 0, f"{words}: {said.strip()}")
        p.stdin.close()
        p.wait(timeout=tap.PATIENCE)
    same(f"{words}: resident bytes, as smaps says", data["rss_bytes"], resident)
    same(f"{words}: the parts add up", (sum(data["parts"].values()), data["parts"]["unexplained_bytes"]), (resident, 0))


def attached():
    for words, command, *script in PROGRAMS:
        if shutil.which(command[0]):
            check_attached(words, command, *script)
        else:
            tap.skip(words, f"no {command[0]}")


def main():
    try:
        tap.run_as_root([modes, attached])
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
