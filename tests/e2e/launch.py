#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Launching: from the first allocation to the exit, through execs, signals, stops and full rings."""
import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-launch.")
os.chmod(work, 0o755)
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
trail = f"{work}/t.trail"


def record(*command, options=(), **kw):
    kw.setdefault("env", env)
    return subprocess.run([HEAPTRAIL, "record", "--force", "-o", trail, *options, "--", *command],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **kw)


def report(by="module", path=trail):
    return json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", "--by", by, path]))


def row(r, name):
    return next((x for x in r["rows"] if (x.get("module") or "").endswith(name)), {})


def sql(query, path=trail):
    with sqlite3.connect(path) as db:
        return db.execute(query).fetchall()


def constructors():
    r = record(f"{TARGETS}/constructor")
    lib = row(report(), "/libconstructor.so")
    tap.ok(r.returncode == 0 and lib.get("alloc_calls") == 101, "allocations of constructors and destructors are seen")
    tap.ok(lib.get("leaked_blocks") == 11 and lib.get("leaked_bytes") == 10 * 123 + 77, "and what is left of them")


def static():
    r = record(f"{TARGETS}/simple-static", "malloc", "500", "40", "free", "200", env={"PATH": env["PATH"]})
    s = row(report(), "/simple-static")
    tap.ok(r.returncode == 0 and s.get("leaked_blocks", 0) >= 300 and s.get("alloc_calls", 0) >= 500,
           f"a static program is recorded: {s.get('alloc_calls')} calls, {s.get('leaked_blocks')} leaked")


def statuses():
    for command, want in ((["exit", "7"], 7), (["signal", "9"], 137), (["signal", "11"], 139)):
        r = record(f"{TARGETS}/simple", "malloc", "3", "1000", *command)
        tap.ok(r.returncode == want, f"{' '.join(command)}: exit status {r.returncode} = {want}")
        tap.ok(row(report(), "/simple").get("leaked_bytes") == 3000, "and what was live then")
    got = sql("SELECT exit_status, exit_signal FROM process")
    tap.ok(got == [(None, 11)], f"the signal is in the recording: {got}")
    r = record("/nonexistent/program")
    tap.ok(r.returncode == 127 and "cannot run" in r.stderr and not os.path.exists(trail + "x"),
           "127 for a program that is not there")
    r = record("/etc/passwd")
    tap.ok(r.returncode == 126 and "permission denied" in r.stderr, "126 for one that cannot be run")
    script = f"{work}/script"
    with open(script, "w") as f:
        f.write("#!/no/such/interpreter\n")
    os.chmod(script, 0o755)
    r = record(script)
    tap.ok(r.returncode == 127 and "interpreter" in r.stderr, "a script with a missing interpreter: said so")


def deaths():
    r = record(f"{TARGETS}/simple", "malloc", "3", "1000", "corrupt")
    tap.ok(r.returncode == 134 and row(report(), "/simple").get("leaked_blocks") in (2, 3) and
           sql("SELECT exit_signal FROM process") == [(6,)], f"an abort within free: {r.returncode}")
    for name, options in (("ptrace", []), ("signals", ["--no-ptrace"])):
        r = record(f"{TARGETS}/simple", "malloc", "5", "100", "leave", "malloc", "7", "100", "exit", "3", options=options)
        data = report()
        mine = row(data, "/simple")
        text = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
        tap.ok(r.returncode == 3 and mine.get("alloc_calls") in (5, 12) and data["recording"]["complete"] and
               data["recording"]["exited"],
               f"by {name}: the main thread ends before others: {mine.get('alloc_calls')} calls up to there")
        tap.ok(mine.get("alloc_calls") == 12 or (data["summary"]["lost_events"] > 0 and "main thread ended before" in text and
                                                 "main thread ended before" in r.stderr), "and that others' are missing is said")


def execs():
    for name, options in (("ptrace", []), ("signals", ["--no-ptrace"])):
        r = record("/bin/sh", "-c", f"exec {TARGETS}/simple malloc 10 100 exec {TARGETS}/simple malloc 5 300 free 1",
                   options=options)
        data = report()
        spaces = sql("SELECT executable, \"end\" FROM space ORDER BY id")
        tap.ok(r.returncode == 0 and [s[1] for s in spaces] == ["exec", "exec", "exit"] and
               [os.path.basename(s[0]) for s in spaces][1:] == ["simple", "simple"],
               f"a chain of execs, by {name}: {spaces}")
        mine = row(data, "/simple")
        tap.ok(mine.get("alloc_calls") == 15 and mine.get("leaked_blocks") == 4 and mine.get("leaked_bytes") == 1200,
               f"by {name}: allocations of all, leaks of the last: {mine}")


def stops():
    for name, options in (("ptrace", []), ("signals", ["--no-ptrace"])):
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", f"{TARGETS}/simple",
                              "malloc", "2", "50", "say", "before", "stop", "say", "after", "malloc", "3", "50"],
                             env=env, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        child = None
        for _ in range(100):
            time.sleep(0.05)
            kids = subprocess.run(["pgrep", "-P", str(p.pid)], stdout=subprocess.PIPE, text=True).stdout.split()
            states = {k: open(f"/proc/{k}/stat").read().rsplit(")", 1)[1].split()[0] for k in kids}
            child = next((int(k) for k, s in states.items() if s in "Tt"), None)
            if child:
                break
        time.sleep(0.3)
        still = child and open(f"/proc/{child}/stat").read().rsplit(")", 1)[1].split()[0] in "Tt"
        tap.ok(bool(still), f"by {name}: a target that stops itself stays stopped")
        if child:
            os.kill(child, signal.SIGCONT)
        rest = p.stdout.read()
        tap.ok(p.wait() == 0 and rest == "after\n" and row(report(), "/simple").get("alloc_calls") == 5,
               f"by {name}: and goes on with SIGCONT")


def interrupts():
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{TARGETS}/simple", "catch", "malloc",
                          "4", "10", "say", "ready", "sleep", "100000"], env=env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, start_new_session=True)
    p.stdout.readline()
    time.sleep(0.3)
    os.killpg(p.pid, signal.SIGINT)  # as a terminal does
    tap.ok(p.stdout.readline() == "interrupted\n" and p.poll() is None, "the first Ctrl-C is the command's alone")
    # its sleep was cut short: it ends by itself
    tap.ok(p.wait(timeout=120) == 0, "the recorder ends with the command")
    tap.ok(row(report(), "/simple").get("alloc_calls") == 4, "and has all of it")
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{TARGETS}/steady", "--gentle"],
                         env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p.stdout.readline()
    time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    tap.ok(p.wait(timeout=120) == 0 and sql("SELECT \"end\" FROM space") == [("detach",)],
           "the second Ctrl-C stops the recording")
    p.stdin.close()
    tap.ok(p.stdout.read().startswith("right"), "and the command runs on, unharmed")


def duration():
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", "400ms", "--", f"{TARGETS}/steady",
                          "--gentle"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    status = p.wait(timeout=120)
    events = report()["recording"]["events"]
    p.stdin.close()
    tap.ok(status == 0 and events > 1000 and p.stdout.read().split()[3:4] == ["right"],
           f"-d lets go of a launched command, which runs on ({events} events)")


def exec_after():
    """It is let go, and only then becomes another program: nobody may hold it."""
    for options in ([], ["--no-ptrace"]):
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", "300ms", *options, "--", "/bin/sh",
                              "-c", f"sleep 1; exec {TARGETS}/simple malloc 1 1 say done"],
                             env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            said, _ = p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            said = "nothing"
        tap.ok(said == "done\n", f"a command that was let go {options} can exec: {said!r}")


def namespaces():
    for options in ([], ["--no-ptrace"]):
        r = subprocess.run(["unshare", "-pf", "--mount-proc", HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options,
                            "--", "/bin/sh", "-c", f"exec {TARGETS}/simple malloc 10 100 exec {TARGETS}/simple malloc 5 300"],
                           env=env, timeout=60)
        spaces = sql("SELECT executable, \"end\" FROM space ORDER BY id")
        mine = row(report(), "/simple")
        tap.ok(r.returncode == 0 and [s[1] for s in spaces] == ["exec", "exec", "exit"] and mine.get("leaked_blocks") == 5,
               f"in a PID namespace of its own, {options}: {[s[1] for s in spaces]}, {mine.get('leaked_blocks')} leaked")


def full_ring():
    r = record(f"{TARGETS}/noisy", "8", "40000", options=["--ring-size", "1"])
    s = report()["summary"]
    noisy = row(report(), "/noisy")
    tap.ok(r.returncode == 0 and s["lost_events"] == 0 and noisy.get("alloc_calls") == 320000,
           f"a small ring makes a launched target wait: {noisy.get('alloc_calls')} of 320000, {s['lost_events']} lost")
    tap.ok(s["alloc_calls"] == s["free_calls"] + s["leaked_blocks"] and not s["double_frees"] and
           not s["unknown_frees"], "and all of it adds up")
    # a recorder that sleeps: only a stop can keep the events then
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--ring-size", "1", "--",
                          f"{TARGETS}/noisy", "4", "60000"], env=env, stdout=subprocess.PIPE, text=True)
    noisy = beside.wait_until(lambda: next((k for k in tap.children(p.pid) if beside.status(k, "Name") == "noisy"), None))
    beside.wait_until(lambda: beside.is_armed(trail))
    p.send_signal(signal.SIGSTOP)
    held = noisy and beside.wait_until(lambda: "T" in beside.states(noisy))
    p.send_signal(signal.SIGCONT)
    p.wait(timeout=60)
    s = report()["summary"]
    loss = dict(sql("SELECT kind, count FROM loss"))
    tap.ok(s["lost_events"] == 0 and row(report(), "/noisy").get("alloc_calls") == 240000 and held and loss["holds"] > 0,
           f"a recorder that is held up stops the target instead of losing events: {loss['holds']} holds")


def drops():
    if os.path.exists(trail):
        os.unlink(trail)
    p = subprocess.Popen([f"{TARGETS}/steady"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    r = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--ring-size", "1", "-p", str(p.pid)])
    for _ in range(200):  # until it records
        time.sleep(0.1)
        if os.path.exists(trail) and subprocess.run([HEAPTRAIL, "report", "--json", trail], stdout=subprocess.PIPE,
                                                    stderr=subprocess.DEVNULL).stdout.find(b'"alloc_calls": 0,') < 0:
            break
    r.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    state = open(f"/proc/{p.pid}/stat").read().rsplit(")", 1)[1].split()[0]
    r.send_signal(signal.SIGCONT)
    time.sleep(0.2)
    r.send_signal(signal.SIGINT)
    r.wait(timeout=120)
    p.stdin.close()
    right = p.stdout.read().startswith("right")
    p.wait()
    s = report()["summary"]
    text = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    tap.ok(right and state in "RS" and s["lost_events"] > 0 and "WARNING" in text,
           f"an attached process is never stopped: {s['lost_events']} events lost, counted and said")
    tap.ok(not s["double_frees"], "and losses make no double frees")


def memory():
    for blocks in (1000, 300000, 1000000):
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{TARGETS}/simple", "malloc",
                              str(blocks), "24"], env=env)
        most = 0
        while p.poll() is None:
            try:
                with open(f"/proc/{p.pid}/status") as f:
                    most = max([most] + [int(x.split()[1]) * 1024 for x in f if x.startswith("VmHWM:")])
            except OSError:
                pass
            time.sleep(0.005)
        bar = 60e6 + 64 * blocks
        tap.ok(p.returncode == 0 and report()["summary"]["live_blocks"] >= blocks and 1e6 < most <= bar,
               f"the recorder of {blocks:,} live blocks needs {most / 1e6:.1f} MB, at most {bar / 1e6:.1f}")


def internal_and_double():
    r = record(f"{TARGETS}/simple", "malloc", "5", "64", "double", "exit", "0")
    s = report()["summary"]
    tap.ok(r.returncode == 0 and s["double_frees"] == 1 and s["free_calls"] == 1 and s["leaked_blocks"] == 5,
           f"a double free is counted as one: {s['double_frees']}, free calls {s['free_calls']}")
    record(f"{TARGETS}/noisy", "4", "1000")
    s = report()["summary"]
    tap.ok(s["internal_frees"] > 0 and s["double_frees"] == 0 and s["unknown_frees"] == 0,
           f"what glibc frees of its caches at a thread's exit is told apart: {s['internal_frees']}")


def sudo():
    user = pwd.getpwnam("nobody")
    folder = f"{work}/theirs"
    os.mkdir(folder)
    os.chown(folder, user.pw_uid, user.pw_gid)
    path = f"{folder}/t.trail"
    e = {**env, "SUDO_UID": str(user.pw_uid), "SUDO_GID": str(user.pw_gid), "SUDO_USER": "nobody"}
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", path, "--", "/usr/bin/id", "-un"], env=e, stdout=subprocess.PIPE,
                       text=True, timeout=60)
    st = os.stat(path) if os.path.exists(path) else None
    tap.ok(r.returncode == 0 and r.stdout == "nobody\n", f"under sudo the command runs as the caller: {r.stdout!r}")
    tap.ok(st and st.st_uid == user.pw_uid and st.st_gid == user.pw_gid and st.st_mode & 0o777 == 0o600,
           "and the recording is theirs alone")
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", f"{work}/t2.trail", "--", "/bin/true"], env=e,
                       stderr=subprocess.PIPE, text=True, timeout=60)
    tap.ok(r.returncode == 125 and "permission denied" in r.stderr, "where they may not write, neither may we")
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--as-root", "-o", f"{work}/t3.trail", "--", "/usr/bin/id", "-un"],
                       env=e, stdout=subprocess.PIPE, text=True, timeout=60)
    tap.ok(r.stdout == "root\n", "--as-root keeps root")


def names():
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", "a.%c.%p.%%.trail", "--", f"{TARGETS}/simple", "malloc", "1", "1"],
                       env=env, cwd=work)
    made = [f for f in os.listdir(work) if f.startswith("a.simple.") and f.endswith(".%.trail")]
    tap.ok(r.returncode == 0 and len(made) == 1, f"%c, %p and %% in the name: {made}")
    tap.ok(not [f for f in os.listdir(work) if f.endswith(("-wal", "-shm"))], "one file after a clean stop")
    times = sql("SELECT first_ns, last_ns FROM chunk", f"{work}/{made[0]}")
    tap.ok(all(a <= b for a, b in times), "times do not run back")


try:
    tap.run_as_root([constructors, static, statuses, deaths, execs, stops, interrupts, duration, exec_after, namespaces,
                     full_ring, drops, memory, internal_and_double, sudo, names])
finally:
    shutil.rmtree(work, ignore_errors=True)
