# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP output, and what several tests need."""
import faulthandler
import os
import random
import re
import shutil
import subprocess
import sys
import traceback

PATIENCE = 300  # seconds: nothing that a test waits for takes so long, however slow the machine is

_count = 0
_failed = 0
# a test that hangs says where
faulthandler.dump_traceback_later(int(os.environ.get("HEAPTRAIL_TEST_SECONDS", "3600")), exit=True)


def ok(condition, name):
    global _count, _failed
    _count += 1
    _failed += not condition
    print(("ok" if condition else "not ok"), _count, "-", name.replace("#", "\\#").replace("\n", " | "), flush=True)
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


def seed():
    """Another one every time, unless HEAPTRAIL_SEED says which; the log keeps it."""
    text = os.environ.get("HEAPTRAIL_SEED")
    n = int(text, 0) if text else random.SystemRandom().randrange(1 << 32)
    print(f"# seed {n}", flush=True)
    return n


def private_libc(folder):
    """A folder with a copy of the C library: probes go by inode, and others use the system's."""
    libs = os.path.join(folder, "libs")
    os.makedirs(libs, exist_ok=True)
    text = subprocess.check_output(["ldd", "/bin/sh"], text=True)
    path = re.search(r"libc\.so\.6 => (\S+)", text).group(1)
    shutil.copy(os.path.realpath(path), os.path.join(libs, "libc.so.6"))
    return libs


def run_as_root(tests):
    """Runs the tests named on the command line, or all; one that breaks does not stop the rest."""
    if os.geteuid() != 0:
        skip_all("recording needs root")
    for test in [t for t in tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]:
        try:
            test()
        except Exception as e:
            for line in traceback.format_exc().splitlines():
                print("#", line)
            ok(False, f"{test.__name__}: {type(e).__name__}: {e}")
    done()
