"""A customer's statement: what was on its account, what came and went day by day, what was left (DOMAIN, ledger)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sipsvc.store.days import Span, days
from sipsvc.store.ledger import account_of, customer_account
from sipsvc.store.models import Customer, LedgerPosting
from sipsvc.store.types import WIDE
from sipsvc.store.usage import exact, exact_sums

MOST_DAYS = 92
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """What postings of a kind add up to on a day, or in all. What the customer gets is positive, what it pays negative.

    Kinds that come with a number, of a rating, are one.
    """

    kind: str
    span: Span
    postings: int
    amount: Decimal
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """From `begin` until before `end`. `opening` and all lines of days make `closing`."""

    currency: str
    begin: datetime
    end: datetime
    opening: Decimal
    closing: Decimal
    totals: list[Line]
    days: list[Line]


def statement(session: Session, customer: Customer, currency: str, first: date, last: date) -> Statement:
    """Of the days from `first` to `last`, both included, by the customer's clock.

    The session must read one state (`database.one_state`), else lines and balances may be of different ones.
    """
    spans = list(days(first, last, ZoneInfo(customer.time_zone)))
    whole = Span(spans[0][1].begin, spans[-1][1].end)
    later = _sums(session, customer, currency, LedgerPosting.at >= whole.end)
    closing = WIDE.subtract(account_of(session, customer.id, currency).balance, _total(later.values()))
    lines: list[Line] = []
    totals: dict[str, tuple[int, Decimal]] = {}
    for of, span in spans:
        found = _sums(session, customer, currency, LedgerPosting.at >= span.begin, LedgerPosting.at < span.end)
        for kind, (postings, amount) in sorted(found.items()):
            lines.append(Line(kind, span, postings, amount, of))
            so_far = totals.get(kind, (0, ZERO))
            totals[kind] = so_far[0] + postings, WIDE.add(so_far[1], amount)
    opening = WIDE.subtract(closing, _total(totals.values()))
    whole_lines = [Line(kind, whole, *sums) for kind, sums in sorted(totals.items())]
    return Statement(currency, whole.begin, whole.end, opening, closing, whole_lines, lines)


def _sums(session: Session, customer: Customer, currency: str, *when: Any) -> dict[str, tuple[int, Decimal]]:
    """By kind how many postings there are, and what they add up to."""
    gets = LedgerPosting.credit == customer_account(customer.id)
    keys = (LedgerPosting.kind, gets)
    sums = (func.count(), *exact_sums(LedgerPosting.amount))
    whose = (
        LedgerPosting.customer == customer.id,
        LedgerPosting.partner == customer.partner,
        LedgerPosting.currency == currency,
    )
    found: dict[str, tuple[int, Decimal]] = {}
    for kind, got, postings, *parts in session.execute(select(*keys, *sums).where(*whose, *when).group_by(*keys)):
        amount = exact(*parts)
        name = kind.partition(".")[0]
        so_far = found.get(name, (0, ZERO))
        found[name] = so_far[0] + postings, WIDE.add(so_far[1], amount if got else -amount)
    return found


def _total(sums: Any) -> Decimal:
    total = ZERO
    for _, amount in sums:
        total = WIDE.add(total, amount)
    return total
