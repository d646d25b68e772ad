#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug information from debuginfod servers: one of elfutils, and ones that are down, slow or hostile."""
import contextlib
import hashlib
import http.server
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
work = tempfile.mkdtemp(prefix="heaptrail-debuginfod.")
libs = tap.private_libc(work)
trail, copy = f"{work}/t.trail", f"{work}/copy.trail"
SOURCE = """#include <stdlib.h>
#include <string.h>
void *volatile sink;
static inline __attribute__((always_inline)) void *take(size_t n) { return malloc(n); }
__attribute__((noinline)) void fetched(void) { sink = take(5000); }
int main(void) { fetched(); sink = 0; return 0; }
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def build_id(path):
    return re.search(r"Build ID: (\w+)", subprocess.check_output(["readelf", "-n", path], text=True))[1]


def make():
    """The program runs stripped; what was taken from it is in a folder that only servers know."""
    with open(f"{work}/program.c", "w") as f:
        f.write(SOURCE)
    os.mkdir(f"{work}/served")
    subprocess.run(["gcc", "-g", "-O1", "-Wl,--build-id", "-o", f"{work}/program", "program.c"], cwd=work, check=True)
    subprocess.run(["objcopy", "--only-keep-debug", f"{work}/program", f"{work}/served/taken.debug"], check=True)
    subprocess.run(["gcc", "-g", "-O1", "-DOTHER", "-Wl,--build-id=0xabcdef0123456789abcdef0123456789abcdef01", "-o",
                    f"{work}/other", "program.c"], cwd=work, check=True)
    subprocess.run(["objcopy", "--strip-debug", f"{work}/program"], check=True)
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", f"{work}/program"], check=True,
                   env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}, timeout=tap.PATIENCE)


def environment(urls):
    """As one that has never asked any."""
    home = tempfile.mkdtemp(dir=work)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DEBUGINFOD_", "XDG_"))}
    return {**env, "HOME": home, "DEBUGINFOD_CACHE_PATH": f"{home}/cache", "DEBUGINFOD_RETRY_LIMIT": "1",
            "DEBUGINFOD_TIMEOUT": "20", "LC_ALL": "C", **({"DEBUGINFOD_URLS": urls} if urls is not None else {})}


def run(*command, env):
    return subprocess.run([HEAPTRAIL, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=tap.PATIENCE)


def symbolize(*options, env):
    shutil.copy(trail, copy)
    return run("symbolize", *options, copy, env=env)


def places(path=copy):
    """(function, file and line) of the program's own frames, from the innermost on."""
    rows = json.loads(subprocess.check_output([HEAPTRAIL, "report", "--json", "--by", "stack", path]))["rows"]
    return [(f["function"], f["file"] and f"{os.path.basename(f['file'])}:{f['line']}") for x in rows for f in x["frames"]
            if f["module"] == f"{work}/program" and f["function"] in ("take", "fetched", "main")]


WITHOUT = [("fetched", None), ("main", None)]
WITH = [("take", "program.c:4"), ("fetched", "program.c:5"), ("main", "program.c:6")]


def has_no_more(env, words):
    """A server that serves nothing: the recording stays as it was."""
    r = symbolize("--debuginfod", env=env)
    tap.ok(r.returncode == 0 and places() == WITHOUT and r.stdout.count(words) == 1, f"{words}: {r.stdout}")


# ---- debuginfod itself --------------------------------------------------------------------


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=tap.PATIENCE) as r:
        return sum(float(line.rsplit(" ", 1)[1]) for line in r.read().decode().splitlines() if line.startswith(name))


def has_it(port):
    with contextlib.suppress(OSError):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/buildid/{build_id(f'{work}/program')}/debuginfo")
        return urllib.request.urlopen(request, timeout=20).status == 200


@contextlib.contextmanager
def elfutils():
    for _ in range(20):
        port = free_port()
        server = subprocess.Popen(["debuginfod", "-F", "-p", str(port), "-d", ":memory:", "-t", "0", "-g", "0", f"{work}/served"],
                                  env=environment(None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        beside.wait_until(lambda: server.poll() is not None or has_it(port))
        if server.poll() is None:
            break  # else somebody has taken the port
    try:
        yield port
    finally:
        server.kill()
        server.wait()


def real_server():
    if not shutil.which("debuginfod"):
        tap.skip("debuginfod", "it is not installed")
        return
    with elfutils() as port:
        env = environment(f"http://127.0.0.1:{port}")
        before = metric(port, 'http_requests_total{type="debuginfo"}')
        r = symbolize(env=env)
        reports = [run(*c, copy, env=env).returncode for c in (["report"], ["leaks"], ["info"])]
        asked = metric(port, 'http_requests_total{type="debuginfo"}') - before
        tap.ok(r.returncode == 0 and places() == WITHOUT and reports == [0, 0, 0] and asked == 0 and
               not os.path.exists(env["DEBUGINFOD_CACHE_PATH"]), f"nobody is asked without --debuginfod ({asked:.0f} requests)")
        r = symbolize("--debuginfod", "--debuginfod-max", "1K", env=env)
        tap.ok(r.returncode == 0 and places() == WITHOUT and "program' is larger than 1.00 KiB: not fetched (--debuginfod-max)" in
               r.stdout, f"the limit: {r.stdout}")
        r = symbolize("--debuginfod", env=env)
        tap.ok(r.returncode == 0 and places() == WITH and metric(port, 'http_requests_total{type="debuginfo"}') > before,
               f"--debuginfod: {places()} {r.stdout}")
    r = symbolize("--debuginfod", "-q", env=env)
    tap.ok(r.returncode == 0 and places() == WITH, "from the cache, when the server has gone")


# ---- servers of all kinds -----------------------------------------------------------------


@contextlib.contextmanager
def server(answer):
    """answer(request) for the program's debug information; nothing else is there.  Yields its URL and what was asked."""
    wanted, asked = f"/buildid/{build_id(f'{work}/program')}/debuginfo", []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.path)
            with contextlib.suppress(ConnectionError):
                if self.path == wanted:
                    answer(self)
                else:
                    self.send_error(404)

        def log_message(self, *_):
            pass
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    s.daemon_threads = True
    threading.Thread(target=s.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{s.server_address[1]}", asked
    finally:
        s.shutdown()
        s.server_close()


def send_file(path, parts=1, pause=0.0):
    def answer(request):
        with open(path, "rb") as f:
            data = f.read()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.send_header("X-DEBUGINFOD-SIZE", str(len(data)))
        request.end_headers()
        for i in range(parts):
            request.wfile.write(data[len(data) * i // parts:len(data) * (i + 1) // parts])
            request.wfile.flush()
            time.sleep(pause)
    return answer


def send_for_ever(request):
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while True:
        request.wfile.write(b"%x\r\n%s\r\n" % (1 << 16, bytes(1 << 16)))


def send_nothing(request):
    request.send_error(404)


def send_error(request):
    request.send_error(500)


def kinds():
    with server(send_file(f"{work}/served/taken.debug")) as (url, asked):
        r = symbolize("--debuginfod", env=environment(url))
        tap.ok(r.returncode == 0 and places() == WITH and len(asked) >= 1, f"a plain server: {places()} {r.stdout}")
    with server(send_file(f"{work}/other")) as (url, _):
        has_no_more(environment(url), "is of another build: not used")
    with open(f"{work}/nonsense", "w") as f:
        f.write("<html>please log in</html>")
    with server(send_file(f"{work}/nonsense")) as (url, _):
        has_no_more(environment(url), "is no program: not used")
    with server(send_for_ever) as (url, _):
        env = environment(url)
        r = symbolize("--debuginfod", "--debuginfod-max", "3M", env=env)
        tap.ok(r.returncode == 0 and places() == WITHOUT and "is larger than 3.00 MiB: not fetched" in r.stdout,
               f"one that sends without an end: {r.stdout}")
    with server(send_nothing) as (url, _):
        has_no_more(environment(url), "no debuginfod server has debug information of")
        r = symbolize("--debuginfod", "-q", env=environment(url))
        tap.ok(places() == WITHOUT and "no debuginfod server" not in r.stdout, f"not with -q: {r.stdout}")
    with server(send_error) as (url, _):
        r = symbolize("--debuginfod", env=environment(url))
        tap.ok(r.returncode == 0 and places() == WITHOUT, f"one that fails: {r.stdout}")
    has_no_more(environment(f"http://127.0.0.1:{free_port()}"), "no debuginfod server is asked any more")
    has_no_more(environment(None), "no debuginfod server is asked: $DEBUGINFOD_URLS names none")
    has_no_more(environment(" "), "no debuginfod server is asked: $DEBUGINFOD_URLS names none")


def hostile_recording():
    """A build id becomes a part of names: one that is none is asked of nobody."""
    with server(send_error) as (url, asked):
        digest = hashlib.sha256(b"x").hexdigest()

        def ask(evil):
            shutil.copy(trail, copy)
            subprocess.run(["sqlite3", copy, f"UPDATE module SET build_id = '{evil}'; DELETE FROM recording WHERE key = 'seal'; "
                            "PRAGMA journal_mode = WAL"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([HEAPTRAIL, "repair", copy], check=True, stderr=subprocess.DEVNULL)
            return run("symbolize", "--debuginfod", copy, env=environment(url)).returncode
        statuses = {ask(evil) for evil in ("../../../../etc/passwd", "ab/../../x", "abc", "AB" * 20, "ab" * 65, "", digest[:-1] + "/")}
        tap.ok(not asked and statuses == {0}, f"build ids that are none: {statuses} {asked}")
        tap.ok(ask(digest) == 0 and f"/buildid/{digest}/debuginfo" in asked, f"one that is: {asked}")


# ---- the line on the terminal -------------------------------------------------------------


def on_terminal(*command, env):
    """All that is written to a terminal by it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(HEAPTRAIL, [HEAPTRAIL, *command], env)
    said = b""
    with contextlib.suppress(OSError):  # when the other side has closed it
        while data := os.read(terminal, 65536):
            said += data
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def progress():
    slow = send_file(f"{work}/served/taken.debug", parts=8, pause=0.5)
    with server(slow) as (url, _):
        shutil.copy(trail, copy)
        status, said = on_terminal("symbolize", "--debuginfod", copy, env=environment(url))
        size = os.path.getsize(f"{work}/served/taken.debug")
        shown = re.findall(r"\rheaptrail: debug information of program, ([\d.]+ \w+) of ([\d.]+ \w+)\033\[K", said)
        tap.ok(status == 0 and places() == WITH and len(shown) >= 2 and len({x for x, _ in shown}) >= 2 and
               len({y for _, y in shown}) == 1, f"a slow server: the terminal shows how far it is, of {size} bytes: {shown}")
        tap.ok(said.rindex("\r\033[K") > said.rindex("debug information of program,"), "and no more when it is there")
        r = symbolize("--debuginfod", env=environment(url))
        tap.ok(places() == WITH and "\r" not in r.stdout and "\033" not in r.stdout, "off a terminal nothing is shown")


def without_library():
    os.mkdir(f"{work}/broken")
    with open(f"{work}/broken/libdebuginfod.so.1", "w") as f:
        f.write("not a library")
    with server(send_nothing) as (url, asked):
        env = {**environment(url), "LD_LIBRARY_PATH": f"{work}/broken"}
        has_no_more(env, "libdebuginfod is not installed (Debian: libdebuginfod1")
        out = run("doctor", env=env).stdout
        tap.ok(re.search(r"^  debuginfod +no\n +symbolize --debuginfod cannot ask servers", out, re.M) and not asked,
               "doctor says that it is missing, and what to install")


def interrupted():
    with server(send_file(f"{work}/served/taken.debug", parts=2, pause=tap.PATIENCE)) as (url, asked):
        for number in (signal.SIGINT, signal.SIGTERM):
            shutil.copy(trail, copy)
            before, n = sorted(os.listdir(work)), len(asked)
            p = subprocess.Popen([HEAPTRAIL, "symbolize", "--debuginfod", copy], env=environment(url), stderr=subprocess.DEVNULL,
                                 # who runs the tests in the background ignores it
                                 preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            beside.expect(lambda: len(asked) > n, "it to ask")  # noqa: B023
            is_copied = any(f.startswith("copy.trail.") for f in os.listdir(work))
            p.send_signal(number)
            status = p.wait(tap.PATIENCE)
            left = [f for f in os.listdir(work) if f not in before and not f.startswith("tmp")]
            tap.ok(is_copied and status == -number and not left and places() == WITHOUT,
                   f"{number.name} while it fetches: nothing is left behind: {left} (status {status})")


def main():
    r = subprocess.run([HEAPTRAIL, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = re.search(r"^  debuginfod +(\w+)", r.stdout, re.M)
    tap.ok(found, "doctor says whether servers can be asked")
    if not found or found[1] != "yes":
        shutil.rmtree(work, ignore_errors=True)
        tap.skip("servers of debug information", "libdebuginfod is not installed")
        tap.done()
        return
    make()
    tap.run_as_root([real_server, kinds, hostile_recording, progress, without_library, interrupted])


try:
    if os.geteuid() != 0:
        tap.skip_all("recording needs root")
    main()
finally:
    os.environ.get("KEEP") or shutil.rmtree(work, ignore_errors=True)
