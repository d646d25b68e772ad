# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP output, and what several tests need."""
import os
import re
import shutil
import subprocess
import sys

_count = 0
_failed = 0


def ok(condition, name):
    global _count, _failed
    _count += 1
    _failed += not condition
    print(("ok" if condition else "not ok"), _count, "-", name.replace("#", "\\#"), flush=True)
    return condition


def skip(name, why):
    global _count
    _count += 1
    print("ok", _count, "-", name, "# SKIP", why, flush=True)


def skip_all(why):
    print("1..0 # SKIP", why)
    sys.exit(0)


def done():
    print(f"1..{_count}")
    sys.stdout.flush()


def private_libc(folder):
    """A folder with a copy of the C library: probes go by inode, and others use the system's."""
    libs = os.path.join(folder, "libs")
    os.makedirs(libs, exist_ok=True)
    text = subprocess.check_output(["ldd", "/bin/sh"], text=True)
    path = re.search(r"libc\.so\.6 => (\S+)", text).group(1)
    shutil.copy(os.path.realpath(path), os.path.join(libs, "libc.so.6"))
    return libs


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def run_as_root(tests):
    """Runs the tests named on the command line, or all; one that breaks does not stop the rest."""
    if os.geteuid() != 0:
        skip_all("recording needs root")
    for test in [t for t in tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]:
        try:
            test()
        except Exception as e:
            ok(False, f"{test.__name__}: {type(e).__name__}: {e}")
    done()
