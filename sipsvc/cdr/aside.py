"""Calls the database refuses: set aside on disk with their reason, shown, and delivered again when asked for (law 8).

`rejected.log` has a line of JSON a call: `at` (UTC ms), `cdr_id`, `reason`, `records`. Whoever wants another try
renames it to `retry.log`, which the deliverer takes up, for it is the one that writes calls.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

REJECTED = "rejected.log"
RETRY = "retry.log"


def line(at: int, cdr_id: str, reason: str, records: Iterable[bytes]) -> bytes:
    """The line of a call. `records` are JSON as it stood in the log, byte for byte."""
    head = orjson.dumps({"at": at, "cdr_id": cdr_id, "reason": reason})
    return b'%b,"records":[%b]}\n' % (head[:-1], b",".join(records))


def add(folder: Path, lines: bytes) -> None:
    """Put whole lines on disk. Raises OSError."""
    descriptor = os.open(folder / REJECTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        before = os.fstat(descriptor).st_size
        done = os.write(descriptor, lines)
        if done < len(lines):
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / REJECTED))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def listed(folder: Path) -> Iterator[dict[str, Any]]:
    """What is set aside, in order; a line that cannot be read (a disk's fault) has `reason` only."""
    for name in (RETRY, REJECTED):
        with suppress(FileNotFoundError), open(folder / name, "rb") as file:
            for one in file:
                try:
                    yield orjson.loads(one)
                except ValueError:
                    yield {"at": 0, "cdr_id": "", "reason": f"unreadable: {one[:80]!r}", "records": []}


def ask_retry(folder: Path) -> bool:
    """Hand what is set aside to the deliverer; False where there is nothing. An earlier try that waits comes first."""
    if (folder / RETRY).exists():
        return True
    try:
        os.rename(folder / REJECTED, folder / RETRY)
    except FileNotFoundError:
        return False
    return True


def waiting(folder: Path) -> list[bytes]:
    """The lines that are to be tried again."""
    try:
        return (folder / RETRY).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def tried(folder: Path, refused: list[bytes]) -> None:
    """The try is over; `refused` are the lines to be kept. Killed in between it begins again, which changes nothing."""
    if refused:
        add(folder, b"".join(refused))
    (folder / RETRY).unlink()


class Aside:
    """Counts what is set aside; a file is read again only where it grew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, int, int]] = {}

    def count(self) -> int:
        return self._lines(REJECTED) + self._lines(RETRY)

    def _lines(self, name: str) -> int:
        try:
            with open(self._folder / name, "rb") as file:
                found = os.fstat(file.fileno())
                inode, size, lines = self._known.get(name, (0, 0, 0))
                if inode != found.st_ino or size > found.st_size:
                    size = lines = 0
                file.seek(size)
                for data in iter(lambda: file.read(1 << 20), b""):
                    size += len(data)
                    lines += data.count(b"\n")
        except FileNotFoundError:
            self._known.pop(name, None)
            return 0
        self._known[name] = found.st_ino, size, lines
        return lines
