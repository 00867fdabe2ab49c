"""Minutes of a package on the wire: whose they are, in which month, and that no two calls take the same (PP-2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sipsvc.directory import Package
from sipsvc.effects import Now
from sipsvc.engine.allowance import Allowances
from sipsvc.store.days import month_at
from tests.unit.accounts import FREE, TRUNK, Calls, book, cut
from tests.unit.wire import BEGIN, GATES, answer


@pytest.mark.rule("PP-2", "PP-4")
@pytest.mark.parametrize(
    ("package", "used", "paid", "amount"),
    [
        (FREE, 30, 30, "0.300000"),
        (replace(FREE, minutes=0), 30, 60, "0.000000"),
        (replace(FREE, minutes=0, kind="unlimited_international"), 0, 60, "0.000000"),
        (replace(FREE, free=frozenset({"44"})), 30, 30, "0.300000"),
        (replace(FREE, free=frozenset({"33"})), 30, 0, "0.600000"),
        (replace(FREE, kind="payg"), 30, 0, "0.600000"),
    ],
)
@pytest.mark.parametrize("funds", [None, "5.00"])
def test_59_and_a_half_seconds_with_30_left(
    package: Package, used: int, paid: int, amount: str, funds: str | None
) -> None:
    calls = Calls(book(funds, package))
    calls.wire.engine.allowance_used(TRUNK, "2023-11", used)
    calls.up(1, "44123456")
    calls.wire.wait(59_500)
    calls.hang_up(1)
    end = calls.end(1)
    assert (end["sell"]["billed"], end["sell"].get("allowance", 0), end["sell"]["amount"]) == (60, paid, amount)
    assert end["duration_ms"] == 59_500
    assert (end.get("month"), end.get("trunk")) == (("2023-11", TRUNK) if paid else (None, None))
    assert calls.credit.allowances.used.get((TRUNK, "2023-11"), 0) == used + paid
    assert calls.credit.allowances.held == {}


@pytest.mark.rule("PP-2", "law 6")
@pytest.mark.parametrize("funds", [None, "0"])
def test_calls_at_once_never_take_the_same_minutes(funds: str | None) -> None:
    calls = Calls(book(funds, replace(FREE, minutes=3)))
    told = [calls.dial(number, "44123456") for number in range(4)]
    assert told == ([0, 0, 0, 0] if funds is None else [0, 0, 0, 402])
    assert calls.credit.allowances.held == {(TRUNK, "2023-11"): 180}
    talking = [number for number in range(4) if not told[number]]
    for number in talking:
        calls.pick_up(number)
    calls.wire.wait(60_000)
    for number in talking:
        if funds is None:
            calls.hang_up(number)
    paid = [calls.end(number)["sell"].get("allowance", 0) for number in talking]
    assert sum(paid) == 180
    assert calls.credit.allowances.used == {(TRUNK, "2023-11"): 180}
    assert calls.charged == (Decimal("0.60") if funds is None else 0)


@pytest.mark.rule("PP-2")
def test_minutes_that_another_call_gives_back_pay_before_money() -> None:
    calls = Calls(book("9.00", FREE))
    calls.up(1, "44123456")
    calls.up(2, "44123456")
    assert calls.reserved == Decimal("0.60")
    calls.wire.wait(5_000)
    calls.hang_up(1)
    calls.wire.wait(15_000)
    calls.hang_up(2)
    assert (calls.end(2)["sell"]["allowance"], calls.charged) == (20, 0)


@pytest.mark.rule("PP-2")
def test_without_money_a_call_ends_with_the_minutes() -> None:
    calls = Calls(book("0", replace(FREE, minutes=2)))
    calls.up(1, "44123456")
    calls.wire.wait(200_000)
    assert cut(calls, 1) == ("credit_exhausted", "proxy", 120_000, 120, "0.000000")


def instant(text: str) -> Now:
    return Now(BEGIN.mono, int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000))


@pytest.mark.rule("PP-2")
@pytest.mark.parametrize(
    ("zone", "begin", "ring_ms", "month"),
    [
        # A minute before midnight there, and two minutes of ringing over it.
        ("Europe/Berlin", "2026-11-30T22:59:00", 30_000, "2026-11"),
        ("Europe/Berlin", "2026-11-30T22:59:00", 120_000, "2026-12"),
        ("America/New_York", "2026-12-01T04:59:00", 30_000, "2026-11"),
        ("America/New_York", "2026-12-01T04:59:00", 120_000, "2026-12"),
        ("UTC", "2026-11-30T22:59:00", 120_000, "2026-11"),
        # Summer time ended on 25 October there, and began on 29 March: months begin an hour elsewhere in UTC.
        ("Europe/Berlin", "2026-10-31T22:59:00", 120_000, "2026-11"),
        ("Europe/Berlin", "2026-03-31T21:59:00", 120_000, "2026-04"),
        ("Europe/Berlin", "2026-03-31T22:59:00", 0, "2026-04"),
        # In New York on the 1st of November itself, at 2 in the morning.
        ("America/New_York", "2026-11-01T03:59:00", 120_000, "2026-11"),
        ("America/New_York", "2026-11-01T06:30:00", 0, "2026-11"),
        ("America/New_York", "2026-10-31T23:59:59", 0, "2026-10"),
        # By a midnight that is no month's end.
        ("Europe/Berlin", "2026-11-14T22:59:00", 120_000, "2026-11"),
    ],
)
def test_a_call_counts_in_the_month_of_its_answer_in_its_zone(zone: str, begin: str, ring_ms: int, month: str) -> None:
    calls = Calls(book("5.00", FREE, zone=zone), begin=instant(begin))
    before = "2026-10" if month == "2026-11" else "2026-11"
    calls.wire.engine.allowance_used(TRUNK, before, 60)
    calls.dial(1, "44123456")
    calls.wire.give(answer(calls.invited[1].message, 180), GATES[0])
    calls.wire.wait(ring_ms)
    calls.pick_up(1)
    calls.wire.wait(90_000)
    calls.hang_up(1)
    end = calls.end(1)
    assert (end["month"], end["sell"]["allowance"], end["sell"]["amount"]) == (month, 60, "0.300000")
    assert calls.credit.allowances.used[TRUNK, month] == 60
    assert calls.credit.allowances.held == {}
    assert calls.reserved == 0


@pytest.mark.rule("PP-2")
def test_a_call_of_last_month_costs_the_calls_of_this_one_nothing() -> None:
    """A packet of it is answered without a look at what all trunks used, and so are those behind it."""
    looked: list[int] = []

    def months(zone: str, utc: int) -> tuple[str, int, int]:
        looked.append(utc)
        return month_at(zone, utc)

    allowances = Allowances(months)
    november, december = (instant(text).utc for text in ("2026-11-30T23:59:00", "2026-12-01T00:59:00"))
    assert allowances.month("UTC", december) == "2026-12"
    allowances.use(TRUNK, "2026-12", 60)
    used = allowances.used
    for _ in range(3):
        assert [allowances.month("UTC", utc) for utc in (november, december)] == ["2026-11", "2026-12"]
    assert looked == [december, november, november, november]
    assert allowances.used is used
