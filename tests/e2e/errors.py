#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What fails is said: what, on what, why, and what to do; with the right exit status, and nothing left behind."""
import ctypes
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-errors.")
os.chmod(work, 0o755)
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
mine = f"{work}/mine"  # where all of it runs: what is left here was left behind
os.mkdir(mine)
os.chmod(mine, 0o777)
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER, ADDR_NO_RANDOMIZE = 36, 0x0040000
# whose parent has ended becomes a child of this process: nothing that is left behind can hide
if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
    raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def run(*args, before=(), **kw):
    kw.setdefault("stderr", subprocess.PIPE)
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("env", env)
    kw.setdefault("cwd", mine)
    return subprocess.run([*before, HEAPTRAIL, *args], text=True, errors="replace", timeout=tap.PATIENCE, **kw)


def strays():
    """Processes that something has left behind; takes the status of those that have ended."""
    left = []
    for pid in beside.children(os.getpid()):
        if str(pid) in known:
            continue
        if beside.state(pid) == "Z":
            os.waitpid(pid, 0)
        else:
            left.append(pid)
    return left


def leftovers():
    """Files, and processes of ours, that are still there; takes them away."""
    files = os.listdir(mine)
    for f in files:
        path = f"{mine}/{f}"
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    beside.wait_until(lambda: not strays())  # a guard ends when the kernel has taken the probes off
    left = []
    while pids := strays():
        for pid in pids:
            left.append(f"process {pid} ({beside.comm(pid)})")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return files + left


known = []


def refused(name, status, message, *args, hint="", left=(), **kw):
    r = run(*args, **kw)
    lines = (r.stderr or "").splitlines()
    good = r.returncode == status and lines and lines[0].startswith("heaptrail: ") and message in lines[0]
    good = good and (not hint or len(lines) > 1 and lines[1].startswith("hint: ") and hint in lines[1])
    rest = leftovers()
    good = good and sorted(rest) == sorted(left)
    tap.ok(good, f"{name}: {status}, {message!r}, {hint!r}" +
           ("" if good else f" (got {r.returncode}, {r.stderr!r}, left {rest})"))
    return r


class Running:
    """A process of ours for a while."""

    def __init__(self, *command, **kw):
        kw.setdefault("env", env)
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kw)
        self.pid = str(self.p.pid)

    def __enter__(self):
        known.append(self.pid)
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.wait()
        known.remove(self.pid)


def steady(**kw):
    t = Running(f"{TARGETS}/steady", "--gentle", **kw)
    t.p.stdout.readline()
    return t


def report(path):
    return beside.report(os.path.join(mine, path))


def facts(path):
    return beside.info(os.path.join(mine, path))["facts"]


# ---- processes that cannot be attached to -------------------------------------------


def no_process():
    refused("no such process", 125, "cannot record process 2147483000: no such process", "record", "-p", "2147483000",
            hint="ps -e")
    refused("itself", 125, "this very heaptrail", "record", "-p", "1", before=["/bin/sh", "-c", 'shift 3; exec "$0" record -p $$'])
    kernel = next((p for p in os.listdir("/proc") if p.isdigit() and beside.comm(p) == "kthreadd"), None)
    if kernel:
        refused("a kernel thread", 125, "it is a kernel thread", "record", "-p", kernel, hint="no heap")
    else:
        tap.skip("a kernel thread", "there is none to be seen here, as in a PID namespace")
    with Running("/bin/true") as t:
        beside.expect(lambda: beside.state(t.pid) == "Z", "a zombie")
        refused("a zombie", 125, "it has ended (a zombie)", "record", "-p", t.pid, hint="parent")
    with steady() as t:
        tid = next(x for x in os.listdir(f"/proc/{t.pid}/task") if x != t.pid)
        refused("a thread", 125, f"it is a thread of process {t.pid}", "record", "-p", tid, hint=f"-p {t.pid}")
    code = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(3600,)).start();" \
           "ctypes.CDLL(None).syscall(60, 0)"
    with Running(sys.executable, "-c", code) as t:
        beside.expect(lambda: beside.state(t.pid) == "Z", "a zombie")
        refused("a main thread that has ended", 125, "its main thread has ended, 1 others run on", "record", "-p", t.pid,
                hint="record -- COMMAND")


def elf32(name, text):
    """A static 32-bit program of this code."""
    path = f"{work}/{name}"
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    head += struct.pack("<8I", 1, 0, 0x8048000, 0x8048000, 84 + len(text), 84 + len(text), 5, 4096)
    with open(path, "wb") as f:
        f.write(head + text)
    os.chmod(path, 0o755)
    return path


def foreign():
    try:
        t = Running(elf32("pause32", bytes.fromhex("b81d000000 cd80 ebf7")))  # pause() for ever
    except OSError as e:
        return tap.skip("a 32-bit process", f"this kernel runs none: {e}")
    with t:
        refused("a 32-bit process", 125, "not a 64-bit x86 program", "record", "-p", t.pid, hint="32-bit programs")
    r = run("record", "-o", "t.trail", "--", elf32("exit32", bytes.fromhex("b801000000 bb05000000 cd80")))  # exit(5)
    tap.ok(r.returncode == 5 and "32-bit" in r.stderr and leftovers() == ["t.trail"],
           f"a 32-bit command runs all the same, and the recorder says what is missing: {r.returncode} {r.stderr}")


def race(ms, reap):
    """Attaches to a process that lives for so long.  "said" or "recorded"; else what is wrong."""
    with Running(f"{TARGETS}/simple", "malloc", "100", "10", "sleep", str(ms)) as t:
        p = subprocess.Popen([HEAPTRAIL, "record", "-o", "r.trail", "-p", t.pid], cwd=mine, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        # the kernel may take its time where others detach probes, too
        end = time.monotonic() + tap.PATIENCE + ms / 1000
        while p.poll() is None and time.monotonic() < end:
            if reap:
                t.p.poll()
            time.sleep(0.005)
        hangs = p.poll() is None
        if hangs:
            p.kill()
        text = p.stderr.read()
        p.wait()
        made = os.path.exists(f"{mine}/r.trail")
        if p.returncode == 0 and made and facts("r.trail").get("exited") == "1":
            outcome = "recorded"
        elif p.returncode == 125 and not made and (f"process {t.pid} ended while" in text or "a zombie" in text or
                                                   "no such process" in text):
            outcome = "said"
        else:
            outcome = f"{ms} ms: {'hangs' if hangs else p.returncode} {text} {made}"
        for f in os.listdir(mine):
            os.unlink(f"{mine}/{f}")
        return outcome


def races():
    """A process that ends while we attach: a clear message, or a short recording; no crash, no hang."""
    outcomes = [race(i * 20, reap=i % 2) for i in range(40)]  # with and without a parent that takes the status
    ms = 1000
    while "recorded" not in outcomes and ms <= 200000:  # a slow machine
        outcomes.append(race(ms, reap=True))
        ms *= 3
    wrong = [x for x in outcomes if x not in ("said", "recorded")]
    tap.ok(not wrong and "recorded" in outcomes, f"a process that ends meanwhile: said {outcomes.count('said')} times, "
           f"recorded {outcomes.count('recorded')} {wrong}")


def traced():
    ptrace_seize, ptrace_cont, ptrace_listen, follow = 0x4206, 7, 0x4208, 2 | 4 | 8

    def ptrace(request, pid, data=0):
        return libc.ptrace(request, pid, ctypes.c_void_p(0), ctypes.c_void_p(data))

    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os.chdir(mine)
        os.execve(HEAPTRAIL, [HEAPTRAIL, "record", "-q", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "7", "70",
                              "exit", "3"], env)
    os.waitpid(pid, os.WUNTRACED)
    ptrace(ptrace_seize, pid, follow)
    os.kill(pid, signal.SIGCONT)
    status, end = None, time.monotonic() + tap.PATIENCE
    while True:  # to the end of the last one: until then they are not waited for by their own parents
        try:
            who, what = os.waitpid(-1, 0x40000000 | os.WNOHANG)
        except ChildProcessError:
            break
        if not who:
            if time.monotonic() > end:
                raise RuntimeError(f"a tracee does not end: {strays()}")
            time.sleep(0.001)
        elif os.WIFSTOPPED(what):
            sig, event = os.WSTOPSIG(what), what >> 16
            if event == 128 and sig in (signal.SIGSTOP, signal.SIGTSTP):
                ptrace(ptrace_listen, who)
            else:
                ptrace(ptrace_cont, who, 0 if event else sig)
        elif who == pid:
            status = os.waitstatus_to_exitcode(what)
    mine_row = beside.calls_from(f"{mine}/t.trail", "/simple")
    tap.ok(status == 3 and mine_row.get("alloc_calls") == 7 and facts("t.trail")["stops"] == "signals",
           f"under a tracer that follows children: by signals, all is seen: {status} {mine_row.get('alloc_calls')}")
    leftovers()
    r = run("record", "-q", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "7", "70",
            before=[f"{TARGETS}/deny", "ptrace", "EPERM"])
    tap.ok(r.returncode == 0 and facts("t.trail")["stops"] == "signals", f"where ptrace is forbidden: the same {r.stderr}")
    leftovers()
    with steady() as t:
        ptrace(ptrace_seize, t.p.pid)
        r = run("record", "-d", "200ms", "-o", "t.trail", "-p", t.pid)
        tap.ok(r.returncode == 0 and report("t.trail")["summary"]["alloc_calls"] > 0,
               f"a process that another one traces is attached to {r.stderr}")
    leftovers()


# ---- rights --------------------------------------------------------------------------


def as_nobody(*caps):
    names = ",".join(f"+{c}" for c in caps)
    with_caps = [f"--inh-caps={names}", f"--ambient-caps={names}"] if caps else ["--inh-caps=-all"]
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *with_caps, "--"]


def without(*caps):
    """Root, but for these."""
    return ["setpriv", "--bounding-set=" + ",".join(f"-{c}" for c in caps), "--inh-caps=" + ",".join(f"-{c}" for c in caps), "--"]


def both(name, status, message, hint, **kw):
    """The same for launching and attaching; the command must not have run."""
    refused(f"{name}, launched", 125, message, "record", "--", "/usr/bin/touch", f"{mine}/ran", hint=hint, **kw)
    with steady() as t:
        refused(f"{name}, attached", status, message, "record", "-p", t.pid, hint=hint, **kw)
        tap.ok(t.p.poll() is None, f"{name}: the process runs on")


def rights():
    load = "cannot load the probe programs into the kernel: "
    refused("no rights, launched", 125, load, "record", "--", "/usr/bin/touch", f"{mine}/ran",
            hint="CAP_BPF and CAP_PERFMON are missing", before=as_nobody())
    with steady() as t:
        refused("no rights, attached", 3, load, "record", "-p", t.pid, hint="CAP_BPF and CAP_PERFMON are missing",
                before=as_nobody())
    both("no CAP_BPF", 3, load, "CAP_BPF is missing", before=without("bpf", "sys_admin"))
    both("no CAP_PERFMON", 3, load, "CAP_PERFMON is missing", before=without("perfmon", "sys_admin"))
    with steady() as t:
        # since Linux 6.16 CAP_PERFMON is enough for a look at the mappings
        r = run("record", "-d", "100ms", "-p", t.pid, before=as_nobody("bpf", "perfmon", "sys_admin"))
        tap.ok(r.returncode == 0 or r.returncode == 3 and "CAP_SYS_PTRACE is missing" in r.stderr,
               f"no CAP_SYS_PTRACE, attached: recorded, or it is named: {r.returncode} {r.stderr}")
        leftovers()
    both("in a user namespace", 3, load, "user namespace", before=["unshare", "--user", "--map-root-user"])


def capabilities():
    """Without being root, with what it takes; each time to the last block."""
    nobody = as_nobody("bpf", "perfmon", "sys_ptrace")
    simple = f"{TARGETS}/simple"
    for options in ((), ("--no-ptrace",)):
        r = run("record", *options, "-o", "t.trail", "--", "/bin/sh", "-c",
                f"exec {simple} malloc 10 100 exec {simple} malloc 5 300 free 1", before=nobody)
        row = beside.calls_from(f"{mine}/t.trail", "/simple") if not r.returncode else {}
        tap.ok(row.get("alloc_calls") == 15 and row.get("leaked_bytes") == 1200,
               f"three capabilities are enough to launch {options}: {r.stderr} {row}")
        st = os.stat(f"{mine}/t.trail")
        tap.ok(st.st_uid == 65534, "and the recording is theirs")
        leftovers()
    for name, user in (("another's", None), ("their own", 65534)):
        with steady(user=user, group=user) as t:
            r = run("record", "-d", "200ms", "-o", "t.trail", "-p", t.pid, before=nobody)
            s = report("t.trail")["summary"] if not r.returncode else {}
            t.p.stdin.close()
            tap.ok(s.get("alloc_calls", 0) > 100 and t.p.stdout.read().startswith("right"),
                   f"and to attach to {name} process: {s.get('alloc_calls')} {r.stderr}")
        leftovers()


def gained():
    """Programs that gain rights by exec are recorded for root only."""
    setuid, setgid = f"{work}/setuid", f"{work}/setgid"
    for path, mode in ((setuid, 0o4755), (setgid, 0o2755)):
        shutil.copy(f"{TARGETS}/simple", path)
        os.chmod(path, mode)
    programs = [("setuid", setuid), ("setgid", setgid)]
    if shutil.which("setcap"):
        path = f"{work}/filecap"
        shutil.copy(f"{TARGETS}/simple", path)
        subprocess.check_call(["setcap", "cap_net_raw+ep", path])
        programs.append(("file capability", path))
    else:
        tap.skip("a file capability", "no setcap")
    theirs = f"{work}/gained"
    os.mkdir(theirs)
    os.chown(theirs, 65534, 65534)
    sudo_env = {**env, "SUDO_UID": "65534", "SUDO_GID": "65534"}
    for what, program in programs:
        for who, before, e in (("nobody", as_nobody("bpf", "perfmon", "sys_ptrace"), env),
                               ("nobody without CAP_SYS_PTRACE", as_nobody("bpf", "perfmon"), env), ("sudo", (), sudo_env)):
            for options in ((), ("--no-ptrace",)):
                name = f"{what}, {who}, {options}"
                ran = f"{theirs}/ran"
                refused(name, 125, "it runs with rights of its own", "record", *options, "-o", f"{theirs}/t.trail", "--",
                        program, "say", "x", "exec", "/usr/bin/touch", ran, hint="--as-root", before=before, env=e)
                tap.ok(not os.listdir(theirs), f"{name}: nothing was run, nothing is left")
                r = run("record", *options, "-o", f"{theirs}/t.trail", "--", f"{TARGETS}/simple", "malloc", "5", "100", "exec",
                        program, "malloc", "7", "1000", "sleep", "100", "say", "still there", before=before, env=e)
                s = report(f"{theirs}/t.trail")["summary"]
                tap.ok(r.returncode == 125 and "rights of its own" in r.stderr and r.stdout == "still there\n" and
                       s["alloc_calls"] == 5, f"{name}, by a later exec: let go of, and said: {s['alloc_calls']} {r.stderr!r}")
                os.unlink(f"{theirs}/t.trail")
        r = run("record", "-q", "-o", "t.trail", "--", program, "malloc", "7", "1000")
        tap.ok(r.returncode == 0 and report("t.trail")["summary"]["alloc_calls"] >= 7, f"{what}: root may {r.stderr}")
        r = run("record", "-q", "--as-root", "--force", "-o", "t.trail", "--", program, "malloc", "7", "1000", env=sudo_env)
        tap.ok(r.returncode == 0, f"{what}: with --as-root under sudo {r.stderr}")
        leftovers()


def capability_set(pid, key):
    names = subprocess.check_output(["capsh", f"--decode={beside.status(pid, key)}"], text=True)
    return set(names.strip().split("=")[1].split(",")) - {""}


def dropped():
    """What is not needed any more is given up: by the recorder, never by the command."""
    if shutil.which("capsh") is None:
        return tap.skip("dropped capabilities", "no capsh")
    may = {"cap_bpf", "cap_perfmon", "cap_sys_ptrace", "cap_checkpoint_restore", "cap_dac_read_search", "cap_kill",
           "cap_sys_admin"}  # the last on kernels whose uprobes take it
    theirs = f"{work}/theirs"
    os.mkdir(theirs)
    os.chown(theirs, 65534, 65534)
    sudo_env = {**env, "SUDO_UID": "65534", "SUDO_GID": "65534"}
    for name, e, folder, as_whom, more in (("root", env, mine, (), set()), ("under sudo", sudo_env, theirs, (), {"cap_dac_override"}),
                                           ("in another's folder", env, theirs, (), {"cap_dac_override"}),
                                           ("nobody", env, mine, as_nobody("bpf", "perfmon", "sys_ptrace"), set())):
        path = f"{folder}/t.trail"
        for how in ("launched", "attached"):
            with steady() as t:
                what = ["-p", t.pid] if how == "attached" else ["--", f"{TARGETS}/steady", "--gentle"]
                with Running(*as_whom, HEAPTRAIL, "record", "-q", "-o", path, *what, env=e, cwd=mine) as r:
                    recording = beside.wait_until(lambda: beside.is_armed(path) and
                                                  beside.status(r.pid, "NoNewPrivs") == "1")
                    beside.wait_until(lambda: capability_set(r.pid, "CapPrm") <= may | more and not capability_set(r.pid, "CapAmb"))
                    has = capability_set(r.pid, "CapPrm")
                    bound = capability_set(r.pid, "CapBnd")
                    tap.ok(recording and {"cap_bpf", "cap_perfmon"} <= has <= may | more and
                           (as_whom or bound <= may | more) and not capability_set(r.pid, "CapAmb"),
                           f"{name}, {how}: the recorder has {sorted(has)}")
                    if how == "launched":
                        child = beside.expect(lambda: beside.child(r.pid, "steady"), "the command")
                        want = set() if e is sudo_env else capability_set(as_whom and r.pid or os.getpid(), "CapPrm")
                        got = capability_set(child, "CapPrm")
                        tap.ok(beside.status(child, "NoNewPrivs") == "0" and (as_whom or got == want) and
                               capability_set(child, "CapBnd") == capability_set(os.getpid(), "CapBnd"),
                               f"{name}: the command has what it would have anyway: {len(got)}")
                    for _ in range(2 if how == "launched" else 1):
                        beside.interrupt(r.p)
                    ended = r.p.wait(tap.PATIENCE)
                    r.p.stdin.close()
                    left = os.listdir(folder)
                    tap.ok(ended == 0 and left == ["t.trail"] and report(path)["recording"]["complete"],
                           f"{name}, {how}: and all is written: {ended} {left}")
                    for f in left:
                        os.unlink(f"{folder}/{f}")


def kernels():
    deny = f"{TARGETS}/deny"
    load = "cannot load the probe programs into the kernel: "
    both("seccomp", 3, load + "operation not permitted", "seccomp filter forbids bpf(2)", before=[deny, "bpf", "EPERM"])
    perf = ["env", "HEAPTRAIL_LINKS=perf"]
    both("seccomp, perf", 3, "cannot put a probe on", "seccomp filter forbids perf_event_open(2)",
         before=[*perf, deny, "perf_event_open", "EPERM"])
    both("seccomp, perf, EACCES", 3, "permission denied", "seccomp filter forbids perf_event_open(2)",
         before=[*perf, deny, "perf_event_open", "EACCES"])
    both("no BPF", 3, load, "CONFIG_BPF_SYSCALL", before=[deny, "bpf", "ENOSYS"])
    both("no perf", 3, "cannot put a probe on", "CONFIG_PERF_EVENTS", before=[*perf, deny, "perf_event_open", "ENOSYS"])
    lockdown = ["unshare", "--mount", "/bin/sh", "-c", "mount -t tmpfs none /sys/kernel/security && echo 'none integrity "
                '[confidentiality]\' >/sys/kernel/security/lockdown && exec "$0" "$@"']
    both("lockdown", 3, load, "locked down (confidentiality)", before=[*lockdown, deny, "bpf", "EPERM"])
    r = run("record", "-q", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "7", "70",
            before=["prlimit", "--memlock=0:0"])
    tap.ok(r.returncode == 0 or "ulimit -l" in r.stderr, f"no locked memory: recorded, or said so {r.stderr}")
    leftovers()


# ---- programs ------------------------------------------------------------------------


def doctor():
    deny = f"{TARGETS}/deny"
    lockdown = ["unshare", "--mount", "/bin/sh", "-c", "mount -t tmpfs none /sys/kernel/security && echo 'none [integrity] "
                'confidentiality\' >/sys/kernel/security/lockdown && exec "$0" "$@"']
    hiding = ["unshare", "--mount", "/bin/sh", "-c", 'mount -t proc -o hidepid=2 none /proc && exec "$0" "$@"']
    for name, before, want, words in (
            ("root", (), 0, ["heaptrail can record here"]),
            ("no rights", as_nobody(), 3, ["CAP_BPF              NO", "CAP_PERFMON          NO", "CAP_SYS_PTRACE       NO"]),
            ("three capabilities", as_nobody("bpf", "perfmon", "sys_ptrace"), 0, ["heaptrail can record here"]),
            ("no CAP_PERFMON", without("perfmon", "sys_admin"), 3, ["CAP_PERFMON          NO"]),
            ("seccomp", [deny, "bpf", "EPERM"], 3, ["seccomp              a filter", "unconfined"]),
            ("seccomp, perf", ["env", "HEAPTRAIL_LINKS=perf", deny, "perf_event_open", "EPERM"], 3,
             ["uprobes              NO", "seccomp"]),
            ("no BPF", [deny, "bpf", "ENOSYS"], 3, ["BPF probe programs   NO"]),
            ("user namespace", ["unshare", "--user", "--map-root-user"], 3, ["user namespace       in one"]),
            ("lockdown", lockdown, 0, ["kernel lockdown      integrity"]),
            ("files", ["prlimit", "--nofile=120:120"], 0, ["limit of open files  120"]),
            ("memlock", ["prlimit", "--memlock=0:65536"], 0, ["limit of locked mem. 64 KiB"]),
            ("hidepid", [*hiding, *as_nobody("bpf", "perfmon")], 0, ["/proc                hides"])):
        r = run("doctor", before=before)
        lines = r.stdout.splitlines()
        good = r.returncode == want and all(w in r.stdout for w in words) and all(len(line) <= 80 for line in lines)
        tap.ok(good, f"doctor: {name}: {words}" + ("" if good else f" {r.returncode} {r.stdout} {r.stderr}"))


def no_allocator():
    stripped = f"{work}/stripped"
    shutil.copy(f"{TARGETS}/simple-static", stripped)
    if shutil.which("strip") is None:
        return tap.skip("a stripped static program", "no strip")
    subprocess.check_call(["strip", stripped])
    with Running(stripped, "malloc", "10", "10", "sleep", "20000") as t:
        refused("a stripped static program, attached", 125, f"cannot find an allocator to record in process {t.pid}",
                "record", "-p", t.pid, hint="symbol table")
    r = run("record", "-o", "t.trail", "--", stripped, "malloc", "10", "10", "say", "done", "exit", "5")
    tap.ok(r.returncode == 5 and r.stdout == "done\n" and f"warning: no allocator was found in '{stripped}'" in r.stderr,
           f"a stripped static program, launched: it runs to its end, and the recorder says so {r.stderr!r}")
    tap.ok(facts("t.trail").get("no_allocator") == stripped, "it is in the recording")
    for command in ("report", "leaks", "info"):
        text = run(command, "t.trail").stdout
        tap.ok("WARNING" in text and "no allocator was found" in text and
               all(len(line) <= 80 for line in text.splitlines() if "WARN" in line), f"and in {command}")
    leftovers()
    r = run("record", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "3", "30", "exec", stripped, "malloc", "1", "1")
    tap.ok(r.returncode == 0 and facts("t.trail").get("no_allocator") == stripped, "the same after an exec")
    leftovers()
    r = run("record", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "3", "30")
    tap.ok("no_allocator" not in facts("t.trail") and "WARNING" not in run("report", "t.trail").stdout, "and never else")
    leftovers()
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", "t.trail", "--", stripped, "say", "x", "stop", "say", "y"], cwd=mine,
                         stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    child = beside.child(p.pid, "stripped")
    stopped = beside.wait_until(lambda: beside.state(child) in ("T", "t"))
    time.sleep(0.3)
    tap.ok(stopped and beside.state(child) in ("T", "t"), "a stripped program that stops itself stays stopped")
    os.kill(child, signal.SIGCONT)
    p.communicate()
    leftovers()


def damage(good, dice):
    bad = bytearray(good)
    for _ in range(dice.randrange(1, 6)):  # the headers, the symbols, the sections, anywhere
        low, high = dice.choice([(64, 1024), (1024, 200000), (len(bad) - 5000, len(bad)), (0x26000, len(bad))])
        bad[dice.randrange(low, high)] = dice.choice([0, 255, dice.randrange(256)])
    return bad


def at_fixed_addresses():
    """Before it runs: what a damaged library does must not depend on where things lie."""
    libc.personality(libc.personality(0xffffffff) | ADDR_NO_RANDOMIZE)


def hangs_alone(command):
    try:
        subprocess.run(command, env=env, cwd=mine, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20,
                       preexec_fn=at_fixed_addresses)
        return False
    except subprocess.TimeoutExpired:
        return True


def damaged():
    """A C library with bytes changed at random: the command may crash, the recorder may not."""
    dice = random.Random(tap.seed())
    folder = f"{work}/damaged"
    os.mkdir(folder)
    with open(f"{libs}/libc.so.6", "rb") as f:
        good = f.read()
    # the recorder itself has the good one
    command = ["/usr/bin/env", f"LD_LIBRARY_PATH={folder}", f"{TARGETS}/simple", "malloc", "100", "10", "free", "50"]
    limit = ["prlimit", "--cpu=60:60"]
    wrong, ended, hanging = [], {}, 0
    while sum(ended.values()) + len(wrong) < 8 and hanging < 40:
        with open(f"{folder}/new", "wb") as f:
            f.write(damage(good, dice))
        os.rename(f"{folder}/new", f"{folder}/libc.so.6")  # a new inode: probes go by it
        if hangs_alone([*limit, *command]):
            hanging += 1
            continue
        try:
            r = run("record", "-o", "t.trail", "--", *command, before=limit, preexec_fn=at_fixed_addresses)
            if r.returncode < 0 or "heaptrail: " not in r.stderr or \
                    os.path.exists(f"{mine}/t.trail") and run("report", "t.trail").returncode:
                wrong.append((r.returncode, r.stderr))
            else:
                ended[r.returncode] = ended.get(r.returncode, 0) + 1
        except subprocess.TimeoutExpired as e:
            wrong.append(("hangs", e.stderr))
        leftovers()
    tap.ok(not wrong and sum(ended.values()) == 8, f"8 damaged C libraries: the recorder ends as it should {ended} {wrong}; "
           f"with {hanging} more the command hangs by itself")


def programs():
    def make(name, content, mode=0o755):
        with open(f"{work}/{name}", "wb") as f:
            f.write(content)
        os.chmod(f"{work}/{name}", mode)
        return f"{work}/{name}"

    run_it = "record", "--"
    refused("no such program", 127, "cannot run 'no-such-program'", *run_it, "no-such-program", hint="PATH")
    refused("no such path", 127, "cannot run '/no/such'", *run_it, "/no/such")
    refused("not executable", 126, "permission denied", *run_it, make("data", b"x", 0o644), hint="chmod")
    refused("a folder", 126, "permission denied", *run_it, work, hint="it is a folder")
    refused("an empty file", 126, "exec format error", *run_it, make("empty", b""), hint="#!/bin/sh")
    refused("a text", 126, "exec format error", *run_it, make("text", b"hello\n"), hint="#!/bin/sh")
    refused("a missing interpreter", 127, "cannot run", *run_it, make("script", b"#!/no/such/interpreter\n"), hint="interpreter")
    with open(f"{TARGETS}/simple", "rb") as f:
        elf = f.read()
    elf = elf.replace(b"/lib64/ld-linux-x86-64.so.2", b"/lib64/no-linux-x86-64.so.2", 1)
    refused("a missing ld.so", 127, "cannot run", *run_it, make("no-ld", elf), hint="interpreter")
    refused("an empty name", 127, "cannot run ''", *run_it, "")


# ---- outputs ---------------------------------------------------------------------------


def outputs():
    def there(name, make):
        make(f"{mine}/{name}")
        return name

    for name, make in (("file", lambda p: open(p, "w").write("x")), ("folder", os.mkdir), ("fifo", os.mkfifo),
                       ("link", lambda p: os.symlink("/etc/passwd", p)), ("dangling", lambda p: os.symlink("/no/such", p))):
        for force in ((), ("--force",)):
            make(f"{mine}/{name}")
            refused(f"a {name} is there {force}", 125, f"'{name}'", "record", *force, "-o", name, "--", "/usr/bin/touch", "ran",
                    hint=None if force and name in ("link", "dangling") else "-o", left=[name])
    refused("a device", 125, "'/dev/null'", "record", "--force", "-o", "/dev/null", "--", "true", hint="-o")
    refused("a folder that is not there", 125, "no such file or directory", "record", "-o", "no/t.trail", "--", "true",
            hint="folder")
    refused("a file as folder", 125, "not a directory", "record", "-o", "/etc/passwd/t", "--", "true", hint="not a folder")
    refused("a long path", 125, "file name too long", "record", "-o", "x" * 5000, "--", "true", hint="shorter")
    refused("a long name", 125, "file name too long", "record", "-o", "x" * 300, "--", "true", hint="shorter")
    refused("a folder of others", 125, "permission denied", "record", "-o", f"{work}/t.trail", "--", "true", hint="-o",
            before=as_nobody("bpf", "perfmon", "sys_ptrace"))


def limits():
    """A file size limit and a closed pipe must not kill the recorder: the command ends as it would."""
    r = run("record", "-o", "t.trail", "--", f"{TARGETS}/noisy", "4", "400000", before=["prlimit", "--fsize=4000000"])
    text = r.stderr
    tap.ok(r.returncode == 125 and "cannot write the recording 't.trail'" in text and "ulimit -f" in text,
           f"RLIMIT_FSIZE: said, not killed: {r.returncode} {text!r}")
    tap.ok(report("t.trail")["summary"]["alloc_calls"] > 0, "and what was written before can be read")
    leftovers()
    for n in (7, 10, 12, 20, 30):
        r = run("record", "-o", "t.trail", "--", "/bin/true", before=["prlimit", f"--nofile={n}:{n}"])
        lines = r.stderr.splitlines()
        tap.ok(r.returncode == 125 and "too many open files" in lines[0].lower() and "ulimit -n" in r.stderr and
               not os.listdir(mine), f"only {n} files: {r.returncode} {r.stderr!r}")
        leftovers()
    r = run("record", "-o", "t.trail", "--", "/bin/true", before=["prlimit", "--nofile=32:4096"])
    tap.ok(r.returncode == 0, f"a limit that can be raised is raised: {r.stderr}")
    leftovers()


def closed():
    simple = f"{TARGETS}/simple malloc 5 50 exit 3"
    for what in ("2>&-", "<&- >&- 2>&-", "2>/dev/full"):
        r = subprocess.run(["/bin/sh", "-c", f"'{HEAPTRAIL}' record -o t.trail -- {simple} {what}"], cwd=mine, env=env)
        rows = report("t.trail")["summary"]
        tap.ok(r.returncode == 3 and rows["alloc_calls"] >= 5 and leftovers() == ["t.trail"], f"record {what}: {r.returncode}")
    read, write = os.pipe()
    os.close(read)
    r = run("record", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "5", "50", "exit", "3", stderr=write)
    tap.ok(r.returncode == 3 and facts("t.trail").get("exited") == "1", "a closed pipe as standard error")
    r = run("record", "--force", "-o", "t.trail", "--", "/bin/sh", "-c", "yes | head -n 1 >/dev/null; kill -PIPE $$")
    tap.ok(r.returncode == 128 + signal.SIGPIPE, f"the command has SIGPIPE as it was: {r.returncode}")
    r = subprocess.run(["/bin/sh", "-c", f"'{HEAPTRAIL}' report --by size t.trail | head -n 1"], cwd=mine, env=env, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tap.ok(not r.stderr, f"report | head ends quietly {r.stderr}")
    r = subprocess.run(["/bin/sh", "-c", f"'{HEAPTRAIL}' report t.trail >&-"], cwd=mine, env=env, text=True,
                       stderr=subprocess.PIPE)
    tap.ok(r.returncode == 125 and "cannot write the output" in r.stderr, f"report >&-: said {r.stderr}")
    r = subprocess.run([HEAPTRAIL, "report", "t.trail"], cwd=mine, env=env, text=True, stdout=open("/dev/full", "w"),
                       stderr=subprocess.PIPE)
    tap.ok(r.returncode == 125 and "no space left" in r.stderr.lower(), f"report >/dev/full: said {r.stderr}")
    leftovers()


def recordings():
    run("record", "-q", "-o", "t.trail", "--", f"{TARGETS}/simple", "malloc", "5", "50")
    shutil.move(f"{mine}/t.trail", f"{work}/good.trail")
    empty, newer = f"{work}/nothing", f"{work}/newer.trail"
    open(empty, "w").close()
    shutil.copy(f"{work}/good.trail", newer)
    with sqlite3.connect(newer) as db:
        db.execute("pragma user_version = 99")
    for command in ("report", "leaks", "info"):
        refused(f"{command}: newer", 4, "written by a newer heaptrail", command, newer, hint="format version is 99")
        refused(f"{command}: none", 4, "cannot open", command, f"{work}/none")
        refused(f"{command}: no recording", 4, "not a heaptrail recording", command, "/etc/passwd")
        refused(f"{command}: empty", 4, "the file is empty", command, empty)
        refused(f"{command}: a folder", 4, "not a regular file", command, work)


try:
    tap.run_as_root([no_process, foreign, races, traced, rights, capabilities, dropped, gained, kernels, doctor,
                     no_allocator, damaged, programs, outputs, limits, closed, recordings])
finally:
    shutil.rmtree(work, ignore_errors=True)
