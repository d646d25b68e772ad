# SPDX-License-Identifier: GPL-2.0-or-later
"""Forged looks at memory: snapshots and who points to what, with the checksums and the seal that belong to them."""
import forging
import recording
from forging import ODD_NUMBERS, put, put_number, to_signed
from recording import ALL_BITS

# in the order of their checksums
SNAPSHOT = ("space", "time_ns", "held_ns", "rss_bytes", "heap_bytes", "live_bytes", "bytes")
REACHABILITY = ("space", "time_ns", "held_ns", "read_bytes", "flags", "blocks", "bytes")
REGION = ("gap", "pages", "kind", "rss", "swap", "huge", "shared")
PAGE_STATES = 4
PAGE = 4096


def odd(rng, n):
    return rng.choice((*ODD_NUMBERS, 1 << 44, 1 << 52, 1 << 56, n + 1, max(n - 1, 0), n * 2, n << 32)) & ALL_BITS


# ---- snapshots -------------------------------------------------------------------------------


def split_snapshot(data):
    """The numbers of its head, and its regions."""
    data = recording.Bytes(data)
    head, regions = [data.number() for _ in range(3)], []
    for _ in range(data.number()):
        region = {key: data.number() for key in REGION}
        region["name"] = data.take(data.number())
        region["runs"] = [data.number() for _ in range(data.number())]
        regions.append(region)
    recording.check(data.is_at_end(), "a snapshot with more than its regions")
    return head, regions


def join_snapshot(head, regions, n=None):
    out = [put_number(x) for x in (*head, len(regions) if n is None else n)]
    for r in regions:
        out += [put_number(r[key]) for key in REGION]
        out += [put_number(r.get("name bytes", len(r["name"]))), r["name"], put_number(r.get("n runs", len(r["runs"])))]
        out += map(put_number, r["runs"])
    return b"".join(out)


def change_run(region, rng):
    """Still as many pages, most of the time, or far too many."""
    runs, at = region["runs"], rng.randrange(len(region["runs"]))
    pages, state = divmod(runs[at], PAGE_STATES)
    kind = rng.randrange(4)
    if kind == 0:
        runs[at] = pages * PAGE_STATES + rng.randrange(PAGE_STATES)
    elif kind == 1 and pages > 1:
        runs[at:at + 1] = [(pages - 1) * PAGE_STATES + state, PAGE_STATES + rng.randrange(PAGE_STATES)]
    elif kind == 2:
        runs[at] = odd(rng, runs[at])
    else:
        more = rng.choice((1, 1 << 20, 1 << 30, 1 << 44))
        region["pages"] += more
        runs[at] += more * PAGE_STATES


def change_region(regions, rng):
    at = rng.randrange(len(regions))
    region, kind = regions[at], rng.randrange(8)
    if kind == 0:
        key = rng.choice(("name bytes", "n runs"))
        region[key] = odd(rng, len(region["name" if key == "name bytes" else "runs"]))
    elif kind == 1:
        region["name"] = rng.choice((b"", b"\xff" * 9, b"\0x", b"\x1b[31m", b"a" * 4096, b"a" * 4097))
    elif kind == 2:
        regions.insert(at, dict(region))
    elif kind == 3:
        regions[at], regions[at - 1] = regions[at - 1], regions[at]
    elif kind < 6 and region["runs"]:
        change_run(region, rng)
    else:
        key = rng.choice(REGION)
        region[key] = rng.randrange(12) if key == "kind" else odd(rng, region[key])
    return f"region {at}, way {kind}"


def forge_snapshot(db, row, rng):
    data, kind = recording.unpack(row["data"], row["bytes"]), rng.random()
    if kind < 0.6:
        head, regions = split_snapshot(data)
        what = ", ".join(change_region(regions, rng) for _ in range(rng.choice((1, 1, 3))))
        data = join_snapshot(head, regions)
    elif kind < 0.75:
        head, regions = split_snapshot(data)
        at = rng.randrange(4)
        if at < 3:
            head[at] = odd(rng, head[at])
        data = join_snapshot(head, regions, odd(rng, len(regions)) if at == 3 else None)
        what = f"number {at} of its head"
    elif kind < 0.9:
        data, what = forging.change_bytes(data, rng), "bytes"
    else:
        what = "its row"
    row["bytes"], row["data"] = len(data), recording.pack(data)
    change_row(row, SNAPSHOT, rng, 0.9 if what == "its row" else 0.1)
    if rng.random() < 0.1:
        row["reason"] = rng.choice(("", "exit", "x" * 5000, b"\xff\0", 17))
    put(db, "snapshot", SNAPSHOT, row)
    return f"snapshot {row['id']}: {what}"


def change_row(row, names, rng, chance):
    if rng.random() < chance:
        key = rng.choice(names)
        row[key] = odd(rng, row[key])
    if rng.random() < 0.05:
        row["data"] = row["data"][:rng.randrange(1, len(row["data"]))]


# ---- who points to what ------------------------------------------------------------------------


def split_reachability(row):
    data = recording.Bytes(recording.unpack(row["data"], row["bytes"]))
    steps = [data.number() for _ in range(row["blocks"])]
    return steps, data.take(row["blocks"])


def forge_reachability(db, row, rng):
    steps, kinds = split_reachability(row)
    kinds, at, kind = bytearray(kinds), rng.randrange(len(steps)), rng.randrange(7)
    if kind == 0:
        steps[at] = odd(rng, steps[at])
    elif kind == 1:
        kinds[at] = rng.choice((0, 1, 2, 3, 4, 5, 6, 0x7f, 0xff))
    elif kind == 2:
        del steps[at:at + rng.choice((1, 1000))]
    elif kind == 3:
        kinds.append(0)
    elif kind == 4:  # all are said to be others' kinds: addresses that no block has
        steps[0] += 8
    elif kind == 5:
        steps, kinds = steps[:at], kinds[:at]
        row["blocks"] = at
    data = b"".join(map(put_number, steps)) + bytes(kinds)
    if kind == 6:
        data = forging.change_bytes(data, rng)
    row["bytes"], row["data"] = len(data), recording.pack(data)
    before = dict(row)
    change_row(row, REACHABILITY, rng, 0.2)
    db.execute("DELETE FROM reachability WHERE space = ? AND time_ns = ?",
               (to_signed(before["space"]), to_signed(before["time_ns"])))
    put(db, "reachability", REACHABILITY, row)
    return f"who points to what: way {kind}"


# ---- both --------------------------------------------------------------------------------------


def forge(path, rng):
    """Changes one of them, and says what."""
    snapshots, looks = list(recording.rows(path, "snapshot", "id")), list(recording.rows(path, "reachability", "space, time_ns"))
    with forging.changing(path, rng.random() < 0.7) as db:
        if looks and rng.random() < 0.4:
            return forge_reachability(db, rng.choice(looks), rng)
        return forge_snapshot(db, rng.choice(snapshots), rng)


def replace(path, table, key, names, **values):
    """By hand: the first row gets these values, and what belongs to them."""
    row = next(recording.rows(path, table, key))
    row.update(values)
    with forging.changing(path) as db:
        db.execute(f"DELETE FROM {table}")
        put(db, table, names, row)


def large_region(kind, pages, runs):
    return {"gap": 16, "pages": pages, "kind": kind, "rss": 0, "swap": 0, "huge": 0, "shared": 0,
            "name": b"[heap]", "runs": runs}


def claims(n):
    """(words, table, key, names, values): rows that claim n of something, or more memory than there is."""
    both = [("snapshot", "id", SNAPSHOT), ("reachability", "space, time_ns", REACHABILITY)]
    for table, key, names in both:
        yield f"{table}: {n} bytes of nothing", table, key, names, {"bytes": n, "data": forging.runs([(0, n)])}
        yield (f"{table}: a frame that says less than it has", table, key, names,
               {"bytes": 64, "data": forging.runs([(1, n)])})
        yield f"{table}: no data", table, key, names, {"bytes": n, "data": b""}
        yield f"{table}: a size of 2^63", table, key, names, {"bytes": 1 << 63}
    regions = b"".join(map(put_number, (1, 0, 0, n)))
    yield (f"{n} regions", "snapshot", "id", SNAPSHOT, data_of(forging.ones(regions) + [(1, 2 * n), (0, 7 * n)]))
    pages = put_number(1) + put_number(n) + b"\0" * 5 + b"\0"
    head = b"".join(map(put_number, (1, 0, 0, 1)))
    yield (f"a region of {n} runs", "snapshot", "id", SNAPSHOT,
           data_of(forging.ones(head + pages + put_number(n)) + [(5, n // 2), (5, n - n // 2)]))
    many = b"".join(put_number(PAGE_STATES + i % 2) for i in range(n // 16))
    yield (f"a region of {n // 16} runs that differ", "snapshot", "id", SNAPSHOT,
           {"bytes": len(head + put_number(1) + put_number(n // 16) + b"\0" * 6 + put_number(n // 16) + many),
            "data": recording.pack(head + put_number(1) + put_number(n // 16) + b"\0" * 6 + put_number(n // 16) + many)})
    huge = 1 << 44
    state = huge * PAGE_STATES + 1
    whole = join_snapshot((1, 0, 0), [large_region(0, huge, [state])] * 200)
    yield "heaps of 2^56 bytes, two hundred of them", "snapshot", "id", SNAPSHOT, {"bytes": len(whole), "data": recording.pack(whole)}
    yield (f"{n} blocks", "reachability", "space, time_ns", REACHABILITY,
           {**data_of([(1, n), (0, n)]), "blocks": n})
    yield (f"2^63 blocks", "reachability", "space, time_ns", REACHABILITY, {"blocks": 1 << 63})
    yield ("addresses that overflow", "reachability", "space, time_ns", REACHABILITY,
           {**data_of(forging.ones(put_number(1 << 63) * 3 + b"\0\0\0")), "blocks": 3})


def data_of(parts):
    return {"bytes": sum(n for _, n in parts), "data": forging.runs(parts)}
