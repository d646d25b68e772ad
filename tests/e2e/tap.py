# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP output, and what several tests need."""
import faulthandler
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import traceback

PATIENCE = 900  # seconds: nothing that a test waits for takes so long, also where the machine stood still for some minutes

# of who runs the tests: words in another language, other sizes and colours, other servers, another malloc
_OTHERS = ("LANG", "LC_", "TZ", "LINES", "COLUMNS", "NO_COLOR", "XDG_", "DEBUGINFOD_", "GLIBC_TUNABLES", "MALLOC_",
           "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONMALLOC")


def _be_alike():
    """Whoever runs the tests, from wherever: the same environment, and signals, files and limits as a fresh shell has them."""
    for name in [x for x in os.environ if x.startswith(_OTHERS) or x.lower().endswith("_proxy")]:
        del os.environ[name]
    # a background job of a shell ignores them
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    nothing = os.open("/dev/null", os.O_RDONLY)  # is 0 itself where that was closed
    if nothing:
        os.dup2(nothing, 0)
        os.close(nothing)


_be_alike()
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
