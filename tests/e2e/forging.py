# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings with damage that no checksum shows: what was changed is given the right ones, and the whole a new seal."""
import contextlib
import sqlite3
import struct
import zlib

import recording
from recording import ALL_BITS, CHECKPOINT, CHUNK, HEAP, TOTALS, put_number

# as in store/seal.c
SEALED = ("SELECT * FROM recording WHERE key <> 'seal' ORDER BY key", "SELECT * FROM process ORDER BY id",
          "SELECT * FROM space ORDER BY id", "SELECT * FROM thread ORDER BY id", "SELECT * FROM family ORDER BY id",
          "SELECT * FROM module ORDER BY id", "SELECT * FROM mapping ORDER BY id", "SELECT * FROM frame ORDER BY id",
          "SELECT * FROM stack ORDER BY id", "SELECT * FROM symbol ORDER BY frame, depth", "SELECT * FROM loss ORDER BY kind",
          "SELECT * FROM rss ORDER BY rowid", "SELECT * FROM timeline ORDER BY bucket",
          "SELECT id, space, events, allocs, frees, first_ns, last_ns, min_size, max_size, min_address, max_address, families,"
          " codec, crc FROM chunk ORDER BY id",
          "SELECT chunk, kind, time_ns, bytes, crc FROM checkpoint ORDER BY chunk, kind", "SELECT * FROM site ORDER BY stack",
          "SELECT name, sql FROM sqlite_master WHERE type = 'view' AND name IN ('own', 'file', 'function', 'leak') ORDER BY name")
# those add nothing where they have no rows
SEALED_LATER = ("SELECT id, space, time_ns, reason, held_ns, rss_bytes, heap_bytes, live_bytes, bytes, crc FROM snapshot ORDER BY id",
                "SELECT space, time_ns, held_ns, read_bytes, flags, blocks, codec, bytes, crc FROM reachability"
                " ORDER BY space, time_ns")
ODD_NUMBERS = (0, 1, 2, 15, 16, 17, 255, 256, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
               1 << 60, (1 << 63) - 1, 1 << 63, ALL_BITS - 1, ALL_BITS)


def seal(db):
    """What the key seal must say."""
    crc, n = 0, 0
    for i, query in enumerate(SEALED + SEALED_LATER):
        rows = db.execute(query).fetchall()
        if query in SEALED_LATER and not rows:
            continue
        out = [struct.pack("=Q", i)]
        for row in rows:
            n += 1
            for value in row:
                if isinstance(value, int):
                    out.append(struct.pack("=iq", 1, value))
                elif value is None:
                    out.append(struct.pack("=i", 5))
                else:
                    value = value.encode() if isinstance(value, str) else value
                    out.append(struct.pack("=ii", 3, len(value)) + value)
        crc = zlib.crc32(b"".join(out), crc)
    return f"{crc:08x}-{n}"


def to_signed(n):
    return n - (1 << 64) if n >> 63 else n


def put(db, table, names, row):
    """Writes the row anew, with its checksum; names has its key first."""
    row["crc"] = recording.checksum(row, names)
    keys = list(row)
    db.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(keys)}) VALUES ({', '.join('?' * len(keys))})",
               [to_signed(row[k]) if isinstance(row[k], int) else row[k] for k in keys])


@contextlib.contextmanager
def changing(path, sealed=True):
    """A database to be changed; then it is sealed again, or as one that is being written."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        yield db
        db.execute("DELETE FROM recording WHERE key = 'seal'")
        if sealed:
            db.execute("INSERT INTO recording VALUES ('seal', ?)", (seal(db),))
        db.execute("COMMIT")
        if not sealed:
            db.execute("PRAGMA journal_mode = WAL")


def says_dropped(path, sealed=True, reads_end=False):
    """A chunk behind a checkpoint is missing, and it says for ever that this was dropped just now; its end can be read, or not."""
    with changing(path, sealed) as db:
        first = db.execute("SELECT min(chunk) FROM checkpoint").fetchone()[0]
        db.execute("DELETE FROM checkpoint WHERE chunk > ? AND chunk <= ?", (first, first + 2 if reads_end else 1 << 40))
        db.execute("DELETE FROM chunk WHERE id = ?", (first + 2,))
        db.execute("DELETE FROM recording WHERE key LIKE 'dropped%'")
        db.executemany("INSERT INTO recording VALUES (?, ?)", [("dropped_chunks", first + 2), ("dropped_events", 1), ("dropped_until_ns", 1)])


# ---- by chance -------------------------------------------------------------------------------


def change_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 or not data:
            data[at:at] = rng.randbytes(rng.choice((1, 1, 8)))
        elif kind == 1:
            del data[at:at + rng.choice((1, 1, 9))]
        elif kind == 2:
            del data[at:]
        else:
            data[at - 1] = rng.choice((0, 0x7f, 0x80, 0xff, rng.randrange(256)))
    return bytes(data)


def change_numbers(data, rng):
    """One of them becomes another one."""
    try:
        numbers = recording.numbers(data)
    except recording.Wrong:  # single bytes
        numbers = None
    if not numbers:
        return change_bytes(data, rng)
    at = rng.randrange(min(len(numbers), rng.choice((8, 1 << 20))))
    numbers[at] = rng.choice((*ODD_NUMBERS, numbers[at] + 1, max(numbers[at] - 1, 0), rng.choice(numbers))) & ALL_BITS
    return b"".join(map(put_number, numbers))


def change(data, rng):
    return rng.choice((change_bytes, change_numbers))(data, rng)


def forge_chunk(db, row, rng):
    columns = recording.split_columns(row["data"])
    which = rng.randrange(17)
    columns[which] = change(columns[which], rng)
    sizes = [len(c) for c in columns]
    if rng.random() < 0.1:
        sizes[which] = rng.choice((*ODD_NUMBERS, sizes[which] + 1))
    out = []
    for i, (size, column) in enumerate(zip(sizes, columns)):
        packed = recording.pack(column) if rng.random() < 0.5 else b""
        stored = len(packed) if i != which or rng.random() < 0.95 else rng.choice(ODD_NUMBERS)
        out.append(put_number(size) + put_number(stored) + (packed or column))
    row["data"] = b"".join(out)
    what = f"column {which} of chunk {row['id']}"
    if rng.random() < 0.1:
        key = rng.choice(("events", "first_ns", "last_ns", "space", "families"))
        row[key] = rng.choice((*ODD_NUMBERS, row[key] + 1, row[key] - 1)) & ALL_BITS
        what += f", and its {key}"
    put(db, "chunk", CHUNK, row)
    return what


def split_heap(data):
    """The four numbers of a heap, and its columns."""
    data = recording.Bytes(data)
    return [data.number() for _ in range(4)], [data.take(data.number()) for _ in range(11)]


def join_heap(head, columns):
    return b"".join(map(put_number, head)) + b"".join(put_number(len(c)) + c for c in columns)


def forge_checkpoint(db, row, rng):
    data = recording.unpack_checkpoint(row)
    what = f"checkpoint {row['kind']} after chunk {row['chunk']}"
    if row["kind"] == HEAP and rng.random() < 0.8:
        head, columns = split_heap(data)
        which = rng.randrange(15)
        if which < 11:
            columns[which] = change(columns[which], rng)
        else:
            head[which - 11] = rng.choice((*ODD_NUMBERS, head[which - 11] + 1, max(head[which - 11] - 1, 0)))
        what += f", part {which}"
        data = join_heap(head, columns)
    else:
        data = change(data, rng)
    row["bytes"], row["data"] = len(data), recording.pack(data)
    if rng.random() < 0.1:
        key = rng.choice(("bytes", "time_ns"))
        row[key] = rng.choice((*ODD_NUMBERS, row[key] + 1))
        what += f", and its {key}"
    put(db, "checkpoint", CHECKPOINT, row)
    return what


def mix_checkpoints(db, found, rng):
    """One is said to be another's."""
    a = rng.choice(found)
    b = rng.choice([r for r in found if r["kind"] == a["kind"]])
    put(db, "checkpoint", CHECKPOINT, {**a, "chunk": rng.choice((b["chunk"], b["chunk"] + 1, 1 << 40)), "time_ns": b["time_ns"]})
    return f"checkpoint {a['kind']} after chunk {a['chunk']} in another place"


def pretend_dropped(db, rng):
    facts = {key: to_signed(rng.choice((1, 1, 2, 3, *ODD_NUMBERS)))
             for key in ("dropped_chunks", "dropped_events", "dropped_until_ns")}
    db.executemany("INSERT OR REPLACE INTO recording VALUES (?, ?)", facts.items())
    if rng.random() < 0.7:
        db.execute("DELETE FROM chunk WHERE id <= ?", (rng.choice((1, facts["dropped_chunks"])),))
    return f"{facts}"


def forge(path, rng):
    """Changes the recording, and says what."""
    chunks, checkpoints = list(recording.rows(path, "chunk", "id")), list(recording.rows(path, "checkpoint", "chunk, kind"))
    with changing(path, rng.random() < 0.7) as db:
        kind = rng.random()
        if kind < 0.45:
            what = forge_chunk(db, rng.choice(chunks), rng)
            if rng.random() < 0.7:  # or it is not read
                db.execute("DELETE FROM checkpoint")
        elif kind < 0.9:
            row = rng.choice(checkpoints)
            what = forge_checkpoint(db, row, rng)
            db.execute("DELETE FROM checkpoint WHERE chunk > ?", (row["chunk"],))
        elif kind < 0.96:
            what = mix_checkpoints(db, checkpoints, rng)
        else:
            what = pretend_dropped(db, rng)
    return what


# ---- by hand ---------------------------------------------------------------------------------


def runs(parts):
    """A zstd frame of (byte, how often): 512 bytes in four, as no recorder's are better packed."""
    out = [b"\x28\xb5\x2f\xfd\xc0\x40", struct.pack("<Q", sum(n for _, n in parts))]
    blocks = [(byte, min(n - at, 512)) for byte, n in parts for at in range(0, n, 512)]
    for i, (byte, n) in enumerate(blocks):
        out.append(((i == len(blocks) - 1) | 1 << 1 | n << 3).to_bytes(3, "little") + bytes([byte]))
    return b"".join(out)


def ones(data):
    return [(byte, 1) for byte in data]


def ill_timed(path):
    """What the checkpoints say of their time is none that there is, and their data is damaged."""
    with changing(path) as db:
        for row in recording.rows(path, "checkpoint", "chunk, kind"):
            row["time_ns"], row["data"] = ALL_BITS, row["data"][:-1]
            put(db, "checkpoint", CHECKPOINT, row)


def claims(path, chunk, kind, parts):
    """The checkpoint becomes one whose data is these runs; the later ones go."""
    row = next(r for r in recording.rows(path, "checkpoint", "chunk, kind") if (r["chunk"], r["kind"]) == (chunk, kind))
    row["bytes"], row["data"] = sum(n for _, n in parts), runs(parts)
    with changing(path) as db:
        db.execute("DELETE FROM checkpoint WHERE chunk > ?", (chunk,))
        put(db, "checkpoint", CHECKPOINT, row)


def bombs(n):
    """(name, kind, runs): checkpoints that claim n of something."""
    head = [1, 1 << 40]
    yield "free slots", HEAP, ones(b"".join(map(put_number, [*head, 0, n, n])) + b"\0") + [(2, n - 1), (0, 10)]
    yield "live blocks that are not there", HEAP, ones(b"".join(map(put_number, [*head, n, 0]))) + [(0, 11)]
    yield "live blocks", HEAP, (ones(b"".join(map(put_number, [*head, n, 0, 0, n])) + b"\0") + [(2, n - 1)] + sum(
        (ones(put_number(n)) + [(0, n)] for _ in range(8)), []) + [(0, 1)])
    yield "groups", TOTALS, [(0, 20)] + ones(put_number(n)) + [(2, 8 * n), (0, 3)]
    yield "groups that are not there", TOTALS, [(0, 20)] + ones(put_number(n)) + [(0, 1)]
    yield "nothing, at length", HEAP, [(0, n)]
