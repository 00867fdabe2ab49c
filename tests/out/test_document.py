"""A call as it is handed on is the call as the API shows it, in JSON and in CSV (law 8)."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal_api.cdrs.schemas import CdrView
from sipsvc.out.document import FLAT, NESTED, csv_head, csv_line, document, json_line
from sipsvc.store.models import Cdr
from tests.cdr.records import answer, end, late, refused, start, whole_call
from tests.out.conftest import Log


def rows(log: Log, *records: dict[str, Any]) -> list[Cdr]:
    log.write(*records)
    with Session(log.engine) as session:
        return list(session.scalars(select(Cdr).order_by(Cdr.sequence)))


def read(row: Cdr) -> dict[str, str]:
    """As a program that knows RFC 4180 reads it."""
    text = (csv_head() + csv_line(row)).decode()
    assert text.count("\r\n") == text.count("\n") == 2
    (found,) = csv.DictReader(io.StringIO(text, newline=""))
    return found


@pytest.mark.rule("law 8")
def test_it_is_what_the_api_shows(log: Log) -> None:
    found = rows(log, *whole_call(1), late(1), refused(2), start(3), answer(3), end(3, margin="-0.010000"))
    assert len(found) == 3
    for row in found:
        assert document(row) == CdrView.model_validate(row).model_dump(mode="json")
        line = json_line(row)
        assert line.endswith(b"}\n") and line.count(b"\n") == 1
        assert orjson.loads(line) == document(row)
    told = document(found[0])
    assert told["sell_amount"] == "0.020000"
    assert told["end_at"] == "2026-09-21T14:14:21.000Z"
    assert list(told) == [*FLAT, *NESTED]


@pytest.mark.rule("law 8", "IP-7")
def test_a_line_of_csv_holds_the_same_and_runs_nothing(log: Log) -> None:
    strange = {
        "caller_shown": "=cmd|' /C calc'!A0",
        "customer_name": 'A "B", C\r\nD',
        "dialled": "+4420",
        "caller": "-1-",
    }
    found = rows(log, start(1, **strange), answer(1), end(1, 61_000, margin="-0.010000", q850=None), refused(2))
    told = read(found[0])
    assert list(told) == list(FLAT)
    assert told["caller_shown"] == "'=cmd|' /C calc'!A0"
    assert told["customer_name"] == 'A "B", C\\r\\nD'
    assert (told["dialled"], told["caller"], told["margin"]) == ("'+4420", "'-1-", "-0.010000")
    assert (told["partner"], told["customer"], told["sell_amount"], told["billed_s"]) == (
        "demo",
        "acme",
        "0.020000",
        "60",
    )
    assert (told["answered"], told["q850"], told["end_at"]) == ("true", "", "2026-09-21T14:14:21.000Z")
    assert (read(found[1])["answered"], read(found[1])["sell_amount"]) == ("false", "")
