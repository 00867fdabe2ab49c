"""Figures of a day: what is counted where, what a margin is of, and that no figure mixes currencies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session

from sipsvc.store import cdrs
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import writing
from sipsvc.store.models import Cdr
from sipsvc.store.scope import PLATFORM, Who
from sipsvc.store.statistics import Line, daily
from sipsvc.store.types import to_ms
from tests.store.tenants import add_customer

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)  # a day of 25 hours in Berlin
DAY = date(2026, 10, 25)


def priced(amount: str, currency: str = "USD", prefix: str = "44") -> dict[str, Any]:
    name = f"to {prefix}"
    return {"row": 1, "prefix": prefix, "name": name, "currency": currency, "billed": 60, "amount": amount}


def call(
    code: str = "answered", status: int = 200, ms: int | None = None, at: datetime = NOON, gateway: str = "alpha",
    sell: dict[str, Any] | None = None, buy: dict[str, Any] | None = None, customer: str = "acme",
    partner: str = "north",
) -> dict[str, Any]:  # fmt: skip
    return {
        "customer": customer, "partner": partner, "invite_at": to_ms(at), "end_at": to_ms(at), "code": code,
        "status": status, "answer_at": to_ms(at) if code == "answered" else None, "duration_ms": ms,
        "gateway": gateway, "sell": sell, "buy": buy,
    }  # fmt: skip


def fill(engine: Engine, calls: list[dict[str, Any]]) -> None:
    with Session(engine) as session, session.begin():
        session.execute(delete(Cdr))
        cdrs.upsert(session, [cdrs.merge(None, None, one | {"cdr_id": f"c{n}"}) for n, one in enumerate(calls)])


def ask(engine: Engine, by: str | None = None, who: Who = PLATFORM, first: date = DAY, last: date = DAY) -> list[Line]:
    with Session(engine) as session:
        return list(daily(session, who, first, last, BERLIN, by))


@pytest.fixture
def books(engine: Engine) -> Engine:
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        add_customer(changes, "acme", "north")
        add_customer(changes, "bolt", "south")
    return engine


CALLS = [
    call(ms=1_000, sell=priced("0.030000"), buy=priced("0.010000")),
    call(ms=2_000, sell=priced("0.050000"), buy=priced("0.070000", "EUR")),
    call(ms=2_000, sell=priced("0.040000"), gateway="beta"),
    call("cancelled", 487, sell=priced("0.000000"), buy=priced("0.000000")),
    call("no_answer", 408),
    call("rejected", 486, gateway="beta"),
    call("rejected", 404),
    call("gateways_failed", 500),
    call("dest_blocked", 403, gateway=""),
    call("channels_full", 486, gateway=""),
    call("rejected", 603, customer="bolt", partner="south", gateway="gamma"),
]


@pytest.mark.rule("ST-1")
def test_what_is_counted(books: Engine) -> None:
    fill(books, CALLS)
    (line,) = ask(books, who=Who("north", None))
    assert (line.calls, line.refused, line.seizures, line.answered, line.reached) == (10, 2, 8, 3, 6)
    assert (line.asr, line.ner) == (Decimal("0.375000"), Decimal("0.750000"))
    assert (line.duration_ms, line.acd_ms, line.minutes) == (5_000, 1_667, Decimal("0.083333"))
    assert line.billed_s == 240


@pytest.mark.rule("ST-1")
def test_a_margin_is_of_one_currency(books: Engine) -> None:
    fill(books, CALLS)
    (line,) = ask(books, who=Who("north", None))
    usd, eur = line.money["USD"], line.money["EUR"]
    assert (usd.sell, usd.buy, usd.margin) == (Decimal("0.12"), Decimal("0.01"), Decimal("0.02"))
    assert (usd.margin_calls, line.mixed, line.unpriced) == (1, 1, 1)
    assert (eur.sell, eur.buy, eur.margin, eur.margin_calls) == (0, Decimal("0.07"), 0, 0)


@pytest.mark.rule("ST-1", "IP-2")
def test_groups_and_who_sees_them(books: Engine) -> None:
    fill(books, CALLS)

    def shown(by: str | None, who: Who = PLATFORM) -> list[tuple[tuple[str, ...], int]]:
        return [(line.group, line.calls) for line in ask(books, by, who)]

    assert shown(None) == [((), 11)]
    assert shown("customer") == [(("acme",), 10), (("bolt",), 1)]
    assert shown("gateway") == [(("",), 2), (("alpha",), 6), (("beta",), 2), (("gamma",), 1)]
    assert shown("destination") == [(("", ""), 7), (("44", "to 44"), 4)]
    assert shown("gateway", Who("south", None)) == [(("gamma",), 1)]


@pytest.mark.rule("ST-1")
def test_nothing_of_nothing(books: Engine) -> None:
    fill(books, [call("dest_blocked", 403, gateway="")])
    (line,) = ask(books)
    assert (line.asr, line.ner, line.acd_ms, line.minutes) == (None, None, None, 0)
    fill(books, [])
    assert ask(books) == []


@pytest.mark.rule("ST-1")
def test_days_are_those_of_the_zone(books: Engine) -> None:
    edges = [datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)]
    fill(books, [call(at=edge + timedelta(milliseconds=ms), ms=1) for edge in edges for ms in (-1, 0)])
    days = ask(books, first=date(2026, 10, 23), last=date(2026, 10, 27))
    assert [(line.day.day, line.calls) for line in days] == [(24, 1), (25, 2), (26, 1)]


CODES: list[Callable[..., dict[str, Any]]] = [
    lambda **more: call("rejected", 486, **more), lambda **more: call("cancelled", 487, **more),
    lambda **more: call("no_price", 403, **more | {"gateway": ""}),
]  # fmt: skip
MONEY = st.integers(0, 9 * 10**18).map(lambda millionths: f"{Decimal(millionths).scaleb(-6):f}")
SIDES = st.none() | st.builds(priced, MONEY, st.sampled_from(["USD", "EUR"]), st.sampled_from(["44", "447"]))


@st.composite
def any_call(draw: st.DrawFn) -> dict[str, Any]:
    at = NOON + timedelta(hours=draw(st.integers(-100, 100)))
    more = {"at": at, "gateway": draw(st.sampled_from(["alpha", "beta"]))}
    if draw(st.booleans()):
        return call(ms=draw(st.integers(0, 10**7)), sell=draw(SIDES), buy=draw(SIDES), **more)
    return draw(st.sampled_from(CODES))(**more)


@pytest.mark.rule("ST-1")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_call(), max_size=20), st.sampled_from([None, "customer", "destination", "gateway"]))
def test_however_it_is_cut_the_whole_is_the_same(books: Engine, calls: list[dict[str, Any]], by: str | None) -> None:
    fill(books, calls)
    lines = ask(books, by, first=date(2026, 10, 20), last=date(2026, 10, 31))
    assert sum(line.calls for line in lines) == len(calls)
    answered = [one for one in calls if one["answer_at"]]
    assert sum(line.answered for line in lines) == len(answered)
    assert sum(line.duration_ms for line in lines) == sum(one["duration_ms"] for one in answered)
    margins = [money.margin for line in lines for money in line.money.values()]
    both = [one for one in answered if one["sell"] and one["buy"]]
    same = [one for one in both if one["sell"]["currency"] == one["buy"]["currency"]]
    wanted = [Decimal(one["sell"]["amount"]) - Decimal(one["buy"]["amount"]) for one in same]
    assert sum(margins, Decimal(0)) == sum(wanted, Decimal(0))
    assert sum(line.mixed for line in lines) == len(both) - len(same)
    assert sum(line.unpriced for line in lines) == len(answered) - len(both)
    for line in lines:
        assert line.answered <= line.reached <= line.seizures <= line.calls == line.refused + line.seizures
