#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Damaged recordings: cut at any byte, any byte flipped, pages lost or swapped.  Each
gives a clear error, or the right numbers and names, or with a warning those of the
events up to some moment; never a crash, a hang or a silently wrong number.  And ones whose
checksums are right, so that what is checked beyond them is reached.
HEAPTRAIL_CASES: how many (default 500); HEAPTRAIL_SEED: the seed;
HEAPTRAIL_SANITIZED: another heaptrail that runs all cases too.
"""
import concurrent.futures
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile

import beside
import forging
import forging_memory
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
SANITIZED = os.environ.get("HEAPTRAIL_SANITIZED")
TARGETS = os.environ["TARGETS"]
CASES = int(os.environ.get("HEAPTRAIL_CASES", "500"))
work = tempfile.mkdtemp(prefix="heaptrail-damaged.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
PAGE = 8192
GROUPINGS = ("module", "function", "file", "line", "stack", "thread", "size", "family")
COMMANDS = [["report", "--json", "--by", g] for g in GROUPINGS] + [["leaks", "--json"], ["info", "--json"]]
TEXTS = (["report"], ["leaks"], ["info"], ["report", "--csv"], ["report", "--by", "stack"])


def look(path, command, program=HEAPTRAIL):
    return subprocess.run([program, *command, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})


def plain(command, text):
    """What must be the same in every copy of a recording."""
    data = json.loads(text)
    if "recording" in data:
        for key in ("path", "bytes_on_disk", "complete"):
            data["recording"].pop(key)
    data.pop("state", None)
    return data


def names(data):
    found = set()
    for row in data.get("rows", []):
        found.update(str(row[k]) for k in (*GROUPINGS, "module") if k in row and k not in ("size", "stack"))
    for row in data.get("rows", []) + data.get("leaks", []):
        found.update(str(f[k]) for f in row.get("frames", []) for k in ("function", "module"))
    return found


class Base:
    def __init__(self, name):
        self.name = name
        self.path = f"{work}/{name}.trail"

    def learn(self):
        self.files = {end: open(self.path + end, "rb").read() for end in ("", "-wal")
                      if os.path.exists(self.path + end)}
        self.is_cut_off = "-wal" in self.files
        self.texts = {tuple(c): look(self.path, c).stdout for c in TEXTS}
        self.truth = {}
        for c in COMMANDS:
            r = look(self.path, c)
            assert r.returncode == 0, (self.name, c, r.stderr)
            self.truth[tuple(c)] = plain(c, r.stdout)
        # a block that leaks up to some moment need not at the end: all names that there are
        self.names = {"None"}.union(*(names(d) for d in self.truth.values()))
        events = subprocess.check_output([f"{TARGETS}/dump", self.path], text=True).splitlines()
        totals = [0] * 5
        self.prefixes = [tuple(totals)]
        for line in events:
            kind, kind_of_free, _, size, old = line.split()[:5]
            if kind in ("alloc", "realloc"):
                totals = [totals[0] + 1, totals[1], totals[2] + int(size), totals[3] + int(size), totals[4] + 1]
            if kind == "realloc" or kind == "free" and int(kind_of_free) <= 1:
                totals = [totals[0], totals[1] + 1, totals[2], totals[3] - int(old), totals[4] - 1]
            self.prefixes.append(tuple(totals))


def record(name, *command):
    base = Base(name)
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", base.path, "--", *command], env=env, check=True, timeout=tap.PATIENCE,
                   stdout=subprocess.DEVNULL)
    return base


def forge():
    base = Base("stacks")
    subprocess.run([f"{TARGETS}/forge", "stacks", base.path], check=True)
    return base


def cut_off():
    base = Base("cut-off")
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", base.path, "--", f"{TARGETS}/noisy", "3", "10000000"], env=env,
                         stdout=subprocess.DEVNULL)
    wal = base.path + "-wal"
    beside.expect(lambda: p.poll() is not None or os.path.exists(wal) and os.path.getsize(wal) > 200000,
                  "a WAL of 200 kB")
    target = beside.child(p.pid, "noisy")
    p.send_signal(signal.SIGKILL)
    p.wait()
    os.kill(target, signal.SIGKILL)
    beside.expect(lambda: beside.has_ended(target), "the target to end")
    return base


def damage(base, rng):
    """One case: the files' contents, and what was done to them."""
    files = dict(base.files)
    which = "-wal" if base.is_cut_off and rng.random() < 0.6 else ""
    data = bytearray(files[which])
    kind = rng.choices(("flip", "cut", "bit", "run", "zeros", "swap", "no wal"), (40, 22, 12, 8, 8, 6, 4))[0]
    at = rng.randrange(len(data))
    if kind == "flip":
        data[at] ^= rng.randrange(1, 256)
    elif kind == "bit":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind in ("run", "zeros"):
        n = min(rng.choice((16, 64, 512, 4096)), len(data) - at)
        data[at:at + n] = bytes(n) if kind == "zeros" else rng.randbytes(n)
    elif kind == "swap":
        pages = len(data) // PAGE
        a, b = (rng.randrange(pages) * PAGE for _ in range(2))
        data[a:a + PAGE], data[b:b + PAGE] = data[b:b + PAGE], data[a:a + PAGE]
    elif base.is_cut_off:
        which, data = "-wal", None
    if data is None:
        del files["-wal"]
    else:
        files[which] = bytes(data)
    return files, f"{base.name}{which}: {kind} at {at}"


def judge(base, command, r):
    """What is wrong with an answer; None if nothing."""
    said = r.stderr.decode(errors="replace")
    if r.returncode == 4:
        return None if said.startswith("heaptrail: ") and ("recording" in said or "chunk" in said) else f"says {said!r}"
    if r.returncode != 0:
        return f"exit {r.returncode}: {said[-300:]!r}"
    warned = "warning:" in said or b"WARNING" in r.stdout
    if "--json" not in command:
        if not warned and base.is_cut_off:
            return "no warning"
        return None if warned or r.stdout == base.texts[tuple(command)] else "silently wrong"
    try:
        data = plain(command, r.stdout)
    except ValueError:
        return "no JSON"
    truth = base.truth[tuple(command)]
    if data == truth and (warned or not base.is_cut_off):
        return None
    if not warned:
        return "silently wrong"
    if not names(data) <= base.names:
        return f"wrong names {names(data) - base.names}"
    if not base.is_cut_off:
        # all of the events are there; facts may be what was flipped, where they say so
        same = data.get("summary") == truth.get("summary") and data.get("rows") == truth.get("rows")
        return None if same else "wrong, in spite of a warning"
    if "summary" in data:
        s = data["summary"]
        got = tuple(s[k] for k in ("alloc_calls", "free_calls", "allocated_bytes", "live_bytes", "live_blocks"))
        n = data["recording"]["events"]
        if n >= len(base.prefixes) or base.prefixes[n] != got:
            return f"not the numbers of its first {n} events: {got}"
        if s["stacks_complete"] + s["stacks_truncated"] != s["alloc_calls"]:
            return "the stacks do not add up"
    return None


def run_case(base, seed):
    rng = random.Random(seed)
    files, what = damage(base, rng)
    folder = tempfile.mkdtemp(prefix="case.", dir=work)
    path = f"{folder}/t.trail"
    for end, content in files.items():
        with open(path + end, "wb") as f:
            f.write(content)
    commands = [rng.choice(COMMANDS), rng.choice(COMMANDS)] + ([rng.choice(TEXTS)] if rng.random() < 0.25 else [])
    wrong, refused = [], 0
    for command in commands:
        for program in [HEAPTRAIL] + ([SANITIZED] if SANITIZED else []):
            try:
                r = look(path, command, program)
                bad = judge(base, command, r)
                refused += r.returncode == 4
            except subprocess.TimeoutExpired:
                bad = "it hangs"
            if bad:
                wrong.append(f"{what}, seed {seed}: {' '.join(command)}: {bad}")
    shutil.rmtree(folder)
    return wrong, refused > 0


def damaged():
    seed = tap.seed()
    bases = [record("small", f"{TARGETS}/simple", "malloc", "50", "100", "free", "20"),
             record("threads", "/bin/sh", "-c", f"exec {TARGETS}/noisy 4 1000"),
             record("chunks", f"{TARGETS}/noisy", "2", "40000"),
             cut_off(),
             forge()]
    for b in bases:
        b.learn()
        print(f"# {b.name}: {', '.join(f'{len(d):,} bytes{e}' for e, d in b.files.items())}, "
              f"{len(b.prefixes) - 1:,} events", flush=True)
    tap.ok(bases[3].is_cut_off and len(bases[3].prefixes) > 1000, "a recording that was cut off has a WAL beside it")
    rng = random.Random(seed)
    cases = [(rng.choices(bases, (4, 3, 1, 2, 2))[0], rng.randrange(1 << 48)) for _ in range(CASES)]
    refused, wrong = 0, {b.name: [] for b in bases}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for (base, _), (bad, was_refused) in zip(cases, pool.map(lambda c: run_case(*c), cases)):
            wrong[base.name] += bad
            refused += was_refused
    for b in bases:
        n = sum(c[0] is b for c in cases)
        for line in wrong[b.name][:10]:
            print("#", line)
        tap.ok(not wrong[b.name], f"{b.name}: {n} damaged copies give an error, or what is right "
               f"({len(wrong[b.name])} do not)")
    tap.ok(CASES * 0.1 < refused < CASES, f"{refused} of {CASES} were refused")


# ---- with checksums that are right -------------------------------------------------------------

# what is said of such a recording is as it is: an answer, or what is wrong
FORGED_COMMANDS = [*COMMANDS, ["report", "--json", "--at", "1s"], ["report", "--json", "--since", "1500ms"],
                   ["leaks", "--json", "--until", "2s"], ["report", "--json", "--at", "peak"]]
MEMORY = 400 << 20  # bytes: a plain one needs 20 MiB, one with sanitizers some more


def answer(path, command, program):
    """What is wrong with it; None if nothing."""
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen(["timeout", "-s", "KILL", "120", "prlimit", "--core=0", program, *command, path],
                             stdout=subprocess.DEVNULL, stderr=said, env={
                                 **os.environ, "ASAN_OPTIONS": "detect_leaks=0:hard_rss_limit_mb=2000"})
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace")
    refused = ("the recording", "there is no snapshot", "has no snapshot", "cannot tell kinds", "there is no terminal")
    if p.returncode not in (0, 4) and not (p.returncode in (1, 2, 125) and any(words in text for words in refused)):
        return f"exit {p.returncode}: {text[-500:]!r}"
    if p.returncode and not text.startswith("heaptrail: "):
        return f"says {text!r}"
    return f"{used.ru_maxrss >> 10} MiB" if used.ru_maxrss << 10 > MEMORY else None


def answers(path, commands):
    """Of each command that is given, by each program, what is wrong."""
    for command in commands:
        for program in [HEAPTRAIL] + ([SANITIZED] if SANITIZED else []):
            bad = answer(path, command, program)
            if bad:
                yield f"{' '.join(command)}: {bad}"


def forge_odd(name, events):
    path = f"{work}/{name}.trail"
    subprocess.run([f"{TARGETS}/forge", "odd", path], check=True, env={**os.environ, "HEAPTRAIL_EVENTS": str(events)})
    return path


def run_forged(base, seed, forge=forging.forge, commands=(FORGED_COMMANDS, 2), also=lambda path: None):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="forged.", dir=work) as folder:
        path = f"{folder}/t.trail"
        shutil.copy(base, path)
        what = forge(path, rng)
        wrong = list(answers(path, rng.sample(*commands)))
        return [f"{what}, seed {seed}: {bad}" for bad in (*wrong, also(path)) if bad]


def forged():
    if not forging.recording.has_zstd:
        tap.skip("forged recordings", "there is no libzstd.so.1")
        return
    rng, cases = random.Random(tap.seed()), max(CASES // 4, 50)
    bases = [forge_odd("few", 3000), forge_odd("many", 160000)]
    tap.ok(not list(answers(bases[0], FORGED_COMMANDS)), "one that is as it was made")
    chosen = [(rng.choices(bases, (9, 1))[0], rng.randrange(1 << 48)) for _ in range(cases)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        wrong = [bad for found in pool.map(lambda c: run_forged(*c), chosen) for bad in found]
    for line in wrong[:20]:
        print("#", line)
    tap.ok(not wrong, f"{cases} recordings with damage that no checksum shows: {len(wrong)} wrong answers")
    path = f"{work}/claims.trail"
    for name, kind, parts in forging.bombs(1 << 24):
        shutil.copy(bases[0], path)
        forging.claims(path, 2, kind, parts)
        wrong = list(answers(path, [["report", "--by", "stack"], ["report", "--by", "thread", "--at", "2s"]]))
        tap.ok(not wrong, f"a checkpoint of 16 million {name} {wrong}")
    shutil.copy(bases[0], path)
    forging.ill_timed(path)
    wrong = list(answers(path, [["report", "--by", "stack"]]))
    tap.ok(not wrong, f"checkpoints that are all damaged, and their times, too {wrong}")


def says_dropped():
    """Whoever begins anew, behind what was dropped, comes no further."""
    if not forging.recording.has_zstd:
        tap.skip("what was dropped for ever", "there is no libzstd.so.1")
        return
    for sealed, reads_end in ((True, False), (True, True), (False, False), (False, True)):
        path = forge_odd(f"dropped-{sealed}-{reads_end}", 300000)
        forging.says_dropped(path, sealed, reads_end)
        growth, end = ["view", "--script", "0", "--dump"], ["view", "--dump"]
        wrong = list(answers(path, [["report"], ["leaks", "--growth"], growth, end, ["view", "--script", "20*[ 0", "--dump"]]))
        unknown, missing = b"it is not known" in look(path, growth).stdout, b"are missing" in look(path, end).stdout
        tap.ok(not wrong and (unknown or not sealed) and missing == (not reads_end),
               f"a missing chunk is said to be dropped, {'finished' if sealed else 'not finished'}, {reads_end} {wrong} {unknown} {missing}")


# ---- what was read of memory ---------------------------------------------------------------------

MEMORY_COMMANDS = [["frag", "--json"], ["frag", "--map", "--lifetimes"], ["frag", "--at", "20ms"], ["frag", "--at", "peak", "--bytes"],
                   ["leaks", "--json"], ["leaks", "--json", "--kinds", "definite,reachable"], ["leaks"], ["report", "--json"],
                   ["info"], ["view", "--script", "9 Down Enter Down Enter q", "--dump"], ["view", "--script", "9 m m Enter", "--dump"],
                   ["view", "--script", "6 Enter", "--dump"]]


def adds_up(path):
    """What is said of a recording whose looks at memory are forged must not contradict itself."""
    r = look(path, ["frag", "--json"])
    if r.returncode == 0:
        data = json.loads(r.stdout)
        numbers = [n for n in (*data["parts"].values(), *(v for v in data.values() if isinstance(v, int)))]
        if min(numbers) < 0 or max(numbers) >= 1 << 63:
            return f"frag says {numbers}"
        if max(data["internal_ppm"], data["external_ppm"]) > 1000000:
            return "more than all is fragmented"
        if sum(data["parts"].values()) < data["rss_bytes"]:
            return f"the parts do not add up to {data['rss_bytes']}: {data['parts']}"
    r = look(path, ["leaks", "--json"])
    if r.returncode == 0:
        data = json.loads(r.stdout)
        if sum(x["bytes"] for x in data["leaks"]) != data["total_bytes"]:
            return "the leaks do not add up"
    return None


def forged_memory():
    """Snapshots, and who points to what."""
    if not forging.recording.has_zstd:
        tap.skip("forged looks at memory", "there is no libzstd.so.1")
        return
    rng, cases, base = random.Random(tap.seed()), max(CASES // 4, 50), f"{work}/memory.trail"
    subprocess.run([HEAPTRAIL, "record", "-q", "--reachable", "--frag-peaks", "-o", base, "--", f"{TARGETS}/sizes", "64", "3000"], env=env,
                   check=True, timeout=tap.PATIENCE, stdout=subprocess.DEVNULL)
    counts = [beside.sql(base, f"SELECT count(*) FROM {table}")[0][0] for table in ("snapshot", "reachability")]
    tap.ok(min(counts) > 0 and not list(answers(base, MEMORY_COMMANDS)) and not adds_up(base), f"one as it was made: {counts}")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        chosen = [rng.randrange(1 << 48) for _ in range(cases)]
        wrong = [bad for found in pool.map(lambda seed: run_forged(base, seed, forging_memory.forge, (MEMORY_COMMANDS, 3), adds_up), chosen) for bad in found]
    for line in wrong[:20]:
        print("#", line)
    tap.ok(not wrong, f"{cases} forged looks at memory: {len(wrong)} wrong answers")
    path = f"{work}/claims.trail"
    for words, table, key, names, values in forging_memory.claims(1 << 24):
        shutil.copy(base, path)
        forging_memory.replace(path, table, key, names, **values)
        wrong = [*answers(path, MEMORY_COMMANDS), *filter(None, [adds_up(path)])]
        tap.ok(not wrong, f"{words} {wrong}")


# ---- by hand -----------------------------------------------------------------------------------


def by_hand():
    """Damage that SQLite does not see: rows that are gone, or changed."""
    base = Base("threads")
    for name, sql in (("a name", "UPDATE symbol SET function = 'other'"),
                      ("a loss", "UPDATE loss SET count = 1 WHERE kind = 'lost_allocs'"),
                      ("a fact", "UPDATE recording SET value = 1 WHERE key = 'pid'"),
                      ("a chunk's row", "UPDATE chunk SET allocs = allocs + 1"),
                      ("a chunk that is gone", "DELETE FROM chunk WHERE id = 1"),
                      ("a summary", "UPDATE site SET peak_bytes = 1")):
        path = f"{work}/by-hand.trail"
        shutil.copy(base.path, path)
        subprocess.run(["sqlite3", path, sql], check=True)
        r = look(path, ["report"])
        tap.ok(r.returncode == 4 and b"checksum" in r.stderr and b"hint:" in r.stderr, f"{name} changed by SQL: said so")
    shutil.copy(f"{work}/cut-off.trail", f"{work}/lone.trail")
    r = look(f"{work}/lone.trail", ["report"])
    tap.ok(r.returncode == 0 and b"WARNING" in r.stdout and b"-wal" in r.stdout, "a WAL that is missing: said so")
    whole = open(base.path, "rb").read()
    with open(f"{work}/short.trail", "wb") as f:
        f.write(whole[:len(whole) - PAGE])
    r = look(f"{work}/short.trail", ["report"])
    tap.ok(r.returncode == 4 and b"it was cut short" in r.stderr and b"hint: copy it again" in r.stderr,
           "a copy that is too short: said so")
    r = subprocess.run([HEAPTRAIL, "repair", f"{work}/short.trail"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tap.ok(r.returncode == 4 and open(f"{work}/short.trail", "rb").read() == whole[:len(whole) - PAGE],
           "repair refuses what is damaged, and leaves it as it is")


try:
    tap.run_as_root([damaged, by_hand, forged, says_dropped, forged_memory])
finally:
    shutil.rmtree(work, ignore_errors=True)
