"""A small world: a partner with gateways alpha and beta (USD), gamma (EUR), and the price list retail (USD)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sipsvc.imports import steps
from sipsvc.store import rates
from sipsvc.store.changes import LOCAL, Actor, Changes
from sipsvc.store.database import writing
from sipsvc.store.models import Gateway, Import, Partner, PriceList
from sipsvc.store.pricefile import key
from sipsvc.store.rates import Owner

SOMEBODY = Actor("token-of-ann", "partner_admin", "192.0.2.7")
Price = tuple[str, Decimal]


def make(engine: Engine) -> None:
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        for partner in ("reseller", "other"):
            changes.create(Partner(id=partner, name=partner, email="", time_zone="UTC"))
        add_gateway(changes, "alpha")
        add_gateway(changes, "beta")
        add_gateway(changes, "gamma", currency="EUR")
        add_gateway(changes, "foreign", partner="other")
        add_pricelist(changes, "retail")


def add_gateway(changes: Changes, name: str, **values: Any) -> Gateway:
    common: dict[str, Any] = {
        "partner": "reseller", "name": name, "host": "192.0.2.1", "port": 5060, "transport": "udp",
        "tcp_if_large": False, "currency": "USD", "priority": 100,
        "enabled": True, "trusted": False, "remote_party_id": False, "p_asserted_identity": False, "caller_prefix": "",
        "caller_prefix_in": [], "uri_prefix": "", "uri_prefix_escaped": True, "rewrites": [], "hunt_codes": [],
        "provisional_timeout_ms": 4000, "ring_timeout_s": 185, "plus_in_caller": False, "diversion": False,
        "auth_username": "", "auth_password": "", "auth_realm": "", "rows_version": 0,
        "max_channels": 0, "max_cps": 0, "weight": 1, "schedule": [], "ping_interval_s": 0, "down_after": 3,
        "up_after": 2, "registration": False, "registration_expires_s": 3600,
    }  # fmt: skip
    gateway = Gateway(id=name, **common | values)
    changes.create(gateway)
    return gateway


def add_pricelist(changes: Changes, name: str, **values: Any) -> PriceList:
    common: dict[str, Any] = {
        "partner": "reseller", "name": name, "currency": "USD", "initial": 60, "increment": 60, "minimum": Decimal(0),
        "expensive_at": Decimal("0.50"), "min_rate": Decimal(0), "max_profit": None, "strategy": "cheapest",
        "rows_version": 0, "expected_s": 60, "allow_loss": False,
    }  # fmt: skip
    pricelist = PriceList(id=name, **common | values)
    changes.create(pricelist)
    return pricelist


class LocalStep:
    """A step done on the spot, at an instant of the test's choice."""

    def __init__(self, engine: Engine, at: datetime | None = None) -> None:
        self.engine = engine
        self.percents: list[int] = []
        self.result: dict[str, Any] = {}
        self._at = at

    def progress(self, percent: int) -> None:
        self.percents.append(percent)

    @contextmanager
    def changes(self, result: dict[str, Any]) -> Iterator[Changes]:
        with writing(self.engine) as session:
            yield Changes(session, SOMEBODY, self._at)
        self.result = result


def upload(engine: Engine, target: type[Gateway] | type[PriceList], target_id: str, content: str | bytes, *,
           mode: str = "full", at: datetime | None = None) -> str:  # fmt: skip
    """Upload and validate; the import's id."""
    with writing(engine) as session:
        owner: Owner = session.get_one(target, target_id)
        data = content.encode() if isinstance(content, str) else content
        changes = Changes(session, SOMEBODY, at)
        item = steps.create(changes, owner, source="upload", mode=mode, filename="a.csv", content=data, options={})
        import_id = item.id
    steps.validate(LocalStep(engine, at), import_id)
    return import_id


def applied(engine: Engine, target: type[Gateway] | type[PriceList], target_id: str, content: str | bytes, *,
            mode: str = "full", at: datetime | None = None, begin: datetime | None = None) -> str:  # fmt: skip
    """Upload, validate and apply; the import's id."""
    import_id = upload(engine, target, target_id, content, mode=mode, at=at)
    steps.apply(LocalStep(engine, at), import_id, effective_from=begin, accept_rejected=False)
    return import_id


def state(engine: Engine, import_id: str) -> Import:
    with Session(engine) as session:
        item = session.get_one(Import, import_id)
        session.expunge(item)
        return item


def in_force(engine: Engine, target: type[Gateway] | type[PriceList], target_id: str, at: datetime) -> dict[str, Price]:
    """Name and rate by destination at an instant; more than one row of a destination fails."""
    with Session(engine) as session:
        owner: Owner = session.get_one(target, target_id)
        model = rates.model_of(owner)
        found: dict[str, Price] = {}
        for row in session.scalars(select(model).where(rates.of_owner(owner))):
            if row.valid_from <= at and (row.valid_to is None or at < row.valid_to):
                word = key(row.prefix, row.origin)
                assert word not in found, f"{word} has two prices at {at}"
                found[word] = (row.name, row.rate)
        return found
