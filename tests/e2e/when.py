#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""record --when: marks, stops and commands, of a program whose heap grows and shrinks in known steps."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
work = tempfile.mkdtemp(prefix="heaptrail-when.")
os.chmod(work, 0o755)
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "HOME": work, "LC_ALL": "C.UTF-8"}
waves = f"{work}/waves"

# Each argument, or number on standard input: so many blocks of 1000 bytes are live then; after an argument it waits a while.
SOURCE = r"""
#include <stdlib.h>
#include <unistd.h>
static void *blocks[100000];
int main(int argc, char **argv)
{
	int n = 0, i = 1;
	for (;;) {
		char line[16] = "";
		int wanted;
		if (argc > 1 && i == argc)
			break;
		if (argc == 1 && read(0, line, sizeof(line) - 1) <= 0)
			break;
		wanted = atoi(argc > 1 ? argv[i++] : line);
		while (n < wanted)
			blocks[n++] = malloc(1000);
		while (n > wanted)
			free(blocks[--n]);
		if (argc > 1)
			usleep(150000);
	}
	return 7;
}
"""


def run(*args, **more):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=work,
                          timeout=tap.PATIENCE, **more)


def record(*args, steps, trail="w.trail"):
    return run("record", "--force", "-o", trail, *args, "--", waves, *map(str, steps))


def n_events(path):
    try:
        return beside.sql(path, "SELECT coalesce(sum(events), 0) FROM chunk")[0][0]
    except sqlite3.Error:  # not there yet
        return 0


def record_in_steps(*args, steps, trail="w.trail"):
    """The same, where each step is in the file before the next: what the recorder has written it has judged."""
    path, events = f"{work}/{trail}", 0
    with subprocess.Popen([HEAPTRAIL, "record", "--force", "-o", trail, *args, "--", waves], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=work) as p:
        beside.remove(path)
        for before, step in zip([0, *steps], steps):
            p.stdin.write(f"{step}\n")
            p.stdin.flush()
            events += abs(step - before)
            beside.expect(lambda: os.path.exists(path) and n_events(path) >= events, f"step {step}")
        out, err = p.communicate(timeout=tap.PATIENCE)
    return subprocess.CompletedProcess(args, p.returncode, out, err)


def marks(trail="w.trail"):
    return json.loads(run("report", "--json", trail).stdout)["recording"]["marks"]


with open(f"{work}/waves.c", "w") as f:
    f.write(SOURCE)
subprocess.run(["gcc", "-g", "-O1", "-o", waves, "waves.c"], check=True, cwd=work)


def marked():
    # beyond 50: at the 2nd step; not again before it was at 45 or below
    r = record_in_steps("--when", "live > 50", "mark", steps=(10, 60, 48, 60, 45, 60, 0, 51))
    m = marks()
    tap.ok(r.returncode == 7 and [x["text"] for x in m] == ["'live > 50': live is 60"] * 2 + ["'live > 50': live is 51"],
           f"one mark for each time it comes beyond the limit {r.returncode} {m} {r.stderr}")
    times = [x["time_ns"] / 1e9 for x in m]
    armed = (int(beside.sql(f"{work}/w.trail", "SELECT value FROM recording WHERE key = 'armed_ns'")[0][0]) -
             int(beside.sql(f"{work}/w.trail", "SELECT value FROM recording WHERE key = 'start_ns'")[0][0])) / 1e9
    tap.ok(armed < times[0] < times[1] < times[2], f"at its time: {armed}, {times}")
    said = [line for line in r.stderr.splitlines() if "'live > 50'" in line]
    tap.ok(len(said) == 3 and all(re.match(r"heaptrail: at [\d.]+ m?s: 'live > 50': live is \d\d$", x) for x in said), f"and it is said: {said}")
    for command, head in (("info", "\nMarks\n"), ("report", "\n  Marked      at ")):
        text = run(command, "w.trail").stdout
        tap.ok(text.partition(head)[2].count("'live > 50': live is 60") == 2, f"{command} has them")
    r = run("view", "--script", "W", "--dump", "--size", "24x80", "w.trail")
    tap.ok("▼" in r.stdout and "'live > 50': live is 60" in r.stdout, "and on the time line")
    r = run("info", "--json", "w.trail")
    tap.ok(len(json.loads(r.stdout)["recording"]["marks"]) == 3, "info --json has them")
    r = record_in_steps("-q", "--when", "peak >= 60000B", "mark", "--when", "allocs > 100", "mark", "--when", "live > 1KiB", "mark",
               "--when", "double_frees", "mark", "--when", "live > 60", "mark", steps=(10, 60, 0, 60, 0))
    texts = [x["text"].split("'")[1] for x in marks()]
    tap.ok(r.returncode == 7 and not r.stderr and texts[:2] == ["live > 1KiB", "peak >= 60000B"] and
           sorted(texts[2:]) == ["allocs > 100", "live > 1KiB"],
           f"several conditions, quietly: {texts} {r.stderr}")


def briefly():
    """Between two looks at the ring it is beyond the limit and back again."""
    with open(f"{work}/spike.c", "w") as f:
        f.write("#include <stdlib.h>\n#include <unistd.h>\nint main(void) { void *volatile p = malloc(100); usleep(200000);\n"
                "for (int i = 0; i < 3; i++) { void *volatile q = malloc(5000000 + i); free(q); } usleep(100000); free(p); }\n")
    subprocess.run(["gcc", "-O0", "-o", "spike", "spike.c"], check=True, cwd=work)
    run("record", "--force", "-o", "s.trail", "--when", "live > 4MiB", "mark", "--when", "live > 5000101B", "mark", "--", f"{work}/spike")
    m = [x["text"] for x in marks("s.trail")]
    # the first is the first batch's highest, whatever of the three fell into it
    tap.ok(len(m) >= 2 and re.match(r"'live > 4MiB': live is 4\.77 MiB \(5,000,10[0-2] bytes\)$", m[0]) and
           m[-1] == "'live > 5000101B': live is 4.77 MiB (5,000,102 bytes)", f"a new peak is seen, however brief {m}")


def stopped():
    r = record_in_steps("--when", "live > 50", "stop", steps=(10, 60))
    report = json.loads(run("report", "--json", "w.trail").stdout)
    tap.ok(r.returncode == 0 and "'live > 50': live is 60; recording stopped\n" in r.stderr, f"stop says why {r.returncode} {r.stderr}")
    tap.ok(report["recording"]["complete"] and not report["recording"]["exited"] and report["summary"]["peak_blocks"] == 60 and
           report["recording"]["marks"][0]["text"].endswith("recording stopped"), f"a complete recording until then {report['summary']}")
    with subprocess.Popen([waves, *["60", "0"] * 5000], env=env) as p:
        r = run("record", "-q", "--force", "-o", "p.trail", "--when", "allocs > 300", "stop", "-p", str(p.pid))
        alive = p.poll() is None
        p.kill()
    tap.ok(r.returncode == 0 and alive and not r.stderr, f"of a process that runs on {r.returncode} {r.stderr}")


def executed():
    command = (r'printf "%s\n" "$HEAPTRAIL_PID" "$HEAPTRAIL_FILE" "$HEAPTRAIL_CONDITION" "$HEAPTRAIL_VALUE" "$HEAPTRAIL_TIME_NS" '
               '> vars.new; id -u >> vars.new; mv vars.new vars; echo out; echo err >&2; readlink /proc/self/fd/0; read x && echo eof')
    r = record("--when", "live>50KiB", "exec", command, steps=(10, 60, 60, 60))
    beside.wait_until(lambda: os.path.exists(f"{work}/vars"))
    with open(f"{work}/vars") as f:
        pid, path, condition, value, t, uid = f.read().split("\n")[:6]
    m = marks()
    tap.ok(r.returncode == 7 and (path, condition, value, uid) == ("w.trail", "live>50KiB", "60000", "0") and pid.isdigit() and
           int(t) == m[0]["time_ns"] and m[0]["text"].endswith("; command started"), f"its variables {pid, path, condition, value, t, uid}")
    tap.ok(r.stdout == "" and all(f"\n{x}\n" in r.stderr for x in ("out", "err", "/dev/null")) and "eof" not in r.stderr,
           f"output to standard error, input from nowhere {r.stdout!r} {r.stderr!r}")
    r = record_in_steps("-q", "--when", "live > 50", "exec echo one $HEAPTRAIL_VALUE", steps=(60, 0, 70, 0))
    tap.ok(r.stderr.split() == ["one", "60", "one", "70"], f"in one word, too; each time {r.stderr!r}")
    start = time.monotonic()
    r = record("-q", "--when", "live > 50", "exec", "sleep 1000 > /dev/null 2>&1 & echo $! > sleeper; kill -9 $$", steps=(60, 0, 70, 0))
    took = time.monotonic() - start
    with open(f"{work}/sleeper") as f:
        os.kill(int(f.read()), 9)
    tap.ok(r.returncode == 7 and took < 100 and json.loads(run("report", "--json", "w.trail").stdout)["summary"]["alloc_calls"] == 130,
           f"one that does not end, or ends badly, is nothing to the recorder {r.returncode} {took:.1f} s")


def as_user():
    """Under sudo the commands are the user's: his ids and groups, no capability."""
    out = f"{work}/out"
    os.mkdir(out)
    os.chown(out, 65534, 65534)
    r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", f"{out}/u.trail", "--when", "live > 50", "exec",
                        f"(id -u; id -G; grep CapEff /proc/self/status; env | grep -c ^SUDO_ ; heaptrail=1; echo $HOME) > {out}/who 2>&1; mv {out}/who {out}/is",
                        "--", waves, "60", "60", "60"], env={**env, "SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody"},
                       text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=work, timeout=tap.PATIENCE)
    beside.wait_until(lambda: os.path.exists(f"{out}/is"))
    with open(f"{out}/is") as f:
        uid, groups, caps, sudo = f.read().split("\n")[:4]
    tap.ok(r.returncode == 7 and uid == "65534" and groups.split() == ["65534"] and int(caps.split()[1], 16) == 0 and sudo == "0",
           f"who runs it: {uid, groups, caps, sudo} {r.stderr}")


def in_several_files():
    r = run("record", "--force", "-o", "e.trail", "--every", "1s", "--when", "allocs > 50", "mark", "--when", "allocs > 150", "mark", "--",
            waves, *["0", "60", "0", "0"] * 8)
    files = sorted(x for x in os.listdir(work) if re.match(r"e\.\d\.trail$", x))
    counts = [len(marks(x)) for x in files]
    tap.ok(r.returncode == 7 and len(files) >= 3 and counts[-1] == 2 and counts == sorted(counts) and set(counts) <= {0, 1, 2},
           f"with --every a file has those until its end {counts} {r.stderr}")


def refused():
    for args, words in ((("live > 1 apple", "mark"), "expected B, KiB"), (("leaked", "mark"), "known at the end only"),
                        (("growth > 1MiB/h", "mark"), "known at the end only"),
                        (("live > 5", "beep"), "'mark', 'stop' or 'exec COMMAND', not 'beep'"), (("live > 5", "exec"), "which command?"),
                        (("live > 5", "exec "), "which command?")):
        r = run("record", "-o", "no.trail", "--when", *args, "--", waves, "1")
        tap.ok(r.returncode == 2 and words in r.stderr and "hint:" in r.stderr + "hint:" and not os.path.exists(f"{work}/no.trail"),
               f"{args}: {r.returncode} {r.stderr!r}")
    r = run("record", "--when", "live > 5")
    tap.ok(r.returncode == 2 and "comes 'mark', 'stop' or 'exec COMMAND'\n" in r.stderr, f"nothing behind it {r.stderr!r}")


try:
    tap.run_as_root([marked, briefly, stopped, executed, as_user, in_several_files, refused])
finally:
    shutil.rmtree(work, ignore_errors=True)
