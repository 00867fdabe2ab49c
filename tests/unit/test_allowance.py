"""Minutes that pay first, and how far an amount reaches (PP-2, PP-4; DOMAIN, charge a call)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import PriceRow
from sipsvc.rating import ZERO, Settled, buys, charge, cost, settle, stepped


def row(rate: str, steps: str = "1/1", fee: str = "0") -> PriceRow:
    initial, increment = map(int, steps.split("/"))
    return PriceRow(1, "44", "to 44", Decimal(rate), Decimal(fee), initial, increment)


@pytest.mark.rule("PP-2", "PP-4", "TP-2", "TP-3")
@pytest.mark.parametrize(
    ("ms", "price", "minimum", "left", "granted", "billed", "paid", "amount"),
    [
        # 59.5 s with 30 s left, and without end.
        (59_500, row("0.06"), "0", 30, None, 60, 30, "0.030000"),
        (59_500, row("0.06"), "0", None, None, 60, 60, "0"),
        (59_500, row("0.06", fee="0.10"), "0.50", None, None, 60, 60, "0"),
        # Wholly inside, to the second: no fee and no minimum.
        (60_000, row("0.06", fee="0.10"), "0.50", 60, None, 60, 60, "0"),
        (60_001, row("0.06", fee="0.10"), "0", 60, None, 61, 60, "0.101000"),
        (60_001, row("0.06", fee="0.10"), "0.50", 60, None, 61, 60, "0.500000"),
        # Increments are counted from the start of the call, not from where the minutes end.
        (61_000, row("0.06", "60/60"), "0", 90, None, 120, 90, "0.030000"),
        (91_000, row("0.06", "60/60"), "0", 90, None, 120, 90, "0.030000"),
        (31_000, row("0.06", "30/6"), "0", 30, None, 36, 30, "0.006000"),
        # Nothing left, or nothing to pay for.
        (61_000, row("0.01"), "0.01", 0, None, 61, 0, "0.010167"),
        (61_000, row("0"), "0.01", 30, None, 61, 30, "0"),
        (None, row("13", fee="1"), "1", 30, 60, 0, 0, "0"),
        # Cut for credit: not more than was granted, however late it ended.
        (120_700, row("0.50", "60/60"), "0", 0, 120, 120, 0, "1.000000"),
        (45_020, row("0.50", "60/60"), "0", 45, 45, 45, 45, "0"),
        (3_000, row("0.50", fee="1"), "1", 0, 0, 0, 0, "0"),
    ],
)
def test_the_minutes_left_pay_first(
    ms: int | None,
    price: PriceRow,
    minimum: str,
    left: int | None,
    granted: int | None,
    billed: int,
    paid: int,
    amount: str,
) -> None:
    settled = settle(ms, price, Decimal(minimum), allowance_s=left, granted_s=granted)
    assert settled == Settled(billed, Decimal(amount), paid)


@pytest.mark.parametrize(
    ("amount", "price", "minimum", "left", "seconds"),
    [
        ("1.00", row("0.50", "60/60"), "0", 0, 120),
        ("0.999999", row("0.50", "60/60"), "0", 0, 60),
        ("0.499999", row("0.50", "60/60"), "0", 0, 0),
        ("1.00", row("0.50", "60/60", fee="0.000001"), "0", 0, 60),
        ("0.175", row("0.05", fee="0.15"), "0", 0, 30),
        ("0.05", row("0.01"), "0.06", 0, 0),
        ("0.06", row("0.01"), "0.06", 0, 360),
        ("-3", row("0.01"), "0", 0, 0),
        # 45 free seconds: 15 more make the minute whole, and cost a quarter of it.
        ("0.125", row("0.50", "60/60"), "0", 45, 60),
        ("0.124999", row("0.50", "60/60"), "0", 45, 45),
        ("0", row("0.50", "60/60"), "0", 45, 45),
        ("0", row("0"), "0", 0, None),
        ("0.10", row("0", fee="0.10"), "0", 0, None),
        ("0.09", row("0", fee="0.10"), "0", 7, 7),
    ],
)
def test_what_an_amount_buys(amount: str, price: PriceRow, minimum: str, left: int, seconds: int | None) -> None:
    assert buys(Decimal(amount), price, Decimal(minimum), allowance_s=left) == seconds


def money(most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most).map(lambda number: Decimal(number).scaleb(-6))


STEPS = st.tuples(st.integers(1, 90), st.integers(1, 90))
ROWS = st.builds(
    lambda rate, fee, steps: PriceRow(1, "44", "", rate, fee, *steps),
    money(3_000_000).filter(bool),
    money(2_000_000),
    STEPS,
)


@given(ROWS, money(50_000_000), money(100_000), st.integers(0, 400))
def test_what_was_bought_is_affordable_and_one_step_more_is_not(
    price: PriceRow, have: Decimal, minimum: Decimal, left: int
) -> None:
    seconds = buys(have, price, minimum, allowance_s=left)
    assert seconds is not None
    assert seconds >= left
    assert cost(seconds - left, price, minimum) <= have
    following = stepped(seconds + 1, price)
    assert cost(following - left, price, minimum) > have
    if seconds > left:
        assert stepped(seconds, price) == seconds


@given(ROWS, money(50_000_000), st.integers(0, 400), st.integers(0, 4_000_000))
def test_a_call_costs_what_was_reserved_for_it_at_most(price: PriceRow, have: Decimal, left: int, ms: int) -> None:
    granted = buys(have, price, allowance_s=left)
    settled = settle(ms, price, allowance_s=left, granted_s=granted)
    assert granted is not None
    assert settled.billed <= granted
    assert ZERO <= settled.amount <= have
    assert settled.allowance <= left


@given(ROWS, money(100_000), st.integers(0, 4_000_000))
def test_without_minutes_it_is_the_plain_charge(price: PriceRow, minimum: Decimal, ms: int) -> None:
    assert settle(ms, price, minimum)[:2] == charge(ms, price, minimum)
    plain = charge(ms, price, minimum)
    assert settle(ms, price, minimum, granted_s=plain.billed)[:2] == plain
