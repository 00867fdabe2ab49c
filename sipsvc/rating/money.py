"""Decimal to six places, rounded half up and only where DOMAIN says so."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

PLACES = Decimal("0.000001")
ZERO = Decimal("0.000000")
# Wide enough that no product of a rate and a call's seconds is rounded before its time.
CONTEXT = Context(prec=40, rounding=ROUND_HALF_UP)


def half_up(amount: Decimal) -> Decimal:
    """To six places, half away from zero."""
    return amount.quantize(PLACES, rounding=ROUND_HALF_UP, context=CONTEXT)


def exchanged(amount: Decimal, there: Decimal, here: Decimal) -> Decimal:
    """An amount in another currency in ours, not rounded; each currency's rate is what one unit of it is worth."""
    return CONTEXT.divide(CONTEXT.multiply(amount, there), here)


@lru_cache(maxsize=4_096)
def text(amount: Decimal) -> str:
    """As it stands in JSON and CDRs: always six places, never an exponent."""
    return f"{half_up(amount):f}"
