"""How much of its allowance each account used in a month (PP-2): added to with each call's row, read by whoever asks.

The month is the one the engine counted the call in, by its customer's clock at the answer, and stands in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from sipsvc.store.models import AllowanceUsed

Row = dict[str, Any]
DAY = timedelta(days=1)


def use_allowances(session: Session, rows: Sequence[Row]) -> None:
    """Count the seconds that allowances paid for of calls that ended by this transaction: `rows` of `cdrs.merge`."""
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        seconds = (row["sell"] or {}).get("allowance", 0)
        if seconds > 0:
            # A record without its month still counts: the call is worth more than the hours between zones.
            month = row["sell"].get("month") or month_of(row["counted_at"])
            sums[row["trunk"], month] = sums.get((row["trunk"], month), 0) + seconds
    if not sums:
        return
    insert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(AllowanceUsed)
    add = insert.on_conflict_do_update(
        index_elements=["trunk", "month"],
        set_={"seconds": AllowanceUsed.seconds + insert.excluded.seconds},
    )
    # In one order, so that two that write never wait for each other.
    counted = [{"trunk": trunk, "month": month, "seconds": sums[trunk, month]} for trunk, month in sorted(sums)]
    session.connection().execute(add, counted)


def used_since_last_month(session: Session, now: datetime) -> Iterator[tuple[str, str, int]]:
    """Account, month and seconds, of the months that are the present one anywhere at `now`, and of the one before."""
    first = (now - DAY).replace(day=1)
    found = select(AllowanceUsed.trunk, AllowanceUsed.month, AllowanceUsed.seconds)
    for trunk, month, seconds in session.execute(found.where(AllowanceUsed.month >= month_of(first - DAY))):
        yield trunk, month, int(seconds)


def used(session: Session, trunk: str, month: str) -> int:
    """The seconds that one account used in a month."""
    row = session.get(AllowanceUsed, (trunk, month))
    return 0 if row is None else row.seconds


def month_of(at: datetime) -> str:
    """Such as `2026-11`, in the zone of `at`."""
    return f"{at:%Y-%m}"
