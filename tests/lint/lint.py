#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of HACKING.md that a program can check."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import tap  # noqa: E402

SRCDIR = os.environ["SRCDIR"]
FOLDERS = ("common", "store", "image", "collector", "analyzer", "ui", "cli")
# who may include whom
MAY = {
    "common": {"common"},
    "store": {"store", "common"},
    "image": {"image", "common"},
    "collector": {"collector", "store", "image", "common"},
    "analyzer": {"analyzer", "store", "common"},
    "ui": {"ui", "analyzer", "common"},
    "cli": set(FOLDERS),
}
# libraries that one folder keeps to itself
KEPT = {"bpf/": {"collector", "cli"}, "sqlite3.h": {"store"}, "gelf.h": {"image"}, "libelf.h": {"image"},
        "capstone/": {"image"}, "libiberty/": {"image"}, "curses.h": {"ui"}, "ncurses": {"ui"}, "zstd.h": {"store"},
        "sys/capability.h": {"collector"}, "elfutils/": {"image"}, "dwarf.h": {"image"}}


def sources():
    for folder in FOLDERS:
        for name in sorted(os.listdir(os.path.join(SRCDIR, folder))):
            if name.endswith((".c", ".h")) and not name.endswith(".skel.h") and name != "schema.h":
                yield folder, os.path.join(folder, name)


def read(path):
    with open(os.path.join(SRCDIR, path)) as f:
        return f.read()


def includes():
    bad = []
    for folder, path in sources():
        for inc in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', read(path), re.M):
            top = inc.split("/")[0]
            if top in FOLDERS and "/" in inc and top not in MAY[folder]:
                bad.append(f"{path} includes {inc}")
            for library, owners in KEPT.items():
                if inc.startswith(library) and folder not in owners:
                    bad.append(f"{path} includes {inc}")
    tap.ok(not bad, f"folders include only what they may {bad}")


def shape():
    long_files, long_lines, first, spdx = [], [], [], []
    for _, path in sources():
        text = read(path)
        lines = text.splitlines()
        if len(lines) > 800:
            long_files.append(f"{path}: {len(lines)}")
        long_lines += [f"{path}:{i + 1}" for i, line in enumerate(lines) if len(line.expandtabs(8)) > 100]
        if "SPDX-License-Identifier: GPL-2.0-or-later" not in lines[0]:
            spdx.append(path)
        if path.endswith(".c") and not path.endswith(".bpf.c"):
            found = re.findall(r'^#include [<"]([^>"]+)', text, re.M)
            own = path[:-2] + ".h"
            if not found or found[0] != "config.h" or (os.path.exists(os.path.join(SRCDIR, own)) and found[1] != own):
                first.append(path)
    tap.ok(not long_files, f"no file has more than 800 lines {long_files}")
    tap.ok(not long_lines, f"no line has more than 100 columns {long_lines[:20]}")
    tap.ok(not first, f"config.h is included first, then the file's own header {first}")
    tap.ok(not spdx, f"every file names its licence {spdx}")


def functions():
    """A function's body is what stands between braces in the first column."""
    bad = []
    for _, path in sources():
        start = None
        for i, line in enumerate(read(path).splitlines()):
            if line == "{":
                start = i
            elif line == "}" and start is not None:
                if i - start > 80:
                    bad.append(f"{path}:{start + 1} has {i - start} lines")
                start = None
    tap.ok(not bad, f"no function has more than 80 lines {bad}")


def printing():
    """Only cli/ and ui/ print (and libbpf's own messages if asked for)."""
    allowed = {"collector/probes.c": 1}
    bad = []
    for folder, path in sources():
        if folder in ("cli", "ui"):
            continue
        n = len(re.findall(r"\b(?:printf|puts|perror|vprintf)\s*\(|\bv?fprintf\s*\(\s*std", read(path)))
        if n > allowed.get(path, 0):
            bad.append(path)
    tap.ok(not bad, f"only cli/ and ui/ print {bad}")


def headers():
    bad = []
    for _, path in sources():
        if not path.endswith(".h") or path.endswith(".bpf.h"):  # those are parts of a BPF program
            continue
        r = subprocess.run(["gcc", "-std=gnu11", "-fsyntax-only", f"-I{SRCDIR}", "-I.", "-x", "c", "-"],
                           input=f'#include "{path}"\n', text=True, stderr=subprocess.PIPE)
        if r.returncode:
            bad.append(f"{path}: {r.stderr.splitlines()[0]}")
    tap.ok(not bad, f"every header compiles alone {bad}")


def main():
    for test in (includes, shape, functions, printing, headers):
        test()
    tap.done()


main()
