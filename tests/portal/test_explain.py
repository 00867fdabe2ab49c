"""POST /explain decides as calls are decided, on the catalogue as it is (law 4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sipsvc.routing import REFUSALS
from sipsvc.store.changes import utc_now
from sipsvc.store.schedule import DAYS
from sipsvc.store.types import instant
from tests.portal.conftest import Portal, store_bundle, write_bundle
from tests.portal.process import prepared, serving
from tests.portal.test_problems import problem
from tests.portal.world import World, post

FRENCH = {"customer": "acme", "dialled": "0033123456789", "caller": "442079460001"}


def ask(portal: Portal, dialled: str, customer: str = "acme", caller: str = "442079460001") -> dict[str, Any]:
    question = {"customer": customer, "dialled": dialled, "caller": caller}
    answer = portal.client.post("/api/v1/explain", json=question)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert isinstance(said, dict)
    return said


@pytest.mark.rule("law 4")
def test_a_call_that_would_go_through(portal: Portal) -> None:
    said = ask(portal, "02079460123")
    assert (said["outcome"], said["code"], said["e164"], said["caller"]) == (
        "route",
        "",
        "442079460123",
        "442079460001",
    )
    assert (said["sell"]["rate"], said["sell"]["currency"]) == ("0.012500", "USD")
    (attempt,) = said["attempts"]
    assert attempt["gateway"] == "carrier-a"
    assert attempt["request_line"] == "INVITE sip:9%2300442079460123@192.0.2.80:5060 SIP/2.0"
    assert attempt["p_asserted_identity"] == "P-Asserted-Identity: <sip:442079460001@127.0.0.1>"
    assert attempt["buy"]["rate"] == "0.009000"
    assert len(said["trace"]) == len(said["trace_text"]) > 3


@pytest.mark.rule("law 4")
@pytest.mark.parametrize(
    ("dialled", "customer", "code"),
    [("00882123456", "acme", "dest_expensive"), ("00979123456", "acme", "dest_blocked"), ("0044201", "bolt", None)],
)
def test_a_call_that_would_be_refused_says_why(portal: Portal, dialled: str, customer: str, code: str | None) -> None:
    said = ask(portal, dialled, customer)
    assert said["outcome"] == "refused"
    assert said["attempts"] == []
    assert 400 <= said["status"] < 500
    assert said["code"] == code or code is None
    assert said["trace_text"][-1].startswith("refused")
    assert (said["reason"], said["text"]) == ("Forbidden", REFUSALS[said["code"]].text)


@pytest.mark.rule("law 4")
def test_a_new_catalogue_is_taken_up_at_once_and_in_none_is_no_customer(tmp_path: Path) -> None:
    settings, token = prepared(tmp_path)
    question = {"customer": "acme", "dialled": "02079460123"}
    with (
        serving(settings) as (_, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        answer = client.post("/api/v1/explain", json=question)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "customer"
        for rate, shown in (("0.02", "0.020000"), ("0.03", "0.030000")):
            store_bundle(settings, write_bundle(tmp_path, rate))
            assert client.post("/api/v1/explain", json=question).json()["sell"]["rate"] == shown


# An hour of the day before yesterday's weekday: whenever this runs, it is another day now.
NEVER = f"{DAYS[(datetime.now(UTC).weekday() - 2) % 7]} 01:00-02:00 UTC"


def draft(portal: Portal, question: dict[str, Any], **draft: Any) -> dict[str, Any]:
    answer = portal.client.post("/api/v1/explain", json=question | {"draft": draft})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert isinstance(said, dict)
    return said


@pytest.mark.rule("EX-1")
def test_at_a_time_before_there_were_prices(portal: Portal) -> None:
    # The first load's prices have always been; nothing else is looked at as it was.
    answer = portal.client.post("/api/v1/explain", json=FRENCH | {"at": "2001-01-01T00:00:00Z"})
    assert (answer.json()["outcome"], answer.json()["at"]) == ("route", "2001-01-01T00:00:00.000Z")


@pytest.mark.rule("EX-1")
def test_a_draft_is_decided_on_and_leaves_nothing_behind(portal: Portal) -> None:
    before = portal.client.post("/api/v1/explain", json=FRENCH).json()
    drafts: list[tuple[dict[str, Any], tuple[str, str | None]]] = [
        ({}, ("", "0.012500")),
        ({"prices": [{"pricelist": "retail", "prefix": "33", "rate": "0.02"}]}, ("", "0.020000")),
        ({"prices": [{"pricelist": "retail", "prefix": "3312", "origin": "4420", "rate": "0.03"}]}, ("", "0.030000")),
        ({"prices": [{"pricelist": "retail", "prefix": "3312", "origin": "49", "rate": "0.03"}]}, ("no_price", None)),
        ({"prices": [{"pricelist": "retail", "prefix": "33", "rate": "0.7"}]}, ("dest_expensive", "0.700000")),
        ({"changes": [{"kind": "gateways", "id": "carrier-a", "set": {"enabled": False}}]}, ("no_route", "0.012500")),
        ({"changes": [{"kind": "gateways", "id": "carrier-a", "set": {"schedule": [NEVER]}}]},
         ("gateways_closed", "0.012500")),
        ({"prices": [{"gateway": "carrier-a", "prefix": "33", "rate": "0.5"}]}, ("no_route", "0.012500")),
        ({"prices": [{"gateway": "carrier-a", "prefix": "33", "rate": "0.5"}],
          "changes": [{"kind": "term-pricelists", "id": "retail", "set": {"allow_loss": True}}]}, ("", "0.012500")),
        ({"changes": [{"kind": "customers", "id": "acme", "set": {"status": "closed"}}]}, ("customer_closed", None)),
        ({"changes": [{"kind": "blocks", "id": "block-979", "set": {"prefix": "33"}}]}, ("dest_blocked", None)),
    ]  # fmt: skip
    for changes, (code, rate) in drafts:
        said = draft(portal, FRENCH, **changes)
        assert (said["code"], said["sell"] and said["sell"]["rate"]) == (code, rate), changes
        assert said["directory"] == before["directory"] + 1
    cheaper = draft(portal, FRENCH, prices=[{"gateway": "carrier-a", "prefix": "331", "rate": "0.001"}])
    assert (cheaper["attempts"][0]["buy"]["rate"], cheaper["attempts"][0]["margin"]) == ("0.001000", "0.011500")
    dressed = draft(portal, FRENCH, changes=[
        {"kind": "gateways", "id": "carrier-a", "set": {"uri_prefix": "1#", "remote_party_id": True}},
        {"kind": "gateways", "id": "carrier-a", "set": {"host": "192.0.2.81"}},
    ])  # fmt: skip
    assert dressed["attempts"][0]["request_line"] == "INVITE sip:1%2333123456789@192.0.2.81:5060 SIP/2.0"
    named = draft(portal, FRENCH, changes=[
        {"kind": "gateways", "id": "carrier-a", "set": {"host": "Gw.Carrier.example", "port": 0, "transport": "tls"}}
    ])  # fmt: skip
    assert named["attempts"][0]["request_line"].endswith("@gw.carrier.example;transport=tls SIP/2.0")
    assert dressed["attempts"][0]["remote_party_id"].startswith("Remote-Party-ID: <sip:442079460001@127.0.0.1>")
    after = portal.client.post("/api/v1/explain", json=FRENCH).json()
    assert after == before | {"at": after["at"]}
    assert portal.get("gateways/carrier-a").json()["version"] == 2
    assert len(portal.get("gateways/carrier-a/history").json()["data"]) == 2


@pytest.mark.rule("EX-1")
@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"changes": [{"kind": "gateways", "id": "none", "set": {}}]}, 422, "draft.changes.0.id"),
        ({"changes": [{"kind": "gateways", "id": "carrier-a", "set": {"port": "x"}}]}, 422, "draft.changes.0.set.port"),
        ({"changes": [{"kind": "customers", "id": "acme", "set": {"plan": "advanced"}}]}, 403,
         "draft.changes.0.set.plan"),
        ({"changes": [{"kind": "customers", "id": "acme", "set": {"nothing": 1}}]}, 422, "draft.changes.0.set.nothing"),
        ({"changes": [{"kind": "customers", "id": "acme", "set": {"pricelist": "x"}}]}, 422,
         "draft.changes.0.set.pricelist"),
        ({"changes": [{"kind": "partners", "id": "demo", "set": {}}]}, 422, "draft.changes.kind"),
        ({"prices": [{"pricelist": "none", "prefix": "33", "rate": "1"}]}, 422, "draft.prices.0.pricelist"),
        ({"prices": [{"pricelist": "retail", "gateway": "x", "prefix": "3", "rate": "1"}]}, 422, "draft.prices"),
        ({"prices": [{"pricelist": "retail", "prefix": "033", "rate": "1"}]}, 422, "draft.prices.prefix"),
        ({"prices": [{"pricelist": "retail", "prefix": "33", "rate": 0.1}]}, 422, "draft.prices.rate"),
        ({"prices": [{"pricelist": "retail", "prefix": "33", "rate": "1"}] * 2}, 422, "draft.prices.1.prefix"),
    ],
)  # fmt: skip
def test_a_draft_that_could_not_be_made_names_the_field(
    portal: Portal, changes: dict[str, Any], status: int, field: str
) -> None:
    said = problem(portal.client.post("/api/v1/explain", json=FRENCH | {"draft": changes}), status)
    assert [fault["field"] for fault in said["errors"]] == [field]


@pytest.mark.rule("EX-1")
def test_no_draft_was_in_force_in_the_past(portal: Portal) -> None:
    past = instant(utc_now() - timedelta(minutes=1))
    said = problem(portal.client.post("/api/v1/explain", json=FRENCH | {"at": past, "draft": {}}), 422)
    assert said["errors"][0]["field"] == "at"
    later = draft(portal, FRENCH | {"at": "2090-01-01T00:00:00Z"}, prices=[
        {"pricelist": "retail", "prefix": "33", "rate": "0.02"}
    ])  # fmt: skip
    assert later["sell"]["rate"] == "0.020000"


@pytest.mark.rule("EX-1", "EX-2", "IP-2")
def test_who_may_ask_what(world: World) -> None:
    tenant = world.tenant()
    question = {"customer": tenant.customer, "dialled": "0033123456789", "caller": "442079460001"}
    set_up = {
        "changes": [
            {"kind": "customers", "id": tenant.customer, "set": {"caller_ids": {"allowed": ["*"]}}},
        ],
        "prices": [
            {"pricelist": tenant.ids["pricelist"], "prefix": "33", "rate": "0.02"},
            {"gateway": tenant.ids["gateway"], "prefix": "33", "rate": "0.01"},
        ],
    }
    said = post(world.partner_admin(), "explain", question | {"draft": set_up}, 200)
    assert (said["outcome"], said["attempts"][0]["buy"]["rate"]) == ("route", "0.010000")
    for client in (world.admin, world.partner_admin()):
        assert client.post("/explain", json=question).status_code == 200
    refused = world.partner_admin("south").post("/explain", json=question)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "customer")
    foreign = set_up | {"prices": [{"gateway": world.tenant("south").ids["gateway"], "prefix": "33", "rate": "1"}]}
    refused = world.partner_admin().post("/explain", json=question | {"draft": foreign})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "draft.prices.0.gateway")
    support = world.of("partner_support")
    assert support.post("/explain", json=question | {"draft": set_up}).status_code == 403
    assert world.customer_admin().post("/explain", json=question | {"draft": set_up}).status_code == 403
    other = world.tenant("north", "second").customer
    refused = world.customer_admin().post("/explain", json=question | {"customer": other})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "customer")
