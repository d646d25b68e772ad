#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that a recording lacks, since its recorder was killed or is still at work: looked up when it is shown."""
import contextlib
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
work = tempfile.mkdtemp(prefix="heaptrail-names.")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": tap.private_libc(work), "LC_ALL": "C"}
trail, copy, program = f"{work}/t.trail", f"{work}/copy.trail", f"{work}/program"
SOURCE = """#include <stdlib.h>
#include <unistd.h>
void *volatile sink;
static inline __attribute__((always_inline)) void *take(size_t n) { return malloc(n); }
__attribute__((noinline)) void keep(void) { sink = take(70000); }
__attribute__((noinline)) void lose(void) { for (int i = 0; i < 1000; i++) { sink = malloc(100); free(sink); } }
int main(void)
{
	char c;
	keep();
	do
		lose();
	while (read(0, &c, 1) > 0);
	return 0;
}
"""
FUNCTIONS = {"take": 70000, "lose": 100000}


def build(options=("-O1",), path=program):
    subprocess.run(["gcc", "-g", "-Wl,--build-id", *options, "-o", path, "program.c"], cwd=work, check=True)


def run(*command):
    return subprocess.run([HEAPTRAIL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)


def rows(by, *options, path=trail):
    """Of the program's own, with what was said on stderr."""
    r = run("report", "--json", "--by", by, *options, path)
    return [x for x in json.loads(r.stdout)["rows"] if x["module"] == program], r.stderr


def functions(*options, path=trail):
    return {x["function"]: x["allocated_bytes"] for x in rows("function", *options, path=path)[0]}


def digest(path=trail):
    """Of all that a recording is; the file of locks that SQLite makes anew is none of it."""
    return [hashlib.sha256(open(path + end, "rb").read()).hexdigest() for end in ("", "-wal") if os.path.exists(path + end)]


def fact(path):
    return beside.sql(path, "SELECT value FROM recording WHERE key = 'names_looked_up'")[0][0]


def is_recorded():
    return (beside.sql(trail, "SELECT sum(allocs) FROM chunk")[0][0] or 0) > 1000 if os.path.exists(trail) else False


def record():
    """One whose recorder is killed; in between it is looked at."""
    p = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--", program], env=env, stdin=subprocess.PIPE)
    beside.expect(is_recorded, "all allocations to be recorded")
    tap.ok(not beside.sql(trail, "SELECT count(*) FROM symbol")[0][0] and int(fact(trail)) == 0, "no name is in it yet")
    live = functions()
    tap.ok(live == FUNCTIONS, f"of one that is being written: {live}")
    p.kill()
    p.wait()
    p.stdin.close()
    target = beside.sql(trail, "SELECT value FROM recording WHERE key = 'pid'")[0][0]
    beside.expect(lambda: beside.has_ended(int(target)), "its end")


def killed():
    before = digest()
    tap.ok(functions() == FUNCTIONS, f"report --by function: {functions()}")
    lines = {(os.path.basename(x["file"] or ""), x["line"]): x["allocated_bytes"] for x in rows("line")[0]}
    tap.ok(lines == {("program.c", 4): 70000, ("program.c", 6): 100000}, f"by line: {lines}")
    found = [f for x in rows("stack")[0] for f in x["frames"] if f["module"] == program and f["function"] in ("take", "keep")]
    tap.ok([(f["function"], f["inlined"]) for f in found] == [("take", True), ("keep", False)], "inlined functions, too")
    r = run("leaks", trail)
    tap.ok(re.search("take .inlined. .*program.c:4", r.stdout) and "missing:" not in r.stdout, "leaks: its frames")
    r = run("annotate", "--bytes", trail, "program.c")
    tap.ok(r.returncode == 0 and re.search(r"^ +70,000 .* 4  static inline", r.stdout, re.M), f"annotate: {r.stderr}")
    there = f"{work}/../{os.path.basename(work)}/program.c"
    tap.ok(run("annotate", "--bytes", trail, there).stdout == r.stdout, f"annotate {there}")
    for command in (["report"], ["report", "--by", "function"], ["leaks"], ["report", "--csv"]):
        r = run(*command, "--no-symbolize", trail)
        tap.ok(r.returncode == 0 and "program.c" not in r.stdout and "take" not in r.stdout, f"{command} --no-symbolize")
    tap.ok(run("annotate", "--no-symbolize", trail, "program.c").returncode == 1, "annotate --no-symbolize knows no source")
    tap.ok(digest() == before and len(before) == 2, "nothing was written")


def noted(name, words):
    shown, machines, leaks = run("report", trail), run("report", "--json", trail), run("leaks", trail)
    flat = [" ".join(x.split()) for x in (shown.stdout, leaks.stdout)]
    tap.ok(all(f"Note names of functions in 'program' are missing: it {words}" in x for x in flat) and
           f"note: names of functions in 'program' are missing: it {words}" in machines.stderr and
           not any("has no debug information" in x for x in flat) and all(len(line) <= 80 for line in shown.stdout.splitlines()), f"{name}: a note says so {flat[0][:600]}")
    tap.ok(functions().keys() == {None}, f"{name}: its functions have no names: {functions()}")


def changed():
    os.rename(program, f"{program}.was")
    noted("a program that is gone", "is not there, or cannot be read")
    build(["-O2"])
    noted("another build", "is another build than was recorded")
    os.rename(f"{program}.was", program)
    tap.ok(functions() == FUNCTIONS and "missing" not in rows("file")[1], "the same again")


def repaired():
    shutil.copy(trail, copy)
    shutil.copy(trail + "-wal", copy + "-wal")
    r = run("repair", copy)
    os.rename(program, f"{program}.was")
    tap.ok(r.returncode == 0 and functions(path=copy) == FUNCTIONS and int(fact(copy)) == 1 and
           "missing" not in rows("file", path=copy)[1], "repaired, it has them in itself")
    r = run("repair", trail)
    tap.ok(r.returncode == 0 and int(fact(trail)) == 0 and functions().keys() == {None}, "or not, where they were not there")
    os.rename(f"{program}.was", program)
    tap.ok(functions() == FUNCTIONS, "then they are looked up as before")


def looked_up():
    """What a recorder has looked for in vain is not looked for again, but by symbolize."""
    shutil.copy(program, f"{program}.was")
    subprocess.run(["strip", program], check=True)
    subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", trail, "--", program], env=env, stdin=subprocess.DEVNULL,
                   check=True, timeout=tap.PATIENCE)
    os.rename(f"{program}.was", program)
    tap.ok(int(fact(trail)) == 1 and functions().keys() == {None} and "missing" not in rows("file")[1],
           f"once all were looked up, reports do not: {functions()}")
    r = run("symbolize", trail)
    tap.ok(functions() == FUNCTIONS, f"symbolize does: {r.stderr}")


# ---- the line on the terminal -------------------------------------------------------------


def write_large():
    """Debug information that takes a while."""
    with open(f"{work}/large.c", "w") as f:
        f.write("#include <stdlib.h>\nvoid *volatile sink;\n" +
                "".join(f"int f{i}(int a) {{ int b = a + {i}; return b * b; }}\n" for i in range(8000)) +
                "int main(void) { sink = malloc(f7(1)); return 0; }\n")
    subprocess.run(["gcc", "-g", "-O0", "-Wl,--build-id", "-o", f"{work}/large", "large.c"], cwd=work, check=True)


def is_reader(pid):
    """Is it the child that looks up names?  It is to go before all others where memory is short."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj") as f:
        return f.read() == "1000\n"


def hold(pid):
    """Stops that child, if it is still at work."""
    child = beside.wait_until(lambda: beside.has_ended(pid) or next(filter(is_reader, beside.children(pid)), None), pause=0)
    if child is True:
        return None
    os.kill(child, signal.SIGSTOP)
    return beside.wait_until(lambda: beside.state(child) in ("T", "Z", None)) and beside.state(child) == "T" and child


def on_terminal(*command):
    """Its exit status and what it writes to a terminal, if the child that looks up names could be held for a while."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(HEAPTRAIL, [HEAPTRAIL, *command], env)
    child, said = hold(pid), b""
    with contextlib.suppress(OSError):  # when the other side has closed it
        while data := os.read(terminal, 65536):
            said += data
            if child and b"looking up functions" in said:
                os.kill(child, signal.SIGCONT)
                child = None
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def check_line(name, *command):
    for _ in range(20):
        status, said = on_terminal(*command)
        if "looking up functions" in said:
            break
    shown = re.findall(r"\rheaptrail: looking up functions, ([\d,]+) of ([\d,]+)\033\[K", said)
    numbers = [tuple(int(n.replace(",", "")) for n in x) for x in shown]
    tap.ok(status == 0 and numbers and all(x <= y for x, y in numbers) and len({y for _, y in numbers}) == 1 and
           said.rindex("\r\033[K") > said.rindex("looking up functions"), f"{name}: a line says how far it is, and goes: {numbers}")


def progress():
    write_large()
    large = f"{work}/large.trail"
    shutil.copy(f"{work}/large", f"{work}/large.was")
    check_line("record", "record", "--force", "-o", large, "--", f"{work}/large")
    subprocess.run(["strip", f"{work}/large"], check=True)
    subprocess.run([HEAPTRAIL, "record", "-q", "--force", "-o", large, "--", f"{work}/large"], check=True, env=env)
    os.rename(f"{work}/large.was", f"{work}/large")
    shutil.copy(large, copy)
    check_line("symbolize", "symbolize", large)
    r = run("symbolize", copy)
    tap.ok(r.returncode == 0 and "looking up" not in r.stderr and "\r" not in r.stderr, "off a terminal there is none")
    subprocess.run(["sqlite3", large, "DELETE FROM symbol; UPDATE recording SET value = 0 WHERE key = 'names_looked_up'; "
                    "DELETE FROM recording WHERE key = 'seal'; PRAGMA journal_mode = WAL"], check=True, stdout=subprocess.DEVNULL)
    check_line("report", "report", large)


if os.geteuid() != 0:
    tap.skip_all("recording needs root")
with open(f"{work}/program.c", "w") as source:
    source.write(SOURCE)
try:
    build()
    tap.run_as_root([record, killed, changed, repaired, looked_up, progress])
finally:
    os.environ.get("KEEP") or shutil.rmtree(work, ignore_errors=True)
