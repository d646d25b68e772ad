#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks at the memory of a process that stands still: with huge pages, terabytes that are reserved only, sparse memory.

The looks are three: frag's snapshot, --walk-heap, and --reachable.  None makes a page of the process resident.
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile

import beside
import tap
from beside import HEAPTRAIL

work = tempfile.mkdtemp(prefix="heaptrail-looks.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "LC_ALL": "C.UTF-8"}
trail = f"{work}/t.trail"
NR_HUGE = "/proc/sys/vm/nr_hugepages"
HELD_AT_MOST = 10**9  # ns; page by page 16 TiB take minutes

# Says what it has: blocks in arenas of several heaps each, of all kinds; sparse memory; and what it reserves only.
SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define NEVER_INLINE __attribute__((noinline, noclone))
#define THREADS 3
struct node { struct node *next; char rest[24]; };
static void *volatile roots[16];
static unsigned long blocks;
static pthread_barrier_t both;
NEVER_INLINE static void forget(void) { volatile long x[2048]; for (int i = 0; i < 2048; i++) x[i] = 0; }
NEVER_INLINE static void *take(size_t n) { __sync_fetch_and_add(&blocks, 1); return calloc(1, n); }
NEVER_INLINE static void definite(int n) { while (n--) take(48); }
NEVER_INLINE static void indirect(int n) { struct node *first = take(56); while (n--) { struct node *x = take(64); x->next = first->next; first->next = x; } }
NEVER_INLINE static struct node *reachable(int n, size_t bytes) { struct node *x = NULL; while (n--) { struct node *y = take(bytes); y->next = x; x = y; } return x; }
NEVER_INLINE static void *possible(void) { return (char *)take(80) + 16; }
static void *work(void *arg)
{
	long n = (long)arg;
	definite(5);
	roots[n] = reachable(300, 100000);	/* 30 MB: several heaps, if they are small */
	roots[n + 4] = possible();
	indirect(3);
	free(malloc(50000));
	forget();
	pthread_barrier_wait(&both);
	for (;;) pause();
	return arg;
}
/* written to here and there only */
static void make_sparse(size_t bytes, int flags)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) { perror("mmap"); exit(1); }
	for (size_t at = 4096; at < bytes; at += bytes / 13) p[at] = 1;
	for (size_t at = 8192; at < bytes; at += bytes / 7) *(volatile char *)(p + at);
}
int main(int argc, char **argv)
{
	pthread_t t;
	char c;
	int sparse = argc > 1 && strchr(argv[1], 's'), huge = argc > 1 && strchr(argv[1], 'h');
	if (huge) {
		make_sparse(16ul << 40, MAP_PRIVATE | MAP_ANONYMOUS);
		mmap(NULL, 16ul << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (sparse) {
		make_sparse(1ul << 30, MAP_PRIVATE | MAP_ANONYMOUS);
		make_sparse(1ul << 30, MAP_SHARED | MAP_ANONYMOUS);
		char *p = roots[12] = malloc(900000); p[500000] = 1;	/* a block that is not all there */
		p = roots[13] = malloc(90 << 20); p[70 << 20] = 1;
		blocks += 2;
	}
	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++) pthread_create(&t, NULL, work, (void *)i);
	pthread_barrier_wait(&both);
	definite(7);
	roots[8] = reachable(100, 200);
	roots[9] = take(3 << 20);	/* of a mapping of its own */
	*(void **)roots[9] = reachable(4, 500);
	forget();
	printf("%lu\n", blocks);
	fflush(stdout);
	if (!(argc > 2)) if (read(0, &c, 1) < 0) return 1;
	return 0;
}
"""
KINDS = {"definite": 7 + 3 * 5 + 3, "indirect": 3 * 3, "possible": 3, "reachable": 3 * 300 + 100 + 1 + 4}
TUNABLES = [("as it is", None, False), ("hugetlb=1", "hugetlb=1", False), ("hugetlb=2, no huge pages", "hugetlb=2", False),
            ("hugetlb=2, huge pages", "hugetlb=2", True)]


def build():
    with open(f"{work}/held.c", "w") as f:
        f.write(SOURCE)
    subprocess.run(["gcc", "-w", "-O1", "-g", "-pthread", "-o", f"{work}/held", "held.c"], check=True, cwd=work)


@contextlib.contextmanager
def huge_pages(n):
    """So many, if they are to be had: how many there are."""
    with open(NR_HUGE) as f:
        before = f.read()
    try:
        with open(NR_HUGE, "w") as f:
            f.write(str(int(before) + n))
        with open(NR_HUGE) as f:
            yield int(f.read())
    finally:
        with open(NR_HUGE, "w") as f:
            f.write(before)


class Held:
    def __init__(self, how="", tunables=None):
        more = {"GLIBC_TUNABLES": f"glibc.malloc.{tunables}"} if tunables else {}
        self.process = subprocess.Popen([f"{work}/held", how], env={**env, **more}, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def __enter__(self):
        self.blocks = int(self.process.stdout.readline())
        beside.expect(lambda: set(beside.states(self.pid)) == {"S"}, "all threads to sleep")
        return self

    def __exit__(self, *_):
        self.process.communicate()


def attach(pid, *options):
    beside.remove(trail)
    return subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "-d", "200ms", *options, "-p", str(pid)], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)


def leaks():
    return json.loads(subprocess.check_output([HEAPTRAIL, "leaks", "--json", trail], text=True, timeout=tap.PATIENCE))


def own_kinds(data):
    """Blocks of each kind, of what the program itself asked for."""
    found = dict.fromkeys(KINDS, 0)
    for x in data["leaks"]:
        if any((f["function"] or "") == "take" for f in x["frames"]):
            found[x["kind"]] += x["blocks"]
    return found


def check_frag(what, pid):
    r = subprocess.run([HEAPTRAIL, "frag", "--json", "-p", str(pid), "-d", "100ms"], env=env, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=tap.PATIENCE)
    if not tap.ok(r.returncode == 0, f"{what}: frag {r.stderr}"):
        return None
    return json.loads(r.stdout)


# ---- huge pages ----------------------------------------------------------------------------


def check_tunables(what, tunables, are_real):
    with Held("", tunables) as p:
        r = attach(p.pid, "--walk-heap", "--max-pause", "30s", "--reachable")
        before = beside.report(trail)["recording"]["from_before"]
        # besides its own: stdio's buffer, and for each thread what pthread_create() has
        tap.ok(r.returncode == 0 and not r.stderr and not before["error"] and 0 < before["blocks"] - p.blocks <= 5,
               f"{what}: --walk-heap finds {before['blocks']} blocks, its own are {p.blocks} {before['error']} {r.stderr}")
        kinds = leaks()["reachability"]
        found = {k: kinds[k]["blocks"] for k in KINDS}
        tap.ok(not kinds["cautious"] and found["definite"] == KINDS["definite"] and found["indirect"] == KINDS["indirect"] and
               0 <= found["reachable"] + found["possible"] - KINDS["reachable"] - KINDS["possible"] <= 5,
               f"{what}: with --reachable all kinds are known of blocks from before, too: {found} {kinds['cautious']}")
        data = check_frag(what, p.pid)
        parts = data["parts"] if data else {}
        tap.ok(data and parts["unexplained_bytes"] == 0 and sum(parts.values()) == data["rss_bytes"], f"{what}: frag's parts add up: {parts}")
        # what is of the pool of huge pages the kernel does not count
        tap.ok(data and parts["anonymous_bytes"] < 100000 and (are_real or parts["unknown_bytes"] > 3000000),
               f"{what}: arenas are known as malloc's")
    more = {"GLIBC_TUNABLES": f"glibc.malloc.{tunables}"} if tunables else {}
    beside.remove(trail)
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--reachable", "--", f"{work}/held", "", "end"], env={**env, **more},
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    tap.ok(own_kinds(leaks()) == KINDS, f"{what}: --reachable of a command: {own_kinds(leaks())}, not {KINDS} {r.stderr}")


def tunables():
    for what, tunables_, are_real in TUNABLES:
        if not are_real:
            check_tunables(what, tunables_, False)
            continue
        try:
            with huge_pages(160) as n:
                if n < 160:
                    tap.skip(what, f"{n} huge pages are to be had")
                else:
                    check_tunables(what, tunables_, True)
        except OSError as e:
            tap.skip(what, f"no huge pages: {e}")


# ---- reserved memory -----------------------------------------------------------------------


def reserved():
    with Held("h") as p:
        data = check_frag("16 TiB reserved", p.pid)
        held = data["held_ns"] if data else None
        tap.ok(data and sum(data["parts"].values()) == data["rss_bytes"] and held < HELD_AT_MOST, f"frag, held for {held} ns")
        r = attach(p.pid, "--walk-heap", "--reachable", "--max-pause", "5s")
        before, reach = beside.report(trail)["recording"]["from_before"], leaks()["reachability"]
        tap.ok(r.returncode == 0 and not r.stderr and before["blocks"] >= p.blocks and before["held_ns"] < HELD_AT_MOST,
               f"--walk-heap: {before} {r.stderr}")
        tap.ok(reach and not reach["cautious"] and reach["definite"]["blocks"] == KINDS["definite"] and
               reach["held_ns"] < HELD_AT_MOST, f"--reachable: {reach}")
        r = attach(p.pid, "--reachable", "--max-pause", "5s")
        reach = leaks()["reachability"]
        tap.ok(reach and reach["cautious"] and reach["held_ns"] < HELD_AT_MOST, f"--reachable, cautiously: {reach} {r.stderr}")


# ---- what is resident ----------------------------------------------------------------------


def resident(pid):
    """Of each mapping that is not code, where probes are: what smaps says."""
    found, key = {}, None
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            head = re.match(r"([0-9a-f]+-[0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
            if head:
                key = head.groups() if "x" not in head.group(2) else None
            elif key and line.startswith(("Rss:", "Swap:", "Anonymous:", "AnonHugePages:")):
                found[key, line.split(":")[0]] = line.split(":")[1].strip()
    return found, beside.status(pid, "RssShmem")


def unseen():
    looks = {"frag": lambda p: check_frag("sparse memory", p.pid), "--walk-heap": lambda p: attach(p.pid, "--walk-heap", "--max-pause", "30s"),
             "--reachable": lambda p: attach(p.pid, "--reachable", "--max-pause", "30s"),
             "both": lambda p: attach(p.pid, "--walk-heap", "--reachable", "--max-pause", "30s")}
    for what, look in looks.items():
        with Held("s") as p:
            before = resident(p.pid)
            look(p)
            after = resident(p.pid)
            different = [(k, before[0].get(k), after[0].get(k)) for k in before[0].keys() | after[0].keys() if before[0].get(k) != after[0].get(k)]
            tap.ok(len(before[0]) > 50 and not different and before[1] == after[1],
                   f"{what}: nothing becomes resident by it {different[:5]} {before[1]} {after[1]}")


try:
    build()
    tap.run_as_root([tunables, reserved, unseen])
finally:
    shutil.rmtree(work, ignore_errors=True)
