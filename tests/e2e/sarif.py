#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""leaks --sarif against SARIF 2.1.0 (OASIS Standard, 27 March 2020): what it requires, allows and enumerates of all
objects that we write, and what it says in words only."""
import copy
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse

import tap

HEAPTRAIL, STORY = os.environ["HEAPTRAIL"], os.path.join(os.environ["TUI"], "story")
work = tempfile.mkdtemp(prefix="heaptrail-sarif.")

# ---- the standard's objects, as far as we use them; another property than these is none of its -------------------

STRING, INTEGER, URI, ANY = "string", "integer", "uri", "any"


def array(of, least=0, unique=False):
    return ("array", of, least, unique)


def one_of(*values):
    return ("one of", values)


def map_of(of):
    return ("map", of)


LEVEL = one_of("none", "note", "warning", "error")
KINDS = ("function", "member", "module", "namespace", "parameter", "resource", "returnType", "type", "variable", "object", "array",
         "property", "value", "element", "text", "attribute", "comment", "declaration", "dtd", "processingInstruction")
# name: ({property: type}, required), with the section of the standard
OBJECTS = {
    "sarifLog": ({"$schema": URI, "version": one_of("2.1.0"), "runs": array("run")}, ["version", "runs"]),  # 3.13
    "run": ({"tool": "tool", "results": array("result"), "originalUriBaseIds": map_of("artifactLocation"),  # 3.14
             "columnKind": one_of("utf16CodeUnits", "unicodeCodePoints"), "properties": "propertyBag"}, ["tool"]),
    "tool": ({"driver": "toolComponent"}, ["driver"]),  # 3.18
    "toolComponent": ({"name": STRING, "version": STRING, "semanticVersion": STRING, "informationUri": URI,  # 3.19
                       "rules": array("reportingDescriptor", unique=True)}, ["name"]),
    "reportingDescriptor": ({"id": STRING, "name": STRING, "shortDescription": "multiformatMessageString",  # 3.49
                             "fullDescription": "multiformatMessageString", "help": "multiformatMessageString",
                             "helpUri": URI, "defaultConfiguration": "reportingConfiguration",
                             "properties": "propertyBag"}, ["id"]),
    "reportingConfiguration": ({"level": LEVEL}, []),  # 3.50
    "multiformatMessageString": ({"text": STRING, "markdown": STRING}, ["text"]),  # 3.12
    "message": ({"text": STRING}, ["text"]),  # 3.11: or an id, which we have none of
    "result": ({"ruleId": STRING, "ruleIndex": INTEGER, "level": LEVEL, "message": "message",  # 3.27
                "locations": array("location"), "partialFingerprints": map_of(STRING),
                "stacks": array("stack", unique=True), "codeFlows": array("codeFlow"), "properties": "propertyBag"}, ["message"]),
    "location": ({"physicalLocation": "physicalLocation", "logicalLocations": array("logicalLocation", unique=True),  # 3.28
                  "message": "message"}, []),
    "physicalLocation": ({"artifactLocation": "artifactLocation", "region": "region"}, ["artifactLocation"]),  # 3.29: or an address
    "artifactLocation": ({"uri": URI, "uriBaseId": STRING}, ["uri"]),  # 3.4: or an index
    "region": ({"startLine": ("at least", 1)}, ["startLine"]),  # 3.30
    "logicalLocation": ({"fullyQualifiedName": STRING, "kind": one_of(*KINDS)}, ["fullyQualifiedName"]),  # 3.33
    "stack": ({"message": "message", "frames": array("stackFrame")}, ["frames"]),  # 3.44
    "stackFrame": ({"location": "location", "module": STRING}, []),  # 3.45
    "codeFlow": ({"threadFlows": array("threadFlow", 1)}, ["threadFlows"]),  # 3.36
    "threadFlow": ({"locations": array("threadFlowLocation", 1)}, ["locations"]),  # 3.37
    "threadFlowLocation": ({"location": "location"}, []),  # 3.38
    "propertyBag": ({"tags": array(STRING, unique=True), "bytes": ANY, "blocks": ANY}, []),  # 3.8
}
URI_REFERENCE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?([A-Za-z0-9._~!$&'()*+,;=:@/?#-]|%[0-9A-F]{2})*")  # RFC 3986


def check_value(value, kind, where, wrong):
    simple = {STRING: str, URI: str, INTEGER: int}
    if isinstance(kind, str) and kind in OBJECTS:
        check_object(value, kind, where, wrong)
    elif kind in (STRING, URI, INTEGER):
        if not isinstance(value, simple[kind]) or isinstance(value, bool):
            wrong.append(f"{where} is no {kind}: {value!r}")
        elif kind == URI and not URI_REFERENCE.fullmatch(value):
            wrong.append(f"{where} is no URI reference: {value!r}")
    elif kind[0] == "one of" and value not in kind[1]:
        wrong.append(f"{where} is {value!r}, none of {kind[1]}")
    elif kind[0] == "at least" and (not isinstance(value, int) or value < kind[1]):
        wrong.append(f"{where} is {value!r}")
    elif kind[0] == "map":
        if not isinstance(value, dict):
            wrong.append(f"{where} is no object")
        for name, x in value.items() if isinstance(value, dict) else ():
            check_value(x, kind[1], f"{where}.{name}", wrong)
    elif kind[0] == "array":
        _, of, least, unique = kind
        if not isinstance(value, list) or len(value) < least:
            wrong.append(f"{where} is no array of {least} and more")
            return
        if unique and len({json.dumps(x, sort_keys=True) for x in value}) != len(value):
            wrong.append(f"{where} has the same twice")
        for i, x in enumerate(value):
            check_value(x, of, f"{where}[{i}]", wrong)


def check_object(value, kind, where, wrong):
    properties, required = OBJECTS[kind]
    if not isinstance(value, dict):
        wrong.append(f"{where} is no {kind}")
        return
    wrong += [f"{where} lacks {name}" for name in required if name not in value]
    wrong += [f"{where} has {name}, which is none of a {kind}'s" for name in value if name not in properties]
    for name, x in value.items():
        if name in properties:
            check_value(x, properties[name], f"{where}.{name}", wrong)


# ---- what the standard says in words -----------------------------------------------------------------------------


def each(value, key):
    """All values of that key, however deep."""
    if isinstance(value, dict):
        for k, x in value.items():
            if k == key:
                yield x
            yield from each(x, key)
    elif isinstance(value, list):
        for x in value:
            yield from each(x, key)


def check_words(log, wrong):
    for run in log["runs"]:
        bases, rules = run.get("originalUriBaseIds", {}), run["tool"]["driver"].get("rules", [])
        for name, base in bases.items():  # 3.14.14: absolute, and a folder
            if not re.match(r"[a-z]+:", base["uri"]) or not base["uri"].endswith("/") or "uriBaseId" in base:
                wrong.append(f"the base {name} is {base}")
        for a in each(run["results"], "artifactLocation"):
            scheme, path = urllib.parse.urlsplit(a["uri"]).scheme, a["uri"]
            if "uriBaseId" in a and (a["uriBaseId"] not in bases or scheme or path.startswith("/") or "/../" in f"/{path}"):
                wrong.append(f"3.4.4: not below its base: {a}")
            if "uriBaseId" not in a and not scheme and path.startswith("/"):
                wrong.append(f"3.4.3: a path, but no URI: {a}")
            if scheme == "file" and not path.startswith("file:///"):
                wrong.append(f"3.10.2: a file URI: {a}")
        for r in run["results"]:
            if not r["message"]["text"].strip():
                wrong.append("3.11.8: an empty message")
            i = r.get("ruleIndex", -1)  # 3.27.6
            if not 0 <= i < len(rules) or rules[i]["id"] != r["ruleId"]:
                wrong.append(f"ruleIndex {i} is not of {r['ruleId']}")
            for name in r.get("partialFingerprints", {}):  # 3.27.17: with a version
                if not re.fullmatch(r"[^/]+(/[^/]+)*/v\d+", name):
                    wrong.append(f"3.5.4: no versioned name: {name}")
        prints = [json.dumps(r["partialFingerprints"]) for r in run["results"]]
        if len(set(prints)) != len(prints):
            wrong.append("two results with one fingerprint")


def complaints(log):
    wrong = []
    check_object(log, "sarifLog", "log", wrong)
    if not wrong:
        check_words(log, wrong)
    return wrong


# ---- the tests ---------------------------------------------------------------------------------------------------


def sarif_of(trail, *options):
    r = subprocess.run([HEAPTRAIL, "leaks", "--sarif", *options, trail], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       cwd=work, env={**os.environ, "HOME": work}, timeout=tap.PATIENCE)
    if r.returncode:
        raise RuntimeError(f"{options}: {r.stderr}")
    return json.loads(r.stdout)


def story():
    """Functions with names of any kind, code without source, files that are relative: a recording that a program wrote."""
    trail = f"{work}/a folder, with: %odd [names].trail"
    subprocess.check_call([STORY, trail, f"{work}/source of it"])
    seen = []
    for options in ((), ("--source-root", "/"), ("--source-root", work), ("--skip", "*"), ("--min-size", "1G"), ("--at", "5s")):
        log = sarif_of(trail, *options)
        wrong = complaints(log)
        seen.append(len(log["runs"][0]["results"]))
        tap.ok(not wrong, f"{' '.join(options)}: {seen[-1]} results {wrong[:5]}")
    tap.ok(seen[0] > 3 and seen[4] == 0, f"results, and none {seen}")
    return sarif_of(trail, "--source-root", work)


def program():
    """Of a real one, below its source root, without it, and without stacks."""
    if os.geteuid() != 0:
        tap.skip("a recorded program", "recording needs root")
        return
    libs = tap.private_libc(work)
    os.mkdir(f"{work}/src dir")
    with open(f"{work}/src dir/l ä%k.c", "w") as f:
        f.write("#include <stdlib.h>\nstatic void *volatile p;\nint main(void) { for (int i = 1; i < 9; i++) p = malloc(i * 100); return 0; }\n")
    subprocess.check_call(["gcc", "-g", "-O0", "-o", "leaks", f"{work}/src dir/l ä%k.c"], cwd=work)
    for mode in ("auto", "caller", "none"):
        trail = f"{work}/{mode}.trail"
        subprocess.check_call([HEAPTRAIL, "record", "-q", f"--call-graph={mode}", "-o", trail, "--", f"{work}/leaks"],
                              env={**os.environ, "LD_LIBRARY_PATH": libs})
        for root in (f"{work}/src dir", work, "/usr"):
            log = sarif_of(trail, "--source-root", root)
            wrong, results = complaints(log), log["runs"][0]["results"]
            uris = {a["uri"] for r in results for x in r["locations"] for a in each(x, "artifactLocation") if "uriBaseId" in a}
            below = {"src dir": {"l%20%C3%A4%25k.c"}, "usr": set()}.get(os.path.basename(root), {"src%20dir/l%20%C3%A4%25k.c"})
            tap.ok(not wrong and results and (mode == "none" or uris == below), f"{mode}, {os.path.basename(root)}: {uris} {wrong[:5]}")


def broken(log):
    """What the standard forbids is told, or all of the above says nothing."""
    def at(x, *path):
        for p in path[:-1]:
            x = x[p]
        return x, path[-1]
    result = ("runs", 0, "results", 0)
    place = next(i for i, r in enumerate(log["runs"][0]["results"]) if "uriBaseId" in json.dumps(r["locations"]))
    artifact = ("runs", 0, "results", place, "locations", 0, "physicalLocation", "artifactLocation")
    changes = [(("version",), "2.0.0"), (("runs",), None), (("runs", 0, "tool"), None), (("runs", 0, "columnKind"), "bytes"),
               (("runs", 0, "tool", "driver", "name"), None), (("runs", 0, "tool", "driver", "rules", 0, "id"), "other"),
               ((*result, "message"), None), ((*result, "message"), {"text": " "}), ((*result, "level"), "fatal"),
               ((*result, "ruleIndex"), 1), ((*result, "ruleIndex"), "0"), ((*result, "extra"), 1), ((*result, "stacks"), [{"message": {"text": "x"}}]),
               ((*result, "codeFlows"), [{"threadFlows": []}]), ((*result, "partialFingerprints", "heaptrailStack/v1"), 7),
               ((*result, "partialFingerprints"), {"stack": "x"}), ((*artifact, "uri"), "/etc/passwd"), ((*artifact, "uri"), "a b"),
               ((*artifact, "uri"), "../x"), ((*artifact, "uriBaseId"), "ELSEWHERE"),
               (("runs", 0, "originalUriBaseIds", "SRCROOT", "uri"), "file:///x"), (("runs", 0, "results", 1), log["runs"][0]["results"][0]),
               (("runs", 0, "results", place, "locations", 0, "physicalLocation", "region"), {"startLine": 0}),
               ((*result, "locations", 0, "logicalLocations", 0, "kind"), "routine")]
    for path, value in changes:
        changed = copy.deepcopy(log)
        x, key = at(changed, *path)
        if value is None:
            del x[key]
        else:
            x[key] = value
        tap.ok(complaints(changed), f"{'.'.join(map(str, path))} = {value!r:.60}")


try:
    broken(story())
    program()
finally:
    shutil.rmtree(work, ignore_errors=True)
tap.done()
