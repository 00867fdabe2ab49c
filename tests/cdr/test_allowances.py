"""What allowances paid for is counted with the row it is of: once, whatever is delivered again (PP-2, law 8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from sipsvc.cdr.deliver import DatabaseAway
from sipsvc.store.models import AllowanceUsed, DeliveryPosition
from tests.cdr.records import end, priced, whole_call
from tests.cdr.test_deliver import deliverer, drain, engine, folder, rows, segment, settings

__all__ = ["engine", "folder", "settings"]


def call(number: int, allowance: int, month: str) -> list[dict[str, Any]]:
    sell = priced("0.020000", 60, "0.000000") | {"allowance": allowance}
    start, answer, _ = whole_call(number)
    return [start | {"trunk": "office"}, answer, end(number, 61_000, sell=sell, month=month, granted_s=600)]


def used(engine: Engine) -> dict[str, int]:
    with Session(engine) as session:
        theirs = select(AllowanceUsed).where(AllowanceUsed.trunk == "office")
        return {row.month: row.seconds for row in session.scalars(theirs)}


@pytest.mark.rule("PP-2", "law 8")
def test_a_log_delivered_again_uses_nothing_twice(folder: Path, engine: Engine) -> None:
    over, begun = call(1, 45, "2026-09"), call(2, 60, "2026-10")
    segment(folder, 1, [*over, *begun[:2]])
    assert drain(deliverer(folder, engine)) == 1
    assert used(engine) == {"2026-09": 45}
    with Session(engine) as session, session.begin():
        session.execute(delete(DeliveryPosition))
    segment(folder, 1, [begun[2], *call(3, 15, "2026-09"), *call(4, 0, "2026-09")])
    assert drain(deliverer(folder, engine)) == 4
    assert used(engine) == {"2026-09": 60, "2026-10": 60}
    stored = rows(engine)["cdr-000002"]
    assert (stored.allowance_s, stored.granted_s) == (60, 600)


@pytest.mark.rule("PP-2", "law 8")
def test_a_transaction_that_fails_counts_nothing_and_the_next_counts_it(folder: Path, engine: Engine) -> None:
    segment(folder, 1, call(1, 45, "2026-09"))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE delivery_position RENAME TO gone")
    one = deliverer(folder, engine)
    with pytest.raises(DatabaseAway):
        one.step()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO delivery_position")
    assert used(engine) == {}
    assert drain(one) == 1
    assert used(engine) == {"2026-09": 45}


@pytest.mark.rule("PP-2", "law 8")
def test_a_row_that_the_database_refuses_takes_no_others_seconds_along(folder: Path, engine: Engine) -> None:
    bad = call(2, 30, "2026-09")
    bad[2]["sell"]["amount"] = "99999999999999"
    segment(folder, 1, [*call(1, 45, "2026-09"), *bad, *call(3, 5, "2026-09")])
    one = deliverer(folder, engine)
    drain(one)
    assert one.rejected == 1
    assert used(engine) == {"2026-09": 50}
