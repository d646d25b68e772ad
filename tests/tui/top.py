#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""heaptrail top in a real terminal (tmux), on live processes: what it shows, and what it leaves when it ends."""
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import beside  # noqa: E402
import tap  # noqa: E402

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
work = tempfile.mkdtemp(prefix="heaptrail-top-test.")
SOCKET = os.path.join(work, "socket")
TMP = os.path.join(work, "tmp")  # of the recordings
NOBODY = pwd.getpwnam("nobody")
GROWER = os.path.basename(work) + "/grower"  # nobody else's
PROGRAM = """
import sys, time
keep = []
while True:
    keep.append(bytes(1000))
    keep = keep[-200:]
    time.sleep(0.001)
"""


def tmux(*args, check=True):
    env = dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm-256color")
    return subprocess.run(["tmux", "-S", SOCKET, "-f", "/dev/null", *args], env=env, check=check,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=tap.PATIENCE).stdout.decode()


def descendants(pid):
    found = []
    for child in beside.children(pid):
        found += [child] + descendants(child)
    return found


def is_gone(pid):
    return beside.has_ended(pid)


class Target:
    """A process with a C library of its own."""
    all = []

    def __init__(self, *argv, **more):
        env = dict(os.environ, LD_LIBRARY_PATH=libs, PYTHONMALLOC="malloc")
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)
        self.pid = self.process.pid
        Target.all.append(self)
        beside.expect(lambda: any("/libs/libc.so.6" in line for line in open(f"/proc/{self.pid}/maps")), "the target")

    def lives(self):
        return self.process.poll() is None and beside.state(self.pid) in "SRD"

    def is_clean(self):
        """Nothing is left in its code."""
        return beside.wait_until(lambda: not beside.differences(beside.code_of(self.pid), beside.code_in_file(self.pid)))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def python():
    with open(f"{work}/grower.py", "w") as f:
        f.write(PROGRAM)
    return Target(sys.executable, f"{work}/grower.py")


def busy():
    if not os.path.exists(f"{work}/busy"):
        shutil.copy(f"{TARGETS}/busy", f"{work}/busy")
    return Target(f"{work}/busy")


class Top:
    """heaptrail top in a terminal of its own; its exit status is in a file afterwards."""
    count = 0

    def __init__(self, args, env="", rows=24, cols=110, prefix=""):
        Top.count += 1
        self.name = f"w{Top.count}"
        self.status_file = f"{work}/{self.name}.status"
        self.err_file = f"{work}/{self.name}.err"
        line = (f"{env} {prefix} {HEAPTRAIL} top {args} 2> {self.err_file}; echo $? > {self.status_file}.new; "
                f"mv {self.status_file}.new {self.status_file}; exec sleep 100000")
        shell = f"exec env TMPDIR={TMP} TERM=xterm-256color LC_ALL=C.UTF-8 HOME={work} bash -c {shlex.quote(line)}"
        tmux("new-session", "-d", "-s", self.name, "-x", str(cols), "-y", str(rows), shell)
        self.shell = int(tmux("display-message", "-p", "-t", self.name, "#{pane_pid}"))

    def viewer(self):
        return beside.expect(lambda: beside.child(self.shell, "heaptrail"), "the viewer")

    def broker(self):
        return beside.expect(lambda: beside.child(self.viewer(), "heaptrail"), "the broker")

    def recorder(self):
        return beside.expect(lambda: beside.child(self.broker(), "heaptrail"), "the recorder")

    def text(self):
        return tmux("capture-pane", "-p", "-t", self.name)

    def title(self):
        return self.text().split("\n")[0]

    def status_line(self):
        return self.text().rstrip("\n").split("\n")[-2]

    def sees(self, pattern, where=None):
        return beside.wait_until(lambda: re.search(pattern, (where or self.text)(), re.M))

    def keys(self, *keys):
        tmux("send-keys", "-t", self.name, *keys)

    def type(self, text):
        tmux("send-keys", "-t", self.name, "-l", text)

    def calls(self):
        found = re.search(r"Calls ([\d,]+)", self.text())
        return int(found.group(1).replace(",", "")) if found else 0

    def is_recording(self):
        return self.sees(r"● recording +\d", self.title)

    def trail(self):
        """Of the recordings that are not kept, the last."""
        found = [os.path.join(d, f) for d, _, files in os.walk(TMP) for f in files if f.endswith(".trail")]
        return max(found, key=os.path.getctime) if found else None

    def save(self, path):
        self.keys("w")
        self.sees("Save as: ")
        self.keys("C-u")
        self.type(path)
        self.keys("Enter")

    def status(self):
        beside.expect(lambda: os.path.exists(self.status_file), f"the end of top: {self.text()}")
        with open(self.status_file) as f:
            return int(f.read())

    def errors(self):
        with open(self.err_file) as f:
            return f.read()

    def quits(self, how, key="q", status=0):
        """And nothing is left."""
        family = [self.viewer()] + descendants(self.viewer())
        if key:
            self.keys(key)
        found = self.status()
        gone = beside.wait_until(lambda: all(is_gone(p) for p in family))
        empty = beside.wait_until(lambda: not os.listdir(TMP))
        ok = tap.ok(found == status and gone and empty and len(family) >= 2,
                    f"{how}: no process, no file is left ({found}, {len(family)} processes, {[x for x in os.walk(TMP)][1:]})")
        self.close()
        return ok

    def close(self):
        tmux("kill-session", "-t", self.name, check=False)


def grows(number):
    before = number()
    return beside.wait_until(lambda: number() > before)


def n_events(trail):
    try:
        return beside.sql(trail, "SELECT sum(events) FROM chunk")[0][0] or 0
    except Exception:
        return 0


# ---- a session ---------------------------------------------------------------------------


def session():
    target = python()
    top = Top(f"-p {target.pid}")
    tap.ok(top.is_recording() and f"pid {target.pid}" in top.title(), f"it records: {top.title()}")
    tap.ok(grows(top.calls) and grows(top.calls), "the numbers move")
    tap.ok(re.search(r"Live \d.* Lost 0", top.text()), "nothing is lost")
    top.keys("2")
    tap.ok(top.sees(r"(?m)[KM]iB .* (\w+\.c|libpython\S+|python3\S*)( |$)"), "files")
    top.keys("9")
    tap.ok(top.sees("no snapshot was taken yet"), "view 9 has no snapshot at first")
    top.keys("S")
    tap.ok(top.sees(r"resident at \d"), "S takes one, and view 9 shows it")
    top.keys("3")
    tap.ok(top.sees(r"\b_?Py[A-Z_]\w+"), "functions have names while it is being recorded")
    top.keys("2")
    paused(top)
    saved(top)
    detached(top, target)
    tap.ok(target.lives(), "the target runs on")
    top.quits("q, detached")
    tap.ok(target.lives() and target.is_clean(), "and still does, without probes")
    target.end()


def paused(top):
    trail = top.trail()
    top.keys("p")
    tap.ok(top.sees(r"● paused", top.title) and "stands still" in top.status_line(), f"paused: {top.status_line()}")
    calls = top.calls()
    tap.ok(grows(lambda: n_events(trail)) and grows(lambda: n_events(trail)), "the recording goes on")
    tap.ok(top.calls() == calls, "but the screen stands still")
    top.keys("[", "[", "[")
    tap.ok(top.sees(r"● paused +\S.* of \d", top.title), f"moments before it can be looked at: {top.title()}")
    tap.ok(beside.wait_until(lambda: 0 < top.calls() < calls), "with their numbers")
    top.keys("p")
    tap.ok(top.sees("● recording", top.title) and "followed" in top.status_line(), "p goes on")
    top.keys("f")
    tap.ok(beside.wait_until(lambda: top.calls() > calls) and grows(top.calls), "and the numbers move again")
    top.keys("p")
    top.sees("● paused", top.title)
    top.keys("f")
    tap.ok(top.sees("● recording", top.title) and grows(top.calls), "so does f")


def check_saved(path, least, owner=0):
    info = beside.info(path)
    events = n_events(path)
    mode = os.stat(path)
    r = subprocess.run([HEAPTRAIL, "report", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    repair = subprocess.run([HEAPTRAIL, "repair", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seal = beside.sql(path, "SELECT count(*) FROM recording WHERE key IN ('seal', 'end_ns', 'saved_realtime_ns')")[0][0]
    names = beside.sql(path, "SELECT count(*) FROM symbol")[0][0]
    sites = beside.sql(path, "SELECT count(*) FROM site")[0][0]
    return tap.ok(isinstance(info, dict) and info["recording"]["complete"] and r.returncode == 0 and not r.stderr and
                  events >= least and stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == owner and
                  "needs no repair" in repair.stderr and seal >= 2 and names and sites and beside.is_sound(path) and
                  not os.path.exists(path + "-wal"),
                  f"the copy is complete, and sealed ({events} events, {seal} {names} {sites} {r.stderr} {repair.stderr})")


def saved(top):
    path = f"{work}/saved.trail"
    events = n_events(top.trail())
    top.save(path)
    tap.ok(top.sees(r"saved to '.*saved\.trail': [\d,]+ events"), f"saved: {top.status_line()}")
    tap.ok(top.sees("● recording", top.title) and grows(top.calls), "and the recording goes on")
    check_saved(path, events)
    with open(path, "rb") as f:
        before = f.read()
    top.save(path)
    tap.ok(top.sees("cannot create .*saved.trail.*exists"), "never over a file")
    with open(path, "rb") as f:
        tap.ok(f.read() == before, "which stays as it is")
    top.save("/nowhere/saved.trail")
    tap.ok(top.sees("cannot create '/nowhere/saved.trail': no such"), f"into no folder: {top.status_line()}")
    os.symlink(f"{work}/elsewhere", f"{work}/link.trail")
    top.save(f"{work}/link.trail")
    tap.ok(top.sees("cannot create .*link.trail") and not os.path.exists(f"{work}/elsewhere"), "never through a link")


def detached(top, target):
    recorder = top.recorder()
    top.keys("d")
    tap.ok(top.sees(r"· detached", top.title), f"detached: {top.title()}")
    tap.ok(beside.wait_until(lambda: is_gone(recorder)) and target.is_clean(), "the recorder has gone, and the probes")
    calls = top.calls()
    top.keys("3")
    tap.ok(top.sees("FUNCTION") and top.calls() == calls, "the recording can be browsed")
    top.keys("d")
    tap.ok(top.sees("not being recorded any more"), "d once more")
    top.save(f"{work}/finished.trail")
    tap.ok(top.sees("saved to '.*finished.trail'"), "saved afterwards")
    info = beside.info(f"{work}/finished.trail")
    tap.ok(isinstance(info, dict) and info["recording"]["complete"], "complete, too")


def many_threads():
    target = busy()
    top = Top(f"-p {target.pid}")
    tap.ok(top.is_recording(), "it records eight threads")
    target.process.stdin.write(b"full\n")
    target.process.stdin.flush()
    tap.ok(all(grows(top.calls) for _ in range(8)), "the numbers move")
    top.keys("8")
    tap.ok(top.sees(r"\d of (8|9)\b"), f"all threads are there: {top.status_line()}")
    for rows, cols in ((40, 150), (12, 50), (24, 110)):
        tmux("resize-window", "-t", top.name, "-x", str(cols), "-y", str(rows))
        good = beside.wait_until(lambda: len(top.text().split("\n")) == rows + 1 and "F1Help" in top.text().split("\n")[rows - 1])
        tap.ok(good, f"{rows}x{cols}")
    tap.ok(grows(top.calls), "and goes on")
    top.quits("Ctrl-C", "C-c")
    tap.ok(target.lives() and target.is_clean(), "the target runs on, without probes")
    target.process.stdin.write(b"gentle\n")
    out, _ = target.process.communicate()
    tap.ok(b"right" in out, f"and was not harmed: {out!r}")


def endings():
    target = python()
    top = Top(f"-p {target.pid}")
    top.is_recording()
    target.end()
    tap.ok(top.sees(r"· ended +\d", top.title), f"the process ends: {top.title()}")
    tap.ok(top.sees("the recording has ended"), "and it is said")
    calls = top.calls()
    top.keys("2")
    tap.ok(top.sees("FILE") and calls, "what was recorded is there")
    top.quits("q after the end")


# ---- a command ---------------------------------------------------------------------------


def command():
    env = f"env LD_LIBRARY_PATH={libs} PYTHONMALLOC=malloc"
    program = "import os,sys,time; print('said', os.read(0, 9), os.isatty(1)); sys.stderr.write('wrong'); sys.stdout.flush(); "
    top = Top(f"-- {env} {sys.executable} -c {shlex.quote(program + 'sys.exit(7)')}")
    tap.ok(top.sees("· ended: exit status 7 ", top.title), f"a command, and its exit status: {top.title()}")
    tap.ok("said" not in top.text() and "wrong" not in top.text(), "it does not write over the screen")
    top.quits("q after a command")
    log = f"{work}/log"
    top = Top(f"--log {log} -o {work}/kept.trail -- {env} {sys.executable} -c " +
              shlex.quote(program + "print(os.getsid(0) == os.getpid()); sys.stdout.flush(); time.sleep(1000)"))
    tap.ok(top.is_recording() and beside.wait_until(lambda: os.path.exists(log) and "False" in open(log).read().split("\n")[-2:][0]),
           "one that goes on")
    with open(log) as f:
        text = f.read()
    tap.ok("said b'' False" in text and "wrong" in text, f"its output is in the log, its input is empty: {text!r}")
    tap.ok(os.path.exists(f"{work}/kept.trail") and os.listdir(TMP) != [] and top.trail() is None,
           "with -o the recording is where it should be")
    pid = int(beside.sql(f"{work}/kept.trail", "SELECT value FROM recording WHERE key = 'pid'")[0][0])
    viewer = top.viewer()
    others = [p for p in descendants(viewer) if p != pid]
    top.keys("q")
    tap.ok(top.status() == 0 and beside.wait_until(lambda: all(is_gone(p) for p in others + [viewer])) and not os.listdir(TMP),
           "q ends all but the command")
    tap.ok(beside.state(pid) in tuple("SRD"), "which runs on")
    os.kill(pid, signal.SIGKILL)
    info = beside.info(f"{work}/kept.trail")
    tap.ok(isinstance(info, dict) and info["recording"]["complete"] and not os.path.exists(f"{work}/kept.trail-wal"),
           "-o keeps a complete recording")
    top.close()
    top = Top(f"-- {env} {sys.executable} -c {shlex.quote('import os; os.kill(os.getpid(), 9)')}")
    tap.ok(top.sees("· ended: signal 9 ", top.title), f"a command that is killed: {top.title()}")
    top.quits("q after that")


def max_size():
    """At the bound it goes on: the oldest events are dropped, and the cursor cannot go there."""
    target = busy()
    top = Top(f"--max-size 1M -p {target.pid}")
    target.process.stdin.write(b"full\n")
    target.process.stdin.flush()
    top.is_recording()
    top.keys("1")
    tap.ok(top.sees(r"Events before \d.* were dropped \(--max-size\): [\d,]+; totals"), "what was dropped is said")
    tap.ok(top.sees("● recording", top.title) and grows(top.calls), f"and recording goes on: {top.title()}")
    size = os.path.getsize(top.trail())
    tap.ok(size < 1.1 * 2 ** 20 + 2 ** 21, f"the file stays small: {size}")
    for _ in range(12):
        top.keys("{")
    tap.ok(top.sees(r"recording +\d.* of \d", top.title), f"back in time no further than that: {top.title()}")
    top.keys("f")
    top.save(f"{work}/full.trail")
    saved = beside.info(f"{work}/full.trail") if top.sees("saved to '.*full.trail'") else None
    tap.ok(isinstance(saved, dict) and saved["recording"]["complete"] and saved["recording"]["dropped"]["events"] > 0,
           "a copy is complete, and says what was dropped")
    top.quits("q then")
    tap.ok(target.is_clean() and target.lives(), "the target runs on, without probes")
    target.end()


# ---- whoever dies ------------------------------------------------------------------------


def killed():
    for who, number in (("viewer", signal.SIGKILL), ("viewer", signal.SIGTERM), ("viewer", signal.SIGHUP)):
        target = python()
        top = Top(f"-p {target.pid}")
        top.is_recording()
        viewer = top.viewer()
        top.recorder()
        os.kill(viewer, number)
        family = [viewer] + descendants(viewer)
        top.status()
        tap.ok(beside.wait_until(lambda: all(is_gone(p) for p in family)) and beside.wait_until(lambda: not os.listdir(TMP)),
               f"{number.name} to the {who}: nothing is left {os.listdir(TMP)}")
        tap.ok(target.lives() and target.is_clean(), "and the target runs on, without probes")
        top.close()
        target.end()


def killed_viewer_keeps():
    target = python()
    kept = f"{work}/kept2.trail"
    top = Top(f"-o {kept} -p {target.pid}")
    top.is_recording()
    broker, recorder = top.broker(), top.recorder()
    os.kill(top.viewer(), signal.SIGKILL)
    tap.ok(beside.wait_until(lambda: is_gone(broker) and is_gone(recorder)) and not os.listdir(TMP),
           "kill -9 of the viewer with -o: nothing but the recording is left")
    info = beside.info(kept)
    tap.ok(isinstance(info, dict) and info["recording"]["complete"], f"which is complete: {info if isinstance(info, str) else ''}")
    top.close()
    target.end()


def killed_recorder():
    target = python()
    top = Top(f"-p {target.pid}")
    top.is_recording()
    grows(top.calls)
    os.kill(top.recorder(), signal.SIGKILL)
    tap.ok(top.sees("recorder died", top.title), f"the recorder dies: {top.title()}")
    tap.ok(top.sees("the recorder was killed by signal 9"), "and why")
    line = next((x for x in tmux("capture-pane", "-p", "-e", "-t", top.name).split("\n") if "was killed by signal" in x), "")
    top.keys("2")
    tap.ok(re.search(r"\033\[[0-9;]*(31|38;5;\d+)", line) and top.sees("FILE") and top.calls(), f"in red, and what there is stays: {line!r}")
    top.save(f"{work}/died.trail")
    tap.ok(top.sees("saved to '.*died.trail'"), "it can be saved")
    top.quits("q after the recorder's death")
    tap.ok(target.lives() and target.is_clean(), "the target runs on, without probes")
    target.end()


def killed_broker():
    target = python()
    top = Top(f"-p {target.pid}")
    top.is_recording()
    recorder = top.recorder()
    os.kill(top.broker(), signal.SIGKILL)
    tap.ok(beside.wait_until(lambda: is_gone(recorder)) and target.is_clean(), "without a broker the recorder goes")
    tap.ok(top.sees("recorder died", top.title) and top.sees("died with its broker"), f"which is said: {top.title()}")
    top.quits("q after the broker's death")
    tap.ok(target.lives(), "the target runs on")
    target.end()


# ---- another process ---------------------------------------------------------------------


def another():
    first, second = python(), busy()
    top = Top("")
    tap.ok(top.sees("attach to a process") and top.sees(r"^ +\d+ root .* glibc +\S"), "without arguments: a list")
    top.keys("\\")
    top.type(GROWER)
    top.keys("Enter")
    tap.ok(top.sees("1 of 1  filter: .*/grower"), f"filtered: {top.status_line()}")
    top.keys("Enter")
    tap.ok(top.is_recording() and f"pid {first.pid}" in top.title(), "Enter attaches")
    old = top.trail()
    top.keys("a")
    tap.ok(top.sees(f"the recording of {first.pid} ends"), "a: the list again")
    top.keys("Escape")
    tap.ok(top.is_recording() and grows(top.calls), "Esc goes back, to a recording that went on")
    top.keys("a")
    top.sees("attach to another process")
    top.keys("\\")
    top.type(os.path.basename(work) + "/busy")
    top.keys("Enter")
    top.sees("1 of 1  filter: .*/busy")
    top.keys("Enter")
    tap.ok(top.sees(f"pid {second.pid} .*● recording", top.title), f"another process: {top.title()}")
    tap.ok(top.sees(f"recording of process {first.pid} was ended"), "that the first was ended is said")
    tap.ok(not os.path.exists(old) and first.is_clean(), "and it has gone, with its probes")
    tap.ok(grows(top.calls), "the numbers move")
    top.quits("q after another process")
    tap.ok(first.lives() and second.lives(), "both run on")
    first.end()
    second.end()


def another_fails():
    target = python()
    with open(f"{work}/stripped.c", "w") as f:
        f.write("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    subprocess.check_call(["gcc", "-static", "-s", "-o", f"{work}/stripped", f"{work}/stripped.c"])
    other = subprocess.Popen([f"{work}/stripped"])
    top = Top(f"-p {target.pid}")
    top.is_recording()
    top.keys("a")
    top.sees("attach to another process")
    top.keys("\\")
    top.type(os.path.basename(work) + "/stripped")
    top.keys("Enter")
    top.sees("1 of 1  filter: .*/stripped")
    tap.ok(top.sees(rf"^ +{other.pid} root .* none found +\S"), f"one without an allocator is listed as such: {top.text()}")
    top.keys("Enter")
    tap.ok(top.sees(f"cannot find an allocator to record in process {other.pid}"), f"why not is said: {top.status_line()}")
    top.keys("Escape", "Escape")
    tap.ok(top.sees("· detached", top.title) and top.calls(), "and the first recording is still there")
    top.quits("q after that")
    other.kill()
    other.wait()
    target.end()


# ---- rights ------------------------------------------------------------------------------


def sudo():
    """As sudo does it for nobody."""
    target = python()
    folder = f"{work}/of-nobody"
    os.mkdir(folder)
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    env = f"env SUDO_UID={NOBODY.pw_uid} SUDO_GID={NOBODY.pw_gid}"
    top = Top(f"-p {target.pid}", env=env)
    tap.ok(top.is_recording(), "recording under sudo")
    viewer, broker = top.viewer(), top.broker()
    uid, gid = str(NOBODY.pw_uid), str(NOBODY.pw_gid)
    tap.ok(beside.status(viewer, "Uid").split() == [uid] * 4 and beside.status(viewer, "Gid").split() == [gid] * 4,
           f"the viewer is the user: {beside.status(viewer, 'Uid')} {beside.status(viewer, 'Gid')}")
    groups = {int(g) for g in beside.status(viewer, "Groups").split()}
    tap.ok(groups == set(os.getgrouplist("nobody", NOBODY.pw_gid)), f"with their groups: {groups}")
    caps = {key: int(beside.status(viewer, key), 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    tap.ok(not any(caps.values()) and beside.status(viewer, "NoNewPrivs") == "1", f"no capability, for good: {caps}")
    tap.ok(beside.status(broker, "Uid").split() == ["0"] * 4, "the broker is root")
    tap.ok(not any(re.search("/dev/(pts|tty)", os.readlink(f"/proc/{broker}/fd/{fd}")) for fd in os.listdir(f"/proc/{broker}/fd")),
           "and holds no terminal")
    d, = os.listdir(TMP)
    st = os.stat(f"{TMP}/{d}")
    files = {os.stat(f"{TMP}/{d}/{f}").st_uid for f in os.listdir(f"{TMP}/{d}")}
    tap.ok(st.st_uid == NOBODY.pw_uid and stat.S_IMODE(st.st_mode) == 0o700 and files == {NOBODY.pw_uid},
           f"the folder and what is in it are theirs: {st.st_uid} {oct(st.st_mode)} {files}")
    top.save(f"{work}/root-only.trail")
    tap.ok(top.sees("cannot create '.*root-only.trail': permission denied"), "nothing is saved where the user may not")
    top.save(f"{folder}/saved.trail")
    tap.ok(top.sees("saved to '.*of-nobody/saved.trail'"), "but where they may")
    check_saved(f"{folder}/saved.trail", 1, NOBODY.pw_uid)
    top.keys("d")
    tap.ok(top.sees("· detached", top.title), "detached")
    top.keys("a")
    top.sees("attach to another process")
    top.keys("\\")
    top.type(GROWER)
    top.keys("Enter")
    top.sees("1 of 1  filter")
    top.keys("Enter")
    tap.ok(top.sees(f"pid {target.pid} .*● recording", top.title), "attaching anew has the rights for it")
    top.quits("q under sudo")
    top = Top(f"--log {folder}/log -o {folder}/kept.trail -- env LD_LIBRARY_PATH={libs} {shutil.which('python3', path='/usr/bin') or sys.executable} "
              f"-c 'import os; print(os.getuid(), os.getgid(), os.environ.get(\"SUDO_UID\"))'", env=env)
    top.sees("· ended", top.title)
    tap.ok(beside.wait_until(lambda: open(f"{folder}/log").read().startswith(f"{uid} {gid} None")), "a command runs as the user")
    tap.ok({os.stat(f"{folder}/{f}").st_uid for f in ("log", "kept.trail")} == {NOBODY.pw_uid}, "its files are theirs")
    top.quits("q after their command")
    top = Top(f"--log {work}/of-root -- true", env=env)
    tap.ok(top.status() == 125 and "of-root': permission denied" in top.errors(), f"no log where they may not: {top.errors()!r}")
    top.close()
    target.end()


def refused():
    target = python()
    cases = (("-p 4194303", "", 125, "cannot record process 4194303: no such process", "hint: "),
             (f"-p {target.pid}", "setpriv --reuid nobody --regid nogroup --clear-groups", 3, "", "hint: .*(root|CAP_)"),
             ("-p 2", "", None, "cannot record process 2", ""),
             ("-- /nowhere/program", "", 127, "cannot run '/nowhere/program'", ""),
             (f"-o {work}/there.trail -p {target.pid}", "", 125, "there.trail': file exists", "hint: "),
             ("--max-size nothing -p 1", "", 2, "'nothing' is not a size", "hint: "),
             ("-p 1 -- true", "", 2, "not both", "hint: "),
             (f"--log x -p {target.pid}", "", 2, "--log is for", "hint: "),
             ("one two", "", 2, "after --", "hint: "),
             (f"-p {target.pid} x.trail", "", 2, "either", "hint: "),
             ("--ring-size 3 -p 1", "", 2, "power of two", "hint: "),
             ("--min-size 2G -p 1", "", 2, "--min-size is a size", "hint: "),
             (f"{work}/missing.trail", "", 4, "cannot open", ""),
             (f"-p {target.pid} --dump", "", 2, "--script", "hint: "))
    with open(f"{work}/there.trail", "w") as f:
        f.write("something")
    os.chmod(TMP, 0o1777)
    for args, prefix, status, what, hint in cases:
        top = Top(args, prefix=prefix)
        found, text = top.status(), top.errors()
        tap.ok(found != 0 and status in (found, None) and what in text and text.startswith("heaptrail: ") and re.search(hint, text) and
               not os.listdir(TMP), f"{prefix} top {args}: {found} {text!r}")
        top.close()
    with open(f"{work}/there.trail") as f:
        tap.ok(f.read() == "something", "the file that was there is as it was")
    r = subprocess.run([HEAPTRAIL, "top", "-p", str(target.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR=TMP))
    tap.ok(r.returncode == 2 and "no terminal" in r.stderr and target.is_clean() and not os.listdir(TMP), f"without a terminal: {r.stderr!r}")
    r = subprocess.run([HEAPTRAIL, "top", "-p", str(target.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR="/nowhere"))
    tap.ok(r.returncode == 2, "which comes first")
    top = Top(f"-p {target.pid}", env="TMPDIR=/nowhere")
    tap.ok(top.status() == 125 and "/nowhere/heaptrail-top" in top.errors() and "TMPDIR" in top.errors(), f"no folder: {top.errors()!r}")
    top.close()
    target.end()


def lists():
    target = python()
    keys = f"\\ '{GROWER}' Enter"
    text = subprocess.check_output([HEAPTRAIL, "top", "--script", keys, "--dump", "--size", "10x100"], text=True)
    tap.ok(re.search(rf"^ +{target.pid} root +\S+ .iB glibc +\S", text, re.M) and "1 of 1" in text, "the list without a terminal")
    text = subprocess.check_output(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", HEAPTRAIL, "top",
                                    "--script", keys, "--dump", "--size", "10x100"], text=True)
    tap.ok(re.search(rf"^ +{target.pid} root +\S+ .iB no permission +\S", text, re.M), f"without rights: {text}")
    trail = f"{work}/listed.trail"
    recorder = beside.attach(target.pid, trail)
    text = subprocess.check_output([HEAPTRAIL, "top", "--dump", trail], text=True)
    tap.ok("being recorded" in text and "Live" in text, "FILE is shown as view shows it")
    beside.interrupt(recorder)
    recorder.wait()
    target.end()


if not shutil.which("tmux"):
    tap.skip_all("tmux is not installed")
try:
    os.chmod(work, 0o755)
    os.mkdir(TMP)
    os.chmod(TMP, 0o1777)
    libs = tap.private_libc(work)
    if os.geteuid() == 0:
        tmux("new-session", "-d", "-s", "holder", "exec sleep 100000")  # the server ends with its last session
    tap.run_as_root((session, many_threads, endings, command, max_size, killed, killed_viewer_keeps, killed_recorder,
                     killed_broker, another, another_fails, sudo, refused, lists))
finally:
    for left in [t for t in Target.all if t.process.poll() is None]:
        left.end()
    tmux("kill-server", check=False)
    shutil.rmtree(work, ignore_errors=True)
