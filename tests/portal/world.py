"""Two partners with two customers each, made over HTTP, and somebody in every role: what tenancy is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import delete

from portal_api import roles
from sipsvc.imports.runner import work_once
from sipsvc.settings import Settings
from sipsvc.store import cdrs
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Cdr
from tests.cdr.records import answer, end, start
from tests.portal.process import prepared, serving

PARTNERS = ("north", "south")
CUSTOMERS = ("first", "second")
ANY = {"If-Match": "*"}


@dataclass(frozen=True)
class Tenant:
    """One customer of one partner. What belongs to the partner alone is the same for both."""

    partner: str
    customer: str
    number: int
    ids: dict[str, str]
    """A row of each kind that is theirs, by kind."""


@dataclass
class World:
    """A running API. `clients` are by role and name of tenant, such as `partner_admin north`."""

    settings: Settings
    port: int
    admin: httpx.Client
    tenants: dict[tuple[str, str], Tenant] = field(default_factory=dict)
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def tenant(self, partner: str = "north", customer: str = "first") -> Tenant:
        return self.tenants[partner, customer]

    def partner_admin(self, partner: str = "north") -> httpx.Client:
        return self.clients[f"partner_admin {partner}"]

    def customer_admin(self, partner: str = "north", customer: str = "first") -> httpx.Client:
        return self.clients[f"customer_admin {partner} {customer}"]

    def of(self, role: str) -> httpx.Client:
        """Somebody of that role: of the partner north, and of its first customer."""
        if role in roles.PLATFORM_ROLES:
            return self.admin
        found = [client for name, client in self.clients.items() if name.split()[:2] == [role, "north"]]
        return found[0]

    def client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        made = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", headers=headers, timeout=60)
        return self.stack.enter_context(made)

    def token(self, role: str, **more: Any) -> httpx.Client:
        """A client with a new token of `role`."""
        made = post(self.admin, "tokens", {"name": role, "role": role, **more})
        return self.client(made["secret"])


def post(client: httpx.Client, path: str, body: dict[str, Any], status: int = 201, **headers: str) -> Any:
    answer = client.post(f"/{path}", json=body, headers={name.replace("_", "-"): v for name, v in headers.items()})
    assert answer.status_code == status, (path, body, answer.status_code, answer.text)
    return answer.json()


def sign_up(name: str, pricelist: str, **more: Any) -> dict[str, Any]:
    """The body that signs a customer up; `name` is letters and digits."""
    return {
        "name": f"Customer {name}",
        "admin_username": f"{name}admin",
        "contact_first_name": "Ada",
        "contact_last_name": "King",
        "email": f"{name}@example.com",
        "billing_address": "12 Harbour Street",
        "billing_type": "usage",
        "plan": "standard",
        "tier": "basic",
        "pricelist": pricelist,
        **more,
    }


@contextmanager
def running(folder: Path, database: str = "") -> Iterator[World]:
    """An API on an empty database and an administrator."""
    settings, token = prepared(folder, database)
    with serving(settings) as (_, port), ExitStack() as stack:
        headers = {"Authorization": f"Bearer {token}"}
        admin = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=60)
        )
        yield World(settings, port, admin, stack=stack)


def populate(world: World) -> None:
    """Two partners, four customers, a row of every kind for each, and a token for every role."""
    number = 0
    for partner_name in PARTNERS:
        partner = post(world.admin, "partners", {"name": partner_name, "email": f"desk@{partner_name}.example"})["id"]
        for role in roles.PARTNER_ROLES:
            world.clients[f"{role} {partner_name}"] = world.token(role, partner=partner)
        world.clients[f"service {partner_name}"] = world.token("service", partner=partner)
        own = world.partner_admin(partner_name)
        index = PARTNERS.index(partner_name) + 1
        ids = {
            "partner": partner,
            "pricelist": post(own, "term-pricelists", {"name": "Retail"})["id"],
            "gateway": post(own, "gateways", {"name": "Carrier", "host": f"198.51.100.{index}"})["id"],
            "block": post(own, "blocks", {"prefix": "979", "reason": "premium rate"})["id"],
            "shortcode": post(own, "shortcodes", {"code": "*98", "name": "Voice mail", "number": "442079460098"})["id"],
        }
        brand = {"name": "Brand", "type": "business_voip", "currencies": ["USD"]}
        ids["product"] = post(own, "web-products", brand)["id"]
        offer = {"name": "As you go", "pricelist": ids["pricelist"], "currencies": ["USD"]}
        ids["package"] = post(own, "price-packages", offer)["id"]
        for kind, owner, path in (
            ("import", "gateway", "coverage"),
            ("pricelist_import", "pricelist", "prices"),
        ):
            made = own.put(f"/{roles.PATHS[owner]}/{ids[owner]}/{path}/44", json={"name": "UK", "rate": "0.01"})
            assert made.status_code == 200, made.text
            ids[kind], ids["job"] = _upload(own, kind, owner, ids[owner])
        _work(world)
        for customer_name in CUSTOMERS:
            number += 1
            made = post(own, "customers", sign_up(f"{partner_name}{customer_name}", ids["pricelist"]))
            customer = made["id"]
            theirs = ids | {"customer": customer, "user": made["admin_user"]["id"]}
            theirs["trunk"] = post(own, "trunks", {"customer": customer, "source": f"192.0.2.{number}"})["id"]
            token = {"name": "their own", "role": "customer_user", "customer": customer}
            theirs["token"] = post(own, "tokens", token)["id"]
            theirs["cdr"] = f"cdr-{number:06d}"
            theirs["ledger"] = f"cdr-{number:06d}.charge"
            for role in roles.CUSTOMER_ROLES:
                client = world.token(role, partner=partner, customer=customer)
                world.clients[f"{role} {partner_name} {customer_name}"] = client
            tenant = Tenant(partner, customer, number, theirs)
            world.tenants[partner_name, customer_name] = tenant
            _call(world, tenant)


def _upload(client: httpx.Client, kind: str, owner: str, key: str) -> tuple[str, str]:
    """A price file with a good row and a bad one; the ids of the import and of its job."""
    answer = client.post(
        f"/{roles.PATHS[kind]}",
        params={owner: key},
        content=b"prefix,name,rate\n44,UK,0.02\n44x,UK,0.02\n",
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"], answer.json()["job"]["id"]


def _work(world: World) -> None:
    """What `sipsvc work` would do."""
    engine = open_database(world.settings.data.url)
    while work_once(engine):
        pass
    engine.dispose()


def _call(world: World, tenant: Tenant) -> None:
    who = {"partner": tenant.partner, "customer": tenant.customer}
    row = cdrs.merge(
        start(tenant.number, 1000 * tenant.number, **who),
        answer(tenant.number),
        end(tenant.number, 1000 * tenant.number + 61_000),
    )
    engine = open_database(world.settings.data.url)
    with writing(engine) as session:
        cdrs.upsert(session, [row])
    engine.dispose()


@contextmanager
def stored(world: World, row: cdrs.Row) -> Iterator[str]:
    """A call that is in the database meanwhile; its id."""
    engine = open_database(world.settings.data.url)
    with writing(engine) as session:
        cdrs.upsert(session, [row])
    try:
        yield row["cdr_id"]
    finally:
        with writing(engine) as session:
            session.execute(delete(Cdr).where(Cdr.cdr_id == row["cdr_id"]))
        engine.dispose()
