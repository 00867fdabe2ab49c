"""A call as it is handed on: the names and forms of `GET /api/v1/cdrs/{id}`, for good (docs/cdr-output.md).

Money is text with six places, an instant RFC 3339 in UTC with milliseconds; nothing is ever left out.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import orjson

from sipsvc.rating import text
from sipsvc.store.models import Cdr
from sipsvc.store.types import instant

# What a spreadsheet would take for a formula gets an apostrophe, as in the API's CSV (IP-7).
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
FLAT = (
    "cdr_id", "state", "call_id", "partner", "customer", "customer_name", "trunk", "auth", "source", "dialled", "e164",
    "caller", "caller_shown", "invite_at", "progress_at", "answer_at", "end_at", "duration_ms", "status", "reason",
    "code", "hangup_by", "q850", "recovered", "gateway", "gateway_name", "sent_to", "directory", "answered",
    "counted_at", "sell_prefix", "sell_name", "rating_version", "billed_s", "allowance_s", "granted_s",
    "sell_amount", "sell_currency", "buy_amount", "buy_currency", "margin",
)  # fmt: skip
NESTED = ("sell", "buy", "rated_before", "attempts", "trace", "live")


def document(row: Cdr) -> dict[str, Any]:
    """All of it, as JSON values."""
    told: dict[str, Any] = {}
    for name in (*FLAT, *NESTED):
        value = getattr(row, name)
        if isinstance(value, Decimal):
            value = text(value)
        elif name.endswith("_at") and value is not None:
            value = instant(value)
        told[name] = value
    return told


def json_line(row: Cdr) -> bytes:
    """`document` with LF."""
    return orjson.dumps(document(row), option=orjson.OPT_APPEND_NEWLINE)


def csv_head() -> bytes:
    """The heading."""
    return _csv(FLAT)


def csv_line(row: Cdr) -> bytes:
    """The values of FLAT (RFC 4180): one line, for a line break in a name is escaped."""
    told = document(row)
    return _csv([_cell(told[name]) for name in FLAT])


def _csv(cells: Any) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    said = str(value)
    if isinstance(value, str):
        said = said.replace("\r", "\\r").replace("\n", "\\n")
        # Money is text too, and a margin may be negative.
        if said.startswith(DANGEROUS) and not _number(said):
            said = "'" + said
    return said


def _number(said: str) -> bool:
    return said[:1] == "-" and said[1:].replace(".", "", 1).isascii() and said[1:].replace(".", "", 1).isdigit()
