#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Launching: from the first allocation to the exit, through execs, signals, stops and full rings."""
import os
import pwd
import shutil
import signal
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
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE, **kw)


def report():
    return beside.report(trail)


def sql(query):
    return beside.sql(trail, query)


def constructors():
    r = record(f"{TARGETS}/constructor")
    lib = beside.calls_from(trail, "/libconstructor.so")
    tap.ok(r.returncode == 0 and lib.get("alloc_calls") == 101, "allocations of constructors and destructors are seen")
    tap.ok(lib.get("leaked_blocks") == 11 and lib.get("leaked_bytes") == 10 * 123 + 77, "and what is left of them")


def static():
    r = record(f"{TARGETS}/simple-static", "malloc", "500", "40", "free", "200", env={"PATH": env["PATH"]})
    s = beside.calls_from(trail, "/simple-static")
    tap.ok(r.returncode == 0 and s.get("leaked_blocks", 0) >= 300 and s.get("alloc_calls", 0) >= 500,
           f"a static program is recorded: {s.get('alloc_calls')} calls, {s.get('leaked_blocks')} leaked")


def statuses():
    for command, want in ((["exit", "7"], 7), (["signal", "9"], 137), (["signal", "11"], 139)):
        r = record(f"{TARGETS}/simple", "malloc", "3", "1000", *command)
        tap.ok(r.returncode == want, f"{' '.join(command)}: exit status {r.returncode} = {want}")
        tap.ok(beside.calls_from(trail, "/simple").get("leaked_bytes") == 3000, "and what was live then")
    got = sql("SELECT exit_status, exit_signal FROM process")
    tap.ok(got == [(None, 11)], f"the signal is in the recording: {got}")
    beside.remove(trail)
    r = record("/nonexistent/program")
    tap.ok(r.returncode == 127 and "cannot run" in r.stderr and not os.path.exists(trail),
           "127 for a program that is not there, and no recording")
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
    tap.ok(r.returncode == 134 and beside.calls_from(trail, "/simple").get("leaked_blocks") in (2, 3) and
           sql("SELECT exit_signal FROM process") == [(6,)], f"an abort within free: {r.returncode}")
    for name, options in (("ptrace", []), ("signals", ["--no-ptrace"])):
        r = record(f"{TARGETS}/simple", "malloc", "5", "100", "leave", "malloc", "7", "100", "exit", "3", options=options)
        data = report()
        mine = beside.calls_from(trail, "/simple")
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
        mine = beside.calls_from(trail, "/simple")
        tap.ok(mine.get("alloc_calls") == 15 and mine.get("leaked_blocks") == 4 and mine.get("leaked_bytes") == 1200,
               f"by {name}: allocations of all, leaks of the last: {mine}")


def stops():
    for name, options in (("ptrace", []), ("signals", ["--no-ptrace"])):
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options, "--", f"{TARGETS}/simple",
                              "malloc", "2", "50", "say", "before", "stop", "say", "after", "malloc", "3", "50"],
                             env=env, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        child = beside.wait_until(lambda: next((c for c in beside.children(p.pid) if beside.state(c) in ("T", "t")), None))
        time.sleep(0.3)
        still = child and beside.state(child) in ("T", "t")
        tap.ok(bool(still), f"by {name}: a target that stops itself stays stopped")
        if child:
            os.kill(child, signal.SIGCONT)
        rest = p.stdout.read()
        tap.ok(p.wait() == 0 and rest == "after\n" and beside.calls_from(trail, "/simple").get("alloc_calls") == 5,
               f"by {name}: and goes on with SIGCONT")


def interrupts():
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{TARGETS}/simple", "catch", "malloc",
                          "4", "10", "say", "ready", "sleep", "100000"], env=env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, start_new_session=True)
    p.stdout.readline()
    target = beside.child(p.pid, "simple")
    beside.expect(lambda: beside.state(target) == "S", "the command to sleep")
    os.killpg(p.pid, signal.SIGINT)  # as a terminal does
    tap.ok(p.stdout.readline() == "interrupted\n", "the first Ctrl-C is the command's")
    # its sleep was cut short: it ends by itself
    tap.ok(p.wait(tap.PATIENCE) == 0 and report()["recording"]["exited"], "and its alone: the recorder ends with the command")
    tap.ok(beside.calls_from(trail, "/simple").get("alloc_calls") == 4, "and has all of it")
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{TARGETS}/steady", "--gentle"],
                         env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p.stdout.readline()
    beside.interrupt(p)
    beside.interrupt(p)
    tap.ok(p.wait(tap.PATIENCE) == 0 and sql("SELECT \"end\" FROM space") == [("detach",)],
           "the second Ctrl-C stops the recording")
    p.stdin.close()
    tap.ok(p.stdout.read().startswith("right"), "and the command runs on, unharmed")


def duration():
    for ms in (400, 4000, 40000):  # as much as it takes to see some of it
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", f"{ms}ms", "--", f"{TARGETS}/steady",
                              "--gentle"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        status = p.wait(tap.PATIENCE)
        events = report()["recording"]["events"]
        p.stdin.close()
        right = p.stdout.read().split()[3:4] == ["right"]
        if events > 1000:
            break
    tap.ok(status == 0 and events > 1000 and right, f"-d lets go of a launched command, which runs on ({events} events in {ms} ms)")


def exec_after():
    """It is let go, and only then becomes another program: nobody may hold it."""
    for options in ([], ["--no-ptrace"]):
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "-d", "300ms", *options, "--", "/bin/sh",
                              "-c", f"read go; exec {TARGETS}/simple malloc 1 1 say done"],
                             env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        status = p.wait(tap.PATIENCE)
        try:
            said, _ = p.communicate("go\n", timeout=tap.PATIENCE)
        except subprocess.TimeoutExpired:
            said = "nothing"
        tap.ok(status == 0, f"a command {options} is let go: {status}")
        tap.ok(said == "done\n", f"a command that was let go {options} can exec: {said!r}")


def namespaces():
    for options in ([], ["--no-ptrace"]):
        r = subprocess.run(["unshare", "-pf", "--mount-proc", HEAPTRAIL, "record", "-q", "--force", "-o", trail, *options,
                            "--", "/bin/sh", "-c", f"exec {TARGETS}/simple malloc 10 100 exec {TARGETS}/simple malloc 5 300"],
                           env=env, timeout=tap.PATIENCE)
        spaces = sql("SELECT executable, \"end\" FROM space ORDER BY id")
        mine = beside.calls_from(trail, "/simple")
        tap.ok(r.returncode == 0 and [s[1] for s in spaces] == ["exec", "exec", "exit"] and mine.get("leaked_blocks") == 5,
               f"in a PID namespace of its own, {options}: {[s[1] for s in spaces]}, {mine.get('leaked_blocks')} leaked")


def full_ring():
    r = record(f"{TARGETS}/noisy", "8", "40000", options=["--ring-size", "1"])
    s = report()["summary"]
    noisy = beside.calls_from(trail, "/noisy")
    tap.ok(r.returncode == 0 and s["lost_events"] == 0 and noisy.get("alloc_calls") == 320000,
           f"a small ring makes a launched target wait: {noisy.get('alloc_calls')} of 320000, {s['lost_events']} lost")
    tap.ok(s["alloc_calls"] == s["free_calls"] + s["leaked_blocks"] and not s["double_frees"] and
           not s["unknown_frees"], "and all of it adds up")
    # a recorder that sleeps: only a stop can keep the events then
    beside.remove(trail)
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--ring-size", "1", "--", f"{TARGETS}/steady"],
                         env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    beside.expect(lambda: beside.n_chunks(trail), "the first events")
    target = beside.child(p.pid, "steady")
    p.send_signal(signal.SIGSTOP)
    held = beside.wait_until(lambda: "T" in beside.states(target))
    p.send_signal(signal.SIGCONT)
    p.stdin.close()
    said = p.stdout.read().split()
    p.wait(tap.PATIENCE)
    s = report()["summary"]
    holds, mine = beside.losses(trail)["holds"], beside.calls_from(trail, "/steady").get("alloc_calls")
    tap.ok(s["lost_events"] == 0 and said == ["right", str(mine)] and held and holds > 0,
           f"a recorder that is held up stops the target instead of losing events: {holds} holds, {mine} calls, {said}")


def drops():
    p = subprocess.Popen([f"{TARGETS}/steady"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    r = beside.attach(p.pid, trail, "--ring-size", "1")
    beside.expect(lambda: beside.n_chunks(trail), "the first events")
    states = beside.overrun(r, p.pid)
    before = beside.n_events(trail)
    beside.expect(lambda: beside.n_events(trail) > before, "it to go on")
    beside.interrupt(r)
    r.wait(tap.PATIENCE)
    p.stdin.close()
    right = p.stdout.read().startswith("right")
    p.wait()
    s = report()["summary"]
    text = subprocess.check_output([HEAPTRAIL, "report", trail], text=True)
    tap.ok(right and not set(states) & set("Tt") and s["lost_events"] > 0 and "WARNING" in text,
           f"an attached process is never stopped: {s['lost_events']} events lost, counted and said")
    tap.ok(not s["double_frees"], "and losses make no double frees")


def memory():
    for blocks in (1000, 300000, 1000000):
        p = subprocess.Popen([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", f"{TARGETS}/simple", "malloc",
                              str(blocks), "24"], env=env)
        most = 0
        while p.poll() is None:
            most = max(most, (beside.kib(p.pid, "VmHWM") or 0) * 1024)
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
                       text=True, timeout=tap.PATIENCE)
    st = os.stat(path) if os.path.exists(path) else None
    tap.ok(r.returncode == 0 and r.stdout == "nobody\n", f"under sudo the command runs as the caller: {r.stdout!r}")
    tap.ok(st and st.st_uid == user.pw_uid and st.st_gid == user.pw_gid and st.st_mode & 0o777 == 0o600,
           "and the recording is theirs alone")
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", f"{work}/t2.trail", "--", "/bin/true"], env=e,
                       stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    tap.ok(r.returncode == 125 and "permission denied" in r.stderr, "where they may not write, neither may we")
    r = subprocess.run([HEAPTRAIL, "record", "-q", "--as-root", "-o", f"{work}/t3.trail", "--", "/usr/bin/id", "-un"],
                       env=e, stdout=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
    tap.ok(r.stdout == "root\n", "--as-root keeps root")


def names():
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", "a.%c.%p.%%.trail", "--", f"{TARGETS}/simple", "malloc", "1", "1"],
                       env=env, cwd=work)
    made = [f for f in os.listdir(work) if f.startswith("a.simple.") and f.endswith(".%.trail")]
    tap.ok(r.returncode == 0 and len(made) == 1, f"%c, %p and %% in the name: {made}")
    tap.ok(not [f for f in os.listdir(work) if f.endswith(("-wal", "-shm"))], "one file after a clean stop")
    times = beside.sql(f"{work}/{made[0]}", "SELECT first_ns, last_ns FROM chunk")
    tap.ok(all(a <= b for a, b in times), "times do not run back")


try:
    tap.run_as_root([constructors, static, statuses, deaths, execs, stops, interrupts, duration, exec_after, namespaces,
                     full_ring, drops, memory, internal_and_double, sudo, names])
finally:
    shutil.rmtree(work, ignore_errors=True)
