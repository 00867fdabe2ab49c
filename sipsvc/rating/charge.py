"""The charge for one call."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from sipsvc.directory import PriceRow
from sipsvc.rating.money import CONTEXT, ZERO, half_up

SIXTY = Decimal(60)


class Charge(NamedTuple):
    """`billed` seconds and `amount` to six places, in the price list's currency."""

    billed: int
    amount: Decimal


def charge(duration_ms: int | None, row: PriceRow, minimum: Decimal = ZERO) -> Charge:
    """What `duration_ms` of talk costs at `row`; None is a call that was never answered and costs nothing.

    TP-2, TP-3; the seconds go up in increments after the initial ones, and only the end is rounded.
    """
    if duration_ms is None:
        return Charge(0, ZERO)
    billed = stepped(-(-duration_ms // 1000), row)
    return Charge(billed, priced(billed, row, minimum))


def stepped(seconds: int, row: PriceRow) -> int:
    """Seconds of talk as they are billed: the initial ones, then whole increments (TP-2)."""
    return row.initial + -(-max(0, seconds - row.initial) // row.increment) * row.increment


def priced(billed: int, row: PriceRow, minimum: Decimal = ZERO) -> Decimal:
    """What so many billed seconds cost with fee and minimum, six places (TP-3)."""
    if not row.rate and not row.fee:
        return ZERO
    raw = half_up(CONTEXT.add(row.fee, CONTEXT.divide(CONTEXT.multiply(row.rate, Decimal(billed)), SIXTY)))
    return half_up(max(raw, minimum))


def first_minute(row: PriceRow) -> Decimal:
    """What the first 60 seconds cost, connection fee included: the measure of "expensive" (SIP-26, TP-4)."""
    if row.initial <= 60 and (60 - row.initial) % row.increment == 0:
        return row.rate + row.fee
    return charge(60_000, row).amount


def expected(row: PriceRow, seconds: int, minimum: Decimal = ZERO) -> Decimal:
    """What a call of so many seconds costs, six places: the measure of the margin guard (SIP-28)."""
    if seconds == 60 and not minimum:
        return first_minute(row)
    return charge(seconds * 1000, row, minimum).amount


class Price(NamedTuple):
    """A price as it was settled for one call: the row, its list's currency and the call's least charge."""

    row: PriceRow
    currency: str
    minimum: Decimal
