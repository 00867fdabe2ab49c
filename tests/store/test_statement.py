"""Calls that are rated again, and what a customer's statement says of all that was posted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from sipsvc.rating import text as money
from sipsvc.store import cdrs
from sipsvc.store.changes import LOCAL, Changes, entries
from sipsvc.store.database import one_state, writing
from sipsvc.store.models import Cdr, Customer
from sipsvc.store.rerate import NotRated, rerate
from sipsvc.store.statement import statement
from sipsvc.store.types import EPOCH, from_ms, to_ms
from tests.store.tenants import add_customer
from tests.store.test_cdrs import T0, answer, merge, priced, refused, start
from tests.store.test_ledger import account, call, deliver, faults, pay, postings, put_row, with_acme


def again(engine: Engine, cdr_id: str = "c1", at: datetime | None = None) -> bool:
    with writing(engine) as session:
        return rerate(Changes(session, LOCAL), session.get_one(Cdr, cdr_id), at)


def a_call_sold_wrongly(engine: Engine) -> None:
    """For 0.012 (60 s at 0.012); its customer's list says 0.60 a minute, and from the next day on 1.20."""
    day = from_ms(T0) + timedelta(days=1)
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        add_customer(changes, "acme", "north")
        put_row(changes, "north", "0.6", EPOCH, day)
        put_row(changes, "north", "1.2", day)
    pay(engine, "acme", "10")
    deliver(engine, call("c1"))


def test_a_call_is_rated_again_by_postings_only(engine: Engine) -> None:
    a_call_sold_wrongly(engine)
    assert again(engine)
    assert not again(engine), "the same again is done once"
    assert postings(engine) == [
        ("charge", "customer:acme", "revenue:north", "0.012000"),
        ("cost", "cost:north", "carrier:alpha", "0.005900"),
        ("payment", "payments:north", "customer:acme", "10.000000"),
        ("recharge.2", "customer:acme", "revenue:north", "0.590000"),
        ("reversal.2", "revenue:north", "customer:acme", "0.012000"),
    ]
    later = from_ms(T0) + timedelta(days=2)
    assert again(engine, at=later)
    assert not again(engine, at=later)
    with Session(engine) as session:
        row = session.get_one(Cdr, "c1")
        assert (row.rating_version, row.sell_amount, row.billed_s) == (3, Decimal("1.18"), 59)
        assert row.margin == Decimal("1.18") - Decimal("0.0059")
        before = [(one["rating_version"], one["sell"]["amount"]) for one in row.rated_before]
        assert before == [(1, "0.012000"), (2, "0.590000")]
        told = [(one.action, one.changes["sell_amount"]) for one in entries(session, "cdr", "c1")]
        assert told == [("rerate", ["0.012000", "0.590000"]), ("rerate", ["0.590000", "1.180000"])]
        assert session.get_one(Customer, "acme").funds == 10 + Decimal("0.012") - Decimal("1.18")
    # What the server counts as charged is what was delivered: the rest is in funds.
    assert account(engine) == ("USD", 10 - Decimal("1.18"), Decimal("0.012"))
    deliver(engine, call("c1"))
    assert (account(engine).balance, faults(engine)) == (10 - Decimal("1.18"), [])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (merge(start(), answer(), None), "up still"),
        (merge(start(), None, refused()), "not answered"),
        (call("c1", sell=priced("0.012000", 60, "0.012000") | {"allowance": 60}), "allowance"),
        (call("c1", sell=priced("0.000000", 60, "0.000000") | {"row": 0}), "short code"),
        (call("c1", customer="gone"), "gone is there no more"),
        (call("c1", e164="33123456789"), "had no price for 33123456789"),
    ],
)
def test_what_cannot_be_rated_again(engine: Engine, row: cdrs.Row, why: str) -> None:
    a_call_sold_wrongly(engine)
    with Session(engine) as session, session.begin():
        session.execute(update(Cdr).values(cdr_id="other"))
    deliver(engine, row)
    before = postings(engine)
    with pytest.raises(NotRated, match=why):
        again(engine)
    assert postings(engine) == before


def test_a_call_cut_for_credit_is_charged_for_no_more_than_it_had(engine: Engine) -> None:
    a_call_sold_wrongly(engine)
    sell = priced("0.024000", 30, "0.012000") | {"granted_s": 30}
    cut = {"code": "credit_exhausted", "duration_ms": 30_400, "sell": sell}
    deliver(engine, call("cut", **cut))
    assert again(engine, "cut")
    with Session(engine) as session:
        row = session.get_one(Cdr, "cut")
        assert (row.billed_s, row.sell_amount) == (30, Decimal("0.3"))


# -- statements --


@pytest.mark.rule("IP-5")
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_statement_goes_from_balance_to_balance_by_days_of_the_customer(engine: Engine, zone: str) -> None:
    with_acme(engine, time_zone=zone)
    # Clocks go back on this Sunday in Europe, and a week later in New York.
    begin = datetime(2026, 10, 24, tzinfo=UTC)
    hours = [begin + timedelta(minutes=30 * n) for n in range(48 * 10)]
    deliver(engine, *(call(f"c{n}", "0.10", at=to_ms(at) - 61_000) for n, at in enumerate(hours)))
    with one_state(engine) as connection, Session(connection) as session:
        customer = session.get_one(Customer, "acme")
        whole = statement(session, customer, "USD", date(2026, 10, 1), date(2026, 11, 30))
        assert (whole.opening, whole.closing) == (0, -48)
        assert [(line.kind, line.postings, line.amount) for line in whole.totals] == [("charge", 480, Decimal(-48))]
        sizes = {line.day: line.postings for line in whole.days}
        long = {"Europe/Berlin": date(2026, 10, 25), "America/New_York": date(2026, 11, 1)}.get(zone)
        assert [day for day, postings in sizes.items() if postings == 50] == ([long] if long else [])
        assert sum(sizes.values()) == 480
        balance = Decimal(0)
        for day in sorted(line.day for line in whole.days if line.day is not None):
            one = statement(session, customer, "USD", day, day)
            assert one.opening == balance
            balance = one.closing
            assert one.opening + sum(line.amount for line in one.days) == one.closing
        assert balance == -48


def test_a_statement_has_every_kind_with_its_sign(engine: Engine) -> None:
    a_call_sold_wrongly(engine)
    again(engine)
    pay(engine, "acme", "1", "debit")
    pay(engine, "acme", "2", "credit")
    with one_state(engine) as connection, Session(connection) as session:
        customer = session.get_one(Customer, "acme")
        today = datetime.now(UTC).date()
        found = statement(session, customer, "USD", today - timedelta(days=1), today + timedelta(days=1))
    assert {line.kind: money(line.amount) for line in found.totals} == {
        "credit": "2.000000", "debit": "-1.000000", "payment": "10.000000", "recharge": "-0.590000",
        "reversal": "0.012000",
    }  # fmt: skip
    assert (found.opening, found.closing) == (Decimal("-0.012"), Decimal("10.41"))
