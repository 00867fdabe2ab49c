"""Blocks and allows at three levels, lists of them as CSV, and short codes over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.portal.world import ANY, World, post

LIST = Path(__file__).parents[2] / "config" / "special-numbers.csv"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(autouse=True)
def nothing_left(world: World) -> Iterator[None]:
    """What a test makes goes again."""

    def there() -> set[str]:
        return {f"/{path}/{one['id']}" for path in ("blocks", "shortcodes") for one in everything(world.admin, path)}

    before = there()
    yield
    for path in there() - before:
        assert world.admin.delete(path, headers=ANY).status_code == 204


def everything(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"page[size]": 500}
    while page:
        answer = client.get(f"/{path}", params=page).json()
        found += answer["data"]
        page = {"page[size]": 500, "page[after]": answer["next"]} if answer["next"] else {}
    return found


def said(world: World, dialled: str, **more: Any) -> dict[str, Any]:
    asked = {"customer": world.tenant().customer, "dialled": dialled, "caller": "442079460018", **more}
    return world.admin.post("/explain", json=asked).json()  # type: ignore[no-any-return]


@pytest.mark.rule("SIP-26")
def test_three_levels_and_what_may_be_undone(world: World) -> None:
    owner, customer = world.partner_admin(), world.tenant().customer

    def blocked(dialled: str = "+442079460018") -> bool:
        return any(entry[0] == "block" for entry in said(world, dialled)["trace"])

    # So that it gets as far as the block.
    ids = {"caller_ids": {"allowed": ["*"], "default": "", "otherwise": "refuse"}}
    before = owner.get(f"/customers/{customer}").json()["caller_ids"]
    assert owner.patch(f"/customers/{customer}", json=ids, headers=ANY).status_code == 200
    assert not blocked()
    platform = post(world.admin, "blocks", {"prefix": "44", "reason": "for a test"})
    assert blocked()
    allow = {"prefix": "4420", "reason": "ours", "action": "allow", "lift_expensive": True, "customer": customer}
    own = post(owner, "blocks", allow)
    assert (own["partner"], own["customer"]) == (world.tenant().partner, customer)
    assert blocked()
    lifted = world.admin.patch(f"/blocks/{platform['id']}", json={"liftable": True}, headers=ANY)
    assert lifted.json()["liftable"] is True
    assert not blocked()
    assert ["block_lifted", "44", "for a test"] in said(world, "+442079460018")["trace"]
    assert ["allowed", "4420", "ours", "customer"] in said(world, "+442079460018")["trace"]
    # Another customer of the partner has no such allow, and another partner's admin sees none of the three.
    assert owner.get(f"/blocks/{platform['id']}").status_code == 404
    assert world.partner_admin("south").get(f"/blocks/{own['id']}").status_code == 404
    assert world.customer_admin().get("/blocks").status_code == 403
    changed = owner.patch(f"/blocks/{own['id']}", json={"action": "block", "lift_expensive": False}, headers=ANY)
    assert changed.status_code == 200
    assert blocked()
    history = owner.get(f"/blocks/{own['id']}/history").json()["data"]
    assert {entry["action"] for entry in history} == {"create", "update"}
    assert owner.post(f"/blocks/{own['id']}/revert", json={"version": 1}, headers=ANY).json()["action"] == "allow"
    assert not blocked()
    draft = {"changes": [{"kind": "blocks", "id": own["id"], "set": {"prefix": "44207946001"}}]}
    assert said(world, "+442079460018", draft=draft)["code"] != "dest_blocked"
    owner.patch(f"/customers/{customer}", json={"caller_ids": before}, headers=ANY)


@pytest.mark.rule("SIP-26")
@pytest.mark.parametrize(
    ("client", "body", "field"),
    [
        ("admin", {"action": "allow", "lift_expensive": True}, "lift_expensive"),
        ("admin", {"action": "allow", "liftable": True}, "liftable"),
        ("partner", {"liftable": True}, "liftable"),
        ("partner", {"lift_expensive": True}, "lift_expensive"),
        ("partner", {"action": "refuse"}, "action"),
        ("partner", {"prefix": "0900"}, "prefix"),
        ("partner", {"customer": "nobody"}, "customer"),
    ],
)
def test_what_does_not_fit_its_level_is_refused(world: World, client: str, body: dict[str, Any], field: str) -> None:
    asking = world.admin if client == "admin" else world.partner_admin()
    refused = asking.post("/blocks", json={"prefix": "8817", "reason": "x", **body})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.rule("SIP-26")
def test_a_prefix_stands_once_at_each_level(world: World) -> None:
    owner = world.partner_admin()
    asked = {"prefix": "8817", "reason": "satellite"}
    one, two = (world.tenant("north", name).customer for name in ("first", "second"))
    for more in ({}, {"customer": one}, {"customer": two}):
        post(owner, "blocks", asked | more)
        assert owner.post("/blocks", json=asked | more | {"action": "allow"}).status_code == 409


@pytest.mark.rule("SIP-26")
def test_the_list_that_ships_is_imported_once(world: World) -> None:
    content = LIST.read_bytes()
    rows = content.decode().count("\n") - 1
    for query, status in (({"dry_run": "true"}, rows), ({"liftable": "true"}, rows), ({"liftable": "true"}, 0)):
        answer = world.admin.post("/blocks/import", params=query, content=content, headers=CSV)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"rows": rows, "created": status, "updated": 0, "unchanged": rows - status}
    (inmarsat,) = world.admin.get("/blocks", params={"filter[prefix][eq]": "870"}).json()["data"]
    assert (inmarsat["reason"], inmarsat["partner"], inmarsat["liftable"]) == ("Inmarsat", None, True)
    again = world.admin.post("/blocks/import", content=b"prefix,reason\n870,ships\n", headers=CSV).json()
    assert again == {"rows": 1, "created": 0, "updated": 1, "unchanged": 0}
    history = world.admin.get(f"/blocks/{inmarsat['id']}/history").json()["data"]
    assert [entry["action"] for entry in history] in (["create", "update"], ["update", "create"])
    traced = said(world, "+870773112233")["trace"]
    assert ["block", "870", "ships", "platform"] in traced or traced[-1] == ["refused", "caller_not_allowed"]


@pytest.mark.rule("SIP-26")
def test_a_list_of_a_partner_or_of_one_customer(world: World) -> None:
    owner, customer = world.partner_admin(), world.tenant().customer
    content = b"prefix,reason,action\n8816,Iridium,block\n88163,ours,allow\n"
    for query in ({}, {"customer": customer}):
        made = owner.post("/blocks/import", params=query, content=content, headers=CSV)
        assert made.json() == {"rows": 2, "created": 2, "updated": 0, "unchanged": 0}
    there = [one for one in everything(owner, "blocks") if one["prefix"].startswith("8816")]
    assert sorted((one["prefix"], one["action"], one["customer"] or "") for one in there) == sorted(
        (prefix, action, whose)
        for prefix, action in (("8816", "block"), ("88163", "allow"))
        for whose in ("", customer)
    )
    assert {one["partner"] for one in there} == {world.tenant().partner}
    refused = world.clients["partner_support north"].post("/blocks/import", content=content, headers=CSV)
    assert refused.status_code == 403


@pytest.mark.rule("SIP-26")
def test_a_list_with_faults_is_not_taken_at_all(world: World) -> None:
    content = b"prefix,reason,liftable\n8816,good,\n88x,bad,\n8817,,\n8818,x,maybe\n8816,again,\n8819,short\n"
    refused = world.admin.post("/blocks/import", content=content, headers=CSV)
    assert refused.status_code == 422
    assert [(fault["field"], fault["reason"]) for fault in refused.json()["errors"]] == [
        ("row 3 column prefix", "'88x' must be digits only, at least one"),
        ("row 4 column reason", "'' is empty"),
        ("row 5 column liftable", "'maybe' must be true or false"),
        ("row 6 column prefix", "'8816' already stands in row 2"),
        ("row 7", "'8819,short' has 2 cells, the first row has 3"),
    ]
    assert not [one for one in everything(world.admin, "blocks") if one["prefix"].startswith("881")]
    assert world.admin.options("/blocks/import").headers["Allow"] == "POST"
    for content, field in ((b"", "body"), (b"prefix\n881\n", "row 1"), (b"\xff", "body"), (b"a,b\n", "row 1 column 1")):
        refused = world.admin.post("/blocks/import", content=content, headers=CSV)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    liftable = world.partner_admin().post(
        "/blocks/import?liftable=true", content=b"prefix,reason\n881,x\n", headers=CSV
    )
    assert (liftable.status_code, liftable.json()["errors"][0]["field"]) == (422, "row 2 column liftable")


@pytest.mark.rule("SIP-25")
def test_short_codes_of_a_partner_and_of_its_customers(world: World) -> None:
    owner, tenant = world.partner_admin(), world.tenant()
    asked = {"code": "112", "name": "Emergency", "gateways": [tenant.ids["gateway"]], "emergency": True}
    made = post(owner, "shortcodes", asked)
    assert (made["partner"], made["customer"], made["dial"]) == (tenant.partner, None, "")
    again = owner.post("/shortcodes", json=asked)
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "code")
    own = post(owner, "shortcodes", asked | {"customer": tenant.customer, "dial": "0112"})
    assert own["customer"] == tenant.customer
    explained = said(world, "1-1-2", caller="15550000000")
    assert explained["outcome"] == "route"
    assert explained["attempts"][0]["request_line"].startswith("INVITE sip:0112@198.51.100.1")
    assert explained["sell"]["rate"] == "0.000000"
    owner.patch(f"/customers/{tenant.customer}", json={"status": "suspended"}, headers=ANY)
    assert said(world, "112")["outcome"] == "route"
    owner.patch(f"/customers/{tenant.customer}", json={"status": "active"}, headers=ANY)
    kept = owner.delete(f"/gateways/{tenant.ids['gateway']}", headers=ANY)
    assert (kept.status_code, kept.json()["errors"][0]["reason"]) == (409, "short code 112 names it")
    draft = {"changes": [{"kind": "shortcodes", "id": own["id"], "set": {"dial": "911"}}]}
    assert said(world, "112", draft=draft)["attempts"][0]["request_line"].startswith("INVITE sip:911@")
    assert world.customer_admin().get("/shortcodes").status_code == 403
    assert world.partner_admin("south").get(f"/shortcodes/{own['id']}").status_code == 404


@pytest.mark.rule("SIP-25")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"code": "1"}, "code"),
        ({"code": "1234567"}, "code"),
        ({"code": "+12"}, "code"),
        ({"number": "0123"}, "number"),
        ({"number": ""}, "body"),
        ({"gateways": ["nobodys"], "number": ""}, "gateways"),
        ({"emergency": True}, "body"),
        ({"dial": "1"}, "body"),
        ({"dial": "a b", "gateways": ["x"], "number": ""}, "dial"),
        ({"name": " "}, "name"),
    ],
)
def test_what_is_no_short_code(world: World, body: dict[str, Any], field: str) -> None:
    asked = {"code": "*77", "name": "Clock", "number": "442079460077", **body}
    refused = world.partner_admin().post("/shortcodes", json=asked)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.rule("SIP-25")
def test_anothers_gateway_is_to_a_code_as_if_it_were_not_there(world: World) -> None:
    north, south = world.tenant("north"), world.tenant("south")
    asked = {"code": "112", "name": "Emergency", "emergency": True}
    foreign, missing = (
        world.partner_admin("south").post("/shortcodes", json=asked | {"gateways": [value]})
        for value in (north.ids["gateway"], "missing")
    )
    assert foreign.status_code == missing.status_code == 422
    assert foreign.text.replace(north.ids["gateway"], "missing") == missing.text
    assert post(world.partner_admin("south"), "shortcodes", asked | {"gateways": [south.ids["gateway"]]})["id"]
