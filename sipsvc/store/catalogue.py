"""The catalogue: replaced as a whole by a bundle, read by the API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import column, delete, insert, select, table, update
from sqlalchemy.orm import Session

from sipsvc.store import sections
from sipsvc.store.bundle import Bundle, StoredTrunk
from sipsvc.store.models import (
    Base,
    Block,
    Catalogue,
    CoverageRow,
    Customer,
    Gateway,
    Partner,
    PlatformSettings,
    PriceList,
    PriceRow,
    Rewrite,
    Trunk,
)
from sipsvc.store.pricefile import Row
from sipsvc.store.types import to_scaled

BATCH = 10_000
# Children before what they point at.
REPLACED: tuple[type[Base], ...] = (
    Block, Trunk, Customer, CoverageRow, Rewrite, Gateway, PriceRow, PriceList, Partner, PlatformSettings,
)  # fmt: skip


def replace(session: Session, bundle: Bundle) -> int:
    """Put `bundle` in the place of the catalogue and return the new directory version; the caller commits."""
    # The version first: it locks out another load, and a transaction on SQLite must begin with a write.
    now = datetime.now(UTC)
    bump = update(Catalogue).values(version=Catalogue.version + 1, loaded_at=now).returning(Catalogue.version)
    version = session.execute(bump).scalar_one_or_none()
    if version is None:
        version = 1
        session.execute(insert(Catalogue).values(id=1, version=version, loaded_at=now))
    for model in REPLACED:
        session.execute(delete(model))
    _insert(session, PlatformSettings, [{"id": 1, **bundle.platform.model_dump()}])
    _insert(session, Partner, [bundle.partner.model_dump()])
    _insert(session, PriceList, (_pricelist(item) for item in bundle.pricelists))
    _insert(session, Gateway, (_gateway(item) for item in bundle.gateways))
    _insert(
        session,
        Rewrite,
        (
            {"gateway_id": gateway.id, "position": position, **rule.model_dump()}
            for gateway in bundle.gateways
            for position, rule in enumerate(gateway.rewrite)
        ),
    )
    _insert(session, Customer, (_customer(item, bundle.partner.id) for item in bundle.customers))
    _insert(session, Trunk, (_trunk(item) for item in bundle.trunks))
    _insert(session, Block, (item.model_dump() for item in bundle.blocks))
    for pricelist, rows in bundle.prices.items():
        _insert_rows(session, PriceRow, "pricelist_id", pricelist, rows)
    for gateway_id, rows in bundle.coverage.items():
        _insert_rows(session, CoverageRow, "gateway_id", gateway_id, rows)
    session.expire_all()
    return version


def version(session: Session) -> int:
    """The directory version, 0 when no bundle was ever loaded."""
    return session.execute(select(Catalogue.version)).scalar_one_or_none() or 0


def list_customers(session: Session) -> list[Customer]:
    """All customers with their trunks, by id."""
    return list(session.scalars(select(Customer).order_by(Customer.id)))


def list_gateways(session: Session) -> list[Gateway]:
    """All gateways with their rewrite rules, by id."""
    return list(session.scalars(select(Gateway).order_by(Gateway.id)))


def list_pricelists(session: Session) -> list[PriceList]:
    """All price lists, without their rows, by id."""
    return list(session.scalars(select(PriceList).order_by(PriceList.id)))


def list_prices(
    session: Session, pricelist: str, prefix_startswith: str = "", after_id: int = 0, limit: int = 100
) -> list[PriceRow]:
    """Up to `limit` rows behind the row `after_id`, in the order of (prefix, origin), which ids follow."""
    statement = (
        select(PriceRow)
        .where(PriceRow.pricelist_id == pricelist, PriceRow.id > after_id)
        .order_by(PriceRow.id)
        .limit(limit)
    )
    if prefix_startswith:
        statement = statement.where(PriceRow.prefix.startswith(prefix_startswith, autoescape=True))
    return list(session.scalars(statement))


def _insert(session: Session, model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    if values := list(rows):
        session.connection().execute(insert(model), values)


def _insert_rows(session: Session, model: type[Base], owner: str, owner_id: str, rows: list[Row]) -> None:
    """Prices in the order of (prefix, origin). The table is named without types, which cost more than the rest."""
    statement = insert(table(model.__tablename__, *(column(name) for name in (owner, *Row._fields))))
    amounts = {amount: to_scaled(amount) for amount in {row.rate for row in rows} | {row.fee for row in rows}}
    left = iter(sorted(rows))
    while batch := list(islice(left, BATCH)):
        session.connection().execute(
            statement,
            [
                {
                    owner: owner_id,
                    "prefix": row.prefix,
                    "origin": row.origin,
                    "name": row.name,
                    "rate": amounts[row.rate],
                    "fee": amounts[row.fee],
                    "initial": row.initial,
                    "increment": row.increment,
                }
                for row in batch
            ],
        )


def _pricelist(item: sections.PriceList) -> dict[str, Any]:
    return item.model_dump(exclude={"rows"})


def _gateway(item: sections.Gateway) -> dict[str, Any]:
    return item.model_dump(exclude={"coverage", "rewrite"})


def _customer(item: sections.Customer, partner: str) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "partner_id": partner,
        "status": item.status,
        "pricelist_id": item.pricelist,
        "allow_expensive": item.allow_expensive,
        "max_channels": item.max_channels,
        "dial_international": item.dial_plan.international,
        "dial_national": item.dial_plan.national,
        "dial_country": item.dial_plan.country,
        "dial_bare": item.dial_plan.bare,
        "caller_allowed": item.caller_ids.allowed,
        "caller_default": item.caller_ids.default,
        "caller_otherwise": item.caller_ids.otherwise,
    }


def _trunk(item: StoredTrunk) -> dict[str, Any]:
    return {**item._asdict(), "username": item.username or None}
