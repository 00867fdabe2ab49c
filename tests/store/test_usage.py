"""Usage equals the sum of the CDRs to the millionth, whatever the calls, the month and the clocks (IP-5)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event
from sqlalchemy.orm import Session

from sipsvc.rating import text
from sipsvc.store import cdrs
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import migrate, open_database, writing
from sipsvc.store.models import Cdr
from sipsvc.store.scope import PLATFORM, Who
from sipsvc.store.statistics import GROUPS, daily
from sipsvc.store.types import to_ms
from sipsvc.store.usage import Usage, _sums, usage
from tests.store.tenants import add_customer, add_partner

# Customer: partner and zone; the last two are in no table any more.
CUSTOMERS = {
    "berlin": ("north", "Europe/Berlin"),
    "havana": ("north", "America/Havana"),
    "kathmandu": ("south", "Asia/Kathmandu"),
    "gone": ("south", "America/Sao_Paulo"),
    "": ("", "UTC"),
}
GONE = ("gone", "")
MONTHS = (date(2026, 3, 1), date(2026, 10, 1), date(2026, 11, 1), date(2027, 1, 1))
# Where months meet and clocks change, give or take.
EDGES = [
    datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 11, 1, 5, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC),
]  # fmt: skip


@st.composite
def instants(draw: st.DrawFn) -> datetime:
    return draw(st.sampled_from(EDGES)) + timedelta(milliseconds=draw(st.integers(-54_000_000, 54_000_000)))


# As much as a column holds, so that the sum of a few would leave 64 bits.
AMOUNTS = st.one_of(
    st.integers(0, 10**9), st.integers(0, 9 * 10**18), st.just(9 * 10**18)
).map(lambda millionths: Decimal(millionths).scaleb(-6))  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """The records of one ended call: answered and priced, unanswered, or refused without a price."""
    invite = draw(instants())
    answer = invite + timedelta(milliseconds=draw(st.integers(0, 200_000))) if draw(st.booleans()) else None
    sell = None
    if answer is not None or draw(st.booleans()):
        amount = draw(AMOUNTS) if answer is not None else Decimal(0)
        billed = draw(st.integers(0, 10**6)) if answer is not None else 0
        sell = {
            "row": 1, "prefix": "44", "name": "there", "currency": draw(st.sampled_from(["USD", "EUR", "XAU"])),
            "billed": billed, "amount": text(amount),
        }  # fmt: skip
    return {
        "customer": draw(st.sampled_from(sorted(CUSTOMERS))),
        "invite_at": to_ms(invite),
        "answer_at": None if answer is None else to_ms(answer),
        "duration_ms": None if answer is None else draw(st.integers(0, 10**8)),
        "sell": sell,
        "up": answer is not None and draw(st.integers(0, 9)) == 0,
    }


def stored(number: int, call: dict[str, Any]) -> cdrs.Row:
    known = {"cdr_id": f"c{number}", "partner": CUSTOMERS[call["customer"]][0], **call}
    return cdrs.merge({"cdr_id": f"c{number}"}, known, None if call["up"] else known | {"end_at": call["invite_at"]})


@pytest.fixture
def books(engine: Engine) -> Engine:
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        add_partner(changes, "south", "America/Sao_Paulo")
        for customer, (partner, zone) in CUSTOMERS.items():
            if customer not in GONE:
                add_customer(changes, customer, partner, time_zone=zone)
    return engine


def fill(engine: Engine, found: list[dict[str, Any]]) -> None:
    with Session(engine) as session, session.begin():
        session.execute(delete(Cdr))
        cdrs.upsert(session, [stored(number, call) for number, call in enumerate(found)])


def ask(engine: Engine, who: Who, of: date, **more: Any) -> list[Usage]:
    with Session(engine) as session:
        return usage(session, who, of, **more)


@pytest.mark.rule("IP-5")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(calls(), max_size=25), of=st.sampled_from(MONTHS))
def test_usage_is_the_sum_of_the_cdrs(books: Engine, found: list[dict[str, Any]], of: date) -> None:
    fill(books, found)
    shown = {one.customer: one for one in ask(books, PLATFORM, of)}
    for customer, (_, zone_name) in CUSTOMERS.items():
        zone = ZoneInfo(zone_name)
        mine = []
        for call in found:
            at = call["invite_at"] if call["answer_at"] is None else call["answer_at"]
            local = datetime.fromtimestamp(at // 1000, UTC).astimezone(zone)
            if call["customer"] == customer and not call["up"] and (local.year, local.month) == (of.year, of.month):
                mine.append(call)
        one = shown.get(customer)
        if one is None:
            assert customer in GONE and not mine
            continue
        answered = [call for call in mine if call["answer_at"] is not None]
        assert (one.calls, one.answered) == (len(mine), len(answered))
        assert one.duration_ms == sum(call["duration_ms"] for call in answered)
        assert one.billed_s == sum(call["sell"]["billed"] for call in mine if call["sell"])
        assert {amount.currency: amount.amount for amount in one.amounts} == {
            currency: sum(
                (Decimal(call["sell"]["amount"]) for call in mine if (call["sell"] or {}).get("currency") == currency),
                Decimal(0),
            )
            for currency in {call["sell"]["currency"] for call in mine if call["sell"]}
        }
        assert sum(amount.calls for amount in one.amounts) == len([call for call in mine if call["sell"]])


def call(customer: str, at: datetime, amount: str = "1.000000", **more: Any) -> dict[str, Any]:
    sell = {"row": 1, "prefix": "44", "name": "there", "currency": "USD", "billed": 60, "amount": amount}
    usual = {"customer": customer, "invite_at": to_ms(at), "answer_at": to_ms(at), "duration_ms": 1, "up": False}
    return usual | {"sell": sell} | more


@pytest.mark.rule("IP-5")
def test_a_call_belongs_to_the_month_in_which_it_was_answered(books: Engine) -> None:
    eve = datetime(2026, 10, 31, 22, 59, 59, tzinfo=UTC)  # a second before November in Berlin
    after = to_ms(eve + timedelta(seconds=1))
    fill(books, [call("berlin", eve), call("berlin", eve, answer_at=after), call("berlin", eve, answer_at=None)])
    october, november = (ask(books, PLATFORM, of, customer="berlin")[0] for of in (date(2026, 10, 1), MONTHS[2]))
    assert (october.calls, october.answered, november.calls, november.answered) == (2, 1, 1, 1)
    assert (november.begin, november.time_zone) == (datetime(2026, 10, 31, 23, tzinfo=UTC), "Europe/Berlin")


@pytest.mark.rule("IP-5", "IP-2")
def test_usage_is_seen_by_those_it_concerns_page_by_page(books: Engine) -> None:
    noon = datetime(2026, 11, 10, 12, tzinfo=UTC)
    fill(books, [call(customer, noon) for customer in CUSTOMERS])
    of = MONTHS[2]

    def names(who: Who, **more: Any) -> list[tuple[str, int]]:
        return [(one.customer, one.calls) for one in ask(books, who, of, **more)]

    everybody = [("", 1), ("berlin", 1), ("gone", 1), ("havana", 1), ("kathmandu", 1)]
    assert names(PLATFORM) == everybody
    assert names(PLATFORM, limit=2) == everybody[:2]
    assert names(PLATFORM, limit=2, after="berlin") == everybody[2:4]
    assert names(Who("north", None)) == [("berlin", 1), ("havana", 1)]
    assert names(Who("south", None)) == [("gone", 1), ("kathmandu", 1)]
    assert names(Who("north", "berlin")) == [("berlin", 1)]
    assert names(Who("north", "berlin"), customer="havana") == []
    assert names(Who("south", None), customer="berlin") == []
    assert ask(books, Who("south", None), of, customer="gone")[0].time_zone == "America/Sao_Paulo"


@pytest.mark.rule("IP-5", "ST-1")
def test_sums_are_made_from_the_indexes_alone(tmp_path: Path) -> None:
    """A row of the table is twenty times as wide: what is not in the index costs a million calls their seconds."""
    url = f"sqlite:///{tmp_path / 'sipsvc.db'}"
    migrate(url)
    engine = open_database(url)
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    with Session(engine) as session:
        for who in (PLATFORM, Who("north", None), Who("north", "berlin")):
            usage(session, who, MONTHS[0])
        _sums(session, Who("north", None), MONTHS[0], "UTC", ["berlin"])
        for who in (PLATFORM, Who("north", None)):
            for by in (None, *GROUPS):
                list(daily(session, who, MONTHS[0], MONTHS[0], ZoneInfo("UTC"), by))
    plans = []
    with engine.connect() as connection:
        for sql, parameters in list(asked):
            if "FROM cdr" in sql:
                steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
                plans += [step[3] for step in steps if " cdr " in f"{step[3]} "]
    engine.dispose()
    assert plans
    assert [plan for plan in plans if "USING COVERING INDEX" not in plan] == []
