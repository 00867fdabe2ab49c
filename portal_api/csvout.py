"""CSV that a spreadsheet opens without running anything in it (IP-7; RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from fastapi.responses import StreamingResponse

from portal_api.negotiation import CSV
from sipsvc.rating import text
from sipsvc.store.types import instant

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
BATCH = 200


def lines(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """A heading and a line a row, in pieces of some hundred lines."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        writer.writerow([cell(row[column]) for column in columns])
        if number % BATCH == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def response(name: str, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> StreamingResponse:
    """A file of that name, sent as its rows come."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(lines(columns, rows), media_type=f"{CSV}; charset=utf-8", headers=disposition)


def cell(value: Any) -> str:
    """Text that would be a formula gets an apostrophe; numbers, money and instants stay what they are."""
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + value if value.startswith(DANGEROUS) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, datetime):
        return instant(value)
    return orjson.dumps(value).decode()


def _taken(buffer: io.StringIO) -> bytes:
    # Half a surrogate pair cannot be stored, so this never replaces anything but on purpose.
    said = buffer.getvalue().encode("utf-8", "replace")
    buffer.seek(0)
    buffer.truncate()
    return said
