# SPDX-License-Identifier: GPL-2.0-or-later
"""
A reader of recordings, written from heaptrail-recording(5) alone and sharing no code with heaptrail;
and what is needed to forge them.  Wherever a recording is not as the page says, it raises Wrong.
"""
import copy
import ctypes
import itertools
import sqlite3
import struct
import zlib

ALL_BITS = (1 << 64) - 1
# columns of a chunk, as the page has them
(THREADS, THREAD, TIME_LOW, TIME_HIGH, PREDICTED, ADDRESS, CALLS, CALL_LOW, CALL_HIGH, SIZE_LOW, SIZE_HIGH, USABLE,
 BACK_LOW, BACK_HIGH, SLOT_LOW, SLOT_MIDDLE, SLOT_HIGH) = range(17)
ALLOC, FREE, REALLOC, IN_POOL = range(4)
PIECE = 6
CHUNK = ("id", "space", "events", "allocs", "frees", "first_ns", "last_ns", "min_size", "max_size", "codec",
         "min_address", "max_address", "families")  # in the order of the checksum
CHECKPOINT = ("chunk", "kind", "time_ns", "bytes")
TOTALS, HEAP = 1, 2


class Wrong(Exception):
    pass


def check(condition, words):
    if not condition:
        raise Wrong(words)


# ---- zstd ----------------------------------------------------------------------------------

try:
    _zstd = ctypes.CDLL("libzstd.so.1")  # there is one where there is heaptrail
    for _f in (_zstd.ZSTD_decompress, _zstd.ZSTD_compress, _zstd.ZSTD_compressBound):
        _f.restype = ctypes.c_size_t
except OSError:
    _zstd = None
has_zstd = _zstd is not None


def unpack(data, size):
    out = ctypes.create_string_buffer(size + 1)
    n = _zstd.ZSTD_decompress(out, ctypes.c_size_t(size), data, ctypes.c_size_t(len(data)))
    check(n == size, f"a zstd frame is not of {size} bytes")
    return out.raw[:size]


def pack(data):
    bound = _zstd.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(bound)
    n = _zstd.ZSTD_compress(out, ctypes.c_size_t(bound), data, ctypes.c_size_t(len(data)), 1)
    check(n <= bound, "zstd fails")
    return out.raw[:n]  # which is a copy: not before it is there


# ---- numbers -------------------------------------------------------------------------------


def numbers(data):
    """All of them that the bytes are."""
    if not data or max(data) < 0x80:
        return list(data)
    out, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7f) << shift
        if byte & 0x80:
            shift += 7
        else:
            out.append(value)
            value = shift = 0
    check(not shift and max(out) <= ALL_BITS, "a number is cut off, or has more than 64 bits")
    return out


def put_number(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def signed(n):
    return n >> 1 if n % 2 == 0 else -(n + 1 >> 1)


def usual(size):
    return (max(32, (size + 23 & ALL_BITS) & ~15) - 8) & ALL_BITS


def join(low, high):
    """The values that are split into two columns; of the other the numbers."""
    check(len(low) == len(high), "columns of unequal length")
    return [a | b << 8 for a, b in zip(low, high)]


class Bytes:
    """To be read from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        check(self.at + n <= len(self.data), "bytes are missing")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self):
        begin = self.at
        while self.take(1)[0] & 0x80:
            pass
        return numbers(self.data[begin:self.at])[0]

    def is_at_end(self):
        return self.at == len(self.data)


# ---- chunks --------------------------------------------------------------------------------


def checksum(row, names):
    return zlib.crc32(row["data"], zlib.crc32(struct.pack(f"<{len(names)}Q", *(row[k] & ALL_BITS for k in names))))


def rows(path, table, order):
    """Each as a dict; addresses and the like are unsigned."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        for row in db.execute(f"SELECT * FROM {table} ORDER BY {order}"):
            yield {k: row[k] & ALL_BITS if isinstance(row[k], int) else row[k] for k in row.keys()}
    db.close()


def split_columns(data):
    """The 17 columns, unpacked."""
    data, out = Bytes(data), []
    for _ in range(17):
        size, stored = data.number(), data.number()
        out.append(unpack(data.take(stored), size) if stored else data.take(size))
    check(data.is_at_end(), "there is more than the columns")
    return out


class Line:
    """Addresses that were freed, the last one last; and where the next block is expected."""

    def __init__(self):
        self.freed, self.next = [], 0


class Addresses:
    def __init__(self, column):
        self.lines, self.next, self.column = {}, 0, iter(numbers(column))

    def line(self, room, thread):
        return self.lines.setdefault((room // 16 + 61 * thread) % 1024, Line())

    def difference(self, guess):
        n = next(self.column)
        if n & 1:
            check(n == 1, "a difference that is odd")
            return next(self.column)
        return (guess + 16 * signed(n >> 1)) & ALL_BITS

    def freed(self, room, thread, address):
        freed = self.line(room, thread).freed
        freed.append(address)
        del freed[:-16]

    def made(self, room, thread, place):
        line = self.line(room, thread)
        if place < 16:
            check(place < len(line.freed), "an address that was not freed")
            address = line.freed.pop(-1 - place)
        else:
            check(place == 16, "an address foreseen as none can be")
            address = self.difference(line.next or self.next)
        line.next = self.next = (address + room + 8) & ALL_BITS
        return address


class Event:
    __slots__ = ("kind", "cls", "family", "stack", "thread", "time", "address", "size", "usable", "back", "slot")

    def allocates(self):
        return self.kind in (ALLOC, REALLOC)

    def makes(self):
        return self.kind in (ALLOC, REALLOC, PIECE)

    def ends(self):
        return self.kind == REALLOC or self.kind == FREE and self.cls in (0, 1, 5, 6, 8)


def read_calls(column):
    column, calls, stack = Bytes(column), [], 0
    while not column.is_at_end():
        kind, family = column.take(2)
        stack += signed(column.number())
        check(kind & 15 in (ALLOC, FREE, REALLOC, IN_POOL, PIECE) and kind >> 4 <= 8 and (kind & 15 == FREE or kind < 16), f"kind {kind}")
        calls.append((kind & 15, kind >> 4, family, stack))
    return calls


def read_by_thread(events, order, columns):
    calls = read_calls(columns[CALLS])
    which = join(columns[CALL_LOW], numbers(columns[CALL_HIGH]))
    sizes, usable = iter(join(columns[SIZE_LOW], numbers(columns[SIZE_HIGH]))), iter(numbers(columns[USABLE]))
    backs = iter(join(columns[BACK_LOW], numbers(columns[BACK_HIGH])))
    slots = iter(join(columns[SLOT_LOW], join(columns[SLOT_MIDDLE], numbers(columns[SLOT_HIGH]))))
    check(len(which) == len(events), "not a call for each event")
    for i, call in zip(order, which):
        e = events[i]
        e.kind, e.cls, e.family, e.stack = calls[call]
        e.address = e.size = e.usable = e.back = e.slot = None
        if e.makes():
            e.size = next(sizes)
            how = next(usable)
            if how == 1:
                e.usable = next(usable)
            elif how:
                e.usable = (usual(e.size) + signed(how - 2)) & ALL_BITS
        if e.ends():
            e.back = next(backs)
            check(e.back <= i, "a block from before the chunk")
            if not e.back:
                e.slot = next(slots)
    check([next(x, None) for x in (sizes, usable, backs, slots)] == [None] * 4, "columns with more than the events have")


def room_of(e):
    return e.size if e.usable is None or e.kind == PIECE else e.usable


def read_addresses(events, thread_of, columns):
    addresses, predicted = Addresses(columns[ADDRESS]), iter(columns[PREDICTED])
    for i, (e, thread) in enumerate(zip(events, thread_of)):
        if e.back:
            ended = events[i - e.back]
            check(ended.makes(), "the end of what is no block")
            addresses.freed(room_of(ended), thread, ended.address)
        if e.makes():
            e.address = addresses.made(room_of(e), thread, next(predicted))
        elif not e.ends():
            e.address = addresses.difference(addresses.next)
    check(next(predicted, None) is None and next(addresses.column, None) is None, "more addresses than events")


def read_chunk(row):
    """Its events; what the row says of them must be right."""
    n = row["events"]
    check(row["codec"] == 3 and 0 < n <= 65536, f"codec {row['codec']}, {n} events")
    check(checksum(row, CHUNK) == row["crc"], "the checksum is wrong")
    columns = split_columns(row["data"])
    check(max(map(len, columns)) <= 22 * n, "a column is too long")
    ids = numbers(columns[THREADS])
    thread_of = numbers(columns[THREAD]) if len(ids) > 1 else [0] * n
    times = list(itertools.accumulate(join(columns[TIME_LOW], numbers(columns[TIME_HIGH])), initial=row["first_ns"]))[1:]
    check(len(thread_of) == len(times) == n and times[-1] == row["last_ns"], "times or threads do not agree")
    check(list(dict.fromkeys(thread_of)) == list(range(len(ids))) and len(set(ids)) == len(ids),
          "threads are not in the order in which they come")
    events = [Event() for _ in range(n)]
    for e, thread, time in zip(events, thread_of, times):
        e.thread, e.time = ids[thread], time
    read_by_thread(events, sorted(range(n), key=thread_of.__getitem__), columns)
    read_addresses(events, thread_of, columns)
    check_row(row, events)
    return events


def check_row(row, events):
    sizes = [e.size for e in events if e.makes()]
    addresses = [e.address for e in events if e.address is not None]
    families = 0
    for family in {e.family for e in events}:
        families |= 1 << family % 64
    found = dict(allocs=sum(e.allocates() for e in events), frees=sum(e.ends() for e in events), first_ns=events[0].time, families=families,
                 min_size=min(sizes, default=ALL_BITS), max_size=max(sizes, default=0),
                 min_address=min(addresses, default=ALL_BITS), max_address=max(addresses, default=0))
    for key, value in found.items():
        check(row[key] == value, f"{key} is {row[key]}, not {value}")


# ---- the heap and its totals -----------------------------------------------------------------


class Group:
    """What it had at the peak is noted when it first changes afterwards."""
    __slots__ = ("calls", "bytes", "temporary", "live", "live_bytes", "peak", "peak_bytes", "peaks")

    def __init__(self):
        self.calls = self.bytes = self.temporary = self.live = self.live_bytes = self.peak = self.peak_bytes = self.peaks = 0

    def note(self, peaks):
        if self.peaks != peaks:
            self.peaks, self.peak, self.peak_bytes = peaks, self.live, self.live_bytes

    def values(self):
        return [self.calls, self.bytes, self.temporary, self.live, self.live_bytes, self.peak, self.peak_bytes]


class State:
    """After all events that were fed; totals are of layer heap.  Of families others than its own the layers' numbers."""

    def __init__(self, layers=None):
        self.layers = layers or {}
        self.space = 0
        self.begin_space(0)
        self.events = self.first = self.last = self.alloc_calls = self.allocated = self.temporary = self.peak = 0
        self.peak_bytes = self.peak_time = self.peak_event = self.free_calls = self.execd = self.execd_bytes = self.peaks = 0
        self.frees = [0] * 9
        self.heap_blocks = 0
        self.groups = [{}, {}, {}, {}]

    def begin_space(self, space):
        if self.space:
            self.execd += self.heap_blocks
            self.execd_bytes += self.live_bytes
            for group in (g for groups in self.groups for g in groups.values()):
                group.note(self.peaks)
                group.live = group.live_bytes = 0
        self.space = space
        self.blocks, self.freed, self.next = {}, [], 0  # by slot: the event that made it
        self.last_made = {}  # by thread, and 2^24 times the layer: the slot of the block that its last event made
        self.live_bytes = self.heap_blocks = 0

    def groups_of(self, e):
        keys = (e.stack, e.thread, 1 << e.size.bit_length() - 1 if e.size else 0, e.family)
        for groups, key in zip(self.groups, keys):
            group = groups.get(key)
            if group is None:
                group = groups[key] = Group()
            group.note(self.peaks)
            yield group

    def last_key(self, e):
        return e.thread + (self.layers.get(e.family, 0) << 24)

    def end(self, e):
        block = self.blocks.pop(e.slot, None)
        check(block is not None, f"event {self.events} ends a block that is not live")
        temporary = block.thread == e.thread and self.last_made.get(self.last_key(block)) == e.slot
        if self.layers.get(block.family):
            return block
        self.heap_blocks -= 1
        self.live_bytes -= block.size
        self.free_calls += 1
        self.temporary += temporary
        for group in self.groups_of(block):
            group.live -= 1
            group.live_bytes -= block.size
            group.temporary += temporary
        return block

    def make(self, e):
        self.blocks[e.slot] = e
        if e.kind == PIECE:
            self.blocks[e.slot] = block = copy.copy(e)
            block.time, block.usable = min(e.usable, e.time), None
        if self.layers.get(e.family):
            return
        self.heap_blocks += 1
        self.live_bytes += e.size
        is_call = e.thread != 0  # else it is from before the recording
        self.alloc_calls += is_call
        self.allocated += e.size * is_call
        for group in self.groups_of(e):
            group.calls += is_call
            group.bytes += e.size * is_call
            group.live += 1
            group.live_bytes += e.size

    def feed(self, chunk):
        """All events of a chunk, and for each the block that it ended."""
        for i, e in enumerate(chunk):
            ended = None
            self.events += 1
            self.first = self.first or e.time
            self.last = e.time
            if e.ends():
                if e.back:
                    e.slot = chunk[i - e.back].slot
                ended = self.end(e)
            if e.kind in (ALLOC, PIECE):
                e.slot = self.freed.pop() if self.freed else self.next
                self.next = max(self.next, e.slot + 1)
            elif e.kind == FREE:
                if not self.layers.get(e.family):
                    self.frees[e.cls] += 1
                if ended:
                    self.freed.append(e.slot)
            if e.makes():
                self.make(e)
                self.last_made[self.last_key(e)] = e.slot
            elif e.cls not in (1, 3):
                self.last_made.pop(self.last_key(e), None)
            if self.live_bytes >= self.peak_bytes and not self.layers.get(e.family):
                self.peak_bytes, self.peak, self.peak_time = self.live_bytes, self.heap_blocks, e.time
                self.peak_event = self.events
                self.peaks += 1
            yield e, ended

    def restore(self, heap, totals, groups):
        """Becomes what read_heap() and read_totals() gave."""
        self.space, self.freed, self.next, self.last_made = heap["space"], list(heap["freed"]), heap["next"], dict(heap["last"])
        for block in heap["blocks"]:
            e = Event()
            e.kind, e.slot, e.time, e.address, e.size, e.usable, e.stack, e.thread, e.family = ALLOC, *block
            self.blocks[e.slot] = e
            if not self.layers.get(e.family):
                self.heap_blocks += 1
                self.live_bytes += e.size
        (self.events, self.first, self.last, self.alloc_calls, self.allocated, self.temporary, self.peak, self.peak_bytes,
         self.peak_time, self.peak_event, self.free_calls, self.execd, self.execd_bytes, live, live_bytes,
         *frees) = totals
        self.frees = frees[:5] + [0] + frees[5:] + [0]
        check((live, live_bytes, self.events) == (self.heap_blocks, self.live_bytes, heap["events"]), "two states in one")
        for found, own in zip(groups, self.groups):
            for key, values in found.items():
                g = own[key] = Group()
                g.calls, g.bytes, g.temporary, g.live, g.live_bytes, g.peak, g.peak_bytes = values

    def totals(self):
        return [self.events, self.first, self.last, self.alloc_calls, self.allocated, self.temporary, self.peak,
                self.peak_bytes, self.peak_time, self.peak_event, self.free_calls, self.execd, self.execd_bytes,
                self.heap_blocks, self.live_bytes, *self.frees[:5], *self.frees[6:8]]

    def group_values(self):
        for group in (g for groups in self.groups for g in groups.values()):
            group.note(self.peaks)
        return [{key: g.values() for key, g in groups.items()} for groups in self.groups]


# ---- checkpoints -------------------------------------------------------------------------------


def unpack_checkpoint(row):
    check(checksum(row, CHECKPOINT) == row["crc"], "the checksum is wrong")
    return unpack(row["data"], row["bytes"])


def read_totals(data):
    """The totals, and the groups by their ids, as State has both."""
    n, groups = iter(numbers(data)), []
    totals = [next(n) for _ in range(20)]
    for _ in range(4):
        found, key = {}, 0
        for _ in range(next(n)):
            key += signed(next(n))
            g = [next(n) for _ in range(7)]
            g[5:] = g[3] + signed(g[5]), g[4] + signed(g[6])
            check(key not in found, "a group comes twice")
            found[key] = g
        groups.append(found)
    late = list(n)
    check(len(late) in (0, 2) and late != [0, 0], "there is more than the totals")
    return totals + (late or [0, 0]), groups


def differences(column):
    return list(itertools.accumulate(map(signed, numbers(column))))


def rotate(n):
    return n >> 60 | n << 4 & ALL_BITS


def read_heap(data):
    """As State.heap() gives it."""
    data = Bytes(data)
    space, events, live, n_freed = (data.number() for _ in range(4))
    freed, slot, low, high, address, size, usable, stack, thread, family, last = (
        data.take(data.number()) for _ in range(11))
    check(data.is_at_end(), "there is more than the heap")
    slots = differences(slot)
    times = list(itertools.accumulate(join(low, numbers(high))))
    addresses = [rotate(a & ALL_BITS) for a in differences(address)]
    sizes, how, usables = numbers(size), iter(numbers(usable)), []
    for s in sizes:
        usables.append((usual(s) + signed(next(how))) & ALL_BITS if next(how) else None)
    check(next(how, None) is None, "more usable sizes than blocks")
    columns = slots, times, addresses, sizes, usables, numbers(stack), numbers(thread), list(family)
    check({len(c) for c in columns} == {live}, "columns of unequal length")
    last = numbers(last)
    freed = differences(freed)
    check(len(freed) == n_freed and sorted(slots + freed) == list(range(live + n_freed)), "a slot is missing, or comes twice")
    return dict(space=space, events=events, freed=freed, next=live + n_freed, blocks=list(zip(*columns)),
                last=dict(zip(last[::2], last[1::2])))


def heap_of(state):
    return dict(space=state.space, events=state.events, freed=state.freed, next=state.next, last=state.last_made,
                blocks=[(slot, e.time, e.address, e.size, e.usable, e.stack, e.thread, e.family)
                        for slot, e in sorted(state.blocks.items(), key=lambda x: (x[1].time, x[0]))])
