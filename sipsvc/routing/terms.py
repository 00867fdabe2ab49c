"""What a call may use besides its price: the account's credit, and the minutes of its package (PP-2, PP-4)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from sipsvc.directory import Customer, Package, PriceRow
from sipsvc.rating import cost, stepped, text
from sipsvc.routing.live import Live


class Terms(NamedTuple):
    """`package` is the id of the one whose minutes pay first, "" for none; `minutes` are its a month, 0 without end.

    `metered`: the call goes as far as its customer's credit.
    """

    package: str
    minutes: int
    metered: bool


def terms_of(customer: Customer, package: Package | None, sell: PriceRow) -> Terms | None:
    """None where nothing is to be counted: a call that is free by its price takes neither credit nor minutes."""
    if not sell.rate and not sell.fee:
        return None
    if package is not None and package.covers(sell.prefix):
        return Terms(package.id, package.minutes, customer.metered)
    return Terms("", 0, True) if customer.metered else None


def affordable(terms: Terms, sell: PriceRow, minimum: Decimal, live: Live, trace: list[tuple[Any, ...]]) -> bool:
    """Whether allowance and credit reach for the first billing step.

    What is not known of the moment keeps no call out.
    """
    allowance = 0
    if terms.package:
        left = live.allowance if terms.minutes else None
        trace.append(("allowance", terms.package, terms.minutes, left))
        if not terms.minutes:
            return True
        allowance = left or 0
    if not terms.metered or live.credit is None:
        return True
    first = cost(max(0, stepped(0, sell) - allowance), sell, minimum)
    enough = not first or first <= live.credit
    trace.append(("credit", text(live.credit), text(first), "enough" if enough else "exhausted"))
    return enough
