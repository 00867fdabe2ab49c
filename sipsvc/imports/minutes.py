"""What the expected call costs by destination: the measure of dearer, expensive and below cost (TP-4).

The expected call is one of 60 seconds, increments and fees included (DOMAIN, margin).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

from sipsvc.directory import PriceRow
from sipsvc.rating import ZERO, charge
from sipsvc.rating import first_minute as first_minute_of
from sipsvc.store.pricefile import Row

EXPECTED_MS = 60_000


class Found(NamedTuple):
    """What the expected call costs by the row a number takes, and that row's prefix and origin."""

    prefix: str
    origin: str
    amount: Decimal


def first_minute() -> Callable[[Row], Decimal]:
    """The first 60 seconds at a row, fee included; asked often for few different prices."""
    known: dict[tuple[Decimal, Decimal, int, int], Decimal] = {}

    def ask(row: Row) -> Decimal:
        price = (row.rate, row.fee, row.initial, row.increment)
        amount = known.get(price)
        if amount is None:
            amount = known[price] = first_minute_of(_priced(row))
        return amount

    return ask


class Minutes:
    """A list's or gateway's expected calls, found by the longest match (DOMAIN).

    It holds no rows, only amounts that many share: beside half a million rows there is no room for two more tables.
    """

    def __init__(self, minimum: Decimal = ZERO) -> None:
        self._minimum = minimum
        # By prefix: an amount for any caller, or amounts by origin, longest first.
        self._there: dict[str, Decimal | dict[str, Decimal]] = {}
        self._lengths: list[int] = []
        self._known: dict[tuple[Decimal, Decimal, int, int], Decimal] = {}

    def add(self, row: Row) -> None:
        """Take a row up, in the place of one with its prefix and origin."""
        price = (row.rate, row.fee, row.initial, row.increment)
        amount = self._known.get(price)
        if amount is None:
            amount = self._known[price] = charge(EXPECTED_MS, _priced(row), self._minimum).amount
        there = self._there.get(row.prefix)
        if isinstance(there, dict):
            there[row.origin] = amount
        elif not row.origin:
            self._there[row.prefix] = amount
        else:
            self._there[row.prefix] = {row.origin: amount} if there is None else {"": there, row.origin: amount}

    def extend(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.add(row)

    def ready(self) -> Minutes:
        """To be asked once all rows are there."""
        for prefix, there in self._there.items():
            if isinstance(there, dict):
                self._there[prefix] = dict(sorted(there.items(), key=lambda item: -len(item[0])))
        self._lengths = sorted({len(prefix) for prefix in self._there}, reverse=True)
        return self

    def at(self, number: str) -> Place | None:
        """The longest prefix of `number`, with the amounts there by origin, longest first."""
        have = len(number)
        for length in self._lengths:
            there = self._there.get(number[:length]) if length <= have else None
            if there is not None:
                return Place(number[:length], {"": there} if isinstance(there, Decimal) else there)
        return None

    def prefixes(self) -> Iterable[str]:
        return self._there.keys()


class Place(NamedTuple):
    """A prefix and the amounts of its rows by origin, longest first."""

    prefix: str
    amounts: Mapping[str, Decimal]

    def find(self, caller: str) -> Found | None:
        """As the directory does: a prefix whose rows are all for other callers ends the search."""
        for origin, amount in self.amounts.items():
            if caller.startswith(origin):
                return Found(self.prefix, origin, amount)
        return None


class Loss(NamedTuple):
    """A destination sold below its cost: the sell row's and the cost row's prefix and origin, and both amounts."""

    sell: Found
    cost: Found


def losses(
    sells: tuple[Minutes, Minutes],
    costs: tuple[list[Minutes], list[Minutes]],
    touched: Set[tuple[str, str]],
    *,
    told_again: Set[tuple[str, str]],
) -> Iterator[Loss]:
    """Where the expected call is sold below its cost after a change, and was not before.

    `sells` and `costs` are (before, after); of several gateways' costs the cheapest counts.
    `touched` are the destinations that changed on either side. A loss that was there before counts where its sell row
    is in `told_again`. Two rows that some number takes meet at the longer prefix and the longer origin of the two.
    """
    changed = {prefix for prefix, _ in touched}
    lengths = sorted({len(prefix) for prefix in changed})
    meeting = (
        prefix
        for table in (sells[1], *costs[1])
        for prefix in table.prefixes()
        if prefix not in changed and any(prefix[:size] in changed for size in lengths)
    )
    told: set[tuple[str, str, str, str]] = set()
    for number in chain(changed, meeting):
        before, after = _Market(sells[0], costs[0], number), _Market(sells[1], costs[1], number)
        for caller in before.origins | after.origins:
            loss = after.loss(caller)
            if loss is None:
                continue
            sell, cost = loss
            pair = (sell.prefix, sell.origin, cost.prefix, cost.origin)
            if pair not in told and ((sell.prefix, sell.origin) in told_again or before.loss(caller) is None):
                told.add(pair)
                yield loss


class _Market:
    """What a number is sold and bought for."""

    def __init__(self, sells: Minutes, costs: list[Minutes], number: str) -> None:
        self._sell = sells.at(number)
        self._costs = [place for place in (table.at(number) for table in costs) if place is not None]
        self.origins = {""}
        for place in self._costs if self._sell is None else (self._sell, *self._costs):
            self.origins |= place.amounts.keys()

    def loss(self, caller: str) -> Loss | None:
        sell = None if self._sell is None else self._sell.find(caller)
        found = [cost for cost in (place.find(caller) for place in self._costs) if cost is not None]
        if sell is None or not found:
            return None
        cheapest = min(found, key=lambda cost: cost.amount)
        return Loss(sell, cheapest) if sell.amount < cheapest.amount else None


def _priced(row: Row) -> PriceRow:
    """What rating takes."""
    return PriceRow(
        id=0,
        prefix=row.prefix,
        name=row.name,
        rate=row.rate,
        fee=row.fee,
        initial=row.initial,
        increment=row.increment,
        origin=row.origin,
    )
