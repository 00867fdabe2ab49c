"""Imports are applied whole or not at all, at their time, and can be taken back; their states follow."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from sipsvc.imports import files, steps
from sipsvc.imports.steps import Refused
from sipsvc.store import prices
from sipsvc.store.changes import Changes, entries, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import CoverageRow, Gateway, History, Import, PriceList, PriceRow
from tests.imports.world import SOMEBODY, LocalStep, applied, in_force, state, upload

NOW = utc_now()
HOUR = timedelta(hours=1)
FIRST = "prefix,name,rate\n44,UK,0.01\n33,France,0.02\n"
SECOND = "prefix,name,rate\n44,UK,0.03\n49,Germany,0.02\n"
UK = ("UK", Decimal("0.01"))
FRANCE = ("France", Decimal("0.02"))
GERMANY = ("Germany", Decimal("0.02"))
DEAR_UK = ("UK", Decimal("0.03"))


def there(engine: Engine, at: datetime, target_id: str = "alpha") -> dict[str, tuple[str, Decimal]]:
    return in_force(engine, Gateway, target_id, at)


def apply(
    engine: Engine, import_id: str, *, at: datetime, begin: datetime | None = None, accept: bool = False
) -> LocalStep:
    step = LocalStep(engine, at)
    steps.apply(step, import_id, effective_from=begin, accept_rejected=accept)
    return step


def undo(engine: Engine, import_id: str, at: datetime) -> LocalStep:
    step = LocalStep(engine, at)
    steps.undo(step, import_id)
    return step


@pytest.mark.rule("TG-7")
def test_full_ends_what_is_not_in_it_and_partial_leaves_it(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", FIRST, at=NOW)
    applied(engine, Gateway, "alpha", "prefix,name,rate\n44,UK,0.03\n", mode="partial", at=NOW + HOUR)
    assert there(engine, NOW + HOUR) == {"44": DEAR_UK, "33": FRANCE}
    applied(engine, Gateway, "alpha", SECOND, at=NOW + 2 * HOUR)
    assert there(engine, NOW + 2 * HOUR) == {"44": DEAR_UK, "49": GERMANY}
    assert there(engine, NOW) == {"44": UK, "33": FRANCE}
    assert there(engine, NOW, "beta") == {}


@pytest.mark.rule("TG-7")
def test_a_price_that_stays_keeps_its_row(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", FIRST, at=NOW)
    with Session(engine) as session:
        before = {row.prefix: row.id for row in session.scalars(select(CoverageRow))}
    applied(engine, Gateway, "alpha", FIRST.replace("0.02", "0.05"), at=NOW + HOUR)
    with Session(engine) as session:
        rows = session.scalars(select(CoverageRow).where(CoverageRow.valid_to.is_(None)))
        after = {row.prefix: (row.id, row.changed) for row in rows}
        version = session.get_one(Gateway, "alpha").rows_version
    assert after["44"][0] == before["44"] and after["33"][0] != before["33"]
    assert after["33"][1] == version > after["44"][1]


@pytest.mark.rule("TG-7", "UI-2")
def test_states_and_history(engine: Engine) -> None:
    first = upload(engine, Gateway, "alpha", FIRST, at=NOW)
    item = state(engine, first)
    assert (item.status, item.rows, item.rejected, item.size) == ("validated", 2, 0, len(FIRST))
    step = apply(engine, first, at=NOW)
    del step.result["effective_from"]
    assert step.result == {"status": "applied", "new": 2, "changed": 0, "gone": 0, "same": 0}
    assert step.percents == sorted(step.percents)
    second = applied(engine, Gateway, "alpha", SECOND, at=NOW + HOUR)
    assert [state(engine, one).status for one in (first, second)] == ["superseded", "applied"]
    assert (state(engine, second).effective_from, state(engine, second).applied_at) == (NOW + HOUR, NOW + HOUR)
    assert undo(engine, second, NOW + 2 * HOUR).result == {"status": "undone", "ended": 2, "restored": 2}
    assert [state(engine, one).status for one in (first, second)] == ["applied", "undone"]
    with Session(engine) as session:
        told = [(entry.action, entry.actor, entry.address) for entry in entries(session, "gateway", "alpha")][1:]
        rows = [entry.changes["rows"][1] for entry in entries(session, "gateway", "alpha") if entry.action == "rows"]
        moves = [entry.changes["status"] for entry in entries(session, "import", second)]
    assert told == [("rows", "token-of-ann", "192.0.2.7")] * 3
    assert [said.partition(": ")[2] for said in rows] == [
        "2 new, 0 changed, 0 gone, 0 same", "1 new, 1 changed, 1 gone, 0 same", "2 ended, 2 in force again",
    ]  # fmt: skip
    assert moves == [[None, "uploaded"], ["uploaded", "validated"], ["validated", "applied"], ["applied", "undone"]]


def test_what_is_the_same_is_applied_without_a_trace_in_the_list(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", FIRST, at=NOW)
    with Session(engine) as session:
        before = session.get_one(Gateway, "alpha").version
    again = applied(engine, Gateway, "alpha", FIRST, at=NOW + HOUR)
    with Session(engine) as session:
        assert session.get_one(Gateway, "alpha").version == before
    assert state(engine, again).status == "applied"


@pytest.mark.rule("TG-7")
def test_an_import_that_begins_later(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", FIRST, at=NOW)
    later = NOW + 24 * HOUR
    second = applied(engine, Gateway, "alpha", SECOND, at=NOW + HOUR, begin=later)
    assert there(engine, later - timedelta(milliseconds=1)) == {"44": UK, "33": FRANCE}
    assert there(engine, later) == {"44": DEAR_UK, "49": GERMANY}
    third = upload(engine, Gateway, "alpha", FIRST, at=NOW + HOUR)
    for begin in (None, later - HOUR):
        with pytest.raises(Refused, match="begin or end at"):
            apply(engine, third, at=NOW + 2 * HOUR, begin=begin)
    undo(engine, second, NOW + 3 * HOUR)
    assert there(engine, later) == {"44": UK, "33": FRANCE}
    with Session(engine) as session:
        restored = session.scalars(select(CoverageRow).where(CoverageRow.valid_to.is_(None)))
        assert {row.valid_from for row in restored} == {NOW}
    apply(engine, third, at=NOW + 4 * HOUR)
    assert state(engine, third).status == "applied"


def test_rows_that_only_end_later_are_a_horizon_too(engine: Engine) -> None:
    """A new price of such a destination would overlap the one that still runs."""
    applied(engine, Gateway, "alpha", FIRST, at=NOW)
    applied(engine, Gateway, "alpha", "prefix,name,rate\n44,UK,0.01\n", at=NOW + HOUR, begin=NOW + 24 * HOUR)
    third = upload(engine, Gateway, "alpha", FIRST, at=NOW + HOUR)
    with pytest.raises(Refused, match="begin or end at"):
        apply(engine, third, at=NOW + 2 * HOUR)
    apply(engine, third, at=NOW + 2 * HOUR, begin=NOW + 24 * HOUR)
    assert there(engine, NOW + 24 * HOUR) == {"44": UK, "33": FRANCE}


def test_what_cannot_be_applied(engine: Engine) -> None:
    good = upload(engine, Gateway, "alpha", FIRST, at=NOW)
    with pytest.raises(Refused, match="is in the past"), Session(engine) as session:
        steps.check_apply(
            session, session.get_one(Import, good), effective_from=NOW - HOUR, accept_rejected=False, now=NOW
        )
    bad = upload(engine, Gateway, "alpha", FIRST + "x,y,z\n", at=NOW)
    with pytest.raises(Refused, match="1 rows of the file were rejected"):
        apply(engine, bad, at=NOW)
    apply(engine, bad, at=NOW, accept=True)
    assert there(engine, NOW) == {"44": UK, "33": FRANCE}
    with pytest.raises(Refused, match="the import is applied; only a validated one"):
        apply(engine, bad, at=NOW)
    with pytest.raises(Refused, match="the import is validated; only an applied one"):
        undo(engine, good, NOW)
    nothing = upload(engine, Gateway, "alpha", "prefix,name,rate\nx,y,z\n", at=NOW)
    with pytest.raises(Refused, match="no row of the file is good"):
        apply(engine, nothing, at=NOW, accept=True)


@pytest.mark.rule("TG-7")
@pytest.mark.parametrize("content", [b"prefix,name\n", b"prefix,name,rate\n", b"\xff\xfe", b""])
def test_a_file_that_cannot_be_read_is_invalid(engine: Engine, content: bytes) -> None:
    item = state(engine, upload(engine, Gateway, "alpha", content))
    assert item.status == "invalid"
    assert item.error.startswith("the file ")


def test_only_the_newest_can_be_undone_and_then_the_one_before(engine: Engine) -> None:
    first = applied(engine, Gateway, "alpha", FIRST, at=NOW)
    second = applied(engine, Gateway, "alpha", SECOND, at=NOW + HOUR)
    third = applied(engine, Gateway, "alpha", FIRST.replace("0.02", "0.07"), at=NOW + 2 * HOUR)
    with pytest.raises(Refused, match=f"the import {third} was applied later"):
        undo(engine, second, NOW + 3 * HOUR)
    undo(engine, third, NOW + 3 * HOUR)
    assert there(engine, NOW + 3 * HOUR) == {"44": DEAR_UK, "49": GERMANY}
    undo(engine, second, NOW + 4 * HOUR)
    assert there(engine, NOW + 4 * HOUR) == {"44": UK, "33": FRANCE}
    undo(engine, first, NOW + 5 * HOUR)
    assert there(engine, NOW + 5 * HOUR) == {}
    assert there(engine, NOW + 2 * HOUR) == {"44": UK, "33": ("France", Decimal("0.07"))}


def test_undo_leaves_what_was_set_otherwise_since(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", FIRST + "49,Germany,0.02\n39,Italy,0.02\n", at=NOW)
    text = "prefix,name,rate\n44,UK,0.03\n33,France,0.03\n49,Germany,0.03\n39,Italy,0.03\n"
    second = applied(engine, Gateway, "alpha", text, at=NOW + HOUR)
    moment = NOW + 2 * HOUR
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY, moment)
        gateway = session.get_one(Gateway, "alpha")
        dear = {
            "name": "UK",
            "rate": Decimal(1),
            "fee": Decimal(0),
            "initial": 1,
            "increment": 1,
            "country": "",
            "kind": "",
        }
        prices.set_price(changes, gateway, "44", "", dear)
        prices.end_price(changes, gateway, "33", "")
        prices.end_price(changes, gateway, "49", "", moment + 10 * HOUR)
    undo(engine, second, NOW + 3 * HOUR)
    assert there(engine, NOW + 3 * HOUR) == {
        "44": ("UK", Decimal(1)), "49": ("Germany", Decimal("0.03")), "39": ("Italy", Decimal("0.02"))
    }  # fmt: skip
    assert there(engine, NOW + 20 * HOUR) == {"44": ("UK", Decimal(1)), "39": ("Italy", Decimal("0.02"))}


@pytest.mark.parametrize("table", ["coverage_row", "rate_import", "history"])
def test_an_apply_that_breaks_changes_nothing(engine: Engine, table: str) -> None:
    applied(engine, Gateway, "alpha", FIRST, at=NOW)
    second = upload(engine, Gateway, "alpha", SECOND, at=NOW + HOUR)
    with Session(engine) as session:
        before = len(session.scalars(select(History)).all())

    def break_off(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith((f"UPDATE {table} ", f"INSERT INTO {table} ")):
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", break_off)
    with pytest.raises(KeyboardInterrupt):
        apply(engine, second, at=NOW + HOUR)
    event.remove(engine, "before_cursor_execute", break_off)
    assert there(engine, NOW + HOUR) == {"44": UK, "33": FRANCE}
    assert state(engine, second).status == "validated"
    with Session(engine) as session:
        assert len(session.scalars(select(History)).all()) == before
    apply(engine, second, at=NOW + HOUR)
    assert there(engine, NOW + HOUR) == {"44": DEAR_UK, "49": GERMANY}


def test_files_are_kept_as_they_came(engine: Engine) -> None:
    text = FIRST + "x,y,z\n"
    import_id = upload(engine, PriceList, "retail", text)
    with Session(engine) as session:
        packed = files.load(session, import_id, files.UPLOAD)
        assert packed is not None and files.unpack(packed).decode() == text
        assert b"".join(files.pieces(packed)).decode() == text
        assert files.load(session, import_id, files.REJECTED) is not None
    assert state(engine, import_id).preview["faults"][0] == {
        "row": 4, "column": "rate", "value": "z",
        "reason": "is not an amount such as 0.0125 (digits and a decimal point, below 100000000)",
    }  # fmt: skip


def test_amounts_are_exact(engine: Engine) -> None:
    text = "prefix,name,rate,fee\n44,UK,12345678.123456,0.000001\n"
    applied(engine, PriceList, "retail", text, at=NOW)
    with Session(engine) as session:
        (row,) = session.scalars(select(PriceRow))
        assert (str(row.rate), str(row.fee), row.source_row, row.markup) == ("12345678.123456", "0.000001", None, None)
