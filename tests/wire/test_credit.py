"""Credit and allowances with real calls: nobody talks on for money that is not there (DOMAIN, prepaid, allowance)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy.orm import Session

from sipsvc.demo.server import Server, free_port
from sipsvc.settings import load
from sipsvc.store.database import open_database
from sipsvc.store.models import AllowanceUsed
from tests.postgres import Postgres
from tests.wire.conftest import Stage, serving

MANY, BY_SECONDS, HOME, UNLIMITED = "127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"

BUNDLE = """\
[platform]
realm = "wire"
[partner]
name = "Wire"
[[customer]]
id = "many"
name = "Many at once"
pricelist = "minutes"
prepaid = true
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "many-address"
source = "127.0.0.11/32"
[[customer]]
id = "seconds"
name = "By seconds"
pricelist = "seconds"
prepaid = true
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "seconds-address"
source = "127.0.0.12/32"
[[customer]]
id = "home"
name = "Minutes a month"
pricelist = "seconds"
time_zone = "Pacific/Auckland"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "home-address"
source = "127.0.0.13/32"
[[customer]]
id = "unlimited"
name = "Without end"
pricelist = "seconds"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "unlimited-address"
source = "127.0.0.14/32"
[[package]]
id = "a-minute"
name = "A minute"
kind = "unlimited_domestic"
currencies = ["USD"]
pricelist = "seconds"
country = "GB"
minutes = 1
customer = "home"
[[package]]
id = "all"
name = "All"
kind = "unlimited_international"
currencies = ["USD"]
pricelist = "seconds"
customer = "unlimited"
[[gateway]]
id = "alpha"
name = "Alpha"
host = "127.0.0.1"
port = {gateway}
coverage = "coverage.csv"
[[pricelist]]
id = "minutes"
name = "Minutes"
initial = 60
increment = 60
expensive_at = ""
rows = "prices.csv"
[[pricelist]]
id = "seconds"
name = "Seconds"
initial = 1
increment = 1
expensive_at = ""
rows = "dear.csv"
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    url = ""
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.database())
    bundle, gateway = tmp_path / "bundle", free_port()
    bundle.mkdir()
    (bundle / "bundle.toml").write_text(BUNDLE.format(gateway=gateway))
    (bundle / "coverage.csv").write_text("prefix,name,rate\n44,United Kingdom,0.01\n")
    (bundle / "prices.csv").write_text("prefix,name,rate\n44,United Kingdom,0.50\n")
    (bundle / "dear.csv").write_text("prefix,name,country,rate\n44,United Kingdom,GB,6.00\n")
    server = Server(tmp_path / "serve", bundle / "bundle.toml", database=url)
    with serving(server):
        yield Stage(server, gateway, free_port())


def asked(stage: Stage, method: str, path: str, **more: Any) -> Any:
    given = stage.server.credentials
    headers = {"Authorization": f"Bearer {given.api_token}"}
    end = time.monotonic() + 45
    while True:  # the API starts beside the server
        try:
            answer = httpx.request(method, f"{given.api_url}/api/v1{path}", headers=headers, timeout=20, **more)
            break
        except httpx.ConnectError:
            assert time.monotonic() < end, stage.server.tail()
            time.sleep(0.2)
    assert answer.is_success, answer.text
    return answer.json()


def pay(stage: Stage, customer: str, amount: str) -> None:
    """Money for an account; it is good for calls a second later."""
    asked(stage, "POST", "/ledger", json={"customer": customer, "kind": "payment", "amount": amount})
    time.sleep(1.5)


def delivered(stage: Stage, customer: str, calls: int) -> list[dict[str, Any]]:
    """The records of a customer's calls, when so many have ended."""
    end = time.monotonic() + 45
    query = {"filter[customer][eq]": customer, "filter[state][eq]": "ended", "page[size]": 500}
    while True:
        found: list[dict[str, Any]] = asked(stage, "GET", "/cdrs", params=query)["data"]
        if len(found) >= calls:
            assert len(found) == calls
            return found
        assert time.monotonic() < end, (len(found), stage.server.tail())
        time.sleep(0.3)


def charges(stage: Stage, customer: str) -> list[Decimal]:
    query = {"filter[customer][eq]": customer, "filter[kind][eq]": "charge", "sort": "at", "page[size]": 500}
    return [Decimal(row["amount"]) for row in asked(stage, "GET", "/ledger", params=query)["data"]]


@pytest.mark.rule("SIP-27", "law 6", "law 8")
def test_two_hundred_calls_at_once_on_credit_for_ten(stage: Stage, tmp_path: Path) -> None:
    pay(stage, "many", "5.00")
    gateway, _ = stage.gateways(tmp_path)
    caller = stage.caller(tmp_path, "ip_call", "-l", "400", calls=200, source=MANY, talk_ms=4000)
    try:
        caller.wait(60)
    finally:
        caller.stop()
        gateway.stop()
        _.stop()
    records = delivered(stage, "many", 200)
    codes = [record["code"] for record in records]
    assert (codes.count("answered"), codes.count("credit_exhausted")) == (10, 190)
    assert {record["status"] for record in records if record["code"] != "answered"} == {402}
    assert len(gateway.received("INVITE")) == 10, "who cannot pay reaches no gateway"
    balance = Decimal("5.00")
    for amount in charges(stage, "many"):
        balance -= amount
        assert balance >= 0
    assert balance == Decimal(asked(stage, "GET", "/customers/many/balance")["balance"]) == 0


@pytest.mark.rule("SIP-19", "SIP-27")
def test_a_call_is_cut_when_its_credit_is_gone_and_pays_for_no_more(stage: Stage, tmp_path: Path) -> None:
    pay(stage, "seconds", "0.30")
    gateway, _ = stage.gateways(tmp_path)
    caller = stage.caller(tmp_path, "cut_call", source=BY_SECONDS)
    try:
        caller.wait(30)
    finally:
        caller.stop()
        gateway.stop()
        _.stop()
    assert (caller.counters().ok, gateway.counters().ok) == (1, 1), "BYE to both"
    (record,) = delivered(stage, "seconds", 1)
    assert (record["code"], record["hangup_by"]) == ("credit_exhausted", "proxy")
    assert 2900 <= record["duration_ms"] <= 4500
    assert (record["sell"]["billed"], Decimal(record["sell"]["amount"])) == (3, Decimal("0.30"))
    assert charges(stage, "seconds") == [Decimal("0.30")]
    assert Decimal(asked(stage, "GET", "/customers/seconds/balance")["balance"]) == 0
    refused = stage.caller(tmp_path, "no_credit", source=BY_SECONDS)
    assert refused.wait(20) == 0, refused.errors()


@pytest.mark.rule("PP-2", "PP-4")
def test_a_call_past_the_end_of_the_minutes_is_charged_for_the_part_beyond(stage: Stage, tmp_path: Path) -> None:
    month = datetime.now(ZoneInfo("Pacific/Auckland")).strftime("%Y-%m")
    # Half of this month's minute is gone when the server starts.
    stage.server.stop()
    engine = open_database(load(stage.server.config).data.url)
    with Session(engine) as session, session.begin():
        session.add(AllowanceUsed(trunk="home-address", month=month, seconds=30))
    engine.dispose()
    stage.server.start()
    gateway, _ = stage.gateways(tmp_path)
    callers = [
        stage.caller(tmp_path, "ip_call", source=source, talk_ms=59_500, label=label)
        for source, label in ((HOME, "home"), (UNLIMITED, "unlimited"))
    ]
    try:
        for caller in callers:
            assert caller.wait(90) == 0, caller.errors()
    finally:
        for one in (*callers, gateway, _):
            one.stop()
    (home,) = delivered(stage, "home", 1)
    # Ten cents a second: thirty of sixty seconds are paid by the minutes left.
    assert (home["sell"]["billed"], home["sell"]["allowance"]) == (60, 30)
    assert charges(stage, "home") == [Decimal(home["sell"]["amount"])] == [Decimal("3.00")]
    (unlimited,) = delivered(stage, "unlimited", 1)
    assert (unlimited["sell"]["billed"], Decimal(unlimited["sell"]["amount"])) == (60, 0)
    assert charges(stage, "unlimited") == []
    left = asked(stage, "GET", "/trunks/home-address/allowance", params={"month": month})
    assert (left["used_s"], left["left_s"]) == (60, 0)
