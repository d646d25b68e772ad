#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of the terminal interface: what a terminal (tmux) shows, as SVG.

screenshots.py FOLDER: those of the README.  screenshots.py FOLDER RECORDING NAME=KEYS…: of another recording; KEYS are
tmux's names, separated by commas.
"""
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata

HEAPTRAIL, TUI, SRCDIR = os.environ["HEAPTRAIL"], os.environ["TUI"], os.environ["SRCDIR"]
COLS, ROWS = 112, 32
WIDTH, HEIGHT, MARGIN = 8.43, 18, 12  # of a cell, in pixels of a 14 pixel font
BACKGROUND, FOREGROUND = "#1d2021", "#d5d5d5"
PICTURES = {
    "overview": ["1"],
    "tree": ["4", "+", "Down", "Down"],
    "source": ["2", "/", "subt", "Enter", "Enter", "Enter"],
}


def color(n):
    if n < 16:
        return ["#000000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5", "#666666", "#f14c4c",
                "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff"][n]
    if n < 232:
        n -= 16
        return "#" + "".join(f"{0 if v == 0 else 55 + 40 * v:02x}" for v in (n // 36, n // 6 % 6, n % 6))
    return f"#{8 + 10 * (n - 232):02x}" * 1 + f"{8 + 10 * (n - 232):02x}" * 2


class Look:
    def __init__(self):
        self.reset()

    def reset(self):
        self.fg = self.bg = None
        self.bold = self.underline = self.reverse = self.dim = False

    def take(self, codes):
        codes = [int(c or 0) for c in codes.split(";")]
        while codes:
            c = codes.pop(0)
            if c == 0:
                self.reset()
            elif c in (38, 48) and codes[:1] == [5]:
                setattr(self, "fg" if c == 38 else "bg", color(codes[1]))
                del codes[:2]
            elif c in (39, 49):
                setattr(self, "fg" if c == 39 else "bg", None)
            elif 30 <= c <= 37 or 40 <= c <= 47:
                setattr(self, "fg" if c < 40 else "bg", color(c % 10))
            else:
                name = {1: "bold", 2: "dim", 4: "underline", 7: "reverse"}.get(c)
                if name:
                    setattr(self, name, True)
                elif c in (22, 24, 27):
                    setattr(self, {22: "bold", 24: "underline", 27: "reverse"}[c], False)


def cells(text):
    """Runs of characters that look alike: row, column, characters, foreground, background, look."""
    look = Look()
    for row, line in enumerate(text.split("\n")[:ROWS]):
        col = 0
        for code, run in re.findall(r"\033\[([0-9;]*)m|([^\033]+)", line):
            if not run:
                look.take(code)
                continue
            fg, bg = look.fg or FOREGROUND, look.bg
            if look.reverse:
                fg, bg = bg or BACKGROUND, fg
            yield row, col, run, fg, bg, look.bold, look.underline
            col += sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in run)


def columns(c, x, y, fg):
    """Braille, as the two columns of the curve that it is: fonts have it in all widths."""
    for half, dots in enumerate(((6, 2, 1, 0), (7, 5, 4, 3))):  # from the bottom
        n = sum(ord(c) - 0x2800 >> bit & 1 for bit in dots)
        if n:
            yield (f'<rect x="{x + half * WIDTH / 2:.2f}" y="{y + HEIGHT * (4 - n) / 4:.2f}" width="{WIDTH / 2:.2f}" '
                   f'height="{HEIGHT * n / 4:.2f}" fill="{fg}"/>')


def svg(text):
    width, height = COLS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + 2 * MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
           f'height="{height}" font-family="\'DejaVu Sans Mono\', monospace" font-size="14">',
           f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>']
    for row, col, run, fg, bg, bold, underline in cells(text):
        x, y = MARGIN + col * WIDTH, MARGIN + row * HEIGHT
        if bg:
            out.append(f'<rect x="{x:.2f}" y="{y}" width="{len(run) * WIDTH:.2f}" height="{HEIGHT}" fill="{bg}"/>')
        if underline:
            out.append(f'<rect x="{x:.2f}" y="{y + HEIGHT - 2}" width="{len(run) * WIDTH:.2f}" height="1" fill="{fg}"/>')
        for full in re.finditer("\u28ff+", run):
            out.append(f'<rect x="{x + full.start() * WIDTH:.2f}" y="{y}" width="{len(full.group()) * WIDTH:.2f}" '
                       f'height="{HEIGHT}" fill="{fg}"/>')
        for part in re.finditer("[\u2801-\u28fe]", run):
            out += columns(part.group(), x + part.start() * WIDTH, y, fg)
        run = re.sub("[\u2800-\u28ff]", " ", run)
        # each word at its column: fonts differ, and blanks must not add up
        for word in re.finditer(r"\S+", run):
            weight = ' font-weight="bold"' if bold else ""
            length = len(word.group()) * WIDTH
            out.append(f'<text x="{x + word.start() * WIDTH:.2f}" y="{y + 14}" fill="{fg}"{weight} '
                       f'textLength="{length:.2f}" lengthAdjust="spacingAndGlyphs">{html.escape(word.group())}</text>')
    return "\n".join(out + ["</svg>\n"])


def tmux(*args, **more):
    return subprocess.run(["tmux", "-L", f"heaptrail-{os.getpid()}", "-f", "/dev/null", *args], check=True, text=True, **more)


def picture(trail, keys, cwd):
    command = f"cd {cwd} && TERM=screen-256color LC_ALL=C.UTF-8 {HEAPTRAIL} view --no-settings {trail}"
    tmux("new-session", "-d", "-x", str(COLS), "-y", str(ROWS), command)
    last = None
    for key in [None, *keys]:
        if key:
            tmux("send-keys", key)
        while True:  # until the screen stays as it is
            time.sleep(0.4)
            text = tmux("capture-pane", "-p", "-e", "-N", stdout=subprocess.PIPE).stdout
            if text == last and "heaptrail" in text:
                break
            last = text
    tmux("kill-server")
    return text


def main():
    folder, work = sys.argv[1], tempfile.mkdtemp(prefix="heaptrail-pictures.")
    try:
        wanted = dict(a.split("=", 1) for a in sys.argv[3:])
        pictures = {name: keys.split(",") for name, keys in wanted.items()} or PICTURES
        trail = os.path.abspath(sys.argv[2]) if sys.argv[2:] else f"{work}/story.trail"
        shutil.copytree(f"{SRCDIR}/tests/tui/source", f"{work}/source")
        for name in os.listdir(f"{work}/source"):
            os.utime(f"{work}/source/{name}", (1e9, 1e9))
        subprocess.check_call([f"{TUI}/story", f"{work}/story.trail", "source"])
        for name, keys in pictures.items():
            with open(os.path.join(folder, name + ".svg"), "w") as f:
                f.write(svg(picture(trail, keys, work)))
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
