"""Money on the way to the worker: what was charged when it begins, and payments as they are made."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from sipsvc.feed import source as source_room
from sipsvc.feed.intake import Intake, Spent
from sipsvc.store import cdrs, ledger
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import writing
from sipsvc.store.models import Customer
from tests.cdr import records
from tests.feed.test_source import Pair, both, same
from tests.store.conftest import engine, write_bundle

__all__ = ["both", "engine", "write_bundle"]


@pytest.mark.rule("law 8")
def test_a_worker_that_begins_is_told_of_every_charge(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many messages as it takes, of one state with the log's position, whoever may be watched for today."""
    monkeypatch.setattr(source_room, "CHARGED", 2)
    rows = [records.whole_call(number) for number in range(5)]
    with writing(both.engine) as session:
        for number, (first, _, over) in enumerate(rows):
            cdrs.upsert(session, [cdrs.merge(first | {"customer": f"c{number}"}, None, over)])
        cdrs.set_position(session, "cdr-00000003.log", 7)
    both.all()
    wanted = tuple((f"c{number}", "USD", "0.020000") for number in range(5))
    assert both.intake.spent == Spent([], "cdr-00000003.log", 7, charged=wanted)


@pytest.mark.rule("law 8")
def test_what_many_messages_tell_is_taken_in_as_fast_as_they_come(tmp_path: Path) -> None:
    """A worker that begins takes no calls meanwhile. A copy of all for each message takes ten times as long as this."""
    intake, many = Intake(tmp_path), 30_000
    intake._apply({"begin": 1})
    began = time.process_time()
    for number in range(many):
        told = {"charged": [[f"c{number}", "USD", "1"]], "used": [[f"t{number}", "2026-11", 1]]}
        intake._apply(told | {"upto": ["", number]})
    assert time.process_time() - began < 2
    spent = intake.spent
    assert spent is not None
    assert (len(spent.charged), len(spent.used), spent.offset) == (many, many, many - 1)
    assert (spent.charged[-1], spent.used[0]) == (("c29999", "USD", "1"), ("t0", "2026-11", 1))
    # A feed that died before the first commit begins again, and nothing counts twice.
    intake._apply({"begin": 2})
    assert intake.spent is None


@pytest.mark.rule("law 3")
def test_a_payment_is_live_like_any_edit(both: Pair) -> None:
    assert both.all().customers["acme"].funds == 0
    with writing(both.engine) as session:
        ledger.post(
            Changes(session, LOCAL), session.get_one(Customer, "acme"), kind="payment", source=("payment", "1"),
            amount=Decimal("12.5"), against="payments:partner", gives=True,
        )  # fmt: skip
    assert both.changes().customers["acme"].funds == Decimal("12.5")
    same(both.intake.directory, both.engine)
