"""What a call costs when minutes of an allowance pay first and credit only reaches so far (DOMAIN, charge a call)."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from sipsvc.directory import PriceRow
from sipsvc.rating.charge import charge, priced, stepped
from sipsvc.rating.money import CONTEXT, ZERO


class Settled(NamedTuple):
    """`billed` seconds, of which `allowance` were paid for by minutes that are free; `amount` is for the others."""

    billed: int
    amount: Decimal
    allowance: int = 0


def settle(
    duration_ms: int | None,
    row: PriceRow,
    minimum: Decimal = ZERO,
    *,
    allowance_s: int | None = 0,
    granted_s: int | None = None,
) -> Settled:
    """What `duration_ms` of talk costs at `row` when `allowance_s` free seconds are left, None for no end of them.

    PP-2: the free seconds pay first. A call inside them costs nothing, neither fee nor minimum; one that passes their
    end the seconds beyond, increments counted from its start, then fee and minimum. Not more than `granted_s` seconds
    are billed, None for no such bound. A `duration_ms` of None is a call that was never answered.
    """
    if duration_ms is None:
        return Settled(0, ZERO)
    if allowance_s == 0 and granted_s is None:
        return Settled(*charge(duration_ms, row, minimum))
    billed = stepped(-(-duration_ms // 1000), row)
    if granted_s is not None:
        billed = min(billed, granted_s)
    allowance = billed if allowance_s is None else min(billed, allowance_s)
    return Settled(billed, cost(billed - allowance, row, minimum), allowance)


def cost(beyond: int, row: PriceRow, minimum: Decimal = ZERO) -> Decimal:
    """What `beyond` billed seconds cost that no allowance pays for, six places; nothing for none."""
    return priced(beyond, row, minimum) if beyond else ZERO


def buys(amount: Decimal, row: PriceRow, minimum: Decimal = ZERO, *, allowance_s: int = 0) -> int | None:
    """How many seconds `amount` buys behind `allowance_s` free ones: whole billing steps, None for no end of them.

    Exact: so many seconds cost `amount` at most, and one step more costs more than it. Where `amount` does not reach
    for the step that the free seconds end in, it is those seconds alone. Rates, fees and amounts have six places.
    """
    rate, fee, have = _millionths(row.rate), _millionths(row.fee), _millionths(amount)
    if not rate and not fee:
        return None
    if have < max(fee, _millionths(minimum)):
        return allowance_s
    if not rate:
        return None
    # The most seconds whose price, rounded half up, is no more than what there is.
    beyond = ((2 * (have - fee) + 1) * 60 - 1) // (2 * rate)
    whole = allowance_s + beyond - row.initial
    if whole < 0:
        return allowance_s
    return max(allowance_s, row.initial + whole // row.increment * row.increment)


def _millionths(amount: Decimal) -> int:
    return int(amount.scaleb(6, CONTEXT))
