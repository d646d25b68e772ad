# SPDX-License-Identifier: GPL-2.0-or-later
"""Backtraces by gdb at the very moment an allocation returns: bpftrace stops the process there.

Nothing of ours takes part.  At a return probe the true return address is back in its place, so
gdb sees the stack as the program made it.  Of several threads one may go on before the signal
stops it: whoever asks must see that the innermost frame is the caller's, or take another sample.
This file is also what gdb itself runs.
"""
import collections
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

if __name__ != "__main__":  # within gdb there is nothing of ours
    import beside
    from tap import PATIENCE

ALLOCATORS = ("malloc", "calloc", "realloc")
# where the kernel's return trampoline (uretprobe_trampoline_entry in arch/x86/kernel/uprobes.c) goes on after
# its system call, with: pop r11; pop rcx; ret
AFTER_SYSCALL = 13


Stop = collections.namedtuple("Stop", "function tid address t_ns caller")


class Lines:
    """The lines a process prints, as they come."""

    def __init__(self, stream):
        self.queue = queue.Queue()
        self.thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.thread.start()

    def _read(self, stream):
        for line in stream:
            self.queue.put(line)
        self.queue.put(None)

    def next(self, seconds):
        """The next line; None when there is none any more, or not in time."""
        try:
            line = self.queue.get(timeout=seconds)
        except queue.Empty:
            return None
        if line is None:
            self.queue.put(None)  # for the next one who asks
        return line


class Stopper:
    """Stops a process right after every n-th allocation, and says which it was."""

    def __init__(self, pid, path, every):
        probes = " ".join(f'uretprobe:{path}:{name} {{ @n++; if ((uint64)@n % {every} == 0) {{ '
                          f'printf("{name} %d %lx %lu %lx\\n", tid, retval, nsecs, reg("ip")); signal("SIGSTOP"); }} }}'
                          for name in ALLOCATORS)
        program = f'BEGIN {{ printf("ready\\n"); }} {probes}'
        self.pid = pid
        self.process = subprocess.Popen(["bpftrace", "--unsafe", "-B", "line", "-p", str(pid), "-e", program],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.lines = Lines(self.process.stdout)
        self.said = []
        self.listener = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.listener.start()
        self.continued_ns = time.monotonic_ns()
        line = ""
        while line is not None and line.strip() != "ready":
            line = self.lines.next(PATIENCE)
        if line is None:
            self.close()
            raise RuntimeError(f"bpftrace does not trace: {''.join(self.said)[-500:]}")

    def next(self, seconds):
        """A Stop for each thread that stopped at an allocation; [] when none did in time."""
        found = []
        while not found:
            line = self.lines.next(seconds)
            if line is None:
                return []
            found += self._samples(line)
        end = time.monotonic() + PATIENCE
        while set(beside.states(self.pid)) != {"T"}:
            if time.monotonic() > end:
                raise RuntimeError(f"the target does not stop: {beside.states(self.pid)}")
            time.sleep(0.001)
        while (line := self.lines.next(0.001)) is not None:
            found += self._samples(line)
        return found

    def _samples(self, line):
        m = re.match(r"(\w+) (\d+) ([0-9a-f]+) (\d+) ([0-9a-f]+)$", line.strip())
        # one of before the last stop's end came too late: its thread has gone on
        if not m or int(m.group(4)) <= self.continued_ns or m.group(3) == "0":
            return []
        return [Stop(m.group(1), int(m.group(2)), int(m.group(3), 16), int(m.group(4)), int(m.group(5), 16))]

    def go_on(self):
        self.continued_ns = time.monotonic_ns()
        os.kill(self.pid, signal.SIGCONT)

    def close(self):
        self.process.kill()
        self.process.wait()
        for thread in (self.lines.thread, self.listener):
            thread.join()
        self.process.stdout.close()
        self.process.stderr.close()


class Debugger:
    """A gdb that attaches to a stopped process, and tells the stacks of some of its threads."""

    def __init__(self):
        self.process = subprocess.Popen(["gdb", "-nx", "-q", "-batch", "-x", os.path.abspath(__file__)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        self.lines = Lines(self.process.stdout)
        self._answer()

    def _answer(self):
        said = ""
        while (line := self.lines.next(PATIENCE)) is not None:
            if line.startswith("answer "):
                return json.loads(line[len("answer "):])
            said += line
        raise RuntimeError(f"gdb gives no answer: {' '.join(said.split())[-400:]}")

    def stacks(self, pid, threads):
        """For each thread its frames' addresses, and why gdb went no further."""
        self.process.stdin.write(json.dumps([pid, threads]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.lines.thread.join()
        self.process.stdout.close()


# ---- what follows runs in gdb ---------------------------------------------------------------

SETTINGS = ("confirm off", "pagination off", "debuginfod enabled off", "debug-file-directory /nonexistent",
            "auto-load off", "backtrace past-main on", "backtrace past-entry on", "backtrace limit unlimited")


def leave_trampoline(gdb):
    """Where a return probe is a system call, the thread stands in its trampoline: do what that does next."""
    frame = gdb.newest_frame()
    memory = gdb.selected_inferior()
    with open(f"/proc/{memory.pid}/maps") as f:
        starts = [int(line.split("-")[0], 16) for line in f if line.rstrip().endswith("[uprobes]")]
    if not any(frame.pc() == start + AFTER_SYSCALL for start in starts):
        return
    sp = int(frame.read_register("rsp"))
    words = [int.from_bytes(bytes(memory.read_memory(sp + 8 * i, 8)), "little") for i in range(3)]
    for name, value in (("r11", words[0]), ("rcx", words[1]), ("rsp", sp + 24), ("rip", words[2])):
        gdb.execute(f"set ${name} = {value}", to_string=True)


def walk(gdb):
    addresses, why = [], None
    frame = gdb.newest_frame()
    after_signal = False
    while frame is not None:
        if frame.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
            # in recordings the instruction is the one before the address, an interrupted one, too
            addresses.append(frame.pc() + after_signal)
        after_signal = frame.type() == gdb.SIGTRAMP_FRAME
        why = frame.unwind_stop_reason()
        frame = frame.older()
    return addresses, gdb.frame_stop_reason_string(why)


def serve(gdb):
    for setting in SETTINGS:
        try:
            gdb.execute(f"set {setting}", to_string=True)
        except gdb.error:  # a gdb that does not know it does not do it
            pass
    print("answer 0", flush=True)
    for line in sys.stdin:
        pid, tids = json.loads(line)
        answer = []
        gdb.execute(f"attach {pid}", to_string=True)
        for tid in tids:
            threads = {t.ptid[1]: t for t in gdb.selected_inferior().threads()}
            if tid not in threads:
                answer.append(([], f"no thread {tid} of {pid} but {list(threads)}"))
                continue
            threads[tid].switch()
            leave_trampoline(gdb)
            answer.append(walk(gdb))
        gdb.execute("detach", to_string=True)
        print("answer", json.dumps(answer), flush=True)


if __name__ == "__main__":
    import gdb as the_gdb
    serve(the_gdb)
