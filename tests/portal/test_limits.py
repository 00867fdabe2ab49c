"""Limits, schedules, weights and the margin guard over the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.portal.world import ANY, World

SCHEDULE = ["mon-fri 08:00-20:00 Europe/Berlin", "sat 22:00-02:00 UTC"]
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("gateways", {"max_channels": 3, "max_cps": 2, "weight": 0, "schedule": SCHEDULE}),
    ("trunks", {"max_channels": 3}),
    ("term-pricelists", {"strategy": "weight", "expected_s": 90, "allow_loss": True}),
    ("customers", {"max_cps": 2, "busy_status": 503, "spend_cap_day": "20.500000", "spend_alert_hour": "0.000000"}),
]
FAULTS = [
    ("gateways", "schedule", ["mon 08:00-20:00"]),
    ("gateways", "schedule", SCHEDULE * 11),
    ("gateways", "weight", -1),
    ("gateways", "max_cps", 1.5),
    ("trunks", "max_channels", -1),
    ("term-pricelists", "expected_s", 0),
    ("term-pricelists", "strategy", "dearest"),
    ("customers", "busy_status", 480),
]
KINDS = {"gateways": "gateway", "trunks": "trunk", "term-pricelists": "pricelist", "customers": "customer"}


@pytest.mark.rule("SIP-27", "SIP-28", "SIP-29", "IP-3")
@pytest.mark.parametrize(("path", "values"), CHANGES)
def test_they_are_set_and_shown(world: World, path: str, values: dict[str, Any]) -> None:
    tenant, admin = world.tenant("north"), world.partner_admin("north")
    where = f"/{path}/{tenant.ids[KINDS[path]]}"
    before = admin.get(where).json()
    changed = admin.patch(where, json=values, headers=ANY)
    assert changed.status_code == 200, changed.text
    assert {name: changed.json()[name] for name in values} == values
    back = {name: before[name] for name in values}
    assert admin.patch(where, json=back, headers=ANY).json() | {"version": 0, "updated_at": ""} == before | {
        "version": 0,
        "updated_at": "",
    }


@pytest.mark.rule("SIP-27", "SIP-28", "SIP-29")
@pytest.mark.parametrize(("path", "field", "value"), FAULTS)
def test_what_cannot_be_is_named(world: World, path: str, field: str, value: Any) -> None:
    tenant, admin = world.tenant("north"), world.partner_admin("north")
    refused = admin.patch(f"/{path}/{tenant.ids[KINDS[path]]}", json={field: value}, headers=ANY)
    assert refused.status_code == 422
    assert {fault["field"].split(".")[0] for fault in refused.json()["errors"]} == {field}, refused.text
