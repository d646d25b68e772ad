#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The disk fills up at random moments: recording stops and says why, the target runs
on and comes to the right result, the recording opens with all that was written.
HEAPTRAIL_CASES: how often (default 20); HEAPTRAIL_SEED: the seed.
"""
import contextlib
import os
import random
import shutil
import subprocess
import tempfile

import beside
import tap

HEAPTRAIL = os.environ["HEAPTRAIL"]
TARGETS = os.environ["TARGETS"]
CASES = int(os.environ.get("HEAPTRAIL_CASES", "20"))
work = tempfile.mkdtemp(prefix="heaptrail-full.")
libs = tap.private_libc(work)
env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libs}
disk = f"{work}/disk"
trail = f"{disk}/t.trail"
rng = random.Random(tap.seed())


@contextlib.contextmanager
def small_disk(kib):
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
        os.rmdir(disk)


def record(mode):
    """Returns the target, the recorder's exit status and what it said."""
    steady = [f"{TARGETS}/steady"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
    if mode == "attach":
        target = subprocess.Popen(steady, **pipes)
        target.stdout.readline()
        # it waits: else events may be lost by right, and the target's pattern with them
        r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--on-full=wait", "-p", str(target.pid)],
                           stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
        return target, r.returncode, r.stderr
    with tempfile.TemporaryFile("w+") as f:  # no pipe: the target holds it, too
        r = subprocess.Popen([HEAPTRAIL, "record", "-q", "-o", trail, "--", *steady], stderr=f, **pipes)
        r.wait(tap.PATIENCE)
        f.seek(0)
        return r, r.returncode, f.read()


def check(said, mode):
    """What is wrong with what is left on the full disk."""
    copy = f"{work}/copy.trail"
    for end in ("", "-wal"):
        if os.path.exists(copy + end):
            os.unlink(copy + end)
        if os.path.exists(trail + end):
            shutil.copy(trail + end, copy + end)
    if not os.path.exists(trail):
        return [] if "cannot create" in said else ["there is no recording"]
    wrong = []
    here, data = beside.info(trail), beside.info(copy)
    for i in (here, data):
        if isinstance(i, str):
            return [f"it does not open: {i}"]
        if i["recording"]["complete"] or i["summary"]["lost_events"]:
            wrong.append(f"{i['state']}, {i['summary']['lost_events']} events lost")
    bad, n = beside.check_stream(copy, least_threads=0, is_launched=mode == "launch")
    wrong += [f"of {n} events: {bad}"] if bad else []
    if data["state"] == "stopped early" and "space" not in data["facts"]["stopped"]:
        wrong.append(f"the reason is {data['facts']['stopped']!r}")
    r = subprocess.run([HEAPTRAIL, "repair", copy], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    after = beside.info(copy)
    if r.returncode or isinstance(after, str) or after["summary"] != data["summary"]:
        wrong.append(f"repair: {r.returncode} {r.stderr!r}")
    if not beside.is_sound(copy):
        wrong.append("integrity_check")
    return [*wrong, (data["state"], data["recording"]["events"])]


def one(number, mode, kib):
    with small_disk(kib):
        target, status, said = record(mode)
        target.stdin.close()
        words = target.stdout.read()
        target.wait()
        wrong = []
        if status != 125 or "no space left on device" not in said or "hint: make room" not in said:
            wrong.append(f"status {status}, {said!r}")
        results = check(said, mode)
        state = [r for r in results if isinstance(r, tuple)]
        wrong += [r for r in results if not isinstance(r, tuple)]
        if "right" not in words and "cannot create" not in said:
            wrong.append(f"the target said {words!r}")
    tap.ok(not wrong, f"disk {number}, {kib} KiB, {mode}: {state[0] if state else 'no recording was begun'}: "
           f"{'; '.join(map(str, wrong)) or 'said so'}")


def cases():
    for i in range(CASES):
        one(i + 1, "attach" if i % 4 == 3 else "launch", 100 if i == 0 else rng.randrange(200, 3000))
    for i, kib in enumerate((204, 208, 212, 216)):  # its beginning just fails, while the ring fills: nobody stays stopped
        one(CASES + i + 1, "attach", kib)


def closing():
    """Room for all but the last: the summaries."""
    path = f"{work}/whole.trail"
    command = [f"{TARGETS}/noisy", "2", "40000"]
    subprocess.run([HEAPTRAIL, "record", "-q", "-o", path, "--", *command], env=env, stdout=subprocess.DEVNULL, check=True)
    size = os.path.getsize(path) // 1024
    seen, enough = set(), 0
    # the last one is enough where the machine is slow, and more is written; what is enough twice is no other case when it is more
    for kib in [*range(size // 2, size * 4, max(16, size // 6)), size * 4 + 24 * 1024]:
        with small_disk(kib):
            r = subprocess.run([HEAPTRAIL, "record", "-q", "-o", trail, "--", *command], env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, timeout=tap.PATIENCE)
            i = beside.info(trail) if os.path.exists(trail) else None
            good = not isinstance(i, str) and (r.returncode == 125 and "no space left" in r.stderr and
                                               not (i and i["recording"]["complete"]) or
                                               r.returncode == 0 and i["recording"]["complete"])
            seen.add(r.returncode)
            enough = enough + 1 if not r.returncode else 0
            if not good:
                tap.ok(False, f"{kib} KiB: {r.returncode}, {r.stderr!r}, {i if isinstance(i, str) else i and i['state']}")
        if enough == 2:
            break
    tap.ok(seen == {0, 125}, f"from too little to enough room: either complete, or said so ({seen})")


def read_only():
    """The kernel finds the file system damaged, and makes it read-only, as it does with a dying disk."""
    os.mkdir(disk)
    image = f"{work}/image"
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    r = subprocess.run(["sh", "-c", f"mkfs.ext4 -q {image} && mount -o loop,errors=remount-ro {image} {disk}"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        os.rmdir(disk)
        return tap.skip("a file system that becomes read-only", f"no loop device with ext4 here: {r.stdout.strip()!r}")
    try:
        device = os.path.basename(subprocess.check_output(["findmnt", "-no", "SOURCE", disk], text=True).strip())
        target = subprocess.Popen([f"{TARGETS}/steady", "--gentle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
                                  text=True)
        target.stdout.readline()
        p = subprocess.Popen([HEAPTRAIL, "record", "-o", trail, "-p", str(target.pid)], stderr=subprocess.PIPE, text=True)
        beside.expect(lambda: p.poll() is not None or beside.is_armed(trail), "it to record")
        with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w") as f:
            f.write("for a test")
        said = p.communicate(timeout=tap.PATIENCE)[1]
        i = beside.info(trail)
        target.stdin.close()
        right = "right" in target.stdout.read()
        target.wait()
        tap.ok(p.returncode == 125 and ("read-only file system" in said or "I/O error" in said) and "hint: look at the disk" in said
               and "recorded" not in said, f"a file system that becomes read-only: {p.returncode}, {said!r}")
        tap.ok(right and not isinstance(i, str) and i["state"] in ("cut off", "stopped early"),
               f"the target runs on, the recording opens: {i if isinstance(i, str) else i['state']}")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
        os.rmdir(disk)


try:
    tap.run_as_root([cases, closing, read_only])
finally:
    shutil.rmtree(work, ignore_errors=True)
