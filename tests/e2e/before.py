#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`record --walk-heap -p PID`: blocks from before the attach, of programs that know theirs; what cannot be read, and why."""
import os
import signal
import subprocess
import tempfile
import time

import beside
import tap
from beside import HEAPTRAIL, TARGETS, report

work = tempfile.mkdtemp(prefix="heaptrail-before.")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": tap.private_libc(work)}
trail = f"{work}/t.trail"
SEED = tap.seed()
PATIENT = ("--max-pause", "30s")  # others may need the processor


class Target:
    """heap_blocks: what it says of its own blocks."""

    def __init__(self, scenario, threads, blocks=1000, seed=0, program="heap_blocks", **more):
        self.threads = threads
        self.process = subprocess.Popen([f"{TARGETS}/{program}", scenario, str(threads), str(SEED + seed), str(blocks)],
                                        env={**env, **more}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        if scenario == "busy":
            self.process.stdout.readline()
        else:
            self.read()

    def read(self):
        self.blocks = {}
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "block":
                self.blocks[int(rest[0], 16)] = int(rest[1])
            elif word == "ready":
                return

    def stop(self):
        """All its threads stand still; what they have is said."""
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        self.read()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(tap.PATIENCE)


def record(pid, *options):
    beside.remove(trail)
    return subprocess.run([HEAPTRAIL, "record", "-o", trail, "-d", "100ms", *options, "-p", str(pid)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)


def live():
    """Blocks at the end of the recording, by address: what of them is usable, and which thread made them."""
    blocks = {}
    for line in subprocess.check_output([f"{TARGETS}/dump", "--long", trail], text=True, timeout=tap.PATIENCE).splitlines():
        kind, cls, thread, _, _, _, address, usable, _, old, *_ = line.split()
        if kind == "realloc" or (kind == "free" and cls in ("0", "1", "5", "6")):
            del blocks[int(old, 16)]
        if kind in ("alloc", "realloc"):
            blocks[int(address, 16)] = int(usable), thread
    return blocks


def facts():
    return dict(beside.sql(trail, "SELECT key, value FROM recording WHERE key LIKE 'from_before%'"))


def compare(target, own):
    """What is wrong with the blocks that the recording ends with; @own: so many are the C library's."""
    found, wrong = live(), []
    r = report(trail)
    s, before = r["summary"], r["recording"]["from_before"]
    missing = [hex(b) for b in target.blocks if b not in found]
    other = [hex(b) for b, n in target.blocks.items() if b in found and found[b][0] != n]
    extra = {b: n for b, n in found.items() if b not in target.blocks}
    if missing or other:
        wrong.append(f"{len(missing)} missing, {len(other)} of another size: {(missing + other)[:3]}")
    if len(extra) != own or any(thread != "0" for _, thread in extra.values()):
        wrong.append(f"{len(extra)} that are nobody's instead of {own}: {list(extra.values())[:12]}")
    if s["live_blocks"] != len(found) or s["live_blocks"] != before["blocks"] + s["alloc_calls"] - s["free_calls"]:
        wrong.append(f"the report has {s['live_blocks']} live blocks, the events {len(found)}; {before} + "
                     f"{s['alloc_calls']} - {s['free_calls']}")
    if before["error"] or before != {k[len("from_before_"):]: v for k, v in {**facts(), "from_before_error": None}.items()}:
        wrong.append(f"facts {before} {facts()}")
    wrong += [f"{key} {s[key]}" for key in ("lost_events", "unknown_frees", "double_frees", "mismatched_frees") if s[key]]
    wrong += [f"{k} {n}" for k, n in beside.losses(trail).items() if n and k == "implied_frees"]
    return wrong


def at_rest():
    for scenario, threads, program, own in (("churn", 0, "heap_blocks", 1), ("churn", 8, "heap_blocks", 9),
                                            ("mmapped", 8, "heap_blocks", 9), ("churn", 4, "heap_blocks-static", 12)):
        t = Target(scenario, threads, program=program)
        r = record(t.pid, "--walk-heap", *PATIENT)
        wrong = compare(t, own)
        s = report(trail)["summary"]
        usable = sum(n for n, _ in live().values())
        if s["alloc_calls"] or s["allocated_bytes"] or s["free_calls"] or s["live_bytes"] != usable or s["peak_bytes"] != usable:
            wrong.append(f"summary {s}")
        rows = report(trail, "thread")["rows"]
        if [(x["thread"], x["live_blocks"]) for x in rows] != [("[from before]", s["live_blocks"])]:
            wrong.append(f"rows {rows}")
        status = t.end()
        tap.ok(not wrong and r.returncode == 0 and "warning" not in r.stderr and status == 0,
               f"{program} {scenario}, {threads + 1} threads at rest: {', '.join(wrong)}{r.stderr if r.returncode else ''}")


def busy_run(threads, seed, options=(), **more):
    t = Target("busy", threads, 4000, seed=seed, **more)
    r = beside.attach(t.pid, trail, "--walk-heap", *PATIENT, "--ring-size", "256", *options)
    time.sleep(0.2)
    t.stop()
    beside.interrupt(r)
    r.wait(tap.PATIENCE)
    wrong = compare(t, 1 + threads) if not options else []
    if not wrong and not options and not report(trail)["summary"]["alloc_calls"]:
        wrong.append("nothing was called")
    status = t.end()
    if r.returncode or status:
        wrong.append(f"record ended with {r.returncode}, the target with {status}")
    return wrong


def busy():
    """Threads that allocate, free and reallocate all the time: no call is lost between the heap as it was and the first."""
    runs = int(os.environ.get("BEFORE_RUNS", "6"))
    for what, more in (("now and then", {}), ("without pause", {"HASTE": "1"})):
        bad = [f"run {i}: {wrong}" for i in range(runs) for wrong in [busy_run(8, i, **more)] if wrong]
        tap.ok(not bad, f"8 threads that allocate {what}, {runs} times: every block is there {bad}")


# A million blocks from before, and threads that allocate as fast as they can.  On "stop" it says what it has live.
CROWDED = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define BEFORE 1000000
#define THREADS 8
#define WINDOW 64
static void *volatile before[BEFORE];
static volatile int is_over;
static void *churn(void *arg)
{
	void *volatile *mine = arg;
	for (unsigned long i = 0; !is_over; i++) {
		free(mine[i % WINDOW]);
		mine[i % WINDOW] = malloc(16 + i % 300);
		if (i % 16 == 0) mine[i % WINDOW] = realloc((void *)mine[i % WINDOW], 500);
	}
	return arg;
}
int main(void)
{
	static void *volatile windows[THREADS][WINDOW];
	pthread_t t[THREADS];
	unsigned long live = BEFORE;
	char c;
	for (int i = 0; i < BEFORE; i++) before[i] = malloc(20 + i % 40);
	for (int i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, churn, (void *)windows[i]);
	if (write(1, "\n", 1) != 1 || read(0, &c, 1) != 1) return 1;
	is_over = 1;
	for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
	for (int i = 0; i < THREADS * WINDOW; i++) live += windows[0][i] != NULL;
	if (dprintf(1, "%lu\n", live) < 0 || read(0, &c, 1) != 1) return 1;
	return 0;
}
"""


def crowded():
    """While a million blocks are entered the threads go on: what they do meanwhile is kept, and comes behind."""
    with open(f"{work}/crowded.c", "w") as f:
        f.write(CROWDED)
    subprocess.run(["gcc", "-w", "-O2", "-pthread", "-o", f"{work}/crowded", f"{work}/crowded.c"], check=True)
    with subprocess.Popen([f"{work}/crowded"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as t:
        t.stdout.readline()
        r = beside.attach(t.pid, trail, "--walk-heap", *PATIENT, "--ring-size", "8")
        t.stdin.write(b"s")
        t.stdin.flush()
        live_blocks = int(t.stdout.readline())
        beside.interrupt(r)
        status = r.wait(tap.PATIENCE)
        t.stdin.write(b"e")
    s, f = report(trail)["summary"], facts()
    wrong = [f"{key} {s[key]}" for key in ("lost_events", "unknown_frees", "double_frees", "mismatched_frees") if s[key]]
    wrong += [f"{k} {n}" for k, n in beside.losses(trail).items() if n and k == "implied_frees"]
    # those of the C library: what pthread_create() has is freed when its thread was joined
    own = s["live_blocks"] - live_blocks
    tap.ok(status == 0 and not wrong and 0 <= own <= 9 and f["from_before_blocks"] >= 10**6 and s["alloc_calls"] > 0 and
           s["live_blocks"] == f["from_before_blocks"] + s["alloc_calls"] - s["free_calls"],
           f"a million blocks, and 8 threads without pause: {s['alloc_calls']} calls, {own} more blocks live than it has {wrong} {f}")


# Each thread leaves return addresses into malloc on its stack, and waits for ever, each in another call.
WAITING = r"""
#define _GNU_SOURCE
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
enum { FUTEX, FUTEX_BITSET, EPOLL, EPOLL2, POLL, PPOLL, PSELECT, SIGWAIT, NANOSLEEP, CLOCK, RECVMMSG, ACCEPT, READ, SEMOP, MSGRCV,
       WAITID, FLOCK, PAUSE, N };
static uint32_t word, always[4];
static int sem = -1, msg = -1;
static struct timespec long_time = {1000000, 0};
static void *waits(void *arg)
{
	int pair[2], fd;
	sigset_t none;
	sigemptyset(&none);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	for (int i = 0; i < 3000; i++) free(realloc(malloc(10 + i), 20 + 2 * i));
	switch ((long)arg) {
	case FUTEX: syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL); break;
	case FUTEX_BITSET: syscall(SYS_futex, &always[1], FUTEX_WAIT_BITSET, 0, &long_time, NULL, 1); break;
	case EPOLL: { struct epoll_event e; epoll_pwait(epoll_create1(0), &e, 1, -1, NULL); break; }
	case EPOLL2: { struct epoll_event e; syscall(441, epoll_create1(0), &e, 1, NULL, NULL, 0); break; }
	case POLL: poll(NULL, 0, -1); break;
	case PPOLL: ppoll(NULL, 0, NULL, &none); break;
	case PSELECT: pselect(0, NULL, NULL, NULL, NULL, &none); break;
	case SIGWAIT: sigaddset(&none, SIGUSR2); sigtimedwait(&none, NULL, &long_time); break;
	case NANOSLEEP: nanosleep(&long_time, NULL); break;
	case CLOCK: clock_nanosleep(CLOCK_REALTIME, 0, &long_time, NULL); break;
	case RECVMMSG: { struct mmsghdr m = {0}; recvmmsg(pair[0], &m, 1, 0, NULL); break; }
	case ACCEPT: { struct sockaddr_un a = {AF_UNIX}; fd = socket(AF_UNIX, SOCK_STREAM, 0); bind(fd, (void *)&a, 2); listen(fd, 1); accept(fd, NULL, NULL); break; }
	case READ: if (read(pair[0], &fd, 4)) break; break;
	case SEMOP: { struct sembuf b = {0, -1, 0}; sem = semget(IPC_PRIVATE, 1, 0600); syscall(SYS_semtimedop, sem, &b, 1, &long_time); break; }
	case MSGRCV: { struct { long type; char c[8]; } m; msgrcv(msg = msgget(IPC_PRIVATE, 0600), &m, 8, 0, 0); break; }
	case WAITID: { siginfo_t i; if (!fork()) { pause(); } waitid(P_ALL, 0, &i, WEXITED); break; }
	case FLOCK: { char name[64]; snprintf(name, 64, "/proc/self/exe"); fd = open(name, 0); flock(fd, LOCK_EX); flock(open(name, 0), LOCK_EX); break; }
	}
	for (;;) pause();
	return arg;
}
int main(void)
{
	static void *blocks[5000];
	pthread_t t;
	char c;
	for (long i = 0; i < N; i++) pthread_create(&t, NULL, waits, (void *)i);
	for (int i = 0; i < 5000; i++) *(void *volatile *)&blocks[i] = malloc(i);
	if (write(1, "\n", 1) != 1 || read(0, &c, 1) < 0) return 1;
	semctl(sem, 0, IPC_RMID);
	msgctl(msg, IPC_RMID, NULL);
	kill(0, SIGTERM);
	return 0;
}
"""


def waiting():
    """Threads that wait for ever, not in malloc but not long after it, do not keep the heap from being read."""
    with open(f"{work}/waiting.c", "w") as f:
        f.write(WAITING.replace("#include <linux/futex.h>", "#include <fcntl.h>\n#include <linux/futex.h>"))
    subprocess.run(["gcc", "-w", "-O1", "-pthread", "-o", f"{work}/waiting", f"{work}/waiting.c"], check=True)
    with subprocess.Popen([f"{work}/waiting"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as t:
        t.stdout.readline()
        beside.expect(lambda: set(beside.states(t.pid)) == {"S"} and len(beside.states(t.pid)) == 19, "all threads to wait")
        bad, calls = [], set()
        for tid in os.listdir(f"/proc/{t.pid}/task"):
            with open(f"/proc/{t.pid}/task/{tid}/syscall") as f:
                calls.add(f.read().split()[0])
        for i in range(3):  # each time they are in the calls anew: restarted, perhaps by restart_syscall()
            r = record(t.pid, "--walk-heap", *PATIENT)
            f = facts()
            if r.returncode or "from_before_error" in f or f["from_before_blocks"] < 5000:
                bad.append(f"run {i}: {r.returncode} {f} {r.stderr}")
        t.stdin.close()
        t.wait(tap.PATIENCE)
    tap.ok(not bad and len(calls) >= 12, f"threads that wait in {len(calls)} different calls {bad}")


def small():
    """Blocks from before that are small are counted as such."""
    wrong = busy_run(4, 0, ("--min-size", "512"))
    r = report(trail)
    s, n, before = r["summary"], r["recording"]["small"], r["recording"]["from_before"]
    calls = s["alloc_calls"] - s["free_calls"] + n["alloc_calls"] - n["free_calls"]
    tap.ok(not wrong and n["live_blocks"] > 0 and before["blocks"] + calls == s["live_blocks"] + n["live_blocks"]
           and min(usable for usable, _ in live().values()) >= 512 and not s["unknown_frees"],
           f"small ones {before} {n} {wrong}")


def unharmed():
    """A target that checks its blocks."""
    t = subprocess.Popen([f"{TARGETS}/steady"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    t.stdout.readline()
    code, bad = beside.code_of(t.pid), []
    for i in range(8):
        r = record(t.pid, "--walk-heap", "--max-pause", ("1ms", "20ms", "30s")[i % 3])
        s = report(trail)["summary"]
        if r.returncode or beside.code_of(t.pid) != code or "t" in beside.states(t.pid).lower():
            bad.append(f"run {i}: {r.returncode} {r.stderr} {beside.states(t.pid)}")
        if "from_before_error" not in facts() and not s["lost_events"] and s["unknown_frees"]:
            bad.append(f"run {i}: {s['unknown_frees']} unknown frees")
    t.stdin.close()
    said = t.stdout.read().split()
    tap.ok(not bad and t.wait(tap.PATIENCE) == 0 and said[:1] == ["right"], f"a target is as it was {bad} {said}")


def given_up():
    t = Target("churn", 2, 30000)
    r = record(t.pid, "--walk-heap", "--max-pause", "1ms")
    f = facts()
    tap.ok(r.returncode == 0 and f["from_before_blocks"] == 0 and "--max-pause" in f["from_before_error"]
           and f"warning: blocks from before the attach are not there in the recording: {f['from_before_error']}" in r.stderr
           and beside.is_armed(trail), f"a heap that takes longer: {f} {r.stderr}")
    text = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    tap.ok(f"not all: {f['from_before_error']}" in " ".join(text.split()), "the report says so")
    if r.stderr.count("ptrace") == 0:
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(t.pid)], stderr=subprocess.DEVNULL) \
            if os.access("/usr/bin/strace", os.X_OK) else None
        if not tracer:
            tap.skip("a process that is traced", "no strace")
        else:
            beside.expect(lambda: beside.status(t.pid, "TracerPid") != "0", "strace to trace")
            r = record(t.pid, "--walk-heap")
            tracer.send_signal(signal.SIGINT)
            tracer.wait(tap.PATIENCE)
            tap.ok(r.returncode == 0 and "cannot hold process" in facts().get("from_before_error", ""),
                   f"a process that is traced: {r.stderr}")
    t.end()


def jemalloc():
    path = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
    if not os.path.exists(path):
        tap.skip("another allocator", "no jemalloc")
        return
    t = Target("plain", 0, LD_PRELOAD=path)
    r = record(t.pid, "--walk-heap", *PATIENT)
    t.end()
    tap.ok(r.returncode == 0 and "jemalloc" in facts().get("from_before_error", ""), f"another allocator: {r.stderr}")


def usage():
    for options, words in ((("--walk-heap", "--", "true"), "for running processes"), (("--max-pause", "1s", "-p", "1"), "goes with"),
                           (("--walk-heap", "--max-pause", "1us", "-p", "1"), "from 1ms to 1m")):
        r = subprocess.run([HEAPTRAIL, "record", *options], stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
        tap.ok(words in r.stderr and r.returncode in (2, 125), f"{' '.join(options)}: {r.returncode} {r.stderr.strip()}")


TESTS = [at_rest, busy, crowded, waiting, small, unharmed, given_up, jemalloc, usage]
tap.run_as_root(TESTS)
