"""Signing customers up and looking after them (IP-6, IP-8 to IP-13, IP-16), on both databases."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest

from tests.portal.world import ANY, World, post, sign_up

_numbers = count(1)


def fresh(world: World, **more: Any) -> dict[str, Any]:
    return sign_up(f"fresh{next(_numbers)}", world.tenant().ids["pricelist"], **more)


@pytest.mark.rule("IP-6", "IP-8", "IP-12")
def test_signing_up_makes_the_customer_and_its_first_user(world: World) -> None:
    owner = world.partner_admin()
    asked = fresh(world, admin_username="GraceH", email="Grace@Example.COM", time_zone="Europe/Berlin")
    made = post(owner, "customers", asked)
    assert made["name"] == asked["name"]
    assert (made["status"], made["time_zone"], made["email"]) == ("active", "Europe/Berlin", "grace@example.com")
    assert (made["billing_type"], made["plan"], made["tier"]) == ("usage", "standard", "basic")
    admin = owner.get(f"/users/{made['admin_user']['id']}").json()
    assert admin == made["admin_user"]
    assert (admin["customer"], admin["role"], admin["username"]) == (made["id"], "customer_admin", "graceh")
    assert (admin["email"], admin["first_name"], admin["last_name"]) == ("grace@example.com", "Ada", "King")
    told = [
        owner.get(f"/{path}/history").json()["data"][0]["at"]
        for path in (f"customers/{made['id']}", f"users/{admin['id']}")
    ]
    assert told[0] == told[1]


NEEDED = (
    "name", "admin_username", "contact_first_name", "contact_last_name", "email", "billing_address", "billing_type",
    "plan", "tier", "pricelist",
)  # fmt: skip


@pytest.mark.rule("IP-8")
@pytest.mark.parametrize("field", NEEDED)
def test_what_signing_up_asks_for(world: World, field: str) -> None:
    asked = fresh(world)
    del asked[field]
    refused = world.partner_admin().post("/customers", json=asked)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": field, "reason": "is missing"}]


@pytest.mark.rule("IP-8")
@pytest.mark.parametrize(
    ("plan", "tier", "status"),
    [
        ("standard", "basic", 200),
        ("standard", "plus", 200),
        ("standard", "pro", 422),
        ("standard", "enterprise", 422),
        ("advanced", "basic", 422),
        ("advanced", "plus", 422),
        ("advanced", "pro", 200),
        ("advanced", "enterprise", 200),
    ],
)
def test_tiers_depend_on_the_plan(world: World, plan: str, tier: str, status: int) -> None:
    answer = world.partner_admin().post("/customers?dry_run=true", json=fresh(world, plan=plan, tier=tier))
    assert answer.status_code == status
    if status == 422:
        assert [fault["field"] for fault in answer.json()["errors"]] == ["tier"]


@pytest.mark.rule("IP-9", "IP-10")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("admin_username", "ab"),
        ("admin_username", "a" * 33),
        ("admin_username", "two words"),
        ("admin_username", "o'hara"),
        ("admin_username", "jürgen"),
        ("admin_username", "abc\n"),
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", "a b@example.com"),
        ("email", "a@example.com\n"),
        ("email", f"{'a' * 250}@example.com"),
        ("time_zone", "Europe/Atlantis"),
        ("time_zone", "../etc/passwd"),
        ("time_zone", "europe/berlin"),
        ("billing_type", "barter"),
        ("phone", "call me"),
        ("contact_first_name", " "),
        ("contact_last_name", "a\x00b"),
        ("max_channels", "30"),
        ("max_channels", 1.5),
        ("max_cps", -1),
        ("busy_status", 480),
        ("spend_cap_day", 20),
        ("spend_alert_hour", "-1"),
        ("allow_expensive", 1),
        ("dial_plan", {"national": "0"}),
        ("dial_plan", {"colour": "red"}),
        ("caller_ids", {"otherwise": "default"}),
        ("status", "asleep"),
        ("admin_username", None),
        ("id", "mine"),
    ],
)
def test_what_cannot_be_is_named(world: World, field: str, value: Any) -> None:
    refused = world.partner_admin().post("/customers", json=fresh(world) | {field: value})
    assert refused.status_code == 422
    assert all(fault["field"].split(".")[0] == field for fault in refused.json()["errors"]), refused.text


@pytest.mark.rule("IP-9", "IP-10")
def test_usernames_and_emails_are_unique_on_the_whole_platform_in_any_case(world: World) -> None:
    north, south = world.partner_admin("north"), world.partner_admin("south")
    taken = fresh(world, admin_username="Uniquely", email="unique@example.com")
    made = post(north, "customers", taken)
    pricelist = world.tenant("south").ids["pricelist"]
    for field, value in (("admin_username", "UNIQUELY"), ("email", "Unique@Example.Com")):
        refused = south.post("/customers", json=fresh(world) | {"pricelist": pricelist, field: value})
        assert (refused.status_code, refused.json()["errors"]) == (409, [{"field": field, "reason": "is taken"}])
    other = {"first_name": "Bob", "role": "partner_support", "username": "another1", "email": "another1@example.com"}
    for field, value in (("username", "uniquely"), ("email", "UNIQUE@example.com")):
        refused = south.post("/users", json=other | {field: value})
        assert (refused.status_code, refused.json()["errors"]) == (409, [{"field": field, "reason": "is taken"}])
    path = f"/customers/{world.tenant('south').customer}"
    assert south.patch(path, json={"email": "UNIQUE@example.com"}, headers=ANY).status_code == 409
    # Their own stays theirs.
    assert north.patch(f"/customers/{made['id']}", json={"email": "unique@EXAMPLE.com"}, headers=ANY).status_code == 200


@pytest.mark.rule("IP-11")
def test_review_then_confirm_then_confirm_again(world: World) -> None:
    owner = world.partner_admin()
    asked = fresh(world)

    def many() -> int:
        return len(owner.get("/customers", params={"page[size]": "500"}).json()["data"])

    before = many()
    reviewed = owner.post("/customers?dry_run=true", json=asked)
    assert (reviewed.status_code, reviewed.json()["name"]) == (200, asked["name"])
    assert reviewed.json()["admin_user"]["username"] == asked["admin_username"]
    assert many() == before
    first, second = (owner.post("/customers", json=asked, headers={"Idempotency-Key": "confirm"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert many() == before + 1
    without = owner.post("/customers", json=asked)
    assert {fault["field"] for fault in without.json()["errors"]} == {"admin_username", "email"}


@pytest.mark.rule("IP-13", "IP-16")
def test_what_may_be_edited_later_and_what_not(world: World) -> None:
    owner = world.partner_admin()
    made = post(owner, "customers", fresh(world))
    path = f"/customers/{made['id']}"
    edited = {
        "name": "Renamed",
        "contact_first_name": "Grace",
        "contact_last_name": "Hopper",
        "email": f"grace{made['id'][-6:]}@example.com",
        "phone": "+44 (20) 7946-0018",
    }
    assert owner.patch(path, json=edited, headers=ANY).json().items() >= edited.items()
    operated = {"status": "suspended", "max_channels": 3, "allow_expensive": True, "billing_address": "Elsewhere"}
    operated |= {"dial_plan": {"international": ["00", "011"], "national": "", "country": "", "bare": "refuse"}}
    assert owner.patch(path, json=operated, headers=ANY).json().items() >= operated.items()
    for field, value in (("plan", "advanced"), ("tier", "plus"), ("billing_type", "port_bundle")):
        refused = owner.patch(path, json={field: value, "name": "No"}, headers=ANY)
        assert refused.status_code == 403
        assert refused.json()["errors"] == [{"field": field, "reason": "is settled when the customer is signed up"}]
        assert owner.patch(path, json={field: made[field]}, headers=ANY).status_code == 200
    assert owner.get(path).json()["name"] == "Renamed"
    for field in ("partner", "id", "version", "admin_username", "colour"):
        assert owner.patch(path, json={field: "x"}, headers=ANY).status_code == 422
    assert owner.delete(path, headers=ANY).status_code == 405


@pytest.mark.rule("IP-6")
def test_support_edits_contacts_only_and_customers_nothing(world: World) -> None:
    made = post(world.partner_admin(), "customers", fresh(world))
    path = f"/customers/{made['id']}"
    support = world.of("partner_support")
    assert support.patch(path, json={"contact_first_name": "Joan", "phone": "112"}, headers=ANY).status_code == 200
    for field, value in (("name", "Mine"), ("status", "closed"), ("allow_expensive", True), ("max_channels", 0)):
        refused = support.patch(path, json={"phone": "113", field: value}, headers=ANY)
        if field == "max_channels":
            assert refused.status_code == 200, "it is 0 already"
            continue
        assert (refused.status_code, [fault["field"] for fault in refused.json()["errors"]]) == (403, [field])
    world.partner_admin().patch(path, json={"name": "Now", "contact_first_name": "Jo"}, headers=ANY)
    refused = support.post(f"{path}/revert", json={"version": 1}, headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (403, "name")
    for role in ("partner_billing", "partner_readonly", "customer_admin", "customer_user", "service"):
        assert world.of(role).patch(path, json={"phone": "1"}, headers=ANY).status_code == 403
        assert world.of(role).post("/customers", json=fresh(world)).status_code == 403


@pytest.mark.rule("UI-2", "IP-16")
def test_a_revert_is_checked_like_any_change(world: World) -> None:
    owner = world.partner_admin()
    asked = fresh(world)
    made = post(owner, "customers", asked)
    path = f"/customers/{made['id']}"
    owner.patch(path, json={"email": f"new{asked['email']}"}, headers=ANY)
    # Meanwhile somebody else takes the address: another customer's user has it now.
    assert owner.delete(f"/users/{made['admin_user']['id']}", headers=ANY).status_code == 204
    post(owner, "customers", fresh(world, email=asked["email"]))
    refused = owner.post(f"{path}/revert", json={"version": 1}, headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "email")


@pytest.mark.rule("SIP-20", "SIP-21")
def test_trunks_that_a_packet_would_fit_alike_are_refused_without_saying_whose(world: World) -> None:
    north, south = world.partner_admin("north"), world.partner_admin("south")
    mine, theirs = world.tenant("north").customer, world.tenant("south").customer
    made = post(south, "trunks", {"customer": theirs, "source": "203.0.113.240/30", "port": 5062})
    gateway = post(south, "gateways", {"name": "Far", "host": "203.0.113.250", "port": 5070})
    post(south, "trunks", {"customer": theirs, "username": "their-pbx", "password": "their secret"})
    for body, field in (
        ({"source": "203.0.113.240/30", "port": 5062}, "source"),
        ({"source": "203.0.113.250", "port": 5070}, "source"),
        ({"username": "their-pbx", "password": "x"}, "username"),
    ):
        refused = north.post("/trunks", json={"customer": mine, **body})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, field), refused.text
        assert not any(key in refused.text for key in (made["id"], gateway["id"], "south", theirs, "Far"))
    single = post(north, "trunks", {"customer": mine, "source": "203.0.113.245", "port": 5062})
    # Inside another's network, whatever the port; and at another's one address.
    for client, host, port in ((north, "203.0.113.240", 5099), (south, "203.0.113.245", 5062)):
        refused = client.post("/gateways", json={"name": "Near", "host": host, "port": port})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "host"), refused.text
        assert not any(key in refused.text for key in (made["id"], single["id"], "south", "north", theirs, mine))
    moved = south.patch(f"/gateways/{gateway['id']}", json={"host": "203.0.113.245", "port": 5062}, headers=ANY)
    assert (moved.status_code, moved.json()["errors"][0]["field"]) == (409, "host")
    post(north, "gateways", {"name": "Near", "host": "203.0.113.244"})
    assert north.post("/gateways", json={"name": "Named", "host": "far.example", "port": 5062}).status_code == 201
    assert north.patch(f"/trunks/{single['id']}", json={"enabled": False}, headers=ANY).status_code == 200
    assert north.post("/trunks", json={"customer": mine, "source": "203.0.113.246/30"}).status_code == 422


@pytest.mark.rule("SIP-21")
def test_a_password_is_never_seen_again(world: World) -> None:
    owner = world.partner_admin()
    secret = "correct-horse-battery"
    asked = {"customer": world.tenant().customer, "username": "battery", "password": secret}
    first = owner.post("/trunks", json=asked, headers={"Idempotency-Key": "battery"})
    path = f"/trunks/{first.json()['id']}"
    said = [first, owner.post("/trunks", json=asked, headers={"Idempotency-Key": "battery"}), owner.get(path)]
    said.append(owner.patch(path, json={"password": "another-" + secret}, headers=ANY))
    assert said[-1].headers["etag"] == '"2"'
    said += [owner.get(f"{path}/history"), owner.get("/trunks", headers={"Accept": "text/csv"})]
    said.append(owner.get(path, params={"as_of": first.json()["created_at"]}))
    said.append(owner.patch(path, json={"password": secret + "\n"}, headers=ANY))
    said.append(owner.post(f"{path}/revert", json={"version": 1}, headers=ANY))
    assert said[-1].headers["etag"] == '"2"', "a secret is not reverted"
    for answer in said:
        assert secret not in answer.text
        hidden = r'"ha1_(md5|sha256)":\[(null|"\(hidden\)"),"\(hidden\)"\]'
        assert "ha1" not in re.sub(hidden, "", answer.text)
    changes = owner.get(f"{path}/history").json()["data"]
    assert changes[0]["changes"] == {name: ["(hidden)", "(hidden)"] for name in ("ha1_md5", "ha1_sha256")}
    assert owner.patch(path, json={"username": "other"}, headers=ANY).json()["errors"][0]["field"] == "password"
    assert owner.patch(path, json={"source": "203.0.113.99"}, headers=ANY).status_code == 422
    moved = owner.patch(path, json={"source": "203.0.113.99", "username": None}, headers=ANY).json()
    assert (moved["source"], moved["username"]) == ("203.0.113.99/32", None)
    refused = owner.post(f"{path}/revert", json={"version": 1}, headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "password")


@pytest.mark.rule("SIP-26")
def test_a_prefix_is_blocked_once_for_each_and_the_platforms_are_its_own(world: World) -> None:
    owner = world.partner_admin()
    asked = {"prefix": "88170", "reason": "satellite"}
    made = [post(client, "blocks", asked) for client in (world.admin, owner, world.partner_admin("south"))]
    assert [block["partner"] for block in made] == [None, world.tenant().partner, world.tenant("south").partner]
    for client in (world.admin, owner):
        refused = client.post("/blocks", json=asked)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "prefix")
    assert owner.get(f"/blocks/{made[0]['id']}").status_code == 404
    for block in made:
        assert world.admin.delete(f"/blocks/{block['id']}", headers=ANY).status_code == 204
