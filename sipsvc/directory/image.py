"""A price table as one piece of bytes: compiled once, opened in no time whatever its size, memory-mapped by the rim.

A number left-aligned to 18 digits is a point on a line, a prefix an interval of it; intervals nest or are apart. So
the table is a sorted array of the points where the innermost interval changes, and one bisection answers a number.

    header   MAGIC, the counts, the size of the whole, a CRC-32 of what follows
    int64    points | row id, rate, fee, valid_from, valid_to
    int32    owner of each point | entry: length, parent, first row | row: initial, increment, name, origin | text ends
    bytes    the texts, UTF-8, each once

An entry is a prefix, its rows lie together: longest origin first, then in order of time. Numbers are native-endian: an
image never leaves the machine that made it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby, pairwise
from operator import itemgetter
from struct import Struct
from typing import Literal, NamedTuple
from zlib import crc32

DIGITS = 18
FOREVER = (1 << 63) - 1
MAGIC = b"sipsvc1\n"
HEADER = Struct("=8s5qI4x")
POWERS = tuple(10**exponent for exponent in range(DIGITS + 1))
GROUPS_KEPT = 4_096

Bytes = bytes | memoryview
# id, prefix, origin, name, rate, fee, initial, increment, valid_from, valid_to; as a database gives them.
Cells = tuple[int, str, str, str, int, int, int, int, int, int]


class PriceRow(NamedTuple):
    """One price per minute, sold or bought. `rate` and `fee` have 6 places, in the list's currency.

    `initial` and `increment` are seconds. `origin` is the prefix of the caller's E.164 number the row is for, "" for
    any caller. It is in force from `valid_from` until before `valid_to`, UTC milliseconds.
    """

    id: int
    prefix: str
    name: str
    rate: Decimal
    fee: Decimal
    initial: int
    increment: int
    origin: str = ""
    valid_from: int = 0
    valid_to: int = FOREVER


# What a prefix with no row in force says: there is no such prefix now, look at the shorter one.
ABSENT = PriceRow(0, "", "", Decimal(0), Decimal(0), 0, 0)


def choose(rows: tuple[PriceRow, ...], caller: str, at: int) -> PriceRow | None:
    """Of one prefix's rows, longest origin first: the one for `caller` in force at the instant `at`.

    ABSENT when none is in force, None when those in force are for other origins.
    """
    found: PriceRow | None = ABSENT
    for row in rows:
        if row.valid_from <= at < row.valid_to:
            if caller.startswith(row.origin):
                return row
            found = None
    return found


class ImageError(ValueError):
    """Bytes that are no image, or not all of one."""


def compile_image(rows: Iterable[Cells]) -> bytes:
    """The image of `rows`, in whatever order; money is millionths. Rows that are never in force are left out.

    Raises ValueError for a prefix that is not 1 to 18 digits, and for two rows of one prefix and origin in force at
    one time.
    """
    alive = sorted((row for row in rows if row[8] < row[9]), key=itemgetter(1))
    points, owners = array("q", [0]), array("i", [-1])
    lengths, parents, firsts = array("i"), array("i"), array("i")
    ids, rates, fees, starts, ends = (array("q") for _ in range(5))
    initials, increments, names, origins = (array("i") for _ in range(4))
    # The text "" is number 0, so that a row for any caller is told without reading one.
    texts = {"": 0}
    # The prefixes around the one at hand, as (end of its interval, entry), the innermost last.
    around: list[tuple[int, int]] = []

    def change(point: int, owner: int) -> None:
        if points[-1] == point:
            owners[-1] = owner
        else:
            points.append(point)
            owners.append(owner)

    for prefix, group in groupby(alive, itemgetter(1)):
        if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= DIGITS):
            raise ValueError(f"prefix {prefix!r} is not 1 to {DIGITS} digits")
        width = POWERS[DIGITS - len(prefix)]
        start = int(prefix) * width
        while around and around[-1][0] <= start:
            end, _ = around.pop()
            change(end, around[-1][1] if around else -1)
        entry = len(lengths)
        change(start, entry)
        lengths.append(len(prefix))
        parents.append(around[-1][1] if around else -1)
        firsts.append(len(ids))
        around.append((start + width, entry))
        for row in _in_order(prefix, list(group)):
            ids.append(row[0])
            rates.append(row[4])
            fees.append(row[5])
            starts.append(row[8])
            ends.append(row[9])
            initials.append(row[6])
            increments.append(row[7])
            names.append(texts.setdefault(row[3], len(texts)))
            origins.append(texts.setdefault(row[2], len(texts)))
    while around:
        end, _ = around.pop()
        change(end, around[-1][1] if around else -1)
    firsts.append(len(ids))
    encoded = [text.encode() for text in texts]
    at, stops = 0, array("i")
    for text in encoded:
        at += len(text)
        stops.append(at)
    columns = (points, ids, rates, fees, starts, ends, owners, lengths, parents, firsts, initials, increments, names,
               origins, stops)  # fmt: skip
    body = b"".join([*(column.tobytes() for column in columns), *encoded])
    size = HEADER.size + len(body)
    return HEADER.pack(MAGIC, size, len(points), len(lengths), len(ids), len(texts), crc32(body)) + body


def _in_order(prefix: str, rows: list[Cells]) -> list[Cells]:
    """One prefix's rows, the longest origin first. Raises ValueError where two of one origin overlap."""
    if len(rows) == 1:
        return rows
    rows.sort(key=lambda row: (-len(row[2]), row[2], row[8]))
    for before, row in pairwise(rows):
        if row[2] == before[2] and row[8] < before[9]:
            raise ValueError(f"prefix {prefix} origin {row[2] or 'any'} stands twice at one time")
    return rows


class Image:
    """An image as it is looked up in. Nothing is read at opening but the header."""

    __slots__ = ("_ends", "_fees", "_firsts", "_groups", "_ids", "_increments", "_initials", "_lengths", "_names",
                 "_origins", "_owners", "_parents", "_points", "_rates", "_starts", "_stops", "_texts",
                 "entries", "size")  # fmt: skip

    def __init__(self, data: Bytes) -> None:
        """Raises ImageError when `data` is not as long as it says, or no image."""
        view = memoryview(data).cast("B")
        if len(view) < HEADER.size:
            raise ImageError("shorter than a header")
        magic, size, points, self.entries, self.size, texts, _ = HEADER.unpack_from(view)
        if magic != MAGIC or size != len(view):
            raise ImageError(f"{len(view)} bytes that are no price table of this version")
        at = HEADER.size

        def column(code: Literal["q", "i"], length: int) -> memoryview[int]:
            nonlocal at
            begin, at = at, at + length * (8 if code == "q" else 4)
            return view[begin:at].cast(code)

        self._points = column("q", points)
        self._ids, self._rates, self._fees, self._starts, self._ends = (column("q", self.size) for _ in range(5))
        self._owners = column("i", points)
        self._lengths, self._parents = (column("i", self.entries) for _ in range(2))
        self._firsts = column("i", self.entries + 1)
        self._initials, self._increments, self._names, self._origins = (column("i", self.size) for _ in range(4))
        self._stops = column("i", texts)
        self._texts = view[at:]
        # Rows are made when they are first asked for; the calls of an hour go to few destinations.
        self._groups: dict[int, tuple[PriceRow, ...]] = {}

    def find(self, number: str, caller: str, at: int) -> PriceRow | None:
        """As `PrefixTable.find`, for a `number` of 1 to 18 digits."""
        have = len(number)
        entry = self._owners[bisect_right(self._points, int(number) * POWERS[DIGITS - have]) - 1]
        while entry >= 0:
            rows = self._groups.get(entry) or self.rows(entry, number)
            # A number of few digits lies in the intervals of prefixes that are longer than itself.
            if len(rows[0].prefix) <= have:
                found = choose(rows, caller, at)
                if found is not ABSENT:
                    return found
            entry = self._parents[entry]
        return None

    def innermost(self, number: str) -> int:
        """The entry of the longest prefix of `number`, 1 to 18 digits and then zeros; -1 for none."""
        return self._owners[bisect_right(self._points, int(number) * POWERS[DIGITS - len(number)]) - 1]

    def parent(self, entry: int) -> int:
        """The next shorter prefix there is, -1 for none."""
        return self._parents[entry]

    def length(self, entry: int) -> int:
        """Digits of an entry's prefix."""
        return self._lengths[entry]

    def rows(self, entry: int, number: str) -> tuple[PriceRow, ...]:
        """An entry's rows; `number` is any that lies in its interval."""
        found = self._groups.get(entry)
        if found is None:
            prefix = number[: self._lengths[entry]].ljust(self._lengths[entry], "0")
            if len(self._groups) >= GROUPS_KEPT:
                self._groups.clear()
            found = tuple(self._row(row, prefix) for row in range(self._firsts[entry], self._firsts[entry + 1]))
            self._groups[entry] = found
        return found

    def _row(self, row: int, prefix: str) -> PriceRow:
        return PriceRow(
            self._ids[row],
            prefix,
            self._text(self._names[row]),
            Decimal(self._rates[row]).scaleb(-6),
            Decimal(self._fees[row]).scaleb(-6),
            self._initials[row],
            self._increments[row],
            self._text(self._origins[row]),
            self._starts[row],
            self._ends[row],
        )

    def _text(self, number: int) -> str:
        return str(self._texts[self._stops[number - 1] if number else 0 : self._stops[number]], "utf-8")


def is_whole(data: Bytes) -> bool:
    """Whether `data` is an image without a bit changed: reads all of it, so not for the process that serves calls."""
    view = memoryview(data).cast("B")
    try:
        Image(view)
    except ImageError:
        return False
    return int(HEADER.unpack_from(view)[-1]) == crc32(view[HEADER.size :])
