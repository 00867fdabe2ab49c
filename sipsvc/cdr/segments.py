"""The local log's format, and reading it: checksummed lines in numbered segments (law 8).

A line is eight hex digits of CRC-32, a space, the record as JSON, LF. A reader takes whole, sound lines only:
a torn last line is left alone, a damaged one is reported and passed over to the next LF.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from sipsvc.observe import get_logger

CHUNK = 1 << 20
NAME = re.compile(r"cdr-(\d{8})\.log")
# How far delivery is, beside the segments.
DELIVERED = "delivered"
# Touched by the writer as long as it lives.
ALIVE = "alive"
# When the writers before it ended.
OUTAGES = "outages"
MOST_OUTAGES = 1_000
KINDS = frozenset({"start", "answer", "end", "late"})
# How the engine's records begin; others are taken apart to find out.
HEAD = re.compile(rb'\{"kind":"(start|answer|end|late)","cdr_id":"([!#-\[\]-~]+)"')

log = get_logger("cdr.log")

Report = Callable[[int, int, str], None]
"""Told of each bad line: segment, offset of the line, reason."""


class Entry(NamedTuple):
    """One sound record; reading goes on at `offset_after` of `segment`."""

    segment: int
    offset_after: int
    record: dict[str, Any]


class Line(NamedTuple):
    """A sound line whose JSON `body` is not taken apart yet: most answers never need to be."""

    segment: int
    offset_after: int
    kind: str
    cdr_id: str
    body: bytes


def segment_name(number: int) -> str:
    return f"cdr-{number:08d}.log"


def segment_path(folder: Path, number: int) -> Path:
    return folder / segment_name(number)


def segment_number(name: str) -> int:
    """The number of the segment called `name`, 0 for what is no segment's name."""
    match = NAME.fullmatch(name)
    return int(match[1]) if match else 0


def segment_numbers(folder: Path) -> list[int]:
    """The segments that exist, oldest first; none where there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(number for name in names if (number := segment_number(name)))


def encode(record: dict[str, Any]) -> bytes:
    """The line for `record`."""
    try:
        body = orjson.dumps(record)
    except TypeError as error:
        # Whatever a peer managed to put into a field, the call is billed: better a "?" than no record.
        log.warning("cdr_not_plain_json", cdr_id=str(record.get("cdr_id")), error=str(error))
        body = json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return b"%08x %b\n" % (crc32(body), body)


def identify(line: bytes) -> tuple[str, str, bytes] | None:
    """Kind, cdr_id and JSON of a line without its LF; None for a damaged one."""
    body = line[9:]
    if line[:9] != b"%08x " % crc32(body):
        return None
    head = HEAD.match(body)
    if head is not None:
        return head[1].decode(), head[2].decode(), body
    try:
        record = orjson.loads(body)
    except ValueError:
        return None
    if type(record) is not dict or record.get("kind") not in KINDS or type(record.get("cdr_id")) is not str:
        return None
    return record["kind"], record["cdr_id"], body


def report_bad_line(segment: int, offset: int, reason: str) -> None:
    """The default Report: one warning each."""
    log.warning("cdr_log_bad_line", segment=segment, offset=offset, reason=reason)


class Tail:
    """Reads on from a position, again and again; `segment` and `offset` are where the next read begins.

    A segment that no longer exists is passed over for the next one.
    """

    def __init__(self, folder: Path, segment: int = 0, offset: int = 0, report: Report = report_bad_line) -> None:
        self.folder = folder
        self.segment = segment
        self.offset = offset
        self._report = report

    def read(self) -> Iterator[Line]:
        """What stands in the log from the position to its end now; may be left at any line."""
        while True:
            # Looked up before the bytes are read: once a newer segment is seen, this one grows no more.
            later = [number for number in segment_numbers(self.folder) if number > self.segment]
            yield from self._read_segment(newest=not later)
            if not later:
                return
            self.segment, self.offset = later[0], 0

    def _read_segment(self, newest: bool) -> Iterator[Line]:
        try:
            descriptor = os.open(segment_path(self.folder, self.segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            size = CHUNK
            while True:
                begin = self.offset
                file.seek(begin)
                data = file.read(size)
                end = data.rfind(b"\n")
                if end < 0 and len(data) == size:
                    size *= 2
                    continue
                if end < 0:
                    if data and not newest:
                        self._report(self.segment, begin, "torn")
                    return
                size = CHUNK
                after = begin
                for line in data[:end].split(b"\n"):
                    before, after = after, after + len(line) + 1
                    found = identify(line)
                    if found is None:
                        if newest and after >= os.fstat(descriptor).st_size:
                            # The last line of a segment in use may be in the making.
                            return
                        self.offset = after
                        self._report(self.segment, before, "damaged")
                        continue
                    self.offset = after
                    yield Line(self.segment, after, *found)


def read_from(folder: Path, segment: int, offset: int, report: Report = report_bad_line) -> Iterator[Entry]:
    """The entries from a position to the end; `segment` 0 begins with the oldest."""
    for line in Tail(folder, segment, offset, report).read():
        try:
            record = orjson.loads(line.body)
        except ValueError as error:
            report(line.segment, line.offset_after, str(error))
            continue
        yield Entry(line.segment, line.offset_after, record)


def read_segments(folder: Path, report: Report = report_bad_line) -> Iterator[Entry]:
    """The entries of all segments, oldest first. A call carried over stands in several."""
    return read_from(folder, 0, 0, report)


def open_calls(folder: Path) -> list[dict[str, Any]]:
    """The start and answer records of all calls without an end record, in order, each once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in read_segments(folder):
        record = entry.record
        cdr_id, kind = record["cdr_id"], record["kind"]
        if kind == "end":
            found.pop((cdr_id, "start"), None)
            found.pop((cdr_id, "answer"), None)
        elif kind != "late":
            found[cdr_id, kind] = record
    return list(found.values())


def outages(folder: Path) -> list[int]:
    """When each time without a writer began, up to the one that is now, oldest first; UTC ms.

    Who restarts it again before a call was shown alive is to know of the first of them.
    """
    try:
        noted = [int(line) for line in (folder / OUTAGES).read_text().split()]
    except (FileNotFoundError, ValueError):
        noted = []
    last = last_alive(folder)
    return [*noted, last] if last else noted


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """No segment is deleted while this lasts, for whoever copies them. Waits for a deletion under way."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextmanager
def deleting(folder: Path) -> Iterator[bool]:
    """Whether segments may be deleted: not while somebody copies them."""
    try:
        with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield True
    except BlockingIOError:
        yield False


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """The folder itself is locked: that takes no room on its disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def last_alive(folder: Path) -> int:
    """When a writer is last known to have lived, UTC ms; 0 where none has."""
    try:
        return (folder / ALIVE).stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return 0


def delivered(folder: Path, segment: int, offset: int) -> None:
    """Note beside the segments how far delivery is, for whoever watches; the database counts. Raises OSError."""
    draft = folder / f"{DELIVERED}.new"
    draft.write_text(f"{segment} {offset}\n")
    draft.rename(folder / DELIVERED)


def undelivered(folder: Path) -> tuple[int, int]:
    """Bytes that wait for delivery, and segments there are; everything where nothing is noted or can be read."""
    try:
        segment, offset = map(int, (folder / DELIVERED).read_text().split())
    except (OSError, ValueError):
        segment = offset = 0
    numbers = segment_numbers(folder)
    waiting = 0
    for number in numbers:
        if number >= segment:
            with suppress(FileNotFoundError):  # delivered and removed meanwhile
                size = segment_path(folder, number).stat().st_size
                waiting += max(0, size - offset) if number == segment else size
    return waiting, len(numbers)
