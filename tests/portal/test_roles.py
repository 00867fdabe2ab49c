"""Roles, scopes and tokens: who may do what, and that nobody hands on more than they have (IP-6)."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from sqlalchemy import update

from portal_api import roles
from sipsvc.store.changes import utc_now
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Token
from sipsvc.store.types import instant
from tests.portal.test_tenancy import KNOWN, ask
from tests.portal.world import ANY, World, post


@pytest.mark.rule("IP-6")
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_operation_asks_for_its_right(world: World, name: str) -> None:
    operation = KNOWN[name]
    for role in roles.ROLES:
        status = ask(world.of(role), name, operation, world.tenant()).status_code
        allowed = operation.needs in roles.rights(role)
        assert (status == 403) != allowed, (role, status)


@pytest.mark.rule("IP-6")
def test_the_table_of_roles_says_what_was_agreed() -> None:
    everything = roles.rights("platform_admin")
    for role in roles.ROLES:
        assert roles.rights(role) <= everything
    for role in roles.PARTNER_ROLES:
        assert roles.rights("partner_readonly") <= roles.rights(role)
        assert roles.rights(role) <= roles.rights("partner_admin")
        assert ("partner", "create") not in roles.rights(role)
    assert all(action == "read" for _, action in roles.rights("partner_readonly"))
    for role, kind in product(roles.CUSTOMER_ROLES, ("gateway", "pricelist", "import", "statistics", "token")):
        assert (kind, "read") not in roles.rights(role)
    assert roles.rights("service") == {("cdr", "read"), ("usage", "read")}


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        (["*"], True, True),
        (["read"], True, False),
        (["gateways:read"], True, False),
        (["gateways:write"], True, True),
        (["trunks:write", "cdrs:read"], False, False),
    ],
)
def test_scopes_narrow_the_role(world: World, scopes: list[str], reads: bool, writes: bool) -> None:
    narrow = world.token("partner_admin", partner=world.tenant().partner, scopes=scopes)
    gateway = world.tenant().ids["gateway"]
    asked = {"name": "Scoped", "host": "198.51.100.99"}
    assert (narrow.get("/gateways").status_code == 200) == reads
    assert (narrow.post("/gateways?dry_run=true", json=asked).status_code == 200) == writes
    assert (narrow.post(f"/gateways/{gateway}/notes?dry_run=true", json={"text": "x"}).status_code == 200) == writes
    refused = narrow.post("/partners", json={"name": "x"})
    assert refused.status_code == 403
    if not writes:
        assert "scopes" in narrow.post("/gateways", json=asked).json()["detail"]


@pytest.mark.rule("IP-6")
def test_a_token_hands_on_no_more_than_it_may(world: World) -> None:
    tenant = world.tenant()
    narrow = world.token("partner_admin", partner=tenant.partner, scopes=["tokens:write", "cdrs:read"])
    admin = world.partner_admin()
    for client, asked, status in (
        (admin, {"role": "platform_admin"}, 403),
        (admin, {"role": "partner_admin"}, 201),
        (admin, {"role": "customer_admin", "customer": tenant.customer}, 201),
        (admin, {"role": "customer_admin"}, 422),
        (admin, {"role": "partner_admin", "customer": tenant.customer}, 422),
        (admin, {"role": "service"}, 201),
        (world.admin, {"role": "partner_admin"}, 422),
        (world.admin, {"role": "platform_admin", "partner": tenant.partner}, 422),
        (narrow, {"role": "partner_admin"}, 403),
        (narrow, {"role": "partner_readonly"}, 403),
        (narrow, {"role": "partner_admin", "scopes": ["cdrs:read"]}, 201),
        (narrow, {"role": "partner_admin", "scopes": ["cdrs:read", "usage:read"]}, 403),
        (narrow, {"role": "service", "scopes": ["cdrs:read"]}, 201),
        (narrow, {"role": "service"}, 403),
        (world.of("partner_billing"), {"role": "partner_billing"}, 403),
        (world.of("customer_admin"), {"role": "customer_user", "customer": tenant.customer}, 403),
    ):
        answer = client.post("/tokens", json={"name": "handed on", **asked})
        assert answer.status_code == status, (asked, answer.text)
        if status == 201:
            assert answer.json()["partner"] == tenant.partner


@pytest.mark.rule("IP-6")
def test_nobody_makes_or_moves_a_user_above_themselves(world: World) -> None:
    tenant = world.tenant()
    support, own = world.of("partner_support"), world.customer_admin()
    above = post(world.partner_admin(), "users", _user("above1", "partner_admin"))
    below = post(support, "users", _user("below1", "customer_user") | {"customer": tenant.customer})
    for client, status in ((support, 403), (own, 422), (world.partner_admin(), 200)):
        answer = client.post("/users?dry_run=true", json=_user("above2", "partner_admin"))
        assert answer.status_code == status, answer.text
    for change in ({"email": "stolen@example.com"}, {"role": "partner_support"}):
        assert support.patch(f"/users/{above['id']}", json=change, headers=ANY).status_code == 403
    assert support.delete(f"/users/{above['id']}", headers=ANY).status_code == 403
    assert support.patch(f"/users/{below['id']}", json={"role": "customer_admin"}, headers=ANY).status_code == 200
    assert own.patch(f"/users/{below['id']}", json={"role": "customer_user"}, headers=ANY).status_code == 200
    assert own.patch(f"/users/{below['id']}", json={"role": "partner_admin"}, headers=ANY).status_code == 422
    mine = post(own, "users", _user("mine1", "customer_user"))
    assert (mine["customer"], mine["partner"]) == (tenant.customer, tenant.partner)
    for user in (above, below, mine):
        assert world.admin.delete(f"/users/{user['id']}", headers=ANY).status_code == 204


def test_a_token_is_shown_once_and_ends_when_it_is_revoked(world: World) -> None:
    owner = world.partner_admin()
    headers = {"Idempotency-Key": "a-token"}
    asked = {"name": "short", "role": "partner_readonly"}
    made = owner.post("/tokens", json=asked, headers=headers).json()
    again = owner.post("/tokens", json=asked, headers=headers)
    assert made["secret"].startswith("sipsvc_")
    assert (again.json()["secret"], again.headers["idempotent-replayed"]) == (None, "true")
    assert owner.post("/tokens?dry_run=true", json=asked).json()["secret"] is None
    path = f"/tokens/{made['id']}"
    for said in (owner.get(path), owner.get("/tokens"), owner.get(f"{path}/history"), again):
        assert made["secret"] not in said.text
        assert "sha256" not in said.text.replace('"sha256":[null,"(hidden)"]', "")
    reader = world.client(made["secret"])
    assert reader.get("/gateways").status_code == 200
    assert owner.delete(path, headers={"If-Match": '"1"'}).status_code == 204
    assert reader.get("/gateways").status_code == 401
    assert owner.get(path).json()["revoked_at"] is not None
    assert owner.get(f"{path}/history").json()["data"][0]["action"] == "revoke"


def test_a_token_expires(world: World) -> None:
    owner = world.partner_admin()
    asked = {"name": "short", "role": "partner_readonly"}
    now = utc_now()
    for expires, status in (
        (now - timedelta(seconds=1), 422),
        (now + timedelta(days=366), 422),
        (now + timedelta(days=364), 201),
    ):
        answer = owner.post("/tokens", json=asked | {"expires_at": instant(expires)})
        assert answer.status_code == status
    for broken in ("tomorrow", "2026-11-22", 1790000000, None):
        answer = owner.post("/tokens?dry_run=true", json=asked | {"expires_at": broken})
        assert answer.status_code == (200 if broken is None else 422)
    for scopes in ([], ["cdrs"], ["cdrs:read", "cdrs:read"], ["*"] * 40, "read", ["nothing:read"]):
        answer = owner.post("/tokens?dry_run=true", json=asked | {"scopes": scopes})
        assert (answer.status_code, answer.json()["errors"][0]["field"].split(".")[0]) == (422, "scopes")


def test_a_token_that_has_expired_is_no_token(world: World) -> None:
    made = post(world.partner_admin(), "tokens", {"name": "soon", "role": "partner_readonly"})
    client = world.client(made["secret"])
    assert client.get("/gateways").status_code == 200
    engine = open_database(world.settings.data.url)
    with writing(engine) as session:
        session.execute(update(Token).where(Token.id == made["id"]).values(expires_at=utc_now()))
    engine.dispose()
    answer = client.get("/gateways")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def _user(name: str, role: str) -> dict[str, str]:
    return {"username": name, "email": f"{name}@example.com", "first_name": "Bob", "role": role}
