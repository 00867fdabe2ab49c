"""The one way a resource changes: version, history and the catalogue's version go with it in one transaction (UI-2)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from sipsvc.rating import text
from sipsvc.store.models import (
    Base,
    Block,
    Catalogue,
    Customer,
    Gateway,
    History,
    Import,
    Job,
    Partner,
    PriceList,
    PricePackage,
    Resource,
    ShortCode,
    Token,
    Trunk,
    User,
    WebProduct,
)
from sipsvc.store.types import from_ms, instant

HIDDEN = "(hidden)"
# What history says of a call (a `cdr`) that an administrator wants to end.
HANG_UP = "hangup"
KINDS: dict[type[Base], str] = {
    Partner: "partner",
    Customer: "customer",
    User: "user",
    Trunk: "trunk",
    Gateway: "gateway",
    PriceList: "pricelist",
    Block: "block",
    ShortCode: "shortcode",
    WebProduct: "product",
    PricePackage: "package",
    Token: "token",
    Import: "import",
    Job: "job",
}
"""What history calls each resource. A price, which is no row of its own but a series of them, is a `price`."""
SECRET = frozenset({"ha1_md5", "ha1_sha256", "sha256", "auth_password"})
# What every change changes, what another entry tells, and what an import keeps in its files.
UNTOLD = frozenset({"id", "version", "created_at", "updated_at", "rows_version", "preview"})


class Actor(NamedTuple):
    """Who changes something: a name (token, command), its role, and the network address it came from."""

    name: str
    role: str
    address: str


LOCAL = Actor("command line", "platform_admin", "local")


class Changes:
    """One transaction's changes. Making it raises the catalogue's version, which locks out every other writer
    until the commit: so versions are committed in order, and what is checked here stays true.

    `at` is the instant of them all; the caller commits. The session must have been made by `database.writing`.
    """

    def __init__(self, session: Session, actor: Actor, at: datetime | None = None) -> None:
        self.session = session
        self.actor = actor
        bump = update(Catalogue).values(version=Catalogue.version + 1).returning(Catalogue.version)
        version = session.execute(bump).scalar_one_or_none()
        # Read when nobody else can commit any more, so that a later change never has an earlier instant.
        self.at = at or utc_now()
        if version is None:
            version = 1
            session.execute(insert(Catalogue).values(id=1, version=version, changed_at=self.at))
        else:
            session.execute(update(Catalogue).values(changed_at=self.at))
        self.directory: int = version

    def create(self, row: Resource) -> None:
        """Add `row`, which has all its fields but the common ones; an `id` it has is kept."""
        row.id = row.id or new_id()
        row.version, row.created_at, row.updated_at = 1, self.at, self.at
        self.session.add(row)
        self.session.flush()
        self._tell(row, "create", {name: [None, value] for name, value in fields(row).items()})

    def update(self, row: Resource, values: Mapping[str, Any], action: str = "update") -> bool:
        """Set what differs; False, and nothing is written, where nothing does."""
        before = _raw(row)
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        after = _raw(row)
        changed = [name for name in after if before[name] != after[name]]
        if not changed:
            return False
        row.version += 1
        row.updated_at = self.at
        self.session.flush()
        self._tell(row, action, {n: [_shown(n, before[n]), _shown(n, after[n])] for n in changed if n not in UNTOLD})
        return True

    def delete(self, row: Resource) -> None:
        """Take `row` away; its history and notes stay."""
        row.version += 1
        self._tell(row, "delete", {name: [value, None] for name, value in fields(row).items()})
        self.session.delete(row)
        self.session.flush()

    def rows_changed(self, owner: Gateway | PriceList, said: str) -> None:
        """The owner's price rows have changed by this transaction; `said` is what history tells of it."""
        owner.rows_version = self.directory
        owner.version += 1
        owner.updated_at = self.at
        self.session.flush()
        self._tell(owner, "rows", {"rows": [None, said]})

    def tell(
        self,
        kind: str,
        resource_id: str,
        version: int,
        action: str,
        changes: Mapping[str, list[Any]],
        *,
        partner: str | None,
        customer: str | None = None,
    ) -> None:
        """A history entry. `changes` maps fields to [old, new] as JSON values, without secrets."""
        self.session.add(
            History(
                kind=kind,
                resource_id=resource_id,
                version=version,
                directory=self.directory,
                at=self.at,
                action=action,
                actor=self.actor.name,
                role=self.actor.role,
                address=self.actor.address,
                partner=partner,
                customer=customer,
                changes=dict(changes),
            )
        )

    def _tell(self, row: Resource, action: str, changes: Mapping[str, list[Any]]) -> None:
        partner, customer = owners(row)
        self.tell(kind_of(row), row.id, row.version, action, changes, partner=partner, customer=customer)


def utc_now() -> datetime:
    """To the millisecond, as it is stored."""
    return from_ms(time.time_ns() // 1_000_000)


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7)."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def kind_of(row: Resource) -> str:
    """What history calls it."""
    return next(kind for model, kind in KINDS.items() if isinstance(row, model))


def owners(row: Resource) -> tuple[str | None, str | None]:
    """The partner and the customer a resource belongs to."""
    if isinstance(row, Partner):
        return row.id, None
    customer = row.id if isinstance(row, Customer) else getattr(row, "customer", None)
    return getattr(row, "partner", None), customer


def fields(row: Resource) -> dict[str, Any]:
    """Every field as history keeps it: JSON values, money and instants as text, secrets hidden."""
    return {name: _shown(name, value) for name, value in _raw(row).items() if name not in UNTOLD}


def entries(session: Session, kind: str, resource_id: str) -> list[History]:
    """A resource's history, oldest first."""
    found = select(History).where(History.kind == kind, History.resource_id == resource_id).order_by(History.seq)
    return list(session.scalars(found))


def state_at(
    history: list[History], current: dict[str, Any] | None, *, at: datetime | None = None, version: int | None = None
) -> dict[str, Any] | None:
    """A resource's fields as they were at an instant, or as its `version` had them; None while it did not exist.

    `current` are its fields now (None where it is gone): later changes are taken back one by one, so that what was
    there before there was history is found as well.
    """
    state = current
    for entry in reversed(history):
        if (at is not None and entry.at <= at) or (version is not None and entry.version <= version):
            break
        if entry.action == "create":
            state = None
        elif entry.action != "rows":
            state = {**(state or {}), **{name: old for name, (old, _) in entry.changes.items()}}
    return state


def _raw(row: Resource) -> dict[str, Any]:
    return {attribute.key: getattr(row, attribute.key) for attribute in type(row).__mapper__.column_attrs}


def _shown(name: str, value: Any) -> Any:
    if name in SECRET:
        return HIDDEN if value else value
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, datetime):
        return instant(value)
    return value
