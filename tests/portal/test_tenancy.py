"""Nobody sees, changes or names what is another's: every route, two partners, two customers each (IP-2, IP-13)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from portal_api import roles
from tests.portal.walk import Operation, operations, routes
from tests.portal.world import ANY, Tenant, World

KNOWN = operations()
WITH_ID = sorted(name for name in KNOWN if "{id}" in name)
LISTS = sorted(name for name, operation in KNOWN.items() if operation.many)
NAMING = [(name, field) for name, operation in sorted(KNOWN.items()) for field in operation.references]
NOWHERE = "01990000-0000-7000-8000-000000000000"


def ask(client: httpx.Client, name: str, operation: Operation, tenant: Tenant, **query: str) -> httpx.Response:
    """Run an operation on the tenant's row, changing nothing."""
    method, path = name.split()
    path = path.replace("{id}", tenant.ids.get(operation.kind, "")).replace("{prefix}", "44")
    body = operation.body(tenant) if operation.body is not None else None
    if method != "GET" and operation.kind != "explain":
        query["dry_run"] = "true"
    headers = ANY if method in ("PATCH", "PUT", "DELETE", "POST") else {}
    if path.endswith(("/rejected", "/changes")):
        headers = {"Accept": "text/csv"}
    return client.request(method, path, json=body, headers=headers, params=query | dict(operation.query))


def changed(world: World, operation: Operation, tenant: Tenant) -> Any:
    """What the row looks like to the platform, and what is told of it."""
    path = f"/{roles.PATHS[operation.kind]}/{tenant.ids[operation.kind]}"
    return [world.admin.get(path + more).json() for more in ("", "/history", "/notes")]


def test_the_walk_knows_every_route(world: World) -> None:
    assert sorted(KNOWN) == routes(), "tell tests/portal/walk.py how to exercise what is new"
    document = httpx.get(f"http://127.0.0.1:{world.port}/openapi.json", timeout=60).json()
    described = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described - {"GET /healthz", "GET /readyz"} == set(KNOWN)


@pytest.mark.rule("IP-2", "IP-13")
@pytest.mark.parametrize("name", WITH_ID)
def test_another_partners_row_is_not_there(world: World, name: str) -> None:
    operation = KNOWN[name]
    tenant = world.tenant("north", "first")
    before = changed(world, operation, tenant)
    own = ask(world.partner_admin("north"), name, operation, tenant)
    if operation.own != 200:
        assert own.status_code == operation.own, own.text
    elif name != "DELETE /term-pricelists/{id}":
        assert own.is_success or (own.status_code, operation.kind) == (422, "explain"), own.text
    refused = ask(world.partner_admin("south"), name, operation, tenant)
    assert refused.status_code == 404, refused.text
    gone = ask(world.partner_admin("south"), name, operation, _with_id(tenant, operation.kind, NOWHERE))
    assert refused.json()["detail"].replace(tenant.ids[operation.kind], NOWHERE) == gone.json()["detail"]
    assert changed(world, operation, tenant) == before


@pytest.mark.rule("IP-2")
@pytest.mark.parametrize("name", WITH_ID)
def test_another_customers_row_is_not_there(world: World, name: str) -> None:
    operation = KNOWN[name]
    tenant = world.tenant("north", "first")
    before = changed(world, operation, tenant)
    for other in (world.customer_admin("north", "second"), world.customer_admin("south", "first")):
        refused = ask(other, name, operation, tenant)
        allowed = operation.needs in roles.rights("customer_admin")
        assert refused.status_code == (404 if allowed else 403), refused.text
    assert changed(world, operation, tenant) == before


@pytest.mark.rule("IP-2")
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("name", LISTS)
def test_lists_hold_ones_own_only(world: World, name: str, accept: str) -> None:
    operation = KNOWN[name]
    path = name.split()[1]

    def listed(client: httpx.Client, **query: str) -> str:
        answer = client.get(path, params=query, headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        return answer.text

    said = listed(world.partner_admin("south"))
    for (partner, _), tenant in world.tenants.items():
        assert (tenant.ids[operation.kind] in said) == (partner == "south")
    if (operation.kind, "read") in roles.rights("customer_admin"):
        said = listed(world.customer_admin("north", "second"))
        for names, tenant in world.tenants.items():
            assert (tenant.ids[operation.kind] in said) == (names == ("north", "second"))
    key = "cdr_id" if operation.kind == "cdr" else "id"
    anothers = world.tenant("north").ids[operation.kind]
    assert anothers not in listed(world.partner_admin("south"), **{f"filter[{key}][eq]": anothers})


@pytest.mark.rule("IP-2")
@pytest.mark.parametrize(("name", "field"), NAMING)
def test_a_reference_to_anothers_row_reads_as_one_to_nothing(world: World, name: str, field: str) -> None:
    operation = KNOWN[name]
    assert operation.body is not None
    south, north = world.tenant("south"), world.tenant("north")
    body = operation.body(south)
    for client in (world.partner_admin("south"), world.admin):
        # The platform sees both, and yet may not mix them.
        if client is world.admin and field != "pricelist":
            continue
        owned = {"partner": south.partner} if client is world.admin else {}
        foreign, missing = (
            client.post(name.split()[1], json=body | owned | {field: value})
            for value in (north.ids[operation.references[field]], NOWHERE)
        )
        assert foreign.status_code == missing.status_code == 422, foreign.text
        assert [fault["field"] for fault in foreign.json()["errors"]] == [field]
        said = foreign.text.replace(north.ids[operation.references[field]], NOWHERE)
        assert said == missing.text


@pytest.mark.rule("IP-2")
def test_a_patch_cannot_name_anothers_row_either(world: World) -> None:
    north, south = world.tenant("north"), world.tenant("south")
    answers = [
        world.partner_admin("north").patch(f"/customers/{north.customer}", json={"pricelist": value}, headers=ANY)
        for value in (south.ids["pricelist"], NOWHERE)
    ]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].json() == answers[1].json()


CREATES = sorted(
    name for name, known in KNOWN.items() if known.action == "create" and known.kind != "partner" and not known.upload
)
UPLOADS = sorted(name for name, known in KNOWN.items() if known.upload)


@pytest.mark.rule("IP-2", "TG-7")
@pytest.mark.parametrize("name", UPLOADS)
def test_no_file_is_uploaded_for_another(world: World, name: str) -> None:
    operation, north, south = KNOWN[name], world.tenant("north"), world.tenant("south")

    def upload(owner: str) -> httpx.Response:
        query = {operation.upload: owner, "dry_run": "true"}
        headers = {"Content-Type": "text/csv"}
        return world.partner_admin("south").post(
            name.split()[1], params=query, content=operation.content, headers=headers
        )

    foreign, missing = upload(north.ids[operation.upload]), upload(NOWHERE)
    assert foreign.status_code == 422
    assert [fault["field"] for fault in foreign.json()["errors"]] == [operation.upload]
    assert foreign.json() == missing.json()
    assert upload(south.ids[operation.upload]).status_code == 200


@pytest.mark.rule("IP-2", "TP-7")
def test_no_price_is_made_of_anothers_coverage(world: World) -> None:
    north, south = world.tenant("north"), world.tenant("south")
    path = f"/term-pricelists/{south.ids['pricelist']}/populate"
    foreign, missing = (
        world.partner_admin("south").post(path, json={"gateways": [gateway], "markup": "2"})
        for gateway in (north.ids["gateway"], NOWHERE)
    )
    assert foreign.status_code == 422
    assert foreign.json() == missing.json()
    assert [fault["field"] for fault in foreign.json()["errors"]] == ["gateways[0]"]


@pytest.mark.rule("IP-2")
@pytest.mark.parametrize("name", CREATES)
def test_nothing_is_made_for_another_partner(world: World, name: str) -> None:
    operation = KNOWN[name]
    assert operation.body is not None
    south = world.tenant("south")
    for value in (world.tenant("north").partner, NOWHERE):
        body = operation.body(south) | {"partner": value}
        refused = world.partner_admin("south").post(name.split()[1], json=body)
        assert refused.status_code == 422, refused.text
        assert [fault["field"] for fault in refused.json()["errors"]] == ["partner"]


@pytest.mark.rule("IP-1")
def test_only_the_platform_makes_partners(world: World) -> None:
    for name, client in world.clients.items():
        refused = client.post("/partners", json={"name": "Mine"})
        assert refused.status_code == 403, name
    made = world.admin.post("/partners", json={"name": "Third"}, params={"dry_run": "true"})
    assert made.status_code == 200


@pytest.mark.rule("IP-17")
def test_a_customer_sees_what_it_pays_and_not_what_its_partner_does(world: World) -> None:
    tenant = world.tenant()
    bought = {"gateway", "gateway_name", "buy", "buy_amount", "buy_currency", "margin", "attempts", "trace", "sent_to"}
    own = world.customer_admin()
    assert bought <= set(world.partner_admin().get(f"/cdrs/{tenant.ids['cdr']}").json())
    for cdr in (own.get(f"/cdrs/{tenant.ids['cdr']}").json(), own.get("/cdrs").json()["data"][0]):
        assert not bought & set(cdr)
        assert cdr["sell_amount"] == "0.020000"
    assert not bought & set(own.get("/cdrs", headers={"Accept": "text/csv"}).text.splitlines()[0].split(","))
    for query in ("filter[gateway][eq]=carrier-a", "fields=margin", "fields=cdr_id,buy_amount"):
        assert own.get(f"/cdrs?{query}").status_code == 400


def _with_id(tenant: Tenant, kind: str, key: str) -> Tenant:
    return Tenant(tenant.partner, tenant.customer, tenant.number, tenant.ids | {kind: key})
