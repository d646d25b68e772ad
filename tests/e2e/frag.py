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
import signal
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
    same(f"{mode}: the heap's resident bytes, as written beside the snapshot", data["snapshots"][-1]["heap_bytes"], len(pages) * PAGE)
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


# ---- when snapshots are taken ------------------------------------------------------------


def record(*args):
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *args], env=env, text=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"record ended with {r.returncode}: {r.stderr}")


# A step for each line of its input: a tenth more is live then, and a little that comes and goes.
STEPS = """
import sys
x = [[bytes(4000) for k in range(500)]]
y = []
for line in sys.stdin:
    if line == "grow\\n":
        x += [[bytes(4000) for k in range(sum(map(len, x)) // 6)]]
    y = [bytes(900) for k in range(100)]
x.clear()
"""


def n_snapshots(reason):
    return beside.wait_until(lambda: os.path.exists(trail)) and beside.sql(
        trail, f"SELECT count(*) FROM snapshot WHERE reason = '{reason}'")[0][0]


def snapshots_of(reason, n, word, *options):
    """Of a program that takes its steps until there are @n snapshots for that reason; their rows."""
    beside.remove(trail)
    with subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, *options, "--", "python3", "-c", STEPS], env=env, text=True,
                          stdin=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        for i in range(1, n + 1):
            p.stdin.write(word + "\n")
            p.stdin.flush()
            beside.expect(lambda: p.poll() is not None or n_snapshots(reason) >= i, f"snapshot {i}")
        said = p.communicate(timeout=tap.PATIENCE)[1]
    if p.returncode:
        raise RuntimeError(f"record ended with {p.returncode}: {said}")
    return beside.sql(trail, "SELECT time_ns, reason, held_ns, rss_bytes, heap_bytes, live_bytes FROM snapshot ORDER BY id")


def moments():
    taken = snapshots_of("peak", 6, "grow", "--frag-peaks")
    peaks = [t[5] for t in taken if t[1] == "peak"]
    tap.ok(len(peaks) >= 6 and taken[-1][1] == "exit" and len(taken) == len(peaks) + 1, f"{len(peaks)} near peaks, one of the exit")
    tap.ok(all(b > a * 1.05 for a, b in zip(peaks, peaks[1:])), f"each a tenth above the one before: {peaks}")
    taken = snapshots_of("every", 8, "grow", "--frag-every", "50ms")
    reasons = [t[1] for t in taken]
    tap.ok(reasons.count("every") >= 8 and reasons[-1] == "exit" and len(set(reasons)) == 2,
           f"{reasons.count('every')} every 50 ms, then {reasons[-1]}")
    tap.ok(all(a[0] < b[0] for a, b in zip(taken, taken[1:])), "in the order of time")
    start = dict(beside.sql(trail, "SELECT key, value FROM recording"))["start_ns"]
    for words, at, options in (("the last", len(taken) - 1, []),
                               ("the third", 2, ["--at", f"{(taken[2][0] - start) // 1000 + 1}us"]),
                               ("that of the peak", max(range(len(taken)), key=lambda i: (taken[i][5], i)), ["--at", "peak"])):
        data = frag(*options, trail)
        same(f"{words}: its time and live bytes", (data["time_ns"] + start, data["live_bytes"]), (taken[at][0], taken[at][5]))
        same(f"{words}: the parts add up", (sum(data["parts"].values()), data["parts"]["unexplained_bytes"]), (taken[at][3], 0))
    report = json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", "--at", f"{(taken[2][0] - start) // 1000 + 1}us",
                                                 trail], env=env, text=True))
    tap.ok(abs(report["summary"]["live_bytes"] - taken[2][5]) < 4096 * 500, "report --at agrees")
    text = subprocess.check_output([HEAPTRAIL, "frag", "--map", trail], env=env, text=True)
    tap.ok(all(x in text for x in ("Resident memory", "who pins".upper(), "The heap by address", "<- shown")), "as text, with a map")
    ascii_text = subprocess.check_output([HEAPTRAIL, "frag", "--ascii", "--map", trail], env=env)
    tap.ok(all(b < 128 for b in ascii_text), "--ascii is ASCII")


def trend():
    """A program that holds what it held; and how long blocks live."""
    # in its exit it has given all back
    taken = [t[0] for t in snapshots_of("every", 36, "stay", "--frag-every", "50ms") if t[1] == "every"]
    start = dict(beside.sql(trail, "SELECT key, value FROM recording"))["start_ns"]
    data = frag("--lifetimes", "--at", f"{(taken[-1] - start) // 1000 + 1}us", trail)
    tap.ok(not data["trend"]["growing"] and data["trend"]["shape"] != "too_short", f"it does not grow: {data['trend']}")
    tap.ok(data["pinned_by"] and all("usual_lifetime_ns" in s for s in data["pinned_by"]), "--lifetimes")


def refused():
    def frag_status(*args):
        return subprocess.run([HEAPTRAIL, "frag", *args], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=tap.PATIENCE)
    with subprocess.Popen(["sleep", "1000"], env=env) as p:
        record("-p", str(p.pid), "-d", "100ms")
        p.terminate()
    r = frag_status(trail)
    tap.ok(r.returncode == 1 and "has no snapshot" in r.stdout and "--frag-every" in r.stdout, f"without a snapshot: {r.stdout}")
    record("--frag-every", "20ms", "--", "sleep", "0.3")
    r = frag_status("--at", "1us", trail)
    tap.ok(r.returncode == 2 and "no snapshot so early" in r.stdout, f"before the first: {r.stdout}")
    shutil.copy(trail, f"{work}/bad.trail")
    subprocess.run(["sqlite3", f"{work}/bad.trail", "UPDATE snapshot SET data = zeroblob(length(data))"], check=True)
    r = frag_status(f"{work}/bad.trail")
    tap.ok(r.returncode == 4, f"a damaged one: {r.stdout}")
    for args in ([], [trail, "-p", "1"], ["--frag-every", "1ms", "--", "true"], ["--at", "noon", trail]):
        r = frag_status(*args)
        tap.ok(r.returncode == 2, f"usage {args}: {r.stdout.splitlines()[0]}")
    record("--no-ptrace", "--", "true")
    r = frag_status(trail)
    tap.ok(r.returncode == 1, f"followed by signals there is no stop in the exit: {r.stdout}")


def asked():
    """SIGUSR1 to the recorder."""
    with subprocess.Popen([f"{TARGETS}/fragmenter", "half"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as t:
        while t.stdout.readline() not in ("ready\n", ""):
            pass
        with subprocess.Popen([HEAPTRAIL, "record", "--force", "-o", trail, "-p", str(t.pid)], env=env, text=True,
                              stderr=subprocess.PIPE) as p:
            p.stderr.readline()
            p.send_signal(signal.SIGUSR1)
            beside.expect(lambda: beside.sql(trail, "SELECT count(*) FROM snapshot")[0][0], "a snapshot")
            resident = rss(mappings(t.pid))
            p.send_signal(signal.SIGINT)
            p.wait(timeout=tap.PATIENCE)
        t.stdin.write("\n")
    data = frag(trail)
    same("asked for: one snapshot", [s["reason"] for s in data["snapshots"]], ["asked"])
    same("its resident bytes", data["rss_bytes"], resident)


def walked():
    """Attached with --walk-heap: blocks from before are known, and so is what is free."""
    blocks = []
    with subprocess.Popen([f"{TARGETS}/fragmenter", "half"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as t:
        for line in t.stdout:
            words = line.split()
            if words[0] == "ready":
                break
            if words[0] == "block":
                blocks.append((int(words[1], 16), int(words[2]), int(words[3]), words[4]))
        pages = list(heap_pages(t.pid, mappings(t.pid), blocks, zero_page()))
        recorder = beside.attach(t.pid, trail, "--walk-heap", "--max-pause", "10s", "--frag-every", "100ms", env=env)
        beside.expect(lambda: n_snapshots("every"), "a snapshot")
        beside.interrupt(recorder)
        recorder.wait(tap.PATIENCE)
        at_once = json.loads(subprocess.check_output([HEAPTRAIL, "frag", "--json", "--walk-heap", "--max-pause", "10s", "-p", str(t.pid),
                                                      "-d", "100ms"], env=env, text=True, timeout=tap.PATIENCE))
        t.stdin.write("\n")
    data = frag(trail)
    parts, pinned_pages, _ = split(pages, blocks)
    parts["before_bytes"] = parts.pop("requested_bytes") + parts.pop("rounding_bytes")
    same("walked: each part of the heap", {k: data["parts"][k] for k in parts}, parts)
    same("walked: the same of frag -p", {k: at_once["parts"][k] for k in parts}, parts)
    same("walked: all of it is known", (data["unknown_because"], data["parts"]["unknown_bytes"], data["parts"]["requested_bytes"]),
         (None, 0, 0))
    same("walked: internal fragmentation is not of those", (data["internal_ppm"], data["size_classes"]), (0, []))
    same("walked: mostly empty pages", data["pinned_pages"], pinned_pages)


def mapped():
    """With --mmap other anonymous memory has names."""
    record("--mmap", "--", "python3", "-c", "import ctypes, mmap\ndef take(n):\n    return mmap.mmap(-1, n, flags=mmap.MAP_PRIVATE | "
           "mmap.MAP_ANONYMOUS)\na = take(16 << 20); a[:9 << 20] = b'x' * (9 << 20); b = take(5 << 20); b[:] = b'y' * (5 << 20)\n"
           "import os; os._exit(0)")
    data = frag(trail)
    by = data["mapped_by"]
    named = sum(m["resident_bytes"] + m["swapped_bytes"] for m in by)
    tap.ok(by and "mmap" in by[0]["frames"][0]["function"] + by[0]["frames"][1]["function"] and
           any(m["resident_bytes"] == 14 << 20 for m in by), f"who mapped: {[m['resident_bytes'] for m in by]}")
    tap.ok(named <= data["parts"]["anonymous_bytes"] <= named + (1 << 20), f"{named} of {data['parts']['anonymous_bytes']} bytes have a name")


def one_shot():
    r = subprocess.run([HEAPTRAIL, "frag", "--json", "--", f"{TARGETS}/fragmenter", "survivor"], env=env, text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE)
    said = r.stderr[r.stderr.index("{"):r.stderr.rindex("}") + 1]
    data = json.loads(said)
    tap.ok(r.returncode == 0 and r.stdout.endswith("ready\n") and data["reason"] == "exit", "frag -- COMMAND leaves its output alone")
    alone = [s["pages_alone"] for s in pinned_by(data) if s["frames"][0]["function"] == "keep"]
    tap.ok(len(alone) == 1 and 2900 < alone[0] < 3100, f"its 3000 survivors are alone on {alone} pages")


# ---- another allocator, by what it says itself -------------------------------------------

JEMALLOC = """
#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char *blocks[600000];
int main(void)
{
	size_t v[3], len = sizeof(size_t), epoch_len = 8;
	unsigned long long epoch = 1;
	const char *names[] = {"stats.allocated", "stats.active", "stats.resident"};
	char line;
	for (int i = 0; i < 600000; i++)
		memset(blocks[i] = malloc(50 + i % 900), 1, 50 + i % 900);
	for (int i = 0; i < 600000; i++)
		if (i % 4) free(blocks[i]);
	mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
	mallctl("epoch", &epoch, &epoch_len, &epoch, sizeof(epoch));
	for (int i = 0; i < 3; i++)
		mallctl(names[i], &v[i], &len, NULL, 0);
	dprintf(1, "%zu %zu %zu\\nready\\n", v[0], v[1], v[2]);
	return read(0, &line, 1) < 0;
}
"""


def jemalloc():
    with open(f"{work}/j.c", "w") as f:
        f.write(JEMALLOC)
    if subprocess.run(["gcc", "-O1", "-g", "-o", f"{work}/j", f"{work}/j.c", "-ljemalloc"]).returncode:
        tap.skip("jemalloc", "libjemalloc-dev is not installed")
        return
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{work}/j"], env=env, text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=tap.PATIENCE)
    allocated, active, resident = (int(x) for x in r.stdout.split()[:3])
    data = frag(trail)
    for words, own, its in (("allocated", data["usable_bytes"], allocated), ("resident", data["heap_resident_bytes"], resident)):
        # its resident is an upper bound: it counts pages that it has mapped for itself and not touched yet
        tap.ok(-its * 0.02 <= own - its <= its * 0.005, f"jemalloc: {words} {own}, {its} by its own statistics ({own / its - 1:+.2%})")
    inside = data["heap_resident_bytes"] - data["parts"]["free_page_bytes"]
    print(f"# pages with live blocks {inside}, active {active} ({inside / active - 1:+.2%})")


# ---- a server after its rush hour --------------------------------------------------------


def story():
    """The example of the manual: who pins, and what became of it."""
    ratios, first = {}, {}
    for way in ("before", "apart"):
        record("--", f"{TARGETS}/sessions", way)
        data = frag(trail)
        ratios[way] = data["rss_bytes"] / data["live_bytes"]
        own = [f for f in data["pinned_by"][0]["frames"] if f["function"] in ("remember", "begin", "main")]
        first[way] = own[0]["function"]
    tap.ok(ratios["before"] >= 4, f"resident memory is {ratios['before']:.2f} times what is live (4 at least)")
    tap.ok(first["before"] == "remember", f"frag names the site: {first['before']}")
    tap.ok(ratios["apart"] <= 1.3, f"with notes kept apart it is {ratios['apart']:.2f} times (1.3 at most)")


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
        tap.run_as_root([modes, moments, trend, refused, asked, walked, mapped, one_shot, jemalloc, story, attached])
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
