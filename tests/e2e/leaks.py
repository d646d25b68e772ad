#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""heaptrail leaks: of a program whose leaks, their sizes and ages are known; one shot; suppressions."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
work = tempfile.mkdtemp(prefix="heaptrail-leaks-test.")
libs = tap.private_libc(work)
os.mkdir(f"{work}/home")
os.mkdir(f"{work}/tmp")
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs, "HOME": f"{work}/home", "TMPDIR": f"{work}/tmp",
       "LC_ALL": "C.UTF-8"}
trail = f"{work}/known.trail"
PAUSE_NS = 200_000_000  # between what it allocates early and what it allocates late

# Leaks 10 x 100 bytes in early(), 200 ms later 3 blocks of 50, 150 and 4000 in late(); take() is in both, once inlined.
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *volatile kept;
static inline __attribute__((always_inline)) void *take(size_t n) { return malloc(n); }
__attribute__((noinline)) void early(void) { for (int i = 0; i < 10; i++) kept = take(100); }
__attribute__((noinline)) void late(void)
{
	kept = take(50);
	kept = take(150);
	kept = take(4000);
}
int main(int argc, char **argv)
{
	free(kept);
	puts("said on standard output");
	fflush(stdout);
	fputs("said on standard error\n", stderr);
	early();
	usleep(200000);
	late();
	if (argc > 1 && !strcmp(argv[1], "wait"))
		for (puts("waits"), fflush(stdout);;) {
			kept = malloc(24);
			usleep(1000);
		}
	return argc > 1 ? atoi(argv[1]) : 0;
}
"""


def interruptible():
    """Before it runs: in a background job of a shell SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(*args, **more):
    return subprocess.run([HEAPTRAIL, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**env, **more}, cwd=work, timeout=tap.PATIENCE)


def leaks(*args):
    r = run("leaks", "--json", *args)
    if r.returncode:
        raise RuntimeError(r.stderr)
    return json.loads(r.stdout)


def build(name, source, *flags, compiler="gcc", suffix="c"):
    with open(f"{work}/{name}.{suffix}", "w") as f:
        f.write(source)
    subprocess.run([compiler, "-g", *flags, "-o", f"{work}/{name}", f"{name}.{suffix}"], check=True, cwd=work)
    return f"{work}/{name}"


def left():
    """What one shots have left behind."""
    return os.listdir(f"{work}/tmp")


def by_function(data):
    return {x["function"]: (x["blocks"], x["bytes"]) for x in data["leaks"] if not x["suppressed_by"]}


known = build("known", SOURCE, "-O1")


def records():
    r = run("record", "-q", "-o", trail, "--", known)
    tap.ok(r.returncode == 0, f"recorded {r.stderr}")
    data = leaks(trail)
    shown = [x for x in data["leaks"] if not x["suppressed_by"]]
    tap.ok([(x["blocks"], x["bytes"], x["min_size"], x["max_size"]) for x in shown] ==
           [(1, 4000, 4000, 4000), (10, 1000, 100, 100), (1, 150, 150, 150), (1, 50, 50, 50)], f"by stack: {shown}")
    tap.ok(all([f["function"] for f in x["frames"]][:1] == ["take"] and x["frames"][0]["inlined"] for x in shown),
           "inlined functions are frames")
    tap.ok(all(x["newest_age_ns"] <= x["median_age_ns"] <= x["oldest_age_ns"] for x in shown) and
           all(shown[1]["newest_age_ns"] - shown[i]["oldest_age_ns"] >= PAUSE_NS for i in (0, 2, 3)), "ages at the end")
    duration = data["recording"]["duration_ns"]
    tap.ok(all(x["oldest_ns"] + x["oldest_age_ns"] == duration for x in shown), "and times from the start add up")
    sums = {by: [(x["blocks"], x["bytes"]) for x in leaks("--by", by, trail)["leaks"] if not x["suppressed_by"]]
            for by in ("function", "file", "module", "line")}
    tap.ok(sums["function"] == sums["file"] == sums["module"] == [(13, 5200)] and sums["line"] == [(13, 5200)],
           f"by take(), which has them all {sums}")
    tap.ok(by_function(leaks("--by", "function", "--skip", "take", trail)) == {"late": (3, 4200), "early": (10, 1000)},
           "--skip: its callers")
    text = run("leaks", "--skip", "take", "--by", "function", trail).stdout
    tap.ok(re.search(r"4\.10 KiB +3  late\n    50 B to 3\.91 KiB each, .* old, median ", text) and
           re.search(r"1000 B +10  early\n    10 x 100 B, .* old, median ", text), "sizes and ages as text")


def filters():
    skip = ("--skip", "take", "--by", "function")
    # between them lies the pause, and nobody knows how long the exit took
    older = max(x["oldest_age_ns"] for x in leaks(*skip, trail)["leaks"] if x["function"] == "late") + PAUSE_NS // 2
    tap.ok(by_function(leaks(*skip, "--older", f"{older}ns", trail)) == {"early": (10, 1000)}, "--older")
    tap.ok(by_function(leaks(*skip, "--since", "100ms", trail)) in ({"late": (3, 4200)}, {"late": (3, 4200), "early": (10, 1000)}),
           "--since")
    start = min(x["oldest_ns"] for x in leaks(*skip, trail)["leaks"] if x["function"] == "late")
    tap.ok(by_function(leaks(*skip, "--since", f"{start}ns", trail)) == {"late": (3, 4200)}, "--since a block: it and later ones")
    data = leaks(*skip, "--until", f"{start - 1}ns", trail)
    tap.ok(by_function(data) == {"early": (10, 1000)} and data["word"] == "leaked" and data["filter"]["until_ns"] == start - 1,
           "--until: what was allocated until then and still leaked")
    tap.ok(by_function(leaks(*skip, "--at", f"{start - 1}ns", trail)) == {"early": (10, 1000)}, "--at: what was live")
    tap.ok(by_function(leaks(*skip, "--min-size", "101", trail)) == {"late": (2, 4150)}, "--min-size")
    r = run("leaks", "--older", "1h", trail)
    tap.ok(r.returncode == 0 and r.stdout.startswith("Leaked 0 B in 0 blocks\n  Only        blocks that were 1 h"), r.stdout)
    for args, why in ((("--at", "1ms", "--until", "2ms"), "either --at or --until"), (("--by", "thread"), "by 'thread'"),
                      (("--older", "x"), "is not an age"), (("--min-size", "x"), "is not a size"), (("-d", "1s"), "-p PID or"),
                      (("--error-exit", "0"), "from 1 to 255"), (("-p", "1"), "one of these"),
                      (("--gen-suppressions", "--json"), "not with --json or --sarif")):
        r = run("leaks", *args, trail)
        tap.ok(r.returncode == 2 and why in r.stderr, f"{args}: {r.stderr!r}")
    r = run("leaks", trail, "--", known)
    tap.ok(r.returncode == 2 and "one of these" in r.stderr, "a recording and a command")
    tap.ok(run("leaks", "--").returncode == 2, "no command")


def one_shot():
    r = run("leaks", "--", known, "7")
    tap.ok(r.returncode == 7 and r.stdout == "said on standard output\n" and "said on standard error\n" in r.stderr,
           "one shot: the command's output and status")
    tap.ok("Leaked 5.08 KiB in 13 blocks" in r.stderr and "take (inlined)" in r.stderr and not left(), f"and a report; {left()}")
    tap.ok("\033" not in r.stderr and all(len(line) <= 100 for line in r.stderr.splitlines()), "for a log: no colours, 100 columns")
    r = run("leaks", "--error-exit", "99", "--", known, "7")
    tap.ok(r.returncode == 99, "--error-exit")
    r = run("leaks", "--error-exit", "99", "--older", "1h", "--", known, "7")
    tap.ok(r.returncode == 7, "--error-exit without leaks")
    r = run("leaks", "-o", "kept.trail", f"--json={work}/kept.json", "--", known)
    with open(f"{work}/kept.json") as f:
        data = json.load(f)
    kept = leaks(f"{work}/kept.trail")
    tap.ok(r.returncode == 0 and data["leaks"] == kept["leaks"] and "recorded" in r.stderr and "Leaked" in r.stderr,
           "-o keeps the recording, --json=FILE writes beside the text")
    odd = f"{work}/tmp/%c 100%"
    os.mkdir(odd)
    r = run("leaks", "--", known, TMPDIR=odd)
    tap.ok(r.returncode == 0 and "Leaked" in r.stderr and not os.listdir(odd) and left() == [os.path.basename(odd)],
           f"a folder whose name has % in it {left()} {r.stderr[:200]}")
    os.rmdir(odd)
    r = run("leaks", "--", f"{work}/missing")
    tap.ok(r.returncode == 127 and not left(), "no such command")
    with open(f"{work}/bad.supp", "w") as f:
        f.write("leak:x\nfun:y\n")
    r = run("leaks", "--suppressions", f"{work}/bad.supp", "--", known)
    tap.ok(r.returncode == 2 and f"{work}/bad.supp:2: expected 'leak:PATTERN' or '{{', not 'fun:y'" in r.stderr and not r.stdout,
           "what is wrong with suppressions is said before the command runs")
    with subprocess.Popen([HEAPTRAIL, "leaks", "--", known, "wait"], env=env, cwd=work, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, start_new_session=True, preexec_fn=interruptible) as p:
        beside.expect(lambda: p.stdout.readline() == "waits\n", "the command to run")
        os.killpg(p.pid, signal.SIGINT)
        err = p.communicate(timeout=tap.PATIENCE)[1]
    tap.ok(p.returncode == 128 + signal.SIGINT and "Leaked" in err and not left(), f"Ctrl-C: the command ends, and the report comes")


def attached():
    with subprocess.Popen([known, "wait"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as target:
        beside.expect(lambda: target.stdout.readline() == b"waits\n", "what it does early and late")
        r = run("leaks", "-p", str(target.pid), "-d", "500ms")
        tap.ok(r.returncode == 0 and re.match(r"Unfreed so far [\d.]+ \w+ in [\d,]+ blocks\n", r.stdout) and
               "main" in r.stdout and "early" not in r.stdout and not left(), f"attached for a time: {r.stdout[:200]} {r.stderr}")
        with subprocess.Popen([HEAPTRAIL, "leaks", "-p", str(target.pid)], env=env, cwd=work, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=interruptible) as p:
            beside.expect(lambda: "recording process" in p.stderr.readline(), "it to record")
            time.sleep(0.5)
            p.send_signal(signal.SIGINT)
            out = p.communicate(timeout=tap.PATIENCE)[0]
        tap.ok(p.returncode == 0 and out.startswith("Unfreed so far") and target.poll() is None, "Ctrl-C: the report")
        target.kill()
    r = run("leaks", "-p", str(target.pid))
    tap.ok(r.returncode in (3, 125) and not left(), f"no such process: {r.stderr}")


def sarif():
    def read(path, *args):
        r = run("leaks", f"--sarif={path}", *args)
        tap.ok(r.returncode == 0 and "Leaked" in r.stdout + r.stderr, f"--sarif=FILE, and the text {r.stderr[:200]}")
        with open(path) as f:
            return json.load(f)
    first, again = read(f"{work}/1.sarif", "--skip", "take", trail), read(f"{work}/2.sarif", "--skip", "take", "--", known)
    run_of = first["runs"][0]
    rules, results = run_of["tool"]["driver"]["rules"], run_of["results"]
    tap.ok(first["version"] == "2.1.0" and len(first["runs"]) == 1 and len(rules) == 1 and
           all(r["ruleId"] == rules[r["ruleIndex"]]["id"] and r["message"]["text"] and r["level"] == "warning" for r in results),
           "a rule and results")
    tap.ok(run_of["originalUriBaseIds"]["SRCROOT"]["uri"] == f"file://{os.path.realpath(work)}/", "the source root: where it runs")
    lines = SOURCE.splitlines()
    places = [r["locations"][0]["physicalLocation"] for r in results]
    tap.ok([p["artifactLocation"] for p in places] == [{"uri": "known.c", "uriBaseId": "SRCROOT"}] * 4 and
           [lines[p["region"]["startLine"] - 1].strip() for p in places][:1] == ["kept = take(4000);"] and
           "void early(void)" in lines[places[1]["region"]["startLine"] - 1], f"places: {places}")
    tap.ok(all([f["location"]["logicalLocations"][0]["fullyQualifiedName"] for f in r["stacks"][0]["frames"]][:1] == ["take"] and
               [x["location"] for x in r["codeFlows"][0]["threadFlows"][0]["locations"]] ==
               [f["location"] for f in reversed(r["stacks"][0]["frames"])] for r in results), "whole stacks, and as flows")
    outside = [p["artifactLocation"]["uri"] for r in results for f in r["stacks"][0]["frames"]
               for p in [f["location"]["physicalLocation"]] if "uriBaseId" not in p["artifactLocation"]]
    tap.ok(outside and "known.c" not in " ".join(outside), f"other files are not below it {set(outside)}")
    prints = [[r["partialFingerprints"]["heaptrailStack/v1"] for r in x["runs"][0]["results"]] for x in (first, again)]
    tap.ok(prints[0] == prints[1] and len(set(prints[0])) == 4, f"fingerprints: the same in another run {prints}")
    moved = build("known", "/* a line more */\n" + SOURCE, "-O1")
    later = read(f"{work}/3.sarif", "--skip", "take", "--", moved)["runs"][0]["results"]
    tap.ok([r["partialFingerprints"]["heaptrailStack/v1"] for r in later] == prints[0] and
           later[0]["locations"][0]["physicalLocation"]["region"]["startLine"] == places[0]["region"]["startLine"] + 1,
           "and where lines have moved")
    build("known", SOURCE, "-O1")
    os.mkdir(f"{work}/elsewhere")
    far = json.loads(run("leaks", "--sarif", "--source-root", f"{work}/elsewhere", trail).stdout)["runs"][0]["results"]
    tap.ok([r["locations"][0]["physicalLocation"]["artifactLocation"] for r in far] == [{"uri": f"file://{work}/known.c"}] * 4,
           "--source-root")
    r = run("leaks", f"--sarif={work}/none/x", trail)
    tap.ok(r.returncode == 125 and "cannot write" in r.stderr, "where it cannot be written")


def suppressions():
    supp = f"{work}/a.supp"

    def suppressed(text, *more):
        with open(supp, "w") as f:
            f.write(text)
        return run("leaks", "--suppressions", supp, *more, trail)
    r = suppressed("# mixed\nleak:early\n{\n  the late ones\n  Memcheck:Leak\n  fun:malloc\n  fun:take\n  fun:late\n}\nleak:nowhere\n")
    tap.ok(r.stdout.startswith("Leaked 0 B in 0 blocks\n  Suppressed  9.08 KiB in 14 blocks besides\n"), r.stdout)
    tap.ok(re.search(r" 4\.10 KiB +3  the late ones\n", r.stdout) and re.search(r"1000 B +10  early\n", r.stdout),
           "what was suppressed, and by what")
    tap.ok(r.stderr == f"heaptrail: note: unused suppression 'nowhere' ({supp}:10)\n", f"and what was not used: {r.stderr}")
    data = json.loads(suppressed("leak:early\n", "--json").stdout)
    tap.ok(sum(x["bytes"] for x in data["leaks"]) == data["total_bytes"] and
           [(x["name"], x["bytes"], x["line"]) for x in data["suppressions"] if x["file"]] == [("early", 1000, 1)] and
           data["suppressed_bytes"] == sum(x["bytes"] for x in data["leaks"] if x["suppressed_by"]), "JSON")
    r = run("leaks", "--gen-suppressions", trail)
    tap.ok(r.stdout.count("Memcheck:Leak") == 2, "--gen-suppressions: one where stacks differ in lines only")
    all_of_them = r.stdout
    tap.ok(suppressed(all_of_them).stdout.startswith("Leaked 0 B in 0 blocks\n") and not suppressed(all_of_them).stderr,
           "what it prints suppresses all, and each is used")
    os.makedirs(f"{work}/home/.config/heaptrail")
    with open(f"{work}/home/.config/heaptrail/suppressions", "w") as f:
        f.write("leak:early\nleak:nowhere\n")
    r = run("leaks", trail)
    tap.ok("Leaked 4.10 KiB in 3 blocks" in r.stdout and not r.stderr, "those of the user, of which unused ones are no news")
    r = run("leaks", "--no-default-suppressions", trail)
    tap.ok("Leaked 9.08 KiB in 14 blocks" in r.stdout and "Suppressed" not in r.stdout, "--no-default-suppressions")
    shutil.rmtree(f"{work}/home/.config")
    r = run("leaks", "--suppressions", f"{work}/none", trail)
    tap.ok(r.returncode == 2 and "cannot read the suppressions" in r.stderr, "no such file")


def built_in():
    if not shutil.which("g++"):
        tap.skip("C++", "there is no g++")
        return
    program = build("cxx", """
        #include <cstdio>
        #include <cstdlib>
        #include <dlfcn.h>
        #include <iostream>
        #include <string>
        #include <thread>
        struct cache { int *table = new int[1000]; } the_cache; /* its constructor runs below ld.so */
        int main()
        {
            std::cout << "text" << std::endl;
            std::thread([] { }).join();
            if (!dlopen("nowhere.so", RTLD_NOW) && !dlerror())
                return 1;
            FILE *f = fopen("/dev/null", "w");
            fputs("text", f);
            return !f;
        }
        """, "-O1", "-pthread", compiler="g++", suffix="cc")
    r = run("record", "-q", "-o", f"{work}/cxx.trail", "--", program)
    tap.ok(r.returncode == 0, f"recorded {r.stderr}")
    data = leaks(f"{work}/cxx.trail")
    mine = [x for x in data["leaks"] if not x["suppressed_by"]]
    tap.ok(any(x["bytes"] == 4000 and x["function"] == "cache::cache()" for x in mine), "a static object's leak is shown")
    tap.ok({f["function"].replace("__GI_", "") for x in mine for f in x["frames"] if f["function"]} &
           {"_IO_file_doallocate"}, "and the buffer of a file that was not closed")
    names = {x["suppressed_by"]: x["bytes"] for x in data["leaks"] if x["suppressed_by"]}
    tap.ok(names.get("libstdc++: emergency pool for exceptions") in (72704, 73728), f"the emergency pool: {names}")
    tap.ok(any("standard output" in n for n in names) and any("thread-local" in n for n in names) and
           any("dlopen" in n for n in names), "and what glibc keeps")
    tap.ok(len(mine) == 3, f"all else is the program's {[(x['bytes'], x['function']) for x in mine]}")


try:
    tap.run_as_root([records, filters, one_shot, attached, sarif, suppressions, built_in])
finally:
    shutil.rmtree(work, ignore_errors=True)
