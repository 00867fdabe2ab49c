"""Sell prices from costs: DOMAIN's table, and what holds for any."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.rating.populate import sell_fee, sell_rate

TABLE = [
    ("0.02", "1.5", "1", "0", None, "0.030000"),
    ("0.005", "1.5", "1", "0.01", None, "0.010000"),
    ("0.40", "1.5", "1", "0.01", "0.10", "0.500000"),
    ("0.001", "1.5", "1", "0.01", "0.005", "0.010000"),
    ("0.0121", "1.5", "0.92", "0", None, "0.016698"),
    ("0.10", "1.5", "1", "0", "0", "0.100000"),
    # Rounded once, half up: neither cost × fx nor the price before the cap is.
    ("0.000001", "1.5", "1", "0", None, "0.000002"),
    ("0.000001", "1.499999", "1", "0", None, "0.000001"),
    ("0.000003", "0.5", "0.333333", "0", None, "0.000000"),
    # A floor is no profit too much, and a discount is no profit at all.
    ("0.10", "0.5", "1", "0.20", "0", "0.200000"),
    ("0.10", "0.5", "1", "0", "0", "0.050000"),
    ("0", "1.5", "1", "0.01", None, "0.000000"),
]


@pytest.mark.rule("TP-5", "TP-6", "TP-7")
@pytest.mark.parametrize(("cost", "markup", "fx", "floor", "cap", "sell"), TABLE)
def test_sell_rates(cost: str, markup: str, fx: str, floor: str, cap: str | None, sell: str) -> None:
    made = sell_rate(
        Decimal(cost),
        markup=Decimal(markup),
        fx=Decimal(fx),
        min_rate=Decimal(floor),
        max_profit=None if cap is None else Decimal(cap),
    )
    assert str(made) == sell


def test_what_costs_nothing_is_sold_where_that_is_asked() -> None:
    made = sell_rate(Decimal(0), markup=Decimal(2), fx=Decimal(1), min_rate=Decimal("0.01"), zero_cost_too=True)
    assert str(made) == "0.010000"


@pytest.mark.rule("TP-7")
def test_a_fee_knows_no_floor_and_no_cap() -> None:
    assert str(sell_fee(Decimal("0.05"), markup=Decimal("1.5"), fx=Decimal("0.92"))) == "0.069000"


AMOUNTS = st.decimals(0, 10_000_000, places=6, allow_nan=False)
FACTORS = st.decimals("0.000001", 1_000, places=6, allow_nan=False)


@pytest.mark.rule("TP-5", "TP-6")
@given(AMOUNTS.filter(bool), FACTORS, FACTORS, AMOUNTS, st.none() | AMOUNTS)
def test_any_price_lies_between_floor_and_cap(
    cost: Decimal, markup: Decimal, fx: Decimal, floor: Decimal, cap: Decimal | None
) -> None:
    made = sell_rate(cost, markup=markup, fx=fx, min_rate=floor, max_profit=cap)
    exact = Fraction(cost) * Fraction(fx)
    wanted = exact * Fraction(markup)
    if cap is not None:
        wanted = min(wanted, exact + Fraction(cap))
    wanted = max(wanted, Fraction(floor))
    assert made >= floor
    assert made.as_tuple().exponent == -6
    # Half up, exactly: by whole numbers, with no Decimal in it.
    assert Fraction(made) * 10**6 == (wanted * 10**6 + Fraction(1, 2)).__floor__()


@given(AMOUNTS, FACTORS, FACTORS)
def test_a_fee_is_rounded_once(fee: Decimal, markup: Decimal, fx: Decimal) -> None:
    exact = Fraction(fee) * Fraction(markup) * Fraction(fx)
    assert Fraction(sell_fee(fee, markup=markup, fx=fx)) * 10**6 == (exact * 10**6 + Fraction(1, 2)).__floor__()
