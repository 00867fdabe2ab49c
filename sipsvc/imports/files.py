"""The CSV files of an import, kept compressed: what came, what was rejected, what would change."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable, Iterator

from sqlalchemy.orm import Session

from sipsvc.store.models import ImportFile

UPLOAD, REJECTED, CHANGES = "upload", "rejected", "changes"
LEVEL = 4
FLUSH = 1 << 16
# What a spreadsheet would take for a formula (IP-7).
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class PackedCsv:
    """A CSV file compressed as it is written; `lines` counts those behind the header."""

    def __init__(self, header: Iterable[str]) -> None:
        self.lines = 0
        self._pack = zlib.compressobj(LEVEL)
        self._parts: list[bytes] = []
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(header)

    def write(self, cells: Iterable[object]) -> None:
        self.lines += 1
        self._writer.writerow(cells)
        if self._text.tell() >= FLUSH:
            self._flush()

    def finish(self) -> bytes:
        """The whole, compressed."""
        self._flush()
        return b"".join([*self._parts, self._pack.flush()])

    def _flush(self) -> None:
        # What came as a lone surrogate from no file that was UTF-8 cannot be here.
        self._parts.append(self._pack.compress(self._text.getvalue().encode()))
        self._text.seek(0)
        self._text.truncate()


def pack(content: bytes) -> bytes:
    return zlib.compress(content, LEVEL)


def unpack(content: bytes) -> bytes:
    return zlib.decompress(content)


def pieces(content: bytes) -> Iterator[bytes]:
    """A packed file in parts, as it is sent."""
    unpacking = zlib.decompressobj()
    while content:
        yield unpacking.decompress(content, FLUSH)
        content = unpacking.unconsumed_tail
    yield unpacking.flush()


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs."""
    return f"'{text}" if text.startswith(FORMULA) else text


def store(session: Session, import_id: str, role: str, packed: bytes) -> None:
    """Keep a file, in place of one that was there."""
    session.merge(ImportFile(import_id=import_id, role=role, content=packed))


def load(session: Session, import_id: str, role: str) -> bytes | None:
    """A packed file."""
    found = session.get(ImportFile, (import_id, role))
    return None if found is None else found.content
