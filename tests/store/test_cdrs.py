"""CDRs: any record twice or late changes nothing (law 8)."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from sipsvc.store import cdrs
from sipsvc.store.cdrs import merge
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import writing
from sipsvc.store.models import Cdr
from sipsvc.store.types import from_ms
from tests.store.tenants import add_customer

T0 = 1_770_000_000_000
Record = dict[str, Any]


def priced(rate: str, billed: int, amount: str) -> Record:
    return {
        "row": 7, "prefix": "44", "name": "United Kingdom", "rate": rate, "fee": "0.000000",
        "initial": 60, "increment": 60, "minimum": "0.000000", "currency": "USD", "billed": billed, "amount": amount,
    }  # fmt: skip


def start(cdr_id: str = "c1", at: int = T0, **more: Any) -> Record:
    return {
        "kind": "start", "cdr_id": cdr_id, "call_id": f"call-{cdr_id}", "customer": "acme", "customer_name": "Acme",
        "partner": "demo",
        "trunk": "acme-pbx", "auth": "digest", "source": "127.0.0.1:5060", "dialled": "0044", "e164": "442079460000",
        "caller": "441", "caller_shown": "442", "invite_at": at, "directory": 3, "trace": [["price", "44"]],
        "live": {"channels": 1}, "ref": "r", "from_tag": "f", "cseq": 1,
    } | more  # fmt: skip


def answer(cdr_id: str = "c1", at: int = T0) -> Record:
    return {
        "kind": "answer", "cdr_id": cdr_id, "answer_at": at + 2000, "progress_at": at + 100, "status": 200,
        "gateway": "alpha", "gateway_name": "Alpha", "sent_to": "9#44", "attempts": [attempt()],
        "sell": priced("0.012000", 0, "0.000000"), "buy": priced("0.006000", 0, "0.000000"), "ref": "r",
        "caller_half": {}, "gateway_half": {},
    }  # fmt: skip


def attempt() -> Record:
    return {
        "gateway": "alpha", "name": "Alpha", "request_uri": "sip:44@h", "started_at": T0, "status": 200, "left": "",
        "buy_rate": "0.006000",
    }  # fmt: skip


def end(cdr_id: str = "c1", at: int = T0, **more: Any) -> Record:
    return {
        "kind": "end", "cdr_id": cdr_id, "end_at": at + 61_000, "duration_ms": 59_000, "status": 200, "reason": "OK",
        "code": "answered", "hangup_by": "caller", "q850": 16, "recovered": False, "progress_at": at + 100,
        "answer_at": at + 2000, "gateway": "alpha", "gateway_name": "Alpha", "sent_to": "9#44",
        "attempts": [attempt()], "sell": priced("0.012000", 60, "0.012000"), "buy": priced("0.006000", 59, "0.005900"),
        "margin": "0.006100",
    } | more  # fmt: skip


def refused(cdr_id: str = "c1") -> Record:
    return end(cdr_id) | {
        "duration_ms": None, "status": 403, "reason": "Too expensive", "code": "dest_expensive", "hangup_by": "",
        "q850": None, "progress_at": None, "answer_at": None, "gateway": "", "gateway_name": "", "sent_to": "",
        "attempts": [], "sell": None, "buy": None, "margin": None, "end_at": T0 + 1,
    }  # fmt: skip


def contents(engine: Engine) -> list[dict[str, Any]]:
    with Session(engine) as session:
        found = session.scalars(select(Cdr).order_by(Cdr.invite_at.desc(), Cdr.cdr_id.desc()))
        return [{c.name: getattr(row, c.name) for c in row.__table__.columns} for row in found]


def upsert(engine: Engine, *rows: cdrs.Row) -> None:
    with Session(engine) as session, session.begin():
        cdrs.upsert(session, rows)


def test_a_whole_call(engine: Engine) -> None:
    upsert(engine, merge(start(), answer(), end()))
    (row,) = contents(engine)
    assert row["state"] == "ended"
    assert row["invite_at"] == from_ms(T0)
    assert row["answer_at"] - row["invite_at"] == timedelta(seconds=2)
    assert (row["billed_s"], row["sell_amount"], row["buy_amount"]) == (60, Decimal("0.012000"), Decimal("0.005900"))
    assert (row["margin"], row["sell_currency"], row["buy_currency"]) == (Decimal("0.006100"), "USD", "USD")
    assert row["trace"] == [["price", "44"]]
    assert row["attempts"] == [attempt()]
    assert row["live"] == {"channels": 1}
    assert row["sell"] == priced("0.012000", 60, "0.012000")
    assert row["directory"] == 3


def test_an_open_call(engine: Engine) -> None:
    upsert(engine, merge(start(), answer(), None))
    (row,) = contents(engine)
    assert (row["state"], row["gateway"], row["code"], row["end_at"]) == ("answered", "alpha", "", None)
    assert (row["billed_s"], row["sell_amount"], row["margin"]) == (None, None, None)
    assert row["sell"]["rate"] == "0.012000"


def test_a_refused_call_in_one_record_or_two(engine: Engine) -> None:
    assert merge(start(), None, refused()) == merge(None, None, {**start(), **refused()})
    upsert(engine, merge(start(), None, refused()))
    (row,) = contents(engine)
    assert (row["state"], row["status"], row["code"]) == ("ended", 403, "dest_expensive")
    assert (row["sell"], row["sell_amount"], row["sell_currency"], row["duration_ms"]) == (None, None, "", None)


def test_a_gap_loses_no_call(engine: Engine) -> None:
    upsert(engine, merge(None, None, end()))
    (row,) = contents(engine)
    assert (row["customer"], row["invite_at"], row["sell_amount"]) == ("", from_ms(T0 + 2000), Decimal("0.012000"))
    with pytest.raises(ValueError, match="at least one record"):
        merge(None, None, None)


def test_any_order_any_number_of_times(engine: Engine) -> None:
    rows = [merge(start(), answer(), None), merge(start(), answer(), end())]
    upsert(engine, rows[1])
    wanted = contents(engine)
    for order in permutations(rows * 2):
        upsert(engine, *order)
        assert contents(engine) == wanted
        for row in order:
            upsert(engine, row)
            assert contents(engine) == wanted


def test_the_end_takes_the_place_of_an_open_row(engine: Engine) -> None:
    upsert(engine, merge(start(), answer(), None), merge(start("c2"), answer("c2"), end("c2")))
    upsert(engine, merge(start(), answer(), end()))
    assert [row["state"] for row in contents(engine)] == ["ended", "ended"]
    upsert(engine, merge(start(), answer(), None))
    upsert(engine, merge(start(), answer(), end(code="other", recovered=True)))
    assert [(row["code"], row["recovered"]) for row in contents(engine)] == [("answered", False)] * 2
    upsert(engine)


@pytest.mark.parametrize("seed", range(20))
def test_apply_is_idempotent(engine: Engine, seed: int) -> None:
    """A log delivered in pieces, pieces again and again, ends in the same rows as in one go."""
    draw = random.Random(seed)
    calls = [[start(f"c{n}", T0 + n), answer(f"c{n}", T0 + n), end(f"c{n}", T0 + n)] for n in range(6)]
    log = []
    while any(calls):
        log.append(draw.choice([call for call in calls if call]).pop(0))
    with Session(engine) as session, session.begin():
        cdrs.apply(session, log)
    wanted = contents(engine)
    assert len(wanted) == 6
    for _ in range(5):
        first = draw.randrange(len(log))
        with Session(engine) as session, session.begin():
            cdrs.apply(session, log[first : first + draw.randrange(1, 10)], open_calls=True)
        assert contents(engine) == wanted


def test_apply_over_two_runs(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        cdrs.apply(session, [start(), answer(), start("c2")])
        assert session.execute(select(func.count()).select_from(Cdr)).scalar_one() == 0
        cdrs.apply(session, [start(), answer(), start("c2")], open_calls=True)
    assert [(row["cdr_id"], row["state"]) for row in contents(engine)] == [("c1", "answered")]
    with Session(engine) as session, session.begin():
        cdrs.apply(session, [end(), end()])
    with Session(engine) as session, session.begin():
        cdrs.apply(session, [start(), answer()], open_calls=True)
    (row,) = contents(engine)
    upsert(engine, merge(start("c3"), answer("c3"), end("c3")))
    whole = contents(engine)[0]
    assert row == whole | {"cdr_id": "c1", "call_id": "call-c1"}


def test_nothing_is_too_long(engine: Engine) -> None:
    long = "x" * 70_000
    upsert(engine, merge(start(dialled=long, caller="nul\0", call_id=long), None, refused() | {"reason": long}))
    (row,) = contents(engine)
    assert (row["dialled"], row["caller"], row["reason"], row["call_id"]) == (long, "nul\ufffd", long, long)


def test_big_money(engine: Engine) -> None:
    sell = priced("1.000000", 1, "123456789012.123457")
    upsert(engine, merge(start(), answer(), end(sell=sell)))
    assert contents(engine)[0]["sell_amount"] == Decimal("123456789012.123457")


def without(record: Record) -> Record:
    """As version 0.1 wrote it."""
    return {name: value for name, value in record.items() if name != "partner"}


@pytest.mark.rule("IP-2")
def test_a_call_without_a_partner_is_its_customers_partners(engine: Engine) -> None:
    with writing(engine) as session:
        add_customer(Changes(session, LOCAL), "acme", "reseller")
    upsert(
        engine,
        merge(without(start("old")), answer("old"), end("old")),
        merge(start("new", customer="nobody", partner="other"), answer("new"), end("new")),
        merge(without(start("stranger", customer="nobody")), answer("stranger"), end("stranger")),
        merge(None, None, end("lost")),
    )
    assert {row["cdr_id"]: row["partner"] for row in contents(engine)} == {
        "old": "reseller", "new": "other", "stranger": "", "lost": "",
    }  # fmt: skip


def test_what_is_counted_and_when(engine: Engine) -> None:
    upsert(
        engine,
        merge(start("up"), answer("up"), None),
        merge(start("over"), answer("over"), end("over")),
        merge(start("no"), None, refused("no")),
    )
    seen = {row["cdr_id"]: (row["answered"], row["counted_at"], row["sell_prefix"]) for row in contents(engine)}
    assert seen == {
        "up": (True, None, "44"),
        "over": (True, from_ms(T0 + 2000), "44"),
        "no": (False, from_ms(T0), ""),
    }


def test_position_is_part_of_the_transaction(engine: Engine) -> None:
    with Session(engine) as session:
        assert cdrs.position(session) == ("", 0)
    with Session(engine) as session, session.begin():
        cdrs.set_position(session, "cdr-00000001.log", 5)
        cdrs.set_position(session, "cdr-00000002.log", 2**40)
    with Session(engine) as session:
        assert cdrs.position(session) == ("cdr-00000002.log", 2**40)
        cdrs.upsert(session, [merge(start(), answer(), end())])
        cdrs.set_position(session, "cdr-00000003.log", 1)
        session.rollback()
    with Session(engine) as session:
        assert cdrs.position(session) == ("cdr-00000002.log", 2**40)
        assert cdrs.get(session, "c1") is None


def test_the_upsert_is_postgresql_too() -> None:
    sql = str(cdrs.upsert_statement("postgresql").compile(dialect=make_url("postgresql://").get_dialect()()))
    assert "ON CONFLICT (cdr_id) DO UPDATE SET state = excluded.state" in sql
    assert "WHERE cdr.state != %(state_1)s" in sql
