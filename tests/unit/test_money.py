"""What a call costs, to the last of six places (DOMAIN's charge table is `CHARGES`)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import PriceRow
from sipsvc.rating import ZERO, charge, first_minute, half_up, text

MICRO = 1_000_000


def price(rate: str | Decimal, initial: int = 1, increment: int = 1, fee: str | Decimal = "0") -> PriceRow:
    return PriceRow(1, "44", "United Kingdom", Decimal(rate), Decimal(fee), initial, increment)


def rounded(amount: Fraction) -> Fraction:
    """Half up to six places, the schoolbook way; amounts are never negative here."""
    return Fraction(floor(amount * MICRO + Fraction(1, 2)), MICRO)


def expected(ms: int, row: PriceRow, minimum: Decimal) -> tuple[int, Fraction]:
    """The sentence of the rule, done step by step in exact fractions."""
    seconds = ms // 1000 + (1 if ms % 1000 else 0)
    billed = row.initial
    while billed < seconds:
        billed += row.increment
    if row.rate == 0 and row.fee == 0:
        return billed, Fraction(0)
    raw = rounded(Fraction(row.fee) + Fraction(row.rate) * billed / 60)
    return billed, max(raw, Fraction(minimum))


CHARGES = [
    # ms, rate, initial, increment, fee, minimum, billed seconds, amount
    (5_000, "0.01", 1, 1, "0", "0.01", 5, "0.010000"),
    (61_000, "0.01", 1, 1, "0", "0.01", 61, "0.010167"),
    (60_001, "0.01", 60, 60, "0", "0.01", 120, "0.020000"),
    (32_000, "0.006", 30, 6, "0", "0", 36, "0.003600"),
    (57_000, "0.006", 30, 6, "0", "0", 60, "0.006000"),
    (75_000, "0.006", 30, 6, "0", "0", 78, "0.007800"),
    (30_000, "0.05", 1, 1, "0.15", "0", 30, "0.175000"),
    (7_200_000, "13", 60, 60, "0", "0", 7_200, "1560.000000"),
    (3_600_000, "0", 1, 1, "0", "0.01", 3_600, "0.000000"),
    # At the edges of a second and of an increment.
    (0, "0.06", 1, 1, "0", "0", 1, "0.001000"),
    (1, "0.06", 1, 1, "0", "0", 1, "0.001000"),
    (1_000, "0.06", 1, 1, "0", "0", 1, "0.001000"),
    (1_001, "0.06", 1, 1, "0", "0", 2, "0.002000"),
    (60_000, "0.01", 60, 60, "0", "0", 60, "0.010000"),
    (30_000, "0.006", 30, 6, "0", "0", 30, "0.003000"),
    (30_001, "0.006", 30, 6, "0", "0", 36, "0.003600"),
    (36_000, "0.006", 30, 6, "0", "0", 36, "0.003600"),
    # Exactly half of the last place goes up, less than half goes down; once, at the end.
    (30_000, "0.000001", 30, 30, "0", "0", 30, "0.000001"),
    (29_000, "0.000001", 1, 1, "0", "0", 29, "0.000000"),
    (90_000, "0.000001", 90, 1, "0", "0", 90, "0.000002"),
    # A fee alone is a price; the minimum applies to it.
    (10_000, "0", 1, 1, "0.005", "0.01", 10, "0.010000"),
    (10_000, "0", 1, 1, "0.05", "0.01", 10, "0.050000"),
    (10_000, "0.000001", 1, 1, "0", "0.25", 10, "0.250000"),
]


@pytest.mark.rule("TP-2", "TP-3")
@pytest.mark.parametrize(("ms", "rate", "initial", "increment", "fee", "minimum", "billed", "amount"), CHARGES)
def test_charge(
    ms: int, rate: str, initial: int, increment: int, fee: str, minimum: str, billed: int, amount: str
) -> None:
    got = charge(ms, price(rate, initial, increment, fee), Decimal(minimum))
    assert (got.billed, text(got.amount)) == (billed, amount)


@pytest.mark.rule("TP-3")
def test_minimum_lifts_a_small_charge_and_leaves_a_large_one() -> None:
    row = price("0.01")
    assert text(charge(5_000, row).amount) == "0.000833"
    assert text(charge(5_000, row, Decimal("0.01")).amount) == "0.010000"
    assert text(charge(120_000, row, Decimal("0.01")).amount) == "0.020000"


@pytest.mark.rule("TP-3")
def test_unanswered_costs_nothing_whatever_the_minimum_and_fee() -> None:
    assert charge(None, price("1", 60, 60, "5"), Decimal(9)) == (0, ZERO)


amounts = st.integers(0, 20 * MICRO).map(lambda micro: Decimal(micro).scaleb(-6))
seconds = st.integers(1, 180)
durations = st.integers(0, 4 * 3_600_000)
rows = st.builds(price, amounts, seconds, seconds, amounts)


@pytest.mark.rule("TP-2", "TP-3")
@given(durations, rows, amounts)
def test_charge_is_exact(ms: int, row: PriceRow, minimum: Decimal) -> None:
    got = charge(ms, row, minimum)
    assert (got.billed, Fraction(got.amount)) == expected(ms, row, minimum)
    assert got.amount.as_tuple().exponent == -6


@given(durations, durations, rows, amounts)
def test_longer_never_costs_less(one: int, other: int, row: PriceRow, minimum: Decimal) -> None:
    short, long = (charge(ms, row, minimum) for ms in sorted((one, other)))
    assert short.billed <= long.billed
    assert short.amount <= long.amount


@pytest.mark.rule("TP-2")
@given(durations, rows)
def test_billed_covers_the_call_and_never_more_than_one_increment_over(ms: int, row: PriceRow) -> None:
    billed = charge(ms, row).billed
    assert billed * 1000 >= ms
    assert (billed - row.initial) % row.increment == 0
    if billed > row.initial:
        # One increment less would not have covered it: the second it falls in is billed whole.
        assert (billed - row.increment) * 1000 < ms


@given(st.decimals(0, 1_000_000_000, places=12))
def test_half_up_agrees_with_fractions(amount: Decimal) -> None:
    assert Fraction(half_up(amount)) == rounded(Fraction(amount))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.000000"),
        ("1E+3", "1000.000000"),
        ("1E-6", "0.000001"),
        ("5E-7", "0.000001"),
        ("4.99E-7", "0.000000"),
        ("1560", "1560.000000"),
        ("123456789012.123457", "123456789012.123457"),
        ("-0.0000005", "-0.000001"),
    ],
)
def test_text_has_six_places_and_no_exponent(amount: str, shown: str) -> None:
    assert text(Decimal(amount)) == shown


@pytest.mark.rule("TP-4", "SIP-26")
@pytest.mark.parametrize(
    ("rate", "fee", "at_threshold"),
    [
        ("0.499999", "0", False),
        ("0.500000", "0", True),
        ("0.499998", "0.000001", False),
        ("0.499999", "0.000001", True),
        ("0", "0.5", True),
        ("0", "0.499999", False),
        ("13", "0", True),
    ],
)
def test_per_minute_counts_the_fee_and_the_threshold_itself_is_expensive(
    rate: str, fee: str, at_threshold: bool
) -> None:
    row = price(rate, 60, 60, fee)
    assert (first_minute(row) >= Decimal("0.50")) is at_threshold
    assert first_minute(row) == charge(60_000, row).amount
