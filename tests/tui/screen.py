#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal screen, in a real one: tests/tui/show.c in tmux."""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import tap  # noqa: E402

SHOW = os.path.join(os.environ["TUI"], "show")
work = tempfile.mkdtemp(prefix="heaptrail-screen.")
SOCKET = os.path.join(work, "socket")
CRASHES = {"A": signal.SIGABRT, "S": signal.SIGSEGV, "T": signal.SIGSEGV, "O": signal.SIGSEGV}


def tmux(*args, check=True):
    env = dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm-256color")
    return subprocess.run(["tmux", "-S", SOCKET, "-f", "/dev/null", *args], env=env, check=check,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=tap.PATIENCE).stdout.decode()


def until(what, seconds=tap.PATIENCE):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Terminal:
    """A shell with jobs in a window of its own."""
    count = 0

    def __init__(self, rows=24, cols=80):
        Terminal.count += 1
        self.name = f"w{Terminal.count}"
        self.inputs = self.prompts = 0
        self.rc = os.path.join(work, f"{self.name}.rc")
        with open(self.rc, "w") as f:
            f.write("PS1='$? ready> '\nunset HISTFILE LINES COLUMNS PROMPT_COMMAND NO_COLOR\nset +o notify\n"
                    "export ASAN_OPTIONS=detect_leaks=0\n")  # of curses
        tmux("new-session", "-d", "-s", self.name, "-x", str(cols), "-y", str(rows),
             f"exec bash --noprofile --rcfile {shlex.quote(self.rc)} -i")
        self.is_there("ready>$")

    def text(self):
        return tmux("capture-pane", "-p", "-t", self.name)

    def lines(self):
        return self.text().split("\n")

    def attributes(self):
        return tmux("capture-pane", "-p", "-e", "-t", self.name).split("\n")

    def has(self, pattern):
        return re.search(pattern, self.text().rstrip("\n"), re.M) is not None

    def is_there(self, pattern):
        return until(lambda: self.has(pattern))

    def ask(self, fmt):
        return tmux("display-message", "-p", "-t", self.name, fmt).strip()

    def keys(self, *keys):
        tmux("send-keys", "-t", self.name, *keys)

    def raw(self, text):
        tmux("send-keys", "-t", self.name, "-H", *[f"{b:02x}" for b in text.encode()])

    def run(self, args="", env="", wait=True):
        """Starts the program in the shell; true when it is seen."""
        self.inputs = 0
        self.keys("-l", f"clear; stty -g > {work}/before; {env} {SHOW} {args}")
        self.keys("Enter")
        return self.is_there(r"^heat 3 +heat 3") if wait else True

    def gives(self, send, wanted):
        """The next inputs are those."""
        send()
        wanted = [wanted] if isinstance(wanted, str) else wanted
        for one in wanted:
            self.inputs += 1
            if " " not in one:
                one += " 0,0"
            if not self.is_there(rf"\b{self.inputs}:{re.escape(one)}\."):
                number = re.findall(r"\b(\d+):\S", self.text())
                self.inputs = max((int(n) for n in number), default=0)
                print("#", [line[30:].strip() for line in self.lines() if re.search(r"\d:\S", line)])
                return False
        return True

    def is_restored(self, status, what):
        """The shell is back, with all modes as they were."""
        there = self.is_there(rf"^{status} ready>$")
        # readline has modes of its own: the shell's children see the restored ones
        self.keys("-l", f"stty -g > {work}/after; echo 'it ''goes on'")
        self.keys("Enter")
        goes_on = self.is_there("^it goes on")
        with open(f"{work}/before") as b, open(f"{work}/after") as a:
            modes = b.read() == a.read()
        state = self.ask("#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag} #{keypad_flag}")
        return tap.ok(there and goes_on and modes and state == "0 1 0 0 0",
                      f"{what}: the terminal is as it was ({there} {goes_on} {modes} {state})")

    def pid(self):
        children = subprocess.run(["pgrep", "-P", self.ask("#{pane_pid}"), "-x", "show"], stdout=subprocess.PIPE).stdout
        return int(children.split()[0])

    def close(self):
        tmux("kill-session", "-t", self.name, check=False)


def cells():
    t = Terminal()
    tap.ok(t.run(env="TERM=xterm-256color LC_ALL=C.UTF-8"), "it starts")
    lines = t.lines()
    tap.ok(lines[0].startswith("heaptrail ─│▸▾●…↑↓├└▲▼· 漢字 é e\u0301  ") and lines[0].endswith(" 24x80"), f"wide characters and marks: {lines[0]}")
    tap.ok(lines[1][30:] == "██▋" and lines[2][30:] == "  ⢀⣴⣿" and lines[3][30:] == "⢀⣴⣿⣿⣿⡇", "bars and curves")
    tap.ok(lines[23] == "─" * 80, "the last cell of the screen")
    tap.ok(t.ask("#{alternate_on} #{cursor_flag}") == "1 0", "another screen, no cursor")
    t.gives(lambda: t.keys("C"), "C")
    tap.ok(until(lambda: t.ask("#{cursor_flag} #{cursor_y} #{cursor_x}") == "1 2 3"), "the cursor is seen where it should")
    t.gives(lambda: t.keys("H"), "H")
    tap.ok(until(lambda: t.ask("#{cursor_flag}") == "0"), "it is hidden")
    t.gives(lambda: t.keys("C"), "C")
    t.keys("q")
    t.is_restored(0, "q")
    t.close()


def colours():
    def looks(env, args=""):
        t = Terminal()
        t.run(args, env=env)
        found = t.attributes()
        text = t.lines()
        t.keys("q")
        t.is_restored(0, env)
        t.close()
        return text, found

    _, rich = looks("TERM=screen-256color LC_ALL=C.UTF-8")
    all_rich = "\n".join(rich)
    tap.ok(all(f"{colour}m" in all_rich for colour in ("38;5;32", "38;5;243", "38;5;16", "48;5;166", "48;5;24")),
           "256 colours: accent, dim, heat, the line of the cursor")
    tap.ok(len(set(re.findall(r"48;5;(\d+)m", all_rich))) == 7, "each fill is another one")
    _, poor = looks("TERM=xterm LC_ALL=C.UTF-8")
    all_poor = "\n".join(poor)
    tap.ok("\033[36m" in all_poor and "\033[46m" in all_poor and "8;5;" not in all_poor, "8 colours")
    for env, args in (("TERM=xterm-256color LC_ALL=C.UTF-8 NO_COLOR=1", ""), ("TERM=xterm-256color LC_ALL=C.UTF-8", "--no-color"),
                      ("TERM=vt100 LC_ALL=C.UTF-8", "")):
        text, none = looks(env, args)
        everything = "\n".join(none)
        tap.ok(not re.search(r"\033\[[0-9;]*\b[34][0-8][;m]", everything) and "\033[7m" in everything and
               "\033[1m" in everything, f"no colours, but attributes: {env} {args}")
    _, empty = looks("TERM=xterm-256color LC_ALL=C.UTF-8 NO_COLOR=")
    tap.ok("38;5;32m" in "\n".join(empty), "an empty NO_COLOR is none")


def ascii_only():
    for env in ("TERM=xterm-256color LC_ALL=C", "TERM=vt100 LC_ALL=C.UTF-8", "TERM=linux LC_ALL=C.UTF-8"):
        t = Terminal()
        t.run(env=env)
        text = t.text()
        lines = text.split("\n")
        tap.ok(text.isascii() and lines[0].startswith("heaptrail -|+-*~^v|`^v. ???? ? e ") and
               lines[1][30:] == "###" and lines[3][30:] == ".:####" and lines[23] == "-" * 80,
               f"{env}: ASCII: {lines[0]} {lines[1][30:]} {lines[3][30:]}")
        t.gives(lambda: t.keys("Down"), "Down")
        t.keys("q")
        t.is_restored(0, env)
        t.close()


def refused():
    t = Terminal()
    for env, words in (("TERM=no-such-terminal", "terminal 'no-such-terminal' is not known"), ("TERM=", "TERM is not set"),
                       ("env -u TERM", "TERM is not set"), ("TERM=dumb", "terminal 'dumb' cannot place its cursor")):
        t.run(env=env, wait=False)
        tap.ok(t.is_there(f"cannot open the screen: .*{words}") and t.is_there("^hint: "), f"refused: {words}")
        t.is_restored(r"\d+", env)
    for redirection, which in (("< /dev/null", "input"), ("| cat", "output")):
        t.run(redirection, env="TERM=xterm", wait=False)
        tap.ok(t.is_there(f"standard {which} is no terminal"), f"refused: standard {which}")
    t.close()


def keys():
    t = Terminal()
    names = {"Up": "Up", "Down": "Down", "Left": "Left", "Right": "Right", "PPage": "PageUp", "NPage": "PageDown",
             "Home": "Home", "End": "End", "Enter": "Enter", "Tab": "Tab", "BTab": "BackTab", "BSpace": "Backspace",
             "DC": "Delete", "Space": "Space", "C-c": "^C", "C-s": "^S", "C-a": "^A", "C-l": "^L", "C-h": "Backspace",
             "/": "/", "'": "'"}
    names.update({f"F{i}": f"F{i}" for i in range(1, 11)})
    for env in ("TERM=xterm-256color LC_ALL=C.UTF-8", "TERM=screen-256color LC_ALL=C.UTF-8", "TERM=linux LC_ALL=C"):
        t.run(env=env)
        bad = [key for key, name in names.items() if not t.gives(lambda: t.keys(key), name)]
        tap.ok(not bad, f"{env}: keys {bad}")
        tap.ok(t.gives(lambda: t.keys("Escape"), "Escape"), f"{env}: Escape alone")
        tap.ok(t.gives(lambda: t.keys("M-x"), ["Escape", "x"]), f"{env}: Alt is Escape before it")
        if env.endswith("UTF-8"):
            tap.ok(t.gives(lambda: t.keys("-l", "é漢"), ["é", "漢"]), f"{env}: characters")
        tap.ok(t.gives(lambda: t.raw("\033[1;5D\033[200~\033[?1;2c\033Ox\033[24~y"), "y"), f"{env}: sequences that are no key")
        tap.ok(t.gives(lambda: t.raw("\033[A\033[B\033OAz"), ["Up", "Down", "Up", "z"]), f"{env}: fast typing")
        t.keys("q")
        t.is_restored(0, env)
    t.close()


def mouse():
    t = Terminal()
    t.run(env="TERM=xterm-256color LC_ALL=C.UTF-8")
    tap.ok(t.ask("#{mouse_any_flag} #{mouse_sgr_flag}") == "1 1", "the mouse is on")
    tap.ok(t.gives(lambda: t.raw("\033[<0;5;3M\033[<0;5;3m"), "click 2,4"), "a click")
    tap.ok(t.gives(lambda: t.raw("\033[<0;5;4M\033[<0;5;4m\033[<0;5;4M\033[<0;5;4m"), ["click 3,4", "double-click 3,4"]),
           "a double one")
    tap.ok(t.gives(lambda: t.raw("\033[<0;9;4M\033[<0;9;4m\033[<0;9;5M\033[<0;9;5m"), ["click 3,8", "click 4,8"]), "two places are no double one")
    tap.ok(t.gives(lambda: t.raw("\033[<64;1;1M\033[<65;80;24M"), ["wheel-up 0,0", "wheel-down 23,79"]), "the wheel")
    tap.ok(t.gives(lambda: t.raw("\033[<2;1;1M\033[<2;1;1mx"), "x"), "the other button is nothing")
    t.keys("q")
    t.is_restored(0, "mouse")
    t.run("--no-mouse", env="TERM=xterm-256color LC_ALL=C.UTF-8")
    tap.ok(t.ask("#{mouse_any_flag}") == "0", "no mouse, if not wanted")
    t.keys("q")
    t.is_restored(0, "no mouse")
    t.close()


def sizes():
    t = Terminal()
    t.run(env="LINES=10 COLUMNS=30 TERM=xterm-256color LC_ALL=C.UTF-8")
    tap.ok(t.lines()[0].endswith(" 24x80"), "LINES and COLUMNS of another terminal are not believed")
    for rows, cols in ((30, 100), (20, 61), (24, 80)):
        good = t.gives(lambda: tmux("resize-window", "-t", t.name, "-x", str(cols), "-y", str(rows)), f"resize {rows},{cols}")
        lines = t.lines()
        tap.ok(good and lines[0].rstrip().endswith(f"{rows}x{cols}") and lines[rows - 1] == "─" * cols and
               sum("─" * 9 in line for line in lines) == 1, f"{rows}x{cols} from edge to edge")
    tmux("resize-window", "-t", t.name, "-x", "2", "-y", "1")
    time.sleep(0.3)
    tmux("resize-window", "-t", t.name, "-x", "80", "-y", "24")
    tap.ok(until(lambda: t.lines()[0].endswith(" 24x80")), "from next to nothing")
    t.keys("q")
    t.is_restored(0, "sizes")
    t.close()


def waits():
    t = Terminal()
    t.run("'' 100", env="TERM=xterm LC_ALL=C.UTF-8")
    tap.ok(t.is_there(r"[2-9]:none "), "it waits as long as it should")
    t.keys("q")
    t.is_restored(0, "waits")
    t.run("'' -1 3 3< <(sleep 0.5; echo x; sleep 0.5; echo y)", env="TERM=xterm LC_ALL=C.UTF-8")
    tap.ok(t.gives(lambda: None, ["none", "none", "none"]), "another descriptor wakes it")
    tap.ok(t.gives(lambda: t.keys("k"), "k"), "keys still come")
    t.keys("q")
    t.is_restored(0, "descriptor")
    t.close()


def jobs():
    t = Terminal()
    env = "TERM=xterm-256color LC_ALL=C.UTF-8"
    # a shell script before it: the whole job stops
    for command, how in ((SHOW, "Ctrl-Z"), (f"sh -c '{SHOW}; exit $?'", "Ctrl-Z of a script"), (f"env TERM=linux {SHOW}", "Ctrl-Z of the console"),
                         (SHOW, "SIGTSTP")):
        t.inputs = 0
        t.keys("-l", f"clear; stty -g > {work}/before; {env} {command}")
        t.keys("Enter")
        t.is_there(r"^heat 3 +heat 3")
        t.gives(lambda: t.keys("a"), "a")
        if how == "SIGTSTP":
            os.kill(t.pid(), signal.SIGTSTP)
        else:
            t.keys("C-z")
        t.is_restored(148, how)
        t.keys("-l", "clear; fg")
        t.keys("Enter")
        tap.ok(t.gives(lambda: None, "resize 24,80") and t.is_there(r"^heat 3 +heat 3"), f"{how}: fg draws all again")
        modes = "0 0 1" if "console" in how else "1 0 1"
        tap.ok(t.ask("#{alternate_on} #{cursor_flag} #{mouse_any_flag}") == modes, f"{how}: modes are back")
        tap.ok(t.gives(lambda: t.keys("Up"), "Up"), f"{how}: keys are back")
        t.keys("q")
        t.is_restored(0, f"{how}, fg, q")
    t.run(env=env)
    t.keys("C-z")
    t.is_there("^148 ready>$")
    tmux("resize-window", "-t", t.name, "-x", "70", "-y", "22")
    t.keys("-l", "clear; fg")
    t.keys("Enter")
    tap.ok(t.gives(lambda: None, "resize 22,70") and t.lines()[21] == "─" * 70, "another size meanwhile")
    t.keys("C-z")
    t.is_there("^148 ready>$")
    t.keys("-l", "kill %1; fg")
    t.keys("Enter")
    t.is_restored(143, "killed while it is stopped")
    t.close()


def endings():
    t = Terminal()
    env = "TERM=xterm-256color LC_ALL=C.UTF-8"
    for key, number in CRASHES.items():
        t.run(env=env)
        t.keys(key)
        t.is_restored(128 + number, f"crash {key}")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGUSR1):
        t.run(env="ulimit -c 0; " + env)
        t.gives(lambda: t.keys("C"), "C")
        os.kill(t.pid(), number)
        t.is_restored(128 + number, number.name)
    t.run(env="TERM=vt100 LC_ALL=C.UTF-8")
    os.kill(t.pid(), signal.SIGTERM)
    t.is_restored(143, "a terminal without another screen")
    t.run(env=env)
    t.keys("X")
    t.is_restored(3, "exit()")
    t.run(env=env)
    t.keys("M")
    tap.ok(t.is_there("^heaptrail: out of memory$"), "out of memory: said on the restored screen")
    t.is_restored(125, "out of memory")
    t.run(env=env)
    tap.ok(t.gives(lambda: t.keys("F"), "F") and t.ask("#{alternate_on} #{cursor_flag}") == "1 0",
           "children that end leave the screen alone")
    t.keys("q")
    t.is_restored(0, "children")
    t.close()


def hang_up():
    t = Terminal()
    status = f"{work}/status"
    t.run(env="trap '' HUP; TERM=xterm LC_ALL=C.UTF-8", args=f"; echo $? > {status}")
    t.close()
    tap.ok(until(lambda: os.path.exists(status) and open(status).read() == "5\n"),
           "the terminal goes: the program hears of it, though it ignores SIGHUP")


if not shutil.which("tmux"):
    tap.skip_all("tmux is not installed")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server would outlive us
try:
    tmux("new-session", "-d", "-s", "first", "exec cat")  # a server without sessions ends
    for test in (cells, colours, ascii_only, refused, keys, mouse, sizes, waits, jobs, endings, hang_up):
        if sys.argv[1:] and test.__name__ not in sys.argv[1:]:
            continue
        began = time.monotonic()
        try:
            test()
        except Exception as e:
            for line in traceback.format_exc().splitlines():
                print("#", line)
            tap.ok(False, f"{test.__name__}: {type(e).__name__}: {e}")
        print(f"# {test.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    tap.done()
finally:
    tmux("kill-server", check=False)
    shutil.rmtree(work, ignore_errors=True)
