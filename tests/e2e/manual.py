#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs every example of the manual, and checks that it names every command and option."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
SRCDIR = os.environ["SRCDIR"]


def plain(page):
    text = subprocess.check_output(["mandoc", "-T", "ascii", f"{SRCDIR}/man/{page}"], text=True)
    return re.sub(".\x08", "", text)  # bold and underlined by overstriking


def main():
    if not shutil.which("mandoc"):
        tap.skip_all("mandoc is not installed")
    for page in ("heaptrail.1", "heaptrail-recording.5"):
        r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", f"{SRCDIR}/man/{page}"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        tap.ok(not r.stdout, f"{page} is well-formed {r.stdout[:500]}")
    text = plain("heaptrail.1")
    for command in ("record", "top", "report", "leaks", "frag", "annotate", "view", "symbolize", "info", "repair", "doctor", "probes"):
        usage = subprocess.check_output([HEAPTRAIL, command, "--help"], text=True)
        missing = [o for o in set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", usage, re.M))
                   if not re.search(re.escape(o) + r"(?![a-z-])", text)]
        tap.ok(not missing, f"the manual names every option of {command} {missing}")
    with open(f"{SRCDIR}/store/schema.sql") as f:
        schema = f.read()
    recording = plain("heaptrail-recording.5")
    missing = [t for t in re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", schema) if not re.search(rf"\b{t}\b", recording)]
    tap.ok(not missing, f"the manual names every table and view {missing}")
    if os.geteuid() != 0:
        tap.skip("the examples", "recording needs root")
        tap.done()
        return
    work = tempfile.mkdtemp(prefix="heaptrail-manual.")
    os.mkdir(f"{work}/bin")
    os.symlink(HEAPTRAIL, f"{work}/bin/heaptrail")
    os.mkdir(f"{work}/empty")
    env = {**os.environ, "PATH": f"{work}/bin:{os.environ['PATH']}"}
    # an example goes on in the lines that are indented deeper
    examples = [re.sub(r"\n\s+", " ", e) for p in (text, recording)
                for e in re.findall(r"^ +\$ (.*(?:\n {11}  ?\S.*)*)", p, re.M)]
    tap.ok(len(examples) >= 8, f"{len(examples)} examples")
    for e in examples:
        r = subprocess.run(["/bin/bash", "-c", e], cwd=f"{work}/empty", env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=tap.PATIENCE)
        tap.ok(r.returncode == 0, f"{e}" + ("" if r.returncode == 0 else f": {r.returncode} {r.stdout[-500:]!r}"))
    shutil.rmtree(work, ignore_errors=True)
    tap.done()


main()
