"""What the resources show, page by page, and what they keep to themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.portal.conftest import PREFIXES, Portal

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def data(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]
    assert isinstance(found, list)
    return found


def walk(portal: Portal, path: str, size: int, **query: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = portal.get(path, page__size=str(size), **query, **more)
        page = data(answer)
        found += page
        following = answer.json()["next"]
        if following is None:
            return found
        assert len(page) == size
        more = {"page__after": following}


def test_customers_are_shown_with_plan_and_trunks_by_themselves(portal: Portal) -> None:
    acme, bolt = data(portal.get("customers"))
    assert portal.get("customers/acme").json() == acme
    assert acme["dial_plan"] == {"international": ["00"], "national": "0", "country": "44", "bare": "international"}
    trunks = data(portal.get("trunks", filter__customer__eq="acme"))
    assert [(trunk["id"], trunk["username"], trunk["source"]) for trunk in trunks] == [
        ("acme-digest", "acme", ""),
        ("acme-office", None, "192.0.2.10/32"),
    ]
    assert (bolt["id"], bolt["status"], bolt["partner"]) == ("bolt", "suspended", "demo")


@pytest.mark.rule("SIP-21")
def test_no_answer_holds_what_proves_who_calls(portal: Portal) -> None:
    for path in ("trunks", "trunks/acme-digest", "trunks/acme-digest/history", "customers/acme"):
        said = portal.get(path).text.lower()
        assert said.count("ha1") == sum(said.count(f'"{key}":[null,"(hidden)"]') for key in ("ha1_md5", "ha1_sha256"))
        assert "password" not in said
        assert not re.search(r"\b[0-9a-f]{32,64}\b", said)


def test_gateways_are_shown_with_their_rules(portal: Portal) -> None:
    (gateway,) = data(portal.get("gateways"))
    assert portal.get("gateways/carrier-a").json() == gateway
    assert gateway["uri_prefix"] == "9#"
    assert gateway["rewrites"] == [{"pattern": "^44", "replacement": "0044"}]
    assert gateway["hunt_codes"] == [500, 502, 503, 504]


def test_money_is_text_with_six_places(portal: Portal) -> None:
    (retail,) = data(portal.get("term-pricelists"))
    assert (retail["minimum"], retail["expensive_at"]) == ("0.010000", "0.500000")
    rows = data(portal.get("term-pricelists/retail/prices"))
    assert {row["rate"] for row in rows} == {"0.012500", "1.500000"}


def test_prices_by_prefix_and_page(portal: Portal) -> None:
    assert [row["prefix"] for row in walk(portal, "term-pricelists/retail/prices", 7)] == sorted(PREFIXES)
    british = sorted(prefix for prefix in PREFIXES if prefix.startswith("443"))
    found = walk(portal, "term-pricelists/retail/prices", 4, filter__prefix__starts="443")
    assert [row["prefix"] for row in found] == british


@pytest.mark.parametrize("path", ["customers/none", "gateways/none", "term-pricelists/none/prices", "cdrs/none"])
def test_what_is_not_there_is_404(portal: Portal, path: str) -> None:
    answer = portal.get(path)
    assert answer.status_code == 404
    assert "none" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["customers", "cdrs"])
@pytest.mark.parametrize("size", [1, 2, 500])
def test_every_item_is_on_one_page(portal: Portal, path: str, size: int) -> None:
    key = "cdr_id" if path == "cdrs" else "id"
    ids = [item[key] for item in walk(portal, path, size)]
    assert len(ids) == len(set(ids)) == (28 if path == "cdrs" else 2)


@pytest.mark.rule("IP-17")
def test_a_call_is_shown_as_it_was(portal: Portal) -> None:
    cdr = portal.get("cdrs/cdr-000003").json()
    assert {name for name, value in cdr.items() if isinstance(value, str) and INSTANT.fullmatch(value)} == {
        "invite_at",
        "progress_at",
        "answer_at",
        "end_at",
        "counted_at",
    }
    assert (cdr["sell_amount"], cdr["buy_amount"], cdr["margin"]) == ("0.020000", "0.010000", "0.010000")
    assert (cdr["billed_s"], cdr["duration_ms"]) == (60, 60_000)
    assert cdr["sell"]["rate"] == "0.020000"
    assert cdr["attempts"][0]["gateway"] == "carrier-a"
    assert cdr["trace"][0] == ["customer", "acme"]


def test_calls_are_newest_first(portal: Portal) -> None:
    assert [cdr["cdr_id"] for cdr in walk(portal, "cdrs", 9)] == [f"cdr-{n:06d}" for n in range(27, -1, -1)]


Check = Callable[[dict[str, Any]], bool]

FILTERS: list[tuple[dict[str, str], int, Check]] = [
    ({"filter__customer__eq": "bolt"}, 1, lambda cdr: cdr["customer"] == "bolt"),
    ({"filter__gateway__eq": "carrier-b"}, 1, lambda cdr: cdr["gateway"] == "carrier-b"),
    ({"filter__call_id__eq": "call-7@192.0.2.1"}, 1, lambda cdr: cdr["cdr_id"] == "cdr-000007"),
    ({"filter__state__eq": "answered"}, 1, lambda cdr: cdr["end_at"] is None and cdr["sell_amount"] is None),
    ({"filter__state__eq": "ended"}, 27, lambda cdr: cdr["state"] == "ended"),
    ({"filter__code__eq": "dest_expensive"}, 1, lambda cdr: cdr["status"] == 403 and cdr["answer_at"] is None),
    ({"filter__status__eq": "403"}, 1, lambda cdr: cdr["customer"] == "bolt"),
    ({"filter__recovered__eq": "true"}, 1, lambda cdr: cdr["recovered"] is True),
    ({"filter__recovered__eq": "false"}, 27, lambda cdr: cdr["recovered"] is False),
    ({"filter__e164__starts": "336"}, 1, lambda cdr: cdr["e164"] == "33612345678"),
    ({"filter__invite_at__gte": "2026-09-21T14:13:30Z"}, 18, lambda cdr: cdr["invite_at"] >= "2026-09-21T14:13:30"),
    ({"filter__invite_at__lt": "2026-09-21T14:13:30Z"}, 10, lambda cdr: cdr["invite_at"] < "2026-09-21T14:13:30"),
    ({"filter__invite_at__gte": "2026-09-21T16:13:30+02:00"}, 18, lambda cdr: True),
    (
        {"filter__invite_at__gte": "2026-09-21T14:13:24.001Z", "filter__invite_at__lt": "2026-09-21T14:13:26.000Z"},
        1,
        lambda cdr: cdr["cdr_id"] == "cdr-000005",
    ),
    ({"filter__customer__eq": "nobody"}, 0, lambda cdr: False),
]


@pytest.mark.rule("IP-17")
@pytest.mark.parametrize(("query", "many", "check"), FILTERS)
def test_filters_give_what_they_say(portal: Portal, query: dict[str, str], many: int, check: Check) -> None:
    found = walk(portal, "cdrs", 5, **query)
    assert len(found) == many
    assert all(check(cdr) for cdr in found)
