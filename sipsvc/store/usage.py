"""What each customer used in a month of its own time zone: sums of its CDRs, exact to the millionth (IP-5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, case, func, select, type_coerce
from sqlalchemy.orm import Session

from sipsvc.store.days import DAY, month
from sipsvc.store.models import Cdr, Customer, Partner
from sipsvc.store.scope import Who, visible
from sipsvc.store.types import WIDE, from_scaled

MILLION = 1_000_000
# Calls of a partner, or a customer, that is there no more.
NO_ZONE = "UTC"


@dataclass(frozen=True, slots=True)
class Amount:
    """What the calls priced in one currency add up to."""

    currency: str
    calls: int
    answered: int
    duration_ms: int
    billed_s: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """One customer's month. Calls without a price are in the counts but in no amount."""

    customer: str
    partner: str
    month: date
    time_zone: str
    begin: datetime
    end: datetime
    calls: int = 0
    answered: int = 0
    duration_ms: int = 0
    billed_s: int = 0
    amounts: tuple[Amount, ...] = ()


class Payer(NamedTuple):
    """Whose calls, and by which clock."""

    customer: str
    partner: str
    time_zone: str


def exact_sums(column: Any) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """The sums of a money column's whole units and of its millionths: one sum of both could leave 64 bits on SQLite."""
    scaled = type_coerce(column, BigInteger)
    return func.sum(scaled // MILLION), func.sum(scaled % MILLION)


def exact(units: Any, millionths: Any) -> Decimal:
    """What `exact_sums` found, as money."""
    return WIDE.add(from_scaled(int(units or 0)).scaleb(6, WIDE), from_scaled(int(millionths or 0)))


def answered() -> ColumnElement[int]:
    """How many of the calls were answered."""
    return func.sum(case((Cdr.answered, 1), else_=0))


def usage(
    session: Session, who: Who, of: date, *, customer: str | None = None, after: str | None = None, limit: int = 100
) -> list[Usage]:
    """The month that begins with `of`, of up to `limit` customers behind the id `after`, in the order of ids.

    Customers without calls have zeros. One whose calls are there but who is not any more counts by its partner's clock.
    """
    payers = _payers(session, who, of, customer, after, limit)
    found = {payer.customer: _nothing(payer, of) for payer in payers}
    zones: dict[str, list[str]] = {}
    for payer in payers:
        zones.setdefault(payer.time_zone, []).append(payer.customer)
    for zone, customers in zones.items():
        for id_, currency, *sums, units, millionths in _sums(session, who, of, zone, customers):
            calls, answered_, duration_ms, billed_s = (int(value or 0) for value in sums)
            so_far = found[id_]
            amount = Amount(currency, calls, answered_, duration_ms, billed_s, exact(units, millionths))
            found[id_] = replace(
                so_far,
                calls=so_far.calls + calls,
                answered=so_far.answered + answered_,
                duration_ms=so_far.duration_ms + duration_ms,
                billed_s=so_far.billed_s + billed_s,
                amounts=(*so_far.amounts, amount) if currency else so_far.amounts,
            )
    return list(found.values())


def _payers(session: Session, who: Who, of: date, customer: str | None, after: str | None, limit: int) -> list[Payer]:
    here = select(Customer.id, Customer.partner, Customer.time_zone).where(visible(Customer, who))
    # A day more at both ends holds the month of any zone.
    utc = month(of, ZoneInfo(NO_ZONE))
    called = select(Cdr.customer, func.max(Cdr.partner).label("partner")).where(
        visible(Cdr, who), Cdr.counted_at >= utc.begin - DAY, Cdr.counted_at < utc.end + DAY
    )
    if customer is not None:
        here, called = here.where(Customer.id == customer), called.where(Cdr.customer == customer)
    if after is not None:
        here, called = here.where(Customer.id > after), called.where(Cdr.customer > after)
    by_customer = called.group_by(Cdr.customer).subquery()
    gone = (
        select(by_customer.c.customer, by_customer.c.partner, func.coalesce(Partner.time_zone, NO_ZONE))
        .outerjoin(Partner, Partner.id == by_customer.c.partner)
        .where(~select(Customer.id).where(Customer.id == by_customer.c.customer).exists())
    )
    found = [
        *session.execute(here.order_by(Customer.id).limit(limit)),
        *session.execute(gone.order_by(by_customer.c.customer).limit(limit)),
    ]
    return sorted(Payer(*row) for row in found)[:limit]


def _nothing(payer: Payer, of: date) -> Usage:
    begin, end = month(of, ZoneInfo(payer.time_zone))
    return Usage(payer.customer, payer.partner, of, payer.time_zone, begin, end)


def _sums(session: Session, who: Who, of: date, zone: str, customers: Sequence[str]) -> Sequence[Any]:
    begin, end = month(of, ZoneInfo(zone))
    sums = (func.count(), answered(), func.sum(Cdr.duration_ms), func.sum(Cdr.billed_s), *exact_sums(Cdr.sell_amount))
    wanted = (visible(Cdr, who), Cdr.customer.in_(customers), Cdr.counted_at >= begin, Cdr.counted_at < end)
    keys = (Cdr.customer, Cdr.sell_currency)
    return session.execute(select(*keys, *sums).where(*wanted).group_by(*keys).order_by(*keys)).all()
