"""What a gateway may be set to, and what is refused with the name of the setting (SIP-29, TG-2 to TG-6)."""

from __future__ import annotations

from typing import Any

import pytest

from portal_api.gateways.schemas import GatewayCreate
from tests.portal.world import ANY, World, post

# A setting and what it cannot be. Each has one row at least.
WRONG: list[tuple[str, Any]] = [
    ("name", " "),
    ("name", "Carrier\r\nVia: x"),
    ("host", "carrier"),
    ("host", "192.0.2.1\r\nVia: x"),
    ("host", "[2001:db8::1]"),
    ("port", 65_536),
    ("port", "5060"),
    ("transport", "UDP"),
    ("tcp_if_large", "yes"),
    ("currency", "usd"),
    ("priority", "first"),
    ("enabled", 1),
    ("trusted", "no"),
    ("remote_party_id", None),
    ("p_asserted_identity", "always"),
    ("caller_prefix", "<77>"),
    ("caller_prefix", "77\n"),
    ("caller_prefix", "7" * 33),
    ("caller_prefix_in", ["to"]),
    ("uri_prefix", "9\x00"),
    ("uri_prefix", "9" * 33),
    ("uri_prefix_escaped", "false"),
    ("hunt_codes", [486]),
    ("provisional_timeout_ms", 0),
    ("ring_timeout_s", 3_601),
    ("plus_in_caller", "+"),
    ("diversion", 1),
    ("max_channels", -1),
    ("max_cps", 1_000_001),
    ("weight", "much"),
    ("schedule", ["mon"]),
    ("auth_username", "a:b"),
    ("auth_password", "secret"),
    ("auth_realm", "carrier"),
    ("ping_interval_s", 3_601),
    ("down_after", 0),
    ("up_after", 101),
    ("registration", 1),
    ("registration_expires_s", 59),
    ("rewrites", [{"pattern": "(4", "replacement": ""}]),
    ("rewrites", [{"pattern": "4", "replacement": "\\1"}]),
    ("rewrites", [{"pattern": "4", "replacement": "0\r\n"}]),
    ("rewrites", [{"pattern": "4"}]),
    ("partner", 7),
    ("colour", "red"),
]
PLAIN = {"name": "Carrier", "host": "203.0.113.210"}


@pytest.mark.rule("SIP-29", "SIP-5", "SIP-30", "TG-2", "TG-3", "TG-4", "TG-5", "TG-6")
@pytest.mark.parametrize(("field", "value"), WRONG, ids=repr)
def test_what_cannot_be_is_named(world: World, field: str, value: Any) -> None:
    refused = world.partner_admin().post("/gateways", json=PLAIN | {field: value})
    assert refused.status_code == 422
    assert {fault["field"].partition(".")[0] for fault in refused.json()["errors"]} == {field}, refused.text


def test_every_setting_has_its_row() -> None:
    assert {field for field, _ in WRONG} - {"colour"} == set(GatewayCreate.model_fields)


@pytest.mark.rule("SIP-29", "TG-6")
def test_a_prefix_that_is_sent_as_it_stands_is_refused_by_name_where_it_cannot_be(world: World) -> None:
    for prefix, status in (("9#", 201), ("9@", 422), ("é", 422)):
        body = PLAIN | {"host": "203.0.113.211", "uri_prefix_escaped": False, "uri_prefix": prefix}
        answer = world.partner_admin().post("/gateways", json=body)
        assert answer.status_code == status
        assert status == 201 or [fault["field"] for fault in answer.json()["errors"]] == ["uri_prefix"]


@pytest.mark.rule("SIP-29", "TG-5")
def test_what_it_gets_to_see_is_set_shown_and_off_until_then(world: World) -> None:
    owner = world.partner_admin()
    made = post(owner, "gateways", PLAIN | {"host": "203.0.113.212"})
    assert (made["plus_in_caller"], made["diversion"]) == (False, False)
    path = f"/gateways/{made['id']}"
    changed = owner.patch(path, json={"plus_in_caller": True, "diversion": True}, headers=ANY).json()
    assert (changed["plus_in_caller"], changed["diversion"]) == (True, True)
    assert owner.get(path).json() == changed
