#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record and leaks --reachable: a program that knows of which kind its blocks are; live ones; pauses; what can fail.

Whether the kinds are those of memcheck is in leak_kinds.py.
"""
import signal
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
work = tempfile.mkdtemp(prefix="heaptrail-reachability.")
libs = tap.private_libc(work)
os.mkdir(f"{work}/tmp")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "HOME": work, "TMPDIR": f"{work}/tmp", "LC_ALL": "C.UTF-8"}
trail = f"{work}/known.trail"
TAKES_TOO_LONG = 125

# Of each kind a function with its name makes a number of blocks that tells it: see KNOWN.
SOURCE = r"""
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define NEVER_INLINE __attribute__((noinline, noclone))
struct node { struct node *next; uint64_t n[5]; };
static void *volatile roots[8];
static volatile uint64_t turns;
static struct node *before; /* allocated before anybody looks, if it runs already then */
NEVER_INLINE static void forget(void) { volatile long x[2048]; for (int i = 0; i < 2048; i++) x[i] = 0; }
NEVER_INLINE static void *take(size_t n) { return calloc(1, n); }
NEVER_INLINE static void definite(void) { for (int i = 0; i < 3; i++) take(48); }
NEVER_INLINE static void indirect(void) { struct node *first = take(48); for (int i = 0; i < 5; i++) { struct node *x = take(64); x->next = first->next; first->next = x; } }
NEVER_INLINE static void possible(void) { for (int i = 0; i < 4; i++) roots[i] = (char *)take(80) + 8 * (i + 1) + 8; }
NEVER_INLINE static void reachable(void) { struct node *x = take(96); roots[4] = x; for (int i = 0; i < 6; i++) x = x->next = take(96); }
NEVER_INLINE static void through_before(void) { for (int i = 0; i < 2; i++) before->n[i] = (uint64_t)take(112); }
NEVER_INLINE static uint64_t hidden(size_t n) { return ~(uint64_t)take(n); }
/* it has the block in a register, and nowhere else */
static void *in_register(void *arg)
{
	uint64_t p = hidden(128);
	forget();
	__asm__ volatile("notq %0\n\tmovq %0, %%r12\n\txorl %k0, %k0\n1:\tincq turns(%%rip)\n\tjmp 1b" : "+r"(p) : : "r12", "memory");
	return arg;
}
static void *on_stack(void *arg) { void *volatile p = take(144); for (;;) pause(); return (char *)arg + (p == arg); }
NEVER_INLINE static void all(void) { definite(); indirect(); possible(); reachable(); through_before(); }
NEVER_INLINE static void grow(size_t n, size_t bytes) { struct node **all = take(n * sizeof(*all)); for (size_t i = 0; i < n; i++) { all[i] = take(bytes); all[i]->next = i ? all[i - 1] : NULL; } roots[5] = all; }
int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	pthread_t t;
	before = take(56);
	if (!strcmp(how, "again")) { definite(); execv(argv[0], (char *[]){argv[0], NULL}); }
	if (!strcmp(how, "live")) {
		char c;
		if (argc > 2) grow(200000, 1000);
		if (read(0, &c, 1) != 1) return 1;
		pthread_create(&t, NULL, in_register, NULL);
		pthread_create(&t, NULL, on_stack, NULL);
		all(); forget();
		usleep(100000);
		if (write(1, "x", 1) != 1) return 1;
		for (;;) { if (write(1, "x", 1) != 1) return 1; usleep(10000); }
	}
	if (!strcmp(how, "large")) grow(200000, 1000);
	all();
	forget();
	if (!strcmp(how, "fork") && !fork()) { sleep(1); _exit(0); }
	if (!strcmp(how, "kill")) raise(SIGKILL);
	if (!strcmp(how, "segfault")) raise(SIGSEGV);
	if (!strcmp(how, "slow")) for (int i = 0; i < 25; i++) { free(take(10000)); usleep(100000); }
	return 0;
}
"""
SOURCE = SOURCE.replace("static volatile uint64_t turns;", "volatile uint64_t turns;")
KNOWN = {"definite": [("definite", 3, 144), ("indirect", 1, 48)], "indirect": [("indirect", 5, 320)],
         "possible": [("possible", 4, 320)],
         "reachable": [("reachable", 7, 672), ("through_before", 2, 224), ("main", 1, 56)]}


def build():
    with open(f"{work}/known.c", "w") as f:
        f.write(SOURCE)
    subprocess.run(["gcc", "-w", "-O1", "-g", "-pthread", "-o", f"{work}/known", "known.c"], check=True, cwd=work)


def run(*argv, extra=None, **kw):
    return subprocess.run([HEAPTRAIL, *argv], env={**env, **(extra or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE, cwd=work, **kw)


def kinds_of(data):
    """What is of which kind: (function of ours, blocks, bytes)."""
    found = {}
    for leak in data["leaks"]:
        names = [f["function"] for f in leak["frames"]]
        name = next((n for n in names if n and n not in ("take", "hidden") and not n.startswith("__")), None)
        # what pthread_create() has is its own
        if any((f["module"] or "").endswith("/known") for f in leak["frames"]) and not any("pthread" in (n or "") for n in names):
            found.setdefault(leak["kind"], []).append((name, leak["blocks"], leak["bytes"]))
    return {kind: sorted(x) for kind, x in found.items()}


def expected(**more):
    return {kind: sorted(x) for kind, x in {**KNOWN, **more}.items()}


def leaks_of(path, *options):
    r = run("leaks", "--json", "--no-default-suppressions", *options, path)
    return json.loads(r.stdout) if r.returncode == 0 else {"leaks": [], "failed": f"{r.returncode} {r.stderr}"}


def record(*argv, options=(), extra=None):
    beside.remove(trail)
    return run("record", "-q", "--force", "--reachable", *options, "-o", trail, "--", *argv, extra=extra)


# ---- launched ----------------------------------------------------------------------------


def launched():
    r = record("./known")
    data = leaks_of(trail)
    tap.ok(r.returncode == 0 and r.stderr == "" and kinds_of(data) == expected(), f"at the exit: {kinds_of(data)} {r.stderr}")
    look = data["reachability"]
    tap.ok(look["at_exit"] and not look["cautious"] and 0 < look["held_ns"] < 10**10 and look["read_bytes"] > 1000 and
           look["definite"] == {"bytes": 192, "blocks": 4} and look["not_looked_at"]["blocks"] == 0,
           f"what is said of the look: {look}")
    tap.ok(beside.is_sound(trail) and beside.info(trail)["recording"]["complete"], "the recording is whole, and sealed")
    r = run("leaks", trail)
    tap.ok(re.search(r"definitely lost +192 B in 4 blocks\n  indirectly lost +320 B in 5 blocks\n  possibly lost +320 B in 4 blocks\n"
                     r"  still reachable +952 B in 10 blocks\n  Looked at   .* after the start, for ", r.stdout) and
           "    definitely lost: 3 x 48 B" in r.stdout, "the totals of all kinds, and that of each record")
    where = [r.stdout.find(x) for x in ("    definitely lost:", "    indirectly lost:", "    possibly lost:", "    still reachable:")]
    tap.ok(where == sorted(where) and where[0] > 0, "definite ones first")


def one_shot():
    r = run("leaks", "--reachable", "--json=one.json", "--no-default-suppressions", "--", "./known")
    with open(f"{work}/one.json") as f:
        data = json.load(f)
    tap.ok(r.returncode == 0 and kinds_of(data) == expected() and "definitely lost" in r.stderr and os.listdir(f"{work}/tmp") == [],
           "leaks -- COMMAND")
    r = run("leaks", "--reachable", "--error-exit", "99", "--kinds", "definite", "--", "./known")
    tap.ok(r.returncode == 99 and "indirectly lost: " not in r.stderr, "… with a status for what is definite")
    r = run("leaks", "--reachable", "--error-exit", "99", "--kinds", "definite", "--", "/bin/true")
    tap.ok(r.returncode == 0 and "definitely lost  0 B in 0 blocks" in r.stderr, "… and none where nothing is")


def later():
    for folder in ("bare", "debug", "static"):
        os.mkdir(f"{work}/{folder}")
    subprocess.run(["gcc", "-w", "-O1", "-g", "-pthread", "-Wl,--build-id", "-o", "debug/known.debug", "known.c"], check=True, cwd=work)
    subprocess.run(["strip", "-o", "bare/known", "debug/known.debug"], check=True, cwd=work)
    record("bare/known")
    before = kinds_of(leaks_of(trail))
    r = run("symbolize", "--debug-path", f"{work}/debug", trail)
    tap.ok(r.returncode == 0 and kinds_of(leaks_of(trail)) == expected() != before and beside.info(trail)["recording"]["complete"],
           f"with other names the recording is sealed anew: {r.stderr}")
    subprocess.run(["gcc", "-w", "-O1", "-g", "-pthread", "-static", "-o", f"{work}/static/known", "known.c"], check=True, cwd=work)
    record("static/known")
    found = {k: [x for x in v if x[0] in ("main", "definite", "indirect", "possible", "reachable", "through_before")]
             for k, v in kinds_of(leaks_of(trail)).items()}  # what glibc has is in the same file
    tap.ok(found == expected(), f"linked statically: {found}")


def programs():
    for how in ("fork", "segfault", "again"):
        r = record("./known", how)
        data = leaks_of(trail)
        status = 139 - 128 - 11 if how != "segfault" else 139
        tap.ok(r.returncode == status and kinds_of(data) == expected(),
               f"a program that {dict(fork='leaves a child', segfault='crashes', again='becomes another one')[how]}: "
               f"{r.returncode} {kinds_of(data)} {r.stderr}")
    r = record("./known", options=("--min-size", "60"))
    data, wanted = leaks_of(trail), expected()
    del wanted["definite"]
    wanted["reachable"] = sorted(x for x in wanted["reachable"] if x[0] != "main")
    tap.ok(kinds_of(data) == wanted, f"blocks that are too small to be recorded lead to others all the same: {kinds_of(data)}")
    r = record("./known", "slow", options=("--every", "1s"))
    files = sorted(x for x in os.listdir(work) if x.startswith("known.") and x.endswith(".trail"))
    found = [leaks_of(f"{work}/{x}") for x in files]
    tap.ok(len(files) >= 2 and kinds_of(found[-1]) == expected() and not any(x["reachability"] for x in found[:-1]),
           f"of {len(files)} files the last has the kinds")
    for x in files:
        os.unlink(f"{work}/{x}")
    r = record("./known", "slow", options=("--max-size", "1M"))
    tap.ok(kinds_of(leaks_of(trail)) == expected(), "with a bound")


def allocators():
    for name in ("libjemalloc.so.2", "libtcmalloc.so.4", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"):
        path = f"/usr/lib/x86_64-linux-gnu/{name}"
        if not os.path.exists(path):
            tap.skip(name, "it is not installed")
            continue
        shutil.copy(path, libs)
        record("./known", extra={"LD_PRELOAD": f"{libs}/{name}"}, options=("--mmap",))
        data = leaks_of(trail)
        tap.ok(kinds_of(data) == expected() and not data["reachability"]["doubtful"]["blocks"], f"{name}: {kinds_of(data)}")
        own_mappings(name, f"{libs}/{name}")


# Mappings of its own lie between those of the allocator, and the kernel joins them.  Pointers in them are roots; in what
# the allocator has freed, and never written over, they are none.
MAPPINGS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define NEVER_INLINE __attribute__((noinline, noclone))
static void *volatile large[60];
NEVER_INLINE static void forget(void) { volatile long x[2048]; for (int i = 0; i < 2048; i++) x[i] = 0; }
NEVER_INLINE static void *in_mapping(size_t n) { return calloc(1, n); }
NEVER_INLINE static void *in_freed(size_t n) { return calloc(1, n); }
NEVER_INLINE static void *lost(size_t n) { return calloc(1, n); }
/* next to the mapping that has @p, if there is room */
static void *map_beside(void *p, size_t n)
{
	static char text[1 << 18];
	unsigned long start, end;
	size_t len = 0;
	ssize_t r;
	int fd = open("/proc/self/maps", O_RDONLY);
	while ((r = read(fd, text + len, sizeof(text) - 1 - len)) > 0) len += r;
	text[len] = 0;
	close(fd);
	for (char *at = text; at && sscanf(at, "%lx-%lx", &start, &end) == 2; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		if ((unsigned long)p < start || (unsigned long)p >= end) continue;
		void *m = mmap((void *)end, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (m == MAP_FAILED) m = mmap((void *)(start - n), n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (m != MAP_FAILED) return m;
	}
	return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
NEVER_INLINE static void test(void)
{
	for (int i = 0; i < 60; i++) {
		void **map, **gone;
		large[i] = malloc(1500000);
		map = map_beside(large[i], 16384);
		map[i * 7] = in_mapping(40 + i);
		gone = malloc(300000);
		gone[9000] = in_freed(100);
		free(gone);
		lost(64);
	}
}
int main(void) { test(); forget(); return 0; }
"""


def kinds_by_function(data):
    found = {}
    for x in data["leaks"]:
        name = next((f["function"] for f in x["frames"] if f["function"] in ("in_mapping", "in_freed", "lost")), None)
        if name:
            found.setdefault(name, {}).setdefault(x["kind"], 0)
            found[name][x["kind"]] += x["blocks"]
    return found


def own_mappings(name, preload):
    with open(f"{work}/mappings.c", "w") as f:
        f.write(MAPPINGS)
    subprocess.run(["gcc", "-w", "-O1", "-g", "-o", f"{work}/mappings", "mappings.c"], check=True, cwd=work)
    record("./mappings", extra={"LD_PRELOAD": preload}, options=("--mmap",))
    data = leaks_of(trail)
    found = kinds_by_function(data)
    known = {"in_mapping": {"reachable": 60}, "in_freed": {"definite": 60}, "lost": {"definite": 60}}
    tap.ok(found == known and not data["reachability"]["doubtful"]["blocks"], f"{name}, with --mmap it is known whose memory it is: {found}")
    r = run("leaks", "--reachable", "--mmap", f"--json={work}/one.json", "--", "./mappings", extra={"LD_PRELOAD": preload})
    with open(f"{work}/one.json") as f:
        found = kinds_by_function(json.load(f))
    tap.ok(r.returncode == 0 and found == known, f"{name}, leaks --mmap -- COMMAND: {found} {r.stderr[-200:]}")
    record("./mappings", extra={"LD_PRELOAD": preload})
    data, report = leaks_of(trail), run("leaks", trail).stdout
    found, doubtful = kinds_by_function(data), data["reachability"]["doubtful"]["blocks"]
    possible = sum(x.get("possible", 0) for x in found.values())
    tap.ok(set(found["in_mapping"]) <= {"reachable", "possible"} and set(found["in_freed"]) | set(found["lost"]) <= {"definite", "possible"} and
           (possible > 0) <= (possible <= doubtful) and (doubtful > 0) == ("record --mmap tells" in report) and
           (doubtful > 0 or "mimalloc" in name), f"{name}, without: what is held is not told lost, nor what is lost held: {found}, {doubtful} doubtful")
    r = run("leaks", "--fail-if", f"definite > {found['lost'].get('definite', 0) + found['in_freed'].get('definite', 0) + 20}", trail)
    tap.ok(("cannot tell whether" in r.stderr) == (doubtful > 20), f"{name}: a condition that hangs on it: {r.stderr}")


# ---- running -------------------------------------------------------------------------------


class Live:
    def __init__(self, *more):
        self.argv = [f"{work}/known", "live", *more]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def attach(self, *options):
        """Has it allocate when it is recorded, and waits for the end of that."""
        recorder = beside.attach(self.process.pid, trail, "--reachable", *options, env=env, stderr=subprocess.PIPE, text=True)
        self.process.stdin.write(b"x")
        self.process.stdin.flush()
        self.process.stdout.read(1)
        beside.interrupt(recorder)
        return recorder.communicate(timeout=tap.PATIENCE)[1], recorder.returncode

    def runs(self):
        self.process.stdout.read(1)
        states = beside.states(self.process.pid)
        return beside.wait_until(lambda: beside.status(self.process.pid, "TracerPid") == "0") and not set(states) & set("Ttx")


def live():
    with Live() as p:
        said, status = p.attach()
        data = leaks_of(trail)
        # what is known from before leads to it: that it is reachable cannot be told from the blocks that are recorded
        wanted = expected(reachable=[("reachable", 7, 672), ("through_before", 2, 224), ("in_register", 1, 128), ("on_stack", 1, 144)])
        tap.ok(status == 0 and said == "" and kinds_of(data) == wanted and data["reachability"]["cautious"] and
               not data["reachability"]["at_exit"], f"a process that runs: {kinds_of(data)} {said}")
        tap.ok(p.runs(), "it runs on")
        r = run("leaks", trail)
        tap.ok("NOTE: blocks that were not seen may point to these" in r.stdout, "that is said to be cautious")
        r = run("leaks", "--reachable", "-p", str(p.process.pid), "-d", "200ms")
        tap.ok(r.returncode == 0 and "definitely lost  0 B in 0 blocks" in r.stdout and p.runs(), f"leaks -p PID: {r.stderr}")
        cautious = "blocks that were not seen may point to these"
        r = run("leaks", "--reachable", "--walk-heap", "--max-pause", "10s", "-p", str(p.process.pid), "-d", "200ms")
        tap.ok(r.returncode == 0 and "[from before]" in r.stdout and cautious not in r.stdout and p.runs(),
               f"leaks --walk-heap -p PID: nothing to be cautious about {r.stderr} {r.stdout[:800]}")
    with Live("large") as p:
        said, status = p.attach("--max-pause", "1ms")
        data = leaks_of(trail)
        tap.ok(status == 0 and re.search("warning: the look at what points to blocks was given up: it takes longer than 1 ms|"
                                         "a thread does not stop", said) and
               data["reachability"] is None and data["reachability_failed"] and all(x["kind"] is None for x in data["leaks"]) and
               p.runs(), f"--max-pause: {said}")
        r = run("leaks", trail)
        tap.ok("NOTE: nobody knows what points to them: " in r.stdout and "definitely" not in r.stdout, "the report says why there are no kinds")
        r = run("leaks", "--reachable", "--max-pause", "1ms", "-p", str(p.process.pid), "-d", "100ms")
        tap.ok(r.returncode == TAKES_TOO_LONG and p.runs(), f"… and leaks ends with {TAKES_TOO_LONG}: {r.returncode} {r.stderr}")
    with Live() as p:
        recorder = beside.attach(p.process.pid, trail, "--reachable", env=env, stderr=subprocess.PIPE, text=True)
        p.process.kill()
        said = recorder.communicate(timeout=tap.PATIENCE)[1]
        tap.ok(recorder.returncode == 0 and "warning: process" in said and "no last look" in said, f"a process that was killed: {said}")


def executed():
    """What is known of the blocks from before is of the program that had them: another one may have some that nobody saw."""
    with Live() as p:
        p.process.kill()  # another one, for its end
        p.process = subprocess.Popen(["sh", "-c", f"read x; exec {work}/known live"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        recorder = beside.attach(p.process.pid, trail, "--reachable", "--walk-heap", "--max-pause", "10s", env=env, stderr=subprocess.PIPE, text=True)
        p.process.stdin.write(b"go\n")
        p.process.stdin.flush()
        beside.expect(lambda: os.path.basename(os.readlink(f"/proc/{p.process.pid}/exe")) == "known", "the exec")
        p.process.stdin.write(b"x")
        p.process.stdin.flush()
        p.process.stdout.read(1)
        beside.interrupt(recorder)
        said = recorder.communicate(timeout=tap.PATIENCE)[1]
        data = leaks_of(trail)
        tap.ok(recorder.returncode == 0 and data["reachability"] and data["reachability"]["cautious"], f"after an exec: {data['reachability']} {said}")


def large():
    r = record("./known", "large", options=("--max-pause", "1ms"))
    data = leaks_of(trail)
    tap.ok(r.returncode == 0 and "given up: it takes longer than 1 ms" in r.stderr and "hint: --max-pause" in r.stderr and
           data["reachability"] is None, f"200 MB in 1 ms: {r.stderr}")
    started = time.monotonic()
    r = record("./known", "large")
    data = leaks_of(trail)
    tap.ok(data["reachability"]["reachable"]["blocks"] >= 200011 and data["reachability"]["definite"]["blocks"] == 4 and
           data["reachability"]["read_bytes"] > 200 * 10**6,
           f"200 MB, held for {data['reachability']['held_ns'] / 1e6:.0f} ms, {time.monotonic() - started:.1f} s in all")


def refused():
    r = record("./known", options=("--no-ptrace",))
    tap.ok(r.returncode == 0 and "no last look at its memory" in r.stderr and leaks_of(trail)["reachability"] is None,
           f"--no-ptrace: {r.stderr}")
    r = record("./known", "kill")
    tap.ok(r.returncode == 137 and leaks_of(trail)["leaks"], f"a command that is killed: {r.returncode} {r.stderr}")
    with Live() as p:
        tracer = subprocess.Popen(["/usr/bin/python3", "-c", """
import ctypes, sys, time
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
sys.exit(1) if ptrace(0x4206, int(sys.argv[1]), None, None) else print("seized", flush=True)
sys.stdin.read()
""", str(p.process.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        tracer.stdout.readline()
        r = run("leaks", "--reachable", "-p", str(p.process.pid), "-d", "100ms")
        tap.ok(r.returncode == 3 and f"process {tracer.pid} traces it" in r.stderr, f"a process that a debugger has: {r.returncode} {r.stderr}")
        tracer.communicate()
    for options, message in ((("--max-pause", "1s", "--", "true"), "--max-pause goes with --walk-heap or --reachable"),
                             (("--reachable", "--max-pause", "soon", "--", "true"), "--max-pause is a time"),
                             (("--reachable", trail), "are for -p PID or -- COMMAND"), (("--mmap", trail), "are for -p PID or -- COMMAND"),
                             (("--walk-heap", "--", "true"), "--walk-heap is for running processes"), (("--kinds", "lost", trail), "not 'lost'"),
                             (("--kinds", "none", trail), "--kinds are"),
                             (("--kinds", "definite", "--", "true"), "--kinds goes with --reachable"),
                             (("--growth", "--kinds", "definite", trail), "not with --kinds")):
        r = run("leaks", *options)
        tap.ok(r.returncode == 2 and message in r.stderr, f"{options}: {r.stderr.splitlines()[:1]}")
    run("record", "-q", "--force", "-o", trail, "--", "true")
    r = run("leaks", "--kinds", "definite", trail)
    tap.ok(r.returncode == 125 and "nobody looked" in r.stderr and "--reachable" in r.stderr, f"kinds that nobody knows: {r.stderr}")


def stopped():
    """A command that stops itself: it stands when it is held, and again; both looks are taken, and the recorder ends."""
    r = run("record", "--force", "-o", trail, "--reachable", "--frag-every", "100ms", "-d", "1s", "--", "sh", "-c",
            "exec >/dev/null 2>&1; kill -STOP $$")
    with contextlib.suppress(ProcessLookupError):  # it stands, as it wished
        os.kill(leaks_of(trail)["recording"]["pid"], signal.SIGCONT)
    tap.ok(r.returncode == 0 and "warning" not in r.stderr, f"a command that has stopped itself: {r.returncode} {r.stderr}")
    tap.ok(leaks_of(trail)["reachability"] is not None, "it was looked at all the same")


# ---- reports -------------------------------------------------------------------------------


def reports():
    record("./known")
    data = leaks_of(trail, "--kinds", "definite,possible")
    tap.ok(set(kinds_of(data)) == {"definite", "possible"} and data["total_blocks"] == 8 and
           data["filter"]["kinds"] == ["definite", "possible"], "--kinds")
    by_function = {(x["kind"], x["function"]): x["blocks"] for x in json.loads(run(
        "leaks", "--json", "--by", "function", "--skip", "take", trail).stdout)["leaks"]}
    tap.ok(by_function.get(("definite", "indirect")) == 1 and by_function.get(("indirect", "indirect")) == 5, "a function has a record of each kind")
    sarif = json.loads(run("leaks", "--sarif", trail).stdout)["runs"][0]["results"]
    levels = {(x["properties"]["kind"], x["level"]) for x in sarif}
    tap.ok(levels == {("definite", "error"), ("indirect", "warning"), ("possible", "warning"), ("reachable", "note")} and
           any("definitely lost, allocated by" in x["message"]["text"] for x in sarif), f"SARIF: {levels}")
    with open(f"{work}/some.supp", "w") as f:
        f.write("{\nlost ones\nMemcheck:Leak\nmatch-leak-kinds: definite,indirect\nfun:calloc\nfun:take\nfun:indirect\n}\n")
    data = leaks_of(trail, "--suppressions", "some.supp")
    hidden = [(x["kind"], x["blocks"]) for x in data["leaks"] if x["suppressed_by"]]
    tap.ok(sorted(hidden) == [("definite", 1), ("indirect", 5)] and data["reachability"]["definite"]["blocks"] == 3,
           f"a suppression of two kinds: {hidden}")
    r = run("leaks", "--gen-suppressions", "--kinds", "possible", trail)
    tap.ok(r.stdout.count("match-leak-kinds: possible") == 1 and "kinds: all" not in r.stdout, "suppressions are of the kind")
    with open(f"{work}/made.supp", "w") as f:
        f.write(r.stdout)
    data = leaks_of(trail, "--suppressions", "made.supp")
    tap.ok(data["reachability"]["possible"]["blocks"] == 0 and data["reachability"]["definite"]["blocks"] == 4, "… and do what they should")
    r = run("leaks", "--at", "1ms", "--json", trail)
    tap.ok(all(x["kind"] is None for x in json.loads(r.stdout)["leaks"]), "of what was live before nobody knows")


def gates():
    record("./known")
    r = run("leaks", "--fail-if", "definite > 3", trail)
    tap.ok("failed: 'definite > 3': definite is 4\n" in r.stderr and "not exact" not in r.stderr, f"that is exact: {r.stderr}")
    for condition, status in (("definite > 3", 1), ("definite > 4", 0), ("indirect >= 5", 1), ("possible > 319B", 1), ("possible > 320B", 0),
                              ("reachable > 9", 1), ("reachable > 10", 0), ("leaked > 22", 1), ("definite", 1)):
        r = run("leaks", "--fail-if", condition, trail)
        tap.ok(r.returncode == status and "cannot tell" not in r.stderr, f"{condition}: {r.returncode} {r.stderr}")
    r = run("record", "-q", "--force", "--reachable", "--fail-if", "definite > 0", "-o", trail, "--", "./known")
    tap.ok(r.returncode == 1 and "definite is 4" in r.stderr, "record --fail-if")
    run("record", "-q", "--force", "-o", trail, "--", "./known")
    r = run("leaks", "--fail-if", "definite > 0", trail)
    tap.ok(r.returncode == 0 and "cannot tell whether 'definite > 0'" in r.stderr and "--reachable" in r.stderr, f"where nobody looked: {r.stderr}")
    with Live() as p:
        p.attach()
    r = run("leaks", "--fail-if", "definite > 3", "--fail-if", "definite > 4", trail)
    tap.ok(r.returncode == 1 and "failed: 'definite > 3'" in r.stderr and "cannot tell whether 'definite > 4'" in r.stderr,
           f"where it was cautious: {r.stderr}")


try:
    build()
    tap.run_as_root([launched, one_shot, later, programs, allocators, live, executed, large, refused, stopped, reports, gates])
finally:
    shutil.rmtree(work, ignore_errors=True)
