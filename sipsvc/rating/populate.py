"""Sell prices made from costs, exactly (DOMAIN, populate; TP-5, TP-6, TP-7)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

from sipsvc.rating.money import PLACES, ZERO

# Three factors of at most 20 digits each: nothing is rounded before the end.
EXACT = Context(prec=100, rounding=ROUND_HALF_UP)


def sell_rate(
    cost: Decimal,
    *,
    markup: Decimal,
    fx: Decimal,
    min_rate: Decimal = ZERO,
    max_profit: Decimal | None = None,
    zero_cost_too: bool = False,
) -> Decimal:
    """A sell price per minute, six places, in the list's currency; `fx` turns the cost's currency into that.

    The profit is cut to `max_profit` (None: never), then the price raised to `min_rate`: the floor beats the cap.
    What costs nothing stays free, unless `zero_cost_too`. Rounded half up, once.
    """
    if not cost and not zero_cost_too:
        return ZERO
    bought = EXACT.multiply(cost, fx)
    sold = EXACT.multiply(bought, markup)
    if max_profit is not None and EXACT.subtract(sold, bought) > max_profit:
        sold = EXACT.add(bought, max_profit)
    return max(sold, min_rate).quantize(PLACES, context=EXACT)


def sell_fee(fee: Decimal, *, markup: Decimal, fx: Decimal) -> Decimal:
    """A connection fee, six places, in the list's currency. Neither floor nor cap holds for it."""
    return EXACT.multiply(EXACT.multiply(fee, fx), markup).quantize(PLACES, context=EXACT)
