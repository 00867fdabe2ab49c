"""Calls a day, by customer, destination or gateway: how many got through, how long, at what margin.

What each figure means, and which calls it counts, stands in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session

from sipsvc.rating import half_up
from sipsvc.store.days import Span, days
from sipsvc.store.models import Cdr, Partner
from sipsvc.store.scope import Who, visible
from sipsvc.store.types import WIDE
from sipsvc.store.usage import answered, exact, exact_sums

MOST_DAYS = 92
GROUPS: dict[str, tuple[Any, ...]] = {
    "customer": (Cdr.customer,),
    "destination": (Cdr.sell_prefix, Cdr.sell_name),
    "gateway": (Cdr.gateway,),
}
FILTERS = ("partner", "customer", "gateway", "sell_prefix")
# How a call ends that reached its callee without being answered (ITU-T E.425: busy, no answer, rejected by the user).
REACHED_CODES = ("cancelled", "no_answer")
REACHED_STATUSES = (480, 486, 600, 603)
MINUTE_MS = 60_000


@dataclass(slots=True)
class Money:
    """Of answered calls: what was sold in one currency, what was bought in it, and what is left of calls with both."""

    currency: str
    sell: Decimal = Decimal(0)
    buy: Decimal = Decimal(0)
    margin: Decimal = Decimal(0)
    margin_calls: int = 0


@dataclass(slots=True)
class Line:
    """One day of one group. `refused` calls never went to a gateway, `seizures` did.

    `reached` are those answered or not answered by the callee's own doing. Of answered calls, `unpriced` have no price
    on a side and `mixed` have sell and buy prices in two currencies: neither has a margin.
    """

    day: date
    group: tuple[str, ...]
    calls: int = 0
    refused: int = 0
    seizures: int = 0
    answered: int = 0
    reached: int = 0
    duration_ms: int = 0
    billed_s: int = 0
    unpriced: int = 0
    mixed: int = 0
    money: dict[str, Money] = field(default_factory=dict)

    @property
    def asr(self) -> Decimal | None:
        """Answered of those that went to a gateway, six places; None where none did."""
        return ratio(self.answered, self.seizures)

    @property
    def ner(self) -> Decimal | None:
        """Those that reached their callee of those that went to a gateway."""
        return ratio(self.reached, self.seizures)

    @property
    def acd_ms(self) -> int | None:
        """Mean talk time of an answered call, rounded half up to the millisecond."""
        return (2 * self.duration_ms + self.answered) // (2 * self.answered) if self.answered else None

    @property
    def minutes(self) -> Decimal:
        """Talk time, six places."""
        return half_up(WIDE_HALF_UP.divide(Decimal(self.duration_ms), Decimal(MINUTE_MS)))


WIDE_HALF_UP = WIDE.copy()
WIDE_HALF_UP.prec, WIDE_HALF_UP.rounding = 60, ROUND_HALF_UP


def ratio(part: int, whole: int) -> Decimal | None:
    """To six places, half up; None of nothing."""
    return half_up(WIDE_HALF_UP.divide(Decimal(part), Decimal(whole))) if whole else None


def daily(
    session: Session,
    who: Who,
    first: date,
    last: date,
    zone: ZoneInfo,
    by: str | None = None,
    *,
    only: Mapping[str, str] | None = None,
) -> Iterator[Line]:
    """A line for each day from `first` to `last` and each group there were calls of, in the order of both.

    `by` is a key of GROUPS, None for one line a day; `only` says what columns of FILTERS must be.
    """
    partners = None if who.partner is not None else [*session.scalars(select(Partner.id)), ""]
    wanted = [getattr(Cdr, name) == value for name, value in (only or {}).items()]
    if partners is not None:
        # All there are: the index begins with the partner.
        wanted.append(Cdr.partner.in_(partners))
    for of, span in days(first, last, zone):
        lines: dict[tuple[str, ...], Line] = {}
        for row in _sums(session, who, span, by, wanted):
            _add(lines, of, row)
        yield from (lines[group] for group in sorted(lines))


def _sums(session: Session, who: Who, span: Span, by: str | None, only: Sequence[Any]) -> Sequence[Any]:
    keys = () if by is None else GROUPS[by]
    seized = Cdr.gateway != ""
    reached = or_(Cdr.answered, Cdr.code.in_(REACHED_CODES), Cdr.status.in_(REACHED_STATUSES))
    sides = (Cdr.sell_currency, Cdr.buy_currency)
    figures = (
        func.count(),
        func.sum(case((seized, 1), else_=0)),
        answered(),
        func.sum(case((seized & reached, 1), else_=0)),
        func.sum(Cdr.duration_ms),
        func.sum(Cdr.billed_s),
        *exact_sums(Cdr.sell_amount),
        *exact_sums(Cdr.buy_amount),
    )
    wanted = (visible(Cdr, who), Cdr.counted_at >= span.begin, Cdr.counted_at < span.end, *only)
    return session.execute(select(*sides, *figures, *keys).where(*wanted).group_by(*keys, *sides)).all()


def _add(lines: dict[tuple[str, ...], Line], of: date, row: Any) -> None:
    sell, buy, *counts, sell_units, sell_rest, buy_units, buy_rest = row[:12]
    group = tuple(row[12:])
    line = lines.setdefault(group, Line(of, group))
    calls, seizures, took, reached, duration_ms, billed_s = (int(value or 0) for value in counts)
    line.calls += calls
    line.refused += calls - seizures
    line.seizures += seizures
    line.answered += took
    line.reached += reached
    line.duration_ms += duration_ms
    line.billed_s += billed_s
    if not (sell and buy):
        line.unpriced += took
    elif sell != buy:
        line.mixed += took
    sold, bought = exact(sell_units, sell_rest), exact(buy_units, buy_rest)
    if sell:
        money = line.money.setdefault(sell, Money(sell))
        money.sell = WIDE.add(money.sell, sold)
    if buy:
        money = line.money.setdefault(buy, Money(buy))
        money.buy = WIDE.add(money.buy, bought)
        if sell == buy:
            money.margin = WIDE.add(money.margin, WIDE.subtract(sold, bought))
            money.margin_calls += took
