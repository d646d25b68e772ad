#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What heaptrail-recording(5) says of events and checkpoints is what the files have: a reader written from that page
alone finds the same events as heaptrail's own, and replays them to the very states that the checkpoints hold.
"""
import json
import os
import shutil
import subprocess
import tempfile

import beside
import programs
import recording
import tap
from recording import HEAP, TOTALS, check

HEAPTRAIL, TARGETS, SRCDIR = os.environ["HEAPTRAIL"], os.environ["TARGETS"], os.environ["SRCDIR"]
KINDS = ("alloc", "free", "realloc", "in-pool", None, None, "piece")
work = tempfile.mkdtemp(prefix="heaptrail-format.")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": tap.private_libc(work), "HOME": work, "LC_ALL": "C.UTF-8"}
trail = f"{work}/t.trail"


def line(e, ended):
    """An event as dump prints it."""
    size, usable = e.size or 0, e.usable or 0
    if e.makes() and (e.usable is None or e.usable >> 63):
        usable = -1 if e.usable is None else e.usable - (1 << 64)
    address = e.address if e.address is not None else ended.address
    return (f"{KINDS[e.kind]} {e.cls} {e.thread} {size} {ended.size if ended else 0} {e.time} {address:x} {usable} "
            f"{e.stack} {ended.address if ended else 0:x} {e.family} {-1 if e.slot is None else e.slot}\n")


def compare_state(state, row):
    data = recording.unpack_checkpoint(row)
    check(row["time_ns"] == state.last, f"the checkpoint after chunk {row['chunk']} is of another time")
    if row["kind"] == HEAP:
        found, own = recording.read_heap(data), recording.heap_of(state)
    else:
        found, own = recording.read_totals(data), (state.totals(), state.group_values())
        found, own = ({"totals": x[0], **dict(zip(("stack", "thread", "size", "family"), x[1]))} for x in (found, own))
    for key in own:
        if found[key] != own[key]:
            raise recording.Wrong(f"checkpoint {row['kind']} after chunk {row['chunk']}: {key} is {str(found[key])[:300]}, "
                                  f"not {str(own[key])[:300]}")


def read(words, least_chunks=1, least_checkpoints=1):
    """Reads the recording; returns the state at its end, and what it has seen: names of kinds and classes."""
    numbers = {"heap": 0}
    layers = {i: numbers.setdefault(layer, len(numbers)) for i, layer in beside.sql(trail, "SELECT id, layer FROM family ORDER BY id")}
    state, seen, n_chunks, bad, checkpoints = recording.State(layers), set(), 0, None, {}
    for row in recording.rows(trail, "checkpoint", "chunk, kind"):
        checkpoints.setdefault(row["chunk"], []).append(row)
    n_checkpoints = len(checkpoints)
    dropped = dict(beside.sql(trail, "SELECT key, value FROM recording")).get("dropped_chunks", 0)
    if dropped:
        totals, heap = map(recording.unpack_checkpoint, checkpoints[dropped])
        checkpoints = {chunk: found for chunk, found in checkpoints.items() if chunk > dropped}
        state.restore(recording.read_heap(heap), *recording.read_totals(totals))
    last_chunk, last_space = beside.sql(trail, "SELECT max(chunk.id), max(space.id) FROM chunk, space")[0]
    with subprocess.Popen([f"{TARGETS}/dump", "--long", trail], stdout=subprocess.PIPE, text=True) as dump:
        try:
            for row in (r for r in recording.rows(trail, "chunk", "id") if r["id"] > dropped):
                n_chunks += 1
                check(row["id"] == dropped + n_chunks, f"chunk {row['id']} is the one after {dropped + n_chunks - 1}")
                events = recording.read_chunk(row)
                if row["space"] != state.space:
                    state.begin_space(row["space"])
                for e, ended in state.feed(events):
                    own, other = line(e, ended), dump.stdout.readline()
                    check(own == other, f"event {state.events} is {other!r} to heaptrail, {own!r} to the page's reader")
                    seen.add(f"{KINDS[e.kind]} {e.cls}")
                here = checkpoints.pop(row["id"], [])
                if here and row["id"] == last_chunk and state.space != last_space:  # that has no event
                    state.begin_space(last_space)
                check([r["kind"] for r in here] in ([], [TOTALS, HEAP]), f"one checkpoint only after chunk {row['id']}")
                for r in here:
                    compare_state(state, r)
            check(not dump.stdout.read() and not checkpoints, "more events or checkpoints than chunks")
        except recording.Wrong as e:
            bad = e
            dump.kill()
    tap.ok(bad is None and n_chunks >= least_chunks and n_checkpoints >= least_checkpoints and (bad or dump.returncode == 0),
           f"{words}: {state.events:,} events in {n_chunks} chunks, {n_checkpoints} checkpoints; {', '.join(sorted(seen))}"
           + (f": {bad}" if bad else ""))
    return state, seen


def record(*command, options=(), **more):
    beside.remove(trail)
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, *options, "--", *command], env={**env, **more}, timeout=tap.PATIENCE,
                       stdout=subprocess.PIPE, text=True)
    check(r.returncode == 0, f"record ended with {r.returncode}")
    return r.stdout


def report(state):
    """The same totals as heaptrail's own."""
    s = beside.report(trail)["summary"]
    own = dict(alloc_calls=state.alloc_calls, free_calls=state.free_calls, allocated_bytes=state.allocated,
               live_bytes=state.live_bytes, live_blocks=state.heap_blocks, peak_bytes=state.peak_bytes,
               temporary_allocs=state.temporary)
    return {k: s[k] for k in own} == own


def single():
    record("sqlite3", ":memory:", programs.QUERY)
    state, _ = read("a program of one thread")
    tap.ok(report(state), "with the totals of the report")


def threads():
    own = json.loads(record(f"{TARGETS}/threads"))
    state, seen = read("eight threads, frees by others, reallocs", least_chunks=2)
    tap.ok("realloc 0" in seen and state.alloc_calls >= own["alloc_calls"] and report(state), f"{own}")


def before():
    """Blocks from before the recording are allocs of no thread."""
    target = subprocess.Popen([f"{TARGETS}/heap_blocks", "busy", "4", "1", "2000"], env=env, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    target.stdout.readline()
    subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--walk-heap", "--max-pause", "10s", "-d", "1s", "-p",
                    str(target.pid)], check=True, timeout=tap.PATIENCE)
    target.kill()
    target.communicate()
    state, _ = read("a process that was attached to, with its heap")
    before = json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", trail]))["recording"]["from_before"]
    tap.ok(report(state) and state.free_calls > 0 and state.heap_blocks == before["blocks"] + state.alloc_calls - state.free_calls
           and state.groups[1][0].calls == 0, f"with the totals of the report; {before}")


def layers():
    """Allocators of the program's own: in the same stream of events, with frees that are none."""
    record(f"{TARGETS}/layers", "10", options=("--probe-file", f"{SRCDIR}/tests/targets/layers.probes"))
    state, seen = read("seven layers above the heap", least_chunks=5, least_checkpoints=2)
    tap.ok("free 5" in seen and len(set(state.layers.values())) == 8 and report(state), f"layers {state.layers}")


def mappings():
    """Pieces of what was mapped, as old as the whole."""
    record(f"{TARGETS}/mappings", "random", str(tap.seed()), "3000", "4", options=("--mmap",))
    state, seen = read("mappings that lose parts")
    tap.ok({"piece 0", "free 8", "realloc 0"} <= seen and report(state), f"layers {set(state.layers.values())}")
    record(f"{TARGETS}/mappings", "storm", "1", "20000", "8", options=("--mmap",))
    state, seen = read("of several threads", least_chunks=2)
    tap.ok("piece 0" in seen and report(state), "with the totals of the report")


def execs():
    record("/bin/sh", "-c", f"exec {TARGETS}/simple malloc 10 100 double exec {TARGETS}/simple malloc 5 300 free 1")
    state, seen = read("execs, and a block freed twice")
    tap.ok(state.space == 3 and state.execd >= 10 and "free 4" in seen and report(state), "in three spaces")


def silent():
    """The last program allocates nothing."""
    with open(f"{work}/silent.c", "w") as f:
        f.write("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-o", f"{work}/silent", f"{work}/silent.c"], check=True)
    record(f"{TARGETS}/simple", "malloc", "10", "100", "exec", f"{work}/silent")
    state, _ = read("a program that allocates nothing after one that does")
    tap.ok(state.space == 2 and state.execd >= 10 and not state.blocks and report(state), "its space is the last one")


def many():
    record("python3", programs.python_script(work, 6), PYTHONMALLOC="malloc")
    state, _ = read("python3", least_chunks=2)
    tap.ok(report(state), "with the totals of the report")
    record(f"{TARGETS}/sizes", "64", "280000")
    state, _ = read("a program with checkpoints on the way", least_chunks=5, least_checkpoints=2)
    tap.ok(report(state), "with the totals of the report, too")


def dropped():
    """The oldest chunks are gone: what they came to is in the first checkpoint."""
    record(f"{TARGETS}/sizes", "64", "600000", options=("--max-size", "1M"))
    state, _ = read("a program of which the oldest events were dropped")
    facts = dict(beside.sql(trail, "SELECT key, value FROM recording"))
    tap.ok(facts.get("dropped_chunks", 0) > 0 and state.events == facts["events"] and report(state), f"{facts.get('dropped_chunks')} chunks")


def attached():
    with subprocess.Popen([f"{TARGETS}/steady", "--gentle"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as target:
        target.stdout.readline()
        recorder = beside.attach(target.pid, trail)
        beside.expect(lambda: beside.sql(trail, "SELECT sum(frees) > 2000 FROM chunk")[0][0], "frees of what is known")
        beside.interrupt(recorder)
        recorder.wait(tap.PATIENCE)
        target.stdin.close()
    state, seen = read("attached to")
    tap.ok("free 2" in seen and report(state), "with blocks from before")


def odd():
    """All kinds and classes, and values that no program has."""
    beside.remove(trail)
    seed = tap.seed()
    subprocess.run([f"{TARGETS}/forge", "odd", trail], check=True, env={**os.environ, "HEAPTRAIL_SEED": str(seed)})
    state, seen = read("events of all kinds", least_chunks=5, least_checkpoints=3)
    tap.ok(seen == {"alloc 0", "realloc 0", "in-pool 0", *(f"free {i}" for i in range(5))} and report(state), "of all classes")


def changed():
    """The reader can tell."""
    row = list(recording.rows(trail, "chunk", "id"))[-1]
    data, unseen = row["data"], 0
    for at in range(0, len(data), max(1, len(data) // 50)):
        row["data"] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
        try:
            recording.read_chunk(row)
            unseen += 1
        except recording.Wrong:
            pass
    tap.ok(not unseen, "a flipped bit is seen")


try:
    if not recording.has_zstd:
        tap.skip_all("there is no libzstd.so.1")
    tap.run_as_root([single, threads, before, layers, mappings, execs, silent, many, dropped, attached, odd, changed])
finally:
    shutil.rmtree(work, ignore_errors=True)
