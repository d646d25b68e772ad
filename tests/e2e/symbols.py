#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions, inlined ones too, files and lines at instructions of programs, as addr2line and eu-addr2line say.

All the calls of a program are taken, which is where the frames of stacks are, and some of the other instructions, where
a sampled or interrupted one may be.

Both tools have faults: addr2line takes wrong files from DWARF 5 and gives an inlined function that has no linkage name
that of the function around it; eu-addr2line loses callers.  Where ours is as neither of them says, llvm-addr2line may
settle it; that is counted, and still is a difference to both.
"""
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap

SYMBOLIZE = os.path.join(os.path.dirname(os.environ["TARGETS"]), "targets", "symbolize")
SOURCES = os.path.join(os.environ["SRCDIR"], "tests", "targets")
PLACES_WANTED = 20000
OTHERS_OF_A_FILE = 200  # instructions that are no calls
DIFFER_MAX = 0.005
SHOWN = int(os.environ.get("HEAPTRAIL_SHOW", 0))  # of each kind of difference in each file
work = tempfile.mkdtemp(prefix="heaptrail-symbols.")
env = {**os.environ, "LC_ALL": "C"}
env.pop("DEBUGINFOD_URLS", None)
counts = collections.Counter()  # how the places compare, all files together


def run(*command, **kw):
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=3 * tap.PATIENCE, **kw)


# ---- what each says of a place: a list of (function, file, line), the innermost first -------


def place(function, file, line):
    """A part or clone of a function goes by the function's name; some tools say which part it is."""
    function = re.sub(r"( \[clone [^]]*\]|\.(cold|constprop|isra|part|lto_priv|llvm)(\.\d+)*)+$", "", function)
    return (function, os.path.normpath(file) if file != "??" else file, line)


def ours(path, addresses, *folder):
    r = run(SYMBOLIZE, path, *folder, input="\n".join(addresses))
    said = collections.defaultdict(list)
    lines = r.stdout.splitlines()
    for line in lines[:-1]:
        address, depth, function, where = line.split("\t")
        assert int(depth) == len(said[address])
        file, number = where.rsplit(":", 1)
        said[address].append(place(function, file, int(number)))
    return said, lines[-1][2:] if lines else r.stderr


def theirs(tool, path, addresses):
    """Both print the address, then for each function a line with its name and one with file:line."""
    raw = run(tool, "-a", "-i", "-f", "-e", path, input="\n".join("0x" + a for a in addresses)).stdout
    raw = re.sub(r" inlined at .* in .*", "", raw)
    # eu-addr2line cannot demangle all of Rust's
    text = run("c++filt", "-i", input=raw).stdout
    said = {}
    for part in re.split(r"^0x", text, flags=re.M)[1:]:
        lines = part.splitlines()
        chain = said.setdefault(format(int(lines[0], 16), "x"), [])
        for function, where in zip(lines[1::2], lines[2::2]):
            where = re.sub(r" \((discriminator|unknown).*", "", where)
            m = re.match(r"(.*?):([0-9?]+)(:\d+)?$", where)
            chain.append(place(function, m[1], int(m[2].replace("?", "0"))))
    return said


def functions(path):
    """[start, end) of the functions that have a size: what is between them is padding, or has no debug information."""
    text = run("nm", "-S", "--defined-only", path).stdout
    found = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [tTwW] (.*)", text, re.M)
    return [range(int(a, 16), int(a, 16) + int(n, 16)) for a, n, name in found if name not in ("_start",)]


def instructions(path):
    """Addresses in functions: of all calls, and of some other instructions, evenly taken."""
    text = run("objdump", "-d", "-j", ".text", "--no-show-raw-insn", path).stdout
    inside = set()
    for f in functions(path):
        inside.update(f)
    found = [(a, name) for a, name in re.findall(r"^ *([0-9a-f]+):\t(\S+)", text, re.M) if int(a, 16) in inside]
    calls = [a for a, name in found if name.startswith("call")]
    others = [a for a, name in found if not name.startswith("call")]
    return calls + others[:: -(-len(others) // OTHERS_OF_A_FILE) or 1]


# ---- comparing ------------------------------------------------------------------------------


def difference(mine, other):
    """None, or how two chains differ."""
    if len(mine) != len(other):
        return "depth"
    for (name, file, line), (name2, file2, line2) in zip(mine, other):
        if name != name2:
            return "function"
        if file != file2:
            return "file"
        if line != line2:
            return "line"
    return None


def compare(name, path, judged=None, folder=()):
    """@judged: the same code with debug information that the tools can read, if that of @path is too new for them."""
    judged = judged or path
    addresses = instructions(judged)
    mine, found = ours(path, addresses, *folder)
    bfd = theirs("addr2line", judged, addresses)
    says = {a: mine.get(a, [place("??", "??", 0)]) for a in addresses}
    # what one of them says is right; the other takes a hundred times as long
    rest = [a for a in addresses if difference(says[a], bfd[a])]
    eu = theirs("eu-addr2line", judged, rest) if rest else {}
    hows = {a: (difference(says[a], eu[a]) if a in eu else "unasked", difference(says[a], bfd[a])) for a in addresses}
    differ = collections.Counter()
    unsettled = [a for a in addresses if None not in hows[a]]
    llvm = theirs("llvm-addr2line", judged, unsettled) if unsettled and shutil.which("llvm-addr2line") else {}
    for a, how in hows.items():
        if None in how:
            counts["as " + ("eu-addr2line only" if how[0] is None else "addr2line")] += 1
            continue
        if difference(says[a], llvm.get(a, [])) is None:
            counts["as llvm-addr2line only"] += 1
            continue
        kind = f"{how[0]} from eu-addr2line, {how[1]} from addr2line"
        differ[kind] += 1
        if differ[kind] <= SHOWN:
            print("#", name, a, kind, *("\n#   " + str(x) for x in (says[a], eu[a], bfd[a], llvm.get(a))))
    counts["places"] += len(addresses)
    counts.update({"differs: " + k: v for k, v in differ.items()})
    n = sum(differ.values())
    tap.ok(found == "info" and len(addresses) > 100 and n <= DIFFER_MAX * len(addresses),
           f"{name}: {len(addresses)} places, {n} differ {dict(differ) if n else ''}")


# ---- the programs ---------------------------------------------------------------------------


def build(compiler, source, *options):
    folder = tempfile.mkdtemp(dir=work)  # of its own: compilers name what they leave beside it by the program
    path = f"{folder}/program"
    standard = ["-std=c++17"] if compiler.endswith("++") else []
    r = run(compiler, *options, *standard, "-o", path, os.path.join(SOURCES, source), cwd=folder)
    return path if r.returncode == 0 else None


def leave_out(name, why):
    """GCC the tests must have; what other compilers are there is more."""
    if name.startswith("g"):
        tap.skip(name, why)
    else:
        print(f"# without {name}: {why}")


def build_all(*wanted):
    """Calls compare() for each (name, compiler, source, options, options of the judged one), as they were built."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        built = [(name, pool.submit(build, compiler, source, *options.split()),
                  judged and pool.submit(build, compiler, source, *judged.split()))
                 for name, compiler, source, options, judged in wanted]
        for name, path, judged in built:
            if path.result() and (not judged or judged.result()):
                compare(name, path.result(), judged and judged.result())
            else:
                leave_out(name, f"{name.split()[0]} cannot build that here")


def test_gcc():
    wanted = []
    for compiler, source in (("gcc", "symbols.c"), ("g++", "symbols.cc")):
        for dwarf in ("-w -gdwarf-4", "-w -gdwarf-5"):
            for options in ("-O0", "-O1", "-O2", "-O3", "-Os", "-O3 -flto"):
                wanted.append((f"{compiler} {options} {dwarf[3:]}", compiler, source, f"{options} {dwarf}", None))
            wanted.append((f"{compiler} -gsplit-dwarf {dwarf[3:]}", compiler, source, f"-O2 {dwarf} -gsplit-dwarf",
                           f"-O2 {dwarf}"))
    build_all(*wanted)


def test_clang():
    if not shutil.which("clang++"):
        leave_out("clang", "it is not installed")
        return
    wanted = []
    for compiler, source in (("clang", "symbols.c"), ("clang++", "symbols.cc")):
        for dwarf in ("-w -gdwarf-4", "-w -gdwarf-5"):
            # the tools need .debug_aranges, which this compiler leaves out if it is not asked
            for options in ("-O0", "-O2", "-O2 -gsplit-dwarf"):
                wanted.append((f"{compiler} {options} {dwarf[3:]}", compiler, source, f"{options} {dwarf}",
                               f"{options[:3]} {dwarf} -gdwarf-aranges"))
    build_all(*wanted)


def test_rust():
    if not shutil.which("rustc"):
        leave_out("rustc", "it is not installed")
        return
    build_all(*((f"rustc {options}", "rustc", "symbols.rs", options, None)
                for options in ("-g -Copt-level=0", "-g -Copt-level=2", "-g -Copt-level=3")))


# ---- debug information elsewhere ------------------------------------------------------------


def stripped(whole, *sections):
    """A copy without debug information, in a folder of its own, and what was taken from it."""
    folder = tempfile.mkdtemp(dir=work)
    path, debug = f"{folder}/program", f"{folder}/taken"
    run("objcopy", "--only-keep-debug", whole, debug)
    run("objcopy", "--strip-all", *sections, whole, path)
    return path, debug


def test_debuglink():
    whole = build("g++", "symbols.cc", "-O2", "-g", "-w", "-Wl,--build-id=none")
    path, debug = stripped(whole)
    os.rename(debug, path + ".debug")
    run("objcopy", f"--add-gnu-debuglink={path}.debug", path)
    compare("a .gnu_debuglink beside the program", path, whole)
    hidden = os.path.join(os.path.dirname(path), ".debug")
    os.mkdir(hidden)
    os.rename(path + ".debug", f"{hidden}/program.debug")
    compare("one in .debug", path, whole)
    folder = tempfile.mkdtemp(prefix="a:colon", dir=work)
    os.rename(f"{hidden}/program.debug", f"{folder}/program.debug")
    tap.ok(ours(path, instructions(whole))[1] == "none", "one that is nowhere")
    compare("one in a folder given", path, whole, folder=[folder])


def test_build_id():
    whole = build("g++", "symbols.cc", "-O2", "-g", "-w", "-Wl,--build-id")
    path, debug = stripped(whole)
    found = re.search(r"Build ID: (\w+)", run("readelf", "-n", whole).stdout)[1]
    folder = f"{work}/debug/.build-id/{found[:2]}"
    os.makedirs(folder)
    os.rename(debug, f"{folder}/{found[2:]}.debug")
    compare("a folder of build ids", path, whole, folder=[f"{work}/debug"])


def test_mini_debug_info():
    """Symbols of functions only, compressed within the program: the functions, and no lines."""
    if not shutil.which("xz"):
        tap.skip("MiniDebugInfo", "xz is not installed")
        return
    whole = build("gcc", "symbols.c", "-O2", "-w")
    path, _ = stripped(whole)
    mini = path + ".mini"
    run("objcopy", "--only-keep-debug", whole, mini)
    run("xz", mini)
    run("objcopy", f"--add-section=.gnu_debugdata={mini}.xz", path)
    addresses = instructions(whole)
    mine, found = ours(path, addresses)
    bfd = theirs("addr2line", whole, addresses)
    wrong = [a for a in addresses if [x[0] for x in mine.get(a, [])] != [x[0] for x in bfd[a]]]
    tap.ok(found == "symbols" and len(addresses) > 100 and not wrong,
           f"MiniDebugInfo: {len(addresses)} places, {len(wrong)} differ")


def test_dwz():
    """What two programs have in common, in a third file."""
    if not shutil.which("dwz"):
        tap.skip("dwz", "it is not installed")
        return
    for dwarf in ("-gdwarf-4", "-gdwarf-5"):
        whole = build("g++", "symbols.cc", "-O2", dwarf, "-w")
        folder = tempfile.mkdtemp(dir=work)
        for name in ("a", "b"):
            shutil.copy(whole, f"{folder}/{name}")
        r = run("dwz", "-m", f"{folder}/common", f"{folder}/a", f"{folder}/b")
        has = ".gnu_debugaltlink" in run("readelf", "-SW", f"{folder}/a").stdout
        tap.ok(has, f"dwz {dwarf} made a common file {r.stderr}")
        compare(f"a common file by dwz {dwarf}", f"{folder}/a", whole)


def test_total():
    llvm = counts["as llvm-addr2line only"]
    none = sum(n for k, n in counts.items() if k.startswith("differs"))
    print("#", *(f"{k}: {n}" for k, n in sorted(counts.items())), sep="\n# ")
    tap.ok(counts["places"] >= PLACES_WANTED, f"{counts['places']} places were compared")
    tap.ok(llvm + none <= DIFFER_MAX * counts["places"],
           f"{llvm + none} of them are as neither addr2line nor eu-addr2line says; {llvm} of these as llvm-addr2line")


def main():
    for tool in ("addr2line", "eu-addr2line", "objdump", "objcopy", "gcc"):
        if not shutil.which(tool):
            tap.skip_all(f"{tool} is not installed")
    for test in (test_gcc, test_clang, test_rust, test_debuglink, test_build_id, test_mini_debug_info, test_dwz,
                 test_total):
        if not sys.argv[1:] or test.__name__ in sys.argv[1:]:
            test()
    tap.done()


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
