"""GET /usage and GET /statistics/daily: pages, files, and questions that cannot be answered (IP-5, ST-1)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from sipsvc.store import cdrs
from sipsvc.store.database import open_database, writing
from tests.cdr.records import answer, end, priced, refused, start
from tests.portal.conftest import Portal, store_bundle, write_bundle
from tests.portal.process import prepared, serving
from tests.portal.test_problems import problem
from tests.portal.world import World

DAYS = {"from": "2026-09-20", "to": "2026-09-23"}
DAY = 86_400_000


def calls() -> Iterator[cdrs.Row]:
    """Two days of calls from 2026-09-21T14:13:20Z on: dollars by two gateways, one bought in euros, one refused."""
    for number in range(6):
        at = number % 2 * DAY
        buy = priced("0.010000", 60, "0.010000") | {"currency": "EUR" if number == 5 else "USD"}
        margin = None if number == 5 else "0.010000"
        more = {"gateway": f"=carrier-{number % 3}", "buy": buy, "margin": margin}
        yield cdrs.merge(start(number, at), answer(number, at), end(number, at + 60_000, **more))
    yield cdrs.merge(None, None, refused(6, customer="bolt"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("figures")
    settings, token = prepared(folder)
    store_bundle(settings, write_bundle(folder))
    engine = open_database(settings.data.url)
    with writing(engine) as session:
        cdrs.upsert(session, list(calls()))
    engine.dispose()
    with serving(settings) as (_, port):
        base, headers = f"http://127.0.0.1:{port}/api/v1", {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=base, headers=headers) as made:
            yield made


def walk(client: httpx.Client, path: str, size: int, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = client.get(path, params=query | {"page[size]": str(size)} | more)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if page["next"] is None:
            return found
        assert len(page["data"]) == size
        more = {"page[after]": page["next"]}


def file(client: httpx.Client, path: str, **query: str) -> list[dict[str, str]]:
    answer = client.get(path, params=query, headers={"Accept": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.mark.rule("IP-5")
def test_usage_is_shown_in_pages_and_as_a_file(client: httpx.Client) -> None:
    acme, bolt = walk(client, "/usage", 1, month="2026-09")
    assert (acme["customer"], acme["month"], acme["begin"]) == ("acme", "2026-09", "2026-09-01T00:00:00.000Z")
    assert (acme["calls"], acme["answered"], acme["duration_ms"], acme["billed_s"]) == (6, 6, 360_000, 360)
    assert [(one["currency"], one["amount"]) for one in acme["amounts"]] == [("USD", "0.120000")]
    assert (bolt["calls"], bolt["amounts"]) == (1, [])
    assert walk(client, "/usage", 9, month="2026-10")[0]["calls"] == 0
    assert [one["customer"] for one in walk(client, "/usage", 9, month="2026-09", **{"filter[customer][eq]": "bolt"})] \
        == ["bolt"]  # fmt: skip
    rows = file(client, "/usage", month="2026-09")
    assert [(row["customer"], row["currency"], row["calls"], row["amount"]) for row in rows] == [
        ("acme", "USD", "6", "0.120000"), ("bolt", "", "1", ""),
    ]  # fmt: skip


@pytest.mark.rule("ST-1")
def test_statistics_are_shown_in_pages_and_as_a_file(client: httpx.Client) -> None:
    whole = walk(client, "/statistics/daily", 50, **DAYS)
    assert [(day["day"], day["calls"], day["refused"], day["asr"]) for day in whole] == [
        ("2026-09-21", 4, 1, "1.000000"), ("2026-09-22", 3, 0, "1.000000"),
    ]  # fmt: skip
    assert whole[1]["mixed"] == 1
    assert whole[1]["money"] == [
        {"currency": "EUR", "sell": "0.000000", "buy": "0.010000", "margin": "0.000000", "margin_calls": 0},
        {"currency": "USD", "sell": "0.060000", "buy": "0.020000", "margin": "0.020000", "margin_calls": 2},
    ]
    for group in ("customer", "destination", "gateway"):
        pages = [walk(client, "/statistics/daily", size, group=group, **DAYS) for size in (1, 2, 50)]
        assert pages[0] == pages[1] == pages[2]
        assert sum(line["calls"] for line in pages[0]) == 7
    gateways = file(client, "/statistics/daily", group="gateway", **DAYS)
    assert {row["gateway"] for row in gateways} == {"", "'=carrier-0", "'=carrier-1", "'=carrier-2"}
    rows = file(client, "/statistics/daily", **DAYS)
    assert sum(int(row["calls"] or 0) for row in rows) == 7
    assert sum(Decimal(row["sell"]) for row in rows) == Decimal("0.12")
    at = walk(client, "/statistics/daily", 9, time_zone="Pacific/Kiritimati", **DAYS)
    assert [day["day"] for day in at] == ["2026-09-22", "2026-09-23"]


@pytest.mark.rule("ST-1")
def test_statistics_can_be_narrowed(client: httpx.Client) -> None:
    for name, value, calls_ in (
        ("customer", "bolt", 1), ("gateway", "=carrier-1", 2), ("sell_prefix", "44", 6), ("partner", "other", 0),
    ):  # fmt: skip
        lines = walk(client, "/statistics/daily", 9, **DAYS, **{f"filter[{name}][eq]": value})
        assert sum(line["calls"] for line in lines) == calls_, name


@pytest.mark.rule("IP-5", "ST-1")
@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("usage", 422, "month"),
        ("usage?month=2026-13", 422, "month"),
        ("usage?month=2026-1", 422, "month"),
        ("usage?month=1969-12", 422, "month"),
        ("usage?month=9999-01", 422, "month"),
        ("usage?month=2026-09&page[after]=x", 400, "page[after]"),
        ("usage?month=2026-09&filter[gateway][eq]=x", 400, "filter[gateway][eq]"),
        ("statistics/daily?from=2026-09-01", 422, "to"),
        ("statistics/daily?from=2026-09-01&to=2026-09-31", 422, "to"),
        ("statistics/daily?from=2026-09-01&to=2026-12-02", 422, "body"),
        ("statistics/daily?from=2026-09-02&to=2026-09-01", 422, "body"),
        ("statistics/daily?from=20260901&to=2026-09-01", 422, "from"),
        ("statistics/daily?from=2026-09-01&to=2026-09-01&time_zone=Mars", 422, "time_zone"),
        ("statistics/daily?from=2026-09-01&to=2026-09-01&group=colour", 422, "group"),
        ("statistics/daily?from=2026-09-01&to=2026-09-01&sort=day", 400, "sort"),
        ("statistics/daily?from=2026-09-01&to=2026-09-01&page[after]=WyJ1c2FnZSIsImEiXQ", 400, "page[after]"),
    ],
)
def test_what_cannot_be_asked(portal: Portal, query: str, status: int, field: str) -> None:
    said = problem(portal.client.get(f"/api/v1/{query}"), status)
    assert [fault["field"] for fault in said["errors"]] == [field]


@pytest.mark.rule("IP-2", "IP-5", "ST-1")
def test_figures_are_of_ones_own_calls(world: World) -> None:
    month, days = {"month": "2026-09"}, {"from": "2026-09-21", "to": "2026-09-21"}

    def used(client: httpx.Client) -> dict[str, int]:
        """Who called; other tests sign up customers who do not."""
        data = client.get("/usage", params=month).json()["data"]
        return {one["customer"]: one["calls"] for one in data if one["calls"]}

    own = [tenant.customer for (partner, _), tenant in world.tenants.items() if partner == "north"]
    assert used(world.partner_admin()) == dict.fromkeys(own, 1)
    assert used(world.customer_admin()) == {world.tenant().customer: 1}
    assert used(world.of("service")) == dict.fromkeys(own, 1)
    assert used(world.admin) == dict.fromkeys((one.customer for one in world.tenants.values()), 1)
    lines = world.partner_admin().get("/statistics/daily", params=days | {"group": "customer"}).json()["data"]
    assert {line["customer"]: line["calls"] for line in lines} == dict.fromkeys(own, 1)
    assert world.admin.get("/statistics/daily", params=days).json()["data"][0]["calls"] == 4
    foreign = {"filter[customer][eq]": world.tenant("south").customer}
    assert world.partner_admin().get("/usage", params=month | foreign).json()["data"] == []
    assert world.partner_admin().get("/statistics/daily", params=days | foreign).json()["data"] == []
